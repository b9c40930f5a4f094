//go:build duckdb_arrow

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/leat-etl/leat/engine/batch"
	pdk "github.com/leat-etl/leat/pdk/go"
	"github.com/leat-etl/leat/plugins/capability"
	"github.com/leat-etl/leat/plugins/destinations/internal/desttest"
)

// TestFileOpensAfterACrash takes the files as a kill would leave them after a
// table was altered, in a transaction that had changed its rows or not: DuckDB
// then has to replay that from its log.
func TestFileOpensAfterACrash(t *testing.T) {
	for _, changed := range []bool{false, true} {
		t.Run(fmt.Sprintf("rows changed %v", changed), func(t *testing.T) { opensAfterACrash(t, changed) })
	}
}

func opensAfterACrash(t *testing.T, changed bool) {
	folder := t.TempDir()
	path := filepath.Join(folder, "warehouse.duckdb")
	db, err := capability.OpenDuckDB(t.Context(), capability.DuckDBOptions{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	h := desttest.NewHost(t.Context(), db)
	d := opener(t)(`{}`)
	columns := []batch.Column{{Name: "key", Type: arrow.PrimitiveTypes.Int32, Key: 1, PG: batch.PGType{Name: "int4", OID: 23, Typmod: -1, Kind: "b"}}}
	for i, name := range []string{"id", "added"} {
		columns = append(columns, batch.Column{Name: name, Type: arrow.PrimitiveTypes.Int32, Nullable: true, PG: batch.PGType{Name: "int4", OID: 23, Typmod: -1, Kind: "b"}})
		s := &batch.Schema{Table: batch.TableID{Database: "shop", Schema: "public", Name: "orders"}, Version: uint64(i + 1), Columns: slices.Clone(columns)}
		p, err := h.Plan(d, s)
		if err != nil {
			t.Fatal(err)
		}
		builder := batch.NewBuilder(s)
		for i := range s.Columns {
			builder.Column(i).AppendUint32(1)
		}
		builder.EndRow(batch.Update, 1, s.Version, 1)
		b := builder.Finish(batch.Position{})
		err = h.Write(d, p, b)
		var later *pdk.SQLError
		if errors.As(err, &later) && later.Class == pdk.ClassConnection { // the table is changed first
			err = errors.Join(d.Rollback(), h.Write(d, p, b))
		}
		if err == nil && (i == 1 || !changed) {
			err = d.Commit(nil)
		} else if err == nil {
			err = errors.Join(d.Commit(nil), h.Write(d, p, b))
		}
		b.Release()
		if err != nil {
			t.Fatal(err)
		}
	}
	left := filepath.Join(folder, "left.duckdb")
	for _, suffix := range []string{"", ".wal"} {
		text, err := os.ReadFile(path + suffix)
		if err == nil {
			err = os.WriteFile(left+suffix, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	again, err := capability.OpenDuckDB(t.Context(), capability.DuckDBOptions{Path: left})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	rows, err := again.Query(t.Context(), `SELECT count(*) FROM main.orders WHERE __leat_loaded_at > now() - INTERVAL 1 DAY`)
	if err != nil {
		t.Fatal(err)
	}
	if got := *rows.Rows[0][0]; got != "1" {
		t.Errorf("%s rows of 1 with the time of their load", got)
	}
}
