package batch

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"time"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// MaxColumnBytes bounds the text or binary data of one column of one batch:
// Arrow's offsets are 32 bits wide.
const MaxColumnBytes = math.MaxInt32

// Builder assembles a Batch row by row: append one cell to every column, then
// EndRow, or AbortRow to take a half-built row back. It belongs to one
// goroutine.
type Builder struct {
	schema  *Schema
	columns []ColumnBuilder
	ops     []Op
	lsn     []uint64
	ordinal []uint64
	time    []int64
}

// NewBuilder returns an empty builder for batches of schema s.
func NewBuilder(s *Schema) *Builder {
	b := &Builder{schema: s, columns: make([]ColumnBuilder, len(s.Columns))}
	for i := range b.columns {
		b.columns[i].init(s.Columns[i].Type)
	}
	return b
}

// Schema returns the schema of the batches that the builder makes.
func (b *Builder) Schema() *Schema { return b.schema }

// Column returns the builder of column i.
func (b *Builder) Column(i int) *ColumnBuilder { return &b.columns[i] }

// Len is the number of finished rows.
func (b *Builder) Len() int { return len(b.ops) }

// Bytes is the size of the cells appended so far.
func (b *Builder) Bytes() int64 {
	var n int64
	for i := range b.columns {
		n += int64(len(b.columns[i].data))
	}
	return n + int64(len(b.ops))*25
}

// EndRow finishes the current row. lsn is the commit LSN, commitTime is in
// microseconds since 1970.
func (b *Builder) EndRow(op Op, lsn, ordinal uint64, commitTime int64) {
	b.ops = append(b.ops, op)
	b.lsn = append(b.lsn, lsn)
	b.ordinal = append(b.ordinal, ordinal)
	b.time = append(b.time, commitTime)
}

// AbortRow takes back what was appended since the last EndRow.
func (b *Builder) AbortRow() {
	for i := range b.columns {
		b.columns[i].truncate(len(b.ops))
	}
}

// AbortOldKey takes back the finished last row, which must be an OldKey whose
// Update could not be built.
func (b *Builder) AbortOldKey() {
	n := len(b.ops) - 1
	if n < 0 || b.ops[n] != OldKey {
		panic("batch: AbortOldKey without an old key")
	}
	b.ops, b.lsn, b.ordinal, b.time = b.ops[:n], b.lsn[:n], b.ordinal[:n], b.time[:n]
	b.AbortRow()
}

// Finish returns the rows as a Batch and empties the builder.
func (b *Builder) Finish(p Position) *Batch {
	n := len(b.ops)
	out := &Batch{
		Schema: b.schema, Ops: b.ops, LSN: b.lsn, Ordinal: b.ordinal, CommitTime: b.time,
		Present: make([]Bitmap, len(b.columns)), Position: p, Bytes: b.Bytes(), Ingested: time.Now().UnixMicro(),
	}
	arrays := make([]arrow.Array, len(b.columns))
	for i := range b.columns {
		c := &b.columns[i]
		if c.n != n {
			panic(fmt.Sprintf("batch: column %q of %s has %d cells in %d rows", b.schema.Columns[i].Name, b.schema.Table, c.n, n))
		}
		arrays[i], out.Present[i] = c.finish(b.schema.Columns[i].Type)
	}
	out.Rows = array.NewRecordBatch(b.schema.Arrow(), arrays, int64(n))
	for _, a := range arrays {
		a.Release()
	}
	b.ops = make([]Op, 0, n)
	b.lsn = make([]uint64, 0, n)
	b.ordinal = make([]uint64, 0, n)
	b.time = make([]int64, 0, n)
	return out
}

// ColumnBuilder appends cells to one column. Which Append method fits is
// decided by the column's Arrow type; the caller knows it.
type ColumnBuilder struct {
	width   int // bytes a value; 0: one bit; -1: variable
	n       int
	nulls   int
	data    []byte
	offsets []int32 // n+1 entries where width is -1
	valid   Bitmap  // nil until the first null
	present Bitmap  // nil until the first absent cell
}

func (c *ColumnBuilder) init(t arrow.DataType) {
	switch t := t.(type) {
	case *arrow.BooleanType:
		c.width = 0
	case arrow.BinaryDataType:
		c.width = -1
		c.offsets = append(int32s(buffers.Allocate(4096))[:0], 0)
	case arrow.FixedWidthDataType:
		c.width = t.BitWidth() / 8
	default:
		panic(fmt.Sprintf("batch: type %s cannot be part of a batch", t))
	}
}

