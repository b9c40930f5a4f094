package golden

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/capability"
	"github.com/leat-etl/leat/plugins/wasm"
	"github.com/leat-etl/leat/plugins/workbench/textbatch"
)

// Destination runs a case against a destination: its batches, one delivery
// each, then its query. The error says what came out otherwise.
func Destination(ctx context.Context, h *wasm.Host, b *bundle.Bundle, c *Case) (err error) {
	dir, err := os.MkdirTemp("", "leat-test-")
	if err != nil {
		return fmt.Errorf("make a folder for the database: %w", err)
	}
	defer os.RemoveAll(dir)
	con, err := Connect(ctx, h, b, c, dir)
	if err != nil {
		return c.settle(err)
	}
	defer func() { err = errors.Join(err, con.Close(ctx)) }()
	if err := c.deliverTo(ctx, con); err != nil {
		var other errUnexpected
		if errors.As(err, &other) {
			return err
		}
		return c.settle(err)
	}
	if c.Error != "" {
		return c.settle(nil)
	}
	if err := c.compareStatements(con.Recorded); err != nil || c.Query == "" {
		return err
	}
	if con.SQL == nil || con.Recorded != nil {
		return unexpected("query: the driver %q is not embedded, so there is no database to ask; expect statements instead", b.Manifest.Driver)
	}
	rows, err := con.SQL.Query(ctx, c.Query)
	if err != nil {
		return unexpected("query: %v", err)
	}
	want, err := textbatch.Parse(c.Output)
	if err != nil {
		return unexpected("output: %v", err)
	}
	if text := textbatch.Diff(want, gridOf(rows)); text != "" {
		return unexpected("the query's rows are not as expected (- expected, + what came out)\n%s", text)
	}
	return nil
}

// deliverTo hands the case's batches over, one delivery each.
func (c *Case) deliverTo(ctx context.Context, con *Connection) error {
	s, err := c.Schema()
	if err != nil {
		return err
	}
	if len(c.Inputs) == 0 {
		_, err := con.Plan(ctx, s)
		return err
	}
	for i, text := range c.Inputs {
		g, err := textbatch.Parse(text)
		if err != nil {
			return unexpected("input %d: %v", i+1, err)
		}
		in, err := g.Batch(s)
		if err != nil {
			return unexpected("input %d: %v", i+1, err)
		}
		position := fmt.Sprint(i + 1)
		err = con.Deliver(ctx, []*batch.Batch{in}, wasm.Checkpoint{Key: "position", Value: &position})
		in.Release()
		if err != nil {
			return err
		}
	}
	return nil
}

// compareStatements looks for the expected statements in their order; others
// may stand between.
func (c *Case) compareStatements(r *Recorder) error {
	if c.Statements == nil {
		return nil
	}
	if r == nil {
		return unexpected("statements: this plugin's database is embedded; use query and output")
	}
	at := 0
	for _, want := range c.Statements {
		for at < len(r.Statements) && !strings.Contains(r.Statements[at], want) {
			at++
		}
		if at == len(r.Statements) {
			return unexpected("the statement %q was not sent, or not in that order; these were:\n  %s", want, strings.Join(r.Statements, "\n  "))
		}
		at++
	}
	return nil
}

func gridOf(rows *capability.Rows) *textbatch.Grid {
	g := &textbatch.Grid{}
	for _, name := range rows.Columns {
		g.Head = append(g.Head, textbatch.Quote(name))
	}
	for _, row := range rows.Rows {
		cells := make([]string, len(row))
		for i, v := range row {
			cells[i] = textbatch.Null
			if v != nil {
				cells[i] = textbatch.Quote(*v)
			}
		}
		g.Rows = append(g.Rows, cells)
	}
	return g
}
