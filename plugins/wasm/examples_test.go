package wasm

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/leat-etl/leat/engine/batch"
)

// kits are the languages that have a kit, each with the same examples.
var kits = []struct {
	language string
	build    func(t testing.TB, name string) []byte
}{
	{"go", func(t testing.TB, name string) []byte { return build(t, "../../pdk/go/examples/"+name) }},
	{"c", buildC},
	{"rust", buildRust},
	{"typescript", buildTypeScript},
}

// compile runs a compiler in a folder; it writes out.
func compile(t testing.TB, dir, out, compiler string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(compiler, args...)
	cmd.Dir = dir
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make %s (go tool task toolchains installs the compiler): %v\n%s", out, err, text)
	}
	code, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// buildC compiles an example of the C kit.
func buildC(t testing.TB, name string) []byte {
	t.Helper()
	return compileC(t, "../../pdk/c/examples/"+name+"/plugin.c")
}

func compileC(t testing.TB, source string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "plugin.wasm")
	return compile(t, ".", out, "clang", "--target=wasm32", "-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-mbulk-memory", "-nostdlib", "-Wl,--no-entry",
		"-I../../pdk/c", "-o", out, source)
}

// buildRust compiles an example of the Rust kit.
func buildRust(t testing.TB, name string) []byte {
	t.Helper()
	return compileRust(t, "../../pdk/rust/examples/"+name+"/src/lib.rs")
}

// compileRust compiles the Rust kit, once, and a plugin that uses it.
func compileRust(t testing.TB, source string) []byte {
	t.Helper()
	kit := filepath.Join(builds.dir, "libleat.rlib")
	args := []string{"--edition", "2021", "--target", "wasm32-unknown-unknown", "-O", "-C", "panic=abort", "-D", "warnings"}
	builds.mu.Lock()
	defer builds.mu.Unlock()
	if builds.done[kit] == nil {
		builds.done[kit] = compile(t, ".", kit, rustc(), append(args, "--crate-type", "rlib", "--crate-name", "leat", "-o", kit, "../../pdk/rust/src/lib.rs")...)
	}
	out := filepath.Join(t.TempDir(), "plugin.wasm")
	return compile(t, ".", out, rustc(), append(args, "--crate-type", "cdylib", "--crate-name", "plugin", "-C", "linker=wasm-ld", "-C", "strip=symbols",
		"--extern", "leat="+kit, "-o", out, source)...)
}

// buildTypeScript compiles an example of the TypeScript kit.
func buildTypeScript(t testing.TB, name string) []byte {
	t.Helper()
	return compileTypeScript(t, "pdk/typescript/examples/"+name+"/plugin.ts")
}

// compileTypeScript compiles a file of this repository.
func compileTypeScript(t testing.TB, source string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "plugin.wasm")
	asc, err := filepath.Abs("../../build/assemblyscript/node_modules/.bin/asc")
	if err != nil {
		t.Fatal(err)
	}
	return compile(t, "../..", out, asc, source, "-O3", "--exportStart", "_initialize", "--use", "abort=pdk/typescript/assembly/abort/abort", "--outFile", out)
}

// rustc is a Rust compiler that has WebAssembly's standard library: the one of
// the path, or else the distribution's.
func rustc() string {
	if root, err := exec.Command("rustc", "--print", "sysroot").Output(); err == nil {
		if _, err := os.Stat(filepath.Join(strings.TrimSpace(string(root)), "lib/rustlib/wasm32-unknown-unknown/lib")); err == nil {
			return "rustc"
		}
	}
	return "/usr/bin/rustc"
}

// examples are what the seven examples make of some rows, by output table.
var examples = []struct {
	name, config string
	rows         []row
	want         [][]string
	failed       map[int]string
}{
	{
		name: "upper", config: `{"column": "email"}`, rows: mixed,
		want: [][]string{{"I|1|ANN@EXAMPLE.ORG|one|{1,NULL}", "U|2|?|two|{}", "K|3|?|?|?", "U|4|~|?|~", "D|5|?|?|?"}},
	},
	{
		name: "mask-email", config: `{"column": "email"}`,
		rows: append(mixed[:len(mixed):len(mixed)], row{batch.Insert, 6, [3]string{"élan@x.org", "", "{}"}}, row{batch.Insert, 7, [3]string{"nobody", "", "{}"}}),
		want: [][]string{{"I|1|a***@example.org|one|{1,NULL}", "U|2|?|two|{}", "K|3|?|?|?", "U|4|~|?|~", "D|5|?|?|?", "I|6|***||{}", "I|7|***||{}"}},
	},
	{
		name: "array-json", config: `{"column": "scores"}`,
		rows:   append(mixed[:len(mixed):len(mixed)], row{batch.Insert, 6, [3]string{"e", "n", `{{-1,2},{"x\"\\ ` + "\n" + `",NULL}}`}}, row{batch.Insert, 7, [3]string{"e", "n", "{1,,2}"}}),
		want:   [][]string{{"I|1|ann@example.org|one|[1,null]", "U|2|?|two|[]", "K|3|?|?|?", "U|4|~|?|~", "D|5|?|?|?", `I|6|e|n|[[-1,2],["x\"\\ \u000a",null]]`}},
		failed: map[int]string{6: "the array literal is broken"},
	},
	{
		name: "filter", config: `{"column": "note", "value": "one"}`, rows: mixed,
		want: [][]string{{"U|2|?|two|{}", "K|3|?|?|?", "U|4|~|?|~", "D|5|?|?|?"}},
	},
	{
		name: "split", config: `{"column": "note"}`,
		rows: []row{{batch.Insert, 1, [3]string{"a", " two  words", "{}"}}, {batch.Insert, 2, [3]string{"b", null, "{}"}}, {batch.Insert, 3, [3]string{"c", "x", "{}"}}},
		want: [][]string{{"I|1|a| two  words|{}", "I|2|b|~|{}", "I|3|c|x|{}"}, {"I|1|two", "I|1|words", "I|3|x"}},
	},
	{
		name: "sum", config: `{"a": "id", "b": "id", "into": "total"}`,
		rows:   []row{{batch.Insert, 21, [3]string{"a", "b", "{}"}}, {batch.Insert, 1 << 62, [3]string{"a", "b", "{}"}}, {batch.Insert, -5, [3]string{"a", "b", "{}"}}},
		want:   [][]string{{"I|21|a|b|{}|42", "I|-5|a|b|{}|-10"}},
		failed: map[int]string{1: "the sum is out of range for bigint"},
	},
	{
		name: "hashed", config: `{"column": "email", "where": "id >= 0"}`,
		rows: []row{{batch.Insert, 1, [3]string{"Ann@Example.org", "one", "{}"}}, {batch.Insert, -2, [3]string{"a", "b", "{}"}}, {batch.Update, 3, [3]string{null, "one", "{}"}}, {batch.Delete, 4, [3]string{absent, absent, absent}}, {batch.Update, -5, [3]string{"gone", "one", "{}"}}},
		want: [][]string{{"I|1|8b5a6a28fc840441be692d74a81ccd1a|one|{}", "U|3|~|one|{}", "D|4|?|?|?", "D|-5|?|?|?"}},
	},
}

