package engine_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
	"github.com/leat-etl/leat/engine/spec"
)

// besideCase is a pipeline whose load can be held.
type besideCase struct {
	t        *testing.T
	server   *pgserver.Server
	database string
	dir      string
	into     string // database of the destination, empty for DuckDB
	extra    []string
	log      lines
	*engine.Pipeline
}

// lines keeps what the engine logs, and shows it where the test fails.
type lines struct {
	testLog
	mu   *sync.Mutex
	text *strings.Builder
}

// Write implements io.Writer.
func (l lines) Write(line []byte) (int, error) {
	l.mu.Lock()
	l.text.Write(line)
	l.mu.Unlock()
	return l.testLog.Write(line)
}

func (l lines) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), text)
}

// beside runs a test against every destination.
func beside(t *testing.T, test func(*besideCase), extra ...string) {
	for _, destination := range []string{"duckdb", "postgres"} {
		t.Run(destination, func(t *testing.T) {
			server := pgserver.Test(t, pgserver.Options{})
			c := &besideCase{t: t, server: server, database: server.Database(t), dir: t.TempDir(), extra: extra,
				log: lines{testLog{t}, new(sync.Mutex), new(strings.Builder)}}
			if destination == "postgres" {
				c.into = server.Database(t)
			}
			test(c)
		})
	}
}

// open opens the pipeline, again after it was closed.
func (c *besideCase) open() {
	c.t.Helper()
	c.t.Setenv("LEAT_TEST_PASSWORD", c.server.Password())
	destination := `plugin = "duckdb"
config = { path = "test.duckdb" }`
	if c.into != "" {
		destination = fmt.Sprintf(`plugin = "postgres"
config = { host = %q, port = %d, user = %q, password = { env = "LEAT_TEST_PASSWORD" }, database = %q, tls = { mode = "disable" } }`,
			c.server.Host(), c.server.Port(), c.server.User(), c.into)
	}
	s, err := spec.Parse(filepath.Join(c.dir, "test.toml"), fmt.Appendf(nil, `name = "beside"
[source]
host = %q
port = %d
user = %q
password = { env = "LEAT_TEST_PASSWORD" }
database = %q
heartbeat = "1s"
[engine]
chunk_bytes = "64kB"
batch_bytes = "256kB"
flush_interval = "20ms"
load_workers = 1
%s
[destination]
%s
`, c.server.Host(), c.server.Port(), c.server.User(), c.database, strings.Join(c.extra, "\n"), destination))
	if err != nil {
		c.t.Fatal(err)
	}
	if c.Pipeline, err = engine.Open(c.t.Context(), s, engine.Options{CacheDir: cacheDir, Log: slog.New(slog.NewTextHandler(c.log, nil))}); err != nil {
		c.t.Fatal(err)
	}
}

func (c *besideCase) exec(sql ...string) {
	c.t.Helper()
	if err := c.server.Exec(c.t.Context(), c.database, sql...); err != nil {
		c.t.Fatal(err)
	}
}

// answers is the one value that a query of the destination returns.
func (c *besideCase) answers(sql string) (text string) {
	c.t.Helper()
	if err := c.Query(c.t.Context(), sql, func(r engine.Rows) error {
		text = *r.Rows[0][0]
		return nil
	}); err != nil {
		c.t.Fatal(err)
	}
	return text
}

func (c *besideCase) await(what string, reached func() bool) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 2*time.Minute)
	defer cancel()
	waitFor(c.t, ctx, what, reached)
}

func (c *besideCase) arrives(at <-chan struct{}) {
	c.t.Helper()
	select {
	case <-at:
	case <-time.After(2 * time.Minute):
		c.t.Fatal("the load did not come to where it is held")
	}
}

// slotPasses waits until the slot has passed all that has been written.
func (c *besideCase) slotPasses() {
	c.t.Helper()
	end := answer(c.t, c.server, c.database, `SELECT pg_current_wal_lsn()::text`)
	awaitSQL(c.t, c.server, c.database, `SELECT confirmed_flush_lsn >= '`+end+`'::pg_lsn FROM pg_replication_slots WHERE database = current_database() AND NOT temporary`)
}

