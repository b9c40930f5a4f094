package main

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
	"github.com/leat-etl/leat/state"
)

// decode reads JSON that a verb printed.
func decode[T any](s *site, r result) (v T) {
	s.t.Helper()
	if err := json.Unmarshal([]byte(r.out), &v); err != nil {
		s.t.Fatalf("not JSON: %v\n%s%s", err, r.out, r.err)
	}
	return v
}

// damage runs a statement at the destination behind Leat's back.
func (s *site) damage(statement string) {
	s.t.Helper()
	db, err := sql.Open("duckdb", filepath.Join(s.dir, "warehouse.duckdb"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(s.t.Context(), statement); err != nil {
		s.t.Fatal(err)
	}
}

// TestVerbsOfAStoppedPipeline goes through the verbs before and after a run.
func TestVerbsOfAStoppedPipeline(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	for _, verb := range [][]string{{"status"}, {"objects", "list"}, {"failed", "list"}} {
		s.expect(s.leat(append(verb, s.file)...), exitFailure, "has never run", "leat run")
	}
	s.expect(s.leat("check", s.file), exitOK, "everything that the pipeline needs is there")
	s.expect(s.leat("plan", s.file), exitOK, "orders", "DECIMAL(10,2)", "LOSS: NaN becomes NULL", "CREATE TABLE", "customers")
	planned := decode[[]engine.PlannedTable](s, s.leat("--json", "plan", s.file))
	if len(planned) != 2 || planned[1].Targets[0].Table != `"main"."orders"` {
		t.Errorf("plan --json: %+v", planned)
	}
	s.expect(s.run(), exitOK)
	s.expect(s.leat("status", s.file), exitOK, "is not running", "LAST RUNS", "finished", "leat_shop")
	stopped := decode[stoppedStatus](s, s.leat("--json", "status", s.file))
	if stopped.Running || len(stopped.Sources) != 1 || len(stopped.Runs) != 1 || stopped.Runs[0].Rows != 600 {
		t.Errorf("status --json: %+v", stopped)
	}
	s.expect(s.leat("objects", "list", s.file), exitOK, "public.orders", "STREAMING", "500", "public.customers", "100")
	if objects := decode[[]state.Object](s, s.leat("--json", "objects", "list", s.file)); len(objects) != 2 || objects[0].State != state.Streaming {
		t.Errorf("objects list --json: %+v", objects)
	}
	s.expect(s.leat("failed", "list", s.file), exitOK, "no failed events")
	if r := s.leat("--json", "failed", "list", s.file); strings.TrimSpace(r.out) != "[]" {
		t.Errorf("failed list --json without events: %q", r.out)
	}
	s.expect(s.leat("query", s.file, "SELECT count(*) AS n FROM orders"), exitOK, "N\n500")
	s.expect(s.leat("--json", "query", s.file, "SELECT id, note FROM orders WHERE id = 7"), exitOK, `{"id":7,"note":"order 7"}`)
	s.expect(s.leat("query", s.file, "SELECT nonsense FROM orders"), exitUsage, "nonsense")
	s.expect(s.leat("verify", s.file), exitOK, "source and destination are equal", "500")
	s.examples("check", "plan", "status", "objects list", "failed list", "explain row", "query", "schema", "plugin list", "objects pause", "objects resume", "objects restart")
}

// TestPlanOfDDLForCI shows what a migration would do, by exit code and JSON.
func TestPlanOfDDLForCI(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	s.expect(s.leat("plan", s.file, "--ddl", "ALTER TABLE orders ADD colour text"), exitOK, "APPLY: column colour of", "orders", "go on", "empty copies")
	s.expect(s.leat("plan", s.file, "--ddl", "ALTER TABLE orders ALTER id TYPE text"), exitOK, "LOADED AGAIN", "rewrites")
	s.expect(s.leat("plan", s.file, "--ddl", "TRUNCATE orders"), exitUsage, "statement 1", "nothing else")
	s.expect(s.leat("plan", s.file, "--ddl", "ALTER TABLE orders DROP nothing"), exitUsage, "does not exist", "would refuse")
	s.expect(s.leat("plan", s.file, "--ddl", "ALTER TABLE nothing DROP note"), exitUsage, `there is no table "nothing"`)
	s.extra = "[schema_changes]\ncolumn_dropped = \"block\""
	s.write()
	s.exec("ALTER TABLE orders OWNER TO "+s.server.User(), "GRANT SELECT ON orders TO "+s.role) // it need not own the table
	s.expect(s.leat("plan", s.file, "--ddl", "ALTER TABLE orders DROP note"), exitChange, "BLOCK: column note of", "STOP")
	r := s.leat("--json", "plan", s.file, "--ddl", "ALTER TABLE orders DROP note")
	s.expect(r, exitChange)
	if plan := decode[engine.DDLPlan](s, r); !plan.Stops || len(plan.Tables) != 1 || plan.Tables[0].Changes[0].Policy != "block" {
		t.Errorf("plan --ddl --json: %+v", plan)
	}
	s.exec(fmt.Sprintf("REVOKE TEMPORARY ON DATABASE %s FROM PUBLIC", s.database))
	s.expect(s.leat("plan", s.file, "--ddl", "ALTER TABLE orders DROP note"), exitSource, fmt.Sprintf(`GRANT TEMPORARY ON DATABASE "%s" TO "%s"`, s.database, s.role))
}

// TestVerbsOfARunningPipeline asks the engine that runs.
func TestVerbsOfARunningPipeline(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	p := s.start()
	p.says("run begins pipeline=shop databases=" + s.database + " tables=*.* destination=duckdb\n")
	p.says("historical load finished")
	s.await("SELECT count(*) FROM orders", "500")
	s.exec("INSERT INTO orders VALUES (501, 'live', 1.5, NULL)")
	s.await("SELECT note FROM orders WHERE id = 501", "live")
	s.expect(s.leat("status", s.file), exitOK, "has been running", "streaming", "public.orders")
	status := decode[struct {
		Running bool          `json:"running"`
		Status  engine.Status `json:"status"`
	}](s, s.leat("--json", "status", s.file))
	if !status.Running || len(status.Status.Databases) != 1 || len(status.Status.Tables) != 2 {
		t.Errorf("status --json: %+v", status)
	}
	s.expect(s.leat("objects", "list", s.file), exitOK, "public.orders", "STREAMING")
	s.expect(s.leat("failed", "list", s.file), exitOK, "no failed events")
	if r := s.leat("--json", "failed", "list", s.file); strings.TrimSpace(r.out) != "[]" {
		t.Errorf("failed list --json without events: %q", r.out)
	}
	s.expect(s.leat("--json", "query", s.file, "SELECT note FROM orders WHERE id = 501"), exitOK, `{"note":"live"}`)
	s.expect(s.leat("query", s.file, "SELECT nonsense FROM orders"), exitUsage, "nonsense")
	s.expect(s.leat("verify", s.file), exitOK, "source and destination are equal", "501")
	s.expect(s.leat("plan", s.file), exitOK, "DECIMAL(10,2)", "2 tables")
	s.expect(s.leat("plan", s.file, "--ddl", "ALTER TABLE orders ADD colour text"), exitOK, "APPLY: column colour of", "go on", "empty copies")
	s.expect(s.leat("plan", s.file, "--ddl", "ALTER TABLE orders DROP nothing"), exitUsage, "does not exist", "would refuse")
	if plan := decode[engine.DDLPlan](s, s.leat("--json", "plan", s.file, "--ddl", "ALTER TABLE orders ALTER id TYPE text")); len(plan.Tables) != 1 || plan.Tables[0].Reload == "" {
		t.Errorf("plan --ddl --json: %+v", plan)
	}
	s.expect(s.leat("check", s.file), exitOK, "destination duckdb: ")
	if code := p.stop(); code != exitOK {
		t.Errorf("exit code %d\n%s", code, p.out)
	}
}

// TestQueryOnlyReads refuses statements that would change the destination, of
// a stopped pipeline and of a running one, DuckDB and PostgreSQL.
func TestQueryOnlyReads(t *testing.T) {
	server := pgserver.Test(t, pgserver.Options{})
	refused := func(s *site, table string) {
		t.Helper()
		out := filepath.Join(s.dir, "out.csv")
		for _, sql := range []string{"DELETE FROM " + table, "SELECT 1; DROP TABLE " + table, "COPY " + table + " TO '" + out + "'", "DROP TABLE " + table, "SET search_path = ''", "SELCT 1"} {
			s.expect(s.leat("query", s.file, sql), exitUsage)
		}
		s.expect(s.leat("query", s.file, "DELETE FROM "+table+" RETURNING id"), exitUsage, "only questions are asked")
		s.expect(s.leat("query", s.file, "COPY "+table+" TO '"+out+"'"), exitUsage, "could change something", "only questions are asked")
		s.expect(s.leat("query", s.file, "SELECT count(*) FROM "+table), exitOK, "500")
		if _, err := os.Stat(out); err == nil {
			t.Errorf("query wrote %s", out)
		}
		printsValues(s, strings.Replace(table, "orders", "odd", 1))
	}
	duck, pg := newSite(t, server), newSite(t, server)
	for _, s := range []*site{duck, pg} {
		s.exec(`CREATE TABLE odd (id integer PRIMARY KEY, u uuid, b bytea, ts timestamptz, td timestamp, d date, tm time, big bigint, ok boolean, f float8, n numeric(10,2), long text)`, "ALTER TABLE odd OWNER TO "+s.role,
			`INSERT INTO odd VALUES (1, '161ece9d-56bd-4d0f-b4a5-62df064c0471', '\xdeadbeef', 'infinity', '0044-03-15 BC', '-infinity', '12:34:56', 9007199254740993, true, 'NaN', 2.50, repeat('long ', 30)),
				(2, NULL, '', '2026-11-30 03:51:42.5+00', '2026-11-30 03:51:42', '2026-11-30', '00:00:00.25', 9007199254740992, false, 1.5, -0.10, '<a "b">')`)
	}
	pg.intoPostgres()
	for s, table := range map[*site]string{duck: "orders", pg: "shop.orders"} {
		s.expect(s.run(), exitOK)
		refused(s, table)
		p := s.start()
		p.listens()
		refused(s, table)
		if code := p.stop(); code != exitOK {
			t.Errorf("exit code %d\n%s", code, p.out)
		}
	}
	for _, sql := range []string{"SHOW TABLES", "describe orders"} {
		pg.expect(pg.leat("query", pg.file, sql), exitUsage, "information_schema.tables")
	}
}

// printsValues asks for values of every kind, as text and as JSON.
func printsValues(s *site, table string) {
	s.t.Helper()
	const columns = "u, b, ts, td, d, tm, big, ok, f, n, long"
	s.expect(s.leat("query", s.file, "SELECT "+columns+" FROM "+table+" ORDER BY id"), exitOK, "161ece9d-56bd-4d0f-b4a5-62df064c0471  \\xdeadbeef  infinity  ", "0044-03-15 00:00:00 BC", "  -infinity", "12:34:56  ",
		"\nNULL                                  \\x          2026-11-30", "true   NaN  2.50   "+strings.Repeat("long ", 30), "2026-11-30T03:51:42.5Z  2026-11-30T03:51:42 ", "  2026-11-30  ", "00:00:00.25")
	s.expect(s.leat("--json", "query", s.file, "SELECT "+columns+" FROM "+table+" ORDER BY id"), exitOK,
		`{"u":"161ece9d-56bd-4d0f-b4a5-62df064c0471","b":"\\xdeadbeef","ts":"infinity","td":"0044-03-15 00:00:00 BC","d":"-infinity","tm":"12:34:56","big":"9007199254740993","ok":true,"f":"NaN","n":2.50,"long":"long `,
		`{"u":null,"b":"\\x","ts":"2026-11-30T03:51:42.5Z","td":"2026-11-30T03:51:42","d":"2026-11-30","tm":"00:00:00.25","big":9007199254740992,"ok":false,"f":1.5,"n":-0.10,"long":"<a \"b\">"}`)
	s.expect(s.leat("--json", "query", s.file, "SELECT count(*) AS n, sum(id) AS s FROM "+table), exitOK, `{"n":2,"s":3}`)
	s.expect(s.leat("query", s.file, "SELECT u, b FROM "+table+" WHERE id = 9"), exitOK, "U  B\n")
}

// TestVerifyNamesDamagedKeys damages the destination in every way.
func TestVerifyNamesDamagedKeys(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	s.mended()
	s.damage(`UPDATE orders SET total = total + 0.01 WHERE id = 17;
		DELETE FROM orders WHERE id = 23;
		INSERT INTO customers SELECT * REPLACE (9999 AS id) FROM customers WHERE id = 1`)
	s.expect(s.leat("verify", s.file), exitDifferent, "id=17: different", "id=23: missing at the destination", "id=9999: extra at the destination")
	r := s.leat("--json", "verify", s.file)
	s.expect(r, exitDifferent, "something else has written to the destination")
	if v := decode[engine.Verification](s, r); v.Equal() || v.Tables[0].Different != 1 || v.Tables[1].Different != 2 {
		t.Errorf("verify --json: %+v", v.Tables)
	}
	s.damage(`DROP TABLE customers`)
	s.expect(s.leat("verify", s.file), exitDifferent, "id=17: different", "id=1: missing at the destination")
}

// TestFailedEvents sets rows aside that the destination cannot hold, mends them
// at the source, replays and skips.
func TestFailedEvents(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	s.exec("INSERT INTO orders VALUES (601, 'a matrix', 1, '{{a,b},{c,d}}'), (602, 'bounds', 2, '[0:0]={x}')")
	s.expect(s.run(), exitOK, "2 failed events", "leat failed list "+s.file)
	s.exec("UPDATE orders SET flags = '{fine}' WHERE id = 601", "UPDATE orders SET note = 'goes on' WHERE id = 1")
	s.expect(s.leat("run", "--until-caught-up", s.file), exitOK, "3 set aside (leat failed list "+s.file, "3 failed events")
	s.expect(s.leat("status", s.file), exitOK, "3 failed events", "leat failed list "+s.file)
	p := s.start()
	p.listens()
	s.expect(s.leat("status", s.file), exitOK, "3 failed events", "leat failed list "+s.file)
	if code := p.stop(); code != exitOK {
		t.Errorf("exit code %d\n%s", code, p.out)
	}
	s.expect(s.leat("query", s.file, "SELECT note FROM orders WHERE id = 1"), exitOK, "goes on")
	s.expect(s.leat("failed", "list", s.file), exitOK, "duckdb@", "waits behind")
	events := decode[[]state.Failed](s, s.leat("--json", "failed", "list", s.file))
	if len(events) != 3 {
		t.Fatalf("%d failed events, want the 2 rows and the update behind one", len(events))
	}
	var matrix, bounds string
	for _, e := range events {
		shown := s.leat("failed", "show", s.file, e.ID)
		switch {
		case strings.Contains(shown.out, "a matrix") && e.WaitsBehind == "":
			matrix = e.ID
			s.expect(shown, exitOK, "public.orders", "flags", "{{a,b},{c,d}}", "dimension")
		case strings.Contains(shown.out, "bounds"):
			bounds = e.ID
		}
	}
	if d := decode[engine.DescribedEvent](s, s.leat("--json", "failed", "show", s.file, matrix)); d.Event.ID != matrix || len(d.Rows) != 1 {
		t.Errorf("failed show --json: %+v", d)
	}
	gone := s.database + ".public.orders@0000000000000001-0000000000000001-0000000000000001"
	for _, verb := range []string{"show", "replay", "skip", "capsule"} {
		for _, event := range []string{"nothing", gone} {
			s.expect(s.leat("failed", verb, s.file, event), exitUsage, "no failed event", "leat failed list "+s.file)
		}
	}
	s.expect(s.leat("failed", "replay", s.file), exitUsage, "--all")
	s.expect(s.leat("failed", "replay", s.file, bounds), exitFailure, "1 failed again", "bounds")
	s.expect(s.leat("verify", s.file), exitDifferent, "id=601: missing", "id=602: missing")
	s.expect(s.leat("failed", "skip", s.file, matrix), exitUsage, "gives 1 failed event of "+s.database+".public.orders up for good", "--yes")
	s.expect(s.leat("failed", "show", s.file, matrix), exitOK)
	s.expect(s.leat("failed", "skip", s.file, matrix, "--yes"), exitOK, "1 replayed, 1 skipped")
	s.expect(s.leat("query", s.file, "SELECT flags FROM orders WHERE id = 601"), exitOK, "fine")
	s.exec("DELETE FROM orders WHERE id = 602")
	s.expect(s.leat("failed", "skip", s.file, bounds, "--yes"), exitOK, "skipped")
	s.expect(s.leat("failed", "list", s.file), exitOK, "no failed events")
	if r := s.leat("run", "--until-caught-up", s.file); strings.Contains(r.err, "set aside") {
		t.Errorf("nothing is set aside, and the run says\n%s", r.err)
	}
	s.mended()
}

// TestFailedEventsReplayed replays after the destination's table can hold the
// rows.
func TestFailedEventsReplayed(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	target, _ := s.intoPostgres()
	s.expect(s.run(), exitOK)
	atTarget := func(sql string) {
		t.Helper()
		if err := s.server.Exec(t.Context(), target, sql); err != nil {
			t.Fatal(err)
		}
	}
	atTarget("ALTER TABLE shop.customers ADD CONSTRAINT picky CHECK (email NOT LIKE 'bad%')")
	s.exec("INSERT INTO customers VALUES (701, 'bad one'), (702, 'good one')",
		"UPDATE customers SET email = 'bad again' WHERE id = 5", "UPDATE customers SET email = 'good by now' WHERE id = 5")
	s.expect(s.run(), exitOK)
	s.expect(s.leat("failed", "list", s.file), exitOK, "violates check constraint")
	s.expect(s.leat("query", s.file, "SELECT id FROM shop.customers WHERE email LIKE 'good%'"), exitOK, "702")
	p := s.start()
	p.listens()
	s.expect(s.leat("failed", "replay", "--all", s.file), exitFailure, "failed again", "picky")
	atTarget("ALTER TABLE shop.customers DROP CONSTRAINT picky")
	r := s.leat("--json", "failed", "replay", "--all", s.file)
	s.expect(r, exitOK)
	if got := decode[engine.ReplayResult](s, r); got.Replayed == 0 || len(got.Failed) > 0 {
		t.Errorf("failed replay --json: %+v", got)
	}
	if code := p.stop(); code != exitOK {
		t.Errorf("exit code %d\n%s", code, p.out)
	}
	s.mended()
	s.expect(s.leat("failed", "list", s.file), exitOK, "no failed events")
}

// TestInit writes a pipeline file that runs as it is.
func TestInit(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	t.Chdir(s.dir)
	t.Setenv("PGPASSWORD", rolePassword)
	dsn := fmt.Sprintf("postgres://%s@%s:%d/%s?sslmode=disable", s.role, s.host, s.port, s.database)
	r := s.leat("init", "-o", "made.toml", "--duckdb", "made.duckdb", dsn)
	s.expect(r, exitOK, "wrote made.toml", "REPLICATION", "GRANT SELECT ON ALL TABLES", "leat check made.toml")
	s.expect(s.leat("init", "-o", "made.toml", dsn), exitUsage, "made.toml exists", "--output")
	s.expect(s.leat("init", "not a dsn"), exitSource, "postgres://")
	s.expect(s.leat("init", strings.Replace(dsn, "/"+s.database, "/nowhere", 1)), exitSource, "nowhere", "[1017]")
	s.file = filepath.Join(s.dir, "made.toml")
	s.expect(s.leat("check", s.file), exitOK)
	s.mended()
}

// TestCheckAsJSON gives every check with its outcome.
func TestCheckAsJSON(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	s.exec("ALTER ROLE " + s.role + " NOREPLICATION")
	r := s.leat("--json", "check", s.file)
	s.expect(r, exitSource)
	report := decode[struct {
		Items []struct {
			Name, Outcome, Fix string
		}
	}](s, r)
	found := false
	for _, item := range report.Items {
		found = found || strings.EqualFold(item.Outcome, "fail") && strings.Contains(item.Fix, "REPLICATION")
	}
	if !found {
		t.Errorf("no failed item names the fix: %+v", report)
	}
}

// TestSchemaAndExitCodes prints what needs no pipeline.
func TestSchemaAndExitCodes(t *testing.T) {
	s := &site{t: t}
	schema := decode[map[string]any](s, s.leat("schema"))
	if schema["$schema"] == nil || schema["properties"] == nil {
		t.Errorf("schema: %v", schema)
	}
	s.expect(s.leat("schema", "--reference"), exitOK, "decoder_format", "load_historical_data")
	s.expect(s.leat("exit-codes"), exitOK, exitCodeHelp)
	s.expect(s.leat("no-such-verb"), exitUsage, "no-such-verb")
	s.expect(s.leat("failed", "lisst"), exitUsage, `unknown command "lisst" for "leat failed"; did you mean "list"?`)
	s.expect(s.leat("failed"), exitOK, "replay")
}

// TestPlugins lists, shows and builds plugins.
func TestPlugins(t *testing.T) {
	s := &site{t: t}
	s.expect(s.leat("plugin", "list"), exitOK, "array-to-varchar", "merge-tables", "database-name", "duckdb", "postgres")
	if list := decode[[]map[string]any](s, s.leat("--json", "plugin", "list")); len(list) < 5 {
		t.Errorf("plugin list --json: %v", list)
	}
	s.expect(s.leat("plugin", "info", "mask"), exitOK, "sha256:", "Apache-2.0", "columns", "memory")
	if info := decode[map[string]any](s, s.leat("--json", "plugin", "info", "mask")); info["digest"] == nil || info["config_schema"] == nil {
		t.Errorf("plugin info --json: %v", info)
	}
	s.expect(s.leat("plugin", "info", "maks"), exitPlugin, `did you mean "mask"`)
	out := filepath.Join(t.TempDir(), "database-name.wasm")
	for _, name := range []string{"plugin.toml", "config.schema.json"} {
		text, err := os.ReadFile(filepath.Join("../../transforms/database-name", name))
		if err == nil {
			err = os.WriteFile(filepath.Join(filepath.Dir(out), name), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	s.expect(s.leat("plugin", "build", "-o", out, "../../transforms/database-name"), exitOK, "database-name 0.1.0", out)
	s.expect(s.leat("plugin", "build", "-o", out, t.TempDir()), exitPlugin, "holds no source of a plugin", "leat plugin new")
}
