package capability

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/leat-etl/leat/engine/enginetest/faultproxy"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// TestLongStatementsTell builds an index that takes until what it does was told,
// and waits for a table as long.
func TestLongStatementsTell(t *testing.T) {
	server := pgserver.Test(t, pgserver.Options{})
	database := server.Database(t)
	other, db := connectTestPostgres(t, server, database), connectTestPostgres(t, server, database)
	for _, sql := range []string{"CREATE TABLE goods (id int)", "INSERT INTO goods SELECT generate_series(1, 10)",
		"CREATE FUNCTION slow(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock(1); RETURN $1; END'"} {
		if _, err := other.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ held, sql, want string }{
		{"SELECT pg_advisory_xact_lock(1)", "CREATE INDEX ON goods (slow(id))", "goods: building index"},
		{"LOCK TABLE goods", "ALTER TABLE goods ADD PRIMARY KEY (id)", "waits for a lock that session "},
	} {
		told := make(chan string, 100)
		db.Tell(func(doing string) { told <- doing })
		if err := other.Begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := other.Exec(t.Context(), c.held); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() {
			_, err := db.Exec(t.Context(), c.sql)
			done <- err
		}()
		select {
		case got := <-told:
			if !strings.HasPrefix(got, c.want) {
				t.Errorf("%s tells %q, want %s", c.sql, got, c.want)
			}
		case <-time.After(30 * time.Second):
			t.Errorf("%s tells nothing", c.sql)
		}
		if err := other.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		close(told)
		last := "nothing"
		for last = range told {
		}
		if last != "" {
			t.Errorf("after %s the last that was told is %q", c.sql, last)
		}
	}
}

// TestSilentDestination lets the network fall silent while a statement or a query
// runs and while rows are copied: none is waited for without end, and its session
// does not go on at the server. A statement that the server is at work on for as long
// is let be, and of a session that the server does not know nothing is concluded.
func TestSilentDestination(t *testing.T) {
	server := pgserver.Test(t, pgserver.Options{})
	database := server.Database(t)
	other := connectTestPostgres(t, server, database)
	if _, err := other.Exec(t.Context(), "CREATE TABLE goods (v text)"); err != nil {
		t.Fatal(err)
	}
	proxy, err := faultproxy.Start(net.JoinHostPort(server.Host(), strconv.Itoa(server.Port())))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := proxy.Close(); err != nil {
			t.Error(err)
		}
	})
	connect := func() *postgres {
		t.Helper()
		db, err := OpenPostgres(t.Context(), PostgresOptions{Host: "127.0.0.1", Port: proxy.Port(), User: server.User(), Password: server.Password(), Database: database})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		p := db.(*postgres)
		p.noSign = time.Second
		return p
	}
	works := connect()
	if _, err := works.Exec(t.Context(), "SELECT pg_sleep(7)"); err != nil {
		t.Errorf("a statement that takes long: %v", err)
	}
	pooled := observer{config: works.config, pid: 1}
	defer pooled.close(context.Background())
	if _, seen := pooled.look(t.Context()); !seen || pooled.found {
		t.Error("a session that the server does not know counts as one that does nothing")
	}
	for name, statement := range map[string]func(*postgres) error{
		"statement": func(p *postgres) error { _, err := p.Exec(t.Context(), "SELECT pg_sleep(1)"); return err },
		"query": func(p *postgres) error {
			_, err := p.Query(t.Context(), "SELECT count(*), pg_sleep(1) FROM goods")
			return err
		},
		"copy": func(p *postgres) error {
			b := pgTexts(strings.Repeat("x", 32<<20))
			defer b.Release()
			_, err := p.Ingest(t.Context(), b, Ingest{Table: "goods", Columns: []IngestColumn{{Name: "v", Type: "text", From: FromColumn}}})
			return err
		},
	} {
		db := connect()
		if err := db.Begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(t.Context(), "LOCK TABLE goods IN SHARE UPDATE EXCLUSIVE MODE"); err != nil {
			t.Fatal(err)
		}
		if name == "copy" {
			proxy.SilenceAfter(1 << 20) // in the middle of it
		} else {
			time.AfterFunc(200*time.Millisecond, proxy.Silence)
		}
		err := statement(db)
		proxy.SilenceAfter(0)
		var failure *Error
		if !errors.As(err, &failure) || failure.Class != Connection || !strings.Contains(failure.Hint, "proxy, firewall") {
			t.Errorf("%s over a silent connection: %v", name, err)
		}
		if _, err := other.Exec(t.Context(), "SET lock_timeout = '20s'; LOCK TABLE goods"); err != nil {
			t.Errorf("the session of the %s is still there: %v", name, err)
		}
	}
}
