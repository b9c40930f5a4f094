package engine_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
	"github.com/leat-etl/leat/engine/spec"
	"github.com/leat-etl/leat/state"
)

// polled is a source database, a pipeline file that queries it, and the
// pipeline that is open.
type polled struct {
	*engine.Pipeline
	t        *testing.T
	server   *pgserver.Server
	database string
	dir      string
	config   string // of the destination
	target   string // its database, where it is PostgreSQL
	plugin   string
	limits   string // lines of the engine section
}

// newPolled makes a source with these statements. open opens the pipeline.
func newPolled(t *testing.T, statements ...string) *polled {
	t.Helper()
	return polledOn(t, pgserver.Test(t, pgserver.Options{}), statements...)
}

func polledOn(t *testing.T, server *pgserver.Server, statements ...string) *polled {
	t.Helper()
	p := &polled{t: t, server: server, dir: t.TempDir(), plugin: "duckdb", config: `path = "test.duckdb"`}
	p.database = server.Database(t)
	p.exec(statements...)
	t.Setenv("LEAT_TEST_PASSWORD", server.Password())
	return p
}

// toPostgres lets the pipeline write to a database of the same server.
func (p *polled) toPostgres() *polled { return p.toPostgresOn(p.server) }

// toPostgresOn lets the pipeline write to a database of a server.
func (p *polled) toPostgresOn(server *pgserver.Server) *polled {
	p.plugin, p.target = "postgres", server.Database(p.t)
	p.config = fmt.Sprintf("host = %q, port = %d, user = %q, password = %q, database = %q", server.Host(), server.Port(), server.User(), server.Password(), p.target)
	return p
}

func (p *polled) exec(statements ...string) {
	p.t.Helper()
	if err := p.server.Exec(p.t.Context(), p.database, statements...); err != nil {
		p.t.Fatal(err)
	}
}

func (p *polled) parse(source, objects string) (*spec.Spec, error) {
	return spec.Parse(filepath.Join(p.dir, "test.toml"), fmt.Appendf(nil, `name = "test"
[source]
host = %q
port = %d
user = %q
password = { env = "LEAT_TEST_PASSWORD" }
database = %q
%s
%s
[destination]
plugin = %q
config = { %s }
[engine]
chunk_bytes = "64kB"
batch_rows = 100
%s
`, p.server.Host(), p.server.Port(), p.server.User(), p.database, source, objects, p.plugin, p.config, p.limits))
}

// open opens the pipeline with lines of its source section and sections for
// its objects; one that was open is closed.
func (p *polled) open(source, objects string) *polled {
	p.t.Helper()
	p.close()
	s, err := p.parse(source, objects)
	if err != nil {
		p.t.Fatal(err)
	}
	if p.Pipeline, err = engine.Open(p.t.Context(), s, engine.Options{CacheDir: cacheDir, Log: slog.New(slog.NewTextHandler(testLog{p.t}, nil))}); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(p.close)
	return p
}

func (p *polled) close() {
	p.t.Helper()
	if p.Pipeline == nil {
		return
	}
	if err := p.Close(context.Background()); err != nil {
		p.t.Error(err)
	}
	p.Pipeline = nil
}

func (p *polled) run(o engine.RunOptions) error {
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	o.UntilCaughtUp = true
	return p.Run(ctx, o)
}

func (p *polled) mustRun() {
	p.t.Helper()
	if err := p.run(engine.RunOptions{}); err != nil {
		p.t.Fatal(err)
	}
}

// ask returns the first cell of a query at the destination.
func (p *polled) ask(sql string) string {
	p.t.Helper()
	got := "no row"
	if err := p.Query(p.t.Context(), sql, func(r engine.Rows) error {
		for _, row := range r.Rows {
			got = "NULL"
			if row[0] != nil {
				got = *row[0]
			}
		}
		return nil
	}); err != nil {
		p.t.Fatal(err)
	}
	return got
}

// expect compares the ids and values of the live rows of table a.
func (p *polled) expect(rows string) {
	p.t.Helper()
	marked := "NOT __leat_marked_deleted AND"
	if got := p.ask(`SELECT coalesce(string_agg(concat(id, v), ' ' ORDER BY id, v), '') FROM a WHERE ` + marked + ` __leat_op_type <> 'T'`); got != rows {
		p.t.Errorf("the destination has %q, want %q", got, rows)
	}
}

func (p *polled) verify() {
	p.t.Helper()
	v, err := p.Verify(p.t.Context(), nil, nil)
	if err != nil || !v.Equal() {
		p.t.Errorf("verify: %+v, %v", v, err)
	}
}

func (p *polled) object(name string) state.Object {
	p.t.Helper()
	objects, err := p.Objects()
	if err != nil {
		p.t.Fatal(err)
	}
	for _, o := range objects {
		if o.Table.Name == name {
			return o
		}
	}
	p.t.Fatalf("no object %s among %v", name, objects)
	return state.Object{}
}

