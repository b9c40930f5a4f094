package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
	"github.com/leat-etl/leat/state"
)

// TestTablesThatLeft shows what has become of tables that were followed: one that
// the pipeline file selects no more, one that is a partition by now, one of another
// name. Those that come back are loaded again.
func TestTablesThatLeft(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	s.exec("CREATE TABLE days (id integer, day integer, PRIMARY KEY (id, day)) PARTITION BY LIST (day)", "CREATE TABLE monday (id integer, day integer, PRIMARY KEY (id, day))",
		"INSERT INTO monday VALUES (1, 1), (2, 1)", "CREATE TABLE old (id integer PRIMARY KEY)", "INSERT INTO old VALUES (1)",
		fmt.Sprintf("ALTER TABLE days OWNER TO %[1]s; ALTER TABLE monday OWNER TO %[1]s; ALTER TABLE old OWNER TO %[1]s", s.role))
	s.mended()
	s.extra = "[objects]\nexclude = [\"public.customers\"]"
	s.write()
	p := s.start()
	p.listens()
	s.becomes("public.customers", state.Skipped)
	s.exec("ALTER TABLE days ATTACH PARTITION monday FOR VALUES IN (1)", "ALTER TABLE old RENAME TO new")
	s.becomes("public.monday", state.Inaccessible)
	s.becomes("public.old", state.Deleted)
	s.becomes("public.new", state.Streaming)
	s.expect(s.leat("objects", "list", s.file), exitOK, "the pipeline file does not select it any more", "it is a partition of public.days", "no table of this name any more")
	for _, verb := range []string{"include", "pause", "skip"} {
		s.expect(s.leat("objects", verb, s.file, "public.customers"), exitUsage, "the pipeline file does not select it", "[objects]")
	}
	if code := p.stop(); code != exitOK {
		t.Errorf("exit code %d\n%s", code, p.out)
	}
	s.exec("DELETE FROM customers WHERE id <= 10", "ALTER TABLE days DETACH PARTITION monday", "DELETE FROM monday WHERE id = 1")
	s.extra = ""
	s.write()
	s.mended()
	s.becomes("public.customers", state.Streaming)
	s.becomes("public.monday", state.Streaming)
	s.expect(s.leat("query", s.file, "SELECT (SELECT count(*) FROM customers WHERE NOT __leat_marked_deleted) AS c, (SELECT count(*) FROM monday WHERE NOT __leat_marked_deleted) AS m, (SELECT count(*) FROM days WHERE NOT __leat_marked_deleted) AS d"), exitOK, "90  1  0")
}

// TestDatabaseLeavesMergedTables compares what is left of a pipeline, takes the rows
// of the other database out, and loads them anew when it comes back.
func TestDatabaseLeavesMergedTables(t *testing.T) {
	server := pgserver.Test(t, pgserver.Options{})
	for _, plugin := range []string{"duckdb", "postgres"} {
		t.Run(plugin, func(t *testing.T) {
			s := newSite(t, server)
			other, table := server.Database(t), "orders"
			if err := server.Exec(t.Context(), other, "CREATE TABLE orders (id integer PRIMARY KEY, note text, region text)", "INSERT INTO orders SELECT i, 'other ' || i, 'us' FROM generate_series(1, 50) i",
				"CREATE TABLE bare (note text)", "INSERT INTO bare VALUES ('x'), ('x')", fmt.Sprintf("ALTER TABLE orders OWNER TO %[1]s; ALTER TABLE bare OWNER TO %[1]s; GRANT CREATE ON DATABASE %[2]s TO %[1]s", s.role, other)); err != nil {
				t.Fatal(err)
			}
			if plugin == "postgres" {
				s.intoPostgres()
				table = "shop.orders"
			}
			alone, both := fmt.Sprintf("databases = [%q]\nmerge_tables = true", s.database), fmt.Sprintf("databases = [%q, %q]\nmerge_tables = true", s.database, other)
			s.edit(fmt.Sprintf("database = %q", s.database), both)
			s.mended()
			s.expect(s.leat("objects", "skip", s.file, other+".public.orders"), exitOK)
			s.expect(s.run(), exitOK)
			s.expect(s.leat("verify", s.file), exitOK, "50 rows of database "+other+" not compared: "+other+".public.orders is not, it is SKIPPED", "what was compared is equal")
			s.expect(s.leat("objects", "include", s.file, other+".public.orders"), exitOK)
			s.mended()
			s.expect(s.leat("drop", s.file, other, "--rows"), exitUsage, "is in the pipeline file")
			s.expect(s.leat("drop", s.file, "--rows"), exitUsage, "--rows needs the databases")
			s.edit(both, alone)
			s.expect(s.run(), exitOK, "--rows takes its rows out of merged tables")
			s.expect(s.leat("verify", s.file), exitOK, "50 rows of database "+other+" not compared", "leat drop "+s.file+" "+other+" --rows", "what was compared is equal")
			v := decode[engine.Verification](s, s.leat("--json", "verify", s.file))
			if i := slices.IndexFunc(v.Tables, func(t engine.TableVerification) bool { return strings.Contains(t.Target, "orders") }); i < 0 || len(v.Tables[i].Departed) != 1 || v.Tables[i].DestinationRows != 500 {
				t.Errorf("verify --json: %+v", v.Tables)
			}
			s.expect(s.leat("drop", s.file, other), exitUsage, "nothing was dropped")
			s.expect(s.leat("drop", s.file, other, "--yes", "--rows"), exitOK, "its rows in merged tables", "the rows of "+other+" are taken out")
			rows := func(want string) {
				t.Helper()
				s.expect(s.leat("query", s.file, fmt.Sprintf("SELECT count(*) AS all, count(CASE WHEN __leat_marked_deleted THEN 1 END) AS deleted FROM %s", table)), exitOK, "\n"+want)
			}
			rows("550  50")
			s.expect(s.leat("verify", s.file), exitOK, "source and destination are equal")
			s.expect(s.run(), exitOK)
			s.expect(s.leat("objects", "list", s.file), exitOK, other+".public.orders", "DELETED", "taken out as by a TRUNCATE")

			s.edit(alone, both)
			if r := s.leat("check", s.file); r.code != exitOK || strings.Contains(r.out, "given the pipeline up") {
				t.Errorf("check says of a database that comes back:\n%s", r.out)
			}
			if err := server.Exec(t.Context(), other, "DELETE FROM orders WHERE id <= 10"); err != nil {
				t.Fatal(err)
			}
			s.mended()
			rows("550  10")
		})
	}
}

// TestQueriedTablesThatLeft shows the same of a pipeline that queries its source.
func TestQueriedTablesThatLeft(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	s.keys = `mode = "xmin"`
	s.write()
	s.expect(s.run(), exitOK)
	s.exec("DROP TABLE orders")
	s.extra = "[objects]\nexclude = [\"public.customers\"]"
	s.write()
	s.expect(s.run(), exitOK)
	s.becomes("public.customers", state.Skipped)
	s.becomes("public.orders", state.Deleted)
	s.expect(s.run(), exitOK, "no table is selected")
	s.expect(s.leat("check", s.file), exitOK, "tables selected: 0", "[objects]")
	s.extra = ""
	s.write()
	s.expect(s.run(), exitOK)
	s.becomes("public.customers", state.Active)
}
