//go:build duckdb_arrow

package workbench

import (
	"path/filepath"
	"testing"

	"github.com/leat-etl/leat/plugins/bundle"
)

// TestBundledTransforms runs the cases beside every bundled transform and those
// of the host's own.
func TestBundledTransforms(t *testing.T) {
	h := newHost(t)
	dirs, err := filepath.Glob("../../transforms/*/tests")
	if err != nil || len(dirs) < 8 {
		t.Fatalf("only %d transforms have cases (%v)", len(dirs), err)
	}
	for _, tests := range dirs {
		dir := filepath.Dir(tests)
		name := filepath.Base(dir)
		t.Run(name, func(t *testing.T) {
			b, err := bundle.Resolve(name, ".")
			if err != nil {
				t.Fatal(err)
			}
			r := report(t, h, b, dir)
			for _, one := range r.Results {
				if !one.Passed {
					t.Errorf("%s: %s\n%s", one.Group, one.Case, one.Detail)
				}
			}
			if len(r.Results) < 3 {
				t.Errorf("only %d cases ran", len(r.Results))
			}
		})
	}
}
