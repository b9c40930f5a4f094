package main

import (
	"context"
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
	"github.com/leat-etl/leat/state"
)

// becomes waits until objects list says that a table is in a state.
func (s *site) becomes(table, want string) {
	s.t.Helper()
	var r result
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		r = s.leat("objects", "list", s.file)
		for line := range strings.Lines(r.out) {
			if rest, ok := strings.CutPrefix(line, s.database+"."+table+" "); ok && strings.HasPrefix(strings.TrimSpace(rest), want+"  ") {
				return
			}
		}
		runtime.Gosched()
	}
	s.t.Fatalf("%s never became %s\n%s%s", table, want, r.out, r.err)
}

// until waits until a statement of the source does not fail.
func (s *site) until(statement string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	for err := errors.New("not tried"); err != nil; {
		if err = s.server.Exec(ctx, s.database, statement); ctx.Err() != nil {
			s.t.Fatalf("%s: %v", statement, err)
		}
	}
}

// edit changes the pipeline file.
func (s *site) edit(old, with string) {
	s.t.Helper()
	if err := os.WriteFile(s.file, []byte(strings.Replace(s.text(), old, with, 1)), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// TestObjectsOfARunningPipeline skips, includes and loads tables again while the
// others go on.
func TestObjectsOfARunningPipeline(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	p := s.start()
	p.listens()
	s.becomes("public.customers", state.Streaming)

	s.expect(s.leat("objects", "skip", s.file, "public.customer"), exitUsage, `did you mean "public.customers"?`, "leat objects list")
	s.expect(s.leat("objects", "skip", s.file, "public.customers"), exitOK, "customers", "SKIPPED")
	s.until("SELECT 1 / (1 - count(*)) FROM pg_publication_tables WHERE tablename = 'customers'")
	s.exec("INSERT INTO customers VALUES (901, 'unseen@example.com')", "DELETE FROM customers WHERE id = 7",
		"INSERT INTO orders VALUES (901, 'goes on', 1, NULL)")
	s.await("SELECT note FROM orders WHERE id = 901", "goes on")
	s.becomes("public.customers", state.Skipped)
	s.expect(s.leat("query", s.file, "SELECT count(*) AS n FROM customers WHERE id = 901"), exitOK, "N\n0")
	s.expect(s.leat("status", s.file), exitOK, "1       SKIPPED    "+s.database+".public.customers")
	s.expect(s.leat("verify", s.file), exitOK, "what was compared is equal")
	s.expect(s.leat("objects", "restart", s.file, "public.customers", "--yes"), exitUsage, "it is skipped", "leat objects include")

	s.expect(s.leat("objects", "include", s.file, "public.cust*"), exitOK, "QUEUED")
	s.await("SELECT email FROM customers WHERE id = 901", "unseen@example.com")
	s.becomes("public.customers", state.Streaming)
	s.expect(s.leat("verify", s.file), exitOK, "source and destination are equal")

	s.expect(s.leat("query", s.file, "SELECT count(*) AS n FROM orders"), exitOK, "N\n501")
	s.expect(s.leat("objects", "set-position", s.file, "public.orders", "7", "--yes"), exitUsage, "it follows the log", "leat objects restart")
	s.expect(s.leat("objects", "restart", s.file, "public.orders"), exitUsage, "starts the ingestion anew of "+s.database+".public.orders", "--yes")
	s.expect(s.leat("objects", "restart", s.file, "public.orders", "--yes"), exitOK, "QUEUED")
	s.exec("INSERT INTO orders VALUES (902, 'beside', 1, NULL)", "UPDATE customers SET email = 'new@example.com' WHERE id = 8")
	p.says("loading a table again")
	s.await("SELECT note FROM orders WHERE id = 902", "beside")
	s.await("SELECT email FROM customers WHERE id = 8", "new@example.com")
	s.becomes("public.orders", state.Streaming)
	s.expect(s.leat("verify", s.file), exitOK, "source and destination are equal", "502")
	if code := p.stop(); code != exitOK {
		t.Errorf("exit code %d\n%s", code, p.out)
	}
	s.mended()
}

// TestObjectsOfAStoppedPipeline notes what the next run is to do.
func TestObjectsOfAStoppedPipeline(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	s.expect(s.leat("objects", "skip", s.file, "public.orders"), exitFailure, "has never run", "leat run")
	s.expect(s.run(), exitOK)
	r := s.leat("--json", "objects", "skip", s.file, "public.*")
	if got := decode[[]state.Object](s, r); len(got) != 2 || got[0].State != state.Skipped || got[0].Choice != state.Skip {
		t.Errorf("objects skip --json: %+v", got)
	}
	s.expect(s.run(), exitOK) // with nothing selected
	s.exec("DELETE FROM orders WHERE id < 10", "INSERT INTO orders VALUES (911, 'unseen', 1, NULL)")
	s.expect(s.run(), exitOK)
	s.expect(s.leat("query", s.file, "SELECT count(*) AS n FROM orders WHERE id < 10 AND NOT __leat_marked_deleted"), exitOK, "N\n9")
	s.expect(s.leat("objects", "include", s.file, "public.orders"), exitOK, "QUEUED", "does not run", "leat run")
	s.expect(s.leat("objects", "list", s.file), exitOK, "QUEUED", "SKIPPED")
	s.expect(s.run(), exitOK)
	s.expect(s.leat("verify", s.file), exitOK, "customers is not compared: it is SKIPPED", "what was compared is equal")
	s.expect(s.leat("query", s.file, "SELECT count(*) AS n FROM orders WHERE NOT __leat_marked_deleted"), exitOK, "N\n492")
	s.expect(s.leat("objects", "include", s.file, "public.customers"), exitOK)

	s.expect(s.run(), exitOK)
	s.expect(s.leat("objects", "pause", s.file, "public.orders"), exitOK, "PAUSED", "leat objects resume")
	s.exec("UPDATE orders SET note = 'waits' WHERE id = 50", "UPDATE customers SET email = 'goes on' WHERE id = 50")
	s.expect(s.run(), exitOK)
	s.expect(s.leat("query", s.file, "SELECT note FROM orders WHERE id = 50"), exitOK, "order 50")
	s.expect(s.leat("query", s.file, "SELECT email FROM customers WHERE id = 50"), exitOK, "goes on")
	s.expect(s.leat("status", s.file), exitOK, "PAUSED")
	s.expect(s.leat("objects", "resume", s.file, "public.orders"), exitOK, "QUEUED")
	s.expect(s.leat("objects", "resume", s.file, "public.orders"), exitUsage, "it is not paused")
	s.mended()
	s.expect(s.leat("query", s.file, "SELECT note FROM orders WHERE id = 50"), exitOK, "waits")

	s.damage("DELETE FROM orders WHERE id = 20; INSERT INTO orders SELECT * REPLACE (9999 AS id) FROM orders WHERE id = 21")
	s.expect(s.leat("verify", s.file), exitDifferent)
	s.expect(s.leat("objects", "restart", s.file, s.database+".public.orders", "--yes"), exitOK, "QUEUED")
	s.mended()
	if objects := decode[[]state.Object](s, s.leat("--json", "objects", "list", s.file)); len(objects) != 2 || objects[0].State != state.Streaming || objects[1].Restart {
		t.Errorf("objects list --json: %+v", objects)
	}
}

// TestObjectVerbsOfQueries has the runs of a pipeline that queries its source
// leave tables out and read them again.
func TestObjectVerbsOfQueries(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	s.extra = "[objects.\"public.*\"]\nquery_mode = \"incrementing_append_only\"\nincrementing_column = \"id\"\n"
	s.write()
	s.edit(`heartbeat = "1s"`, `mode = "table"`)
	s.expect(s.run(), exitOK)
	s.expect(s.leat("objects", "skip", s.file, "public.customers"), exitOK, "SKIPPED")
	s.exec("INSERT INTO customers VALUES (921, 'later')", "DELETE FROM orders WHERE id = 3")
	s.expect(s.run(), exitOK)
	s.expect(s.leat("query", s.file, "SELECT count(*) AS n FROM customers"), exitOK, "N\n100")
	s.expect(s.leat("objects", "include", s.file, "public.customers"), exitOK)
	s.expect(s.leat("objects", "restart", s.file, "public.orders", "--yes"), exitOK)
	s.expect(s.run(), exitOK)
	s.expect(s.leat("query", s.file, "SELECT count(*) AS n FROM customers"), exitOK, "N\n101")
	s.expect(s.leat("query", s.file, "SELECT count(*) AS n FROM orders WHERE NOT __leat_marked_deleted"), exitOK, "N\n499")

	s.exec("UPDATE orders SET note = 'again' WHERE id > 400")
	s.expect(s.leat("objects", "set-position", s.file, "public.orders", "450"), exitUsage, "moves the cursor of", "--yes")
	s.expect(s.leat("objects", "set-position", s.file, "public.orders", "seven", "--yes"), exitUsage, `"seven" is no value of type int4`, "what to do")
	s.expect(s.leat("objects", "set-position", s.file, "public.orders", "450", "--yes"), exitOK, "QUEUED", "id = 450")
	s.expect(s.run(), exitOK)
	s.expect(s.leat("query", s.file, "SELECT min(id) AS n FROM orders WHERE note = 'again'"), exitOK, "N\n450")
	s.expect(s.leat("objects", "set-mode", s.file, "public.orders"), exitUsage, "--query-mode", "--reset")
	s.expect(s.leat("objects", "set-mode", s.file, "public.orders", "--query-mode", "delta_timestamp"), exitUsage, "timestamp_column is missing")
	s.expect(s.leat("objects", "set-mode", s.file, "public.orders", "--query-mode", "full_load"), exitUsage, "starts the ingestion anew", "--yes")
	s.expect(s.leat("objects", "set-mode", s.file, "public.orders", "--query-mode", "full_load", "--yes"), exitOK, "QUEUED", "an operator has it read by full_load")
	s.expect(s.leat("plan", s.file), exitOK, "read by full_load, as an operator decided", "--reset")
	s.expect(s.run(), exitOK)
	s.expect(s.leat("query", s.file, "SELECT min(id) AS n FROM orders WHERE note = 'again'"), exitOK, "N\n401")
	s.expect(s.leat("objects", "list", s.file), exitOK, "FINISHED", "ACTIVE", "as an operator decided")
	s.expect(s.leat("status", s.file), exitOK, "FINISHED", "is read by full_load, as an operator decided")
	s.expect(s.leat("objects", "set-mode", s.file, "public.orders", "--reset", "--query-mode", "xmin"), exitUsage, "takes no mode")
	s.expect(s.leat("objects", "set-mode", s.file, "public.orders", "--reset", "--yes"), exitOK, "incrementing_append_only")
}
