package wasm

import (
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/plugins/kernel"
)

// choice is the rows of one output: for output row i the input row in[i], the
// row computed[i] of the guest's columns (-1: none), and the operation ops[i].
// A nil in stands for all input rows as they are.
type choice struct {
	in       []int32
	computed []int32
	ops      []batch.Op
	// cells is in with -1 where a row carries its identity and nothing else;
	// nil where every row is whole.
	cells []int32
}

// bytesOfPlace is what a row of a choice takes beside its cells: where it comes
// from, its operation, and its place in the log.
const bytesOfPlace = 4 + 4 + 1 + 3*8

// apply builds output o of plan p from b.
func (p *Plan) apply(o int, b *batch.Batch, r *result, c *choice) (*batch.Batch, error) {
	out := &batch.Batch{Schema: p.Outputs[o], Position: b.Position, Ops: b.Ops, LSN: b.LSN, Ordinal: b.Ordinal, CommitTime: b.CommitTime, Bytes: b.Bytes, Ingested: b.Ingested}
	if c.in != nil {
		n := len(c.in)
		if err := r.allowance.take(int64(n) * bytesOfPlace); err != nil {
			return nil, err
		}
		out.Ops, out.LSN, out.Ordinal, out.CommitTime = c.ops, make([]uint64, n), make([]uint64, n), make([]int64, n)
		for i, row := range c.in {
			out.LSN[i], out.Ordinal[i], out.CommitTime[i] = b.LSN[row], b.Ordinal[row], b.CommitTime[row]
		}
		out.Bytes = b.Bytes * int64(n) / int64(max(1, b.Len()))
	}
	columns := make([]arrow.Array, len(out.Schema.Columns))
	out.Present = make([]batch.Bitmap, len(columns))
	defer func() {
		for _, a := range columns {
			if a != nil {
				a.Release()
			}
		}
	}()
	for i := range columns {
		var err error
		if columns[i], out.Present[i], err = p.column(o, i, b, r, c, out.Ops); err != nil {
			return nil, fmt.Errorf("column %q of %s: %w", out.Schema.Columns[i].Name, out.Schema.Table, err)
		}
	}
	out.Rows = array.NewRecordBatch(out.Schema.Arrow(), columns, int64(out.Len()))
	return out, nil
}

// column builds column i of output o.
func (p *Plan) column(o, i int, b *batch.Batch, r *result, c *choice, ops []batch.Op) (arrow.Array, batch.Bitmap, error) {
	from, column := p.origins[o][i], &p.Outputs[o].Columns[i]
	identity := column.Key > 0 || p.wholeRow(o)
	switch from.kind {
	case fromColumn:
		return c.take(b.Rows.Column(from.index), b.Present[from.index], identity, r.allowance)
	case fromKernel:
		return c.take(r.kernels[from.index].Array, r.kernels[from.index].Present, identity, r.allowance)
	case fromCast:
		a, present, err := c.take(b.Rows.Column(from.index), b.Present[from.index], identity, r.allowance)
		if err != nil {
			return nil, nil, err
		}
		defer a.Release()
		if a, err = cast(a, column.Type); err != nil {
			return nil, nil, err
		}
		if err := r.allowance.take(int64(kernel.Column{Array: a}.Size())); err != nil {
			a.Release()
			return nil, nil, err
		}
		return a, present, nil
	case fromConstant:
		if err := r.allowance.take(int64(len(ops)) * int64(len(from.constant)+4)); err != nil {
			return nil, nil, err
		}
		a, present := constantColumn(from.constant, ops, identity)
		return a, present, nil
	case fromNull:
		if err := r.allowance.take(int64(len(ops)) * 16); err != nil {
			return nil, nil, err
		}
		return nullColumn(column.Type, len(ops)), identityOnly(ops, identity), nil
	}
	a, present := r.columns[from.index], r.present[from.index]
	if c.in == nil {
		a.Retain()
		return a, present, nil
	}
	return takeComputed(a, present, c.computed, r.allowance)
}

// take gathers the chosen rows of a column of the input.
func (c *choice) take(a arrow.Array, present batch.Bitmap, identity bool, room *allowance) (arrow.Array, batch.Bitmap, error) {
	switch {
	case c.in == nil:
		a.Retain()
		return a, present, nil
	case c.cells != nil && !identity:
		return takeComputed(a, present, c.cells, room)
	}
	if err := room.take(gatheredSize(a, c.in)); err != nil {
		return nil, nil, err
	}
	return batch.Gather(a, c.in), takeBits(present, c.in), nil
}

