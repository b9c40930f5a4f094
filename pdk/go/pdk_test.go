//go:build !wasm

package pdk

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func textColumn(cells ...string) View {
	c := NewColumn(FormatText)
	for _, v := range cells {
		switch v {
		case "~":
			c.AppendNull()
		case "?":
			c.AppendAbsent()
		default:
			c.AppendString(v)
		}
	}
	return c.View()
}

func cells(v View) string {
	var out []string
	for i := range v.Len() {
		out = append(out, [...]string{Value: v.String(i), IsNull: "~", Absent: "?"}[v.State(i)])
	}
	return strings.Join(out, " ")
}

var table = &Schema{Table: TableID{Name: "t"}, Columns: []Column{{Name: "a", Format: FormatText, Key: 1}, {Name: "b", Format: FormatText}}}

func TestRewriteKeepsTheThreeStates(t *testing.T) {
	p := KeepAll(table)
	p.Rewrite(1, func(dst, v []byte) ([]byte, error) {
		if string(v) == "bad" {
			return nil, errors.New("bad value")
		}
		return append(append(dst, '<'), v...), nil
	})
	b := NewBatch("IUUI", textColumn("x", "~", "?", "bad"))
	o := NewOutput(p, b)
	if err := p.Run(b, o); err != nil {
		t.Fatal(err)
	}
	if got := cells(o.Column(0).View()); got != "<x ~ ? ?" || o.Failed()[3] != "bad value" || o.Len() != 4 {
		t.Errorf("cells are %s, failed %v", got, o.Failed())
	}
	if p.Outputs[0].Columns[1].From.Computed == nil || len(p.Needs) != 1 {
		t.Errorf("plan is %+v", p)
	}
}

// TestRewriteFollowsTheChoiceOfRows drops a row and repeats another.
func TestRewriteFollowsTheChoiceOfRows(t *testing.T) {
	p := KeepAll(table)
	p.Filters = true
	p.Rewrite(1, func(dst, v []byte) ([]byte, error) { return append(append(dst, '<'), v...), nil })
	b := NewBatch("IUUI", textColumn("x", "~", "?", "y"))
	p.Process = func(_ *Batch, o *Output) error {
		for _, row := range []int{0, 1, 2, 2} {
			o.Emit(row, 0)
		}
		return nil
	}
	o := NewOutput(p, b)
	if err := errors.Join(p.Run(b, o), o.check()); err != nil {
		t.Fatal(err)
	}
	if got := cells(o.Column(0).View()); got != "<x ~ ? ?" {
		t.Errorf("cells are %s", got)
	}
	other := p.Compute(FormatText)
	p.Process = func(b *Batch, o *Output) error {
		return EachRow(b, o, func(r *Row) error {
			if r.Index() == 0 {
				r.Drop()
			}
			r.SetText(other, "z")
			return nil
		})
	}
	o = NewOutput(p, b)
	if err := errors.Join(p.Run(b, o), o.check()); err != nil {
		t.Fatal(err)
	}
	if got := cells(o.Column(0).View()) + "," + cells(o.Column(other).View()); got != "~ ? <y,z z z" {
		t.Errorf("cells are %s", got)
	}
}

