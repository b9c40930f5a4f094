package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/state"
)

// ask reads one value at the source.
func (s *site) ask(sql string) (out string) {
	s.t.Helper()
	conn, err := pgx.Connect(s.t.Context(), s.server.DSN(s.database))
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close(s.t.Context())
	if err := conn.QueryRow(s.t.Context(), sql).Scan(&out); err != nil {
		s.t.Fatal(err)
	}
	return out
}

// left is what the server has of slots and publications.
func (s *site) left() string {
	s.t.Helper()
	return s.ask(fmt.Sprintf(`SELECT (SELECT count(*) FROM pg_replication_slots WHERE database = '%s') || ' slots, ' || (SELECT count(*) FROM pg_publication) || ' publications'`, s.database))
}

// TestDrop gives a pipeline up: only when it is stopped, and said to be meant. A
// later run finds the gap, and loads beside the rows that are there.
func TestDrop(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	s.expect(s.leat("drop", s.file), exitOK, s.database, "nothing of this pipeline")
	p := s.start()
	s.await("SELECT count(*) FROM orders", "500")
	s.expect(s.leat("drop", s.file, "--yes"), exitUsage, "is running: stop it first")
	p.stop()
	s.expect(s.leat("drop", s.file), exitUsage, "slot leat_shop_", "of log", "_keyless of 0 tables", "nothing was dropped", "--yes")
	s.expect(s.leat("drop", s.file, "nonsense", "--yes"), exitUsage, `no database "nonsense"`, s.database)
	if left := s.left(); left != "1 slots, 2 publications" {
		t.Fatalf("before: %s", left)
	}
	made := decode[[]engine.Made](s, s.leat("--json", "drop", s.file, "--yes"))
	if len(made) != 1 || made[0].Slot == nil || len(made[0].Publications) != 2 || made[0].Publications[0].Tables != 2 {
		t.Errorf("drop --json: %+v", made)
	}
	if left := s.left(); left != "0 slots, 0 publications" {
		t.Errorf("after: %s", left)
	}
	givenUp := func(orders string) {
		t.Helper()
		s.expect(s.leat("status", s.file), exitOK, "given up with leat drop", "2       FINISHED")
		s.becomes("public.orders", orders)
		s.expect(s.leat("objects", "list", s.file), exitOK, "leat drop has given the pipeline up", "--resync loads every table again")
		s.expect(s.leat("check", s.file), exitOK, "not there: leat drop has given the pipeline up", "stops with exit code 8", "--resync")
	}
	givenUp(state.Finished)
	s.exec("DELETE FROM orders WHERE id <= 10", "INSERT INTO orders VALUES (501, 'later', 1, NULL)")
	s.expect(s.leat("run", "--until-caught-up", s.file), exitGap, s.database+" failed", "given the pipeline up", "does not exist any more", "leat run --resync")
	givenUp(state.Finished)
	if left := s.left(); left != "0 slots, 0 publications" {
		t.Errorf("after a run that found the gap: %s", left)
	}
	s.exec(fmt.Sprintf("SELECT pg_create_logical_replication_slot('%s', 'pgoutput')", made[0].Slot.Name))
	s.expect(s.leat("check", s.file), exitOK, "made by no run that the state folder knows")
	s.expect(s.run(), exitGap, "was advanced to", "from another state folder")
	s.expect(s.leat("drop", s.file, "--yes"), exitOK)
	s.expect(s.leat("run", "--quiet", "--until-caught-up", "--resync", s.file), exitOK)
	s.mended()
	s.expect(s.leat("query", s.file, "SELECT count(*) AS n FROM orders WHERE __leat_marked_deleted AND __leat_source_modified_at > now() - INTERVAL 1 HOUR"), exitOK, "N\n10")
	s.becomes("public.orders", state.Streaming)
	s.exec(fmt.Sprintf("SELECT pg_drop_replication_slot('%s')", made[0].Slot.Name))
	s.expect(s.leat("check", s.file), exitSource, "does not exist any more", "--resync")
}

// TestDropStartsAnew drops, empties the destination, and begins again as if there
// had been no pipeline.
func TestDropStartsAnew(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	s.expect(s.run(), exitOK)
	s.expect(s.leat("drop", s.file, "--yes"), exitOK, "dropped", "state folder")
	if err := os.Remove(filepath.Join(s.dir, "warehouse.duckdb")); err != nil {
		t.Fatal(err)
	}
	s.exec("INSERT INTO orders VALUES (501, 'later', 1, NULL)")
	s.mended()
	s.expect(s.leat("status", s.file), exitOK, "leat_shop_")
}

