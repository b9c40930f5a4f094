package engine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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

// pipelineOf opens a pipeline from database into a DuckDB file of the test.
// extra are lines of its source section.
func pipelineOf(t *testing.T, server *pgserver.Server, database string, extra ...string) *engine.Pipeline {
	t.Helper()
	p := pipelineIn(t, t.TempDir(), server, database, extra...)
	t.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return p
}

// pipelineIn opens the pipeline whose state and DuckDB file are in dir. The
// caller closes it.
func pipelineIn(t *testing.T, dir string, server *pgserver.Server, database string, extra ...string) *engine.Pipeline {
	t.Helper()
	return pipelineFor(t, dir, server, append([]string{fmt.Sprintf("database = %q", database)}, extra...)...)
}

// pipelineFor is pipelineIn with the databases among the extra lines.
func pipelineFor(t *testing.T, dir string, server *pgserver.Server, extra ...string) *engine.Pipeline {
	t.Helper()
	t.Setenv("LEAT_TEST_PASSWORD", server.Password())
	s, err := spec.Parse(filepath.Join(dir, "test.toml"), fmt.Appendf(nil, `name = "test"
[source]
host = %q
port = %d
user = %q
password = { env = "LEAT_TEST_PASSWORD" }
%s
[destination]
plugin = "duckdb"
config = { path = "test.duckdb" }
`, server.Host(), server.Port(), server.User(), strings.Join(extra, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	p, err := engine.Open(t.Context(), s, engine.Options{CacheDir: cacheDir})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestRunThatEndsTellsTheSlot lets a run catch up: the server may forget the log
// that it has passed, without another run.
func TestRunThatEndsTellsTheSlot(t *testing.T) {
	server := pgserver.Test(t, pgserver.Options{})
	database := server.Database(t)
	dir := t.TempDir()
	for _, statement := range []string{`CREATE TABLE a (id int PRIMARY KEY)`, `CREATE TABLE reached AS SELECT pg_current_wal_lsn() AS lsn`} {
		if err := server.Exec(t.Context(), database, statement, `INSERT INTO a SELECT count(*) FROM a`); err != nil {
			t.Fatal(err)
		}
		if err := runOnce(t, pipelineIn(t, dir, server, database)); err != nil {
			t.Fatal(err)
		}
	}
	awaitSQL(t, server, database, `SELECT bool_and(confirmed_flush_lsn > (SELECT lsn FROM reached)) FROM pg_replication_slots WHERE database = current_database()`)
}

func TestWALBudgetDropsTheSlot(t *testing.T) {
	server := pgserver.Test(t, pgserver.Options{})
	database := server.Database(t)
	exec := func(sql string) {
		t.Helper()
		if err := server.Exec(t.Context(), database, sql); err != nil {
			t.Fatal(err)
		}
	}
	exec(`CREATE TABLE a (id int PRIMARY KEY)`)
	p := pipelineOf(t, server, database, `wal_budget = "1MB"`, `wal_budget_action = "drop_slot"`)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx, engine.RunOptions{}) }()
	waitFor(t, ctx, "the log to be followed", func() bool {
		d := p.Status().Databases
		return len(d) == 1 && d[0].Phase == "streaming"
	})
	// Log of a table that nobody publishes: the slot passes it when the server next
	// notes its running transactions, which may be before anybody looks.
	// So more is written until that is noticed.
	exec(`CREATE TABLE busy (n int, filler text)`)
	var gap *engine.GapError
	var err error
	for running := true; running; {
		exec(`INSERT INTO busy SELECT n, repeat('x', 1000) FROM generate_series(1, 20000) n`)
		select {
		case err = <-ended:
			running = false
		case <-time.After(time.Second):
		}
	}
	if !errors.As(err, &gap) || !strings.Contains(gap.Reason, "wal_budget") || gap.Hint == "" {
		t.Fatalf("the run ended with %v", err)
	}
	exec(`DO $$ BEGIN IF EXISTS (SELECT FROM pg_replication_slots WHERE database = current_database()) THEN RAISE 'the slot is still there'; END IF; END $$`)
}

func waitFor(t *testing.T, ctx context.Context, what string, reached func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !reached() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited for %s in vain", what)
		case <-tick.C:
		}
	}
}

