package workbench

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/wasm"
	"github.com/leat-etl/leat/plugins/workbench/golden"
	"github.com/leat-etl/leat/plugins/workbench/textbatch"
)

// Measurement is what a transform costs, beside one that does nothing with the
// same columns. Times are medians of rounds that alternate.
type Measurement struct {
	Plugin string `json:"plugin"`
	// Case is the one whose table, settings and values were taken.
	Case string `json:"case"`
	Rows int    `json:"rows"` // of a batch
	// Native: the plan needs no call, so that the plugin costs nothing per row.
	Native       bool    `json:"native"`
	RowsASecond  float64 `json:"rows_per_second"`
	NoopASecond  float64 `json:"noop_rows_per_second"`
	FuelARow     float64 `json:"fuel_per_row"`
	BytesIn      float64 `json:"bytes_in_per_row"`
	BytesOut     float64 `json:"bytes_out_per_row"`
	MemoryBytes  uint64  `json:"memory_bytes"` // of an instance afterwards
	Parallel     int     `json:"parallel"`     // goroutines of the last series
	ParallelRate float64 `json:"parallel_rows_per_second"`
}

// BenchOptions of Bench.
type BenchOptions struct {
	Rows  int           // of a batch
	For   time.Duration // of the whole measurement, about
	Limit int           // goroutines of the parallel series, 0 for one a core
}

// rounds is how often the two alternate.
const rounds = 9

// Bench measures the transform b with the first case of the folder dir that
// has an input.
func Bench(ctx context.Context, h *wasm.Host, b *bundle.Bundle, dir string, o BenchOptions) (*Measurement, error) {
	c, in, err := benchInput(b, dir, o.Rows)
	if err != nil {
		return nil, err
	}
	defer in.Release()
	plugin, err := golden.PluginOf(b, c)
	if err != nil {
		return nil, err
	}
	subject, err := newContender(ctx, h, b.Module, plugin, in)
	if err != nil {
		return nil, err
	}
	defer subject.close(ctx)
	m := &Measurement{Plugin: b.Manifest.Ref().String(), Case: c.Name, Rows: in.Len(), Native: subject.plan.Native, Parallel: o.Limit}
	if m.Parallel <= 0 {
		m.Parallel = runtime.GOMAXPROCS(0)
	}
	before := subject.plugin.Stats()
	if err := subject.pass(ctx); err != nil {
		return nil, err
	}
	after := subject.plugin.Stats()
	rows := float64(in.Len())
	m.FuelARow = float64(after.Fuel-before.Fuel) / rows
	m.BytesIn, m.BytesOut = float64(after.BytesIn-before.BytesIn)/rows, float64(after.BytesOut-before.BytesOut)/rows
	code, err := noop(in.Schema, subject.plan.Sees, after.BytesIn-before.BytesIn)
	if err != nil {
		return nil, err
	}
	nothing, err := newContender(ctx, h, code, wasm.Plugin{Name: "no-op", Version: "0"}, in)
	if err != nil {
		return nil, fmt.Errorf("the plugin that does nothing: %w", err)
	}
	defer nothing.close(ctx)
	if err := m.race(ctx, subject, nothing, o.For); err != nil {
		return nil, err
	}
	m.MemoryBytes = subject.plugin.Stats().MemoryBytes
	m.ParallelRate, err = subject.parallel(ctx, m.Parallel, o.For/rounds)
	return m, err
}

// race alternates the two and keeps the medians.
func (m *Measurement) race(ctx context.Context, subject, nothing *contender, total time.Duration) error {
	var rates [2][]float64
	for range rounds {
		for i, c := range []*contender{subject, nothing} {
			rate, err := c.run(ctx, total/rounds/3)
			if err != nil {
				return err
			}
			rates[i] = append(rates[i], rate)
		}
	}
	for i := range rates {
		slices.Sort(rates[i])
	}
	m.RowsASecond, m.NoopASecond = rates[0][rounds/2], rates[1][rounds/2]
	return nil
}

// contender is a plugin with its plan and the batch that it is given.
type contender struct {
	plugin *wasm.Transform
	plan   *wasm.Plan
	in     *batch.Batch
}

