package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
	"github.com/leat-etl/leat/engine/postgres"
)

// standbyPair is a primary with a table a and a standby of it.
func standbyPair(t *testing.T) (primary, standby *pgserver.Server, database string) {
	t.Helper()
	primary = pgserver.Own(t, pgserver.Options{})
	const name = "shop"
	if err := primary.Exec(t.Context(), "postgres", "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	if err := primary.Exec(t.Context(), name, `CREATE TABLE a (id int PRIMARY KEY, v text)`, `INSERT INTO a VALUES (1, 'loaded')`); err != nil {
		t.Fatal(err)
	}
	settings := map[string]string{}
	if primary.Major() >= 17 {
		settings["sync_replication_slots"] = "on"
	}
	return primary, pgserver.Standby(t, primary, settings), name
}

// awaitSQL asks until the answer is t.
func awaitSQL(t *testing.T, server *pgserver.Server, database, sql string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, server.DSN(database))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	waitFor(t, ctx, sql, func() bool {
		var reached bool
		if err := conn.QueryRow(ctx, sql).Scan(&reached); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		return reached
	})
}

// runOnce lets a pipeline catch up, or fail, and closes it.
func runOnce(t *testing.T, p *engine.Pipeline) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return errors.Join(p.Run(ctx, engine.RunOptions{UntilCaughtUp: true}), p.Close(t.Context()))
}

