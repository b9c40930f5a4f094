package wasm

import (
	"context"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/leat-etl/leat/engine/batch"
)

func mustPlan(t testing.TB, tr *Transform, in PlanInput) *Plan {
	t.Helper()
	p, err := tr.Plan(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func mustProcess(t testing.TB, tr *Transform, p *Plan, b *batch.Batch) Result {
	t.Helper()
	r, err := tr.Process(context.Background(), p, b)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var mixed = []row{
	{batch.Insert, 1, [3]string{"ann@example.org", "one", "{1,NULL}"}},
	{batch.Update, 2, [3]string{absent, "two", "{}"}},
	{batch.OldKey, 3, [3]string{absent, absent, absent}},
	{batch.Update, 4, [3]string{null, absent, null}},
	{batch.Delete, 5, [3]string{absent, absent, absent}},
}

func TestAGuestSeesOnlyItsColumns(t *testing.T) {
	tr := transform(t, newHost(t), "../../pdk/go/examples/mask-email", Plugin{Config: json.RawMessage(`{"column": "email"}`)})
	s := customers("shop")
	p := mustPlan(t, tr, PlanInput{Schema: s})
	if !reflect.DeepEqual(p.Sees, []string{"email"}) || p.Native {
		t.Fatalf("plan sees %v, native %v", p.Sees, p.Native)
	}
	b := customerBatch(s, mixed...)
	r := mustProcess(t, tr, p, b)
	wantRows(t, r.Batches[0], "I|1|a***@example.org|one|{1,NULL}", "U|2|?|two|{}", "K|3|?|?|?", "U|4|~|?|~", "D|5|?|?|?")
	if r.Batches[0].Position != b.Position || r.Batches[0].LSN[0] != 100 || r.Batches[0].Ordinal[4] != 5 {
		t.Errorf("positions changed: %+v", r.Batches[0])
	}
	if got := tr.Stats(); got.Rows != 5 || got.Instances != 1 || got.Recycled != 0 || got.Fuel == 0 || got.MemoryBytes == 0 {
		t.Errorf("stats are %+v", got)
	}
}

func TestAColumnThatIsNotGrantedStaysOut(t *testing.T) {
	h := newHost(t)
	tr := transform(t, h, "../../pdk/go/examples/mask-email", Plugin{Config: json.RawMessage(`{"column": "email"}`), Columns: []string{"note"}})
	_, err := tr.Plan(context.Background(), PlanInput{Schema: customers("shop")})
	wantError(t, err, KindContract, `needs column "email", which the pipeline does not grant`)
	tr = transform(t, h, "../../transforms/mask", Plugin{Config: json.RawMessage(`{"columns": ["email"]}`), Columns: []string{"note"}})
	_, err = tr.Plan(context.Background(), PlanInput{Schema: customers("shop")})
	wantError(t, err, KindContract, `kernel 0: it works on column "email", which the pipeline does not grant`)
}

func TestArraysBecomeJSON(t *testing.T) {
	h := newHost(t)
	tr := transform(t, h, "../../transforms/array-to-varchar", Plugin{})
	s := customers("shop")
	p := mustPlan(t, tr, PlanInput{Schema: s})
	if !p.Native || len(p.Sees) != 0 || !reflect.DeepEqual(p.Kernels, []KernelUse{{"array-json", []string{"scores"}}}) || p.Outputs[0].Columns[3].PG.Name != "varchar" {
		t.Fatalf("plan sees %v, its kernels are %v, native %v, makes %+v", p.Sees, p.Kernels, p.Native, p.Outputs[0].Columns[3])
	}
	before := tr.Stats().Calls
	r := mustProcess(t, tr, p, customerBatch(s, append(mixed[:len(mixed):len(mixed)], row{batch.Insert, 6, [3]string{"e", "n", "{broken"}})...))
	wantRows(t, r.Batches[0], "I|1|ann@example.org|one|[1,null]", "U|2|?|two|[]", "K|3|?|?|?", "U|4|~|?|~", "D|5|?|?|?")
	if len(r.Failed) != 1 || r.Failed[0].Row != 5 || r.Failed[0].Message == "" {
		t.Errorf("failed rows are %+v", r.Failed)
	}
	if tr.Stats().Calls != before {
		t.Error("a plan of kernels called the guest")
	}
	text := transform(t, h, "../../transforms/array-to-varchar", Plugin{Config: json.RawMessage(`{"format": "postgres"}`)})
	if p := mustPlan(t, text, PlanInput{Schema: s}); !p.Native || len(p.Sees) != 0 {
		t.Errorf("format postgres sees %v, native %v", p.Sees, p.Native)
	}
}

// TestDeclaredLosses follows what a plugin declares through a chain, and bounds
// it.
func TestDeclaredLosses(t *testing.T) {
	h := newHost(t)
	arrays := mustPlan(t, transform(t, h, "../../transforms/array-to-varchar", Plugin{}), PlanInput{Schema: customers("eu")})
	losses := arrays.Losses(0, map[string][]string{"scores": {"a policy"}, "email": {"another"}})
	if len(losses) != 2 || len(losses["scores"]) != 2 || losses["scores"][0] != "a policy" || !strings.Contains(losses["scores"][1], "bounds") || losses["email"][0] != "another" {
		t.Fatalf("losses are %q", losses)
	}
	fields := transform(t, h, "../../transforms/fields", Plugin{Config: json.RawMessage(`{"rename": {"scores": "points"}}`)})
	renamed := mustPlan(t, fields, PlanInput{Schema: arrays.Outputs[0]})
	if after := renamed.Losses(0, losses); len(after["points"]) != 2 || after["scores"] != nil {
		t.Errorf("losses after a new name are %q", after)
	}
	for _, declared := range [][]string{{""}, {strings.Repeat("x", maxLossBytes+1)}, {"\xff"}, make([]string, maxLosses+1)} {
		column := planColumn{Name: "note", Format: "u", Losses: declared}
		column.From.Null = true
		if _, err := buildPlan(&planReply{Outputs: []planOutput{{Table: customers("eu").Table, Columns: []planColumn{column}}}}, customers("eu"), &Plugin{}); err == nil || !strings.Contains(err.Error(), "loss") {
			t.Errorf("declared %q: %v", declared, err)
		}
	}
}

func TestMergedTablesWithTheirDatabaseNames(t *testing.T) {
	h := newHost(t)
	merge := transform(t, h, "../../transforms/merge-tables", Plugin{})
	name := transform(t, h, "../../transforms/database-name", Plugin{Config: json.RawMessage(`{"key": true}`)})
	eu, us := customers("eu"), customers("us")
	us.Columns = us.Columns[:2:2]
	eu.Columns[0].Type, eu.Columns[0].PG.Name = int16Type, "int2"
	euPlan := mustPlan(t, merge, PlanInput{Schema: eu, Peers: []*batch.Schema{us}})
	usPlan := mustPlan(t, merge, PlanInput{Schema: us, Peers: []*batch.Schema{eu}})
	if !reflect.DeepEqual(euPlan.Outputs[0].Columns, usPlan.Outputs[0].Columns) {
		t.Fatalf("eu becomes %+v, us becomes %+v", euPlan.Outputs[0], usPlan.Outputs[0])
	}
	b := batch.NewBuilder(us)
	b.Column(0).AppendUint64(7)
	b.Column(1).AppendBytes([]byte("bob"))
	b.EndRow(batch.Insert, 1, 1, 1)
	b.Column(0).AppendUint64(8)
	b.Column(1).AppendAbsent()
	b.EndRow(batch.Delete, 1, 2, 1)
	merged := mustProcess(t, merge, usPlan, b.Finish(batch.Position{LSN: 1})).Batches[0]
	named := mustProcess(t, name, mustPlan(t, name, PlanInput{Schema: usPlan.Outputs[0]}), merged).Batches[0]
	wantRows(t, named, "I|7|bob|~|~|us", "D|8|?|?|?|us")
	if key := named.Schema.Key(); !reflect.DeepEqual(key, []int{0, 4}) {
		t.Errorf("key is %v", key)
	}
	before := merge.Stats().Calls
	e := batch.NewBuilder(eu)
	e.Column(0).AppendUint16(7)
	for i := 1; i < 4; i++ {
		e.Column(i).AppendNull()
	}
	e.EndRow(batch.Insert, 1, 1, 1)
	wantRows(t, mustProcess(t, merge, euPlan, e.Finish(batch.Position{LSN: 1})).Batches[0], "I|7|~|~|~")
	if merge.Stats().Calls != before {
		t.Error("a native plan called the guest")
	}
}

func TestTruncatePassesToEveryOutput(t *testing.T) {
	tr := transform(t, newHost(t), "../../transforms/mask", Plugin{Config: json.RawMessage(`{"columns": ["email"]}`)})
	s := customers("shop")
	b := batch.NewBuilder(s)
	for i := range s.Columns {
		b.Column(i).AppendAbsent()
	}
	b.EndRow(batch.Truncate, 1, 1, 1)
	r := mustProcess(t, tr, mustPlan(t, tr, PlanInput{Schema: s}), b.Finish(batch.Position{LSN: 1}))
	wantRows(t, r.Batches[0], "T|?|?|?|?")
}