// wholeRow says that the rows of output o are identified by all that they hold:
// it has no key.
func (p *Plan) wholeRow(o int) bool { return len(p.Outputs[o].Key()) == 0 }

// takeComputed gathers rows; row -1 is absent.
func takeComputed(a arrow.Array, present batch.Bitmap, rows []int32, room *allowance) (arrow.Array, batch.Bitmap, error) {
	if err := room.take(gatheredSize(a, rows)); err != nil {
		return nil, nil, err
	}
	missing := false
	for _, row := range rows {
		missing = missing || row < 0
	}
	if !missing {
		return batch.Gather(a, rows), takeBits(present, rows), nil
	}
	nulls := nullColumn(a.DataType(), 1)
	defer nulls.Release()
	both, err := array.Concatenate([]arrow.Array{a, nulls}, memory.DefaultAllocator)
	if err != nil {
		return nil, nil, err
	}
	defer both.Release()
	from := make([]int32, len(rows))
	out := batch.NewBitmap(len(rows))
	for i, row := range rows {
		if from[i] = row; row < 0 {
			from[i] = int32(a.Len())
		} else if present == nil || present.Get(int(row)) {
			out.Set(i)
		}
	}
	return batch.Gather(both, from), out, nil
}

// takeBits gathers a presence bitmap; nil stays nil.
func takeBits(m batch.Bitmap, rows []int32) batch.Bitmap {
	if m == nil {
		return nil
	}
	out := batch.NewBitmap(len(rows))
	for i, row := range rows {
		if m.Get(int(row)) {
			out.Set(i)
		}
	}
	return out
}

// identityOnly is the presence of a column that the source does not have: it
// is absent where a row carries nothing but its identity. A nil bitmap is
// presence everywhere.
func identityOnly(ops []batch.Op, key bool) batch.Bitmap {
	if key {
		return nil
	}
	var m batch.Bitmap
	for i, op := range ops {
		if op != batch.Delete && op != batch.OldKey && op != batch.Truncate {
			continue
		}
		if m == nil {
			m = batch.NewBitmap(len(ops))
			for j := range ops {
				m.Set(j)
			}
		}
		m.Clear(i)
	}
	return m
}

func nullColumn(t arrow.DataType, n int) arrow.Array {
	return array.MakeArrayOfNull(memory.DefaultAllocator, t, n)
}

// constantColumn repeats one text in every row that has the column.
func constantColumn(value string, ops []batch.Op, key bool) (arrow.Array, batch.Bitmap) {
	n := len(ops)
	present := identityOnly(ops, key)
	offsets := make([]int32, n+1)
	data := make([]byte, 0, n*len(value))
	nulls := 0
	for i := range n {
		if present == nil || present.Get(i) {
			data = append(data, value...)
		} else {
			nulls++
		}
		offsets[i+1] = int32(len(data))
	}
	var valid *memory.Buffer
	if nulls > 0 {
		valid = memory.NewBufferBytes(present)
	}
	bufs := []*memory.Buffer{valid, memory.NewBufferBytes(arrow.Int32Traits.CastToBytes(offsets)), memory.NewBufferBytes(data)}
	d := array.NewData(arrow.BinaryTypes.String, n, bufs, nil, nulls, 0)
	defer d.Release()
	return array.MakeFromData(d), present
}

// truncate passes a TRUNCATE on to an output.
func truncate(s *batch.Schema, b *batch.Batch) *batch.Batch {
	out := &batch.Batch{Schema: s, Ops: b.Ops, LSN: b.LSN, Ordinal: b.Ordinal, CommitTime: b.CommitTime, Position: b.Position, Present: make([]batch.Bitmap, len(s.Columns)), Bytes: b.Bytes, Ingested: b.Ingested}
	columns := make([]arrow.Array, len(s.Columns))
	for i, c := range s.Columns {
		columns[i], out.Present[i] = nullColumn(c.Type, 1), batch.NewBitmap(1)
	}
	out.Rows = array.NewRecordBatch(s.Arrow(), columns, 1)
	for _, a := range columns {
		a.Release()
	}
	return out
}
