package property

import (
	"fmt"
	"slices"
	"strings"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/plugins/workbench/textbatch"
)

// unchanged takes away one needed column after the other and compares with two
// batches that have it. What the plugin makes of a cell that the source did not
// send may be neither null, if it is none otherwise, nor a value, if it depends
// on that cell.
func (t *trial) unchanged() error {
	for _, name := range t.plans[0].Sees {
		i := t.maker.schema.Column(name)
		if i < 0 || t.maker.schema.Columns[i].Key > 0 || len(t.maker.schema.Key()) == 0 {
			continue
		}
		if err := t.without(i); err != nil {
			return err
		}
	}
	return nil
}

// without tries column i.
func (t *trial) without(i int) error {
	const rows = 24
	var grids [3]*textbatch.Grid // with a value, with another, without
	for k := range grids {
		grids[k] = t.maker.grid()
	}
	for n := range rows {
		cells := t.maker.row(n, false)
		for k := range grids {
			one := slices.Clone(cells)
			switch k {
			case 1:
				one[i] = t.maker.value(i)
			case 2:
				one[i] = textbatch.Unchanged
			}
			add(grids[k], "update", one)
		}
	}
	var results [3]map[cellPlace]string
	for k, g := range grids {
		var err error
		if results[k], err = t.cells(g); err != nil {
			return err
		}
	}
	for at, without := range results[2] {
		one, ok := results[0][at]
		other, too := results[1][at]
		if !ok || !too {
			continue // the plugin chose otherwise by the value: a filter
		}
		column := t.maker.schema.Columns[i].Name
		switch {
		case without == textbatch.Null && one != textbatch.Null && other != textbatch.Null:
			return fmt.Errorf("where the source did not send %s, the column %s becomes null and the value at the destination is lost: return unchanged for what is computed from unchanged", column, at.column)
		case without != textbatch.Null && without != textbatch.Unchanged && one != other:
			return fmt.Errorf("where the source did not send %s, the column %s becomes %s, a value made up: return unchanged for what is computed from unchanged", column, at.column, shorten(without))
		}
	}
	return nil
}

// cellPlace is a cell of the output by the row of the input that it is of.
type cellPlace struct {
	table, column string
	row           uint64
}

// cells runs a batch and returns the cells of those rows that come out once.
func (t *trial) cells(g *textbatch.Grid) (map[cellPlace]string, error) {
	b, err := g.Batch(t.maker.schema)
	if err != nil {
		return nil, err
	}
	defer b.Release()
	r, err := t.plugins[0].Process(t.ctx, t.plans[0], b)
	if err != nil {
		return nil, err
	}
	out := map[cellPlace]string{}
	for _, o := range r.Batches {
		err = collect(out, o)
		o.Release()
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

func collect(into map[cellPlace]string, o *batch.Batch) error {
	g, err := textbatch.Of(o)
	if err != nil {
		return err
	}
	times := map[uint64]int{}
	for _, ordinal := range o.Ordinal {
		times[ordinal]++
	}
	for n, row := range g.Rows {
		if times[o.Ordinal[n]] > 1 {
			continue
		}
		for c := 1; c < len(row); c++ {
			into[cellPlace{o.Schema.Table.String(), strings.Clone(g.Head[c]), o.Ordinal[n]}] = row[c]
		}
	}
	return nil
}
