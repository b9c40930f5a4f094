package workbench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/capability"
	"github.com/leat-etl/leat/plugins/wasm"
	"github.com/leat-etl/leat/plugins/workbench/golden"
)

// Delivery is what a destination costs, beside the host's bare ingest of the same
// rows into a new table of the same database. Rates are medians of rounds that
// alternate.
type Delivery struct {
	Plugin string `json:"plugin"`
	// Case is the one whose table, settings and values were taken.
	Case        string  `json:"case"`
	Rows        int     `json:"rows"` // of a delivery
	RowsASecond float64 `json:"rows_per_second"`
	BareASecond float64 `json:"ingest_rows_per_second"`
	FuelARow    float64 `json:"fuel_per_row"`
	HostCalls   float64 `json:"host_calls_per_delivery"`
	MemoryBytes uint64  `json:"memory_bytes"` // of the instance afterwards
}

// BenchDestination measures the destination b with the first case of the folder
// dir that has an input: a batch of rows, delivered and committed over and over,
// each time in the place of the rows before.
func BenchDestination(ctx context.Context, h *wasm.Host, b *bundle.Bundle, dir string, o BenchOptions) (_ *Delivery, err error) {
	if !golden.Embedded(b) {
		return nil, fmt.Errorf("bench measures destinations on DuckDB, the database that comes with leat: what one with the driver %q costs, its server decides, and leat run shows it", b.Manifest.Driver)
	}
	c, in, err := benchInput(b, dir, o.Rows)
	if err != nil {
		return nil, err
	}
	defer in.Release()
	folder, err := os.MkdirTemp("", "leat-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the database: %w", err)
	}
	defer os.RemoveAll(folder)
	con, err := golden.Connect(ctx, h, b, c, folder)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, con.Close(ctx)) }()
	d := &delivered{con: con, in: in}
	if d.plan, err = con.Plan(ctx, in.Schema); err != nil {
		return nil, err
	}
	if err := d.deliver(ctx); err != nil { // makes the table
		return nil, err
	}
	m := &Delivery{Plugin: b.Manifest.Ref().String(), Case: c.Name, Rows: in.Len()}
	before := con.Stats()
	if err := d.deliver(ctx); err != nil {
		return nil, err
	}
	after := con.Stats()
	m.FuelARow, m.HostCalls = float64(after.Fuel-before.Fuel)/float64(in.Len()), float64(after.HostCalls-before.HostCalls)
	var rates [2][]float64
	for range rounds {
		for i, work := range []func(context.Context) error{d.deliver, d.ingest} {
			rate, err := d.rate(ctx, o.For/rounds/2, work)
			if err != nil {
				return nil, err
			}
			rates[i] = append(rates[i], rate)
		}
	}
	for i := range rates {
		slices.Sort(rates[i])
	}
	m.RowsASecond, m.BareASecond, m.MemoryBytes = rates[0][rounds/2], rates[1][rounds/2], con.Stats().MemoryBytes
	return m, nil
}

// delivered is a destination with the rows that it is given.
type delivered struct {
	con  *golden.Connection
	plan *wasm.DestinationPlan
	in   *batch.Batch
	n    int
}

// deliver hands the rows over and commits them.
func (d *delivered) deliver(ctx context.Context) error {
	d.n++
	position := strconv.Itoa(d.n)
	return d.con.Deliver(ctx, []*batch.Batch{d.in}, wasm.Checkpoint{Key: "position", Value: &position})
}

// ingest has the host bring the rows into a new table, with the types that the
// plugin's plan gives them, and commits that.
func (d *delivered) ingest(ctx context.Context) error {
	to := capability.Ingest{Table: "leat_bench"}
	definition := ""
	for _, c := range d.plan.Columns {
		i := d.in.Schema.Column(c.Source)
		if c.Source == "" || i < 0 {
			continue
		}
		name := "c" + strconv.Itoa(i)
		if definition != "" {
			definition += ", "
		}
		definition += name + " " + c.Type
		to.Columns = append(to.Columns, capability.IngestColumn{Name: name, Type: c.Type, From: capability.FromColumn, Column: i})
	}
	if _, err := d.con.SQL.Exec(ctx, "CREATE OR REPLACE TABLE leat_bench ("+definition+")"); err != nil {
		return err
	}
	if err := d.con.SQL.Begin(ctx); err != nil {
		return err
	}
	if _, err := d.con.SQL.Ingest(ctx, d.in, to); err != nil {
		return errors.Join(err, d.con.SQL.Rollback(ctx))
	}
	return d.con.SQL.Commit(ctx)
}

// rate does something with the rows over and over for a while and returns rows a
// second.
func (d *delivered) rate(ctx context.Context, long time.Duration, work func(context.Context) error) (float64, error) {
	began, n := time.Now(), 0
	for n == 0 || time.Since(began) < long {
		if err := work(ctx); err != nil {
			return 0, err
		}
		n++
	}
	return float64(n*d.in.Len()) / time.Since(began).Seconds(), ctx.Err()
}
