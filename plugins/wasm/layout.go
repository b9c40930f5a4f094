package wasm

import (
	"encoding/binary"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/leat-etl/leat/engine/batch"
)

// Sizes of the structures that pdk/README.md defines.
const (
	schemaSize     = 48
	arraySize      = 64
	batchSize      = 32
	resultSize     = 48
	errorEntrySize = 12
)

// layout places structures one after another in the guest's input memory. With
// a nil buffer it only measures. Offsets count from base, the address of buf.
type layout struct {
	buf  []byte
	base uint32
	end  uint64
}

// place reserves n bytes aligned to 8 and returns their offset in buf.
func (l *layout) place(n int) int {
	at := l.end
	l.end = (at + uint64(n) + 7) &^ 7
	return int(at)
}

func (l *layout) address(at int) uint32 { return l.base + uint32(at) }

func (l *layout) u32(at int, v uint32) {
	if l.buf != nil {
		binary.LittleEndian.PutUint32(l.buf[at:], v)
	}
}

func (l *layout) u64(at int, v uint64) {
	if l.buf != nil {
		binary.LittleEndian.PutUint64(l.buf[at:], v)
	}
}

// copy places src.
func (l *layout) copy(src []byte) (address uint32) {
	at := l.place(len(src))
	if l.buf != nil {
		copy(l.buf[at:], src)
	}
	return l.address(at)
}

// text places a string that ends in a zero byte.
func (l *layout) text(s string) (address uint32) {
	at := l.place(len(s) + 1)
	if l.buf != nil {
		copy(l.buf[at:], s)
		l.buf[at+len(s)] = 0
	}
	return l.address(at)
}

// zeros reserves n bytes of zeros.
func (l *layout) zeros(n int) int {
	at := l.place(n)
	if l.buf != nil {
		clear(l.buf[at : at+n])
	}
	return at
}

// writeBatch lays out what leat_process receives: the needed columns of b and
// nothing else.
func (l *layout) writeBatch(p *Plan, b *batch.Batch) {
	n, rows := len(p.needs), b.Len()
	head := l.zeros(batchSize)
	root, schema := l.zeros(arraySize), l.zeros(schemaSize)
	none := l.zeros(8)
	children, fields, presence := l.zeros(4*n), l.zeros(4*n), l.zeros(4*n+4)
	l.u32(head, p.id)
	l.u32(head+4, uint32(rows))
	l.u32(head+8, l.address(root))
	l.u32(head+12, l.address(schema))
	l.u32(head+16, l.address(presence))
	l.u32(head+20, l.writeOps(b.Ops))
	if p.positions {
		l.u32(head+24, l.writePositions(b))
	}
	l.u64(root, uint64(rows))
	l.u64(root+24, 1)
	l.u64(root+32, uint64(n))
	l.u32(root+40, l.address(none))
	l.u32(root+44, l.address(children))
	l.u32(schema, l.text("+s"))
	l.u32(schema+4, l.address(none))
	l.u64(schema+24, uint64(n))
	l.u32(schema+32, l.address(fields))
	for i, c := range p.needs {
		l.u32(children+4*i, l.writeColumn(b.Rows.Column(c)))
		l.u32(fields+4*i, l.writeField(&b.Schema.Columns[c]))
		if m := b.Present[c]; m != nil {
			l.u32(presence+4*i, l.copy(m[:(rows+7)/8]))
		}
	}
}

// positionSize is the place of a row in the log, and when it was committed.
const positionSize = 24

func (l *layout) writePositions(b *batch.Batch) uint32 {
	at := l.place(positionSize * b.Len())
	if l.buf != nil {
		for i := range b.LSN {
			l.u64(at+positionSize*i, b.LSN[i])
			l.u64(at+positionSize*i+8, b.Ordinal[i])
			l.u64(at+positionSize*i+16, uint64(b.CommitTime[i]))
		}
	}
	return l.address(at)
}

func (l *layout) writeOps(ops []batch.Op) uint32 {
	at := l.place(len(ops))
	if l.buf != nil {
		for i, op := range ops {
			l.buf[at+i] = byte(op)
		}
	}
	return l.address(at)
}

// nullableFlag is ARROW_FLAG_NULLABLE.
const nullableFlag = 2

func (l *layout) writeField(c *batch.Column) uint32 {
	at := l.zeros(schemaSize)
	format, _ := batch.Format(c.Type) // part of a schema, so it has one
	l.u32(at, l.text(format))
	l.u32(at+4, l.text(c.Name))
	l.u64(at+16, nullableFlag)
	return l.address(at)
}

func (l *layout) writeColumn(a arrow.Array) uint32 {
	data := a.Data()
	rows, offset := data.Len(), data.Offset()
	at, buffers := l.zeros(arraySize), l.zeros(12)
	l.u64(at, uint64(rows))
	l.u64(at+8, uint64(a.NullN()))
	l.u64(at+24, 2)
	l.u32(at+40, l.address(buffers))
	if a.NullN() > 0 {
		l.u32(buffers, l.bits(data.Buffers()[0].Bytes(), offset, rows))
	}
	values := data.Buffers()[1].Bytes()
	switch t := a.DataType().(type) {
	case *arrow.BooleanType:
		l.u32(buffers+4, l.bits(values, offset, rows))
	case arrow.BinaryDataType:
		l.u64(at+24, 3)
		l.writeText(buffers, values, data, offset, rows)
	case arrow.FixedWidthDataType:
		width := t.BitWidth() / 8
		l.u32(buffers+4, l.copy(values[offset*width:(offset+rows)*width]))
	}
	return l.address(at)
}

func (l *layout) writeText(buffers int, raw []byte, data arrow.ArrayData, offset, rows int) {
	offsets := arrow.Int32Traits.CastFromBytes(raw)[offset : offset+rows+1]
	first, last := offsets[0], offsets[rows]
	if first == 0 {
		l.u32(buffers+4, l.copy(raw[4*offset:4*(offset+rows+1)]))
	} else {
		at := l.place(4 * (rows + 1))
		for i, o := range offsets {
			l.u32(at+4*i, uint32(o-first))
		}
		l.u32(buffers+4, l.address(at))
	}
	var text []byte
	if last > first {
		text = data.Buffers()[2].Bytes()[first:last]
	}
	l.u32(buffers+8, l.copy(text))
}

// bits copies rows bits of m from bit offset on.
func (l *layout) bits(m []byte, offset, rows int) uint32 {
	if offset%8 == 0 {
		return l.copy(m[offset/8 : (offset+rows+7)/8])
	}
	at := l.zeros((rows + 7) / 8)
	if l.buf != nil {
		for i := range rows {
			if batch.Bitmap(m).Get(offset + i) {
				batch.Bitmap(l.buf[at:]).Set(i)
			}
		}
	}
	return l.address(at)
}
