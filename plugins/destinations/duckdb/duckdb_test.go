//go:build duckdb_arrow

package main

import (
	"encoding/json"
	"path/filepath"
	"testing"

	pdk "github.com/leat-etl/leat/pdk/go"
	"github.com/leat-etl/leat/plugins/capability"
	"github.com/leat-etl/leat/plugins/destinations/internal/desttest"
)

func openDB(t *testing.T) capability.SQL {
	t.Helper()
	db, err := capability.OpenDuckDB(t.Context(), capability.DuckDBOptions{Path: filepath.Join(t.TempDir(), "warehouse.duckdb"), MemoryLimit: "1GB"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// opener opens the destination with a configuration.
func opener(t *testing.T) func(string) pdk.Destination {
	return func(config string) pdk.Destination {
		d := &destination{}
		if _, err := d.Open(&pdk.OpenInput{Pipeline: "shop", RawConfig: json.RawMessage(config)}); err != nil {
			t.Fatal(err)
		}
		return d
	}
}

func TestRandomChanges(t *testing.T) {
	h := desttest.NewHost(t.Context(), openDB(t))
	desttest.Random(t, h, opener(t), "main", 15)
}
