package property

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/wasm"
	"github.com/leat-etl/leat/plugins/workbench/golden"
	"github.com/leat-etl/leat/plugins/workbench/textbatch"
)

// target is the table that a destination is tried with.
var target = []string{"id bigint key", "name text", "note text", "n integer"}

// Destination tries a destination on an embedded database with random changes
// and compares the rows that it reads back with a model. c has its settings.
func Destination(ctx context.Context, h *wasm.Host, b *bundle.Bundle, c *golden.Case, seed uint64) (problems []Problem, err error) {
	dir, err := os.MkdirTemp("", "leat-test-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the database: %w", err)
	}
	defer os.RemoveAll(dir)
	s, err := textbatch.ParseSchema("public.tried", target)
	if err != nil {
		return nil, err
	}
	d := &deliveries{ctx: ctx, schema: s, random: rand.New(rand.NewPCG(seed, 1)), rows: map[int64][]string{}}
	d.connect = func() (*golden.Connection, error) { return golden.Connect(ctx, h, b, c, dir) }
	if d.con, err = d.connect(); err != nil {
		return []Problem{{"open", err.Error()}}, nil
	}
	defer func() { err = errors.Join(err, d.con.Close(ctx)) }()
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"a commit without rows", func() error { return d.commit(nil) }},
		{"random changes", d.changes},
		{"a rollback", d.rollback},
		{"changes after a rollback", d.changes},
		{"closed and opened again", d.reopen},
		{"truncate", d.truncate},
		{"changes after a truncate", d.changes},
	} {
		if err := step.do(); err != nil {
			return []Problem{{step.name, err.Error()}}, ctx.Err()
		}
	}
	return nil, nil
}

// deliveries is a destination with the model of what it must hold.
type deliveries struct {
	ctx     context.Context
	con     *golden.Connection
	connect func() (*golden.Connection, error)
	schema  *batch.Schema
	random  *rand.Rand
	rows    map[int64][]string // cells behind the key
	next    int64
	stored  map[string]string // checkpoint entries
}

// changes makes some deliveries of random changes.
func (d *deliveries) changes() error {
	for range 4 {
		if err := d.commit(d.log(20)); err != nil {
			return err
		}
		if err := d.compare(); err != nil {
			return err
		}
	}
	return nil
}

// log makes n changes of the model, as the log would have them.
func (d *deliveries) log(n int) *textbatch.Grid {
	g := &textbatch.Grid{Head: []string{"op", "id", "name", "note", "n"}}
	for range n {
		keys := slices.Sorted(maps.Keys(d.rows))
		kind := d.random.IntN(6)
		if len(keys) == 0 {
			kind = 0
		}
		if kind < 2 {
			d.next++
			d.rows[d.next] = []string{d.cell(unusual), d.cell(unusual), d.cell([]string{"0", "-1", "2147483647"})}
			op := []string{"insert", "read"}[kind]
			g.Rows = append(g.Rows, append([]string{op, strconv.FormatInt(d.next, 10)}, d.rows[d.next]...))
			continue
		}
		key := keys[d.random.IntN(len(keys))]
		id := strconv.FormatInt(key, 10)
		gone := []string{textbatch.Unchanged, textbatch.Unchanged, textbatch.Unchanged}
		switch kind {
		case 2:
			delete(d.rows, key)
			g.Rows = append(g.Rows, append([]string{"delete", id}, gone...))
		case 3:
			d.next++
			g.Rows = append(g.Rows, append([]string{"old key", id}, gone...))
			cells := d.update(key)
			d.rows[d.next] = d.rows[key]
			delete(d.rows, key)
			g.Rows = append(g.Rows, append([]string{"update", strconv.FormatInt(d.next, 10)}, cells...))
		default:
			g.Rows = append(g.Rows, append([]string{"update", id}, d.update(key)...))
		}
	}
	return g
}

// update changes a row of the model and returns what the log says of it.
func (d *deliveries) update(key int64) []string {
	cells := slices.Clone(d.rows[key])
	sent := slices.Clone(cells)
	for i, pool := range [][]string{unusual, unusual, {"7", "-2147483648"}} {
		if i < 2 && d.random.IntN(2) == 0 {
			sent[i] = textbatch.Unchanged
			continue
		}
		cells[i] = d.cell(pool)
		sent[i] = cells[i]
	}
	d.rows[key] = cells
	return sent
}

