package postgres

import (
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/leat-etl/leat/engine/batch"
)

// TextColumn reads texts of one PostgreSQL type into the Arrow type that a
// column of that type has. It is not safe for concurrent use.
type TextColumn struct {
	Type    arrow.DataType
	append  appender
	builder *batch.Builder
}

// ElementColumn returns the reader of the elements of an array column, or of a
// vector's; ok is false for a column that is neither, or of a type that the map
// has not.
func (m *TypeMap) ElementColumn(array batch.Column) (t *TextColumn, ok bool, err error) {
	of := m.types[array.PG.OID]
	var element batch.Column
	switch {
	case of != nil && of.Kind == 'a' && m.types[of.Of] != nil:
		element = m.Column("element", of.Of, array.PG.Typmod, true)
	case of != nil && of.Output == vectorOut:
		element = m.Column("element", oidFloat4, -1, true)
	default:
		return nil, false, nil
	}
	appendText, err := textAppender(element.Type)
	if err != nil {
		return nil, false, fmt.Errorf("elements of column %q: %w", array.Name, err)
	}
	schema := &batch.Schema{Columns: []batch.Column{element}}
	return &TextColumn{Type: element.Type, append: appendText, builder: batch.NewBuilder(schema)}, true, nil
}

// NewTextColumn returns the reader of a column's values.
func NewTextColumn(c batch.Column) (*TextColumn, error) {
	appendText, err := textAppender(c.Type)
	if err != nil {
		return nil, fmt.Errorf("text of column %q: %w", c.Name, err)
	}
	return &TextColumn{Type: c.Type, append: appendText, builder: batch.NewBuilder(&batch.Schema{Columns: []batch.Column{c}})}, nil
}

// Read returns the texts, nil for NULL, as an array that the caller releases.
func (t *TextColumn) Read(texts []*string) (arrow.Array, error) {
	for _, text := range texts {
		if text == nil {
			t.builder.Column(0).AppendNull()
		} else if err := t.append(t.builder.Column(0), []byte(*text)); err != nil {
			t.builder.AbortRow()
			t.builder.Finish(batch.Position{}).Release()
			return nil, err
		}
		t.builder.EndRow(batch.Read, 0, 0, 0)
	}
	b := t.builder.Finish(batch.Position{})
	defer b.Release()
	cells := b.Rows.Column(0)
	cells.Retain()
	return cells, nil
}
