package pdk

import (
	"encoding/binary"
	"math"
	"unsafe"
)

// Op is what a row does.
type Op byte

// The operations. OldKey carries the identity that the update after it
// replaces; both rows pass through Process like any other.
const (
	OpInsert Op = 'I'
	OpUpdate Op = 'U'
	OpDelete Op = 'D'
	OpRead   Op = 'R'
	OpOldKey Op = 'K'
)

// State tells the three states of a cell apart.
type State byte

// The states of a cell.
const (
	Value  State = iota
	IsNull       // SQL NULL
	Absent       // the source did not send it
)

// Batch is what Process sees: the rows and the columns that the plan needs.
type Batch struct {
	ops     []byte
	places  []Place
	columns []View
}

// Place is where a row stands: the LSN of its commit, its place in that
// transaction, and the time of the commit in microseconds since 1970. What a
// load has read has those of its snapshot, which is another one where it is
// read again.
type Place struct {
	LSN, Ordinal uint64
	CommitTime   int64
}

// NewBatch makes a batch from an operation per row and its columns; the host
// makes them in a plugin, tests make them here.
func NewBatch(ops string, columns ...View) *Batch {
	return &Batch{ops: []byte(ops), columns: columns}
}

// WithPlaces adds the places of the rows, for tests.
func (b *Batch) WithPlaces(places ...Place) *Batch {
	b.places = places
	return b
}

// Place is where a row stands in the log. The plan has to ask for Positions.
func (b *Batch) Place(row int) Place { return b.places[row] }

// Len is the number of rows.
func (b *Batch) Len() int { return len(b.ops) }

// Op is the operation of a row.
func (b *Batch) Op(row int) Op { return Op(b.ops[row]) }

// Column returns the view of a column by the index that Plan.Need gave.
func (b *Batch) Column(i int) *View { return &b.columns[i] }

// View reads a column in place. Which accessor fits follows from the column's
// format. The data of cells that are null or absent is undefined.
type View struct {
	n       int
	valid   []byte // nil: no nulls
	present []byte // nil: no absent cells
	data    []byte
	offsets []int32
	width   int
}

// Len is the number of cells.
func (v *View) Len() int { return v.n }

// State tells whether a cell is a value, null or absent.
func (v *View) State(row int) State {
	if v.present != nil && v.present[row>>3]>>(row&7)&1 == 0 {
		return Absent
	}
	if v.valid != nil && v.valid[row>>3]>>(row&7)&1 == 0 {
		return IsNull
	}
	return Value
}

// Dense says whether every cell is a value, so that State need not be asked.
func (v *View) Dense() bool { return v.valid == nil && v.present == nil }

// Bytes is the value of a text, binary, uuid or decimal cell (little endian).
// It aliases the batch.
func (v *View) Bytes(row int) []byte {
	if v.width == -1 {
		return v.data[v.offsets[row]:v.offsets[row+1]:v.offsets[row+1]]
	}
	return v.data[row*v.width : (row+1)*v.width : (row+1)*v.width]
}

// String is the value of a text cell. It aliases the batch.
func (v *View) String(row int) string {
	b := v.Bytes(row)
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// TextData returns the whole data of a text or binary column and its
// offsets, for code that works on all values at once.
func (v *View) TextData() (offsets []int32, data []byte) { return v.offsets, v.data }

// Bool is the value of a boolean cell.
func (v *View) Bool(row int) bool { return v.data[row>>3]>>(row&7)&1 != 0 }

// Int64 is the value of an integer, date, time or timestamp cell of any
// width.
func (v *View) Int64(row int) int64 {
	switch v.width {
	case 2:
		return int64(int16(binary.LittleEndian.Uint16(v.data[2*row:])))
	case 4:
		return int64(int32(binary.LittleEndian.Uint32(v.data[4*row:])))
	}
	return int64(binary.LittleEndian.Uint64(v.data[8*row:]))
}

// Float64 is the value of a float cell of either width.
func (v *View) Float64(row int) float64 {
	if v.width == 4 {
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(v.data[4*row:])))
	}
	return math.Float64frombits(binary.LittleEndian.Uint64(v.data[8*row:]))
}

// Decimal128 is the unscaled value of a decimal cell of up to 38 digits.
func (v *View) Decimal128(row int) (hi int64, lo uint64) {
	b := v.data[16*row:]
	return int64(binary.LittleEndian.Uint64(b[8:])), binary.LittleEndian.Uint64(b)
}

// Int16s is a smallint column.
func (v *View) Int16s() []int16 { return slice[int16](v, 2) }

// Int32s is an integer or date column.
func (v *View) Int32s() []int32 { return slice[int32](v, 4) }

// Uint32s is an oid column.
func (v *View) Uint32s() []uint32 { return slice[uint32](v, 4) }

// Int64s is a bigint, time or timestamp column.
func (v *View) Int64s() []int64 { return slice[int64](v, 8) }

// Float32s is a real column.
func (v *View) Float32s() []float32 { return slice[float32](v, 4) }

// Float64s is a double precision column.
func (v *View) Float64s() []float64 { return slice[float64](v, 8) }

func slice[T any](v *View, width int) []T {
	if v.width != width {
		panic("pdk: this column has another width")
	}
	if v.n == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(v.data))), v.n)
}