func (d *deliveries) cell(pool []string) string {
	if d.random.IntN(5) == 0 {
		return textbatch.Null
	}
	return textbatch.Quote(pool[d.random.IntN(len(pool))])
}

// commit delivers a batch, none for nil, with other checkpoint entries than
// before, and reads those back.
func (d *deliveries) commit(g *textbatch.Grid) error {
	var batches []*batch.Batch
	if g != nil {
		b, err := g.Batch(d.schema)
		if err != nil {
			return err
		}
		defer b.Release()
		batches = append(batches, b)
	}
	entries := []wasm.Checkpoint{}
	for key := range d.stored {
		entries = append(entries, wasm.Checkpoint{Key: key})
	}
	d.stored = map[string]string{}
	for _, key := range []string{"position", "it's \"quoted\"", strconv.Itoa(d.random.IntN(1000))} {
		value := fmt.Sprintf("ünï'\"\\ %d", d.random.Uint64())
		d.stored[key] = value
		entries = append(entries, wasm.Checkpoint{Key: key, Value: &value})
	}
	if err := d.con.Deliver(d.ctx, batches, lastOfEach(entries)...); err != nil {
		return err
	}
	return d.checkpoint()
}

// lastOfEach keeps the last entry of each key.
func lastOfEach(entries []wasm.Checkpoint) []wasm.Checkpoint {
	var out []wasm.Checkpoint
	for i, e := range entries {
		if !slices.ContainsFunc(entries[i+1:], func(later wasm.Checkpoint) bool { return later.Key == e.Key }) {
			out = append(out, e)
		}
	}
	return out
}

func (d *deliveries) checkpoint() error {
	entries, err := d.con.Checkpoint(d.ctx)
	if err != nil {
		return err
	}
	got := map[string]string{}
	for _, e := range entries {
		if e.Value != nil {
			got[e.Key] = *e.Value
		}
	}
	if !maps.Equal(got, d.stored) {
		return fmt.Errorf("checkpoint returns the entries %q, commit was given %q", got, d.stored)
	}
	return nil
}

// compare reads the live rows and holds them against the model.
func (d *deliveries) compare() error {
	p, err := d.con.Plan(d.ctx, d.schema)
	if err != nil {
		return err
	}
	rows, err := d.con.SQL.Query(d.ctx, p.Read)
	if err != nil {
		return fmt.Errorf("the plan's read: %w", err)
	}
	var got, want []string
	for _, row := range rows.Rows {
		cells := make([]string, len(row))
		for i, v := range row {
			cells[i] = textbatch.Null
			if v != nil {
				cells[i] = textbatch.Quote(*v)
			}
		}
		got = append(got, strings.Join(cells, " | "))
	}
	for key, cells := range d.rows {
		want = append(want, strconv.FormatInt(key, 10)+" | "+strings.Join(cells, " | "))
	}
	slices.Sort(got)
	slices.Sort(want)
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got), i < len(want) && want[i] < got[i]:
			return fmt.Errorf("a row is missing or other than at the source (id | name | note | n):\n  %s", shorten(want[i]))
		case i >= len(want), got[i] < want[i]:
			return fmt.Errorf("a row is there that the source does not have (id | name | note | n):\n  %s", shorten(got[i]))
		}
	}
	return nil
}

// rollback writes without a commit and takes that back.
func (d *deliveries) rollback() error {
	rows, next := maps.Clone(d.rows), d.next
	b, err := d.log(20).Batch(d.schema)
	if err != nil {
		return err
	}
	defer b.Release()
	d.rows, d.next = rows, next+1000
	if err := d.con.Write(d.ctx, []*batch.Batch{b}); err != nil {
		return err
	}
	for range 2 { // the second has nothing to take back
		if err := d.con.Rollback(d.ctx); err != nil {
			return err
		}
	}
	return errors.Join(d.checkpoint(), d.compare())
}

// reopen closes the destination and opens it again on the same database.
func (d *deliveries) reopen() error {
	if err := d.con.Close(d.ctx); err != nil {
		return err
	}
	con, err := d.connect()
	if err != nil {
		return err
	}
	d.con = con
	return errors.Join(d.checkpoint(), d.compare())
}

func (d *deliveries) truncate() error {
	g := &textbatch.Grid{Head: []string{"op", "id"}, Rows: [][]string{{"truncate", textbatch.Unchanged}}}
	clear(d.rows)
	return errors.Join(d.commit(g), d.compare())
}
