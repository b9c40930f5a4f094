package batch

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

func testSchema() *Schema {
	return &Schema{Table: TableID{"db", "public", "t"}, Columns: []Column{
		{Name: "id", Type: arrow.PrimitiveTypes.Int64, Key: 2},
		{Name: "a", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "part", Type: arrow.BinaryTypes.String, Key: 1},
		{Name: "b", Type: arrow.PrimitiveTypes.Int32, Nullable: true},
	}}
}

// cell is one of: "-" absent, "~" null, or a value.
func appendCells(b *Builder, id int64, a, part, v string) {
	b.Column(0).AppendUint64(uint64(id))
	text := func(c *ColumnBuilder, s string) {
		switch s {
		case "-":
			c.AppendAbsent()
		case "~":
			c.AppendNull()
		default:
			c.AppendBytes([]byte(s))
		}
	}
	text(b.Column(1), a)
	text(b.Column(2), part)
	switch v {
	case "-":
		b.Column(3).AppendAbsent()
	case "~":
		b.Column(3).AppendNull()
	default:
		n, _ := strconv.Atoi(v)
		b.Column(3).AppendUint32(uint32(n))
	}
}

func cellOf(b *Batch, col, row int) string {
	arr := b.Rows.Column(col)
	switch {
	case !b.IsPresent(col, row):
		return "-"
	case arr.IsNull(row):
		return "~"
	}
	return strings.Clone(arr.ValueStr(row)) // outlives the batch
}

type modelKey struct {
	id   int64
	part string
}

type model map[modelKey][2]string

// apply plays a batch against the model the way a merging destination does:
// origins are read before anything changes.
func (m model) apply(b *Batch, t *testing.T, compacted bool) {
	keyOf := func(r int) modelKey {
		return modelKey{b.Rows.Column(0).(*array.Int64).Value(r), strings.Clone(b.Rows.Column(2).(*array.String).Value(r))}
	}
	before := model{}
	for k, v := range m {
		before[k] = v
	}
	seen := map[modelKey]bool{}
	source := m
	if compacted {
		source = before
		for r := range b.Ops {
			delete(m, keyOf(r))
		}
	}
	for r, op := range b.Ops {
		k := keyOf(r)
		if compacted && op != OldKey {
			if seen[k] {
				t.Fatalf("key %v twice after compaction", k)
			}
			seen[k] = true
			if _, there := before[k]; there && op == Insert {
				t.Fatalf("key %v is an insert but was there before", k)
			}
		}
		switch op {
		case OldKey, Delete:
			if !compacted && op == Delete {
				delete(m, k)
			}
			continue
		}
		row := [2]string{cellOf(b, 1, r), cellOf(b, 3, r)}
		origin := k
		if r > 0 && b.Ops[r-1] == OldKey {
			origin = keyOf(r - 1)
		}
		for i := range row {
			if row[i] == "-" {
				old, ok := source[origin]
				if !ok {
					t.Fatalf("row %d %v of %v: absent cell and no row under %v", r, op, k, origin)
				}
				row[i] = old[i]
			}
		}
		if !compacted && origin != k {
			delete(m, origin)
		}
		m[k] = row
	}
}

