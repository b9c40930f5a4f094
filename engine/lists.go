package engine

import (
	"encoding/binary"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/plugins/capability"
)

// arrayColumn compares an array column of the source with what the
// destination made of it: PostgreSQL's literal, or a list.
type arrayColumn struct {
	element *postgres.TextColumn
	loss    loss
}

// append appends a form of one array that is the same bytes for a literal and
// for a list. A literal that no list can hold stands for itself.
func (c *arrayColumn) append(dst []byte, arr arrow.Array, row int) ([]byte, error) {
	if arr.IsNull(row) {
		return append(dst, 0), nil
	}
	switch a := arr.(type) {
	case *array.String:
		texts, ok := capability.Elements(a.Value(row))
		if ok {
			if cells, err := c.element.Read(texts); err == nil {
				defer cells.Release()
				return c.appendElements(dst, cells, 0, cells.Len())
			}
		}
		return appendText(append(dst, 1), a.Value(row)), nil
	case *array.List:
		from, to := a.ValueOffsets(row)
		texts, ok := a.ListValues().(*array.String)
		if !ok || c.element.Type.ID() == arrow.STRING {
			return c.appendElements(dst, a.ListValues(), int(from), int(to))
		}
		cells, err := c.element.Read(textsOf(texts, int(from), int(to)))
		if err != nil {
			return nil, err
		}
		defer cells.Release()
		return c.appendElements(dst, cells, 0, cells.Len())
	}
	return appendCanonical(dst, arr, row, arrow.BinaryTypes.String)
}

func (c *arrayColumn) appendElements(dst []byte, cells arrow.Array, from, to int) ([]byte, error) {
	dst = binary.AppendUvarint(append(dst, 2), uint64(to-from))
	for i := from; i < to; i++ {
		var err error
		if dst, err = c.loss.append(dst, cells, i, c.element.Type); err != nil {
			return nil, err
		}
	}
	return dst, nil
}

func textsOf(a *array.String, from, to int) []*string {
	texts := make([]*string, 0, to-from)
	for i := from; i < to; i++ {
		if a.IsNull(i) {
			texts = append(texts, nil)
			continue
		}
		text := a.Value(i)
		texts = append(texts, &text)
	}
	return texts
}
