package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
	"github.com/leat-etl/leat/state"
)

// TestCheckAfterChanges looks at tables that have changed since their last row.
func TestCheckAfterChanges(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	for _, into := range []func(){func() {}, func() { s.intoPostgres() }} {
		into()
		s.expect(s.leat("drop", s.file, "--yes"), exitOK)
		s.mended()
		s.exec("ALTER TABLE orders ADD later int", "ALTER TABLE orders ALTER note TYPE bytea USING 'x'", "ALTER TABLE customers RENAME email TO address", "ALTER TABLE customers DROP CONSTRAINT customers_pkey, ADD PRIMARY KEY (id, address)")
		s.expect(s.leat("check", s.file), exitOK, "everything that the pipeline needs is there")
		s.exec("ALTER TABLE orders DROP later", "ALTER TABLE orders ALTER note TYPE text USING 'y'", "ALTER TABLE customers DROP CONSTRAINT customers_pkey, ADD PRIMARY KEY (id)", "ALTER TABLE customers RENAME address TO email")
	}
}

// TestCheckLooksBehindTheSource finds what is wrong with plugins and
// destination before anything runs, and leaves nothing behind.
func TestCheckLooksBehindTheSource(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	s.expect(s.leat("check", s.file), exitOK, "plugin duckdb: found", "destination duckdb: opened, a table written and taken back")
	if left, err := filepath.Glob(filepath.Join(s.dir, "warehouse*")); err != nil || len(left) > 0 {
		t.Errorf("check left %v, %v", left, err)
	}
	s.mended()
	r := s.leat("check", s.file)
	s.expect(r, exitOK, "destination duckdb: opened")
	if strings.Contains(r.out, "made by no run") {
		t.Errorf("check takes the pipeline's own slot for another's:\n%s", r.out)
	}
	s.expect(s.leat("check", "--state-dir", t.TempDir(), s.file), exitOK, "made by no run that the state folder knows", "pg_drop_replication_slot")
	s.mended()

	good := s.config
	s.config = `path = "no/such/folder/x.duckdb"`
	s.write()
	s.expect(s.leat("check", s.file), exitDestination, "FAIL", "create the folder, or correct the path")
	s.config = good + `, load_mod = "merge"`
	s.write()
	s.expect(s.leat("check", s.file), exitPlugin, "load_mod", "leat plugin info NAME")
	s.config = good
	s.extra = "[[transforms]]\nplugin = \"maks\"\n[[transforms]]\nplugin = \"mask\"\nconfig = { columns = 3 }"
	s.write()
	s.expect(s.leat("check", s.file), exitPlugin, `did you mean "mask"`, "columns", "2 of ")
	mask := "[[transforms]]\nplugin = \"mask\"\n%sconfig = { columns = [\"emial\"], method = \"redact\" }"
	s.extra = fmt.Sprintf(mask, "tables = [\"public.customers\"]\n")
	s.write()
	s.expect(s.leat("check", s.file), exitPlugin, `table customers has no column "emial"`, "destination duckdb: opened", "leat plugin info NAME", "1 of ")
	s.extra = strings.Replace(s.extra, "emial", "email", 1)
	s.write()
	s.expect(s.leat("check", s.file), exitOK, "tables that pass the transforms: 2")
	s.extra = ""

	target, role := s.intoPostgres()
	s.expect(s.leat("check", s.file), exitOK, "destination postgres: opened")
	if err := s.server.Exec(t.Context(), target, "ALTER SCHEMA shop OWNER TO postgres"); err != nil {
		t.Fatal(err)
	}
	s.expect(s.leat("check", s.file), exitDestination, "permission denied for schema shop", "fix: ")
	if err := s.server.Exec(t.Context(), target, "ALTER SCHEMA shop OWNER TO "+role,
		`DO $$ BEGIN IF EXISTS (SELECT FROM pg_tables WHERE schemaname = 'shop') THEN RAISE 'check left a table'; END IF; END $$`); err != nil {
		t.Fatal(err)
	}
	s.config = strings.Replace(s.config, `"writes"`, `"wrong"`, 1)
	s.write()
	s.expect(s.leat("check", s.file), exitDestination, "destination postgres", "28P01")
	s.config = strings.Replace(s.config, fmt.Sprintf("port = %d", s.port), "port = 1", 1)
	s.write()
	s.expect(s.leat("check", s.file), exitDestination, "destination postgres", "connect to PostgreSQL")
}

// TestCheckBesideARunningEngine knows the pipeline's own engine from another
// program that reads from its slot.
func TestCheckBesideARunningEngine(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	p := s.start()
	p.listens()
	s.becomes("public.customers", state.Streaming)
	r := s.leat("check", s.file)
	s.expect(r, exitOK, "in use by the running pipeline")
	if strings.Contains(r.out, "Another Leat") {
		t.Errorf("check takes the pipeline's own engine for another:\n%s", r.out)
	}
	s.expect(s.leat("check", "--state-dir", t.TempDir(), s.file), exitOK, "Another Leat", "pg_stat_activity")
	if code := p.stop(); code != exitOK {
		t.Errorf("exit code %d\n%s", code, p.out)
	}
}

