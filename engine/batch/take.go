package batch

import (
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// Take returns a batch of the given rows of b in the given order; a row may
// be taken more than once. The caller keeps OldKey rows with the row after
// them. b keeps its own reference.
func Take(b *Batch, rows []int32) *Batch {
	sources := make([][]int32, len(b.Schema.Columns))
	for i := range sources {
		sources[i] = rows
	}
	ops := make([]Op, len(rows))
	for i, r := range rows {
		ops[i] = b.Ops[r]
	}
	return assemble(b, sources, rows, ops)
}

// assemble builds a batch of len(meta) rows: column c of row i comes from row
// cells[c][i] of b, its position from row meta[i].
func assemble(b *Batch, cells [][]int32, meta []int32, ops []Op) *Batch {
	n := len(meta)
	out := &Batch{
		Schema: b.Schema, Ops: ops, LSN: make([]uint64, n), Ordinal: make([]uint64, n),
		CommitTime: make([]int64, n), Present: make([]Bitmap, len(cells)), Position: b.Position, Ingested: b.Ingested, Compacted: b.Compacted,
	}
	for i, r := range meta {
		out.LSN[i], out.Ordinal[i], out.CommitTime[i] = b.LSN[r], b.Ordinal[r], b.CommitTime[r]
	}
	arrays := make([]arrow.Array, len(cells))
	for c, rows := range cells {
		arrays[c] = Gather(b.Rows.Column(c), rows)
		if p := b.Present[c]; p != nil {
			out.Present[c] = gatherBits(p, rows)
		}
		for _, buf := range arrays[c].Data().Buffers() {
			if buf != nil {
				out.Bytes += int64(buf.Len())
			}
		}
	}
	out.Rows = array.NewRecordBatch(b.Schema.Arrow(), arrays, int64(n))
	for _, a := range arrays {
		a.Release()
	}
	return out
}

// gatherBits returns nil where all the taken bits are set.
func gatherBits(m Bitmap, rows []int32) Bitmap {
	out := NewBitmap(len(rows))
	all := true
	for i, r := range rows {
		if m.Get(int(r)) {
			out.Set(i)
		} else {
			all = false
		}
	}
	if all {
		return nil
	}
	return out
}

// Gather returns a new array of the given rows of arr, which must be of a
// type that a batch may contain.
func Gather(arr arrow.Array, rows []int32) arrow.Array {
	data := arr.Data()
	offset := data.Offset()
	bufs := make([]*memory.Buffer, 2, 3)
	nulls := 0
	if arr.NullN() > 0 {
		valid := NewBitmap(len(rows))
		for i, r := range rows {
			if arr.IsValid(int(r)) {
				valid.Set(i)
			} else {
				nulls++
			}
		}
		if nulls > 0 {
			bufs[0] = memory.NewBufferBytes(valid)
		}
	}
	values := data.Buffers()[1].Bytes()
	switch t := arr.DataType().(type) {
	case *arrow.BooleanType:
		out := buffers.Allocate((len(rows) + 7) / 8)
		clear(out)
		for i, r := range rows {
			if Bitmap(values).Get(int(r) + offset) {
				Bitmap(out).Set(i)
			}
		}
		bufs[1] = pooled(out)
	case arrow.BinaryDataType:
		bufs[1], bufs = gatherText(data, rows, bufs)
	case arrow.FixedWidthDataType:
		width := t.BitWidth() / 8
		out := buffers.Allocate(len(rows) * width)
		gatherFixed(out, values[offset*width:], rows, width)
		bufs[1] = pooled(out)
	default:
		panic(fmt.Sprintf("batch: type %s cannot be part of a batch", t))
	}
	d := array.NewData(arr.DataType(), len(rows), bufs, nil, nulls, 0)
	for _, b := range bufs[1:] {
		b.Release()
	}
	out := array.MakeFromData(d)
	d.Release()
	return out
}

func gatherFixed(out, values []byte, rows []int32, width int) {
	switch width {
	case 4:
		to, from := int32s(out), int32s(values[:len(values):len(values)])
		for i, r := range rows {
			to[i] = from[r]
		}
	default:
		for i, r := range rows {
			copy(out[i*width:(i+1)*width], values[int(r)*width:])
		}
	}
}

func gatherText(data arrow.ArrayData, rows []int32, bufs []*memory.Buffer) (*memory.Buffer, []*memory.Buffer) {
	raw := data.Buffers()[1].Bytes()
	from := int32s(raw[:len(raw):len(raw)])[data.Offset():]
	var text []byte
	if b := data.Buffers()[2]; b != nil {
		text = b.Bytes()
	}
	offsets := int32s(buffers.Allocate(4 * (len(rows) + 1)))
	offsets[0] = 0
	var total int64
	for i, r := range rows {
		total += int64(from[r+1] - from[r])
		if total > MaxColumnBytes {
			panic("batch: gathered column beyond MaxColumnBytes")
		}
		offsets[i+1] = int32(total)
	}
	out := buffers.Allocate(int(total))
	for i, r := range rows {
		copy(out[offsets[i]:], text[from[r]:from[r+1]])
	}
	return pooled(bytesOf(offsets)), append(bufs, pooled(out))
}

// With returns b with other columns: those of schema, as many as before, in
// the same rows. Absent cells stay absent. The caller keeps its references to
// the columns and releases the result.
func (b *Batch) With(schema *Schema, columns []arrow.Array) *Batch {
	out := *b
	out.Schema, out.Rows = schema, array.NewRecordBatch(schema.Arrow(), columns, int64(b.Len()))
	return &out
}
