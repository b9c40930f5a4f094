package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// TestTablesOfAnotherOwner sets single tables aside that the role cannot
// publish or read, and takes them in once it can. Nothing else stops.
func TestTablesOfAnotherOwner(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	s.mended()
	owner := "app_" + s.database
	p := s.start()
	p.listens()
	s.exec("CREATE ROLE "+owner, "BEGIN", "CREATE TABLE payroll (id integer PRIMARY KEY, pay numeric(9,2))", "ALTER TABLE payroll OWNER TO "+owner, "INSERT INTO payroll VALUES (1, 100)", "GRANT SELECT ON payroll TO "+s.role,
		"CREATE TABLE hidden (id integer PRIMARY KEY)", "INSERT INTO hidden VALUES (1)", "ALTER TABLE hidden OWNER TO "+s.role, "REVOKE SELECT ON hidden FROM "+s.role,
		"UPDATE orders SET note = 'goes on' WHERE id = 1", "COMMIT")
	p.saysTimes("table is not replicated", 2) // as soon as they are seen
	p.shows("payroll is INACCESSIBLE")
	s.expect(s.leat("status", s.file), exitOK, "payroll is INACCESSIBLE: it belongs to role", fmt.Sprintf(`fix: GRANT SELECT ON "public"."hidden" TO "%s";`, s.role))
	if code := p.stop(); code != exitOK || strings.Count(p.out.String(), "table is not replicated") != 2 {
		t.Errorf("exit code %d\n%s", code, p.out)
	}
	s.expect(s.run(), exitOK, "table is not replicated")
	s.expect(s.leat("verify", s.file), exitSource, "hidden is not compared: the role may not SELECT it: GRANT SELECT", "what was compared is equal")
	s.expect(s.leat("query", s.file, "SELECT note FROM orders WHERE id = 1"), exitOK, "goes on")
	s.expect(s.leat("objects", "list", s.file), exitOK, "payroll", "INACCESSIBLE", "belongs to role", fmt.Sprintf(`GRANT "%s" TO "%s";`, owner, s.role), "ADD TABLE ONLY",
		"hidden", "may not SELECT", fmt.Sprintf(`GRANT SELECT ON "public"."hidden" TO "%s";`, s.role))
	s.expect(s.leat("plan", s.file), exitOK, "payroll is not replicated yet: it belongs to role", "hidden is not replicated yet", "DECIMAL(9,2)", "3 columns with a loss")
	s.expect(s.leat("check", s.file), exitSource, `GRANT "`+owner+`" TO`, "ALTER PUBLICATION", "GRANT SELECT ON")

	s.exec("GRANT "+owner+" TO "+s.role, "GRANT SELECT ON hidden TO "+s.role, "INSERT INTO payroll VALUES (2, 200)")
	s.mended()
	s.expect(s.leat("query", s.file, "SELECT count(*) FROM payroll"), exitOK, "2")
	s.expect(s.leat("query", s.file, "SELECT count(*) FROM hidden"), exitOK, "1")
	s.expect(s.leat("check", s.file), exitOK)
	s.exec("DROP OWNED BY "+owner, "DROP ROLE "+owner)
}

