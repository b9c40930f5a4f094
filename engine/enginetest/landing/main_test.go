// Package landing proves what becomes of rows at the destinations, through
// whole pipelines from real PostgreSQL into DuckDB and PostgreSQL: rows without
// a key, versions of rows, tables that are merged from several databases.
package landing

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
	"github.com/leat-etl/leat/engine/spec"
	"github.com/leat-etl/leat/state"
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	cache, err := os.MkdirTemp("", "leat-cache-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(cache)
	cacheDir = cache
	return pgserver.Main(m)
}

// cacheDir keeps compiled plugins for all tests.
var cacheDir string

// site is source databases and a pipeline file into a destination.
type site struct {
	*testing.T
	server    *pgserver.Server
	databases []string
	plugin    string
	warehouse string // database of the PostgreSQL destination
	dir       string
	// source and config are lines of the file's source section and settings of
	// the destination.
	source, config string
}

// into runs a test against both destinations.
func into(t *testing.T, databases int, test func(s *site)) {
	for _, plugin := range []string{"duckdb", "postgres"} {
		t.Run(plugin, func(t *testing.T) {
			s := &site{T: t, server: pgserver.Test(t, pgserver.Options{}), plugin: plugin, dir: t.TempDir(), source: "merge_tables = true"}
			for range databases {
				s.databases = append(s.databases, s.server.Database(t))
			}
			slices.Sort(s.databases)
			if plugin == "postgres" {
				s.warehouse = s.server.Database(t)
			}
			test(s)
		})
	}
}

// exec runs statements in one of the source databases.
func (s *site) exec(database int, statements ...string) {
	s.Helper()
	if err := s.server.Exec(s.Context(), s.databases[database], statements...); err != nil {
		s.Fatal(err)
	}
}

// every runs statements in every source database.
func (s *site) every(statements ...string) {
	s.Helper()
	for i := range s.databases {
		s.exec(i, statements...)
	}
}

// spec writes the pipeline file.
func (s *site) spec() *spec.Spec {
	s.Helper()
	config := fmt.Sprintf("path = %q", filepath.Join(s.dir, "warehouse.duckdb"))
	if s.plugin == "postgres" {
		config = fmt.Sprintf("host = %q, port = %d, user = %q, password = %q, database = %q", s.server.Host(), s.server.Port(), s.server.User(), s.server.Password(), s.warehouse)
	}
	if s.config != "" {
		config += ", " + s.config
	}
	names := fmt.Sprintf("database = %q", s.databases[0])
	if len(s.databases) > 1 {
		names = fmt.Sprintf(`databases = ["%s"]`, strings.Join(s.databases, `", "`))
	}
	text := fmt.Sprintf("name = \"landing\"\n[source]\nhost = %q\nport = %d\nuser = %q\npassword = %q\n%s\n%s\n[destination]\nplugin = %q\nconfig = { %s }\n",
		s.server.Host(), s.server.Port(), s.server.User(), s.server.Password(), names, s.source, s.plugin, config)
	parsed, err := spec.Parse(filepath.Join(s.dir, "pipeline.toml"), []byte(text))
	if err != nil {
		s.Fatal(err)
	}
	return parsed
}

// open opens the pipeline until the test or the returned function ends it.
func (s *site) open() (p *engine.Pipeline, closed func()) {
	s.Helper()
	p, err := engine.Open(s.Context(), s.spec(), engine.Options{CacheDir: cacheDir})
	if err != nil {
		s.Fatal(err)
	}
	open := true
	closed = func() {
		if open {
			open = false
			if err := p.Close(context.Background()); err != nil {
				s.Error(err)
			}
		}
	}
	s.Cleanup(closed)
	return p, closed
}

// pass runs a pipeline until everything is at the destination.
func (s *site) pass(p *engine.Pipeline) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), time.Minute)
	defer cancel()
	if err := p.Run(ctx, engine.RunOptions{UntilCaughtUp: true}); err != nil {
		s.Fatal(err)
	}
}

// equal compares every row of both sides.
func (s *site) equal(p *engine.Pipeline) {
	s.Helper()
	v, err := p.Verify(s.Context(), nil, nil)
	if err != nil {
		s.Fatal(err)
	}
	for _, t := range v.Tables {
		if t.Different > 0 || t.SourceRows != t.DestinationRows {
			s.Errorf("%s: %d rows at the source, %d at the destination, %d differ: %v", t.Target, t.SourceRows, t.DestinationRows, t.Different, t.Keys)
		}
	}
	for e, err := range p.FailedEvents(state.FailedFilter{}) {
		if err != nil {
			s.Fatal(err)
		}
		s.Logf("a row of %s was refused: %s", e.Table, e.Reason)
	}
}

// ask returns the rows of a query at the destination, a line each; schema
// stands for the destination's own schema.
func (s *site) ask(p *engine.Pipeline, query string) string {
	s.Helper()
	var lines []string
	err := p.Query(s.Context(), query, func(r engine.Rows) error {
		for _, row := range r.Rows {
			cells := make([]string, len(row))
			for i, c := range row {
				if cells[i] = "NULL"; c != nil {
					cells[i] = *c
				}
			}
			lines = append(lines, strings.Join(cells, " "))
		}
		return nil
	})
	if err != nil {
		s.Fatalf("%s: %v", query, err)
	}
	return strings.Join(lines, "\n")
}

// want compares the rows of a query at the destination.
func (s *site) want(p *engine.Pipeline, query string, lines ...string) {
	s.Helper()
	if got := s.ask(p, query); got != strings.Join(lines, "\n") {
		s.Errorf("%s\ngot:\n%s\nwant:\n%s", query, got, strings.Join(lines, "\n"))
	}
}