func newContender(ctx context.Context, h *wasm.Host, code []byte, p wasm.Plugin, in *batch.Batch) (*contender, error) {
	t, err := h.Transform(ctx, code, p)
	if err != nil {
		return nil, err
	}
	plan, err := t.Plan(ctx, wasm.PlanInput{Schema: in.Schema, Databases: []string{in.Schema.Table.Database}})
	if err != nil {
		return nil, errors.Join(err, t.Close(ctx))
	}
	c := &contender{t, plan, in}
	return c, c.pass(ctx) // the first call grows the memory
}

func (c *contender) close(ctx context.Context) { c.plugin.Close(ctx) }

// pass processes the batch once.
func (c *contender) pass(ctx context.Context) error {
	r, err := c.plugin.Process(ctx, c.plan, c.in)
	if err != nil {
		return err
	}
	for _, o := range r.Batches {
		o.Release()
	}
	return nil
}

// run processes the batch over and over for a while and returns rows a second.
func (c *contender) run(ctx context.Context, long time.Duration) (float64, error) {
	began, n := time.Now(), 0
	for n == 0 || time.Since(began) < long {
		if err := c.pass(ctx); err != nil {
			return 0, err
		}
		n++
	}
	return float64(n*c.in.Len()) / time.Since(began).Seconds(), ctx.Err()
}

// parallel is run by several goroutines, each with an instance of its own.
func (c *contender) parallel(ctx context.Context, workers int, long time.Duration) (float64, error) {
	var g errgroup.Group
	rates := make([]float64, workers)
	for i := range workers {
		g.Go(func() (err error) {
			rates[i], err = c.run(ctx, long)
			return err
		})
	}
	err := g.Wait()
	sum := 0.0
	for _, r := range rates {
		sum += r
	}
	return sum, err
}

// benchInput returns the first case of dir that has an input, and its rows
// repeated to a batch of so many.
func benchInput(b *bundle.Bundle, dir string, rows int) (*golden.Case, *batch.Batch, error) {
	c, err := benchCase(b, dir)
	if err != nil {
		return nil, nil, err
	}
	s, err := c.Schema()
	if err != nil {
		return nil, nil, err
	}
	in, err := benchBatch(c, s, rows)
	return c, in, err
}

// benchCase is the first case that has an input and is to succeed.
func benchCase(b *bundle.Bundle, dir string) (*golden.Case, error) {
	files, err := golden.Load(dir)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		for i := range f.Cases {
			c := &f.Cases[i]
			// The settings of a destination are whole only with its database.
			whole := b.Manifest.Kind == bundle.Destination || bundle.ValidateConfig(b.Manifest, c.Settings()) == nil
			if len(c.Inputs) > 0 && c.Error == "" && whole {
				return c, nil
			}
		}
	}
	return nil, fmt.Errorf("%s holds no case with an input in %s: bench takes table, settings and values from the first", dir, golden.Folder)
}

// benchBatch repeats the values of a case's inserts in a batch of n rows.
func benchBatch(c *golden.Case, s *batch.Schema, n int) (*batch.Batch, error) {
	sample, err := textbatch.Parse(c.Inputs[0])
	if err != nil {
		return nil, err
	}
	values := make([][]string, len(s.Columns))
	for at, name := range sample.Head {
		i := s.Column(textbatch.Unquote(name))
		for _, row := range sample.Rows {
			if i >= 0 && row[at] != textbatch.Unchanged {
				values[i] = append(values[i], row[at])
			}
		}
	}
	g := &textbatch.Grid{Head: []string{"op"}}
	for _, col := range s.Columns {
		g.Head = append(g.Head, textbatch.Quote(col.Name))
	}
	for r := range n {
		row := []string{"insert"}
		for i := range s.Columns {
			switch {
			case s.Columns[i].Key > 0 && strings.HasPrefix(s.Columns[i].PG.Name, "int"):
				row = append(row, strconv.Itoa(r%30000+1))
			case s.Columns[i].Key > 0 && (s.Columns[i].PG.Name == "text" || s.Columns[i].PG.Name == "varchar"):
				row = append(row, "key "+strconv.Itoa(r+1))
			case len(values[i]) > 0:
				row = append(row, values[i][r%len(values[i])])
			default:
				row = append(row, textbatch.Null)
			}
		}
		g.Rows = append(g.Rows, row)
	}
	return g.Batch(s)
}