// Width is the bytes of a value: 0 for booleans, -1 for text and binary.
func (c *ColumnBuilder) Width() int { return c.width }

// Reserve makes room for n more bytes.
func (c *ColumnBuilder) Reserve(n int) {
	if cap(c.data)-len(c.data) < n {
		c.data = regrow(c.data, n)
	}
}

// regrow moves data to a pooled buffer with room for n more bytes.
func regrow(data []byte, n int) []byte {
	bigger := buffers.Allocate(max(2*cap(data), len(data)+n, 4096))[:len(data)]
	copy(bigger, data)
	buffers.Free(data[:cap(data)])
	return bigger
}

func (c *ColumnBuilder) endCell() {
	if c.valid != nil {
		c.valid = appendBit(c.valid, c.n, true)
	}
	if c.present != nil {
		c.present = appendBit(c.present, c.n, true)
	}
	c.n++
}

func appendBit(m Bitmap, i int, v bool) Bitmap {
	if i>>3 >= len(m) {
		m = append(m, 0)
	}
	if v {
		m[i>>3] |= 1 << (i & 7)
	} else {
		m[i>>3] &^= 1 << (i & 7)
	}
	return m
}

func ones(n int) Bitmap {
	m := make(Bitmap, (n+7)/8, (n+7)/8+64)
	for i := range m {
		m[i] = 0xff
	}
	return m
}

// AppendBool appends to a boolean column.
func (c *ColumnBuilder) AppendBool(v bool) {
	if c.n>>3 >= len(c.data) {
		c.Reserve(1)
		c.data = append(c.data, 0)
	}
	if v {
		c.data[c.n>>3] |= 1 << (c.n & 7)
	} else {
		c.data[c.n>>3] &^= 1 << (c.n & 7)
	}
	c.endCell()
}

// AppendUint16 appends the bits of a two-byte value.
func (c *ColumnBuilder) AppendUint16(v uint16) {
	c.Reserve(2)
	c.data = binary.LittleEndian.AppendUint16(c.data, v)
	c.endCell()
}

// AppendUint32 appends the bits of a four-byte value: int4, float4, date, oid.
func (c *ColumnBuilder) AppendUint32(v uint32) {
	c.Reserve(4)
	c.data = binary.LittleEndian.AppendUint32(c.data, v)
	c.endCell()
}

// AppendUint64 appends the bits of an eight-byte value: int8, float8, time,
// timestamp.
func (c *ColumnBuilder) AppendUint64(v uint64) {
	c.Reserve(8)
	c.data = binary.LittleEndian.AppendUint64(c.data, v)
	c.endCell()
}

// AppendFixed appends a value of the column's width in little-endian order:
// decimals, uuid.
func (c *ColumnBuilder) AppendFixed(v []byte) {
	if len(v) != c.width {
		panic(fmt.Sprintf("batch: %d bytes appended to a column of width %d", len(v), c.width))
	}
	c.Reserve(len(v))
	c.data = append(c.data, v...)
	c.endCell()
}

// AppendBytes appends to a text or binary column. The bytes are copied. The
// caller keeps a batch below MaxColumnBytes.
func (c *ColumnBuilder) AppendBytes(v []byte) {
	c.Reserve(len(v))
	c.data = append(c.data, v...)
	c.endBytes()
}

// AppendText appends to a text column whatever write adds to the slice it is
// given, without an intermediate copy. Text that may be longer than a few bytes
// is Reserved before.
func (c *ColumnBuilder) AppendText(write func(dst []byte) []byte) {
	c.Reserve(32)
	c.data = write(c.data)
	c.endBytes()
}

func (c *ColumnBuilder) endBytes() {
	c.appendOffset()
	c.endCell()
}

func (c *ColumnBuilder) appendOffset() {
	if len(c.data) > MaxColumnBytes {
		panic("batch: column data beyond MaxColumnBytes")
	}
	if len(c.offsets) == cap(c.offsets) {
		old := bytesOf(c.offsets)
		c.offsets = int32s(regrow(old, len(old)))
	}
	c.offsets = append(c.offsets, int32(len(c.data)))
}

