package conformance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"github.com/leat-etl/leat/plugins/wasm"
	"github.com/leat-etl/leat/plugins/workbench/textbatch"
)

// plainTable is one row in one table.
const plainTable = "\ntable t: " + people + "\nop | id | name | note\ninsert | 1 | a | b"

// checkpoints are kept, replaced and removed entry by entry, for each pipeline
// by itself.
func (k *Kit) checkpoints(ctx context.Context, score *Score) error {
	t, err := k.newTrial(testCase{"checkpoints", plainTable}, nil)
	if err != nil {
		return err
	}
	defer t.close(ctx)
	other, err := k.newTrial(testCase{"checkpoints", plainTable}, nil)
	if err != nil {
		return err
	}
	defer other.close(ctx)
	text := func(s string) *string { return &s }
	want := map[string]string{}
	commit := func(entries ...wasm.Checkpoint) error {
		for _, e := range entries {
			if e.Value == nil {
				delete(want, e.Key)
			} else {
				want[e.Key] = *e.Value
			}
		}
		return t.d.Commit(ctx, entries)
	}
	read := func() error {
		if t.d == nil {
			return nil // what opened it says why
		}
		entries, err := t.d.Checkpoint(ctx)
		got := map[string]string{}
		for _, e := range entries {
			if e.Value != nil {
				got[e.Key] = *e.Value
			}
		}
		if err == nil && !maps.Equal(got, want) {
			err = fmt.Errorf("it returns %q, want %q", got, want)
		}
		return err
	}
	reopen := func() error { return errors.Join(t.close(ctx), t.open(ctx)) }
	for _, point := range []struct {
		name string
		do   func() error
	}{
		{"there is none at first", func() error { return errors.Join(t.open(ctx), read()) }},
		{"a commit without rows", func() error {
			return errors.Join(commit(wasm.Checkpoint{Key: "position", Value: text("1:0/1")}, wasm.Checkpoint{Key: `it's "odd"\ ünï`, Value: text("a 'quoted' \\ value\n😀")}), read())
		}},
		{"another connection reads it", func() error { return errors.Join(reopen(), read()) }},
		{"an entry is replaced and one removed", func() error {
			return errors.Join(commit(wasm.Checkpoint{Key: "position", Value: text("1:0/2")}, wasm.Checkpoint{Key: `it's "odd"\ ünï`}), read())
		}},
		{"a thousand entries", func() error {
			var many []wasm.Checkpoint
			for i := range 1000 {
				many = append(many, wasm.Checkpoint{Key: fmt.Sprintf("chunk/%d", i), Value: text(strings.Repeat("v", 100))})
			}
			return errors.Join(commit(many...), read())
		}},
		{"a rollback takes nothing of it back", func() error { return errors.Join(t.d.Rollback(ctx), read()) }},
		{"another pipeline has its own", func() error {
			if err := errors.Join(t.close(ctx), other.open(ctx)); err != nil {
				return err
			}
			at, err := other.position(ctx)
			if err == nil && at != 0 {
				err = fmt.Errorf("a pipeline that is new is at %d", at)
			}
			return errors.Join(err, other.close(ctx), t.open(ctx), read())
		}},
	} {
		err := point.do()
		score.point(point.name, err)
		if err != nil || ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// plans change nothing, say what they would do, and say the same again.
func (k *Kit) plans(ctx context.Context, score *Score) error {
	t, err := k.newTrial(testCase{"plans", plainTable}, nil)
	if err != nil {
		return err
	}
	defer t.close(ctx)
	if err := t.open(ctx); err != nil {
		score.point("open", err)
		return nil
	}
	s := t.story[0].steps[0].schema
	p, err := t.d.Plan(ctx, s)
	score.point("a table that is new", err)
	if err != nil {
		return nil
	}
	_, err = t.sql.Query(ctx, p.Read)
	if err == nil {
		err = errors.New("the table is there before anything was written")
	} else {
		err = nil
	}
	score.point("nothing is made by it", err)
	again, err := t.d.Plan(ctx, s)
	if err == nil && (again.Table != p.Table || again.Read != p.Read) {
		err = fmt.Errorf("planned again the table is %s, it was %s", again.Table, p.Table)
	}
	score.point("the same again", err)
	err = nil
	for i, c := range s.Columns {
		found := false
		for _, target := range p.Columns {
			found = found || target.Source == c.Name
		}
		if !found {
			err = fmt.Errorf("column %d, %s, has no column at the destination", i, c.Name)
		}
	}
	score.point("every column of the source has a place", err)
	score.point("written as planned", errors.Join(t.deliverAll(ctx), t.close(ctx)))
	return nil
}

// odd are names that SQL has to quote, and ones that are long.
var odd = []string{`Mixed "Case"`, "with space", "ünïcödé", "select", "semi;colon--", strings.Repeat("n", 63)}

// names of tables and columns may be anything that PostgreSQL allows, and two
// tables never land in one.
func (k *Kit) names(ctx context.Context, score *Score) error {
	for _, name := range odd {
		c := testCase{name, "\ntable t: id bigint key, " + strconv.Quote(name) + " text\nop | id | " + textbatch.Quote(name) + "\ninsert | 1 | a\n---\ntable t:\nop | id | " + textbatch.Quote(name) + "\nupdate | 1 | b\ninsert | 2 | c"}
		if err := k.named(ctx, score, c, "column "+strconv.Quote(name), func(as string) string { return as }); err != nil {
			return err
		}
		c = testCase{name, plainTable}
		if err := k.named(ctx, score, c, "table "+strconv.Quote(name), func(as string) string { return (as[:len(as)-1] + name)[:min(63, len(as)-1+len(name))] }); err != nil {
			return err
		}
	}
	long := strings.Repeat("long", 15)
	c := testCase{"long", plainTable + "\ntable u: " + people + "\nop | id | name | note\ninsert | 1 | other | table"}
	return k.named(ctx, score, c, "two long names that differ at their end", func(as string) string { return long + as[len(as)-3:] })
}

// named tells a case with other names of its tables.
func (k *Kit) named(ctx context.Context, score *Score, c testCase, point string, rename func(string) string) error {
	t, err := k.newTrial(c, nil)
	if err != nil {
		return err
	}
	for _, d := range t.story {
		for _, s := range d.steps {
			if !strings.HasPrefix(s.schema.Table.Name, "leat_"+k.run) {
				continue // a later shape of one that has its name
			}
			s.schema.Table.Name = rename(s.schema.Table.Name)
		}
	}
	score.point(point, errors.Join(t.deliverAll(ctx), t.close(ctx)))
	return ctx.Err()
}
