// Package property tries a plugin with cases of the host's own: nulls,
// unchanged cells, the extremes of every type, unusual texts, every operation.
// It looks for what no plugin may do, whatever it is for: trap, break the
// interface, make null or a value of what the source did not send, answer
// otherwise the second time, or for a batch otherwise than for its halves.
package property

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/wasm"
	"github.com/leat-etl/leat/plugins/workbench/textbatch"
)

// Subject is a table with settings for which a plugin is tried.
type Subject struct {
	Name   string
	Schema *batch.Schema
	Plugin wasm.Plugin
	// Samples are batches of the author's, whose values are tried, too.
	Samples []*textbatch.Grid
}

// Problem is a rule that a plugin broke: in which kind of batch, and how.
type Problem struct {
	Batch  string
	Detail string
}

// Transform tries a transform and returns at most one problem for each kind of
// batch. A plan that the plugin refuses gives none.
func Transform(ctx context.Context, h *wasm.Host, b *bundle.Bundle, s Subject, seed uint64) ([]Problem, error) {
	t := &trial{ctx: ctx, maker: newMaker(seed, s.Schema, s.Samples)}
	for i := range t.plugins {
		p, err := h.Transform(ctx, b.Module, s.Plugin)
		if err != nil {
			return nil, err
		}
		defer p.Close(ctx)
		t.plugins[i] = p
		t.plans[i], err = p.Plan(ctx, wasm.PlanInput{Schema: s.Schema, Databases: []string{s.Schema.Table.Database}})
		var refused *wasm.Error
		switch {
		case errors.As(err, &refused) && refused.Kind == wasm.KindGuest:
			return nil, nil
		case err != nil:
			return []Problem{{"the plan", err.Error()}}, nil
		}
	}
	var problems []Problem
	tryOne := func(name string, check func() error) {
		if err := check(); err != nil {
			problems = append(problems, Problem{name, err.Error()})
		}
	}
	for _, shape := range shapes {
		tryOne(shape.name, func() error { return t.try(shape.make(t.maker)) })
	}
	tryOne("truncate", func() error { return t.try(truncation(t.maker)) })
	if len(problems) == 0 {
		tryOne("a column that was not sent", t.unchanged)
	}
	return problems, ctx.Err()
}

// trial is a plugin on trial: two instances that know nothing of each other.
type trial struct {
	ctx     context.Context
	maker   *maker
	plugins [2]*wasm.Transform
	plans   [2]*wasm.Plan
}

// outcome is what came of a batch: lines of cells by table, and the failed
// rows of the input.
type outcome struct {
	tables map[string][]string
	failed []wasm.RowError
}

// run has instance i process a batch.
func (t *trial) run(i int, b *batch.Batch) (*outcome, error) {
	r, err := t.plugins[i].Process(t.ctx, t.plans[i], b)
	if err != nil {
		var refused *wasm.Error
		if errors.As(err, &refused) && refused.Kind == wasm.KindGuest {
			return nil, fmt.Errorf("the plugin failed the whole batch: %s; an error of a row leaves the other rows whole", refused.Message)
		}
		return nil, err
	}
	o := &outcome{tables: map[string][]string{}, failed: r.Failed}
	for _, out := range r.Batches {
		g, err := textbatch.Of(out)
		if err != nil {
			return nil, err
		}
		for _, row := range g.Rows {
			o.tables[out.Schema.Table.String()] = append(o.tables[out.Schema.Table.String()], strings.Join(row, " | "))
		}
		out.Release()
	}
	return o, nil
}

// try holds a batch against every rule.
func (t *trial) try(g *textbatch.Grid) error {
	b, err := g.Batch(t.maker.schema)
	if err != nil {
		return err
	}
	defer b.Release()
	whole, err := t.run(0, b)
	if err != nil {
		return err
	}
	for i, what := range []string{"the same batch a second time", "the same batch in another instance"} {
		again, err := t.run(i, b)
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if text := compare(whole, again); text != "" {
			return fmt.Errorf("%s came out otherwise: %s", what, text)
		}
	}
	if b.Len() < 2 {
		return nil
	}
	halves, err := t.inHalves(b)
	if err != nil {
		return fmt.Errorf("the batch in halves: %w", err)
	}
	if text := compare(whole, halves); text != "" {
		return fmt.Errorf("the batch in halves came out otherwise than the whole, but where a batch ends is chance: %s", text)
	}
	return nil
}

// inHalves processes a batch in two parts that do not separate an old key from
// its update.
func (t *trial) inHalves(b *batch.Batch) (*outcome, error) {
	middle := b.Len() / 2
	if b.Ops[middle-1] == batch.OldKey {
		middle++
	}
	sum := &outcome{tables: map[string][]string{}}
	for _, part := range [][2]int{{0, middle}, {middle, b.Len()}} {
		rows := make([]int32, 0, part[1]-part[0])
		for r := part[0]; r < part[1]; r++ {
			rows = append(rows, int32(r))
		}
		if len(rows) == 0 {
			continue
		}
		half := batch.Take(b, rows)
		o, err := t.run(0, half)
		half.Release()
		if err != nil {
			return nil, err
		}
		for table, lines := range o.tables {
			sum.tables[table] = append(sum.tables[table], lines...)
		}
		for _, f := range o.failed {
			sum.failed = append(sum.failed, wasm.RowError{Row: f.Row + part[0], Message: f.Message})
		}
	}
	return sum, nil
}

// compare says in which line two outcomes differ first, empty if in none.
func compare(a, b *outcome) string {
	if !slices.Equal(a.failed, b.failed) {
		return fmt.Sprintf("the rows that fail are %s, then %s", failures(a.failed), failures(b.failed))
	}
	for table := range a.tables {
		if b.tables[table] == nil {
			return fmt.Sprintf("%d rows of %s, then none", len(a.tables[table]), table)
		}
	}
	for table, lines := range b.tables {
		before := a.tables[table]
		for i := range max(len(before), len(lines)) {
			switch {
			case i >= len(before):
				return fmt.Sprintf("%d rows of %s, then %d", len(before), table, len(lines))
			case i >= len(lines):
				return fmt.Sprintf("%d rows of %s, then %d", len(before), table, len(lines))
			case before[i] != lines[i]:
				return fmt.Sprintf("row %d of %s is\n  %s\nthen\n  %s", i+1, table, shorten(before[i]), shorten(lines[i]))
			}
		}
	}
	return ""
}

func failures(rows []wasm.RowError) string {
	if len(rows) == 0 {
		return "none"
	}
	var s []string
	for _, f := range rows[:min(3, len(rows))] {
		s = append(s, fmt.Sprintf("%d (%s)", f.Row+1, f.Message))
	}
	return strings.Join(s, ", ")
}

func shorten(s string) string {
	const most = 400
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}
