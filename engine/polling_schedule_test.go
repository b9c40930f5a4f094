package engine_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/state"
)

// TestSchedule lets a pipeline run each hour: a run that was missed is caught
// up once, one that is asked for comes at once, and the next is shown.
func TestSchedule(t *testing.T) {
	p := newPolled(t, `CREATE TABLE a (id int PRIMARY KEY, v text)`, `INSERT INTO a VALUES (1, 'x')`, `CREATE TABLE other (id int PRIMARY KEY)`)
	p.open(tableMode+"\nfrequency = \"1h\"", "")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	start := func() (stop func()) {
		t.Helper()
		running, end := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- p.Run(running, engine.RunOptions{}) }()
		return func() {
			t.Helper()
			end()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	}
	waits := func() bool {
		d := p.Status().Databases
		return len(d) == 1 && d[0].Phase == "waiting" && d[0].NextRun.After(time.Now())
	}
	stop := start()
	waitFor(t, ctx, "the first run", func() bool { return waits() && p.Status().Batches >= 2 })
	p.expect("1x")
	d := p.Status().Databases[0]
	if next := d.NextRun.Sub(d.LastRun).Round(time.Second); next != time.Hour {
		t.Errorf("the next run is %s after the last", next)
	}
	p.exec(`INSERT INTO a VALUES (2, 'y')`, `INSERT INTO other VALUES (1)`)
	before := p.Status().Batches
	if err := p.RunNow(ctx, []string{"public.a"}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, ctx, "the run that was asked for", func() bool { return waits() && p.Status().Batches > before })
	p.expect("1x 2y")
	if got := p.ask(`SELECT count(*) FROM other`); got != "0" {
		t.Errorf("a table that was not asked for has %s rows", got)
	}
	var refused *engine.RequestError
	if err := p.RunNow(ctx, []string{"public.none"}); !errors.As(err, &refused) {
		t.Errorf("an unknown table: %v", err)
	}
	stop()
	// Not due: nothing is read until it is.
	p.open(tableMode+"\nfrequency = \"1h\"", "")
	p.exec(`INSERT INTO a VALUES (3, 'z')`)
	stop = start()
	waitFor(t, ctx, "the schedule", waits)
	if n := p.Status().Batches; n != 0 {
		t.Errorf("%d deliveries before the run was due", n)
	}
	if err := p.CatchUp(ctx); err != nil {
		t.Fatal(err)
	}
	p.expect("1x 2y 3z")
	stop()
	// Missed: with a shorter frequency the last run is long ago.
	p.open(tableMode+"\nfrequency = \"1s\"", "")
	p.exec(`INSERT INTO a VALUES (4, 'w')`)
	stop = start()
	waitFor(t, ctx, "the run that was missed", func() bool { return p.ask(`SELECT count(*) FROM a`) == "4" })
	stop()
}

// TestScheduledLog follows the log each hour and keeps its place in between.
func TestScheduledLog(t *testing.T) {
	p := newPolled(t, `CREATE TABLE a (id int PRIMARY KEY, v text)`, `INSERT INTO a VALUES (1, 'x')`)
	p.open("frequency = \"1h\"", "")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ended := make(chan error, 1)
	running, end := context.WithCancel(ctx)
	go func() { ended <- p.Run(running, engine.RunOptions{}) }()
	waits := func() bool {
		d := p.Status().Databases
		return len(d) == 1 && d[0].Phase == "waiting" && d[0].NextRun.After(time.Now())
	}
	waitFor(t, ctx, "the first run", waits)
	p.expect("1x")
	p.exec(`UPDATE a SET v = 'y'`)
	if err := p.CatchUp(ctx); err != nil {
		t.Fatal(err)
	}
	p.expect("1y")
	end()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestLockedTableIsReadLater: somebody has locked one table for longer than a run
// waits for it. The others are read, it says what it waits for, and is read once
// it is free.
func TestLockedTableIsReadLater(t *testing.T) {
	p := newPolled(t, `CREATE TABLE a (id int PRIMARY KEY, v text)`, `CREATE TABLE b (id int PRIMARY KEY)`)
	p.open(tableMode+"\nfrequency = \"1s\"", "")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, p.server.DSN(p.database))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	lock, err := conn.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock.Exec(ctx, `LOCK TABLE b; INSERT INTO b VALUES (1)`); err != nil {
		t.Fatal(err)
	}
	p.started(ctx)
	p.stands(ctx, "b", state.FailedState)
	if o := p.object("b"); !strings.Contains(o.Reason, "lock") || !strings.Contains(o.Fix, "pg_locks") {
		t.Errorf("the table is noted as %+v", o)
	}
	p.exec(`INSERT INTO a VALUES (1, 'x')`)
	p.arrives(ctx, `SELECT count(*) FROM a`, "1")
	if err := lock.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	p.arrives(ctx, `SELECT count(*) FROM b`, "1")
	p.stands(ctx, "b", state.Active)
}
