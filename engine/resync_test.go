package engine_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// TestResyncAfterALostSlot loads every table again where the slot is gone:
// what was deleted in between is marked, what was changed is replaced, and the
// log goes on.
func TestResyncAfterALostSlot(t *testing.T) {
	server := pgserver.Test(t, pgserver.Options{})
	database := server.Database(t)
	exec := func(sql ...string) {
		t.Helper()
		if err := server.Exec(t.Context(), database, sql...); err != nil {
			t.Fatal(err)
		}
	}
	exec(`CREATE TABLE a (id int PRIMARY KEY, v text)`, `INSERT INTO a SELECT n, 'loaded' FROM generate_series(1, 5) n`)
	dir := t.TempDir()
	if err := runOnce(t, pipelineIn(t, dir, server, database)); err != nil {
		t.Fatal(err)
	}
	exec(`SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()`,
		`DELETE FROM a WHERE id = 2`, `UPDATE a SET v = 'unseen' WHERE id = 3`, `INSERT INTO a VALUES (6, 'unseen')`)
	var gap *engine.GapError
	if err := runOnce(t, pipelineIn(t, dir, server, database)); !errors.As(err, &gap) || !strings.Contains(gap.Hint, "--resync") {
		t.Fatalf("without its slot: %v", err)
	}
	p := pipelineIn(t, dir, server, database)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := errors.Join(p.Run(ctx, engine.RunOptions{UntilCaughtUp: true, Resync: true}), p.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	exec(`UPDATE a SET v = 'logged' WHERE id = 4`)
	if err := runOnce(t, pipelineIn(t, dir, server, database)); err != nil {
		t.Fatal(err)
	}
	p = pipelineIn(t, dir, server, database)
	defer p.Close(t.Context())
	if got := rowsAt(t, p); got != "1loaded 3unseen 4logged 5loaded 6unseen" {
		t.Errorf("the destination has %q", got)
	}
	if v, err := p.Verify(t.Context(), nil, nil); err != nil || !v.Equal() {
		t.Errorf("verify: %+v, %v", v, err)
	}
}

// TestAnotherServer answers for the source with a server that is none of its: what
// to do is to correct the address, before anything is loaded from there. That it has
// the same table, in no publication, says nothing of the right one's.
func TestAnotherServer(t *testing.T) {
	server, other := pgserver.Own(t, pgserver.Options{}), pgserver.Own(t, pgserver.Options{})
	database, dir := "shop", t.TempDir()
	exec := func(s *pgserver.Server, database, sql string) {
		t.Helper()
		if err := s.Exec(t.Context(), database, sql); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range []*pgserver.Server{server, other} {
		exec(s, "postgres", "CREATE DATABASE shop")
		exec(s, database, "CREATE TABLE a (id int PRIMARY KEY, v text)")
	}
	again := func(want string) {
		t.Helper()
		if err := runOnce(t, pipelineIn(t, dir, server, database)); err != nil {
			t.Fatal(err)
		}
		p := pipelineIn(t, dir, server, database)
		defer p.Close(t.Context())
		if err := p.Query(t.Context(), `SELECT string_agg(id || __leat_op_type, ' ' ORDER BY id) FROM a`, func(r engine.Rows) error {
			if got := *r.Rows[0][0]; got != want {
				t.Errorf("the destination has %q, want %q", got, want)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	exec(server, database, "INSERT INTO a VALUES (1)")
	again("1R")
	exec(server, database, "INSERT INTO a VALUES (2)")
	again("1R 2I")
	var gap *engine.GapError
	if err := runOnce(t, pipelineIn(t, dir, other, database)); !errors.As(err, &gap) || !strings.HasPrefix(gap.Hint, "if this is not the server that has the data now, correct host") || !strings.Contains(gap.Hint, "--resync") {
		t.Errorf("at another server: %v", err)
	}
	exec(server, database, "INSERT INTO a VALUES (3)")
	again("1R 2I 3I")
}