// TestPatternsThatNameNothing names every pattern that matches no table.
func TestPatternsThatNameNothing(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	s.extra = `[objects]
include = ["public.*", "public.odrers"]
exclude = ["audit.*", "pubic.cust*"]
[objects."public.custmers"]
query_mode = "full_load"
[[transforms]]
plugin = "mask"
tables = ["public.Customers"]
config = { columns = ["email"] }
`
	s.write()
	want := []string{
		`objects.include: "public.odrers" names no table of the source (case counts); did you mean "public.orders"?`,
		`objects.exclude: "audit.*" names no table of the source (case counts)`,
		`objects.exclude: "pubic.cust*" names no table of the source (case counts); did you mean "public.cust*"?`,
		`objects: "public.custmers" names no table that the pipeline reads (case counts); did you mean "public.customers"?`,
		`transforms[1].tables of mask: "public.Customers" names no table that the pipeline reads (case counts); did you mean "public.customers"?`,
	}
	s.expect(s.leat("check", s.file), exitOK, want...)
	s.expect(s.leat("plan", s.file), exitOK, append(want, s.file+":15:24: objects.include:", s.file+":21:11: transforms[1].tables")...)
	logged := make([]string, len(want))
	for i, text := range want {
		logged[i] = strings.ReplaceAll(text, `"`, `\"`)
	}
	s.expect(s.leat("run", "--log-json", "--quiet", "--until-caught-up", s.file), exitOK, logged...)
	s.extra = strings.NewReplacer(`, "public.odrers"`, "", `"audit.*", "pubic.cust*"`, "", "custmers", "customers", "Customers", "customers").Replace(s.extra)
	s.write()
	if r := s.leat("check", s.file); r.code != exitOK || strings.Contains(r.out, "names no") {
		t.Errorf("a pattern that names a table is complained of:\n%s%s", r.out, r.err)
	}
}

// TestNothingIsSelected warns of a new pipeline that selects no table, and does not
// let a mistyped pattern take out all tables of one that has replicated some.
func TestNothingIsSelected(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	include := func(pattern string) {
		s.extra = "[objects]\ninclude = [\"" + pattern + "\"]\n"
		s.write()
	}
	include("pubic.*")
	for _, verb := range [][]string{{"check"}, {"plan"}, {"run", "--quiet", "--until-caught-up"}} {
		s.expect(s.leat(append(verb, s.file)...), exitOK, "no table", "include", "public.*")
	}
	include("public.*")
	s.mended()
	include("pubic.*")
	s.exec("INSERT INTO customers VALUES (901, 'later')", "DELETE FROM orders WHERE id = 7")
	refuses := []string{"selects no table of database " + s.database + " any more", "public.customers, public.orders", `"pubic.*" names no table of the source (case counts); did you mean "public.*"?`, "leat run --deselect-all"}
	s.expect(s.leat("check", s.file), exitSource, refuses...)
	s.expect(s.leat("plan", s.file), exitOK, refuses...)
	r := s.run()
	s.expect(r, exitUsage, refuses...)
	s.expect(s.leat("objects", "list", s.file), exitOK, "STREAMING")
	include("public.*")
	r = s.run()
	s.expect(r, exitOK)
	if strings.Contains(r.err, "loading a table again") {
		t.Errorf("the tables are loaded again:\n%s", r.err)
	}
	s.mended()
	include("pubic.*")
	s.expect(s.leat("run", "--quiet", "--until-caught-up", "--deselect-all", s.file), exitOK, "table is no longer selected")
	s.expect(s.run(), exitOK) // they are out
	s.expect(s.leat("check", s.file), exitOK)
	include("public.*")
	s.mended()
	s.exec("DROP TABLE orders, customers") // which is no mistake of the file
	s.expect(s.run(), exitOK, "was dropped")
	r = s.run()
	s.expect(r, exitOK)
	if strings.Contains(r.err, "was dropped") {
		t.Errorf("said again:\n%s", r.err)
	}
	s.expect(s.leat("status", s.file), exitOK, "2       DELETED")
}

// TestPlanSaysLossesOfTransforms has a transform whose result cannot hold all
// of its input, and a type that the destination's settings give a meaning.
func TestPlanSaysLossesOfTransforms(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	s.exec("CREATE TABLE prices (id integer PRIMARY KEY, net money)", "ALTER TABLE prices OWNER TO "+s.role)
	s.plugin, s.config = "postgres", fmt.Sprintf("host = %q, port = %d, user = %q, password = %q, database = %q", s.server.Host(), s.server.Port(), s.server.User(), s.server.Password(), s.server.Database(t))
	s.write()
	s.expect(s.leat("plan", s.file), exitOK, "LOSS: the destination reads the source's text of money by its own lc_monetary", "tables, 1 column with a loss\n")
	s.edit("[destination]", "[[transforms]]\nplugin = \"array-to-varchar\"\n[destination]")
	s.expect(s.leat("plan", s.file), exitOK, "LOSS: bounds other than from 1 are left out of an array", "2 columns with a loss")
}

