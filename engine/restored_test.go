package engine_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// restorable is a server with a table a that is loaded, one change delivered, and
// another table that the pipeline leaves out.
func restorable(t *testing.T, dir string) (server *pgserver.Server, run func() error, exec func(statements ...string)) {
	t.Helper()
	const database = "shop"
	server = pgserver.Own(t, pgserver.Options{})
	exec = func(statements ...string) {
		t.Helper()
		if err := server.Exec(t.Context(), database, statements...); err != nil {
			t.Fatal(err)
		}
	}
	run = func() error {
		t.Helper()
		return runOnce(t, pipelineIn(t, dir, server, database, `[objects]`, `include = ["public.a"]`))
	}
	if err := server.Exec(t.Context(), "postgres", "CREATE DATABASE "+database); err != nil {
		t.Fatal(err)
	}
	exec(`CREATE TABLE a (id int PRIMARY KEY, v text)`, `CREATE TABLE other (v text)`, `INSERT INTO a VALUES (1, 'loaded')`)
	if err := run(); err != nil {
		t.Fatal(err)
	}
	exec(`INSERT INTO a VALUES (2, 'logged')`)
	if err := run(); err != nil {
		t.Fatal(err)
	}
	return server, run, exec
}

const muchLog = `INSERT INTO other SELECT repeat('x', 1000) FROM generate_series(1, 2000)`

// TestRestoredCopy puts back an earlier copy of the server's disk, on the same
// timeline and with the slot of then: no check of either tells. That is not passed
// over, whether the server has come to the destination's position meanwhile or not.
func TestRestoredCopy(t *testing.T) {
	for name, after := range map[string]struct{ statement, reason string }{
		"behind": {`INSERT INTO a VALUES (4, 'instead')`, "the log of the server ends at"},
		"beyond": {muchLog, "is not the one that was taken up to"},
	} {
		t.Run(name, func(t *testing.T) {
			server, run, exec := restorable(t, t.TempDir())
			restore := pgserver.Copied(t, server)
			exec(`INSERT INTO other SELECT repeat('x', 1000) FROM generate_series(1, 100)`, `INSERT INTO a VALUES (3, 'lost')`)
			if err := run(); err != nil {
				t.Fatal(err)
			}
			restore()
			exec(after.statement)
			var gap *engine.GapError
			if err := run(); !errors.As(err, &gap) || !strings.Contains(gap.Reason, after.reason) || !strings.Contains(gap.Reason, "restored") {
				t.Errorf("at a server that was restored: %v", err)
			}
		})
	}
}

// TestRestoredBehindIdle restores a server that had passed other log meanwhile,
// and the slot with it, but has every row of the destination: what it writes in
// place of that log is replicated.
func TestRestoredBehindIdle(t *testing.T) {
	dir := t.TempDir()
	server, run, exec := restorable(t, dir)
	restore := pgserver.Copied(t, server)
	exec(muchLog)
	for range 2 { // the second knows that the slot has moved on
		if err := run(); err != nil {
			t.Fatal(err)
		}
	}
	restore()
	exec(`INSERT INTO a VALUES (3, 'after')`)
	if err := run(); err != nil {
		t.Fatal(err)
	}
	p := pipelineIn(t, dir, server, "shop", `[objects]`, `include = ["public.a"]`)
	defer p.Close(t.Context())
	if got := rowsAt(t, p); got != "1loaded 2logged 3after" {
		t.Errorf("the destination has %q", got)
	}
}

// TestSlotGoesBack crashes the server, whose slot is then where it was at the last
// checkpoint: what comes again is what the destination has.
func TestSlotGoesBack(t *testing.T) {
	dir := t.TempDir()
	server, run, exec := restorable(t, dir)
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := server.StartAgain(t.Context()); err != nil {
		t.Fatal(err)
	}
	exec(`INSERT INTO a VALUES (3, 'after')`)
	if err := run(); err != nil {
		t.Fatal(err)
	}
	p := pipelineIn(t, dir, server, "shop", `[objects]`, `include = ["public.a"]`)
	defer p.Close(t.Context())
	if got := rowsAt(t, p); got != "1loaded 2logged 3after" {
		t.Errorf("the destination has %q", got)
	}
}

// TestRestoredWhileSpooling restores the source while the destination is away: what
// is in the spool is not of that log, and neither may the slot pass it.
func TestRestoredWhileSpooling(t *testing.T) {
	const database = "shop"
	source, target := pgserver.Own(t, pgserver.Options{}), pgserver.Own(t, pgserver.Options{})
	exec := func(statements ...string) {
		t.Helper()
		if err := source.Exec(t.Context(), database, statements...); err != nil {
			t.Fatal(err)
		}
	}
	if err := source.Exec(t.Context(), "postgres", "CREATE DATABASE "+database); err != nil {
		t.Fatal(err)
	}
	exec(`CREATE TABLE a (id int PRIMARY KEY, v text)`)
	dir := t.TempDir()
	write := func(from int) {
		t.Helper()
		for ; from%10_000 < 8000; from += 1000 {
			exec(fmt.Sprintf(`INSERT INTO a SELECT n, repeat('x', 400) FROM generate_series(%d, %d) n`, from, from+999))
		}
	}
	p := toServer(t, dir, source, database, target, "postgres")
	stop := started(t, p)
	streams(t, p)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	restore := pgserver.Copied(t, source)
	p = toServer(t, dir, source, database, target, "postgres")
	stop = started(t, p)
	streams(t, p)
	if err := target.Kill(); err != nil {
		t.Fatal(err)
	}
	write(0)
	passes(t, source, database)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	restore()
	write(10_000)
	write(20_000)
	var gap *engine.GapError
	if err := runOnce(t, toServer(t, dir, source, database, target, "postgres")); !errors.As(err, &gap) || !strings.Contains(gap.Reason, "restored") {
		t.Errorf("at a server that was restored while the log was spooled: %v", err)
	}
}
