package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/engine/spec"
	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/wasm"
)

// Trial is a transform tried on rows of the source: what went in and what came
// out. Nothing is written anywhere.
type Trial struct {
	Plan *wasm.Plan
	// Input are rows as they are at the source now, and Result what the plugin
	// makes of them. Of the input only the columns that the plan declares were
	// read, and the key; the others are null. Input is nil for an empty table.
	Input  *batch.Batch
	Result wasm.Result
}

// Release gives the batches back.
func (t *Trial) Release() {
	if t.Input != nil {
		t.Input.Release()
	}
	for _, b := range t.Result.Batches {
		b.Release()
	}
}

// Try runs a transform on at most rows rows of a table, database.schema.table
// or schema.table, with the settings and the columns that the pipeline file
// gives to the plugin at dir. Transforms before it are left out.
func Try(ctx context.Context, s *spec.Spec, h *wasm.Host, dir, table string, rows int) (_ *Trial, err error) {
	t := transformAt(s, dir)
	if t == nil {
		return nil, &PluginError{dir, fmt.Errorf("%s has no transform with the plugin %s: its settings are taken from there", s.Path, dir)}
	}
	config, err := t.ConfigJSON(true)
	if err != nil {
		return nil, fmt.Errorf("settings of plugin %s: %w", t.Plugin, err)
	}
	loaded, err := resolveTransform(s, t, t.Plugin, config, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	transform, err := h.Transform(ctx, loaded.Module, forTrial(loaded.plugin))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, transform.Close(context.WithoutCancel(ctx))) }()
	source, at, err := findTable(ctx, s, table)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, source.Close(context.WithoutCancel(ctx))) }()
	out := &Trial{}
	if out.Plan, err = transform.Plan(ctx, wasm.PlanInput{Schema: at.Schema, Databases: Databases(s)}); err != nil {
		return nil, err
	}
	read := map[string]bool{}
	for _, name := range out.Plan.Uses() {
		read[name] = true
	}
	for _, i := range at.Schema.Key() {
		read[at.Schema.Columns[i].Name] = true
	}
	if out.Input, err = source.Sample(ctx, at, read, rows); err != nil || out.Input == nil {
		return out, err
	}
	var plugin *wasm.Error
	if out.Result, err = transform.Process(ctx, out.Plan, out.Input); errors.As(err, &plugin) {
		out.Result, err = oneByOne(ctx, transform, out.Plan, out.Input, err)
	}
	return out, err
}

// triedOverruns is how many rows of a trial may meet a limit before it is given
// up: each takes as long as the limit allows.
const triedOverruns = 2

// oneByOne makes calls of single rows where that with all of them has failed with
// cause. The rows by which it fails are refused where a run sets them aside, named
// where it does not.
func oneByOne(ctx context.Context, transform *wasm.Transform, plan *wasm.Plan, b *batch.Batch, cause error) (out wasm.Result, err error) {
	overruns := 0
	for r := range b.Len() {
		one := batch.Take(b, []int32{int32(r)})
		made, err := transform.Process(ctx, plan, one)
		one.Release()
		out.Batches = append(out.Batches, made.Batches...)
		for _, f := range made.Failed {
			out.Failed = append(out.Failed, wasm.RowError{Row: r, Message: f.Message})
		}
		if err == nil {
			continue
		}
		if metLimit(err) != "" {
			overruns++
		}
		var plugin *wasm.Error
		if !errors.As(err, &plugin) || actionFor(err) != setAside || overruns > triedOverruns {
			(&Trial{Result: out}).Release()
			return wasm.Result{}, fmt.Errorf("row %d: %w", r+1, err)
		}
		message := plugin.Message
		if plugin.Kind != wasm.KindGuest {
			message = string(plugin.Kind) + ": " + message
		}
		out.Failed = append(out.Failed, wasm.RowError{Row: r, Message: message})
	}
	if len(out.Failed) == 0 { // it needs several rows to fail
		(&Trial{Result: out}).Release()
		return wasm.Result{}, cause
	}
	return out, nil
}

// transformAt is the transform of the pipeline whose plugin lies at dir.
func transformAt(s *spec.Spec, dir string) *spec.Transform {
	want, err := filepath.Abs(dir)
	if err != nil {
		return nil
	}
	for i := range s.Transforms {
		path := s.Transforms[i].Plugin
		if bundle.IsPath(path) && !filepath.IsAbs(path) {
			path = filepath.Join(s.Dir, path)
		}
		if full, err := filepath.Abs(path); err == nil && (full == want || filepath.Dir(full) == want && filepath.Ext(full) == ".wasm") || s.Transforms[i].Plugin == dir {
			return &s.Transforms[i]
		}
	}
	return nil
}

// findTable finds one table of the source, and leaves its database open.
func findTable(ctx context.Context, s *spec.Spec, table string) (*postgres.Source, *postgres.Table, error) {
	parts := strings.Split(table, ".")
	cfg, err := SourceConfig(s)
	if err != nil {
		return nil, nil, err
	}
	database := Databases(s)[0]
	if len(parts) == 3 {
		database, parts = parts[0], parts[1:]
	}
	if len(parts) != 2 {
		return nil, nil, &RequestError{fmt.Sprintf("table %q: want schema.table, or database.schema.table", table), "leat objects list shows the tables of the pipeline"}
	}
	source, err := postgres.Open(ctx, cfg, database)
	if err != nil {
		return nil, nil, err
	}
	tables, err := source.Tables(ctx, postgres.Selection{Include: []string{literal(parts[0]) + "." + literal(parts[1])}})
	switch {
	case err != nil:
	case len(tables) == 0:
		err = notFound(ctx, s, source, strings.Join(parts, "."))
	case tables[0].Reason != "":
		err = &RequestError{fmt.Sprintf("table %s cannot be read: %s", tables[0].ID(), tables[0].Reason), tables[0].Fix}
	}
	if err != nil {
		return nil, nil, errors.Join(err, source.Close(ctx))
	}
	return source, tables[0], nil
}

// notFound says that a database has no such table, and which one is near.
func notFound(ctx context.Context, s *spec.Spec, source *postgres.Source, table string) error {
	tables, err := source.Tables(ctx, selection(s))
	if err != nil {
		return err
	}
	known := make([]batch.TableID, len(tables))
	for i, t := range tables {
		known[i] = t.ID()
	}
	return unknownTable(table, known)
}

// literal is a name as a pattern that stands for nothing else.
func literal(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
