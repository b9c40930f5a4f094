package main

import (
	"fmt"
	"testing"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// TestOneDatabaseTakesNoConnections lets the others of a pipeline go on, by the log
// and by queries, until the database is back; a run that is to end says that it is
// missing, at its end.
func TestOneDatabaseTakesNoConnections(t *testing.T) {
	server := pgserver.Test(t, pgserver.Options{})
	for name, keys := range map[string]string{"log": "wal_budget = \"1MB\"\n", "queries": "mode = \"table\"\nfrequency = \"1s\"\n"} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, server)
			s.extra = "[objects]\ninclude = [\"public.notes\"]"
			s.write()
			s.edit("heartbeat = \"1s\"\n", keys)
			other := server.Database(t)
			admin := func(database string, statements ...string) {
				t.Helper()
				if err := server.Exec(t.Context(), database, statements...); err != nil {
					t.Fatal(err)
				}
			}
			for _, database := range []string{s.database, other} {
				admin(database, "CREATE TABLE notes (id integer PRIMARY KEY)", "INSERT INTO notes VALUES (1)",
					fmt.Sprintf("GRANT CONNECT, CREATE ON DATABASE %[1]s TO %[2]s; ALTER TABLE notes OWNER TO %[2]s", database, s.role))
			}
			refuse := []string{fmt.Sprintf("ALTER DATABASE %s ALLOW_CONNECTIONS false", other), fmt.Sprintf("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '%s'", other)}
			accept := fmt.Sprintf("ALTER DATABASE %s ALLOW_CONNECTIONS true", other)

			s.edit(fmt.Sprintf("database = %q\n", s.database), fmt.Sprintf("databases = [%q, %q]\nmerge_tables = true\n", s.database, other+"_mistyped"))
			s.expect(s.run(), exitSource, "_mistyped", "does not exist")
			s.edit("_mistyped", "")
			s.expect(s.run(), exitOK)

			p := s.start()
			p.listens()
			admin("postgres", refuse...)
			admin(s.database, "INSERT INTO notes VALUES (2)")
			s.await("SELECT count(*) FROM notes", "3")
			p.shows(other + " is retrying\n  what to do: ALTER DATABASE \"" + other + "\" ALLOW_CONNECTIONS true;")
			compared := func(without string) {
				t.Helper()
				s.expect(s.leat("verify", s.file), exitSource, without+" of database "+other+" not compared: it takes no connection", "what was compared is equal", "what to do: ALTER DATABASE")
			}
			compared("1 row")
			if name == "log" { // the slot of the database is measured from another one
				admin(s.database, "SELECT pg_logical_emit_message(false, 'none', repeat('x', 3000000))")
				p.says("than wal_budget pipeline=shop database=" + other)
			}
			admin("postgres", accept)
			admin(other, "INSERT INTO notes VALUES (2)")
			s.await("SELECT count(*) FROM notes", "4")
			if code := p.stop(); code != exitOK {
				t.Errorf("exit code %d", code)
			}

			admin("postgres", refuse...)
			admin(s.database, "INSERT INTO notes VALUES (3)")
			s.expect(s.leat("run", "--until-caught-up", "--retry-for", "1s", s.file), exitSource, "database "+other+": ", "given up after 1s", "what to do: ALTER DATABASE")
			s.expect(s.leat("query", s.file, "SELECT count(*) AS n FROM notes"), exitOK, "N\n5")
			compared("2 rows")
			admin("postgres", accept)
			s.mended()
		})
	}
}
