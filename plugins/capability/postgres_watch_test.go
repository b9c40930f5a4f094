package capability

import (
	"strings"
	"testing"
	"time"

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
