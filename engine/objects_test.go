package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/state"
)

// started runs the pipeline beside the test. What it returns stops it.
func (p *polled) started(ctx context.Context) (stop func()) {
	running, end := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- p.Run(running, engine.RunOptions{}) }()
	stop = sync.OnceFunc(func() {
		end()
		if err := <-ended; err != nil {
			p.t.Error(err)
		}
	})
	p.t.Cleanup(stop) // before the pipeline is closed, also where the test fails
	return stop
}

// change asks something of objects of the running pipeline.
func (p *polled) change(verb string, tables ...string) {
	p.t.Helper()
	if _, err := p.ChangeObjects(p.t.Context(), engine.ObjectRequest{Verb: verb, Tables: tables, Confirmed: true}); err != nil {
		p.t.Fatal(err)
	}
}

// arrives waits until a query at the destination has an answer. Until then the
// table may not be there, or lack columns.
func (p *polled) arrives(ctx context.Context, sql, want string) {
	p.t.Helper()
	waitFor(p.t, ctx, sql+" to be "+want, func() bool {
		got := ""
		err := p.Query(ctx, sql, func(r engine.Rows) error {
			for _, row := range r.Rows {
				if row[0] != nil {
					got = *row[0]
				}
			}
			return nil
		})
		return err == nil && got == want
	})
}

func (p *polled) stands(ctx context.Context, table, want string) {
	p.t.Helper()
	waitFor(p.t, ctx, table+" to be "+want, func() bool {
		objects, err := p.Objects()
		return err == nil && slices.ContainsFunc(objects, func(o state.Object) bool { return o.Table.Name == table && o.State == want })
	})
}

// TestNewTables lets tables join that are created, or dropped and created
// again, while the pipeline runs.
func TestNewTables(t *testing.T) {
	p := newPolled(t, `CREATE TABLE a (id int PRIMARY KEY, v text)`, `INSERT INTO a VALUES (1, 'x')`)
	p.open(`heartbeat = "1s"`, "")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	stop := p.started(ctx)
	p.stands(ctx, "a", state.Streaming)
	p.exec(`CREATE TABLE b (id int PRIMARY KEY, v text)`, `INSERT INTO b SELECT n, 'made' FROM generate_series(1, 1000) n`, `UPDATE a SET v = 'y'`)
	p.stands(ctx, "b", state.Streaming)
	p.exec(`UPDATE b SET v = 'changed' WHERE id = 7`, `DELETE FROM b WHERE id = 8`)
	p.arrives(ctx, `SELECT count(*) || max(v) FILTER (WHERE id = 7) FROM b WHERE NOT __leat_marked_deleted`, "999changed")
	p.exec(`DROP TABLE b`, `CREATE TABLE b (id int PRIMARY KEY, n int, v text)`, `INSERT INTO b VALUES (7, 70, 'anew'), (2000, 71, 'anew')`)
	p.arrives(ctx, `SELECT string_agg(concat(id, n, v), ' ' ORDER BY id) FROM b WHERE NOT __leat_marked_deleted AND v = 'anew'`, "770anew 200071anew")
	p.exec(`DELETE FROM b WHERE id = 7`)
	p.arrives(ctx, `SELECT count(*) FROM b WHERE NOT __leat_marked_deleted`, "1")
	p.expect("1y")
	stop()
	p.verify()

	p.open(`heartbeat = "1s"`+"\ninclude_new_tables = false", "")
	stop = p.started(ctx)
	p.exec(`CREATE TABLE c (id int PRIMARY KEY, v text)`, `INSERT INTO c VALUES (1, 'old')`, `UPDATE a SET v = 'z'`)
	p.stands(ctx, "c", state.Skipped)
	if o := p.object("c"); !strings.Contains(o.Reason, "include_new_tables") || !strings.Contains(o.Fix, "leat objects include") {
		t.Errorf("a table that came later: %+v", o)
	}
	p.arrives(ctx, `SELECT v FROM a`, "z")
	p.change(engine.IncludeObjects, "public.c")
	p.stands(ctx, "c", state.Streaming)
	p.exec(`INSERT INTO c VALUES (2, 'new')`)
	p.arrives(ctx, `SELECT string_agg(v, ' ' ORDER BY id) FROM c`, "old new")
	stop()
	p.verify()

	p.open("", "[objects]\nexclude = [\"*.*\"]") // nothing is selected
	var refused *engine.RequestError
	if err := p.run(engine.RunOptions{}); !errors.As(err, &refused) || !strings.Contains(refused.Hint, "--deselect-all") {
		t.Errorf("a run that would take all tables out: %v", err)
	}
	if err := p.run(engine.RunOptions{DeselectAll: true}); err != nil {
		t.Error(err)
	}
	p.open(`include_new_tables = false`, "")
	p.exec(`UPDATE a SET v = 'unseen'`)
	p.mustRun()
	p.expect("1unseen")
	p.verify()
}

