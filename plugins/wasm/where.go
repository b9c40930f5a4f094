package wasm

import (
	"slices"

	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/plugins/kernel"
)

// verdict is what a where says of a row.
type verdict byte

const (
	no      verdict = iota // false or null
	yes                    // true
	unknown                // it depends on a cell that the source did not send
)

func verdictOf(c kernel.Column, row int) verdict {
	switch {
	case c.Present != nil && !c.Present.Get(row):
		return unknown
	case c.Array.IsValid(row) && c.Array.(*array.Boolean).Value(row):
		return yes
	}
	return no
}

// whereUnknown is why an update fails whose place cannot be told.
const whereUnknown = "whether it belongs to an output depends on a value that the update did not change and the source therefore did not send: ALTER TABLE ... REPLICA IDENTITY FULL makes it send the whole row"

// whereHole is why an update fails that may bring a row into an output that
// did not have it, without all of its values.
const whereHole = "the row may be new to an output, but the update did not change all of its values and the source therefore did not send them: ALTER TABLE ... REPLICA IDENTITY FULL makes it send the whole row"

// chooseWhere decides the rows of output o by its where. An update whose row
// does not belong to the output (any more) takes the row out of it, so that no
// stale row stays; it carries the identity of the row and nothing else. In a
// keyed table that is all a delete has, so each goes to every output.
func (p *Plan) chooseWhere(o int, ops []batch.Op, r *result) (*choice, error) {
	c := &choice{in: []int32{}, computed: []int32{}, ops: []batch.Op{}}
	column, whole := r.kernels[p.wheres[o]], p.wholeRow(o)
	rows := func(row int) []int32 { // as choose has them from the guest
		if verdictOf(column, row) == yes {
			return []int32{int32(row)}
		}
		return nil
	}
	for row := 0; row < len(ops); row++ {
		if _, failed := r.failed[row]; failed {
			continue
		}
		switch op := ops[row]; {
		case op == batch.OldKey && row+1 < len(ops):
			keys := []int32{int32(row)}
			if whole {
				keys = rows(row)
			}
			if err := p.pair(c, o, row, keys, rows(row+1)); err != nil {
				return nil, err
			}
			row++
		case len(rows(row)) > 0:
			c.add(row, int32(row), op)
		case (op == batch.Update || op == batch.Delete) && !whole:
			c.strip(row)
		}
	}
	if c.cells != nil {
		c.whole()
	}
	return c, nil
}

// strip adds a delete of the row with its identity alone.
func (c *choice) strip(row int) {
	if c.cells == nil {
		c.cells = make([]int32, 0, len(c.in)+1)
	}
	c.whole()
	c.add(row, -1, batch.Delete)
	c.cells = append(c.cells, -1)
}

// whole brings cells up to the rows that were added since.
func (c *choice) whole() {
	c.cells = append(c.cells, c.in[len(c.cells):]...)
}

// failKernels decides which failures of kernels fail their row: those that the
// choice of outputs depends on, and the others where the row goes anywhere. A
// delete or old key of a keyed table needs only what its identity is made of.
func (p *Plan) failKernels(b *batch.Batch, r *result, failures []kernel.Failures) {
	if slices.ContainsFunc(failures, func(f kernel.Failures) bool { return len(f) > 0 }) {
		deciding, naming, keyed := p.feeding(p.deciders()), p.feeding(p.identifiers()), true
		for o := range p.Outputs {
			keyed = keyed && !p.wholeRow(o)
		}
		chosen := p.chosenRows(b.Ops, r)
		for k, failed := range failures {
			for row, message := range failed {
				if keyed && !naming[k] && (b.Ops[row] == batch.Delete || b.Ops[row] == batch.OldKey) || !deciding[k] && chosen != nil && !chosen.Get(row) {
					continue
				}
				r.fail(row, message)
			}
		}
	}
	for o, where := range p.wheres {
		if where >= 0 {
			p.failDoubtful(o, b, r)
		}
	}
}

// failDoubtful fails the rows of which cannot be told whether they belong to
// output o, or whether they are whole there.
func (p *Plan) failDoubtful(o int, b *batch.Batch, r *result) {
	column := r.kernels[p.wheres[o]]
	for row, op := range b.Ops {
		if _, already := r.failed[row]; already || (op == batch.Delete || op == batch.OldKey) && !p.wholeRow(o) {
			continue
		}
		why := ""
		switch v := verdictOf(column, row); {
		case v == unknown:
			why = whereUnknown
		case v == yes && op == batch.Update && p.hasHole(o, row, b, r):
			why = whereHole
		default:
			continue
		}
		r.fail(row, why)
	}
}

// hasHole says whether a row of output o lacks a cell.
func (p *Plan) hasHole(o, row int, b *batch.Batch, r *result) bool {
	for _, from := range p.origins[o] {
		var present batch.Bitmap
		switch from.kind {
		case fromColumn, fromCast:
			present = b.Present[from.index]
		case fromKernel:
			present = r.kernels[from.index].Present
		case fromComputed:
			present = r.present[from.index]
		}
		if present != nil && !present.Get(row) {
			return true
		}
	}
	return false
}

// fail keeps the first reason why a row failed.
func (r *result) fail(row int, message string) {
	if r.failed == nil {
		r.failed = map[int]string{}
	}
	if _, already := r.failed[row]; !already {
		r.failed[row] = message
	}
}

// deciders are the kernels that choose rows.
func (p *Plan) deciders() []int {
	return slices.DeleteFunc(slices.Clone(p.wheres), func(where int) bool { return where < 0 })
}

// identifiers are the kernels that key columns come from.
func (p *Plan) identifiers() []int {
	var found []int
	for o := range p.Outputs {
		for i, from := range p.origins[o] {
			if from.kind == fromKernel && p.Outputs[o].Columns[i].Key > 0 {
				found = append(found, from.index)
			}
		}
	}
	return found
}

// feeding are the kernels that the given ones depend on, with themselves.
func (p *Plan) feeding(of []int) []bool {
	feeds := make([]bool, len(p.kernels))
	for _, k := range of {
		feeds[k] = true
	}
	for k := len(p.kernels) - 1; k >= 0; k-- {
		for _, from := range p.kernels[k].inputs {
			if from < 0 && feeds[k] {
				feeds[-1-from] = true
			}
		}
	}
	return feeds
}

// chosenRows are the input rows that go to some output; nil is all.
func (p *Plan) chosenRows(ops []batch.Op, r *result) batch.Bitmap {
	if !p.hostRoutes() && r.selection == nil {
		return nil
	}
	chosen := batch.NewBitmap(len(ops))
	for _, row := range r.selection {
		chosen.Set(int(row))
	}
	for o, where := range p.wheres {
		if where < 0 {
			continue
		}
		for row, op := range ops {
			if (op == batch.Delete || op == batch.OldKey) && !p.wholeRow(o) || verdictOf(r.kernels[where], row) == yes {
				chosen.Set(row)
			}
		}
	}
	return chosen
}