// proves catches up and compares every row.
func (c *besideCase) proves() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 2*time.Minute)
	defer cancel()
	if err := c.Run(ctx, engine.RunOptions{UntilCaughtUp: true}); err != nil {
		c.t.Fatal(err)
	}
	v, err := c.Verify(c.t.Context(), nil, nil)
	if err != nil || !v.Equal() {
		c.t.Errorf("verify: %+v, %v", v, err)
	}
	if n, err := c.FailedCount(); err != nil || n != 0 {
		c.t.Errorf("%d failed events, %v", n, err)
	}
	left, err := filepath.Glob(filepath.Join(c.dir, ".leat", "beside", "diverted", "*", "*"))
	if err != nil || len(left) > 0 {
		c.t.Errorf("spools are left: %q, %v", left, err)
	}
	if err := c.Close(context.Background()); err != nil {
		c.t.Error(err)
	}
}

func (c *besideCase) spools() int {
	c.t.Helper()
	found, err := filepath.Glob(filepath.Join(c.dir, ".leat", "beside", "diverted", "*", "*", "*.spool"))
	if err != nil {
		c.t.Fatal(err)
	}
	return len(found)
}

// shop makes a small table, a keyless one and a large one with large values,
// which are loaded in this order.
func (c *besideCase) shop() {
	c.exec(`CREATE TABLE small (id int PRIMARY KEY, v text)`, `INSERT INTO small VALUES (1, 'loaded')`,
		`CREATE TABLE bag (v text, n int)`, `INSERT INTO bag SELECT repeat('b', 300), n FROM generate_series(1, 1000) n`,
		`CREATE TABLE big (id int PRIMARY KEY, v text, large text, n int)`, `ALTER TABLE big ALTER large SET STORAGE EXTERNAL`,
		`INSERT INTO big SELECT n, 'loaded', CASE WHEN n % 10 = 0 THEN repeat(md5(n::text), 100) END, 0 FROM generate_series(1, 4000) n`)
}

// disturb changes all of it in ways that only the right order makes right.
func (c *besideCase) disturb(round int) {
	c.exec(`UPDATE big SET n = n + 1 WHERE id % 5 = 0`, // large values are not sent
		fmt.Sprintf(`UPDATE big SET id = id + 100000 WHERE id %% 50 = %d`, round),
		fmt.Sprintf(`DELETE FROM big WHERE id %% 9 = %d`, round),
		fmt.Sprintf(`INSERT INTO big SELECT n, 'new', repeat(md5(n::text), 80), 0 FROM generate_series(%d, %d) n`, 10_000*round, 10_000*round+50),
		fmt.Sprintf(`UPDATE big SET id = id - 100000 WHERE id > 100000 AND id %% 100 = %d`, round),
		fmt.Sprintf(`UPDATE big SET id = 60000 + %[1]d WHERE id = %[1]d0; INSERT INTO big VALUES (%[1]d0, 'took its place', NULL, 7)`, 10*round+7),
		fmt.Sprintf(`INSERT INTO bag SELECT 'new', n FROM generate_series(1, %d) n`, 10*round))
}

// TestStreamGoesOnBesideLoad holds the first load in the middle of a table:
// changes of a table that is loaded arrive, the slot passes them and those of
// the tables under load, and what waited is applied in order afterwards.
func TestStreamGoesOnBesideLoad(t *testing.T) {
	beside(t, func(c *besideCase) {
		c.shop()
		c.open()
		at, release := engine.HoldAt(t, "chunk-recorded", 2) // the first chunk of bag
		stop := started(t, c.Pipeline)
		c.arrives(at)
		c.disturb(1)
		c.exec(`INSERT INTO small VALUES (2, 'beside')`, `UPDATE small SET v = 'changed' WHERE id = 1`)
		c.await("changes of another table", func() bool {
			return c.answers(`SELECT coalesce(string_agg(id || v, ' ' ORDER BY id), '') FROM small`) == "1changed 2beside"
		})
		c.slotPasses()
		if n := c.spools(); n != 2 {
			t.Errorf("%d tables are spooled, want bag and big", n)
		}
		if d := c.Status().Databases[0]; d.Phase != "loading" {
			t.Errorf("phase %q", d.Phase)
		}
		release()
		c.disturb(2)
		streams(t, c.Pipeline)
		c.disturb(3)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		c.open()
		c.proves()
	})
}