// TestPlanOfIndexes prints the source's indexes and constraints in terms of the
// destination, which takes every statement of them, and rows after that.
func TestPlanOfIndexes(t *testing.T) {
	server := pgserver.Test(t, pgserver.Options{})
	for plugin, statements := range map[string][]string{
		"duckdb":   {`CREATE INDEX "by_email" ON "main"."customers" ("email")`, `CREATE INDEX "by_note" ON "main"."orders" ("note", "total")`},
		"postgres": {`CREATE INDEX "by_email" ON "public"."customers" ("email")`, `CREATE INDEX "by_note" ON "public"."orders" ("note" DESC NULLS LAST, "total")`, `CREATE INDEX "by_odd" ON "public"."orders" USING gin ("Odd name")`},
	} {
		t.Run(plugin, func(t *testing.T) {
			s := newSite(t, server)
			s.exec(`ALTER TABLE orders ADD COLUMN "Odd name" jsonb, ADD CONSTRAINT positive CHECK (total >= 0)`,
				"CREATE INDEX by_note ON orders (note DESC NULLS LAST, total) INCLUDE (id)", "CREATE UNIQUE INDEX by_email ON customers (email)",
				"CREATE INDEX by_lower ON customers (lower(email))", "CREATE INDEX part ON orders (note) WHERE total > 5", `CREATE INDEX by_odd ON orders USING gin ("Odd name")`,
				"ALTER TABLE orders ADD FOREIGN KEY (id) REFERENCES customers NOT VALID")
			apply := s.damage
			if plugin == "postgres" {
				database := server.Database(t)
				s.plugin, s.config = plugin, fmt.Sprintf("host = %q, port = %d, user = %q, password = %q, database = %q", server.Host(), server.Port(), server.User(), server.Password(), database)
				s.write()
				apply = func(statement string) {
					if err := server.Exec(t.Context(), database, statement); err != nil {
						t.Error(err)
					}
				}
			}
			s.expect(s.run(), exitOK)
			r := s.leat("plan", "--indexes", s.file)
			s.expect(r, exitOK, statements...)
			s.expect(r, exitOK, "-- "+s.database+".public.customers: CREATE UNIQUE INDEX by_email ON", "unique at the source; not here", "-- it needs an expression",
				"-- its condition is the source's", "CHECK ((total >= ", "FOREIGN KEY (id)", "without the included columns")
			if n := strings.Count(r.out, ";\n"); n != len(statements) {
				t.Errorf("%d statements, want %d:\n%s", n, len(statements), r.out)
			}
			if said := strings.Contains(r.out, "-- the destination has no gin index"); said != (plugin == "duckdb") {
				t.Errorf("gin: said to be missing %v", said)
			}
			apply(r.out)
			s.exec("UPDATE customers SET email = 'new' || id WHERE id < 10", "DELETE FROM orders WHERE id < 10", "INSERT INTO orders VALUES (1, 'again', 1, NULL, '{}')")
			s.mended() // with the indexes in place
		})
	}
}

// TestCheckOfADestinationThatKeepsValues has it open and write as in a run, and
// leaves nothing of it; then the plan and a run have what they keep.
func TestCheckOfADestinationThatKeepsValues(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	s.patience = 5 * time.Minute // with a compiler on a busy machine
	dir := filepath.Join(s.dir, "store")
	s.expect(s.leat("plugin", "new", dir, "--kind", "destination", "--lang", "c"), exitOK)
	edit(t, filepath.Join(dir, "plugin.toml"), `capabilities = ["sql"]`, `capabilities = ["sql", "kv", "blob"]`)
	edit(t, filepath.Join(dir, "plugin.c"), "    self.pipeline = pipeline,", `    leat_text kept;
    bool found;
    if (!leat_kv_get(leat_str("k"), &kept, &found, f) || !leat_kv_put(leat_str("k"), leat_str("v"), f) || !leat_blob_put(leat_str("opened/f"), leat_str("v"), f)) return false;
    self.pipeline = pipeline,`)
	s.expect(s.leat("plugin", "build", dir), exitOK)
	s.plugin = "./store"
	s.write()
	s.expect(s.leat("check", s.file), exitDestination, "is not granted to it", `grants = { kv = "10MB", blob = "exports" }`)
	edit(t, s.file, "\"./store\"\n", "\"./store\"\ngrants = { kv = \"10MB\", blob = \"exports\" }\n")
	s.expect(s.leat("check", s.file), exitOK, "destination store: opened, a table written and taken back")
	if _, err := os.Stat(filepath.Join(s.dir, "exports", "opened")); err == nil {
		t.Error("check has written into the folder of the plugin")
	}
	s.expect(s.leat("plan", s.file), exitOK)
	s.expect(s.run(), exitOK)
	s.expect(s.leat("verify", s.file), exitOK)
	s.expect(s.leat("check", s.file), exitOK)
	if r := s.leat("explain", "row", s.file, "public.customers", "id=1"); strings.Contains(r.out, "metadata") {
		t.Errorf("explain names a setting that the plugin does not have:\n%s", r.out)
	}
}
