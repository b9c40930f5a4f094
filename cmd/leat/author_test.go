package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
	"github.com/leat-etl/leat/plugins/workbench"
	"github.com/leat-etl/leat/state"
)

// newPlugin makes a plugin in C, the language that compiles fastest.
func newPlugin(s *site) string {
	s.t.Helper()
	s.patience = 5 * time.Minute // with a compiler on a busy machine
	dir := filepath.Join(s.dir, "hide")
	s.expect(s.leat("plugin", "new", dir, "--lang", "c"), exitOK, "plugin.c", "tests/replace.toml", "leat plugin test "+dir)
	return dir
}

// edit replaces a part of a file of the plugin.
func edit(t *testing.T, path, before, after string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(text), before, after, 1)
	if changed == string(text) {
		t.Fatalf("%s has no %q", path, before)
	}
	if err := os.WriteFile(path, []byte(changed), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestAuthorsLoop writes, tests and breaks a plugin.
func TestAuthorsLoop(t *testing.T) {
	s := &site{t: t, dir: t.TempDir()}
	s.expect(s.leat("plugin", "new", filepath.Join(s.dir, "Bad_Name")), exitUsage, "lower-case letters")
	s.expect(s.leat("plugin", "new", filepath.Join(s.dir, "x"), "--lang", "cobol"), exitUsage, "there are go, rust, c, typescript")
	s.expect(s.leat("plugin", "new", filepath.Join(s.dir, "x"), "--kind", "source"), exitUsage, "a transform or a destination")
	dir := newPlugin(s)
	s.expect(s.leat("plugin", "new", dir), exitUsage, "the folder is not empty")
	s.expect(s.leat("plugin", "build", dir), exitOK, "hide 0.1.0", "hide.wasm")
	s.expect(s.leat("plugin", "test", "--no-build", "--seed", "7", dir), exitOK, "0 failed; seed 7")

	edit(t, filepath.Join(dir, "plugin.c"), `leat_str("***")`, `leat_str("+++")`)
	s.expect(s.leat("plugin", "test", dir), exitPlugin, "FAIL  a value is replaced", "- insert | 1  | ***       | two words", "+ insert | 1  | +++       | two words", "^^^")
	var r workbench.Report
	if err := json.Unmarshal([]byte(s.leat("plugin", "test", "--json", dir).out), &r); err != nil || r.Failed() != 1 || r.Results[0].Passed {
		t.Errorf("as JSON: %v %+v", err, r)
	}
	edit(t, filepath.Join(dir, "tests", "replace.toml"), `name = "the text`, `nam = "the text`)
	s.expect(s.leat("plugin", "test", "--no-build", dir), exitPlugin, "replace.toml:34:1", `unknown: did you mean "name"?`)
	edit(t, filepath.Join(dir, "plugin.c"), "leat_keep_all(p);", "leat_keep_everything(p);")
	s.expect(s.leat("plugin", "build", dir), exitPlugin, "clang: exit status 1", "leat_keep_everything")
	if err := os.RemoveAll(filepath.Join(dir, "leat")); err != nil {
		t.Fatal(err)
	}
	s.expect(s.leat("plugin", "build", dir), exitPlugin, "it needs the kit in the folder leat", "leat plugin kit "+dir)
	s.expect(s.leat("plugin", "kit", dir), exitOK, "holds the kit for c")
	edit(t, filepath.Join(dir, "plugin.c"), "leat_keep_everything(p);", "leat_keep_all(p);")
	s.expect(s.leat("plugin", "build", dir), exitOK)

	t.Setenv("PATH", t.TempDir())
	for language, says := range map[string]string{"c": "install clang and lld", "go": "install Go 1.26", "typescript": "npm install --save-dev assemblyscript"} {
		other := filepath.Join(s.dir, "in-"+language)
		s.expect(s.leat("plugin", "new", other, "--lang", language), exitOK)
		s.expect(s.leat("plugin", "build", other), exitPlugin, "which is not installed", says)
	}
}

// TestWatchedTests tests again at every save.
func TestWatchedTests(t *testing.T) {
	s := &site{t: t, dir: t.TempDir()}
	dir := newPlugin(s)
	p := s.begin("plugin", "test", "--watch", "--seed", "1", dir)
	p.says("8 passed, 0 failed")
	p.says("waiting for changes")
	edit(t, filepath.Join(dir, "plugin.c"), `leat_str("***")`, `leat_str("+++")`)
	p.says("7 passed, 1 failed")
	edit(t, filepath.Join(dir, "plugin.c"), `leat_str("+++")`, `leat_str(`)
	p.says("clang: exit status 1")
	if code := p.stop(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

// TestDevelopment swaps a plugin under a running pipeline: no row is lost or
// comes twice, a broken plugin is not taken.
func TestDevelopment(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	dir := newPlugin(s)
	s.expect(s.leat("plugin", "build", dir), exitOK)
	s.extra = "[[transforms]]\nplugin = \"./hide\"\ntables = [\"public.customers\"]\nconfig = { columns = [\"email\"] }\n"
	s.write()
	p := s.begin("run", "--quiet", "--dev", s.file)
	p.says("watching the plugin for changes")
	p.listens()
	s.await("SELECT count(*) FROM customers WHERE email = '***'", "100")

	source := filepath.Join(dir, "plugin.c")
	edit(t, source, `leat_str("***")`, `leat_str("+++")`)
	p.says("plugin swapped")
	s.exec("INSERT INTO customers SELECT i, 'new' FROM generate_series(101, 150) i")
	s.await("SELECT count(*) FROM customers WHERE email = '+++'", "50")

	edit(t, source, `leat_keep_all(p);`, `leat_keep(p);`)
	p.says("the changed plugin is not taken: the one before it goes on")
	p.says("clang: exit status 1")
	edit(t, source, `leat_keep(p);`, `return leat_refuse(p, "no plan today");`)
	p.says("no plan today")
	s.exec("INSERT INTO customers SELECT i, 'new' FROM generate_series(151, 160) i")
	s.await("SELECT count(*) FROM customers WHERE email = '+++'", "60")
	s.await("SELECT count(*) FROM customers", "160")

	// Settings, columns and grants come from the pipeline file at every save.
	edit(t, source, `return leat_refuse(p, "no plan today");`, `leat_keep_all(p);`)
	edit(t, s.file, `columns = ["email"] }`, `columns = ["email"], with = "~~~" }`)
	p.saysTimes("plugin swapped", 2)
	s.exec("INSERT INTO customers SELECT i, 'new' FROM generate_series(161, 170) i")
	s.await("SELECT count(*) FROM customers WHERE email = '~~~'", "10")
	edit(t, s.file, `config = { columns = ["email"]`, "columns = [\"id\"]\nconfig = { columns = [\"email\"]")
	p.says("which the pipeline does not grant")
	edit(t, s.file, `columns = ["id"]`, `columns = ["id", "email"]`)
	p.saysTimes("plugin swapped", 3)
	edit(t, s.file, `tables = ["public.customers"]`, `tables = ["public.*"]`)
	p.says("start the pipeline again")
	edit(t, s.file, `tables = ["public.*"]`, `tables = ["public.customers"`)
	p.says("the changed pipeline file is not taken")
	if code := p.stop(); code != exitOK {
		t.Errorf("exit code %d\n%s", code, p.out)
	}
}

// hoarder keeps 100 bytes for each row, says whether it could, and works hard.
const hoarder = `#include "leat.h"

static void hoard(leat_builder *out, leat_text value, void *state) {
    (void)value, (void)state;
    static char full[100];
    leat_failure f = {0};
    for (volatile int i = 0; i < 1000000; i++) {}
    leat_append_str(out, leat_kv_put(leat_str("all"), (leat_text){full, sizeof full}, &f) ? "kept" : "no room");
}

static bool plan(leat_plan *p) {
    leat_keep_all(p);
    leat_rewrite(p, leat_find(&p->table, "email"), hoard, 0);
    return true;
}

LEAT_TRANSFORM(plan)
`

// TestDevelopmentOfGrantsAndLimits changes nothing but what the pipeline file
// lets a plugin use.
func TestDevelopmentOfGrantsAndLimits(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	dir := newPlugin(s)
	writeFile(t, hoarder, dir, "plugin.c")
	edit(t, filepath.Join(dir, "plugin.toml"), "abi = 1", "abi = 1\ncapabilities = [\"kv\"]")
	writeFile(t, `{"type": "object"}`, dir, "config.schema.json")
	s.expect(s.leat("plugin", "build", dir), exitOK)
	const first = `grants = { kv = "1kB" }`
	s.extra = "[[transforms]]\nplugin = \"./hide\"\ntables = [\"public.customers\"]\n" + first + "\n"
	s.write()
	p := s.begin("run", "--quiet", "--dev", s.file)
	p.says("watching the plugin for changes")
	p.listens()
	s.await("SELECT count(*) FROM customers WHERE email = 'kept'", "100")
	rows := 100
	expect := func(email string, n string) {
		t.Helper()
		rows++
		s.exec(fmt.Sprintf("INSERT INTO customers VALUES (%d, 'new')", rows))
		s.await(fmt.Sprintf("SELECT count(*) FROM customers WHERE email = '%s'", email), n)
	}
	change := func(from, to string, swaps int) {
		t.Helper()
		edit(t, s.file, from, to)
		p.saysTimes("plugin swapped", swaps)
	}

	change(`kv = "1kB"`, `kv = "50B"`, 1)
	expect("no room", "1")
	change(`kv = "50B"`, `kv = "1kB"`, 2)
	expect("kept", "101")

	// What does not link is not taken, and what runs goes on as it was granted.
	edit(t, s.file, first, "")
	p.says("the changed grants do not count yet: the plugin that runs has those from before")
	expect("kept", "102")

	change("tables = [\"public.customers\"]\n", "tables = [\"public.customers\"]\n"+first+"\nlimits = { fuel = 900000 }\n", 3)
	rows++
	s.exec(fmt.Sprintf("INSERT INTO customers VALUES (%d, 'new')", rows))
	p.says("rows are set aside")
	change("limits = { fuel = 900000 }", "limits = { fuel = 900000000 }", 4)
	expect("kept", "103")
	if r := s.leat("failed", "list", s.file); !strings.Contains(r.out, "used up its 900000 units of fuel") {
		t.Errorf("the failed event is not there: %s", r.out)
	}
	if code := p.stop(); code != exitOK {
		t.Errorf("exit code %d\n%s", code, p.out)
	}
}

// TestTriedOnRows shows rows of the source before and after, and reads no
// column that the plan does not declare.
func TestTriedOnRows(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	dir := newPlugin(s)
	tried := []string{"plugin", "run", dir, "--pipeline", s.file, "--table", "public.orders", "--limit", "2"}
	s.expect(s.leat(tried...), exitPlugin, "has no transform with the plugin "+dir)
	s.extra = "[[transforms]]\nplugin = \"./hide\"\nconfig = { columns = [\"note\"] }\n"
	s.write()
	s.expect(s.leat("plugin", "run", dir), exitUsage, "needs --pipeline FILE and --table")
	s.expect(s.leat(append(tried, "--table", "public.nothing")...), exitUsage, `table "public.nothing" is not one of the pipeline's`)
	r := s.leat(tried...)
	s.expect(r, exitOK, "public.orders: 2 rows, the plugin sees note", "to public.orders", "-> NOTE", "order 1  ***", "order 2  ***")
	if strings.Contains(r.out, "1.25") {
		t.Errorf("a column that the plan does not declare is shown:\n%s", r.out)
	}
	var out struct {
		Sees []string
		Rows []fate
	}
	if err := json.Unmarshal([]byte(s.leat(append(tried, "--json")...).out), &out); err != nil || len(out.Rows) != 2 || len(out.Sees) != 1 {
		t.Fatalf("as JSON: %v %+v", err, out)
	}
	if f := out.Rows[1]; f.Before["note"] != "order 2" || len(f.After) != 1 || f.After[0].Row["note"] != "***" || len(f.Before) != 2 {
		t.Errorf("the second row is %+v", f)
	}
	edit(t, filepath.Join(dir, "plugin.c"), "    (void)value;\n", "    if (value.len && value.at[value.len - 1] == '2') __builtin_trap();\n")
	s.expect(s.leat(tried...), exitOK, "public.orders: 2 rows", "order 1  ***", "row 2 is refused: trap: wasm error: unreachable")
	edit(t, filepath.Join(dir, "plugin.c"), "__builtin_trap();", "for (volatile int i = 0;;) i++;")
	edit(t, s.file, "[[transforms]]\n", "[[transforms]]\nlimits = { fuel = 1000000 }\n")
	s.expect(s.leat(tried...), exitOK, "order 1  ***", "row 2 is refused: fuel: the call used up its 1000000 units of fuel")
	edit(t, filepath.Join(dir, "plugin.c"), "for (volatile int i = 0;;) i++;", "leat_append_str(out, \"\\xff\");")
	s.expect(s.leat(tried...), exitPlugin, "row 2: plugin hide@0.1.0", "not valid UTF-8")
}

// TestTriedWithGrants tries a plugin that keeps values on rows, and its call from
// a capsule: nothing of what it keeps then stays.
func TestTriedWithGrants(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	dir := newPlugin(s)
	writeFile(t, strings.Replace(hoarder, "    leat_append_str(out, ", `    if (!leat_blob_put(leat_str("f"), value, &f)) return;
    if (leat_is(value, "refused")) { leat_refuse_value(out, "not kept"); return; }
    leat_append_str(out, `, 1), dir, "plugin.c")
	edit(t, filepath.Join(dir, "plugin.c"), "(void)value, (void)state;", "(void)state;")
	edit(t, filepath.Join(dir, "plugin.toml"), "abi = 1", "abi = 1\ncapabilities = [\"kv\", \"blob\"]")
	writeFile(t, `{"type": "object"}`, dir, "config.schema.json")
	s.extra = "[[transforms]]\nplugin = \"./hide\"\ntables = [\"public.customers\"]\ngrants = { kv = \"1kB\", blob = \"kept\" }\n"
	s.write()
	s.expect(s.leat("plugin", "run", dir, "--pipeline", s.file, "--table", "public.customers", "--limit", "2"), exitOK, "kept")
	if files, err := os.ReadDir(filepath.Join(s.dir, "kept")); len(files) > 0 {
		t.Errorf("a trial has left %v, %v", files, err)
	}
	s.exec("UPDATE customers SET email = 'refused' WHERE id = 1")
	s.expect(s.run(), exitOK)
	events := decode[[]state.Failed](s, s.leat("--json", "failed", "list", s.file))
	if len(events) != 1 {
		t.Fatalf("%d failed events, want 1", len(events))
	}
	path := filepath.Join(s.dir, "refused.capsule")
	s.expect(s.leat("failed", "capsule", s.file, events[0].ID, "-o", path), exitOK, "not kept")
	s.expect(s.leat("plugin", "test", "capsule", path, "--plugin", dir), exitOK, "the same outcome")
}

// TestMeasured compares a plugin with one that does nothing.
func TestMeasured(t *testing.T) {
	s := &site{t: t, dir: t.TempDir()}
	dir := newPlugin(s)
	s.expect(s.leat("plugin", "bench", dir, "--for", "200ms", "--rows", "500"), exitOK, "batches of 500 rows", "a plugin that does nothing", "fuel a row", "in parallel")
	var m workbench.Measurement
	if err := json.Unmarshal([]byte(s.leat("plugin", "bench", "--no-build", "--json", "--for", "200ms", "--parallel", "2", dir).out), &m); err != nil {
		t.Fatal(err)
	}
	if m.FuelARow < 1 || m.NoopASecond <= m.RowsASecond || m.BytesIn < 8 || m.BytesOut < 3 || m.Parallel != 2 || m.ParallelRate <= 0 || m.MemoryBytes == 0 || m.Native {
		t.Errorf("measured %+v", m)
	}
	s.expect(s.leat("plugin", "new", filepath.Join(s.dir, "store"), "--lang", "c", "--kind", "destination"), exitOK)
	store := filepath.Join(s.dir, "store")
	s.expect(s.leat("plugin", "bench", store, "--for", "200ms", "--rows", "500"), exitOK, "deliveries of 500 rows", "the host's bare ingest", "host calls a delivery")
	var d workbench.Delivery
	if err := json.Unmarshal([]byte(s.leat("plugin", "bench", "--no-build", "--json", "--for", "200ms", store).out), &d); err != nil {
		t.Fatal(err)
	}
	// Rows and their checkpoint: the statements that bring a stage into a table.
	if d.Rows != 8192 || d.RowsASecond <= 0 || d.BareASecond <= 0 || d.FuelARow <= 0 || d.HostCalls < 6 || d.MemoryBytes == 0 {
		t.Errorf("measured %+v", d)
	}
	edit(t, filepath.Join(store, "plugin.toml"), `driver = "duckdb"`, `driver = "postgres"`)
	s.expect(s.leat("plugin", "bench", "--no-build", store), exitPlugin, "bench measures destinations on DuckDB")
}
