//go:build duckdb_arrow

package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/leat-etl/leat/engine/batch"
	pdk "github.com/leat-etl/leat/pdk/go"
	"github.com/leat-etl/leat/plugins/capability"
	"github.com/leat-etl/leat/plugins/destinations/internal/desttest"
)

func openDB(t testing.TB) capability.SQL {
	t.Helper()
	db, err := capability.OpenDuckDB(t.Context(), capability.DuckDBOptions{Path: filepath.Join(t.TempDir(), "warehouse.duckdb"), MemoryLimit: "1GB"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// opener opens the destination with a configuration.
func opener(t testing.TB) func(string) pdk.Destination {
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

func TestRandomChangesWithoutAKey(t *testing.T) {
	h := desttest.NewHost(t.Context(), openDB(t))
	desttest.RandomKeyless(t, h, opener(t), "main", 8)
}

func TestRandomHistory(t *testing.T) {
	h := desttest.NewHost(t.Context(), openDB(t))
	desttest.RandomHistory(t, h, opener(t), "main", 10)
}

func TestCases(t *testing.T) {
	h := desttest.NewHost(t.Context(), openDB(t))
	desttest.Cases(t, h, opener(t), "main")
}

func TestSandboxed(t *testing.T) { desttest.Sandboxed(t, openDB(t)) }

func TestNamesThatDifferInCase(t *testing.T) {
	h := desttest.NewHost(t.Context(), openDB(t))
	d := opener(t)(`{}`)
	column := func(name string) batch.Column {
		return batch.Column{Name: name, Type: arrow.PrimitiveTypes.Int32, PG: batch.PGType{Name: "int4", OID: 23, Typmod: -1, Kind: "b"}}
	}
	s := &batch.Schema{Table: batch.TableID{Schema: "public", Name: "Orders"}, Columns: []batch.Column{column("id"), column("ID")}}
	p, err := h.Plan(d, s)
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Columns[1].Name; got == "ID" || !strings.HasPrefix(got, "ID_") {
		t.Errorf("the column ID beside id is called %q", got)
	}
	s = &batch.Schema{Table: batch.TableID{Schema: "public", Name: "orders"}, Columns: s.Columns}
	if _, err := h.Plan(d, s); err == nil {
		t.Error("the tables Orders and orders share a target")
	}
}

func TestMapping(t *testing.T) {
	for _, c := range []struct {
		format, pg string
		typmod     int32
		want       string
		lossy      int
	}{
		{"b", "bool", -1, "BOOLEAN", 0},
		{"I", "oid", -1, "UINTEGER", 0},
		{"d:12,2", "numeric", 786438, "DECIMAL(12,2)", 1},
		{"d:76,20,256", "numeric", -1, "VARCHAR", 0},
		{"u", "numeric", -1, "VARCHAR", 0},
		{"u", "jsonb", -1, "JSON", 0},
		{"u", "interval", -1, "VARCHAR", 0},
		{"u", "public.mood", -1, "VARCHAR", 0},
		{"tsu:UTC", "timestamptz", -1, "TIMESTAMP WITH TIME ZONE", 0},
		{"w:16", "uuid", -1, "UUID", 0},
		{"u", "int4[]", -1, "INTEGER[]", 0},
		{"u", "numeric[]", 786438, "DECIMAL(12,2)[]", 1},
		{"u", "numeric[]", -1, "VARCHAR[]", 0},
		{"u", "interval[]", -1, "VARCHAR[]", 0},
		{"u", "box[]", -1, "VARCHAR", 0},
	} {
		got := mapping(pdk.Column{Format: c.format, PG: pdk.PGType{Name: c.pg, Typmod: c.typmod}}, true)
		if got.Type != c.want || len(got.Lossy) != c.lossy {
			t.Errorf("%s %s: %+v, want %s", c.format, c.pg, got, c.want)
		}
	}
	if got := mapping(pdk.Column{Format: "u", PG: pdk.PGType{Name: "int4[]"}}, false); got.Type != "VARCHAR" {
		t.Errorf("an array as text: %s", got.Type)
	}
}

func TestWidens(t *testing.T) {
	for _, c := range []struct {
		from, to string
		want     bool
	}{
		{"INTEGER", "BIGINT", true}, {"BIGINT", "INTEGER", false}, {"BIGINT", "DOUBLE", false}, {"INTEGER", "DECIMAL(12,2)", true},
		{"BIGINT", "DECIMAL(12,2)", false}, {"DECIMAL(10,2)", "DECIMAL(12,2)", true}, {"DECIMAL(10,2)", "DECIMAL(10,3)", false},
		{"DECIMAL(10,2)", "VARCHAR", true}, {"VARCHAR", "INTEGER", false}, {"BLOB", "VARCHAR", false}, {"INTEGER[]", "VARCHAR", false},
	} {
		if got := widens(c.from, c.to); got != c.want {
			t.Errorf("widens(%s, %s) = %v", c.from, c.to, got)
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	desttest.Load(b, desttest.NewHost(b.Context(), openDB(b)), opener(b))
}
