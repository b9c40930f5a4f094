package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
	"github.com/leat-etl/leat/engine/spec"
)

// toServer opens the pipeline of dir from a database of source into one of
// target.
func toServer(t *testing.T, dir string, source *pgserver.Server, database string, target *pgserver.Server, into string, extra ...string) *engine.Pipeline {
	t.Helper()
	t.Setenv("LEAT_TEST_PASSWORD", source.Password())
	t.Setenv("LEAT_TARGET_PASSWORD", target.Password())
	s, err := spec.Parse(filepath.Join(dir, "test.toml"), fmt.Appendf(nil, `name = "relay"
[source]
host = %q
port = %d
user = %q
password = { env = "LEAT_TEST_PASSWORD" }
database = %q
heartbeat = "1s"
wal_budget = "1MB"
wal_budget_action = "spool"
[engine]
batch_bytes = "256kB"
flush_interval = "50ms"
%s
[destination]
plugin = "postgres"
config = { host = %q, port = %d, user = %q, password = { env = "LEAT_TARGET_PASSWORD" }, database = %q, tls = { mode = "disable" } }
`, source.Host(), source.Port(), source.User(), database, strings.Join(extra, "\n"), target.Host(), target.Port(), target.User(), into))
	if err != nil {
		t.Fatal(err)
	}
	p, err := engine.Open(t.Context(), s, engine.Options{CacheDir: cacheDir, Log: slog.New(slog.NewTextHandler(testLog{t}, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// testLog shows what the engine logs where the test fails.
type testLog struct{ t *testing.T }

// Write implements io.Writer.
func (l testLog) Write(line []byte) (int, error) {
	l.t.Logf("%s", bytes.TrimSpace(line))
	return len(line), nil
}

// started runs a pipeline until stop.
func started(t *testing.T, p *engine.Pipeline) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		err := p.Run(ctx, engine.RunOptions{})
		if ctx.Err() == nil {
			t.Errorf("the pipeline ended by itself: %v", err)
		}
		ended <- err
	}()
	return func() error {
		cancel()
		return errors.Join(<-ended, p.Close(context.Background()))
	}
}

// streams waits until p follows the log.
func streams(t *testing.T, p *engine.Pipeline) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	waitFor(t, ctx, "the log to be followed", func() bool {
		d := p.Status().Databases
		return len(d) == 1 && d[0].Phase == "streaming"
	})
}

// TestSpoolWhileTheDestinationIsDown lets the slot go on while the destination
// is away, over a restart of the pipeline: afterwards every change is there
// once, in order. A spool that is lost is noticed.
func TestSpoolWhileTheDestinationIsDown(t *testing.T) {
	source := pgserver.Test(t, pgserver.Options{})
	database := source.Database(t)
	target := pgserver.Own(t, pgserver.Options{})
	const into = "warehouse"
	exec := func(sql ...string) {
		t.Helper()
		if err := source.Exec(t.Context(), database, sql...); err != nil {
			t.Fatal(err)
		}
	}
	if err := target.Exec(t.Context(), "postgres", "CREATE DATABASE "+into); err != nil {
		t.Fatal(err)
	}
	exec(`CREATE TABLE a (id int PRIMARY KEY, v text, n int)`, `CREATE TABLE log (entry int)`, `INSERT INTO a VALUES (0, 'loaded', 0)`)
	passed := func() {
		t.Helper()
		passes(t, source, database)
	}
	write := func(from int) {
		t.Helper()
		exec(fmt.Sprintf(`INSERT INTO a SELECT n, repeat('x', 400), 0 FROM generate_series(%d, %d) n`, from, from+4999),
			fmt.Sprintf(`UPDATE a SET n = n + 1 WHERE id >= %d AND id %% 2 = 0`, from), `DELETE FROM a WHERE id % 7 = 3`,
			fmt.Sprintf(`INSERT INTO log SELECT n FROM generate_series(%d, %d) n`, from, from+99))
	}
	kill := func() {
		t.Helper()
		if err := target.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	p := toServer(t, dir, source, database, target, into)
	stop := started(t, p)
	streams(t, p)
	kill()
	write(1)
	passed()
	write(10_001)
	passed()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	stop = started(t, toServer(t, dir, source, database, target, into)) // the destination is still away
	write(20_001)
	passed()
	if err := target.StartAgain(t.Context()); err != nil {
		t.Fatal(err)
	}
	write(30_001)
	equal := `SELECT (SELECT count(*) || ' ' || coalesce(sum(id::bigint * (n + 1)), 0) FROM a) || ' ' || (SELECT count(*) || ' ' || coalesce(sum(entry), 0) FROM log)`
	want := answer(t, source, database, equal)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	waitFor(t, ctx, "the destination to have everything: "+want, func() bool { return answer(t, target, into, deletedOut(equal)) == want })
	waitFor(t, ctx, "the spool to be removed", func() bool {
		left, err := filepath.Glob(filepath.Join(dir, ".leat", "relay", "relay", "*"))
		return err == nil && len(left) == 0
	})
	if err := stop(); err != nil {
		t.Fatal(err)
	}

	p = toServer(t, dir, source, database, target, into)
	stop = started(t, p)
	streams(t, p)
	kill()
	write(40_001)
	passed()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, ".leat", "relay", "relay")); err != nil {
		t.Fatal(err)
	}
	if err := target.StartAgain(t.Context()); err != nil {
		t.Fatal(err)
	}
	p = toServer(t, dir, source, database, target, into)
	var gap *engine.GapError
	if err := runOnce(t, p); !errors.As(err, &gap) || !strings.Contains(gap.Reason, "spool") {
		t.Errorf("without its spool: %v", err)
	}
}

// passes waits until the slot has passed what is committed at the source by now.
func passes(t *testing.T, source *pgserver.Server, database string) {
	t.Helper()
	end := answer(t, source, database, `SELECT pg_current_wal_lsn()::text`)
	awaitSQL(t, source, database, `SELECT confirmed_flush_lsn >= '`+end+`'::pg_lsn FROM pg_replication_slots WHERE database = current_database()`)
}

func deletedOut(sql string) string {
	return strings.Replace(sql, "FROM a)", "FROM a WHERE NOT __leat_marked_deleted)", 1)
}

func answer(t *testing.T, server *pgserver.Server, database, sql string) (text string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), server.DSN(database))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if err := conn.QueryRow(t.Context(), sql).Scan(&text); err != nil {
		t.Fatal(err)
	}
	return text
}

