package postgres

import (
	"fmt"
	"testing"

	"github.com/leat-etl/leat/engine/batch"
)

// TestColumnsAreFoundAgain gives the columns of a message their numbers, where
// the catalogue is later than the message.
func TestColumnsAreFoundAgain(t *testing.T) {
	const key, number, text = 20, 23, 25
	id := attribute{id: 1, name: "id", typeOID: key, written: 10}
	before := &batch.Schema{Columns: []batch.Column{{Name: "id", ID: 1, PG: batch.PGType{OID: key}}}}
	known := &batch.Schema{Columns: append([]batch.Column{{Name: "a", ID: 2, PG: batch.PGType{OID: number}}}, before.Columns...)}
	for _, c := range []struct {
		name    string
		before  *batch.Schema
		now     []attribute
		xid     uint32
		columns []describedColumn
		want    string
	}{
		{"added and renamed since, beside one dropped long ago", before,
			[]attribute{id, {id: 2, dropped: true, written: 20}, {id: 3, name: "b", typeOID: number, written: 40}}, 30,
			[]describedColumn{{name: "id", oid: key}, {name: "a", oid: number}}, "[1 3]"},
		{"added and dropped since, beside one added since", before,
			[]attribute{id, {id: 2, dropped: true, written: 40}, {id: 3, name: "b", typeOID: text, written: 41}}, 30,
			[]describedColumn{{name: "id", oid: key}, {name: "a", oid: number}}, "[1 2]"},
		{"another one was dropped, then added and renamed since", known,
			[]attribute{id, {id: 2, dropped: true, written: 20}, {id: 3, name: "c", typeOID: number, written: 40}}, 30,
			[]describedColumn{{name: "id", oid: key}, {name: "b", oid: number}}, "[1 3]"},
		{"renamed, and dropped since", known,
			[]attribute{id, {id: 2, dropped: true, written: 40}, {id: 3, name: "c", typeOID: number, written: 41}}, 30,
			[]describedColumn{{name: "id", oid: key}, {name: "b", oid: number}}, "[1 2]"},
		{"transactions counted over their end", before,
			[]attribute{id, {id: 2, dropped: true, written: 1<<32 - 20}, {id: 3, name: "b", typeOID: number, written: 40}}, 30,
			[]describedColumn{{name: "id", oid: key}, {name: "a", oid: number}}, "[1 3]"},
		{"a transaction that is not known", before,
			[]attribute{id, {id: 2, name: "b", typeOID: number, written: 40}}, 0,
			[]describedColumn{{name: "id", oid: key}, {name: "a", oid: number}}, "[1 2]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := described{xid: c.xid, columns: c.columns}
			if got := fmt.Sprint(m.columnIDs(c.before, &Table{attributes: c.now})); got != c.want {
				t.Errorf("numbers %s, want %s", got, c.want)
			}
		})
	}
}
