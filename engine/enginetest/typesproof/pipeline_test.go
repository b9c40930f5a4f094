package typesproof

import (
	"cmp"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/duckdb/duckdb-go/v2" // reads what the engine wrote
	"golang.org/x/sync/errgroup"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
	"github.com/leat-etl/leat/engine/spec"
	"github.com/leat-etl/leat/state"
)

func TestMain(m *testing.M) { os.Exit(pgserver.Main(m)) }

// way is one way of the data: a destination, a form of the stream, a plugin.
type way struct {
	name        string
	destination string // duckdb or postgres
	format      string // decoder_format
	decoder     string // pgoutput where it is empty
	transform   string // lines of the pipeline file
	exclude     []string
	settings    string // more of the destination's config
	// extensions says that the destination has those of the source.
	extensions bool
}

// pipeline is a way with its files.
type pipeline struct {
	way
	server   *pgserver.Server
	database string // of the source
	dir      string
	target   string // file or database of the destination
}

func newPipeline(t *testing.T, server *pgserver.Server, database string, w way) *pipeline {
	t.Helper()
	p := &pipeline{way: w, server: server, database: database, dir: t.TempDir()}
	p.target = filepath.Join(p.dir, "types.duckdb")
	if w.destination == "postgres" {
		p.target = server.Database(t)
	}
	return p
}

func (p *pipeline) file() string {
	config := fmt.Sprintf("path = %q", p.target)
	if p.destination == "postgres" {
		config = fmt.Sprintf("host = %q, port = %d, user = %q, password = %q, database = %q, tls = { mode = \"disable\" }",
			p.server.Host(), p.server.Port(), p.server.User(), p.server.Password(), p.target)
	}
	config += p.settings
	exclude := ""
	for _, e := range p.exclude {
		exclude += fmt.Sprintf("%q, ", e)
	}
	return fmt.Sprintf(`name = %q
[source]
host = %q
port = %d
user = %q
password = %q
database = %q
decoder = %q
decoder_format = %q
[source.tls]
mode = "disable"
[engine]
flush_interval = "50ms"
[objects]
exclude = [%s]
%s
[destination]
plugin = %q
config = { %s }
`, p.name, p.server.Host(), p.server.Port(), p.server.User(), p.server.Password(), p.database, cmp.Or(p.decoder, "pgoutput"), p.format, strings.TrimSuffix(exclude, ", "), p.transform, p.destination, config)
}

// with opens the pipeline for one piece of work.
func (p *pipeline) with(t *testing.T, work func(*engine.Pipeline) error) error {
	t.Helper()
	s, err := spec.Parse(filepath.Join(p.dir, "pipeline.toml"), []byte(p.file()))
	if err != nil {
		return err
	}
	opened, err := engine.Open(t.Context(), s, engine.Options{})
	if err != nil {
		return err
	}
	return errors.Join(work(opened), opened.Close(t.Context()))
}

// catchUp delivers everything that the source has by now, through all
// pipelines beside each other.
func catchUp(t *testing.T, pipelines ...*pipeline) {
	t.Helper()
	var g errgroup.Group
	for _, p := range pipelines {
		g.Go(func() error {
			if err := p.run(t); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

func (p *pipeline) run(t *testing.T) error {
	return p.with(t, func(e *engine.Pipeline) error {
		return e.Run(t.Context(), engine.RunOptions{UntilCaughtUp: true})
	})
}

// plan returns the columns of a table at the destination by the source's name.
func (p *pipeline) plan(t *testing.T, schema, table string) (target string, columns map[string]engine.PlannedColumn) {
	t.Helper()
	err := p.with(t, func(e *engine.Pipeline) error {
		tables, err := e.Plan(t.Context())
		for _, planned := range tables {
			if planned.Source.Schema != schema || planned.Source.Name != table {
				continue
			}
			target, columns = planned.Targets[0].Table, map[string]engine.PlannedColumn{}
			for _, c := range planned.Targets[0].Columns {
				if c.Source != "" {
					columns[c.Source] = c
				}
			}
		}
		return err
	})
	if err != nil || columns == nil {
		t.Fatalf("%s: plan of %s.%s: %v", p.name, schema, table, err)
	}
	return target, columns
}

// failed returns the failed events, by table.
func (p *pipeline) failed(t *testing.T) map[string][]state.Failed {
	t.Helper()
	out := map[string][]state.Failed{}
	err := p.with(t, func(e *engine.Pipeline) error {
		for f, err := range e.FailedEvents(state.FailedFilter{}) {
			if err != nil {
				return err
			}
			out[f.Table.Name] = append(out[f.Table.Name], f)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// verify is leat verify.
func (p *pipeline) verify(t *testing.T) *engine.Verification {
	t.Helper()
	var v *engine.Verification
	err := p.with(t, func(e *engine.Pipeline) (err error) {
		v, err = e.Verify(t.Context(), nil, nil)
		return err
	})
	if err != nil {
		t.Fatalf("%s: verify: %v", p.name, err)
	}
	return v
}

// readDuck takes a result as DuckDB prints it as VARCHAR.
func (p *pipeline) readDuck(t *testing.T, query string) cells {
	t.Helper()
	db, err := sql.Open("duckdb", p.target+"?access_mode=READ_ONLY")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(t.Context(), "SET TimeZone = 'UTC'"); err != nil {
		t.Fatal(err)
	}
	rows, err := db.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatalf("%.300s: %v", query, err)
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	out := cells{}
	for rows.Next() {
		values, into := make([]*string, len(names)), make([]any, len(names))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		row := map[string]*string{}
		for i, name := range names {
			if values[i] != nil {
				row[name] = values[i]
			}
		}
		out[*values[0]] = row
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}