// TestReloadBesideStream loads tables again, held in the middle and stopped
// there, while the others are followed.
func TestReloadBesideStream(t *testing.T) {
	beside(t, func(c *besideCase) {
		c.shop()
		c.open()
		stop := started(t, c.Pipeline)
		streams(t, c.Pipeline)
		at, release := engine.HoldAt(t, "chunk-recorded", 3)
		c.exec(`ALTER TABLE big ALTER n TYPE bigint USING n + 1`, `INSERT INTO big VALUES (0, 'after', NULL, 0)`,
			`ALTER TABLE bag ALTER n TYPE bigint USING n + 1`, `INSERT INTO bag VALUES ('after', 0)`)
		c.arrives(at)
		c.disturb(1)
		c.exec(`INSERT INTO small VALUES (2, 'beside')`)
		c.await("changes of another table", func() bool { return c.answers(`SELECT count(*)::text FROM small`) == "2" })
		c.slotPasses()
		stopped := make(chan error, 1)
		go func() { stopped <- stop() }()
		release()
		if err := <-stopped; err != nil {
			t.Fatal(err)
		}
		c.disturb(2)
		c.open()
		c.proves()
	})
}

// TestFullSpoolsWaitAtTheSource fills spool_budget while a load is held: the
// log waits, and comes once the load goes on.
func TestFullSpoolsWaitAtTheSource(t *testing.T) {
	beside(t, func(c *besideCase) {
		c.shop()
		c.open()
		at, release := engine.HoldAt(t, "chunk-recorded", 2)
		stop := started(t, c.Pipeline)
		c.arrives(at)
		for n := range 6 {
			c.exec(fmt.Sprintf(`INSERT INTO big SELECT n, 'much', (SELECT string_agg(md5(n::text || i), '') FROM generate_series(1, 100) i), 0 FROM generate_series(%d, %d) n`, 70_000+100*n, 70_000+100*n+99))
		}
		c.await("the spools to be full", func() bool {
			c.exec(`UPDATE small SET v = 'again' WHERE id = 1`) // what is full is noticed before the next delivery
			return c.log.has("take spool_budget")
		})
		c.exec(`INSERT INTO small VALUES (2, 'waits')`)
		release()
		streams(t, c.Pipeline)
		c.await("what waited", func() bool { return c.answers(`SELECT count(*)::text FROM small`) == "2" })
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		c.open()
		c.proves()
	}, `spool_budget = "1MB"`)
}

// TestLostSpoolLoadsAgain loses the spools of tables under load while the
// pipeline stands: those tables are loaded in full, without rows that are gone.
func TestLostSpoolLoadsAgain(t *testing.T) {
	beside(t, func(c *besideCase) {
		c.shop()
		c.open()
		at, release := engine.HoldAt(t, "chunk-recorded", 8) // in the middle of big
		stop := started(t, c.Pipeline)
		c.arrives(at)
		c.disturb(1)
		c.slotPasses()
		stopped := make(chan error, 1)
		go func() { stopped <- stop() }()
		release()
		if err := <-stopped; err != nil {
			t.Fatal(err)
		}
		if c.spools() == 0 {
			t.Fatal("there is no spool to lose")
		}
		if err := os.RemoveAll(filepath.Join(c.dir, ".leat", "beside", "diverted")); err != nil {
			t.Fatal(err)
		}
		c.disturb(2)
		c.open()
		c.proves()
		if !c.log.has("the spool of a table is gone") {
			t.Error("nothing was said of the lost spool")
		}
	})
}

