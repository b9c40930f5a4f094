package wasm

import (
	"context"
	"strings"
	"testing"

	"github.com/leat-etl/leat/engine/batch"
)

// changesOfEveryKit are destinations that say what a batch is.
var changesOfEveryKit = map[string]func(t testing.TB) []byte{
	"go":         func(t testing.TB) []byte { return build(t, "testdata/changes") },
	"c":          func(t testing.TB) []byte { return compileC(t, "testdata/changes-kits/plugin.c") },
	"rust":       func(t testing.TB) []byte { return compileRust(t, "testdata/changes-kits/lib.rs") },
	"typescript": func(t testing.TB) []byte { return compileTypeScript(t, "plugins/wasm/testdata/changes-kits/plugin.ts") },
}

func TestADestinationKnowsAChangeByItsEmptyBatch(t *testing.T) {
	for language, code := range changesOfEveryKit {
		t.Run(language, func(t *testing.T) {
			d, err := newHost(t).Destination(t.Context(), code(t), Plugin{Name: "changes", Version: "1"}, &recordedSQL{})
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close(context.WithoutCancel(t.Context()))
			if _, err := d.Open(t.Context(), OpenInput{Pipeline: "shop"}); err != nil {
				t.Fatal(err)
			}
			s := customers("shop")
			p, err := d.Plan(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			at := func(b *batch.Batch, p batch.Position) *batch.Batch {
				b.Position = p
				return b
			}
			one := row{batch.Insert, 1, [3]string{"a", "n", null}}
			placed := batch.Position{Timeline: 1, LSN: 0x16b3748}
			for want, b := range map[string]*batch.Batch{
				"a change":   at(customerBatch(s), placed),
				"a truncate": at(customerBatch(s, row{batch.Truncate, 0, [3]string{absent, absent, absent}}), placed),
				"neither":    at(customerBatch(s, one), placed),
				"neither ":   at(customerBatch(s), batch.Position{}), // makes the table
			} {
				if err := d.Write(t.Context(), p, b); err == nil || !strings.HasSuffix(err.Error(), strings.TrimSpace(want)) {
					t.Errorf("of a batch of %d rows at %s it says %v, want %s", b.Len(), b.Position, err, want)
				}
				b.Release()
			}
		})
	}
}
