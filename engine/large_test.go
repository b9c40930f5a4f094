package engine_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
	"github.com/leat-etl/leat/state"
)

// TestTooLargeEventsFailAlone sets rows aside that are beyond the limit, of
// the load and of the log, with their keys and sizes; later changes of their
// keys wait, all others go on.
func TestTooLargeEventsFailAlone(t *testing.T) {
	server := pgserver.Test(t, pgserver.Options{})
	database := server.Database(t)
	exec := func(sql ...string) {
		t.Helper()
		if err := server.Exec(t.Context(), database, sql...); err != nil {
			t.Fatal(err)
		}
	}
	large := `(SELECT string_agg(md5(n::text), '') FROM generate_series(1, 70000) n)` // 2.24 MB
	exec(`CREATE TABLE a (id int, big text, name text, PRIMARY KEY (name, id))`, `CREATE TABLE k (big text)`,
		`INSERT INTO a VALUES (1, `+large+`, 'loaded'), (2, 'small', 'loaded')`, `INSERT INTO k VALUES ('x'), (`+large+`)`)
	p := pipelineOf(t, server, database, "[engine]", `max_event_bytes = "2MB"`)
	catchUp := func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := p.Run(ctx, engine.RunOptions{UntilCaughtUp: true}); err != nil {
			t.Fatal(err)
		}
	}
	catchUp()
	exec(`INSERT INTO a VALUES (3, `+large+`, 'logged'), (4, 'small', 'logged')`, `UPDATE a SET id = 30 WHERE id = 3`,
		`UPDATE a SET big = 'less' WHERE id = 1`, `UPDATE a SET big = big || 'er' WHERE id = 2`)
	catchUp()
	var got []string
	for f, err := range p.FailedEvents(state.FailedFilter{WithPayload: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if f.Size == 0 {
			got = append(got, f.Op+" waits")
			continue
		}
		if f.Size < 2_240_000 || f.Size > 2_250_000 || !strings.Contains(f.Reason, "max_event_bytes (2097152)") {
			t.Errorf("event of %d bytes: %s", f.Size, f.Reason)
		}
		d, err := engine.Describe(f)
		if err != nil {
			t.Fatal(err)
		}
		key := f.Op
		for _, row := range d.Rows {
			for _, c := range row.Cells {
				if c.Value != "" {
					key += " " + c.Value
				}
			}
		}
		got = append(got, key)
	}
	want := "insert 3 logged|read|read 1 loaded"
	for _, each := range strings.Split(want, "|") {
		found := 0
		for _, g := range got {
			if g == each {
				found++
			}
		}
		if found != 1 {
			t.Errorf("failed events %q, want one %q", got, each)
		}
	}
	rows := ""
	if err := p.Query(t.Context(), `SELECT coalesce(string_agg(id || big, ' ' ORDER BY id), '') || (SELECT string_agg(big, ' ') FROM k) FROM a WHERE NOT __leat_marked_deleted`, func(r engine.Rows) error {
		rows = *r.Rows[0][0]
		return nil
	}); err != nil || rows != "2smaller 4smallx" {
		t.Errorf("the destination has %q, %v", rows, err)
	}
	if r, err := p.Replay(t.Context(), nil); err != nil || r.Replayed != 0 || len(r.Failed) != 3 {
		t.Errorf("replay: %d replayed, %d failed, %v", r.Replayed, len(r.Failed), err)
	}
}

// TestKeyChangesInALargeTransaction: the session ends after a key has changed, as the
// table may belong into the other publication, and not before all rows that came
// with it are at the destination, however long that takes.
func TestKeyChangesInALargeTransaction(t *testing.T) {
	p := newPolled(t, `CREATE TABLE a (id int PRIMARY KEY, k int NOT NULL, v text)`, `INSERT INTO a SELECT n, n, 'x' FROM generate_series(1, 1000) n`)
	p.open("", "")
	p.mustRun()
	p.exec(`BEGIN; ALTER TABLE a DROP CONSTRAINT a_pkey, ADD PRIMARY KEY (k); UPDATE a SET v = 'y'; INSERT INTO a SELECT n, n, 'z' FROM generate_series(1001, 100000) n; COMMIT`)
	p.mustRun()
	if got := p.ask(`SELECT count(*) || ' ' || count(*) FILTER (WHERE v = 'y') FROM a`); got != "100000 1000" {
		t.Errorf("the destination has %s", got)
	}
	p.verify()
}