// TestExamplesOfEveryKit runs the examples of each language: all make the same
// of the same rows, twice, and take a wide batch as well.
func TestExamplesOfEveryKit(t *testing.T) {
	h := newHost(t)
	s := customers("shop")
	for _, kit := range kits {
		for _, e := range examples {
			t.Run(kit.language+"/"+e.name, func(t *testing.T) {
				code := kit.build(t, e.name)
				tr, err := h.Transform(context.Background(), code, Plugin{Name: e.name, Version: "0.1.0", Config: json.RawMessage(e.config)})
				if err != nil {
					t.Fatal(err)
				}
				defer tr.Close(context.Background())
				p := mustPlan(t, tr, PlanInput{Schema: s})
				for range 2 {
					r := mustProcess(t, tr, p, customerBatch(s, e.rows...))
					if len(r.Batches) != len(e.want) {
						t.Fatalf("%d batches, want %d", len(r.Batches), len(e.want))
					}
					for i, want := range e.want {
						wantRows(t, r.Batches[i], want...)
					}
					got := map[int]string{}
					for _, f := range r.Failed {
						got[f.Row] = f.Message
					}
					for row, message := range e.failed {
						if got[row] != message {
							t.Errorf("row %d failed with %q, want %q", row, got[row], message)
						}
					}
					if len(got) != len(e.failed) {
						t.Errorf("failed rows are %v", got)
					}
				}
				wide(t, tr, p, s)
				refuses(t, h, code, e.config)
			})
		}
	}
}

// wide sends a batch large enough to make every buffer of the guest grow.
func wide(t *testing.T, tr *Transform, p *Plan, s *batch.Schema) {
	t.Helper()
	rows := make([]row, 20_000)
	for i := range rows {
		rows[i] = row{batch.Insert, int64(i), [3]string{strings.Repeat("a", i%90) + "@b.c", "x " + strings.Repeat("y", i%50), "{}"}}
		if i%7 == 0 {
			rows[i].text = [3]string{null, null, null}
		}
	}
	r := mustProcess(t, tr, p, customerBatch(s, rows...))
	if len(r.Failed) > 0 || r.Batches[0].Len() != len(rows) {
		t.Errorf("%d of %d rows, %d failed", r.Batches[0].Len(), len(rows), len(r.Failed))
	}
}

// refuses sees that a column which is missing is named.
func refuses(t *testing.T, h *Host, code []byte, config string) {
	t.Helper()
	s := &batch.Schema{Table: batch.TableID{Database: "d", Schema: "s", Name: `bare "one"`}, Version: 1, Columns: []batch.Column{{Name: "only", Type: arrow.FixedWidthTypes.Boolean}}}
	tr, err := h.Transform(context.Background(), code, Plugin{Name: "refuses", Version: "0.1.0", Config: json.RawMessage(config)})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close(context.Background())
	_, err = tr.Plan(context.Background(), PlanInput{Schema: s})
	wantError(t, err, KindGuest, "column")
	names := []string{"email", "note", "scores", "id"}
	if !slices.ContainsFunc(names, func(n string) bool { return strings.Contains(err.Error(), n) }) {
		t.Errorf("the refusal names no column: %v", err)
	}
}

// TestAPanicInRustIsToldWithItsPlace sees that the text of a panic is in the
// error, though Rust itself prints nothing without a system.
func TestAPanicInRustIsToldWithItsPlace(t *testing.T) {
	source := filepath.Join(t.TempDir(), "unlucky.rs")
	if err := os.WriteFile(source, []byte(`
fn plan(p: &mut leat::Plan) -> Result<(), String> {
    panic!("no luck with {}", p.table.name);
}
leat::transform!(plan);`), 0o600); err != nil {
		t.Fatal(err)
	}
	tr, err := newHost(t).Transform(context.Background(), compileRust(t, source), Plugin{Name: "unlucky", Version: "0.1.0"})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close(context.Background())
	_, err = tr.Plan(context.Background(), PlanInput{Schema: customers("shop")})
	wantError(t, err, KindTrap, "no luck with customers")
	wantError(t, err, KindTrap, "unlucky.rs:3")
}