func TestCompactEqualsRowByRow(t *testing.T) {
	seed := uint64(rand.Uint32())
	if s := os.Getenv("LEAT_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("LEAT_SEED=%d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	schema := testSchema()
	for round := range 3000 {
		byRow, byBatch := model{}, model{}
		for range 1 + rng.IntN(4) {
			b := NewBuilder(schema)
			live := map[modelKey]bool{}
			for k := range byRow {
				live[k] = true
			}
			randomRows(rng, b, live)
			got := b.Finish(Position{})
			byRow.apply(got, t, false)
			c := Compact(got)
			if c.Len() > 0 {
				byBatch.apply(c, t, true)
			} else {
				byBatch.apply(got, t, false)
			}
			if fmt.Sprint(byRow) != fmt.Sprint(byBatch) {
				t.Fatalf("round %d, LEAT_SEED=%d:\nrow by row %v\ncompacted  %v\nrows %v %v\ncompact %v %v", round, seed, byRow, byBatch, got.Ops, got.Rows, c.Ops, c.Rows)
			}
			c.Release()
			got.Release()
		}
	}
}

func randomRows(rng *rand.Rand, b *Builder, live map[modelKey]bool) {
	value := func(absent bool) string {
		switch n := rng.IntN(6); {
		case n == 0:
			return "~"
		case n < 3 && absent:
			return "-"
		default:
			return strconv.Itoa(rng.IntN(1000))
		}
	}
	for i := range rng.IntN(14) {
		k := modelKey{int64(rng.IntN(4)), strconv.Itoa(rng.IntN(2))}
		end := func(op Op) { b.EndRow(op, uint64(i), 1, 0) }
		switch {
		case !live[k]:
			appendCells(b, k.id, value(false), k.part, value(false))
			end(Insert)
			live[k] = true
		case rng.IntN(3) == 0:
			appendCells(b, k.id, "-", k.part, "-")
			end(Delete)
			delete(live, k)
		case rng.IntN(2) == 0:
			appendCells(b, k.id, value(true), k.part, value(true))
			end(Update)
		default:
			to := modelKey{int64(rng.IntN(4)), strconv.Itoa(rng.IntN(2))}
			if live[to] {
				continue
			}
			appendCells(b, k.id, "-", k.part, "-")
			end(OldKey)
			appendCells(b, to.id, value(true), to.part, value(true))
			end(Update)
			delete(live, k)
			live[to] = true
		}
	}
}

func TestAbortRowLeavesNoTrace(t *testing.T) {
	b := NewBuilder(testSchema())
	appendCells(b, 1, "x", "p", "~")
	b.EndRow(Insert, 1, 1, 0)
	b.Column(0).AppendUint64(9)
	b.Column(1).AppendNull()
	b.AbortRow()
	appendCells(b, 2, "-", "q", "7")
	b.EndRow(Update, 1, 2, 0)
	got := b.Finish(Position{LSN: 1, Ordinal: 2})
	defer got.Release()
	want := "1 x p ~|2 - q 7|"
	text := ""
	for r := range got.Ops {
		text += fmt.Sprintf("%s %s %s %s|", cellOf(got, 0, r), cellOf(got, 1, r), cellOf(got, 2, r), cellOf(got, 3, r))
	}
	if text != want {
		t.Errorf("got %q, want %q", text, want)
	}
}

func TestMarshalKeepsThreeStates(t *testing.T) {
	b := NewBuilder(testSchema())
	appendCells(b, 1, "~", "p", "-")
	b.EndRow(Update, 77, 3, 1234)
	appendCells(b, 2, "-", "q", "5")
	b.EndRow(Update, 78, 1, 1235)
	in := b.Finish(Position{Timeline: 2, LSN: 78, Ordinal: EndOfTransaction})
	data, err := Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	out, err := Unmarshal(data)
	if err != nil {
		t.Fatal(err)
	}
	for r := range in.Ops {
		for c := range in.Schema.Columns {
			if cellOf(in, c, r) != cellOf(out, c, r) {
				t.Errorf("cell %d,%d: %s became %s", r, c, cellOf(in, c, r), cellOf(out, c, r))
			}
		}
	}
	if out.Position != in.Position || out.LSN[1] != 78 || out.Ordinal[0] != 3 || out.CommitTime[1] != 1235 || out.Schema.Fingerprint() != in.Schema.Fingerprint() {
		t.Errorf("positions or schema changed: %+v", out)
	}
}

func TestPositionText(t *testing.T) {
	for _, p := range []Position{{1, 0x16B3748, EndOfTransaction}, {7, 1<<40 + 5, 12}, {}} {
		q, err := ParsePosition(p.String())
		if err != nil || q != p {
			t.Errorf("%v: read back as %v, %v", p, q, err)
		}
	}
	for _, s := range []string{"", "1", "x:0/1", "1:0-1", "1:0/1+x"} {
		if _, err := ParsePosition(s); err == nil {
			t.Errorf("%q was accepted", s)
		}
	}
}

// TestCompactOfKeysInsertedTwice has rows whose deletes were not published: each
// key comes once out of it, as the last row that has it.
func TestCompactOfKeysInsertedTwice(t *testing.T) {
	for _, rows := range []struct {
		ids  []int64
		op   Op
		want string
	}{
		{[]int64{3, 1, 2}, Insert, "III 3=0 1=1 2=2"},
		{[]int64{1, 2, 3}, Insert, "III 1=0 2=1 3=2"},
		{[]int64{1, 2, 2}, Insert, "IU 1=0 2=2"},
		{[]int64{3, 1, 3, 2, 3}, Insert, "UII 3=4 1=1 2=3"},
		{[]int64{2, 1, 2}, Read, "UR 2=2 1=1"},
	} {
		b := NewBuilder(testSchema())
		for i, id := range rows.ids {
			appendCells(b, id, strconv.Itoa(i), "p", "~")
			b.EndRow(rows.op, uint64(i), 1, 0)
		}
		whole := b.Finish(Position{})
		c := Compact(whole)
		var got strings.Builder
		for _, op := range c.Ops {
			got.WriteByte(byte(op))
		}
		for r := range c.Ops {
			fmt.Fprintf(&got, " %s=%s", cellOf(c, 0, r), cellOf(c, 1, r))
		}
		if got.String() != rows.want {
			t.Errorf("%v %c: got %s, want %s", rows.ids, rows.op, got.String(), rows.want)
		}
		c.Release()
		whole.Release()
	}
}

// BenchmarkCompactInserts looks for doubled keys where the first column of the
// key ascends and where it does not.
func BenchmarkCompactInserts(b *testing.B) {
	for _, name := range []string{"sequence", "random"} {
		b.Run(name, func(b *testing.B) {
			rng := rand.New(rand.NewPCG(1, 1))
			bl := NewBuilder(&Schema{Columns: []Column{{Name: "id", Type: arrow.PrimitiveTypes.Int64, Key: 1}, {Name: "v", Type: arrow.BinaryTypes.String, Nullable: true}}})
			for i := range 20000 {
				id := uint64(i)
				if name == "random" {
					id = rng.Uint64()
				}
				bl.Column(0).AppendUint64(id)
				bl.Column(1).AppendBytes([]byte("some text of a row"))
				bl.EndRow(Insert, uint64(i), 1, 0)
			}
			in := bl.Finish(Position{})
			for b.Loop() {
				Compact(in).Release()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/20000, "ns/row")
		})
	}
}

func BenchmarkCompactMixed(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	bl := NewBuilder(testSchema())
	for i := range 20000 {
		appendCells(bl, rng.Int64N(15000), "some text of a row", "p", "5")
		bl.EndRow(Update, uint64(i), 1, 0)
	}
	in := bl.Finish(Position{})
	for b.Loop() {
		Compact(in).Release()
	}
	b.ReportMetric(float64(b.N)*20000/b.Elapsed().Seconds(), "rows/s")
}

// TestOriginsOfACompactedSwap swaps the keys of two rows over a third: each new
// state has its unchanged cells under the key that it had before the batch.
func TestOriginsOfACompactedSwap(t *testing.T) {
	b := NewBuilder(testSchema())
	for i, r := range []struct {
		op Op
		id int64
		a  string
	}{{OldKey, 1, "-"}, {Update, 3, "first"}, {OldKey, 2, "-"}, {Update, 1, "second"}, {OldKey, 3, "-"}, {Update, 2, "first"}} {
		appendCells(b, r.id, r.a, "x", "-")
		b.EndRow(r.op, 1, uint64(i), 1)
	}
	whole := b.Finish(Position{LSN: 1})
	defer whole.Release()
	compacted := Compact(whole)
	defer compacted.Release()
	part := Take(compacted, []int32{0, 1})
	defer part.Release()
	for _, b := range []*Batch{whole, compacted, part} {
		for r, origin := range Origins(b) {
			if b.Ops[r] != Update {
				continue
			}
			was := map[string]string{"first": "1", "second": "2"}[cellOf(b, 1, r)]
			if got := cellOf(b, 0, int(origin)); got != was {
				t.Errorf("row %d of %s, %q, comes from key %s, want %s", r, b.Ops, cellOf(b, 1, r), got, was)
			}
		}
	}
}
