// Command dedupe leaves out rows that repeat what another row has said a short
// while before.
package main

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/leat-etl/leat/pdk/go"
)

// config is the plugin's configuration; config.schema.json describes it.
type config struct {
	Columns []string `json:"columns"`
	Window  string   `json:"window"`
}

func init() { pdk.RegisterTransform(plan) }

func main() {}

func plan(in *pdk.PlanInput) (*pdk.Plan, error) {
	var c config
	if err := in.Config(&c); err != nil {
		return nil, err
	}
	window := 10 * time.Minute
	if c.Window != "" {
		var err error
		if window, err = time.ParseDuration(c.Window); err != nil || window <= 0 {
			return nil, fmt.Errorf("window: %q is no duration, such as \"10m\"", c.Window)
		}
	}
	if len(c.Columns) == 0 {
		return nil, errors.New("columns: name those that make two rows the same")
	}
	if !slices.Contains(in.Features, "positions") {
		return nil, errors.New("this host does not tell when rows were committed: dedupe needs a newer one")
	}
	p := pdk.KeepAll(in.Schema)
	p.Filters, p.Positions = true, true
	t := in.Schema.Table
	d := &dedupe{window: window.Microseconds(), memory: memoryOf(url.PathEscape(t.Database) + "/" + url.PathEscape(t.Schema) + "/" + url.PathEscape(t.Name) + "/")}
	for _, name := range c.Columns {
		i := in.Schema.Column(name)
		if i < 0 {
			return nil, fmt.Errorf("columns: table %s.%s has no column %q", t.Schema, t.Name, name)
		}
		d.same = append(d.same, column{p.Need(i), in.Schema.Columns[i].Format == pdk.FormatBool})
	}
	for i, c := range in.Schema.Columns {
		if c.Key > 0 {
			d.key = append(d.key, column{p.Need(i), c.Format == pdk.FormatBool})
		}
	}
	p.Process = d.process
	return p, nil
}

// dedupe judges the rows of one table.
type dedupe struct {
	window    int64 // microseconds
	same, key []column
	digester  digester
	memory    *memory
}

// process judges what is inserted while the log is followed. What a load reads,
// and what becomes of a row later, shares the fate that the row had.
func (d *dedupe) process(in *pdk.Batch, out *pdk.Output) error {
	out.Select()
	if err := d.memory.refresh(); err != nil {
		return err
	}
	newest := int64(0)
	for row := 0; row < in.Len(); row++ {
		if op := in.Op(row); len(d.key) == 0 && op != pdk.OpInsert && op != pdk.OpRead {
			out.Fail(row, "the table has no key: which row this changes, and whether dedupe has left that out, cannot be told")
			continue
		}
		id, at := d.identity(in, row), in.Place(row)
		newest = max(newest, at.CommitTime)
		switch op := in.Op(row); {
		case op == pdk.OpInsert:
			if d.insert(in, row, id) {
				out.Emit(row, 0)
			}
		case !d.memory.leftOut(id, at):
			out.Emit(row, 0)
		case op == pdk.OpDelete:
			d.memory.note(record{kind: forgotten, row: id, at: at})
		case op == pdk.OpOldKey: // the row after it is the same under another key
			d.memory.note(record{kind: forgotten, row: id, at: at})
			row++
			d.memory.note(record{kind: left, row: d.identity(in, row), at: at})
		}
	}
	return d.memory.save(newest - 2*d.window - keep)
}

// insert says whether an inserted row is passed on.
func (d *dedupe) insert(in *pdk.Batch, row int, id digest) bool {
	values, at := d.digester.of(in, row, d.same), in.Place(row)
	own, repeats := false, false
	for _, other := range d.memory.kept[values] {
		switch {
		case other.row == id:
			own = own || !before(at, other.at)
		case before(other.at, at) && at.CommitTime-other.at.CommitTime <= d.window:
			repeats = true
		}
	}
	if repeats && !own {
		d.memory.note(record{kind: left, row: id, at: at})
		return false
	}
	d.memory.note(record{kind: kept, row: id, values: values, at: at})
	return true
}

// identity tells a row from others, and is the same when it comes again: its
// key or, where the table has none, its place in the log.
func (d *dedupe) identity(in *pdk.Batch, row int) digest {
	if len(d.key) > 0 {
		return d.digester.of(in, row, d.key)
	}
	return digestOfPlace(in.Place(row))
}
