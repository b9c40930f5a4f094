package wasm

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/leat-etl/leat/engine/batch"
)

// TestPluginWrittenFromTheTextAlone runs a guest in plain C that was written
// from pdk/README.md without a kit: the text is enough.
func TestPluginWrittenFromTheTextAlone(t *testing.T) {
	out := filepath.Join(t.TempDir(), "fromtext.wasm")
	code := compile(t, ".", out, "clang", "--target=wasm32", "-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-mbulk-memory", "-nostdlib", "-Wl,--no-entry", "-o", out, "testdata/fromtext/plugin.c")
	tr, err := newHost(t).Transform(context.Background(), code, Plugin{Name: "fromtext", Version: "0.1.0"})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close(context.Background())
	s := customers("shop")
	p := mustPlan(t, tr, PlanInput{Schema: s})
	if len(p.Sees) != 1 || p.Sees[0] != "email" {
		t.Errorf("it sees %q", p.Sees)
	}
	rows := append(mixed[:len(mixed):len(mixed)], row{batch.Insert, 6, [3]string{"drop", "n", "{}"}}, row{batch.Insert, 7, [3]string{"fail", "n", "{}"}}, row{batch.Read, 8, [3]string{"élan", null, "{}"}})
	for range 2 {
		r := mustProcess(t, tr, p, customerBatch(s, rows...))
		wantRows(t, r.Batches[0], "I|1|ANN@EXAMPLE.ORG|one|{1,NULL}", "U|2|?|two|{}", "K|3|?|?|?", "U|4|~|?|~", "D|5|?|?|?", "R|8|éLAN|~|{}")
		if len(r.Failed) != 1 || r.Failed[0].Message != `the text is "fail"` {
			t.Errorf("failed rows are %+v", r.Failed)
		}
	}
	wide(t, tr, p, s)
}
