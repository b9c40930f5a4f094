//go:build duckdb_arrow

// Package schemaproof changes source tables in every way while they are
// replicated, and compares every row at both destinations: with a catch-up
// after each transaction, and with all transactions in one piece, where the
// catalogue is ahead of the log.
package schemaproof

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	_ "github.com/duckdb/duckdb-go/v2" // reads what the engine wrote
	"golang.org/x/sync/errgroup"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/engine/enginetest/compare"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
	"github.com/leat-etl/leat/engine/spec"
)

func TestMain(m *testing.M) { os.Exit(pgserver.Main(m)) }

// pipeline is a destination with its files.
type pipeline struct {
	server      *pgserver.Server
	databases   []string
	destination string
	source      string // lines of its [source]
	extra       string // of the pipeline file
	config      string // of the destination
	dir, target string
	log         *slog.Logger
}

func newPipeline(t *testing.T, server *pgserver.Server, destination string, databases ...string) *pipeline {
	t.Helper()
	p := &pipeline{server: server, databases: databases, destination: destination, dir: t.TempDir()}
	p.log = slog.New(slog.NewTextHandler(writer{t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	p.target = filepath.Join(p.dir, "target.duckdb")
	if destination == "postgres" {
		p.target = server.Database(t)
	}
	return p
}

// writer logs into the test.
type writer struct{ t *testing.T }

// Write implements io.Writer.
func (w writer) Write(text []byte) (int, error) {
	w.t.Logf("%s", text)
	return len(text), nil
}

func (p *pipeline) file() string {
	config := fmt.Sprintf("path = %q", p.target)
	if p.destination == "postgres" {
		config = fmt.Sprintf("host = %q, port = %d, user = %q, password = %q, database = %q", p.server.Host(), p.server.Port(), p.server.User(), p.server.Password(), p.target)
	}
	databases := fmt.Sprintf("database = %q", p.databases[0])
	if len(p.databases) > 1 {
		databases = fmt.Sprintf("databases = [%q, %q]\nmerge_tables = true", p.databases[0], p.databases[1])
	}
	return fmt.Sprintf(`name = "%s"
[source]
host = %q
port = %d
user = %q
password = %q
%s
%s
[engine]
flush_interval = "20ms"
[destination]
plugin = %q
config = { %s%s }
%s
`, p.destination, p.server.Host(), p.server.Port(), p.server.User(), p.server.Password(), databases, p.source, p.destination, config, p.config, p.extra)
}

// with opens the pipeline for one piece of work.
func (p *pipeline) with(ctx context.Context, work func(context.Context, *engine.Pipeline) error) error {
	s, err := spec.Parse(filepath.Join(p.dir, "pipeline.toml"), []byte(p.file()))
	if err != nil {
		return err
	}
	opened, err := engine.Open(ctx, s, engine.Options{Log: p.log})
	if err != nil {
		return err
	}
	return errors.Join(work(ctx, opened), opened.Close(context.WithoutCancel(ctx)))
}

func (p *pipeline) catchUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 4*time.Minute)
	defer cancel()
	return p.with(ctx, func(ctx context.Context, e *engine.Pipeline) error {
		if err := e.Run(ctx, engine.RunOptions{UntilCaughtUp: true}); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s: not caught up in time", p.destination)
		}
		n, err := e.FailedCount()
		if err == nil && n > 0 {
			err = fmt.Errorf("%s: %d failed events", p.destination, n)
		}
		return err
	})
}

// catchUp lets all pipelines catch up beside each other.
func catchUp(t *testing.T, pipelines ...*pipeline) {
	t.Helper()
	var g errgroup.Group
	for _, p := range pipelines {
		g.Go(func() error { return p.catchUp(t.Context()) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

func exec(t *testing.T, server *pgserver.Server, database string, sql ...string) {
	t.Helper()
	if err := server.Exec(t.Context(), database, sql...); err != nil {
		t.Fatal(err)
	}
}

// equal compares a table at the source with the destination.
func (p *pipeline) equal(t *testing.T, table string, kept ...string) {
	t.Helper()
	p.equalBut(t, table, compare.Options{Ignore: kept})
}

// equalBut compares a table with options of its own.
func (p *pipeline) equalBut(t *testing.T, table string, o compare.Options) {
	t.Helper()
	var destination compare.Destination
	if p.destination == "duckdb" {
		db, err := sql.Open("duckdb", p.target+"?access_mode=READ_ONLY")
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		destination = compare.DuckDB(db, `main."`+table+`"`)
	} else {
		destination = compare.Postgres(p.server.DSN(p.target), `public."`+table+`"`)
	}
	o.IgnorePrefix, o.DeletedColumn = "__leat_", "__leat_marked_deleted"
	var sources []compare.Source
	for _, database := range p.databases {
		sources = append(sources, compare.Source{DSN: p.server.DSN(database), Table: table, Database: database})
	}
	if len(sources) > 1 {
		o.DatabaseColumn = "__leat_database_name"
	}
	r, err := compare.Tables(t.Context(), destination, o, sources...)
	if err != nil {
		t.Errorf("%s: %v", p.destination, err)
		return
	}
	if !r.Equal() {
		t.Errorf("%s, table %s: %s", p.destination, table, r)
	}
}

// verify is leat verify.
func (p *pipeline) verify(t *testing.T) {
	t.Helper()
	err := p.with(t.Context(), func(ctx context.Context, e *engine.Pipeline) error {
		v, err := e.Verify(ctx, nil, nil)
		if err == nil && !v.Equal() {
			err = fmt.Errorf("%s: leat verify finds differences: %+v", p.destination, v)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestEveryChange makes the changes one transaction at a time and all at once.
func TestEveryChange(t *testing.T) {
	for _, stepwise := range []bool{true, false} {
		t.Run(map[bool]string{true: "step by step", false: "at once"}[stepwise], func(t *testing.T) {
			t.Parallel()
			server := pgserver.Test(t, pgserver.Options{})
			database := server.Database(t)
			steps := 0
			for _, c := range changes {
				exec(t, server, database, c.create)
				steps = max(steps, len(c.steps))
			}
			both := []*pipeline{newPipeline(t, server, "duckdb", database), newPipeline(t, server, "postgres", database)}
			both[map[bool]int{true: 0, false: 1}[stepwise]].source = "ddl_capture = true" // the other one lives beside the triggers
			catchUp(t, both...)
			for i := range steps {
				for _, c := range changes {
					if i < len(c.steps) {
						exec(t, server, database, c.steps[i])
					}
				}
				if stepwise {
					catchUp(t, both...)
				}
			}
			catchUp(t, both...)
			for _, p := range both {
				for _, c := range changes {
					p.equal(t, c.table, c.kept...)
				}
				p.verify(t)
			}
		})
	}
}
