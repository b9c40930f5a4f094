package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
	"github.com/leat-etl/leat/plugins/capability"
	"github.com/leat-etl/leat/state"
)

// TestLogicalMessages replicates logical messages as rows of a table: those of
// transactions with them, in progress or not, those outside by themselves, each
// once, and through a transform.
func TestLogicalMessages(t *testing.T) {
	destinations(t, func(t *testing.T, to func(*polled) *polled) {
		server := pgserver.Test(t, pgserver.Options{Settings: map[string]string{"logical_decoding_work_mem": "64kB"}})
		p := to(polledOn(t, server, `CREATE TABLE a (id int PRIMARY KEY, v text)`))
		const transform = "[[transforms]]\nplugin = \"mask\"\ntables = [\"leat.messages\"]\nconfig = { columns = [\"prefix\"], method = \"keep-last\", keep = 2 }"
		p.open(`messages = ["audit.*", "note"]`, transform)
		p.mustRun()
		text := map[string]string{"duckdb": "decode(content)", "postgres": "convert_from(content, 'UTF8')"}[p.plugin]
		all := fmt.Sprintf(`SELECT string_agg(concat(prefix, ' ', %s, ' ', transactional, ' ', xid IS NOT NULL), '; ' ORDER BY length(lsn), lsn) FROM leat.messages`, text)
		p.exec(`DO $$ BEGIN
				INSERT INTO a VALUES (1, 'with it');
				PERFORM pg_logical_emit_message(true, 'audit.in', 'begun');
				BEGIN PERFORM pg_logical_emit_message(true, 'audit.in', 'taken back'); RAISE EXCEPTION 'no'; EXCEPTION WHEN raise_exception THEN NULL; END;
				PERFORM pg_logical_emit_message(true, 'other', 'not asked for');
			END $$`,
			`SELECT pg_logical_emit_message(false, 'note', 'alone')`,
			`DO $$ BEGIN PERFORM pg_logical_emit_message(true, 'audit.in', 'lost'); PERFORM pg_logical_emit_message(false, 'note', 'stays'); RAISE EXCEPTION 'no'; EXCEPTION WHEN raise_exception THEN NULL; END $$`,
			`BEGIN; SELECT pg_logical_emit_message(true, 'audit.in', 'of a large one'); INSERT INTO a SELECT n, repeat('x', 100) FROM generate_series(2, 3000) n; COMMIT`)
		want := "***in begun true true; ***te alone false false; ***te stays false false; ***in of a large one true true"
		if p.plugin == "postgres" {
			want = strings.NewReplacer("true", "t", "false", "f").Replace(want)
		}
		p.mustRun()
		if got := p.ask(all); got != want {
			t.Errorf("messages %q, want %q", got, want)
		}
		p.open(`messages = ["audit.*", "note"]`, transform)
		p.exec(`INSERT INTO a VALUES (0, 'more')`)
		p.mustRun()
		if got := p.ask(all); got != want {
			t.Errorf("after another start: messages %q, want %q", got, want)
		}
		p.verify()
		for _, o := range mustObjects(p) {
			if o.State == state.Deleted || o.Table.Schema == "leat" {
				t.Errorf("object %+v", o)
			}
		}
	})
}

func mustObjects(p *polled) []state.Object {
	p.t.Helper()
	objects, err := p.Objects()
	if err != nil {
		p.t.Fatal(err)
	}
	return objects
}

// TestMessagesWhileRunning sees a message outside transactions come and the
// slot move past it, with nothing else in the log.
func TestMessagesWhileRunning(t *testing.T) {
	p := newPolled(t, `CREATE TABLE a (id int PRIMARY KEY, v text)`).open(`heartbeat = "1s"`+"\nmessages = [\"*\"]", "")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	stop := p.started(ctx)
	p.stands(ctx, "a", state.Streaming)
	p.exec(`SELECT pg_logical_emit_message(false, 'note', 'n' || n) FROM generate_series(1, 100) n`)
	p.arrives(ctx, `SELECT concat(count(*), ' ', count(DISTINCT lsn), ' ', min(prefix), ' ', max(prefix)) FROM leat.messages`, "100 100 note note") // no heartbeat
	stop()
}

// TestMessageBeyondTheLimit becomes a failed event with its place in the log.
func TestMessageBeyondTheLimit(t *testing.T) {
	p := newPolled(t, `CREATE TABLE a (id int PRIMARY KEY, v text)`)
	p.limits = `max_event_bytes = "1MB"`
	p.open(`messages = ["audit"]`, "")
	p.mustRun()
	p.exec(`SELECT pg_logical_emit_message(true, 'audit', repeat('x', 2000000))`, `SELECT pg_logical_emit_message(true, 'audit', 'small')`)
	p.mustRun()
	if got := p.ask(`SELECT decode(content) FROM leat.messages`); got != "small" {
		t.Errorf("the destination has %q", got)
	}
	n := 0
	for f, err := range p.FailedEvents(state.FailedFilter{}) {
		if err != nil || f.Table.Name != "messages" || !strings.Contains(f.Reason, "max_event_bytes") {
			t.Errorf("failed event %+v, %v", f, err)
		}
		n++
	}
	if n != 1 {
		t.Errorf("%d failed events", n)
	}
}

// TestTableWithTheNameOfMessages is refused before its rows are mixed with them.
func TestTableWithTheNameOfMessages(t *testing.T) {
	p := newPolled(t, `CREATE SCHEMA leat`, `CREATE TABLE leat.messages (id int PRIMARY KEY)`).open(`messages = ["*"]`, "[objects]\ninclude = [\"*.*\"]")
	var refused *capability.Error
	if err := p.run(engine.RunOptions{}); !errors.As(err, &refused) || !strings.Contains(refused.Hint, "exclude") {
		t.Errorf("a table of that name: %v", err)
	}
}
