// Package leat_test holds the rules of the house that a compiler does not: who
// may import whom, what lies where, how files are called and formatted.
package leat_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/leat-etl/leat"

// topFolders are all there may be, and what git does not keep.
var topFolders = []string{"cmd", "engine", "plugins", "pdk", "transforms", "state", "testdata", ".ci", ".git", ".task", "bin", "build"}

// room is a part of the tree and the rest of the module that it may import;
// itself it always may. The first room that a path lies in counts.
type room struct {
	in    string
	may   []string
	guest bool // imports nothing outside the module but the standard library
	each  bool // every folder below is a room of its own, whose tests run on the host and may use it
}

var rooms = []room{
	{in: "cmd", may: []string{"engine", "plugins", "state"}},
	{in: "engine/batch"},
	{in: "engine", may: []string{"plugins", "state"}},
	{in: "plugins/destinations/internal/desttest", may: []string{"plugins", "engine/batch", "pdk/go"}},
	{in: "plugins/destinations", may: []string{"pdk/go", "plugins/destinations/internal"}, guest: true, each: true},
	{in: "plugins", may: []string{"engine/batch", "pdk"}},
	{in: "state", may: []string{"engine/batch"}},
	{in: "transforms", may: []string{"pdk/go"}, guest: true, each: true},
	{in: "pdk/go", guest: true},
	{in: "pdk", may: []string{"pdk/go"}, guest: true},
}

// harnesses serve tests, the first one also the demo; no other code may use
// them.
var harnesses = []string{"engine/enginetest", "plugins/destinations/internal/desttest"}

// library is a set of packages that only some rooms may import.
type library struct {
	prefixes []string
	in       []string
	tests    bool // test files may anywhere
}

var libraries = []library{
	{[]string{"github.com/jackc/pgx", "github.com/jackc/pglogrepl"}, []string{"engine/postgres", "plugins/capability", "engine/enginetest"}, true},
	{[]string{"github.com/duckdb", "github.com/marcboeker/go-duckdb", "github.com/go-sql-driver/mysql", "github.com/ClickHouse"}, []string{"plugins/capability"}, true},
	{[]string{"github.com/tetratelabs/wazero"}, []string{"plugins/wasm", "engine/enginetest/bench"}, false},
	{[]string{"github.com/cockroachdb/pebble"}, []string{"state"}, false},
}

var vagueNames = []string{"util", "utils", "common", "shared", "helper", "helpers", "types", "manager", "handler", "handlers", "base"}

// domainTypes is where "types" is the field's own word: PostgreSQL's types.
const domainTypes = "engine/postgres"

// source is a Go file of the module by its slash-separated path.
type source struct {
	path string
	text []byte
	file *ast.File
}

func parse(name string, text []byte) (source, error) {
	file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ParseComments)
	return source{name, text, file}, err
}

func (s source) dir() string   { return path.Dir(s.path) }
func (s source) test() bool    { return strings.HasSuffix(s.path, "_test.go") }
func within(p, in string) bool { return p == in || strings.HasPrefix(p, in+"/") }

func withinAny(p string, in []string) bool {
	return slices.ContainsFunc(in, func(i string) bool { return within(p, i) })
}

// lintFiles checks every file by itself and every package as a whole.
func lintFiles(sources []source) []string {
	var wrong []string
	documented := map[string]bool{}
	for _, s := range sources {
		wrong = append(wrong, lintImports(s)...)
		wrong = append(wrong, lintName(s)...)
		if formatted, err := format.Source(s.text); err != nil || !bytes.Equal(formatted, s.text) {
			wrong = append(wrong, s.path+": not gofmt-ed")
		}
		if !s.test() {
			documented[s.dir()] = documented[s.dir()] || s.file.Doc != nil
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(documented)) {
		if !documented[dir] {
			wrong = append(wrong, dir+": the package has no doc comment")
		}
	}
	return wrong
}

func lintName(s source) []string {
	words := strings.Split(strings.TrimSuffix(path.Base(s.path), ".go"), "_")
	words = append(words, path.Base(s.dir()))
	for _, word := range words {
		if slices.Contains(vagueNames, word) && !(word == "types" && within(s.path, domainTypes)) {
			return []string{fmt.Sprintf("%s: %q says nothing: name what it is about", s.path, word)}
		}
	}
	return nil
}

func lintImports(s source) []string {
	var wrong []string
	for _, spec := range s.file.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue // the parser has refused it
		}
		var why string
		if own, ok := strings.CutPrefix(name, module+"/"); ok {
			why = refuseOwn(s, own)
		} else {
			why = refuseForeign(s, name)
		}
		if why != "" {
			wrong = append(wrong, fmt.Sprintf("%s imports %s: %s", s.path, name, why))
		}
	}
	return wrong
}