// TestFailedRowsWaitAndAreReplayed sets a row aside that DuckDB cannot hold as
// a list, with what comes after it; a TRUNCATE frees its key again.
func TestFailedRowsWaitAndAreReplayed(t *testing.T) {
	server := pgserver.Test(t, pgserver.Options{})
	database := server.Database(t)
	exec := func(sql ...string) {
		t.Helper()
		if err := server.Exec(t.Context(), database, sql...); err != nil {
			t.Fatal(err)
		}
	}
	exec(`CREATE TABLE a (id int PRIMARY KEY, v text, list int[])`, `INSERT INTO a VALUES (1, 'loaded', '{1}')`)
	p := pipelineOf(t, server, database)
	catchUp := func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := p.Run(ctx, engine.RunOptions{UntilCaughtUp: true}); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(failed int64, rows string) {
		t.Helper()
		if n, err := p.FailedCount(); err != nil || n != failed {
			t.Errorf("%d failed events, %v; want %d", n, err, failed)
		}
		got := ""
		if err := p.Query(t.Context(), `SELECT coalesce(string_agg(id || v, ' ' ORDER BY id), '') FROM a WHERE NOT __leat_marked_deleted`, func(r engine.Rows) error {
			got = *r.Rows[0][0]
			return nil
		}); err != nil || got != rows {
			t.Errorf("the destination has %q, %v; want %q", got, err, rows)
		}
	}
	catchUp()
	exec(`INSERT INTO a VALUES (2, 'refused', '{{1,2},{3,4}}')`)
	catchUp() // in one delivery the update below would mend the row
	exec(`UPDATE a SET v = 'later', list = '{1}' WHERE id = 2`,
		`INSERT INTO a VALUES (3, 'other', '{}')`, `UPDATE a SET v = 'changed' WHERE id = 1`)
	catchUp()
	expect(2, "1changed 3other")
	if r, err := p.Replay(t.Context(), nil); err != nil || r.Replayed != 0 || len(r.Failed) != 1 {
		t.Errorf("replay: %+v, %v", r, err)
	}
	expect(2, "1changed 3other")
	var first string
	for f, err := range p.FailedEvents(state.FailedFilter{Cause: true}) {
		if err != nil {
			t.Fatal(err)
		}
		first = f.ID
	}
	if r, err := p.Skip(t.Context(), []string{first}); err != nil || r.Skipped != 1 || r.Replayed != 1 {
		t.Errorf("skip: %+v, %v", r, err)
	}
	expect(0, "1changed 2later 3other")

	exec(`UPDATE a SET list = '{{1}}' WHERE id = 3`)
	catchUp()
	exec(`TRUNCATE a`, `INSERT INTO a VALUES (3, 'anew', '{3}')`)
	catchUp()
	expect(0, "3anew") // what the TRUNCATE supersedes does not count
	if r, err := p.Replay(t.Context(), nil); err != nil || r.Superseded != 1 || r.Replayed != 0 {
		t.Errorf("replay: %+v, %v", r, err)
	}
	expect(0, "3anew")
	v, err := p.Verify(t.Context(), nil, nil)
	if err != nil || !v.Equal() {
		t.Errorf("verify: %+v, %v", v, err)
	}
	exec(`UPDATE a SET list = '{4}' WHERE id = 3`, `INSERT INTO a VALUES (4, 'on its way', '{}')`)
	v, err = p.Verify(t.Context(), nil, func(context.Context, ...string) error { catchUp(); return nil })
	if err != nil || !v.Equal() || v.Tables[0].Changed != 2 {
		t.Errorf("verify of rows that are on their way: %+v, %v", v, err)
	}
}
