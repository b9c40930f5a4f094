package batch

// Fill puts values into the absent cells of a batch that earlier rows of the
// same batch carry, across changes of the key, for a destination that keeps
// every state of a row: all rows stay. What stays absent is at the destination,
// in the row that Origins names. The caller releases the result; b keeps its
// own reference.
func Fill(b *Batch) *Batch {
	t := trace(b)
	if t == nil {
		b.Retain()
		return b
	}
	n := b.Len()
	rows := make([]int32, n)
	for i := range rows {
		rows[i] = int32(i)
	}
	cells := make([][]int32, len(b.Schema.Columns))
	for col := range cells {
		cells[col] = rows
		if b.Present[col] == nil {
			continue
		}
		cells[col] = make([]int32, n)
		for r := range n {
			cells[col][r] = int32(r)
			if before := t.before[r]; before >= 0 && !b.IsPresent(col, r) {
				cells[col][r] = cells[col][before]
			}
		}
	}
	return assemble(b, cells, rows, b.Ops)
}

// Origins returns for each row of a batch the row whose key the destination
// knows it by as the batch begins: itself, or the first old key of a chain of
// changes of the key.
func Origins(b *Batch) []int64 {
	out := make([]int64, b.Len())
	t := trace(b)
	for i := range out {
		out[i] = int64(i)
		if t != nil {
			out[i] = int64(t.origin[i])
		}
	}
	return out
}

// history is what came before each row of a batch.
type history struct {
	before []int32 // the row with the state before this one, -1: not in the batch
	origin []int32
}

// trace follows the rows of a batch key by key, nil where no row that has a
// state lacks a cell.
func trace(b *Batch) *history {
	key := b.Schema.Key()
	if len(key) == 0 || b.IsComplete() || b.IsTruncate() {
		return nil
	}
	n := b.Len()
	t := &history{before: make([]int32, n), origin: make([]int32, n)}
	keys := newKeyTable(b, key)
	state := map[int32]int32{} // by key: the row with its state
	for r := range int32(n) {
		t.before[r], t.origin[r] = -1, r
		at := keys.indexOf(int(r))
		switch b.Ops[r] {
		case Insert, Read:
			state[at] = r
		case Delete, OldKey:
			if b.Ops[r] == Delete {
				delete(state, at)
			}
		case Update:
			from, origin := at, r
			if r > 0 && b.Ops[r-1] == OldKey {
				from, origin = keys.indexOf(int(r-1)), r-1
			}
			t.origin[r] = origin
			if b.Compacted {
				continue // what stands for its key in the batch is another row
			}
			if before, ok := state[from]; ok {
				t.before[r], t.origin[r] = before, t.origin[before]
			}
			delete(state, from)
			state[at] = r
		}
	}
	return t
}
