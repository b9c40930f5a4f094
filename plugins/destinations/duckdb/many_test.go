//go:build duckdb_arrow

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/plugins/capability"
	"github.com/leat-etl/leat/plugins/destinations/internal/desttest"
)

// keyedTable is version v of a table with a key and v-1 columns beside it.
func keyedTable(name string, v int) *batch.Schema {
	s := &batch.Schema{Table: batch.TableID{Database: "shop", Schema: "public", Name: name}, Version: uint64(v)}
	for i := range v {
		s.Columns = append(s.Columns, batch.Column{Name: fmt.Sprintf("c%d", i), ID: i + 1, Type: arrow.PrimitiveTypes.Int32, Nullable: i > 0,
			PG: batch.PGType{Name: "int4", OID: 23, Typmod: -1, Kind: "b"}})
	}
	s.Columns[0].Key = 1
	return s
}

// observed calls seen before each statement.
type observed struct {
	capability.SQL
	seen func(sql string)
}

func (o *observed) Exec(ctx context.Context, sql string) (int64, error) {
	o.seen(sql)
	return o.SQL.Exec(ctx, sql)
}

// TestTablesAreMadeTogether asks for many tables: they are made in one
// transaction between checkpoints, whose number does not depend on theirs, and
// every copy of the files that a kill could leave opens with all of the tables
// or none.
func TestTablesAreMadeTogether(t *testing.T) {
	const n = 50
	folder := t.TempDir()
	path := filepath.Join(folder, "warehouse.duckdb")
	db, err := capability.OpenDuckDB(t.Context(), capability.DuckDBOptions{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var copies []string
	kill := func(string) {
		left := filepath.Join(folder, fmt.Sprintf("left%d.duckdb", len(copies)))
		for _, suffix := range []string{"", ".wal"} {
			text, err := os.ReadFile(path + suffix)
			if err == nil {
				err = os.WriteFile(left+suffix, text, 0o600)
			}
			if err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
		}
		copies = append(copies, left)
	}
	watched := &observed{SQL: db, seen: func(string) {}}
	h := desttest.NewHost(t.Context(), watched)
	d := opener(t)(`{}`)
	h.Statements, watched.seen = nil, kill
	for i := range n {
		s := keyedTable(fmt.Sprintf("t%d", i), 2)
		p, err := h.Plan(d, s)
		if err != nil {
			t.Fatal(err)
		}
		empty := batch.NewBuilder(s).Finish(batch.Position{})
		err = h.Write(d, p, empty)
		empty.Release()
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(h.Statements) > 0 {
		t.Errorf("before rows or a commit are there: %q", h.Statements)
	}
	if err := d.Commit(nil); err != nil {
		t.Fatal(err)
	}
	kill("")
	if got := len(slices.DeleteFunc(slices.Clone(h.Statements), func(s string) bool { return s != "CHECKPOINT" })); got != 3 {
		t.Errorf("%d tables take %d checkpoints, want 3", n, got)
	}
	noted := map[string]int{}
	for _, left := range copies {
		again, err := capability.OpenDuckDB(t.Context(), capability.DuckDBOptions{Path: left})
		if err != nil {
			t.Fatalf("%s: %v", filepath.Base(left), err)
		}
		rows, err := again.Query(t.Context(), `SELECT (SELECT count(*) FROM duckdb_tables() WHERE table_name LIKE 't%'), (SELECT count(*) FROM main.__leat_schemas)`)
		if err == nil {
			noted[*rows.Rows[0][0]+" "+*rows.Rows[0][1]]++
		} else {
			t.Error(err)
		}
		again.Close()
	}
	for got := range noted {
		if got != "0 0" && got != fmt.Sprintf("%d 0", n) && got != fmt.Sprintf("%d %d", n, n) {
			t.Errorf("a kill leaves %s tables and notes", got)
		}
	}
	if len(noted) != 3 {
		t.Errorf("kills leave %v", noted)
	}
}

// TestAskedTablesOfTwoSources asks for one target twice before it is made, as
// merged tables do: the second finds what the first has made and adds to it.
func TestAskedTablesOfTwoSources(t *testing.T) {
	h := desttest.NewHost(t.Context(), openDB(t))
	d := opener(t)(`{}`)
	for i, database := range []string{"shop_eu", "shop_us"} {
		s := keyedTable("orders", i+2)
		s.Table.Database = database
		p, err := h.Plan(d, s)
		if err != nil {
			t.Fatal(err)
		}
		empty := batch.NewBuilder(s).Finish(batch.Position{})
		err = h.Write(d, p, empty)
		empty.Release()
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Commit(nil); err != nil {
		t.Fatal(err)
	}
	rows, err := h.DB.Query(t.Context(), `SELECT string_agg(column_name, ' ' ORDER BY column_index) FROM duckdb_columns() WHERE table_name = 'orders' AND column_name NOT LIKE '\_\_%' ESCAPE '\'`)
	if err != nil || *rows.Rows[0][0] != "c0 c1 c2" {
		t.Errorf("columns %v, %v", rows, err)
	}
}
