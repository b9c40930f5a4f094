package kernel

import (
	"errors"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/leat-etl/leat/engine/batch"
)

// bindAny says whether any of its inputs is true, or, with not, that none is.
// Null counts as false; the result is absent only where it depends on an
// absent cell.
func bindAny(b *binding) (*Kernel, error) {
	var p struct {
		Not bool `json:"not"`
	}
	if err := b.decode(&p); err != nil {
		return nil, err
	}
	if len(b.inputs) == 0 {
		return nil, errors.New("it takes at least one input")
	}
	for _, in := range b.inputs {
		if in.Type.ID() != arrow.BOOL {
			return nil, fmt.Errorf("%s is %s, not bool", in, in.Type)
		}
	}
	return &Kernel{Output: arrow.FixedWidthTypes.Boolean, run: func(in []Column, rows int, out *result) error {
		return fill(arrow.FixedWidthTypes.Boolean, nil, rows, out, func(c *batch.ColumnBuilder, row int) error {
			unknown := false
			for _, column := range in {
				switch stateOf([]Column{column}, row) {
				case cellAbsent:
					unknown = true
				case cellValue:
					if column.Array.(*array.Boolean).Value(row) {
						c.AppendBool(!p.Not)
						return nil
					}
				}
			}
			if unknown {
				c.AppendAbsent()
			} else {
				c.AppendBool(p.Not)
			}
			return nil
		})
	}}, nil
}
