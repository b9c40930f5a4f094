package wasm

import (
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/leat-etl/leat/engine/batch"
)

// null and absent are cells of textBatch.
const (
	null   = "\x00null"
	absent = "\x00absent"
)

// customers is a table with a bigint key, two text columns and an int array.
func customers(database string) *batch.Schema {
	return &batch.Schema{
		Table: batch.TableID{Database: database, Schema: "public", Name: "customers"}, Version: 1,
		Columns: []batch.Column{
			{Name: "id", Type: arrow.PrimitiveTypes.Int64, PG: batch.PGType{Name: "int8", OID: 20, Typmod: -1, Kind: "b"}, Key: 1},
			{Name: "email", Type: arrow.BinaryTypes.String, PG: batch.PGType{Name: "text", OID: 25, Typmod: -1, Kind: "b"}, Nullable: true},
			{Name: "note", Type: arrow.BinaryTypes.String, PG: batch.PGType{Name: "text", OID: 25, Typmod: -1, Kind: "b"}, Nullable: true},
			{Name: "scores", Type: arrow.BinaryTypes.String, PG: batch.PGType{Name: "int4[]", OID: 1007, Typmod: -1, Kind: "a"}, Nullable: true},
		},
	}
}

// row is a row of customers: its operation, id and text cells.
type row struct {
	op   batch.Op
	id   int64
	text [3]string
}

func customerBatch(s *batch.Schema, rows ...row) *batch.Batch {
	b := batch.NewBuilder(s)
	for i, r := range rows {
		b.Column(0).AppendUint64(uint64(r.id))
		for k, v := range r.text {
			switch v {
			case null:
				b.Column(k + 1).AppendNull()
			case absent:
				b.Column(k + 1).AppendAbsent()
			default:
				b.Column(k + 1).AppendBytes([]byte(v))
			}
		}
		b.EndRow(r.op, 100, uint64(i+1), 1_000_000)
	}
	return b.Finish(batch.Position{Timeline: 1, LSN: 100, Ordinal: batch.EndOfTransaction})
}

// show prints a batch as lines of op and cells, for comparison.
func show(b *batch.Batch) string {
	var s strings.Builder
	for r := range b.Len() {
		s.WriteByte(byte(b.Ops[r]))
		for c := range b.Schema.Columns {
			s.WriteByte('|')
			a := b.Rows.Column(c)
			switch {
			case !b.IsPresent(c, r):
				if a.IsValid(r) {
					s.WriteString("absent but valid: ")
				}
				s.WriteByte('?')
			case a.IsNull(r):
				s.WriteByte('~')
			default:
				s.WriteString(cellText(a, r))
			}
		}
		s.WriteByte('\n')
	}
	return s.String()
}

// cellText prints one valid cell.
func cellText(a arrow.Array, row int) string {
	text, err := batch.TextOf(a)
	if err != nil {
		return err.Error()
	}
	return string(text(nil, row))
}

func wantRows(t testing.TB, b *batch.Batch, want ...string) {
	t.Helper()
	if got := show(b); got != strings.Join(want, "\n")+"\n" {
		t.Errorf("rows are\n%swant\n%s", got, strings.Join(want, "\n"))
	}
	if int(b.Rows.NumRows()) != b.Len() || len(b.LSN) != b.Len() || len(b.Ordinal) != b.Len() || len(b.CommitTime) != b.Len() || len(b.Present) != int(b.Rows.NumCols()) {
		t.Errorf("batch of %d rows has %d Arrow rows, %d LSNs, %d presence bitmaps", b.Len(), b.Rows.NumRows(), len(b.LSN), len(b.Present))
	}
}
