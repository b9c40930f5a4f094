package engine_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
	"github.com/leat-etl/leat/engine/spec"
)

const manyTablesN = 300

// TestManyTables counts what hundreds of tables cost when they come and when
// the pipeline starts again: questions at the source, transactions and
// statements at the destination.
func TestManyTables(t *testing.T) {
	const n = manyTablesN
	for _, plugin := range []string{"duckdb", "postgres"} {
		t.Run(plugin, func(t *testing.T) {
			m := newManyTables(t, plugin)
			m.exec(fmt.Sprintf(`DO $$ BEGIN FOR i IN 1..%d LOOP
				EXECUTE format('CREATE TABLE t_%%s (id int PRIMARY KEY, v text)', i);
				EXECUTE format('INSERT INTO t_%%s VALUES (%%s, ''row'')', i, i);
			END LOOP; END $$`, n), `CREATE TABLE empty (id int PRIMARY KEY)`, `CREATE TABLE keyless (v text)`, `INSERT INTO keyless VALUES ('a'), ('a')`)
			first := m.run()
			first.atMost(t, "transactions at the source", first.questions, 150)
			first.atMost(t, "transactions at the destination", first.deliveries, n/10)
			perTable := map[string]int64{"duckdb": 3, "postgres": 9}[plugin]
			first.atMost(t, "calls of the destination", first.calls, perTable*n)

			if want := fmt.Sprintf("%d %d row 0 2", n, n*(n+1)/2); first.holds != want {
				t.Errorf("the destination has %q, want %q", first.holds, want)
			}
			m.exec(`INSERT INTO t_7 VALUES (0, 'later')`, `UPDATE t_8 SET v = 'changed'`)
			again := m.run()
			if want := fmt.Sprintf("%d %d changed 0 2", n+1, n*(n+1)/2); again.holds != want {
				t.Errorf("the destination has %q, want %q", again.holds, want)
			}
			again.atMost(t, "transactions at the source when started again", again.questions, 150)
			again.atMost(t, "transactions at the destination when started again", again.deliveries, 10)
			again.atMost(t, "calls of the destination when started again", again.calls, 100)
		})
	}
}

type manyTables struct {
	t                *testing.T
	server           *pgserver.Server
	dir, database    string
	plugin, settings string
}

func newManyTables(t *testing.T, plugin string) *manyTables {
	m := &manyTables{t: t, server: pgserver.Test(t, pgserver.Options{}), dir: t.TempDir(), plugin: plugin, settings: `path = "test.duckdb"`}
	m.database = m.server.Database(t)
	t.Setenv("LEAT_TEST_PASSWORD", m.server.Password())
	if plugin == "postgres" {
		m.settings = fmt.Sprintf("host = %q, port = %d, user = %q, password = %q, database = %q", m.server.Host(), m.server.Port(), m.server.User(), m.server.Password(), m.server.Database(t))
	}
	return m
}

func (m *manyTables) exec(statements ...string) {
	m.t.Helper()
	if err := m.server.Exec(m.t.Context(), m.database, statements...); err != nil {
		m.t.Fatal(err)
	}
}

// cost is what a run took.
type cost struct {
	questions, deliveries, calls int64
	holds                        string // what the destination then has
}

func (c *cost) atMost(t *testing.T, what string, got, most int64) {
	t.Helper()
	t.Logf("%s: %d", what, got)
	if got > most {
		t.Errorf("%s: %d, want %d at most", what, got, most)
	}
}

// run runs the pipeline until it has caught up.
func (m *manyTables) run() cost {
	m.t.Helper()
	s, err := spec.Parse(filepath.Join(m.dir, "test.toml"), fmt.Appendf(nil, `name = "many"
[source]
host = %q
port = %d
user = %q
password = { env = "LEAT_TEST_PASSWORD" }
database = %q
[destination]
plugin = %q
config = { %s }
`, m.server.Host(), m.server.Port(), m.server.User(), m.database, m.plugin, m.settings))
	if err != nil {
		m.t.Fatal(err)
	}
	p, err := engine.Open(m.t.Context(), s, engine.Options{CacheDir: cacheDir})
	if err != nil {
		m.t.Fatal(err)
	}
	defer p.Close(context.Background())
	ctx, cancel := context.WithTimeout(m.t.Context(), 4*time.Minute)
	defer cancel()
	before := m.commits(ctx)
	if err := p.Run(ctx, engine.RunOptions{UntilCaughtUp: true}); err != nil {
		m.t.Fatal(err)
	}
	out := cost{questions: m.commits(ctx) - before, deliveries: p.Status().Batches, calls: int64(p.PluginStats()[m.plugin].HostCalls)}
	var rows []string
	for i := range manyTablesN {
		rows = append(rows, fmt.Sprintf("SELECT id, v FROM t_%d", i+1))
	}
	all := "SELECT concat(count(*), ' ', sum(id), ' ', min(v), ' ', (SELECT count(*) FROM empty), ' ', (SELECT count(*) FROM keyless)) FROM (" + strings.Join(rows, " UNION ALL ") + ") AS every"
	if err := p.Query(ctx, all, func(r engine.Rows) error {
		for _, row := range r.Rows {
			out.holds = *row[0]
		}
		return nil
	}); err != nil {
		m.t.Fatal(err)
	}
	return out
}

// commits is how many transactions of the source database have ended. A process
// of the server counts its own when it ends.
func (m *manyTables) commits(ctx context.Context) (n int64) {
	m.t.Helper()
	conn, err := pgx.Connect(ctx, m.server.DSN("postgres"))
	if err != nil {
		m.t.Fatal(err)
	}
	defer conn.Close(context.Background())
	waitFor(m.t, ctx, "the connections to the source to end", func() bool {
		return conn.QueryRow(ctx, `SELECT xact_commit FROM pg_stat_database WHERE datname = $1 AND numbackends = 0`, m.database).Scan(&n) == nil
	})
	return n
}
