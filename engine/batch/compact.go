package batch

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/cespare/xxhash/v2"
)

// Compact reduces a batch to the last state of each key, for a destination
// that merges. The result has each key at most once among its Insert, Update,
// Delete and Read rows:
//
//   - Insert: the key was not there before the batch.
//   - Update: the row is replaced or made. Cells that no change of the batch
//     carried stay absent: the destination's own row has them.
//   - Delete: the row goes; cells known from the batch are kept for
//     destinations that mark instead of delete.
//   - OldKey: the row under that key has moved away and is to be removed.
//     Directly before an Update or Delete with absent cells it also says
//     where those cells are to be found before anything is changed.
//
// Partial updates of one key are merged cell by cell; nothing takes an absent
// cell for null. A batch without identity, a TRUNCATE and a batch that only
// inserts or reads rows of different keys come back as they are. The caller
// releases the result; b keeps its own reference.
func Compact(b *Batch) *Batch {
	key := b.Schema.Key()
	adds := onlyAdds(b.Ops)
	if len(key) == 0 || b.IsTruncate() || adds && ascends(b.Rows.Column(key[0])) {
		b.Retain()
		return b
	}
	c := compaction{batch: b, keys: newKeyTable(b, key)}
	for col, present := range b.Present {
		if present != nil {
			c.partial = append(c.partial, col)
		}
	}
	for r := 0; r < len(b.Ops); r++ {
		switch b.Ops[r] {
		case Insert, Read:
			c.insert(int32(r))
		case Update:
			c.update(c.keys.entryOf(r), int32(r))
		case Delete:
			c.remove(int32(r))
		case OldKey:
			c.move(int32(r))
			r++
		}
	}
	if adds && len(c.keys.entries) == b.Len() {
		b.Retain()
		return b
	}
	return c.result()
}

// onlyAdds says that every row is inserted or read. One key can come twice among
// them all the same: a table that is published for its inserts alone does not
// say what became of the row between, and a transform may give rows any key.
func onlyAdds(ops []Op) bool {
	for _, op := range ops {
		if op != Insert && op != Read {
			return false
		}
	}
	return true
}

// ascends says that each value is above the one before, as numbers from a
// sequence are: a key of which the column is a part does not come twice. False
// says nothing.
func ascends(column arrow.Array) bool {
	if column.NullN() > 0 {
		return false
	}
	switch c := column.(type) {
	case *array.Int64:
		return strictlyAscend(c.Int64Values())
	case *array.Int32:
		return strictlyAscend(c.Int32Values())
	}
	return false
}

func strictlyAscend[T cmp.Ordered](values []T) bool {
	for i := 1; i < len(values); i++ {
		if values[i] <= values[i-1] {
			return false
		}
	}
	return true
}

// compaction folds the rows of a batch into one entry a key.
type compaction struct {
	batch   *Batch
	keys    *keyTable
	partial []int // the columns that some row lacks
}

// entry is what is known of one key. Cells come from row base, or from
// cells[column] once rows have been merged. op 0 means untouched, OldKey that
// the row has moved away.
type entry struct {
	op     Op
	base   int32
	last   int32 // the last row that touched the key: its position
	origin int32 // the OldKey row under which the destination has it, -1: its own key
	vacate int32 // the OldKey row that emptied this key, -1: none
	cells  []int32
}

func (c *compaction) insert(r int32) {
	e := c.keys.entryOf(int(r))
	op := c.batch.Ops[r]
	if e.op != 0 {
		op = Update // the destination may still have a row of this key
	}
	*e = entry{op: op, base: r, last: r, origin: -1, vacate: e.vacate}
}

func (c *compaction) update(e *entry, r int32) {
	if e.op == 0 || e.op == OldKey {
		*e = entry{op: Update, base: r, last: r, origin: -1, vacate: e.vacate}
		return
	}
	c.merge(e, r, true)
	if e.op == Delete {
		e.op = Update
	}
}

func (c *compaction) remove(r int32) {
	e := c.keys.entryOf(int(r))
	if e.op == 0 || e.op == OldKey {
		*e = entry{op: Delete, base: r, last: r, origin: -1, vacate: e.vacate}
		return
	}
	c.merge(e, r, false)
	e.op = Delete
}

// move handles an OldKey row and the Update after it.
func (c *compaction) move(r int32) {
	from, to := c.keys.indexOf(int(r)), c.keys.indexOf(int(r)+1)
	entries := c.keys.entries
	if from == to {
		c.update(&entries[to], r+1)
		return
	}
	moved := entries[from]
	switch moved.op {
	case 0, OldKey, Delete:
		moved = entry{op: Update, base: r + 1, last: r + 1, origin: r}
	default:
		if moved.op == Update && moved.origin < 0 {
			moved.origin = r
		}
		c.merge(&moved, r+1, true)
		moved.op = Update
	}
	moved.vacate = entries[to].vacate
	entries[from] = entry{op: OldKey, base: r, last: r, origin: -1, vacate: r}
	entries[to] = moved
}

// merge lays row r over e: newer says that r's present cells win.
func (c *compaction) merge(e *entry, r int32, newer bool) {
	if newer && c.isWhole(r) {
		e.base, e.cells, e.last = r, nil, r
		return
	}
	cells := make([]int32, len(c.batch.Schema.Columns))
	for col := range cells {
		before := e.base
		if e.cells != nil {
			before = e.cells[col]
		}
		switch {
		case newer && c.batch.IsPresent(col, int(r)):
			cells[col] = r
		case c.batch.IsPresent(col, int(before)):
			cells[col] = before
		default:
			cells[col] = r
		}
	}
	e.cells, e.last = cells, r
}

