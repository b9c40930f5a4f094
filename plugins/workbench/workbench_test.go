//go:build duckdb_arrow

package workbench

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/wasm"
	"github.com/leat-etl/leat/plugins/workbench/compile"
	"github.com/leat-etl/leat/plugins/workbench/scaffold"
)

// cache keeps compiled modules for the tests of this package.
var cache string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "leat-workbench-")
	if err != nil {
		panic(err)
	}
	cache = filepath.Join(dir, "cache")
	asc, err := filepath.Abs("../../build/assemblyscript/node_modules/.bin")
	if err != nil {
		panic(err)
	}
	os.Setenv("PATH", asc+string(os.PathListSeparator)+os.Getenv("PATH"))
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

func newHost(t testing.TB) *wasm.Host {
	t.Helper()
	h, err := wasm.NewHost(context.Background(), wasm.Config{CacheDir: cache})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close(context.Background()) })
	return h
}

// scaffolded makes the folder of a new plugin.
func scaffolded(t testing.TB, language compile.Language, kind bundle.Kind) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "my-plugin")
	if _, err := scaffold.New(scaffold.Options{Dir: dir, Language: language, Kind: kind}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// built compiles a folder; go tool task toolchains installs the compilers.
func built(t testing.TB, dir string) *bundle.Bundle {
	t.Helper()
	out, err := compile.Module(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := compile.Build(context.Background(), dir, out, os.Stderr); err != nil {
		t.Fatalf("go tool task toolchains installs the compilers: %v", err)
	}
	b, err := bundle.Resolve(out, ".")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func report(t testing.TB, h *wasm.Host, b *bundle.Bundle, dir string) *Report {
	t.Helper()
	r, err := Test(context.Background(), h, b, dir, 1)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestNewPlugins takes what leat plugin new makes in every language and of
// each kind: it builds without a warning and passes every test.
func TestNewPlugins(t *testing.T) {
	for _, kind := range []bundle.Kind{bundle.Transform, bundle.Destination} {
		for _, language := range compile.Languages {
			t.Run(string(kind)+"/"+string(language), func(t *testing.T) {
				dir := scaffolded(t, language, kind)
				out, err := compile.Module(dir)
				if err != nil {
					t.Fatal(err)
				}
				var said strings.Builder
				if _, err := compile.Build(t.Context(), dir, out, &said); err != nil {
					t.Fatalf("go tool task toolchains installs the compilers: %v", err)
				}
				if said.Len() > 0 {
					t.Errorf("the compiler says: %s", said.String())
				}
				b, err := bundle.Resolve(out, ".")
				if err != nil {
					t.Fatal(err)
				}
				r := report(t, newHost(t), b, dir)
				if len(r.Results) < 5 {
					t.Errorf("only %d cases ran", len(r.Results))
				}
				for _, one := range r.Results {
					if !one.Passed {
						t.Errorf("%s: %s: %s", one.Group, one.Case, one.Detail)
					}
				}
			})
		}
	}
}

// faulty is a transform that breaks a rule, by its setting.
const faulty = `package main

import (
	"unicode/utf8"

	"github.com/leat-etl/leat/pdk/go"
)

func init() { pdk.RegisterTransform(plan) }

func main() {}

var batches int

func plan(in *pdk.PlanInput) (*pdk.Plan, error) {
	var c struct{ Fault string }
	if err := in.Config(&c); err != nil {
		return nil, err
	}
	i := in.Schema.Column("email")
	p := pdk.KeepAll(in.Schema)
	need, out := p.Need(i), p.Compute(pdk.FormatText)
	p.Outputs[0].Columns[i].From = pdk.Computed(out)
	p.Process = func(b *pdk.Batch, o *pdk.Output) error {
		batches++
		in, to := b.Column(need), o.Column(out)
		for row := range b.Len() {
			state := in.State(row)
			switch {
			case state == pdk.Absent && c.Fault == "null":
				to.AppendNull()
			case state == pdk.Absent && c.Fault == "invent":
				to.AppendBytes([]byte("nobody"))
			case state == pdk.Absent:
				to.AppendAbsent()
			case state == pdk.IsNull:
				to.AppendNull()
			case c.Fault == "count":
				to.AppendBytes([]byte{'a' + byte(batches%26)})
			case c.Fault == "first" && row == 0:
				to.AppendBytes([]byte("the first"))
			case c.Fault == "trap" && utf8.RuneCount(in.Bytes(row)) > 1000:
				for {
				}
			case c.Fault == "cut" && len(in.Bytes(row)) > 4:
				to.AppendBytes(in.Bytes(row)[:4])
			default:
				to.AppendBytes(in.Bytes(row))
			}
		}
		return nil
	}
	return p, nil
}
`

const faultyCases = `
table = "public.customers"
columns = ["id bigint key", "email text", "note text"]
config = { fault = "FAULT" }

[[case]]
name = "three rows"
input = '''
op     | id | email | note
insert | 1  | ann   | one
insert | 2  | bob   | null
update | 3  | carl  | unchanged
'''
output = '''
op     | id | email | note
insert | 1  | ann   | one
insert | 2  | bob   | null
update | 3  | WANT  | unchanged
'''
`

// write replaces a file of a plugin.
func write(t testing.TB, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestFaultyTransforms sees that each rule which a plugin can break is held
// against it, with words that say what to do.
func TestFaultyTransforms(t *testing.T) {
	dir := scaffolded(t, compile.Go, bundle.Transform)
	write(t, dir, "main.go", faulty)
	write(t, dir, "config.schema.json", `{"type": "object", "properties": {"fault": {"type": "string"}}}`)
	write(t, dir, "plugin.toml", "name = \"my-plugin\"\nversion = \"0.1.0\"\nkind = \"transform\"\nabi = 1\ndescription = \"d\"\nlicence = \"x\"\nlimits = { deadline = \"300ms\" }\n")
	if err := os.Remove(filepath.Join(dir, "tests", "replace.toml")); err != nil {
		t.Fatal(err)
	}
	h, b := newHost(t), built(t, dir)
	for _, c := range []struct{ fault, want, says string }{
		{"", "carl", ""},
		{"null", "carl", "the column email becomes null and the value at the destination is lost"},
		{"invent", "carl", "a value made up"},
		{"count", "carl", "the same batch a second time came out otherwise"},
		{"first", "carl", "the batch in halves came out otherwise than the whole"},
		{"trap", "carl", "the call ran for more than 300ms"},
		{"cut", "carl", "process shop.public.customers at 1:0/64: contract: computed column 0: data: not valid UTF-8"},
		{"", "karl", "- update | 3  | karl  | unchanged\n+ update | 3  | carl  | unchanged\n                ^^^^"},
	} {
		write(t, dir, "tests/cases.toml", strings.NewReplacer("FAULT", c.fault, "WANT", c.want).Replace(faultyCases))
		r := report(t, h, b, dir)
		var details []string
		for _, one := range r.Results {
			details = append(details, one.Detail)
		}
		all := strings.Join(details, "\n")
		if (r.Failed() > 0) != (c.says != "") || !strings.Contains(all, c.says) {
			t.Errorf("fault %q: %d cases failed:\n%s\nwant %q", c.fault, r.Failed(), all, c.says)
		}
	}
}

// TestFaultyDestinations takes the destination of leat plugin new apart.
func TestFaultyDestinations(t *testing.T) {
	for _, c := range []struct{ name, cut, instead, says string }{
		{"unchanged becomes null", "for _, i := range absent { // unchanged", "for _, i := range absent[:0] { // unchanged", "that the source does not have"},
		{"a removed entry stays", `sql := fmt.Sprintf("DELETE FROM leat_checkpoint WHERE pipeline = %s AND key = %s", text(d.pipeline), text(e.Key))`, `sql := "SELECT 1"`, "checkpoint returns the entries"},
		{"a rollback that does nothing", "if err := pdk.RollbackSQL(); err != nil {\n\t\treturn err\n\t}", "", ""},
		{"a truncate that leaves rows", `_, err := pdk.Exec("DELETE FROM " + t.name)`, `_, err := pdk.Exec("SELECT 1")`, "a row is there that the source does not have"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := scaffolded(t, compile.Go, bundle.Destination)
			text, err := os.ReadFile(filepath.Join(dir, "main.go"))
			if err != nil {
				t.Fatal(err)
			}
			broken := strings.Replace(string(text), c.cut, c.instead, 1)
			if broken == string(text) {
				t.Fatalf("the source has no %q", c.cut)
			}
			write(t, dir, "main.go", broken)
			r := report(t, newHost(t), built(t, dir), dir)
			var details []string
			for _, one := range r.Results {
				details = append(details, one.Detail)
			}
			if all := strings.Join(details, "\n"); r.Failed() == 0 || !strings.Contains(all, c.says) {
				t.Errorf("%d cases failed:\n%s\nwant %q", r.Failed(), all, c.says)
			}
		})
	}
}

// asks keeps each value in a file, reads it back, and asks a server.
const asks = `#include "leat.h"

static void ask(leat_builder *out, leat_text value, void *state) {
    (void)state;
    leat_failure f = {0};
    leat_text kept;
    bool found;
    leat_http_request request = {.method = "GET", .url = "https://example.org/"};
    leat_http_response response;
    if (!leat_blob_put(leat_str("one"), value, &f) || !leat_blob_get(leat_str("one"), &kept, &found, &f) || !found) return leat_refuse_value(out, "no file");
    leat_append_text(out, kept);
    leat_append_str(out, leat_http(&request, &response, &f) ? " asked" : " refused");
}

static bool plan(leat_plan *p) {
    leat_keep_all(p);
    leat_rewrite(p, leat_find(&p->table, "email"), ask, 0);
    return true;
}

LEAT_TRANSFORM(plan)
`

// TestAPluginThatAsksTheHost is tested without a network and without a folder.
func TestAPluginThatAsksTheHost(t *testing.T) {
	dir := scaffolded(t, compile.C, bundle.Transform)
	write(t, dir, "plugin.c", asks)
	write(t, dir, "config.schema.json", `{"type": "object"}`)
	manifest, err := os.ReadFile(filepath.Join(dir, "plugin.toml"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "plugin.toml", strings.Replace(string(manifest), "abi = 1", "abi = 1\ncapabilities = [\"blob\", \"http\"]", 1))
	write(t, dir, "tests/replace.toml", `table = "public.customers"
columns = ["id bigint key", "email text"]
[[case]]
name = "files are kept, no server is asked"
input = '''
op   | id | email
read | 1  | ann
'''
output = '''
op   | id | email
read | 1  | ann refused
'''
`)
	if r := report(t, newHost(t), built(t, dir), dir); r.Failed() > 0 {
		t.Errorf("%+v", r.Results)
	}
}
