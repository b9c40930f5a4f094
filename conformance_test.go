package leat_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
)

// conformance is testdata/conformance.toml: what a PostgreSQL source has to
// do, each row with the tests that show it.
type conformance struct {
	Row []struct {
		Section string   `toml:"section"`
		Feature string   `toml:"feature"`
		Tests   []string `toml:"tests"`
	} `toml:"row"`
}

// TestEveryFeatureHasItsTest makes sure that each row of the conformance list
// names tests, and that they exist.
func TestEveryFeatureHasItsTest(t *testing.T) {
	var list conformance
	meta, err := toml.DecodeFile("testdata/conformance.toml", &list)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range meta.Undecoded() {
		t.Errorf("unknown key %s", key)
	}
	if len(list.Row) == 0 {
		t.Fatal("the list is empty")
	}
	packages := map[string]map[string]bool{}
	seen := map[string]bool{}
	for _, row := range list.Row {
		if row.Section == "" || row.Feature == "" || seen[row.Feature] {
			t.Errorf("row %q of section %q: a row has a section and a feature of its own", row.Feature, row.Section)
		}
		seen[row.Feature] = true
		if len(row.Tests) == 0 {
			t.Errorf("%s %s: no test shows it", row.Section, row.Feature)
		}
		for _, name := range row.Tests {
			folder, test, _ := strings.Cut(name, ".")
			if packages[folder] == nil {
				packages[folder] = testsIn(t, folder)
			}
			if !packages[folder][test] {
				t.Errorf("%s %s: there is no test %s", row.Section, row.Feature, name)
			}
		}
	}
}

// testsIn returns the names of the tests of a package.
func testsIn(t *testing.T, folder string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(filepath.FromSlash(folder), "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, text, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") {
				names[f.Name.Name] = true
			}
		}
	}
	return names
}