// isWhole says that row r has all its cells.
func (c *compaction) isWhole(r int32) bool {
	for _, col := range c.partial {
		if !c.batch.IsPresent(col, int(r)) {
			return false
		}
	}
	return true
}

func (c *compaction) isComplete(e *entry) bool {
	for col := range c.batch.Schema.Columns {
		r := e.base
		if e.cells != nil {
			r = e.cells[col]
		}
		if !c.batch.IsPresent(col, int(r)) {
			return false
		}
	}
	return true
}

// result lays the entries out as rows: moves with their origin first, keys
// that were only vacated last, so that no OldKey row stands before a row that
// is not its own.
func (c *compaction) result() *Batch {
	var order []entry
	paired := map[int32]bool{}
	for i := range c.keys.entries {
		e := &c.keys.entries[i]
		if e.op == 0 || e.op == OldKey {
			continue
		}
		if e.origin >= 0 && !c.isComplete(e) {
			order = append(order, entry{op: OldKey, base: e.origin, last: e.origin})
			paired[e.origin] = true
		}
		order = append(order, *e)
	}
	for i := range c.keys.entries {
		if e := &c.keys.entries[i]; e.op == OldKey && !paired[e.vacate] {
			order = append(order, entry{op: OldKey, base: e.vacate, last: e.vacate})
		}
	}
	n := len(order)
	ops, meta, base := make([]Op, n), make([]int32, n), make([]int32, n)
	merged := false
	for i, e := range order {
		ops[i], meta[i], base[i] = e.op, e.last, e.base
		merged = merged || e.cells != nil
	}
	cells := make([][]int32, len(c.batch.Schema.Columns))
	for col := range cells {
		cells[col] = base
		if merged {
			cells[col] = make([]int32, n)
			for i, e := range order {
				cells[col][i] = e.base
				if e.cells != nil {
					cells[col][i] = e.cells[col]
				}
			}
		}
	}
	out := assemble(c.batch, cells, meta, ops)
	out.Compacted = true
	return out
}

// keyTable maps row identities to entries by open addressing.
type keyTable struct {
	arena   []byte // the encoded keys of all rows
	ends    []int  // end of each row's key in arena
	slots   []int32
	owner   []int32 // the row whose key an entry has
	entries []entry
}

func newKeyTable(b *Batch, key []int) *keyTable {
	size := 16
	for size < 2*b.Len() {
		size *= 2
	}
	t := &keyTable{slots: make([]int32, size), ends: make([]int, b.Len())}
	columns := make([]arrow.Array, len(key))
	for i, col := range key {
		columns[i] = b.Rows.Column(col)
	}
	for r := range b.Ops {
		for _, arr := range columns {
			t.arena = AppendCell(t.arena, arr, r)
		}
		t.ends[r] = len(t.arena)
		if r == 0 {
			t.arena = slices.Grow(t.arena, b.Len()*len(t.arena)) // others are about as long
		}
	}
	t.owner, t.entries = make([]int32, 0, b.Len()), make([]entry, 0, b.Len())
	return t
}

func (t *keyTable) key(r int) []byte {
	start := 0
	if r > 0 {
		start = t.ends[r-1]
	}
	return t.arena[start:t.ends[r]]
}

func (t *keyTable) indexOf(r int) int32 {
	key := t.key(r)
	mask := uint64(len(t.slots) - 1)
	for i := xxhash.Sum64(key) & mask; ; i = (i + 1) & mask {
		if t.slots[i] == 0 {
			t.entries = append(t.entries, entry{origin: -1, vacate: -1})
			t.owner = append(t.owner, int32(r))
			t.slots[i] = int32(len(t.entries))
			return t.slots[i] - 1
		}
		if e := t.slots[i] - 1; bytes.Equal(t.key(int(t.owner[e])), key) {
			return e
		}
	}
}

// entryOf returns the entry of row r's key. The pointer is good until the
// next call.
func (t *keyTable) entryOf(r int) *entry { return &t.entries[t.indexOf(r)] }

// AppendCell appends an encoding of one cell to dst under which two cells of
// one column are equal exactly when their values are. Null is a value here.
func AppendCell(dst []byte, arr arrow.Array, row int) []byte {
	if arr.IsNull(row) {
		return append(dst, 0)
	}
	dst = append(dst, 1)
	switch a := arr.(type) {
	case *array.Int64:
		return binary.LittleEndian.AppendUint64(dst, uint64(a.Value(row)))
	case *array.Int32:
		return binary.LittleEndian.AppendUint32(dst, uint32(a.Value(row)))
	case *array.Boolean:
		if a.Value(row) {
			return append(dst, 1)
		}
		return append(dst, 0)
	case *array.Binary:
		value := a.Value(row)
		dst = binary.AppendUvarint(dst, uint64(len(value)))
		return append(dst, value...)
	case *array.String:
		value := a.Value(row)
		dst = binary.AppendUvarint(dst, uint64(len(value)))
		return append(dst, value...)
	}
	width := arr.DataType().(arrow.FixedWidthDataType).BitWidth() / 8
	i := (arr.Data().Offset() + row) * width
	return append(dst, arr.Data().Buffers()[1].Bytes()[i:i+width]...)
}