// TestFullSpool fills the spool: the rest of the log waits at the source, and
// everything arrives once the destination is back.
func TestFullSpool(t *testing.T) {
	source := pgserver.Test(t, pgserver.Options{})
	database := source.Database(t)
	target := pgserver.Own(t, pgserver.Options{})
	exec := func(sql ...string) {
		t.Helper()
		if err := source.Exec(t.Context(), database, sql...); err != nil {
			t.Fatal(err)
		}
	}
	exec(`CREATE TABLE a (id int PRIMARY KEY, v text)`)
	dir := t.TempDir()
	p := toServer(t, dir, source, database, target, "postgres", `spool_budget = "1MB"`)
	stop := started(t, p)
	streams(t, p)
	if err := target.Kill(); err != nil {
		t.Fatal(err)
	}
	for from := 0; from < 9000; from += 1000 {
		exec(fmt.Sprintf(`INSERT INTO a SELECT n, repeat('x', 400) FROM generate_series(%d, %d) n`, from, from+999))
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	waitFor(t, ctx, "the spool to be full", func() bool {
		size := int64(0)
		files, _ := filepath.Glob(filepath.Join(dir, ".leat", "relay", "relay", "*", "*"))
		for _, f := range files {
			if info, err := os.Stat(f); err == nil { // it may be gone
				size += info.Size()
			}
		}
		return size > 500_000 && p.Status().Databases[0].Phase == "spooling"
	})
	if err := target.StartAgain(t.Context()); err != nil {
		t.Fatal(err)
	}
	waitFor(t, ctx, "all rows to arrive", func() bool { return answer(t, target, "postgres", `SELECT count(*)::text FROM a`) == "9000" })
	streams(t, p)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

// TestTableLeavesWhileSpooling takes tables out, by the pipeline file and by an
// operator, while the log is spooled, and in again before the destination is back:
// what the log has not of them is loaded.
func TestTableLeavesWhileSpooling(t *testing.T) {
	source := pgserver.Test(t, pgserver.Options{})
	database := source.Database(t)
	target := pgserver.Own(t, pgserver.Options{})
	exec := func(sql ...string) {
		t.Helper()
		if err := source.Exec(t.Context(), database, sql...); err != nil {
			t.Fatal(err)
		}
	}
	exec(`CREATE TABLE a (id int PRIMARY KEY, v text)`, `CREATE TABLE b (id int PRIMARY KEY, v text)`, `CREATE TABLE c (id int PRIMARY KEY, v text)`, `CREATE TABLE stays (id int PRIMARY KEY, v text)`)
	all := []string{"a", "b", "c", "stays"}
	write := func(from int) {
		t.Helper()
		for _, table := range all {
			exec(fmt.Sprintf(`INSERT INTO %s SELECT n, repeat('x', 400) FROM generate_series(%d, %d) n`, table, from, from+1999),
				fmt.Sprintf(`UPDATE %s SET v = 'changed' WHERE id %% 2 = 0`, table), fmt.Sprintf(`DELETE FROM %s WHERE id %% 7 = 3`, table))
		}
	}
	dir := t.TempDir()
	begin := func(extra ...string) (*engine.Pipeline, func() error) {
		t.Helper()
		p := toServer(t, dir, source, database, target, "postgres", extra...)
		return p, started(t, p)
	}
	end := func(stop func() error) {
		t.Helper()
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	}
	change := func(p *engine.Pipeline, verb, table string) {
		t.Helper()
		if _, err := p.ChangeObjects(t.Context(), engine.ObjectRequest{Verb: verb, Tables: []string{table}}); err != nil {
			t.Fatal(err)
		}
	}
	write(1)
	p, stop := begin()
	streams(t, p)
	if err := target.Kill(); err != nil {
		t.Fatal(err)
	}
	write(10_001)
	passes(t, source, database)
	change(p, engine.SkipObjects, "public.b") // noticed by the next session
	end(stop)
	p, stop = begin(`[objects]`, `exclude = ["public.a"]`)
	write(20_001)
	passes(t, source, database)
	change(p, engine.IncludeObjects, "public.b")
	change(p, engine.SkipObjects, "public.c")
	end(stop)
	p, stop = begin()
	write(30_001)
	passes(t, source, database)
	change(p, engine.IncludeObjects, "public.c")
	end(stop)
	p, stop = begin()
	write(40_001)
	passes(t, source, database)
	if err := target.StartAgain(t.Context()); err != nil {
		t.Fatal(err)
	}
	streams(t, p)
	write(50_001)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, table := range all {
		equal := `SELECT count(*) || ' ' || count(*) FILTER (WHERE v = 'changed') || ' ' || sum(id) FROM ` + table
		want := answer(t, source, database, equal)
		waitFor(t, ctx, table+" to be "+want, func() bool {
			return answer(t, target, "postgres", equal+" WHERE NOT __leat_marked_deleted") == want
		})
	}
	end(stop)
}

// TestTableLosesItsKeyWithoutTheDestination takes a table its primary key and
// gives it back before the destination is there again, with and without the spool:
// its updates and deletes work meanwhile, and what the log has not of them is
// loaded.
func TestTableLosesItsKeyWithoutTheDestination(t *testing.T) {
	for name, c := range map[string]struct{ spool, again bool }{
		"spooled":               {spool: true},
		"spooled by two runs":   {spool: true, again: true},
		"not spooled":           {},
		"not spooled, two runs": {again: true},
	} {
		t.Run(name, func(t *testing.T) {
			source := pgserver.Test(t, pgserver.Options{})
			database := source.Database(t)
			target := pgserver.Own(t, pgserver.Options{})
			exec := func(sql ...string) {
				t.Helper()
				if err := source.Exec(t.Context(), database, sql...); err != nil {
					t.Fatal(err)
				}
			}
			exec(`CREATE TABLE a (id int PRIMARY KEY, v text)`, `INSERT INTO a SELECT n, repeat('x', 400) FROM generate_series(1, 2000) n`,
				`CREATE TABLE stays (id int PRIMARY KEY, v text)`)
			dir := t.TempDir()
			p := toServer(t, dir, source, database, target, "postgres")
			stop := started(t, p)
			streams(t, p)
			if err := target.Kill(); err != nil {
				t.Fatal(err)
			}
			if c.spool {
				exec(`INSERT INTO stays SELECT n, repeat('x', 400) FROM generate_series(1, 8000) n`)
				passes(t, source, database)
			} else {
				exec(`INSERT INTO stays VALUES (1, 'x')`)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			exec(`ALTER TABLE a DROP CONSTRAINT a_pkey`)
			waitFor(t, ctx, "updates of a table without a key to be possible", func() bool {
				return source.Exec(t.Context(), database, `UPDATE a SET v = 'without' WHERE id % 2 = 0`, `DELETE FROM a WHERE id % 7 = 3`) == nil
			})
			exec(`ALTER TABLE a ADD PRIMARY KEY (id)`)
			if c.again {
				if err := stop(); err != nil {
					t.Fatal(err)
				}
				p = toServer(t, dir, source, database, target, "postgres")
				stop = started(t, p)
			}
			exec(`UPDATE a SET v = 'with' WHERE id % 3 = 0`, `INSERT INTO stays VALUES (0, 'x')`)
			if c.spool {
				passes(t, source, database)
			}
			if err := target.StartAgain(t.Context()); err != nil {
				t.Fatal(err)
			}
			streams(t, p)
			for _, table := range []string{"a", "stays"} {
				equal := `SELECT count(*) || ' ' || count(*) FILTER (WHERE v = 'with') || ' ' || count(*) FILTER (WHERE v = 'without') || ' ' || coalesce(sum(id), 0) FROM ` + table
				want := answer(t, source, database, equal)
				waitFor(t, ctx, table+" to be "+want, func() bool {
					return answer(t, target, "postgres", equal+" WHERE NOT __leat_marked_deleted") == want
				})
			}
			if err := stop(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestPublicationChangedByHand sets right what somebody has done to the publication,
// and loads the tables again that the log was without.
func TestPublicationChangedByHand(t *testing.T) {
	server := pgserver.Test(t, pgserver.Options{})
	changes := map[string]string{
		"taken out": `ALTER PUBLICATION %s DROP TABLE a`,
		"dropped":   `DROP PUBLICATION %s`,
		"inserts":   `ALTER PUBLICATION %s SET (publish = 'insert')`,
	}
	if server.Major() >= 15 {
		changes["row filter"] = `ALTER PUBLICATION %s SET TABLE a WHERE (id > 3)`
		changes["columns"] = `ALTER PUBLICATION %s SET TABLE a (id)`
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			dir, database, into := t.TempDir(), server.Database(t), server.Database(t)
			exec := func(sql ...string) {
				t.Helper()
				if err := server.Exec(t.Context(), database, sql...); err != nil {
					t.Fatal(err)
				}
			}
			rows := func() string {
				t.Helper()
				return answer(t, server, into, `SELECT coalesce(string_agg(id || v, ' ' ORDER BY id), '') FROM a WHERE NOT __leat_marked_deleted`)
			}
			run := func(want string) {
				t.Helper()
				err := runOnce(t, toServer(t, dir, server, database, server, into))
				var gap *engine.GapError
				if name == "dropped" && errors.As(err, &gap) && strings.Contains(gap.Reason, "publication was dropped") { // not on newer servers
					p := toServer(t, dir, server, database, server, into)
					err = errors.Join(p.Run(t.Context(), engine.RunOptions{UntilCaughtUp: true, Resync: true}), p.Close(t.Context()))
					t.Log("resynced")
				}
				if err != nil {
					t.Fatal(err)
				}
				if got := rows(); got != want {
					t.Errorf("the destination has %q, want %q", got, want)
				}
			}
			exec(`CREATE TABLE a (id int PRIMARY KEY, v text)`, `INSERT INTO a VALUES (1, 'a'), (2, 'b'), (3, 'c')`)
			run("1a 2b 3c")
			publication := answer(t, server, database, `SELECT pubname FROM pg_publication_tables WHERE tablename = 'a'`)
			change := fmt.Sprintf(change, publication)
			exec(change, `UPDATE a SET v = 'unseen' WHERE id = 2`, `DELETE FROM a WHERE id = 3`)
			run("1a 2unseen")
			exec(`UPDATE a SET v = 'seen' WHERE id = 1`)
			run("1seen 2unseen")

			if name == "dropped" {
				return // the run ends with it, but on newer servers
			}
			p := toServer(t, dir, server, database, server, into)
			stop := started(t, p)
			streams(t, p)
			exec(change, `INSERT INTO a VALUES (3, 'meanwhile')`, `UPDATE a SET v = 'changed' WHERE id = 2`, `DELETE FROM a WHERE id = 1`)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			waitFor(t, ctx, "the change to be set right", func() bool { return rows() == "2changed 3meanwhile" })
			if err := stop(); err != nil {
				t.Fatal(err)
			}
		})
	}
}