// TestPublicationOfASuperuser runs a role that owns nothing with the
// publications that leat init prints, made by a superuser.
func TestPublicationOfASuperuser(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	s.exec("ALTER TABLE orders OWNER TO postgres", "ALTER TABLE customers OWNER TO postgres", "CREATE TABLE log (line text)",
		"GRANT SELECT ON ALL TABLES IN SCHEMA public TO "+s.role, fmt.Sprintf("REVOKE CREATE ON DATABASE %s FROM %s", s.database, s.role))
	t.Chdir(s.dir)
	t.Setenv("PGPASSWORD", rolePassword)
	r := s.leat("init", "-o", "made.toml", "--duckdb", "made.duckdb", fmt.Sprintf("postgres://%s@%s:%d/%s?sslmode=disable", s.role, s.host, s.port, s.database))
	s.expect(r, exitOK, "a superuser makes the publications", "CREATE PUBLICATION", `ONLY "public"."orders"`)
	s.file = filepath.Join(s.dir, "made.toml")
	s.expect(s.leat("check", s.file), exitSource, "CREATE PUBLICATION")
	if strings.Contains(r.out, `GRANT "postgres"`) {
		t.Errorf("the rights of a superuser are offered:\n%s", r.out)
	}
	_, sql, _ := strings.Cut(r.out, "each table that comes later:\n")
	sql, _, _ = strings.Cut(sql, "\n\n")
	s.exec(sql)
	s.expect(s.leat("check", s.file), exitOK, "in place")
	s.mended()

	// A table that comes later waits alone; one that somebody added beside is
	// none of the pipeline's.
	s.exec("CREATE TABLE later (id integer PRIMARY KEY)", "INSERT INTO later VALUES (1)", "GRANT SELECT ON later TO "+s.role,
		"CREATE SCHEMA other", "CREATE TABLE other.beside (id integer PRIMARY KEY)", "UPDATE customers SET email = 'goes on' WHERE id = 1")
	publication := strings.Fields(sql)[2]
	s.exec("ALTER PUBLICATION "+publication+" ADD TABLE other.beside", "INSERT INTO other.beside VALUES (1)")
	s.expect(s.run(), exitOK)
	s.expect(s.leat("objects", "list", s.file), exitOK, "later", "INACCESSIBLE", "belongs to another role", "ALTER PUBLICATION "+publication+` ADD TABLE ONLY "public"."later";`)
	s.expect(s.leat("query", s.file, "SELECT email FROM customers WHERE id = 1"), exitOK, "goes on")
	s.exec("ALTER PUBLICATION " + publication + ` ADD TABLE ONLY "public"."later"`)
	s.exec("INSERT INTO later VALUES (2)", "INSERT INTO other.beside VALUES (2)")
	s.mended()
	s.expect(s.leat("query", s.file, "SELECT count(*) FROM later"), exitOK, "2")
	if r := s.leat("query", s.file, "SHOW TABLES"); strings.Contains(r.out, "beside") {
		t.Errorf("a table that is not selected was replicated:\n%s", r.out)
	}

	// A table that leaves the publication is loaded again when it comes back.
	s.exec("ALTER PUBLICATION "+publication+` DROP TABLE ONLY "public"."later"`, "INSERT INTO later VALUES (3)")
	s.expect(s.run(), exitOK)
	s.exec("DELETE FROM later WHERE id = 1", "ALTER PUBLICATION "+publication+` ADD TABLE ONLY "public"."later"`)
	s.mended()
}

// TestNoTableMayBeReplicated ends a run that has nothing to do, with the
// statements that change that.
func TestNoTableMayBeReplicated(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	s.exec(fmt.Sprintf("REVOKE SELECT ON orders, customers FROM %s", s.role), fmt.Sprintf("REVOKE CREATE ON DATABASE %s FROM %s", s.database, s.role))
	create, read := fmt.Sprintf(`GRANT CREATE ON DATABASE "%s" TO "%s";`, s.database, s.role), fmt.Sprintf(`GRANT SELECT ON "public"."orders" TO "%s";`, s.role)
	s.expect(s.run(), exitSource, "none of the selected tables", read, create, `FOR TABLE ONLY "public"."customers", ONLY "public"."orders"`)
	s.expect(s.leat("check", s.file), exitSource, create, "FOR TABLE ONLY", read)
	s.exec(create)
	s.expect(s.run(), exitSource, "none of the selected tables", "orders: the role may not SELECT it", "what to do: GRANT SELECT", read)
	s.expect(s.leat("verify", s.file), exitSource, "no table was compared")
	p := s.start()
	p.says("the pipeline waits until one can")
	p.shows("waiting for rights")
	s.expect(s.leat("verify", s.file), exitSource, "no table was compared")
	if left := s.left(); left != "0 slots, 0 publications" {
		t.Errorf("the source has %s for a pipeline that may read nothing", left)
	}
	s.exec(read)
	p.says("historical load finished")
	if code := p.stop(); code != exitOK {
		t.Errorf("exit code %d\n%s", code, p.out)
	}
	s.exec(strings.ReplaceAll(read, "orders", "customers"))
	s.mended()

	// A table that is to be loaded again and may not be read any more waits alone.
	s.exec("REVOKE SELECT ON orders FROM "+s.role, "UPDATE customers SET email = 'goes on' WHERE id = 1")
	s.expect(s.leat("objects", "restart", s.file, "public.orders", "--yes"), exitOK)
	s.expect(s.run(), exitOK, "table is not replicated", "the role may not SELECT it")
	s.expect(s.leat("query", s.file, "SELECT email FROM customers WHERE id = 1"), exitOK, "goes on")
	s.exec(read)
	s.mended()
}