// AppendNull appends SQL NULL.
func (c *ColumnBuilder) AppendNull() {
	c.appendZero()
	if c.valid == nil {
		c.valid = ones(c.n)
	}
	c.valid = appendBit(c.valid, c.n, false)
	if c.present != nil {
		c.present = appendBit(c.present, c.n, true)
	}
	c.nulls++
	c.n++
}

// AppendAbsent appends a cell that the source did not send.
func (c *ColumnBuilder) AppendAbsent() {
	c.AppendNull()
	if c.present == nil {
		c.present = ones(c.n)
	}
	c.present = appendBit(c.present, c.n-1, false)
}

func (c *ColumnBuilder) appendZero() {
	switch c.width {
	case -1:
		c.appendOffset()
	case 0:
		if c.n>>3 >= len(c.data) {
			c.Reserve(1)
			c.data = append(c.data, 0)
		}
		c.data[c.n>>3] &^= 1 << (c.n & 7)
	default:
		c.Reserve(c.width)
		c.data = c.data[:len(c.data)+c.width]
		clear(c.data[len(c.data)-c.width:])
	}
}

// truncate drops the cells from row n on.
func (c *ColumnBuilder) truncate(n int) {
	for ; c.n > n; c.n-- {
		if c.valid != nil && !c.valid.Get(c.n-1) {
			c.nulls--
		}
	}
	switch c.width {
	case -1:
		c.offsets = c.offsets[:n+1]
		c.data = c.data[:c.offsets[n]]
	case 0:
		c.data = c.data[:min(len(c.data), (n+7)/8)]
	default:
		c.data = c.data[:n*c.width]
	}
}

func (c *ColumnBuilder) finish(t arrow.DataType) (arrow.Array, Bitmap) {
	var valid *memory.Buffer
	if c.nulls > 0 {
		valid = memory.NewBufferBytes(c.valid)
	}
	bufs := []*memory.Buffer{valid, nil}
	if c.width == -1 {
		bufs[1] = pooled(bytesOf(c.offsets))
		bufs = append(bufs, pooled(c.data))
	} else {
		bufs[1] = pooled(c.data)
	}
	data := array.NewData(t, c.n, bufs, nil, c.nulls, 0)
	for _, b := range bufs[1:] {
		b.Release()
	}
	arr := array.MakeFromData(data)
	data.Release()
	present := c.present
	size := cap(c.data)
	*c = ColumnBuilder{width: c.width, data: buffers.Allocate(size)[:0]}
	if c.width == -1 {
		c.offsets = append(int32s(buffers.Allocate(4 * max(arr.Len(), 1024)))[:0], 0)
	}
	return arr, present
}

func pooled(data []byte) *memory.Buffer {
	return memory.NewBufferWithAllocator(data, buffers)
}

func int32s(b []byte) []int32 {
	if cap(b) == 0 {
		return nil
	}
	return unsafe.Slice((*int32)(unsafe.Pointer(unsafe.SliceData(b))), cap(b)/4)[:len(b)/4]
}

func bytesOf(v []int32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), cap(v)*4)[:len(v)*4]
}

// buffers is the pool that column data is drawn from and returns to when the
// last reference to a batch is released.
var buffers = &bufferPool{}

// bufferPool keeps free buffers by power-of-two size class, at most
// maxFree bytes in each, so that a steady stream allocates nothing.
type bufferPool struct {
	classes [40]chan []byte
}

const maxFree = 32 << 20

func init() {
	for i := range buffers.classes {
		buffers.classes[i] = make(chan []byte, max(1, min(256, maxFree>>i)))
	}
}

// Allocate returns a buffer of length size whose content is undefined.
func (p *bufferPool) Allocate(size int) []byte {
	if size == 0 {
		return nil
	}
	class := bits.Len(uint(size - 1))
	select {
	case b := <-p.classes[class]:
		return b[:size]
	default:
		return make([]byte, size, 1<<class)
	}
}

// Reallocate implements memory.Allocator.
func (p *bufferPool) Reallocate(size int, b []byte) []byte {
	if size <= cap(b) {
		return b[:size]
	}
	bigger := p.Allocate(size)
	copy(bigger, b)
	p.Free(b)
	return bigger
}

// Free returns a buffer to the pool. The caller must not use it again.
func (p *bufferPool) Free(b []byte) {
	size := cap(b)
	if size == 0 || size&(size-1) != 0 {
		return
	}
	select {
	case p.classes[bits.Len(uint(size-1))] <- b[:size]:
	default:
	}
}