// roomOf finds the room of a path and the folder that is its own.
func roomOf(p string) (room, string, bool) {
	for _, r := range rooms {
		if !within(p, r.in) {
			continue
		}
		own := r.in
		if r.each {
			name, _, _ := strings.Cut(strings.TrimPrefix(p, r.in+"/"), "/")
			own = r.in + "/" + name
		}
		return r, own, true
	}
	return room{}, "", false
}

// refuseOwn says why a file may not import a package of the module, empty if
// it may.
func refuseOwn(s source, imported string) string {
	r, own, ok := roomOf(s.dir())
	if !ok {
		return "code lies in none of the house's rooms"
	}
	if withinAny(imported, harnesses) {
		if s.test() && !within(s.dir(), "pdk") || withinAny(s.dir(), harnesses) || within(s.dir(), "cmd") {
			return ""
		}
		return path.Base(imported) + " is for tests and the demo"
	}
	may := r.may
	if r.each && s.test() {
		may = append(slices.Clip(may), "plugins", "engine/batch")
	}
	if within(imported, own) || withinAny(imported, may) {
		return ""
	}
	if r.may == nil {
		return own + " imports nothing of the module"
	}
	return own + " imports only " + strings.Join(r.may, ", ") + " of the module"
}

// refuseForeign is refuseOwn for packages of others.
func refuseForeign(s source, imported string) string {
	first, _, _ := strings.Cut(imported, "/")
	if !strings.Contains(first, ".") {
		return "" // the standard library
	}
	if r, _, ok := roomOf(s.dir()); ok && r.guest && !(r.each && s.test()) {
		return "guests and the PDK import the standard library and the PDK only"
	}
	for _, l := range libraries {
		if withinAny(imported, l.prefixes) && !withinAny(s.dir(), l.in) && !(l.tests && s.test()) {
			return "only " + strings.Join(l.in, ", ") + " may"
		}
	}
	return ""
}

func lintFolders(names []string) []string {
	var wrong []string
	for _, name := range names {
		if !slices.Contains(topFolders, name) {
			wrong = append(wrong, name+": not one of the top-level folders")
		}
	}
	return wrong
}

// moduleSources reads every Go file that is built or tested.
func moduleSources(t *testing.T) []source {
	t.Helper()
	var sources []source
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if base := d.Name(); name != "." && (strings.HasPrefix(base, ".") || slices.Contains([]string{"testdata", "node_modules", "build", "bin"}, base)) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		s, err := parse(filepath.ToSlash(name), text)
		sources = append(sources, s)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sources
}

func TestHouseRules(t *testing.T) {
	sources := moduleSources(t)
	if len(sources) < 20 {
		t.Fatalf("only %d Go files found: the walk is wrong", len(sources))
	}
	for _, w := range lintFiles(sources) {
		t.Error(w)
	}
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var folders []string
	for _, e := range entries {
		if e.IsDir() {
			folders = append(folders, e.Name())
		}
	}
	for _, w := range lintFolders(folders) {
		t.Error(w)
	}
}

