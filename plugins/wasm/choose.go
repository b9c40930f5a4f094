package wasm

import (
	"fmt"

	"github.com/leat-etl/leat/engine/batch"
)

// pairFailed is the message of the other row of a pair of which one failed.
const pairFailed = "the row that belongs to this change of key failed"

// failPairs extends failed rows to the other half of their (OldKey, Update)
// pair.
func (r *result) failPairs(ops []batch.Op) {
	for row, op := range ops {
		if op != batch.OldKey || row+1 >= len(ops) {
			continue
		}
		_, key := r.failed[row]
		_, update := r.failed[row+1]
		if key && !update {
			r.failed[row+1] = pairFailed
		} else if update && !key {
			r.failed[row] = pairFailed
		}
	}
}

// isIdentity says whether the result keeps all n input rows as they are.
func (r *result) isIdentity(n, outputs int) bool {
	if len(r.failed) > 0 || outputs > 1 || r.rows != n {
		return false
	}
	for i, row := range r.selection {
		if int(row) != i {
			return false
		}
	}
	return true
}

// choose decides the rows of output o. Failed rows are left out; an OldKey is
// kept with its Update, and becomes a Delete where the Update is not selected.
func (p *Plan) choose(o int, ops []batch.Op, r *result) (*choice, error) {
	if p.wheres[o] >= 0 {
		return p.chooseWhere(o, ops, r)
	}
	c := &choice{in: []int32{}, computed: []int32{}, ops: []batch.Op{}}
	var mine []int32 // guest rows of this output by input row
	at := 0
	next := func(row int) []int32 {
		mine = mine[:0]
		for ; at < r.rows && r.inputRow(at) == row; at++ {
			if r.routes == nil || int(r.routes[at]) == o {
				mine = append(mine, int32(at))
			}
		}
		return mine
	}
	var keys []int32
	for row := 0; row < len(ops); row++ {
		rows := next(row)
		if _, failed := r.failed[row]; failed {
			continue
		}
		if ops[row] != batch.OldKey || row+1 >= len(ops) {
			for _, g := range rows {
				c.add(row, g, ops[row])
			}
			continue
		}
		keys = append(keys[:0], rows...)
		updates := next(row + 1)
		if err := p.pair(c, o, row, keys, updates); err != nil {
			return nil, err
		}
		row++
	}
	return c, nil
}

func (r *result) inputRow(i int) int {
	if r.selection == nil {
		return i
	}
	return int(r.selection[i])
}

func (c *choice) add(row int, guest int32, op batch.Op) {
	c.in = append(c.in, int32(row))
	c.computed = append(c.computed, guest)
	c.ops = append(c.ops, op)
}

// pair adds the OldKey at row and the Update after it, of which the guest
// selected keys and updates for output o.
func (p *Plan) pair(c *choice, o, row int, keys, updates []int32) error {
	for i := range max(len(keys), len(updates)) {
		switch {
		case i < len(keys):
			op := batch.OldKey
			if i >= len(updates) {
				op = batch.Delete
			}
			c.add(row, keys[i], op)
		case i == 0 && p.wholeRow(o): // the old row was filtered out when it came
		case i == 0:
			if name := p.computedKey(o); name != "" {
				return fmt.Errorf("row %d: the old key was filtered out but the key column %q is computed", row, name)
			}
			c.add(row, -1, batch.OldKey)
		}
		if i < len(updates) {
			c.add(row+1, updates[i], batch.Update)
		}
	}
	// The row may have been there before both were filtered out. A computed key
	// is not known then, and with several outputs nor is the place.
	if len(keys)+len(updates) == 0 && len(p.Outputs) == 1 && !p.wholeRow(o) && p.computedKey(o) == "" {
		c.add(row, -1, batch.Delete)
	}
	return nil
}

// computedKey is the name of a computed key column of output o, or empty.
func (p *Plan) computedKey(o int) string {
	for i, from := range p.origins[o] {
		if from.kind == fromComputed && p.Outputs[o].Columns[i].Key > 0 {
			return p.Outputs[o].Columns[i].Name
		}
	}
	return ""
}