// TestStatementsForEachDatabase ends a run over two databases with what mends each,
// partitions and schemas included: done, nothing is missing.
func TestStatementsForEachDatabase(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	databases := []string{s.database, s.server.Database(t)}
	s.edit(fmt.Sprintf("database = %q\n", s.database), fmt.Sprintf("databases = [%q, %q]\n", databases[0], databases[1]))
	s.exec("DROP TABLE orders, customers")
	for _, database := range databases {
		if err := s.server.Exec(t.Context(), database, fmt.Sprintf("GRANT CONNECT, CREATE ON DATABASE %s TO %s", database, s.role),
			"CREATE TABLE days (id integer, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day)", "CREATE SCHEMA apart",
			"CREATE TABLE days_1 PARTITION OF days FOR VALUES FROM ('2025-01-01') TO ('2025-01-02')", "CREATE TABLE days_2 PARTITION OF days FOR VALUES FROM ('2025-01-02') TO ('2025-01-03')",
			"CREATE TABLE apart.days_3 PARTITION OF days FOR VALUES FROM ('2025-01-03') TO ('2025-01-04')", "INSERT INTO days SELECT n, '2025-01-01'::date + n FROM generate_series(0, 2) n"); err != nil {
			t.Fatal(err)
		}
	}
	r := s.leat("run", "--until-caught-up", s.file)
	s.expect(r, exitSource, "the role has no USAGE on the schema, the role may not SELECT it")
	if n := strings.Count(r.err, "none of the selected tables"); n != len(databases) {
		t.Errorf("the failure of %d databases is said %d times:\n%s", len(databases), n, r.err)
	}
	for line := range strings.Lines(s.leat("status", s.file).out) {
		if strings.Contains(line, "none of the selected tables") && (len(line) > 200 || !strings.HasSuffix(line, "…\n")) {
			t.Errorf("a run in %d bytes:\n%s", len(line), line)
		}
	}
	s.expect(s.leat("status", s.file), exitOK, "none of the selected tables", "leat status "+s.file+" --json has the outcomes in full")
	s.expect(s.leat("status", s.file, "--json"), exitOK, databases[1]+": replicate: none of the selected tables", databases[0]+": replicate: none of the selected tables")
	_, said, _ := strings.Cut(r.err, "leat: ")
	for _, part := range strings.Split(said, "leat: ") {
		at := slices.IndexFunc(databases, func(d string) bool { return strings.HasPrefix(part, "database "+d+": ") })
		_, statements, ok := strings.Cut(part, "what to do: ")
		if at < 0 || !ok || strings.Count(statements, "GRANT SELECT") != 1 || strings.Count(part, "what to do") != 1 {
			t.Fatalf("of one database:\n%s", part)
		}
		if err := s.server.Exec(t.Context(), databases[at], statements); err != nil {
			t.Fatal(err)
		}
	}
	s.mended()
}