// TestLockedTables takes a table out and another one in that somebody has locked:
// the others go on, and it is said whom the one waits for.
func TestLockedTables(t *testing.T) {
	p := newPolled(t, `CREATE TABLE a (id int PRIMARY KEY, v text)`, `INSERT INTO a VALUES (1, 'x')`, `CREATE TABLE b (id int PRIMARY KEY, v text)`, `INSERT INTO b VALUES (1, 'old')`)
	p.open("heartbeat = \"1s\"\ninclude_new_tables = false", "")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	stop := p.started(ctx)
	p.stands(ctx, "b", state.Streaming)
	p.exec(`CREATE TABLE c (id int PRIMARY KEY, v text)`, `INSERT INTO c VALUES (1, 'old')`)
	p.stands(ctx, "c", state.Skipped)
	conn, err := pgx.Connect(ctx, p.server.DSN(p.database))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(ctx, `BEGIN; LOCK TABLE b, c IN SHARE UPDATE EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	p.change(engine.SkipObjects, "b")
	p.change(engine.IncludeObjects, "c")
	p.exec(`UPDATE a SET v = 'y'`, `INSERT INTO b VALUES (2, 'unseen')`, `INSERT INTO c VALUES (2, 'new')`)
	p.stands(ctx, "c", state.Inaccessible)
	if o := p.object("c"); !strings.Contains(o.Reason, fmt.Sprintf("process %d of role", conn.PgConn().PID())) || !strings.Contains(o.Fix, "pg_terminate_backend") {
		t.Errorf("a locked table: %+v", o)
	}
	p.arrives(ctx, `SELECT v FROM a`, "y")
	if _, err := conn.Exec(ctx, `ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	p.stands(ctx, "c", state.Streaming)
	p.arrives(ctx, `SELECT string_agg(v, ' ' ORDER BY id) FROM c`, "old new")
	p.change(engine.IncludeObjects, "b")
	p.arrives(ctx, `SELECT string_agg(v, ' ' ORDER BY id) FROM b WHERE NOT __leat_marked_deleted`, "old unseen")
	stop()
	p.verify()
}

// TestLoadWaitsForATransaction says for whose transaction the slot of a new pipeline
// waits, and the load of a table that is asked for.
func TestLoadWaitsForATransaction(t *testing.T) {
	p := newPolled(t, `CREATE TABLE a (id int PRIMARY KEY, v text)`, `INSERT INTO a VALUES (1, 'x')`)
	p.open("", "")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, p.server.DSN(p.database))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	waits := func(want string) {
		t.Helper()
		waitFor(t, ctx, "the wait for "+want, func() bool {
			d := p.Status().Databases
			return len(d) == 1 && strings.HasPrefix(d[0].Waits, want) && (want != "") == (d[0].Waits != "")
		})
	}
	do := func(sql string) {
		t.Helper()
		if _, err := conn.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	process := fmt.Sprintf("process %d of role ", conn.PgConn().PID())
	do(`BEGIN; SELECT txid_current()`)
	stop := p.started(ctx)
	waits(process)
	do(`ROLLBACK`)
	p.stands(ctx, "a", state.Streaming)
	waits("")
	do(`BEGIN; SELECT txid_current()`)
	p.change(engine.RestartObjects, "a")
	waits(process)
	do(`ROLLBACK`)
	p.stands(ctx, "a", state.Streaming)
	stop()
	p.verify()
}

// TestPausedTable keeps the changes of one table while those of another and the
// slot go on, over a restart of the engine, and delivers them in order.
func TestPausedTable(t *testing.T) {
	p := newPolled(t, `CREATE TABLE a (id int PRIMARY KEY, v text)`, `CREATE TABLE b (id int PRIMARY KEY, v text)`,
		`INSERT INTO a SELECT n, 'x' FROM generate_series(1, 3) n`, `INSERT INTO b VALUES (1, 'x')`)
	p.open(`heartbeat = "1s"`, "[objects]\nexclude = [\"public.marks\"]")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	stop := p.started(ctx)
	p.stands(ctx, "a", state.Streaming)
	p.stands(ctx, "b", state.Streaming)
	p.change(engine.PauseObjects, "public.a")
	p.exec(`INSERT INTO b VALUES (2, 'first')`)
	p.arrives(ctx, `SELECT max(v) FROM b WHERE id = 2`, "first")
	p.exec(`UPDATE b SET v = 'behind' WHERE id = 2`)
	p.arrives(ctx, `SELECT max(v) FROM b WHERE id = 2`, "behind") // the session that pauses has begun
	held := p.ask(`SELECT string_agg(concat(id, v), ' ' ORDER BY id) FROM a`)
	p.exec(`UPDATE a SET id = 9 WHERE id = 1`, `UPDATE a SET id = 1 WHERE id = 2`, `DELETE FROM a WHERE id = 3`, `INSERT INTO a VALUES (3, 'again')`,
		`CREATE TABLE marks AS SELECT pg_current_wal_lsn() AS lsn`, `INSERT INTO b VALUES (3, 'later')`)
	p.arrives(ctx, `SELECT max(v) FROM b WHERE id = 3`, "later")
	waitFor(t, ctx, "the slot to pass what waits", func() bool {
		return p.server.Exec(ctx, p.database, `DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_replication_slots, marks WHERE database = current_database() AND confirmed_flush_lsn > lsn) THEN RAISE 'not yet'; END IF; END $$`) == nil
	})
	if got := p.ask(`SELECT string_agg(concat(id, v), ' ' ORDER BY id) FROM a`); got != held {
		t.Errorf("while it is paused the table changed from %q to %q", held, got)
	}
	p.stands(ctx, "a", state.Paused)
	stop()
	p.verify() // of what is not paused

	p.open(`heartbeat = "1s"`, "[objects]\nexclude = [\"public.marks\"]")
	stop = p.started(ctx)
	p.exec(`UPDATE a SET v = 'last' WHERE id = 9`, `INSERT INTO b VALUES (4, 'goes on')`)
	p.arrives(ctx, `SELECT max(v) FROM b WHERE id = 4`, "goes on")
	p.change(engine.ResumeObjects, "public.a")
	p.arrives(ctx, `SELECT max(v) FROM a WHERE id = 9`, "last")
	p.stands(ctx, "a", state.Streaming)
	p.exec(`INSERT INTO a VALUES (10, 'live')`)
	p.arrives(ctx, `SELECT max(v) FROM a WHERE id = 10`, "live")
	p.expect("1x 3again 9last 10live")
	stop()
	p.verify()
}

// TestRestartOutlivesOtherChoices asks for other things of tables before the restart
// of their load has begun: it comes once they are followed again.
func TestRestartOutlivesOtherChoices(t *testing.T) {
	p := newPolled(t, `CREATE TABLE a (id int PRIMARY KEY, v text)`, `CREATE TABLE b (id int PRIMARY KEY, v text)`, `CREATE TABLE other (id int PRIMARY KEY, v text)`,
		`INSERT INTO a SELECT n, 'x' FROM generate_series(1, 3) n`, `INSERT INTO b SELECT n, 'x' FROM generate_series(1, 3) n`)
	p.open(`heartbeat = "1s"`, "")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	stop := p.started(ctx)
	for _, table := range []string{"a", "b", "other"} {
		p.stands(ctx, table, state.Streaming)
	}
	loaded := func(table string, rows int64) {
		t.Helper()
		waitFor(t, ctx, "another load of "+table, func() bool { return p.object(table).RowsLoaded == rows })
	}
	p.change(engine.RestartObjects, "public.a")
	p.change(engine.SkipObjects, "public.a")
	p.exec(`DELETE FROM a WHERE id = 2`)
	p.change(engine.IncludeObjects, "public.a")
	p.change(engine.RestartObjects, "public.b")
	p.change(engine.PauseObjects, "public.b")
	p.exec(`DELETE FROM b WHERE id = 2`, `UPDATE b SET v = 'paused' WHERE id = 3`)
	for i := range 2 { // the second by a session that pauses
		p.exec(fmt.Sprintf(`INSERT INTO other VALUES (%d, 'on')`, i))
		p.arrives(ctx, fmt.Sprintf(`SELECT v FROM other WHERE id = %d`, i), "on")
	}
	loaded("a", 2)
	p.change(engine.ResumeObjects, "public.b")
	loaded("b", 2)
	p.stands(ctx, "b", state.Streaming)
	p.exec(`INSERT INTO a VALUES (4, 'live')`, `INSERT INTO b VALUES (4, 'live')`)
	for _, table := range []string{"a", "b"} {
		p.arrives(ctx, `SELECT max(v) FROM `+table+` WHERE id = 4`, "live")
	}
	p.expect("1x 3x 4live")
	stop()
	p.verify()
}