// TestLoadOrder holds a load at its first chunk: it is of the table that
// load_order puts first.
func TestLoadOrder(t *testing.T) {
	for order, want := range map[string]string{"smallest": "small", "largest": "big", "listed": "bag"} {
		t.Run(order, func(t *testing.T) {
			server := pgserver.Test(t, pgserver.Options{})
			c := &besideCase{t: t, server: server, database: server.Database(t), dir: t.TempDir(), log: lines{testLog{t}, new(sync.Mutex), new(strings.Builder)},
				extra: []string{`load_order = "` + order + `"`, "[objects]", `include = ["public.bag", "public.*"]`}}
			c.shop()
			c.exec(`ANALYZE`)
			c.open()
			at, release := engine.HoldAt(t, "chunk-recorded", 1)
			stop := started(t, c.Pipeline)
			c.arrives(at)
			for _, p := range c.Status().Tables {
				if (p.Loaded > 0) != (p.Table.Name == want) {
					t.Errorf("%d rows of %s are loaded", p.Loaded, p.Table)
				}
			}
			stopped := make(chan error, 1)
			go func() { stopped <- stop() }()
			release()
			if err := <-stopped; err != nil {
				t.Error(err)
			}
		})
	}
}

// TestTableMovesUnderLoad lets a table be rewritten, truncated, altered,
// renamed or dropped in the middle of its load.
func TestTableMovesUnderLoad(t *testing.T) {
	for name, sql := range map[string][]string{
		"rewritten": {`VACUUM FULL big`, `UPDATE big SET n = 5 WHERE id % 3 = 0`},
		"truncated": {`UPDATE big SET n = 5`, `TRUNCATE big, bag`, `INSERT INTO big VALUES (1, 'anew', NULL, 0)`, `INSERT INTO bag VALUES ('anew', 1)`},
		"retyped":   {`ALTER TABLE big ALTER n TYPE text USING 'n' || n`, `INSERT INTO big VALUES (0, 'text', NULL, 'x')`},
		"widened":   {`ALTER TABLE big ADD more int DEFAULT 7`, `INSERT INTO big VALUES (0, 'more', NULL, 0, 8)`, `UPDATE big SET more = 9 WHERE id % 7 = 0`},
		"narrowed":  {`ALTER TABLE big DROP v`, `INSERT INTO big VALUES (0, NULL, 0)`},
		"rekeyed":   {`ALTER TABLE bag ADD id serial PRIMARY KEY`, `INSERT INTO bag VALUES ('keyed', 1)`, `DELETE FROM bag WHERE n = 2`},
		"renamed":   {`ALTER TABLE big RENAME TO large`, `INSERT INTO large VALUES (0, 'renamed', NULL, 0)`, `DELETE FROM large WHERE id = 5`},
		"dropped":   {`INSERT INTO big VALUES (0, 'last', NULL, 0)`, `DROP TABLE big`, `UPDATE small SET v = 'after'`},
	} {
		t.Run(name, func(t *testing.T) {
			beside(t, func(c *besideCase) {
				c.shop()
				c.open()
				at, release := engine.HoldAt(t, "chunk-recorded", 8) // in the middle of big
				if name == "rekeyed" {
					at, release = engine.HoldAt(t, "chunk-recorded", 2)
				}
				stop := started(t, c.Pipeline)
				c.arrives(at)
				c.disturb(1)
				c.exec(sql...)
				if name != "rekeyed" { // there the session ends, to publish the table anew: it waits for the load
					c.slotPasses()
				}
				release()
				c.await("the loads to end", func() bool {
					d := c.Status().Databases
					return len(d) == 1 && d[0].Phase == "streaming"
				})
				if err := stop(); err != nil {
					t.Fatal(err)
				}
				c.open()
				c.proves()
			})
		})
	}
}
