package pdk

// Cell is a value in one of its three states. Reading Value without looking
// at State is a mistake that Get makes hard.
type Cell[T any] struct {
	State State
	value T
}

// Get returns the value, and whether there is one: false for null and absent.
func (c Cell[T]) Get() (T, bool) { return c.value, c.State == Value }

// Or returns the value, or other where the cell is null or absent.
func (c Cell[T]) Or(other T) T {
	if c.State == Value {
		return c.value
	}
	return other
}

// MapText fills computed text or binary column out with what f appends for
// each value of column in. Null stays null and absent stays absent; an error
// fails the row.
func MapText(b *Batch, in int, o *Output, out int, f func(dst, value []byte) ([]byte, error)) error {
	v, c := b.Column(in), o.Column(out)
	c.want(-1)
	for row := range b.Len() {
		switch v.State(row) {
		case Absent:
			c.AppendAbsent()
			continue
		case IsNull:
			c.AppendNull()
			continue
		}
		data, err := f(c.data, v.Bytes(row))
		if err != nil {
			o.Fail(row, err.Error())
			c.AppendAbsent()
			continue
		}
		c.data = data
		c.endText()
	}
	return nil
}

// Row is one row for the row-by-row style of EachRow.
type Row struct {
	in     *Batch
	out    *Output
	row    int
	set    []bool
	absent bool
	drop   bool
	table  int
}

// EachRow calls f for each row. A computed column that f does not set is
// absent in that row. An error of f fails the row and the rest goes on.
//
// An OldKey row is never dropped: the host keeps it with its update.
func EachRow(b *Batch, o *Output, f func(r *Row) error) error {
	r := &Row{in: b, out: o, set: make([]bool, len(o.columns))}
	rewritten := make([]bool, len(o.columns))
	for _, one := range o.plan.rewrites {
		rewritten[one.out] = true
	}
	emits := o.plan.Filters || len(o.plan.Outputs) > 1 && !o.plan.hostRoutes()
	if emits {
		o.Select()
	}
	for row := range b.Len() {
		r.row, r.drop, r.absent, r.table = row, false, false, 0
		clear(r.set)
		if err := f(r); err != nil {
			r.undo()
			o.Fail(row, err.Error())
			r.drop = emits
		}
		if r.drop && r.Op() != OpOldKey {
			r.undo()
			continue
		}
		for k := range r.set {
			if !r.set[k] && !rewritten[k] {
				o.columns[k].AppendAbsent()
			}
		}
		if emits {
			o.Emit(row, r.table)
		}
	}
	return nil
}

// undo takes back the cells that were set in the row.
func (r *Row) undo() {
	for k, set := range r.set {
		if set {
			r.out.columns[k].removeLast()
			r.set[k] = false
		}
	}
}

func (c *ColumnBuilder) removeLast() {
	c.n--
	if c.valid != nil && c.valid[c.n>>3]>>(c.n&7)&1 == 0 {
		c.nulls--
	}
	bits := (c.n + 7) / 8
	switch {
	case c.width == -1:
		c.offsets = c.offsets[:c.n+1]
		c.data = c.data[:c.offsets[c.n]]
	case c.width == 0:
		c.data = c.data[:bits]
	default:
		c.data = c.data[:c.n*c.width]
	}
	if c.valid != nil {
		c.valid = c.valid[:bits]
	}
	if c.present != nil {
		c.present = c.present[:bits]
	}
}

// Index is the number of the row in the batch.
func (r *Row) Index() int { return r.row }

// Op is the operation of the row.
func (r *Row) Op() Op { return r.in.Op(r.row) }

// Drop leaves the row out. The plan must say Filters.
func (r *Row) Drop() { r.drop = true }

// Route sends the row to another output of the plan than the first.
func (r *Row) Route(table int) { r.table = table }

func cell[T any](r *Row, i int, read func(v *View, row int) T) Cell[T] {
	v := r.in.Column(i)
	s := v.State(r.row)
	if s != Value {
		r.absent = r.absent || s == Absent
		return Cell[T]{State: s}
	}
	return Cell[T]{value: read(v, r.row)}
}

// Text reads a text column; the string aliases the batch.
func (r *Row) Text(i int) Cell[string] { return cell(r, i, (*View).String) }

// Bytes reads a text, binary, uuid or decimal column; it aliases the batch.
func (r *Row) Bytes(i int) Cell[[]byte] { return cell(r, i, (*View).Bytes) }

// Int64 reads an integer, date, time or timestamp column of any width.
func (r *Row) Int64(i int) Cell[int64] { return cell(r, i, (*View).Int64) }

// Float64 reads a float column of either width.
func (r *Row) Float64(i int) Cell[float64] { return cell(r, i, (*View).Float64) }

// Bool reads a boolean column.
func (r *Row) Bool(i int) Cell[bool] { return cell(r, i, (*View).Bool) }

// setting claims computed column k for this row. After an absent cell was read
// a value computed from it would be wrong, so the cell stays absent.
func (r *Row) setting(k int) *ColumnBuilder {
	if r.set[k] {
		panic("pdk: a computed column was set twice in one row")
	}
	if r.absent {
		return nil
	}
	r.set[k] = true
	return &r.out.columns[k]
}

// SetText sets computed text column k. Like every Set it does nothing once an
// absent cell of this row was read, so that nothing is computed from absence;
// use Force to say that the value does not depend on it.
func (r *Row) SetText(k int, v string) {
	if c := r.setting(k); c != nil {
		c.AppendString(v)
	}
}

// SetBytes sets computed text, binary, uuid or decimal column k.
func (r *Row) SetBytes(k int, v []byte) {
	if c := r.setting(k); c != nil {
		if c.width == -1 {
			c.AppendBytes(v)
		} else {
			c.AppendFixed(v)
		}
	}
}

// SetInt64 sets computed integer, date, time or timestamp column k. A value
// that the column cannot hold is a panic, never a truncation.
func (r *Row) SetInt64(k int, v int64) {
	c := r.setting(k)
	if c == nil {
		return
	}
	switch {
	case c.width == 8:
		c.AppendInt64(v)
	case c.width == 4 && int64(int32(v)) == v:
		c.AppendInt32(int32(v))
	case c.width == 2 && int64(int16(v)) == v:
		c.AppendInt16(int16(v))
	default:
		panic("pdk: the integer does not fit the computed column")
	}
}

// SetFloat64 sets computed double precision column k.
func (r *Row) SetFloat64(k int, v float64) {
	if c := r.setting(k); c != nil {
		c.AppendFloat64(v)
	}
}

// SetBool sets computed boolean column k.
func (r *Row) SetBool(k int, v bool) {
	if c := r.setting(k); c != nil {
		c.AppendBool(v)
	}
}

// SetNull sets computed column k to null.
func (r *Row) SetNull(k int) {
	if c := r.setting(k); c != nil {
		c.AppendNull()
	}
}

// Force lets the Set calls that follow in this row take effect although an
// absent cell was read.
func (r *Row) Force() { r.absent = false }
