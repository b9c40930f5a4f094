package wasm

import (
	"encoding/json"
	"testing"

	"github.com/leat-etl/leat/engine/batch"
)

// TestChangedRowsAreCounted: a row counts if a value that was computed is
// another than came in, once however many are.
func TestChangedRowsAreCounted(t *testing.T) {
	b := customerBatch(customers("shop"),
		row{batch.Insert, 1, [3]string{"A", "x", "{1}"}}, row{batch.Insert, 2, [3]string{"a", "X", "{2}"}}, row{batch.Insert, 3, [3]string{null, "y", null}},
		row{batch.Update, 4, [3]string{absent, "Y", absent}}, row{batch.Update, 5, [3]string{"b", "b", null}}, row{batch.Delete, 6, [3]string{absent, absent, absent}})
	for _, c := range []struct {
		plugin, config string
		want           uint64
	}{
		{"text", `{"columns": ["email"], "case": "upper"}`, 2},
		{"text", `{"columns": ["email", "note"], "case": "upper"}`, 4},
		{"fields", `{"rename": {"email": "mail"}}`, 0},
		{"fields", `{"add": [{"name": "size", "expression": "id + 1", "type": "bigint"}]}`, 6},
		{"database-name", `{}`, 0},
	} {
		tr := transform(t, newHost(t), "../../transforms/"+c.plugin, Plugin{Config: json.RawMessage(c.config)})
		mustProcess(t, tr, mustPlan(t, tr, PlanInput{Schema: b.Schema}), b)
		if got := tr.Stats().RowsChanged; got != c.want {
			t.Errorf("%s %s: %d rows changed, want %d", c.plugin, c.config, got, c.want)
		}
	}
	tr := rowsPlugin(t, newHost(t), "fail", Limits{}) // rows that are left out shift the others
	mustProcess(t, tr, mustPlan(t, tr, PlanInput{Schema: b.Schema}), b)
	if s := tr.Stats(); s.RowsChanged == 0 || s.RowsChanged > s.RowsOut {
		t.Errorf("%d of %d rows changed", s.RowsChanged, s.RowsOut)
	}
}
