package golden

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/capability"
	"github.com/leat-etl/leat/plugins/wasm"
)

// Connection is a destination under test with the database behind it: an
// embedded one in a folder that the caller throws away, or a record of what
// was asked where the driver is not embedded.
type Connection struct {
	*wasm.Destination
	Info wasm.Info
	SQL  capability.SQL // nil without the capability
	// Recorded are the statements if there is no database.
	Recorded *Recorder
}

// Embedded says whether a plugin's database can be had here.
func Embedded(b *bundle.Bundle) bool { return b.Manifest.Driver == "duckdb" }

// Connect opens a destination with the settings of a case. dir keeps the
// database, so that a second connection finds what the first one has left.
func Connect(ctx context.Context, h *wasm.Host, b *bundle.Bundle, c *Case, dir string) (*Connection, error) {
	settings, err := withPath(b.Manifest, c.Settings(), filepath.Join(dir, "test.duckdb"))
	if err != nil {
		return nil, err
	}
	if err := bundle.ValidateConfig(b.Manifest, settings); err != nil {
		return nil, err
	}
	_, private, err := bundle.SplitConfig(b.Manifest, settings, dir)
	if err != nil {
		return nil, err
	}
	plugin, err := pluginOf(b, settings, dir)
	if err != nil {
		return nil, err
	}
	con := &Connection{}
	switch {
	case Embedded(b):
		if con.SQL, err = capability.OpenSQL(ctx, "duckdb", private); err != nil {
			return nil, err
		}
	case slices.Contains(b.Manifest.Capabilities, "sql"):
		con.Recorded = &Recorder{}
		con.SQL = con.Recorded
	}
	if con.Destination, err = h.Destination(ctx, b.Module, plugin, con.SQL); err == nil {
		con.Info, err = con.Open(ctx, wasm.OpenInput{Pipeline: "test"})
	}
	if err != nil {
		return nil, errors.Join(err, con.Close(ctx))
	}
	return con, nil
}

// withPath names the database file where the plugin's settings have a place
// for it.
func withPath(m bundle.Manifest, settings json.RawMessage, path string) (json.RawMessage, error) {
	var schema struct {
		Properties map[string]json.RawMessage `json:"properties"`
	}
	var all map[string]any
	if err := errors.Join(json.Unmarshal(m.ConfigSchema, &schema), json.Unmarshal(settings, &all)); err != nil {
		return nil, fmt.Errorf("settings of plugin %s: %w", m.Name, err)
	}
	if _, ok := schema.Properties["path"]; ok && m.Driver == "duckdb" {
		all["path"] = path
	}
	return json.Marshal(all)
}

// Close closes the plugin, then its database.
func (c *Connection) Close(ctx context.Context) error {
	var errs []error
	if c.Destination != nil {
		errs = append(errs, c.Destination.Close(ctx))
	}
	if c.SQL != nil {
		errs = append(errs, c.SQL.Close())
	}
	return errors.Join(errs...)
}

// attempts bounds how often a delivery is made again: a plugin may ask for it
// when a table has to change first.
const attempts = 3

// Deliver writes batches and commits them with the entries, as the engine
// does.
func (c *Connection) Deliver(ctx context.Context, batches []*batch.Batch, entries ...wasm.Checkpoint) error {
	var err error
	for range attempts {
		if err = c.Write(ctx, batches); err == nil {
			err = c.Commit(ctx, entries)
		}
		var database *capability.Error
		if err == nil {
			return nil
		}
		if e := c.Rollback(ctx); e != nil {
			return errors.Join(err, fmt.Errorf("rollback after it: %w", e))
		}
		if !errors.As(err, &database) || database.Class != capability.Connection {
			return err
		}
	}
	return err
}

// Write hands batches to the plugin, reduced as it asked for.
func (c *Connection) Write(ctx context.Context, batches []*batch.Batch) error {
	for _, b := range batches {
		p, err := c.Plan(ctx, b.Schema)
		if err != nil {
			return err
		}
		switch {
		case c.Info.Compacts:
			b = batch.Compact(b)
			defer b.Release()
		case c.Info.Fills:
			b = batch.Fill(b)
			defer b.Release()
		}
		if err := c.Destination.Write(ctx, p, b); err != nil {
			return err
		}
	}
	return nil
}

// Recorder stands in for a database: it keeps what is asked of it, and finds
// nothing.
type Recorder struct{ Statements []string }

func (r *Recorder) note(format string, args ...any) {
	r.Statements = append(r.Statements, fmt.Sprintf(format, args...))
}

// Exec implements capability.SQL.
func (r *Recorder) Exec(_ context.Context, sql string) (int64, error) {
	r.note("%s", sql)
	return 0, nil
}

// Query implements capability.SQL.
func (r *Recorder) Query(_ context.Context, sql string) (*capability.Rows, error) {
	r.note("%s", sql)
	return &capability.Rows{Columns: []string{}, Rows: [][]*string{}}, nil
}

// Ingest implements capability.SQL.
func (r *Recorder) Ingest(_ context.Context, b *batch.Batch, in capability.Ingest) (int64, error) {
	kind := ""
	if in.Temporary {
		kind = "temporary "
	}
	columns := make([]string, len(in.Columns))
	for i, c := range in.Columns {
		columns[i] = c.Name + " " + c.Type
	}
	r.note("ingest into %s%s: %q", kind, in.Table, columns)
	return int64(b.Len()), nil
}

// Read implements capability.SQL.
func (r *Recorder) Read(_ context.Context, sql string, _ func(arrow.RecordBatch) error) error {
	r.note("%s", sql)
	return nil
}

// Ask implements capability.SQL.
func (r *Recorder) Ask(ctx context.Context, sql string, yield func(arrow.RecordBatch) error) error {
	return r.Read(ctx, sql, yield)
}

// Begin implements capability.SQL.
func (r *Recorder) Begin(context.Context) error { r.note("BEGIN"); return nil }

// Commit implements capability.SQL.
func (r *Recorder) Commit(context.Context) error { r.note("COMMIT"); return nil }

// Rollback implements capability.SQL.
func (r *Recorder) Rollback(context.Context) error { r.note("ROLLBACK"); return nil }

// Tell implements capability.SQL.
func (r *Recorder) Tell(func(string)) {}

// Close implements capability.SQL.
func (r *Recorder) Close() error { return nil }