func TestHouseRulesCatchViolations(t *testing.T) {
	own := func(p string) string { return `import _ "` + module + "/" + p + `"` }
	foreign := func(p string) string { return `import _ "` + p + `"` }
	for _, c := range []struct {
		path, code string
		want       string // part of the only violation; empty: none
	}{
		{"cmd/leat/run.go", own("engine"), ""},
		{"cmd/leat/demo.go", own("engine/enginetest/shop"), ""},
		{"cmd/leat/run.go", foreign("github.com/jackc/pgx/v5"), "only engine/postgres"},
		{"engine/engine.go", own("plugins/wasm"), ""},
		{"engine/engine.go", own("state"), ""},
		{"engine/engine.go", own("cmd/leat"), "engine imports only"},
		{"engine/engine.go", own("engine/enginetest/shop"), "for tests and the demo"},
		{"engine/engine_test.go", own("engine/enginetest/shop"), ""},
		{"engine/batch/batch.go", own("engine/spec"), "imports nothing of the module"},
		{"engine/batch/batch.go", foreign("github.com/apache/arrow-go/v18/arrow"), ""},
		{"engine/postgres/stream.go", foreign("github.com/jackc/pglogrepl"), ""},
		{"engine/server/http.go", foreign("github.com/jackc/pglogrepl"), "only engine/postgres"},
		{"engine/server/http_test.go", foreign("github.com/jackc/pgx/v5"), ""},
		{"engine/engine.go", foreign("github.com/tetratelabs/wazero"), "only plugins/wasm"},
		{"engine/engine_test.go", foreign("github.com/tetratelabs/wazero/api"), "only plugins/wasm"},
		{"plugins/wasm/meter/meter.go", foreign("github.com/tetratelabs/wazero/api"), ""},
		{"plugins/wasm/load.go", own("engine/batch"), ""},
		{"plugins/wasm/load.go", own("engine"), "plugins imports only engine/batch"},
		{"plugins/wasm/load.go", own("state"), "plugins imports only engine/batch"},
		{"plugins/wasm/load.go", own("engine/batchwise"), "plugins imports only engine/batch"},
		{"plugins/wasm/load_test.go", own("engine/enginetest/pgserver"), ""},
		{"plugins/bundle/pack.go", foreign("github.com/duckdb/duckdb-go/v2"), "only plugins/capability"},
		{"plugins/capability/duckdb.go", foreign("github.com/duckdb/duckdb-go/v2"), ""},
		{"plugins/destinations/duckdb/main.go", own("pdk/go/destination"), ""},
		{"plugins/destinations/duckdb/main.go", own("plugins/destinations/duckdb/merge"), ""},
		{"plugins/destinations/duckdb/main.go", own("plugins/destinations/postgres"), "imports only pdk/go"},
		{"plugins/destinations/duckdb/main.go", own("engine/batch"), "imports only pdk/go"},
		{"plugins/destinations/duckdb/main_test.go", own("engine/enginetest/pgserver"), ""},
		{"plugins/destinations/duckdb/main_test.go", own("plugins/capability"), ""},
		{"plugins/destinations/duckdb/main_test.go", own("engine"), "imports only pdk/go"},
		{"plugins/destinations/duckdb/main.go", own("plugins/capability"), "imports only pdk/go"},
		{"plugins/destinations/duckdb/main.go", own("plugins/destinations/internal/relational"), ""},
		{"plugins/destinations/duckdb/main.go", own("plugins/destinations/internal/desttest"), "for tests and the demo"},
		{"plugins/destinations/internal/relational/merge.go", own("engine/batch"), "imports only pdk/go"},
		{"plugins/destinations/internal/desttest/host.go", own("plugins/capability"), ""},
		{"pdk/go/leat_test.go", own("engine/enginetest/pgserver"), "for tests and the demo"},
		{"plugins/destinations/duckdb/main.go", foreign("github.com/apache/arrow-go/v18/arrow"), "standard library"},
		{"transforms/mask/main.go", own("pdk/go"), ""},
		{"transforms/mask/main.go", own("transforms/rename"), "imports only pdk/go"},
		{"transforms/mask/main.go", foreign("golang.org/x/sync/errgroup"), "standard library"},
		{"pdk/go/leat.go", foreign("encoding/json"), ""},
		{"pdk/go/leat.go", foreign("golang.org/x/sync/errgroup"), "standard library"},
		{"pdk/go/leat.go", own("engine/batch"), "imports nothing of the module"},
		{"state/store.go", foreign("github.com/cockroachdb/pebble/v2"), ""},
		{"state/store.go", own("plugins/wasm"), "state imports only engine/batch"},
		{"engine/engine.go", foreign("github.com/cockroachdb/pebble/v2/vfs"), "only state"},
		{"engine/util.go", "", `"util" says nothing`},
		{"engine/batch_helpers_test.go", "", `"helpers" says nothing`},
		{"engine/common/clock.go", "", `"common" says nothing`},
		{"engine/utility.go", "", ""},
		{"engine/spec/types.go", "", `"types" says nothing`},
		{"engine/postgres/types.go", "", ""},
		{"internal/clock.go", own("engine/batch"), "none of the house's rooms"},
		{"engine/engine.go", "var  x int", "not gofmt-ed"},
	} {
		text := "// Package p is a fixture.\npackage p\n"
		if c.code != "" {
			text += "\n" + c.code + "\n"
		}
		s, err := parse(c.path, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		wrong := lintFiles([]source{s})
		if c.want == "" && len(wrong) > 0 || c.want != "" && (len(wrong) != 1 || !strings.Contains(wrong[0], c.want)) {
			t.Errorf("%s with %q: want %q, got %q", c.path, c.code, c.want, wrong)
		}
	}
}

func TestHouseRulesWantADocumentedPackage(t *testing.T) {
	var sources []source
	for _, f := range [][2]string{
		{"state/a.go", "package state\n"}, {"state/doc.go", "// Package state is one.\npackage state\n"},
		{"engine/a.go", "package engine\n"}, {"engine/a_test.go", "// Package engine_test is none.\npackage engine_test\n"},
	} {
		s, err := parse(f[0], []byte(f[1]))
		if err != nil {
			t.Fatal(err)
		}
		sources = append(sources, s)
	}
	if wrong := lintFiles(sources); !slices.Equal(wrong, []string{"engine: the package has no doc comment"}) {
		t.Errorf("got %q", wrong)
	}
}

func TestHouseRulesKnowTheTopFolders(t *testing.T) {
	if wrong := lintFolders([]string{"cmd", "pkg", "state", ".git"}); len(wrong) != 1 || !strings.Contains(wrong[0], "pkg") {
		t.Errorf("got %q", wrong)
	}
}
