package wasm

import (
	"github.com/apache/arrow-go/v18/arrow"

	"github.com/leat-etl/leat/engine/batch"
)

// castText prints a column the way PostgreSQL does with DateStyle ISO and
// TimeZone UTC.
func castText(a arrow.Array) (arrow.Array, error) {
	text, err := batch.TextOf(a)
	if err != nil {
		return nil, err
	}
	b := batch.NewBuilder(&batch.Schema{Columns: []batch.Column{{Name: "cast", Type: arrow.BinaryTypes.String}}})
	c := b.Column(0)
	for row := range a.Len() {
		if a.IsNull(row) {
			c.AppendNull()
		} else {
			c.AppendText(func(dst []byte) []byte { return text(dst, row) })
		}
		b.EndRow(batch.Read, 0, 0, 0)
	}
	out := b.Finish(batch.Position{})
	defer out.Release()
	column := out.Rows.Column(0)
	column.Retain()
	return column, nil
}