func TestNothingIsComputedFromAbsence(t *testing.T) {
	p := KeepAll(table)
	out, other := p.Compute(FormatText), p.Compute(FormatInt64)
	b := NewBatch("UUUK", textColumn("x", "?", "~", "?"))
	o := NewOutput(p, b)
	err := EachRow(b, o, func(r *Row) error {
		v := r.Text(0)
		r.SetText(out, "was "+v.Or("nothing"))
		r.Force()
		r.SetInt64(other, int64(r.Index()))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := cells(o.Column(out).View()); got != "was x ? was nothing ?" {
		t.Errorf("cells are %s", got)
	}
	if v := o.Column(other).View(); v.State(1) != Value || v.Int64(3) != 3 {
		t.Error("a forced cell was not set")
	}
}

func TestDroppedAndFailedRowsLeaveNoCells(t *testing.T) {
	p := KeepAll(table)
	p.Filters = true
	text, flag := p.Compute(FormatText), p.Compute(FormatBool)
	b := NewBatch("IIIKU", textColumn("keep", "drop", "fail", "drop", "drop"))
	o := NewOutput(p, b)
	if err := EachRow(b, o, func(r *Row) error {
		r.SetText(text, r.Text(0).Or(""))
		switch r.Text(0).Or("") {
		case "drop":
			r.Drop()
			return nil
		case "fail":
			return errors.New("no")
		}
		r.SetBool(flag, true)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	// The old key stays: the host needs it to delete the row.
	if got := fmt.Sprint(o.Rows()); got != "[0 3]" || cells(o.Column(text).View()) != "keep drop" || o.Failed()[2] != "no" {
		t.Errorf("rows %s, cells %s, failed %v", got, cells(o.Column(text).View()), o.Failed())
	}
	if v := o.Column(flag).View(); v.State(1) != Absent || !v.Bool(0) {
		t.Error("the flag of the dropped old key is not absent")
	}
	if err := o.check(); err != nil {
		t.Error(err)
	}
}

func TestAWrongOutputIsFound(t *testing.T) {
	p := KeepAll(table)
	p.Compute(FormatText)
	b := NewBatch("II", textColumn("a", "b"))
	o := NewOutput(p, b)
	o.Column(0).AppendString("one")
	if err := o.check(); err == nil || !strings.Contains(err.Error(), "computed column 0 has 1 cells for 2 output rows") {
		t.Errorf("error is %v", err)
	}
	o = NewOutput(p, b)
	o.Emit(0, 0)
	o.Column(0).AppendString("one")
	if err := o.check(); err == nil || !strings.Contains(err.Error(), "Filters") {
		t.Errorf("error is %v", err)
	}
}

func TestConfigIsStrict(t *testing.T) {
	var c struct {
		Columns []string `json:"columns"`
	}
	if err := DecodeConfig(json.RawMessage(`{"columns": ["a"]}`), &c); err != nil || c.Columns[0] != "a" {
		t.Errorf("decoded %v, %v", c, err)
	}
	for _, bad := range []string{`{"colums": []}`, `{"columns": 1}`, `{} {}`, `{`} {
		if err := DecodeConfig(json.RawMessage(bad), &c); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}

func TestColumnsOfEveryWidth(t *testing.T) {
	for format, width := range map[string]int{"b": 0, "u": -1, "z": -1, "s": 2, "i": 4, "I": 4, "f": 4, "tdD": 4, "l": 8, "g": 8, "ttu": 8, "tsu:": 8, "tsu:UTC": 8, "w:16": 16, "d:12,2": 16, "d:60,2,256": 32, "+s": -2} {
		if Width(format) != width {
			t.Errorf("width of %s is %d, want %d", format, Width(format), width)
		}
	}
	c := NewColumn(FormatInt16)
	c.AppendInt16(-3)
	c.AppendNull()
	if v := c.View(); v.Int64(0) != -3 || v.State(1) != IsNull || v.Int16s()[0] != -3 || v.Dense() {
		t.Error("smallint column differs")
	}
	defer func() {
		if recover() == nil {
			t.Error("a value of another width was accepted")
		}
	}()
	c.AppendInt64(1)
}

// recorder answers host calls with a fixed reply.
type recorder struct {
	function string
	request  string
	reply    string
}

func (r *recorder) Call(function string, request []byte) []byte {
	r.function, r.request = function, string(request)
	return []byte(r.reply)
}

func (r *recorder) Log(Level, string) {}

func TestHostCallsCarryTheirErrors(t *testing.T) {
	r := &recorder{reply: `{"ok": {"affected": 3}}`}
	SetHost(r)
	defer SetHost(nil)
	if n, err := Exec("DELETE"); n != 3 || err != nil || r.function != "sql_exec" || r.request != `{"sql":"DELETE"}` {
		t.Errorf("exec: %d, %v, %+v", n, err, r)
	}
	r.reply = `{"error": {"number": 2, "class": "data", "code": "22003", "message": "out of range", "hint": "widen it"}}`
	_, err := (&WriteBatch{Handle: 7}).Ingest(IngestInput{Table: "t", Columns: []IngestColumn{}})
	var e *SQLError
	if !errors.As(err, &e) || e.Class != ClassData || e.Hint != "widen it" || r.request != `{"batch":7,"ingest":{"table":"t","columns":[]}}` {
		t.Errorf("ingest: %v, %+v", err, r)
	}
	if got := string(encode(nil, fmt.Errorf("write t: %w", err))); got != `{"error":{"message":"write t: out of range (22003)","cause":2}}` {
		t.Errorf("the host is told %s", got)
	}
}

func TestPanicsBecomeErrors(t *testing.T) {
	got := string(answer([]byte(`{}`), func(*struct{}) (any, error) { panic("lost") }))
	if !strings.HasPrefix(got, `{"error":{"message":"panic: lost`) {
		t.Errorf("the host is told %s", got)
	}
}

func TestPlanAnswersTheHost(t *testing.T) {
	defer func() { transform.plan, transform.plans = nil, nil }()
	if got := string(handlePlan([]byte(`{"abi": 1, "kind": "transform"}`))); !strings.Contains(got, "not a transform") {
		t.Errorf("without a plugin: %s", got)
	}
	RegisterTransform(func(in *PlanInput) (*Plan, error) { return KeepAll(in.Schema), nil })
	if got := string(handlePlan([]byte(`{"abi": 2, "kind": "transform"}`))); !strings.Contains(got, "the host speaks ABI 2, this plugin 1") {
		t.Errorf("another ABI: %s", got)
	}
	request := `{"abi": 1, "kind": "transform", "plan": 4, "new_key": 1, "schema": {"table": {"database": "d", "schema": "s", "name": "t"}, "columns": [{"name": "id", "format": "l", "pg_type": {"name": "int8", "oid": 20, "typmod": -1}, "key": 1}]}}`
	want := `{"ok":{"needs":[],"computed":[],"filters":false,"outputs":[{"table":{"database":"d","schema":"s","name":"t"},"columns":[{"name":"id","format":"l","pg_type":{"name":"int8","oid":20,"typmod":-1},"nullable":false,"key":1,"from":{"column":0}}]}]}}`
	if got := string(handlePlan([]byte(request))); got != want {
		t.Errorf("plan is %s", got)
	}
	if _, err := process(4, NewBatch("I")); err == nil || !strings.Contains(err.Error(), "computes nothing") {
		t.Errorf("process of a native plan: %v", err)
	}
	if _, err := process(5, NewBatch("I")); err == nil || !strings.Contains(err.Error(), "no plan has number 5") {
		t.Errorf("process of an unknown plan: %v", err)
	}
}