// TestDropOfOthers leaves what Leat may not drop, or others use, and says how it is
// dropped.
func TestDropOfOthers(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	s.exec(postgres.CaptureSQL(s.role))
	s.expect(s.run(), exitOK)
	publication := s.ask("SELECT pubname FROM pg_publication WHERE pubname NOT LIKE '%_keyless'")
	s.exec(fmt.Sprintf("ALTER PUBLICATION %s OWNER TO %s", publication, s.server.User()))
	r := s.leat("drop", s.file, "--yes")
	s.expect(r, exitOK, "stays: it belongs to another role", fmt.Sprintf("DROP PUBLICATION %q;", publication), "DDL capture stays", "DROP EVENT TRIGGER leat_ddl_end;")
	if left := s.left(); left != "0 slots, 1 publications" {
		t.Errorf("after: %s", left)
	}
	s.expect(s.leat("drop", s.file, "--yes", "--ddl-capture"), exitSource, "remove DDL capture", "must be owner of event trigger")
	s.exec(fmt.Sprintf("ALTER ROLE %s SUPERUSER", s.role))
	s.expect(s.leat("drop", s.file, "--yes", "--ddl-capture"), exitOK, "schema leat_ddl", "dropped")
	if left := s.left(); left != "0 slots, 0 publications" {
		t.Errorf("after it became a superuser: %s", left)
	}
	if r := s.leat("drop", s.file); r.code != exitOK || strings.Contains(r.out, "DDL capture") {
		t.Errorf("after all was dropped: %d\n%s%s", r.code, r.out, r.err)
	}
}

// TestDatabaseLeavesThePipeline names the slot of a database that is no longer in
// the file, in each run until it is dropped.
func TestDatabaseLeavesThePipeline(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	s.expect(s.run(), exitOK)
	s.source = s.server.Database(t)
	for _, sql := range []string{"CREATE TABLE goods (id integer PRIMARY KEY)", "ALTER TABLE goods OWNER TO " + s.role,
		fmt.Sprintf("GRANT CREATE ON DATABASE %s TO %s", s.source, s.role)} {
		if err := s.server.Exec(t.Context(), s.source, sql); err != nil {
			t.Fatal(err)
		}
	}
	s.write()
	s.expect(s.run(), exitOK, "a database is no longer in the pipeline file", "leat drop "+s.file+" "+s.database)
	s.becomes("public.orders", state.Skipped)
	s.expect(s.leat("objects", "list", s.file), exitOK, "its database is no longer in the pipeline file")
	s.expect(s.leat("objects", "restart", s.file, "public.orders", "--yes"), exitUsage, "its database is not in the pipeline file")
	s.expect(s.leat("drop", s.file, s.database, "--yes"), exitOK, "slot leat_shop_", "dropped")
	if left := s.left(); left != "0 slots, 0 publications" {
		t.Errorf("after: %s", left)
	}
	if r := s.run(); r.code != exitOK || strings.Contains(r.err, "no longer in the pipeline file") {
		t.Errorf("after the drop: %d\n%s", r.code, r.err)
	}
	s.expect(s.leat("drop", s.file, "--yes"), exitOK, s.source, "slot leat_shop_", s.database, "nothing of this pipeline")
}

// TestResyncWithoutSome has tables left out while the others are loaded anew: by an
// operator, by the file, and by the rights of the role. Each is emptied when it
// comes back, so that rows go which the source has deleted meanwhile.
func TestResyncWithoutSome(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	s.exec("CREATE TABLE visits (page text)", "INSERT INTO visits VALUES ('/a'), ('/b'), ('/c')", "ALTER TABLE visits OWNER TO "+s.role,
		"CREATE TABLE secrets (id integer PRIMARY KEY)", "INSERT INTO secrets VALUES (1), (2)", "ALTER TABLE secrets OWNER TO "+s.role)
	s.mended()
	s.expect(s.leat("objects", "skip", s.file, "public.customers"), exitOK)
	s.extra = "[objects]\nexclude = [\"public.visits\"]"
	s.write()
	s.expect(s.leat("drop", s.file, "--yes"), exitOK)
	s.exec("ALTER TABLE secrets OWNER TO "+s.server.User(), "DELETE FROM customers WHERE id <= 10", "DELETE FROM visits WHERE page = '/a'", "DELETE FROM secrets WHERE id = 1", "DELETE FROM orders WHERE id <= 10")
	s.expect(s.leat("run", "--quiet", "--until-caught-up", "--resync", s.file), exitOK, "public.secrets", "not replicated")
	s.extra = ""
	s.write()
	s.expect(s.leat("objects", "include", s.file, "public.customers"), exitOK)
	s.exec("ALTER TABLE secrets OWNER TO " + s.role)
	s.mended()
	s.expect(s.leat("query", s.file, "SELECT (SELECT count(*) FROM customers WHERE NOT __leat_marked_deleted) AS c, (SELECT count(*) FROM visits WHERE NOT __leat_marked_deleted) AS v, (SELECT count(*) FROM secrets WHERE NOT __leat_marked_deleted) AS s"), exitOK, "90  2  1")
}
