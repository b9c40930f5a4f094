package pdk

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Output is what Process returns: computed columns and, if the plan filters
// or routes, the input row that each output row comes from.
//
// Append one cell to every computed column for each output row. Without Emit
// the output rows are the input rows.
type Output struct {
	plan     *Plan
	in       *Batch
	columns  []ColumnBuilder
	rows     []int32 // input row per output row
	routes   []int32
	selected bool
	failed   []rowError
}

type rowError struct {
	row     int
	message string
}

// NewOutput returns an empty output of plan p for batch b; the host's calls
// make them in a plugin, tests make them here.
func NewOutput(p *Plan, b *Batch) *Output {
	o := &Output{}
	o.reset(p, b)
	return o
}

func (o *Output) reset(p *Plan, b *Batch) {
	o.plan, o.in = p, b
	for len(o.columns) < len(p.Computed) {
		o.columns = append(o.columns, ColumnBuilder{})
	}
	o.columns = o.columns[:len(p.Computed)]
	for i := range o.columns {
		o.columns[i].reset(p.Computed[i])
	}
	o.rows, o.routes, o.failed, o.selected = o.rows[:0], o.routes[:0], o.failed[:0], false
}

// Column returns the builder of computed column k.
func (o *Output) Column(k int) *ColumnBuilder { return &o.columns[k] }

// Select announces that rows are chosen by Emit; without a single Emit after
// it every row is dropped. Emit calls it by itself.
func (o *Output) Select() { o.selected = true }

// Emit makes input row row the next output row of the plan's output table,
// which is 0 where there is one. Rows are emitted in input order; a row may be
// emitted several times.
func (o *Output) Emit(row, table int) {
	o.selected = true
	o.rows = append(o.rows, int32(row))
	o.routes = append(o.routes, int32(table))
}

// Fail reports that an input row cannot be processed. The row becomes a failed
// event and the rest of the batch goes on. Cells of the row that were or must
// be appended are ignored.
func (o *Output) Fail(row int, message string) {
	o.failed = append(o.failed, rowError{row, message})
}

// Len is the number of output rows.
func (o *Output) Len() int {
	if o.selected {
		return len(o.rows)
	}
	return o.in.Len()
}

// Rows returns the input row of each output row, nil if they are the same.
func (o *Output) Rows() []int32 {
	if o.selected {
		return o.rows
	}
	return nil
}

// Failed returns the messages of failed rows by input row.
func (o *Output) Failed() map[int]string {
	m := make(map[int]string, len(o.failed))
	for _, f := range o.failed {
		m[f.row] = f.message
	}
	return m
}

// check finds what the host would refuse, while the plugin's own names are
// still at hand.
func (o *Output) check() error {
	if o.selected && !o.plan.Filters && len(o.plan.Outputs) < 2 {
		return fmt.Errorf("Process selected rows but the plan does not say Filters")
	}
	for k := range o.columns {
		if n := o.columns[k].n; n != o.Len() {
			return fmt.Errorf("computed column %d has %d cells for %d output rows", k, n, o.Len())
		}
	}
	return nil
}

// ColumnBuilder appends the cells of one computed column.
type ColumnBuilder struct {
	width   int
	n       int
	nulls   int
	data    []byte
	offsets []int32
	valid   []byte
	present []byte
}

func (c *ColumnBuilder) reset(format string) {
	c.width = Width(format)
	if c.width == -2 {
		panic("pdk: no column can have format " + format)
	}
	c.n, c.nulls = 0, 0
	c.data, c.valid, c.present = c.data[:0], nil, nil
	c.offsets = append(c.offsets[:0], 0)
}

// NewColumn returns an empty column of the given format.
func NewColumn(format string) *ColumnBuilder {
	c := &ColumnBuilder{}
	c.reset(format)
	return c
}

// Len is the number of cells.
func (c *ColumnBuilder) Len() int { return c.n }

// View reads what was appended so far.
func (c *ColumnBuilder) View() View {
	return View{n: c.n, valid: c.valid, present: c.present, data: c.data, offsets: c.offsets, width: c.width}
}