const (
	fullLoad = `[objects."public.*"]
query_mode = "full_load"`
	delta = `[objects."public.*"]
query_mode = "delta_timestamp"
timestamp_column = "at"`
	incrementing = `[objects."public.*"]
query_mode = "incrementing_append_only"
incrementing_column = "id"`
	capture = `[objects."public.*"]
query_mode = "change_data_capture"
timestamp_column = "at"
incrementing_column = "id"`
	tableMode = `mode = "table"`
	xminMode  = `mode = "xmin"`
)

func destinations(t *testing.T, test func(t *testing.T, to func(*polled) *polled)) {
	t.Run("duckdb", func(t *testing.T) { test(t, func(p *polled) *polled { return p }) })
	t.Run("postgres", func(t *testing.T) { test(t, (*polled).toPostgres) })
}

func TestDeltaTimestamp(t *testing.T) {
	destinations(t, func(t *testing.T, to func(*polled) *polled) {
		p := to(newPolled(t,
			`CREATE TABLE a (id int PRIMARY KEY, v text, at timestamptz)`,
			`INSERT INTO a SELECT n, 'x', '2024-01-01'::timestamptz + n * interval '1s' FROM generate_series(1, 3) n`)).open(tableMode, delta)
		p.mustRun()
		p.expect("1x 2x 3x")
		if o := p.object("a"); o.RowsLoaded != 3 || o.BytesLoaded == 0 {
			t.Errorf("loaded: %+v", o)
		}
		// Rows that share the last value, one of them changed without it.
		p.exec(`INSERT INTO a VALUES (4, 'same', '2024-01-01 00:00:03Z')`, `UPDATE a SET v = 'again' WHERE id = 3`,
			`INSERT INTO a VALUES (5, 'null', NULL), (6, 'infinite', 'infinity'), (7, 'ahead', now() + interval '1 day')`,
			`UPDATE a SET v = 'moved', at = '2024-01-02' WHERE id = 1`, `DELETE FROM a WHERE id = 2`)
		p.mustRun()
		p.expect("1moved 2x 3again 4same")
		if o := p.object("a"); o.NullCursors != 2 || o.Waiting != 1 || o.State != state.Active || !strings.Contains(o.QueryMode, "delta_timestamp") {
			t.Errorf("object %+v", o)
		}
		if s := p.Status().Tables[0]; s.NullCursors != 2 || s.Waiting != 1 {
			t.Errorf("status %+v", s)
		}
		p.exec(`UPDATE a SET at = '2024-01-03' WHERE id IN (5, 6, 7)`)
		p.mustRun()
		p.expect("1moved 2x 3again 4same 5null 6infinite 7ahead")
		p.verify()
	})
}

func TestIncrementingAppendOnly(t *testing.T) {
	p := newPolled(t, `CREATE TABLE a (id bigint NOT NULL, v text)`, `INSERT INTO a SELECT n, repeat('x', 100) FROM generate_series(1, 3000) n`).open(tableMode, incrementing)
	p.mustRun()
	p.exec(`INSERT INTO a VALUES (3000, 'same'), (3001, 'next'), (3001, 'next')`)
	for range 3 {
		p.mustRun()
		if got := p.ask(`SELECT concat(count(*), ' ', count(DISTINCT id), ' ', count(*) FILTER (WHERE v = 'next')) FROM a`); got != "3003 3001 2" {
			t.Errorf("the destination has %s", got)
		}
	}
	p.verify()
}

// TestTableOfTheSameName drops the table and makes another one under its name,
// whose cursor begins before that of the old one, which has another key, or
// which was a table of another name: it is read from its beginning, and the rows
// of the old one go.
func TestTableOfTheSameName(t *testing.T) {
	destinations(t, func(t *testing.T, to func(*polled) *polled) {
		p := to(newPolled(t, `CREATE TABLE a (id int PRIMARY KEY, v text, at timestamptz)`, `INSERT INTO a SELECT n, 'old', '2024-01-01' FROM generate_series(1, 3) n`)).open(tableMode, delta)
		p.mustRun()
		p.exec(`DROP TABLE a`, `CREATE TABLE a (id int PRIMARY KEY, v text, at timestamptz)`, `INSERT INTO a VALUES (2, 'new', '2023-01-01'), (4, NULL, '2023-01-01')`)
		p.mustRun()
		p.expect("2new 4")
		p.exec(`DROP TABLE a`, `CREATE TABLE a (v text PRIMARY KEY, id int, at timestamptz)`, `INSERT INTO a VALUES ('a', 2, '2022-01-01'), ('b', 2, '2022-01-01')`)
		p.mustRun()
		p.expect("2a 2b")
		p.exec(`CREATE TABLE b (LIKE a INCLUDING ALL)`, `INSERT INTO b VALUES ('c', 3, '2021-01-01')`, `ALTER TABLE a RENAME TO c`, `ALTER TABLE b RENAME TO a`, `ALTER TABLE c RENAME TO b`)
		p.mustRun()
		p.expect("3c")
		p.exec(`UPDATE a SET id = 4, at = '2022-01-01'`)
		p.mustRun()
		p.expect("4c")
		p.verify()
	})
}
