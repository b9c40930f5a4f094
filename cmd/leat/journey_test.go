package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
	"github.com/leat-etl/leat/plugins/bundle/bundletest"
)

// TestFromNothingToRunning goes the whole way of an author in each language: a
// new folder, a transform that rewrites, drops, splits and refuses rows, its test,
// its cost, its bundle in a registry, and a pipeline that runs it.
func TestFromNothingToRunning(t *testing.T) {
	server := pgserver.Test(t, pgserver.Options{})
	for language, source := range map[string]string{"go": "main.go", "rust": "src/lib.rs", "c": "plugin.c", "typescript": "plugin.ts"} {
		t.Run(language, func(t *testing.T) { fromNothingToRunning(t, server, language, source) })
	}
}

func fromNothingToRunning(t *testing.T, server *pgserver.Server, language, source string) {
	journey := filepath.Join(sourceDir, "testdata", "journey")
	w := newWorkshop(t, newSite(t, server))
	w.patience = 5 * time.Minute
	w.exec("DROP TABLE orders, customers", "CREATE TABLE orders (id bigint PRIMARY KEY, customer text, amount bigint, tags text)",
		"ALTER TABLE orders OWNER TO "+w.role, "INSERT INTO orders VALUES (1, 'ann', 10, 'new,gift'), (2, 'bob', -1, 'x'), (3, '', 3, 'x'), (4, NULL, NULL, NULL)")
	w.ok(plugin("new", "tidy", "--lang", language), "next: leat plugin test tidy")
	if language == "typescript" { // npm install, without a network
		if err := os.Symlink(filepath.Join(sourceDir, "../../build/assemblyscript/node_modules"), filepath.Join("tidy", "node_modules")); err != nil {
			t.Fatal(err)
		}
	}
	w.ok(plugin("test", "tidy", "--seed", "1"), "0 failed")
	put := func(to, name string) {
		text, err := os.ReadFile(filepath.Join(journey, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join("tidy", to), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(source, filepath.Base(source))
	put("tests/replace.toml", "tidy.toml")
	put("config.schema.json", "config.schema.json")
	w.ok(plugin("test", "tidy", "--seed", "1"), "ok    customers in upper case", "0 failed")
	w.ok(plugin("bench", "tidy", "--no-build", "--for", "200ms", "--rows", "500"), "rows a second", "bytes copied a row")

	w.extra = "[[transforms]]\nplugin = \"" + filepath.Join(w.dir, "tidy") + "\"\ntables = [\"public.orders\"]\n"
	w.write()
	w.ok(plugin("run", "tidy", "--no-build", "--pipeline", w.file, "--table", "public.orders"), "the plugin sees customer, amount, tags", "to public.orders_tags", "ANN", "gift",
		"row 2 goes nowhere", "row 3 is refused: the customer has no name")

	host := bundletest.Registry(t, true, nil)
	edit(t, filepath.Join("tidy", "plugin.toml"), `# publisher = "you"  `, `publisher = "acme" #`)
	w.ok(plugin("keygen", "acme"), "acme.pub")
	w.ok(plugin("pack", "tidy"), "acme/tidy@0.1.0: acme-tidy-0.1.0.leat")
	w.ok(plugin("sign", "acme-tidy-0.1.0.leat", "--key", "acme.key"), "signed with the key")
	w.ok(plugin("push", "acme-tidy-0.1.0.leat", host+"/acme/tidy"), host+"/acme/tidy:0.1.0")
	w.ok(plugin("trust", "add", "acme", "acme.pub"), "are trusted")
	w.ok(plugin("install", "--dir", w.site.dir, host+"/acme/tidy:0.1.0"), "acme/tidy@0.1.0 is installed")
	w.extra = "[[transforms]]\nplugin = \"acme/tidy@0.1.0\"\ntables = [\"public.orders\"]\n"
	w.write()
	w.expect(w.run(), exitOK)
	for sql, want := range map[string]string{
		"SELECT string_agg(id || ' ' || coalesce(customer, 'null'), ', ' ORDER BY id) AS all FROM orders": "1 ANN, 4 null",
		"SELECT string_agg(id || ' ' || tag, ', ' ORDER BY tag) AS all FROM orders_tags":                  "1 gift, 1 new",
	} {
		if r := w.ok([]string{"query", w.file, sql}); !strings.Contains(r.out, want) {
			t.Errorf("%s gives\n%s, want %q", sql, r.out, want)
		}
	}
	w.ok([]string{"failed", "list", w.file}, "the customer has no name")
}
