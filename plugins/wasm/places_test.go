package wasm

import (
	"context"
	"math"
	"strings"
	"testing"

	"github.com/leat-etl/leat/engine/batch"
)

// placesOfEveryKit are guests that say where rows stand. The Go kit's is the
// bundled dedupe, which has tests of its own.
var placesOfEveryKit = map[string]func(t testing.TB) []byte{
	"c":          func(t testing.TB) []byte { return compileC(t, "testdata/places-kits/plugin.c") },
	"rust":       func(t testing.TB) []byte { return compileRust(t, "testdata/places-kits/lib.rs") },
	"typescript": func(t testing.TB) []byte { return compileTypeScript(t, "plugins/wasm/testdata/places-kits/plugin.ts") },
}

func TestAPluginIsToldWhereRowsStand(t *testing.T) {
	for language, code := range placesOfEveryKit {
		t.Run(language, func(t *testing.T) {
			h, code := newHost(t), code(t)
			load := func(config string) (*Transform, *Plan) {
				tr, err := h.Transform(t.Context(), code, Plugin{Name: "places", Version: "0.1.0", Config: []byte(config)})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { tr.Close(context.Background()) })
				return tr, mustPlan(t, tr, PlanInput{Schema: customers("shop")})
			}
			s := customers("shop")
			b := customerBatch(s, row{batch.Insert, 1, [3]string{"a", "n", null}}, row{batch.Insert, 2, [3]string{absent, "n", null}}, row{batch.Update, 3, [3]string{"c", "n", null}})
			copy(b.LSN, []uint64{7, 8, math.MaxInt64})
			copy(b.Ordinal, []uint64{1, 2, 1 << 40})
			copy(b.CommitTime, []int64{5, 6, -1})
			tr, p := load(`{"asks": true}`)
			out := mustProcess(t, tr, p, b).Batches[0]
			defer out.Release()
			said := out.Rows.Column(1)
			if first, third := cellText(said, 0), cellText(said, 2); first != "a 7/1 5" || third != "c 9223372036854775807/1099511627776 -1" || out.Present[1].Get(1) {
				t.Errorf("it says %q and %q", first, third)
			}
			tr, p = load(`{}`)
			if _, err := tr.Process(t.Context(), p, b); err == nil || !strings.Contains(err.Error(), "places@0.1.0") {
				t.Errorf("without asking it fails with %v", err)
			}
		})
	}
}