// rowsAt returns the rows of a at the destination.
func rowsAt(t *testing.T, p *engine.Pipeline) string {
	t.Helper()
	rows := ""
	if err := p.Query(t.Context(), `SELECT string_agg(id || v, ' ' ORDER BY id) FROM a WHERE NOT __leat_marked_deleted`, func(r engine.Rows) error {
		rows = *r.Rows[0][0]
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return rows
}

// TestFailover promotes the standby of the source. From PostgreSQL 17 on it
// has a copy of the slot, and the pipeline goes on without a gap; before, the
// pipeline says why it cannot.
func TestFailover(t *testing.T) {
	primary, standby, database := standbyPair(t)
	dir := t.TempDir()
	if err := runOnce(t, pipelineIn(t, dir, primary, database)); err != nil {
		t.Fatal(err)
	}
	if err := primary.Exec(t.Context(), database, `INSERT INTO a VALUES (2, 'logged')`); err != nil {
		t.Fatal(err)
	}
	if err := runOnce(t, pipelineIn(t, dir, primary, database)); err != nil {
		t.Fatal(err)
	}
	if primary.Major() >= 17 {
		// A copy is kept for good only once the slot itself has moved on.
		p := pipelineIn(t, dir, primary, database, `heartbeat = "1s"`)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- p.Run(ctx, engine.RunOptions{}) }()
		awaitSQL(t, standby, database, `SELECT coalesce(bool_and(synced AND NOT temporary AND invalidation_reason IS NULL), false) FROM pg_replication_slots WHERE failover`)
		cancel()
		if err := errors.Join(<-ended, p.Close(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	// Not delivered when the primary dies, but at the standby.
	if err := primary.Exec(t.Context(), database, `INSERT INTO a VALUES (3, 'on its way')`); err != nil {
		t.Fatal(err)
	}
	awaitSQL(t, standby, database, `SELECT count(*) = 3 FROM a`)
	if err := primary.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := standby.Exec(t.Context(), database, `SELECT pg_promote()`, `INSERT INTO a VALUES (4, 'after')`, `UPDATE a SET v = 'changed' WHERE id = 1`); err != nil {
		t.Fatal(err)
	}
	p := pipelineIn(t, dir, standby, database)
	err := runOnce(t, p)
	if primary.Major() < 17 {
		var gap *engine.GapError
		if !errors.As(err, &gap) || !strings.Contains(gap.Reason, "sync_replication_slots") || !strings.Contains(gap.Reason, "timeline 2") {
			t.Errorf("after a failover without the slot: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	p = pipelineIn(t, dir, standby, database)
	defer p.Close(t.Context())
	if got := rowsAt(t, p); got != "1changed 2logged 3on its way 4after" {
		t.Errorf("the destination has %q", got)
	}
}

// TestPromotedTooEarly promotes a standby that has not received what the
// destination has already: that is not passed over.
func TestPromotedTooEarly(t *testing.T) {
	primary, standby, database := standbyPair(t)
	dir := t.TempDir()
	if err := runOnce(t, pipelineIn(t, dir, primary, database)); err != nil {
		t.Fatal(err)
	}
	awaitSQL(t, standby, database, `SELECT count(*) = 1 FROM a`)
	if err := standby.Exec(t.Context(), database, `ALTER SYSTEM SET primary_conninfo = ''`, `SELECT pg_reload_conf()`); err != nil {
		t.Fatal(err)
	}
	awaitSQL(t, standby, database, `SELECT count(*) = 0 FROM pg_stat_wal_receiver`)
	if err := primary.Exec(t.Context(), database, `INSERT INTO a VALUES (2, 'ahead')`); err != nil {
		t.Fatal(err)
	}
	if err := runOnce(t, pipelineIn(t, dir, primary, database)); err != nil {
		t.Fatal(err)
	}
	if err := standby.Exec(t.Context(), database, `SELECT pg_promote()`); err != nil {
		t.Fatal(err)
	}
	var gap *engine.GapError
	if err := runOnce(t, pipelineIn(t, dir, standby, database)); !errors.As(err, &gap) || !strings.Contains(gap.Reason, "promoted before it had received all") {
		t.Errorf("at a standby that was promoted too early: %v", err)
	}
}

// TestStandbyAsSource reads a standby's log, which servers before 16 cannot
// decode.
func TestStandbyAsSource(t *testing.T) {
	primary, standby, database := standbyPair(t)
	dir := t.TempDir()
	refused := func() *postgres.Error {
		t.Helper()
		var e *postgres.Error
		if err := runOnce(t, pipelineIn(t, dir, standby, database)); !errors.As(err, &e) || e.Hint == "" {
			t.Fatalf("at a standby: %v", err)
		}
		return e
	}
	if e := refused(); primary.Major() < 16 {
		if !strings.Contains(strings.Join(e.Causes, " "), "before PostgreSQL 16") {
			t.Errorf("at a standby of %d: %v, %q", primary.Major(), e, e.Causes)
		}
		return
	} else if !strings.Contains(e.Hint, "CREATE PUBLICATION") {
		t.Errorf("without a publication: %v, %q", e, e.Hint)
	} else {
		if item := checkedPublication(t, pipelineIn(t, dir, standby, database)); item.Outcome != postgres.Fail || !strings.Contains(item.Fix, "CREATE PUBLICATION") || !strings.Contains(item.Fix, "at the primary") {
			t.Errorf("check of a standby without a publication: %+v", item)
		}
		statements := strings.Split(strings.TrimSuffix(e.Hint[strings.Index(e.Hint, "\n")+1:], ";"), ";\n")
		if err := primary.Exec(t.Context(), database, statements...); err != nil {
			t.Fatal(err)
		}
	}
	loadStandby(t, pipelineIn(t, dir, standby, database), primary, standby, database)
	if err := primary.Exec(t.Context(), database, `INSERT INTO a VALUES (2, 'logged')`, `UPDATE a SET v = 'changed' WHERE id = 1`); err != nil {
		t.Fatal(err)
	}
	awaitSQL(t, standby, database, `SELECT count(*) = 2 FROM a WHERE v <> 'loaded'`)
	if err := runOnce(t, pipelineIn(t, dir, standby, database)); err != nil {
		t.Fatal(err)
	}
	p := pipelineIn(t, dir, standby, database)
	defer p.Close(t.Context())
	if got := rowsAt(t, p); got != "1changed 2logged" {
		t.Errorf("the destination has %q", got)
	}
}

// checkedPublication is what a check finds of the publication of p.
func checkedPublication(t *testing.T, p *engine.Pipeline) (found postgres.Item) {
	t.Helper()
	defer p.Close(t.Context())
	cfg, err := engine.SourceConfig(p.Spec)
	if err != nil {
		t.Fatal(err)
	}
	want := postgres.Requirements{Selection: postgres.Selection{Include: []string{"public.*"}}, Publication: engine.PublicationName(p.Spec, p.Spec.Source.Database)}
	cfg.Databases = []string{p.Spec.Source.Database}
	for _, item := range postgres.Check(t.Context(), cfg, want).Items {
		if item.Name == "publication" {
			found = item
		}
	}
	return found
}

// loadStandby loads from a standby whose primary has the publications.
func loadStandby(t *testing.T, p *engine.Pipeline, primary, standby *pgserver.Server, database string) {
	t.Helper()
	awaitSQL(t, standby, database, `SELECT count(*) = 2 FROM pg_publication`)
	snapshots, stopped := make(chan struct{}), make(chan struct{})
	go func() { // the slot waits for what a busy primary logs by itself
		defer close(stopped)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-snapshots:
				return
			case <-tick.C:
				if err := primary.Exec(context.Background(), database, `SELECT pg_log_standby_snapshot()`); err != nil {
					t.Error(err)
					return
				}
			}
		}
	}()
	defer func() { close(snapshots); <-stopped }()
	if err := runOnce(t, p); err != nil {
		t.Fatal(err)
	}
}

// TestStandbyChangesTimeline promotes a standby that is followed, or the server
// that it follows: the stream goes on through that, and the next run has no gap.
func TestStandbyChangesTimeline(t *testing.T) {
	for _, cascading := range []bool{false, true} {
		t.Run(fmt.Sprintf("cascading=%t", cascading), func(t *testing.T) {
			primary, standby, database := standbyPair(t)
			if primary.Major() < 16 {
				return
			}
			source, dir := standby, t.TempDir()
			if cascading {
				source = pgserver.Standby(t, standby, map[string]string{"sync_replication_slots": "off"})
			}
			again := func() *engine.Pipeline { return pipelineIn(t, dir, source, database, `heartbeat = "1s"`) }
			exec := func(server *pgserver.Server, statements ...string) {
				t.Helper()
				if err := server.Exec(t.Context(), database, statements...); err != nil {
					t.Fatal(err)
				}
			}
			p := again()
			publication := engine.PublicationName(p.Spec, database)
			options := `publish_via_partition_root = true`
			if primary.Major() >= 18 {
				options += `, publish_generated_columns = stored`
			}
			exec(primary, fmt.Sprintf(`CREATE PUBLICATION %s FOR TABLE ONLY a WITH (%s)`, publication, options),
				fmt.Sprintf(`CREATE PUBLICATION %s_keyless WITH (publish = 'insert, truncate', %s)`, publication, options))
			loadStandby(t, p, primary, source, database)
			p = again()
			stop := started(t, p)
			streams(t, p)
			exec(standby, `SELECT pg_promote()`, `INSERT INTO a VALUES (2, 'after')`)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			waitFor(t, ctx, "the row after the promotion", func() bool { return rowsAt(t, p) == "1loaded 2after" })
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			exec(standby, `INSERT INTO a VALUES (3, 'later')`)
			awaitSQL(t, source, database, `SELECT count(*) = 3 FROM a`)
			if err := runOnce(t, again()); err != nil {
				t.Fatal(err)
			}
			p = again()
			defer p.Close(t.Context())
			if got := rowsAt(t, p); got != "1loaded 2after 3later" {
				t.Errorf("the destination has %q", got)
			}
		})
	}
}

// TestAwaitedStandby takes away the standby that the server sends nothing without:
// that is said, and what is behind is not called nothing.
func TestAwaitedStandby(t *testing.T) {
	primary, standby, database := standbyPair(t)
	if primary.Major() < 17 {
		return
	}
	exec := func(statements ...string) {
		t.Helper()
		if err := primary.Exec(t.Context(), database, statements...); err != nil {
			t.Fatal(err)
		}
	}
	exec(`ALTER SYSTEM SET synchronized_standby_slots = 'standby'`, `SELECT pg_reload_conf()`)
	awaitSQL(t, primary, database, `SELECT active FROM pg_replication_slots WHERE slot_name = 'standby'`)
	p := pipelineIn(t, t.TempDir(), primary, database)
	stop := started(t, p)
	streams(t, p)
	if err := standby.Kill(); err != nil {
		t.Fatal(err)
	}
	exec(`INSERT INTO a VALUES (2, 'held back')`)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	waitFor(t, ctx, "the standby to be named", func() bool {
		d := p.Status().Databases[0]
		return strings.Contains(d.Awaits, "slots standby have it") && d.AwaitsFix != "" && d.LagBytes > 0
	})
	var held *postgres.Error
	if err := p.CatchUp(ctx); !errors.As(err, &held) || held.Hint == "" || !strings.Contains(err.Error(), "slots standby have it") {
		t.Errorf("waiting for what is held back: %v", err)
	}
	if err := standby.StartAgain(t.Context()); err != nil {
		t.Fatal(err)
	}
	waitFor(t, ctx, "the row that was held back", func() bool { return rowsAt(t, p) == "1loaded 2held back" && p.Status().Databases[0].Awaits == "" })
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

// TestGuardFollowsFailover fails over to the other one of the hosts while the
// pipeline runs: what the slot keeps is measured there.
func TestGuardFollowsFailover(t *testing.T) {
	primary, standby, database := standbyPair(t)
	if primary.Major() < 17 {
		return
	}
	p := pipelineFor(t, t.TempDir(), primary, fmt.Sprintf("database = %q", database), `heartbeat = "1s"`)
	p.Spec.Source.Hosts = []string{fmt.Sprintf("%s:%d", primary.Host(), primary.Port()), fmt.Sprintf("%s:%d", standby.Host(), standby.Port())}
	stop := started(t, p)
	streams(t, p)
	awaitSQL(t, standby, database, `SELECT coalesce(bool_and(synced AND NOT temporary AND invalidation_reason IS NULL), false) FROM pg_replication_slots WHERE failover`)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	waitFor(t, ctx, "the guard at the primary", func() bool { return p.Status().Databases[0].RetainedWAL > 0 })
	if err := primary.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := standby.Exec(t.Context(), database, `ALTER SYSTEM SET synchronized_standby_slots = 'none_yet'`, `SELECT pg_promote()`, `SELECT pg_reload_conf()`); err != nil {
		t.Fatal(err)
	}
	waitFor(t, ctx, "the guard at the promoted standby", func() bool { return strings.Contains(p.Status().Databases[0].Awaits, "none_yet") })
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}
