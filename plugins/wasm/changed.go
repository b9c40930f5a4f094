package wasm

import (
	"bytes"
	"math/bits"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/leat-etl/leat/engine/batch"
)

// comparedColumn is a column of an output whose values were computed, by the
// guest or by a kernel on its behalf, and the column of its name that came in,
// -1 where there was none of its type.
type comparedColumn struct{ out, in int }

// comparedColumns are those of output o.
func (p *Plan) comparedColumns(o int) (out []comparedColumn) {
	for i, from := range p.origins[o] {
		if from.kind != fromComputed && from.kind != fromKernel {
			continue
		}
		c := &p.Outputs[o].Columns[i]
		in := p.input.Column(c.Name)
		if in >= 0 && !arrow.TypeEqual(p.input.Columns[in].Type, c.Type) {
			in = -1
		}
		out = append(out, comparedColumn{i, in})
	}
	return out
}

// countChanged is how many rows of an output differ from what came in, in a
// value that was computed. Absent values differ from none.
func (p *Plan) countChanged(o int, made, b *batch.Batch, c *choice) int {
	columns := p.compared[o]
	if len(columns) == 0 {
		return 0
	}
	changed := batch.NewBitmap(made.Len())
	for _, column := range columns {
		a, present := made.Rows.Column(column.out), made.Present[column.out]
		if column.in < 0 {
			for r := range made.Ops {
				if present == nil || present.Get(r) {
					changed.Set(r)
				}
			}
			continue
		}
		was := b.Rows.Column(column.in)
		equal := equalCells(a, was)
		for r := range made.Ops {
			from := r
			if c.in != nil {
				from = int(c.in[r])
			}
			if (present == nil || present.Get(r)) && !changed.Get(r) && (a.IsNull(r) != was.IsNull(from) || !a.IsNull(r) && !equal(r, from)) {
				changed.Set(r)
			}
		}
	}
	n := 0
	for _, eight := range changed {
		n += bits.OnesCount8(eight)
	}
	return n
}

// equalCells compares cells of two columns of one type that are not null.
func equalCells(a, b arrow.Array) func(i, j int) bool {
	switch x := a.(type) {
	case *array.String:
		y := b.(*array.String)
		return func(i, j int) bool { return x.Value(i) == y.Value(j) }
	case *array.Binary:
		y := b.(*array.Binary)
		return func(i, j int) bool { return bytes.Equal(x.Value(i), y.Value(j)) }
	case *array.Boolean:
		y := b.(*array.Boolean)
		return func(i, j int) bool { return x.Value(i) == y.Value(j) }
	}
	width := a.DataType().(arrow.FixedWidthDataType).Bytes()
	x, y := values(a), values(b)
	from, to := a.Data().Offset(), b.Data().Offset()
	return func(i, j int) bool {
		i, j = (i+from)*width, (j+to)*width
		return bytes.Equal(x[i:i+width], y[j:j+width])
	}
}

// values are the bytes of a column of fixed width, none where it has no buffer
// because all is null.
func values(a arrow.Array) []byte {
	if buffer := a.Data().Buffers()[1]; buffer != nil {
		return buffer.Bytes()
	}
	return nil
}