func setBit(m []byte, i int, v bool) []byte {
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

func ones(n int) []byte {
	m := make([]byte, (n+7)/8, (n+7)/8+64)
	for i := range m {
		m[i] = 0xff
	}
	return m
}

func (c *ColumnBuilder) want(width int) {
	if c.width != width {
		panic(fmt.Sprintf("pdk: a value of width %d was appended to a column of width %d", width, c.width))
	}
}

func (c *ColumnBuilder) end() {
	if c.valid != nil {
		c.valid = setBit(c.valid, c.n, true)
	}
	if c.present != nil {
		c.present = setBit(c.present, c.n, true)
	}
	c.n++
}

// AppendBool appends to a boolean column.
func (c *ColumnBuilder) AppendBool(v bool) {
	c.want(0)
	c.data = setBit(c.data, c.n, v)
	c.end()
}

// AppendInt16 appends to a smallint column.
func (c *ColumnBuilder) AppendInt16(v int16) {
	c.want(2)
	c.data = binary.LittleEndian.AppendUint16(c.data, uint16(v))
	c.end()
}

// AppendInt32 appends to an integer, oid or date column.
func (c *ColumnBuilder) AppendInt32(v int32) {
	c.want(4)
	c.data = binary.LittleEndian.AppendUint32(c.data, uint32(v))
	c.end()
}

// AppendInt64 appends to a bigint, time or timestamp column.
func (c *ColumnBuilder) AppendInt64(v int64) {
	c.want(8)
	c.data = binary.LittleEndian.AppendUint64(c.data, uint64(v))
	c.end()
}

// AppendFloat32 appends to a real column.
func (c *ColumnBuilder) AppendFloat32(v float32) { c.AppendInt32(int32(math.Float32bits(v))) }

// AppendFloat64 appends to a double precision column.
func (c *ColumnBuilder) AppendFloat64(v float64) { c.AppendInt64(int64(math.Float64bits(v))) }

// AppendFixed appends a little-endian decimal or a uuid.
func (c *ColumnBuilder) AppendFixed(v []byte) {
	c.want(len(v))
	c.data = append(c.data, v...)
	c.end()
}

// AppendBytes appends a copy of v to a text or binary column. Text must be
// valid UTF-8.
func (c *ColumnBuilder) AppendBytes(v []byte) {
	c.want(-1)
	c.data = append(c.data, v...)
	c.endText()
}

// AppendString appends to a text column.
func (c *ColumnBuilder) AppendString(v string) {
	c.want(-1)
	c.data = append(c.data, v...)
	c.endText()
}

// AppendWith appends to a text or binary column whatever write adds to the
// slice that it is given. If write fails, nothing is appended.
func (c *ColumnBuilder) AppendWith(write func(dst []byte) ([]byte, error)) error {
	c.want(-1)
	data, err := write(c.data)
	if err != nil {
		return err
	}
	c.data = data
	c.endText()
	return nil
}

func (c *ColumnBuilder) endText() {
	if len(c.data) > math.MaxInt32 {
		panic("pdk: a column of more than 2 GiB")
	}
	c.offsets = append(c.offsets, int32(len(c.data)))
	c.end()
}

// AppendNull appends SQL NULL.
func (c *ColumnBuilder) AppendNull() {
	switch c.width {
	case -1:
		c.offsets = append(c.offsets, int32(len(c.data)))
	case 0:
		c.data = setBit(c.data, c.n, false)
	default:
		for range c.width {
			c.data = append(c.data, 0)
		}
	}
	if c.valid == nil {
		c.valid = ones(c.n)
	}
	c.valid = setBit(c.valid, c.n, false)
	if c.present != nil {
		c.present = setBit(c.present, c.n, true)
	}
	c.nulls++
	c.n++
}

// AppendAbsent appends a cell that stays as it is at the destination.
func (c *ColumnBuilder) AppendAbsent() {
	c.AppendNull()
	if c.present == nil {
		c.present = ones(c.n)
	}
	c.present = setBit(c.present, c.n-1, false)
}

// choose keeps the cells of some rows of a text or binary column, as often as
// they are named.
func (c *ColumnBuilder) choose(rows []int32) {
	v := c.View()
	*c = ColumnBuilder{width: c.width, offsets: make([]int32, 1, len(rows)+1)}
	for _, row := range rows {
		switch v.State(int(row)) {
		case Absent:
			c.AppendAbsent()
		case IsNull:
			c.AppendNull()
		default:
			c.AppendBytes(v.Bytes(int(row)))
		}
	}
}
