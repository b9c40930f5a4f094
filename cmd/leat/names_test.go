package main

import (
	"fmt"
	"testing"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// TestSlashesInNames has the sign that separates the names in Leat's own records in
// names of the source: tables that these would take for one another, a database,
// and the escaped form of a name.
func TestSlashesInNames(t *testing.T) {
	server := pgserver.Own(t, pgserver.Options{})
	s := newSite(t, server)
	s.source = "shop/eu%2F"
	s.exec(fmt.Sprintf("CREATE DATABASE %q", s.source))
	odd := func(statements ...string) {
		t.Helper()
		if err := server.Exec(t.Context(), s.source, statements...); err != nil {
			t.Fatal(err)
		}
	}
	odd(fmt.Sprintf("GRANT CREATE ON DATABASE %q TO %s", s.source, s.role))
	tables := []string{`"s/a"."b"`, `s."a/b"`, `"s%2Fa"."b"`, `s."a/b/c"`}
	odd(fmt.Sprintf(`CREATE SCHEMA "s/a" AUTHORIZATION %[1]s; CREATE SCHEMA s AUTHORIZATION %[1]s; CREATE SCHEMA "s%%2Fa" AUTHORIZATION %[1]s`, s.role))
	for i, table := range tables {
		odd(fmt.Sprintf("CREATE TABLE %s (id int PRIMARY KEY, v text)", table), fmt.Sprintf("ALTER TABLE %s OWNER TO %s", table, s.role),
			fmt.Sprintf("INSERT INTO %s SELECT n, 'v' FROM generate_series(1, %d) n", table, 10*(i+1)))
	}
	change := func(id int) {
		t.Helper()
		for _, table := range tables {
			odd(fmt.Sprintf("INSERT INTO %s VALUES (%d, 'new')", table, id), fmt.Sprintf("UPDATE %s SET v = 'changed' WHERE id %% 3 = 0", table), fmt.Sprintf("DELETE FROM %s WHERE id = %d", table, id-100))
		}
	}
	for _, plugin := range []string{"duckdb", "postgres"} {
		t.Run(plugin, func(t *testing.T) {
			s := *s
			s.t, s.dir = t, t.TempDir()
			s.config = fmt.Sprintf("path = %q", s.dir+"/warehouse.duckdb")
			if s.write(); plugin == "postgres" {
				s.intoPostgres()
			}
			s.mended()
			change(101)
			s.mended()
			odd(`ALTER TABLE s."a/b" ADD more int DEFAULT 7`)
			change(102)
			s.expect(s.leat("objects", "restart", s.file, "s/a.b", "--yes"), exitOK)
			s.mended()
			s.expect(s.leat("drop", s.file, "--yes"), exitOK, s.source, "dropped")
			change(103)
			s.expect(s.leat("run", "--until-caught-up", s.file), exitGap)
			s.expect(s.leat("run", "--until-caught-up", "--resync", s.file), exitOK)
			s.mended()
			odd(`ALTER TABLE s."a/b" DROP more`, "DELETE FROM s.\"a/b\" WHERE id > 100", "DELETE FROM s.\"a/b/c\" WHERE id > 100", `DELETE FROM "s/a".b WHERE id > 100`, `DELETE FROM "s%2Fa".b WHERE id > 100`)
			s.expect(s.leat("drop", s.file, "--yes"), exitOK)
		})
	}
}
