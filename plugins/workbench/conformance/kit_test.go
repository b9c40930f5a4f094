//go:build duckdb_arrow

package conformance

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/wasm"
	"github.com/leat-etl/leat/plugins/workbench/compile"
	"github.com/leat-etl/leat/plugins/workbench/scaffold"
)

// breakage is a fault built into the destination that leat plugin new makes, and
// the point that has to find it.
type breakage struct {
	name     string
	old, new string // of its source
	only     string // the capability that is tried
	point    string // a part of the name of a point that fails by it
}

var breakages = []breakage{
	{"nothing is broken", "", "", "changes", ""},
	{"unchanged is written as null", "s.leat_op NOT IN ('D', 'K') AND o.leat_row", "false AND o.leat_row", "unchanged-values", "an update that leaves a value out"},
	{"unchanged is looked for under the new key", "o.leat_row = s.leat_origin", "o.leat_row = s.leat_row", "key-changes", "swap their keys"},
	{"the row of the old key stays", `DELETE FROM %s AS t USING leat_stage AS o WHERE %s`, `DELETE FROM %s AS t USING leat_stage AS o WHERE o.leat_op <> 'K' AND %s`, "key-changes", "a row that moves"},
	{"deletes are ignored", `DELETE FROM %s AS t USING leat_stage AS o WHERE %s`, `DELETE FROM %s AS t USING leat_stage AS o WHERE o.leat_op <> 'D' AND %s`, "changes", "an initial load, then changes"},
	{"truncate is ignored", `pdk.Exec("DELETE FROM " + t.name)`, `pdk.Exec("SELECT 1")`, "truncate", "a truncate between rows"},
	{"pipelines share checkpoints", `pdk.Query("SELECT key, value FROM leat_checkpoint WHERE pipeline = " + text(d.pipeline))`, `pdk.Query("SELECT key, value FROM leat_checkpoint")`, "checkpoints", "another pipeline has its own"},
	{"removed entries stay", `"DELETE FROM leat_checkpoint WHERE pipeline = %s AND key = %s"`, `"DELETE FROM leat_checkpoint WHERE false AND pipeline = %s AND key = %s"`, "checkpoints", "an entry is replaced and one removed"},
	{"names are not quoted", "return `\"` + strings.ReplaceAll(name, `\"`, `\"\"`) + `\"`", "return name", "names", "column"},
	{"the checkpoint is committed before the rows", "func (d *destination) Write(p *pdk.TablePlan, b *pdk.WriteBatch) error {\n", "func (d *destination) Write(p *pdk.TablePlan, b *pdk.WriteBatch) error {\n\tif d.open {\n\t\td.open = false\n\t\tif err := pdk.CommitSQL(); err != nil {\n\t\t\treturn err\n\t\t}\n\t}\n", "faults", "host call"},
	{"a failed statement is passed over", "\t\tif _, err := pdk.Exec(sql); err != nil {\n\t\t\treturn err\n\t\t}\n\t}\n\treturn nil\n}\n\n// stage", "\t\t_, _ = pdk.Exec(sql)\n\t}\n\treturn nil\n}\n\n// stage", "faults", "refused"},
	{"it does not open", "CREATE TABLE IF NOT EXISTS leat_checkpoint", "CREATE NO TABLE leat_checkpoint", "checkpoints", "there is none at first"},
	{"a plan makes the table", "p.Read = fmt.Sprintf(", "_, _ = pdk.Exec(p.Statements[0])\n\tp.Read = fmt.Sprintf(", "plans", "nothing is made by it"},
}

// TestBrokenDestinationsAreCaught breaks a working destination in one place at
// a time.
func TestBrokenDestinationsAreCaught(t *testing.T) {
	ctx := context.Background()
	dir := filepath.Join(t.TempDir(), "store")
	if _, err := scaffold.New(scaffold.Options{Dir: dir, Language: compile.Go, Kind: bundle.Destination}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "main.go")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	host, err := wasm.NewHost(ctx, wasm.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close(ctx)
	for _, broken := range breakages {
		t.Run(broken.name, func(t *testing.T) {
			source := string(whole)
			if broken.old != "" && strings.Count(source, broken.old) != 1 {
				t.Fatalf("the source has %q %d times", broken.old, strings.Count(source, broken.old))
			}
			if err := os.WriteFile(path, []byte(strings.Replace(source, broken.old, broken.new, 1)), 0o600); err != nil {
				t.Fatal(err)
			}
			b := built(t, dir)
			kit := &Kit{Host: host, Bundle: b, Config: fileConfig(t), Dir: ".", Only: []string{broken.only}, Quick: true}
			r, err := kit.Run(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Scores) != 1 || r.Scores[0].Points == 0 {
				t.Fatalf("the report is %+v", r)
			}
			failures := ""
			for _, f := range r.Scores[0].Failures {
				failures += f.Point + ": " + f.Detail + "\n"
			}
			if broken.point == "" && !r.Full() || broken.point != "" && !strings.Contains(failures, broken.point) {
				t.Errorf("%d of %d points, failures:\n%swant one of %q", r.Scores[0].Passed, r.Scores[0].Points, failures, broken.point)
			}
		})
	}
}

// TestDestinationsOfEveryKit tries the destinations that leat plugin new makes in
// the other languages, in what they promise; what a failed host call leaves behind
// is tried with one.
func TestDestinationsOfEveryKit(t *testing.T) {
	ctx := context.Background()
	host, err := wasm.NewHost(ctx, wasm.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close(ctx)
	modules, err := filepath.Abs("../../../build/assemblyscript/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	for _, language := range []compile.Language{compile.C, compile.Rust, compile.TypeScript} {
		t.Run(string(language), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "store")
			if _, err := scaffold.New(scaffold.Options{Dir: dir, Language: language, Kind: bundle.Destination}); err != nil {
				t.Fatal(err)
			}
			if language == compile.TypeScript {
				if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
					t.Fatal(err)
				}
			}
			b := built(t, dir)
			only := slices.DeleteFunc(Capabilities(), func(name string) bool {
				return name == "schema-changes" || name == "keyless-tables" || name == "faults" && language != compile.C
			})
			r, err := (&Kit{Host: host, Bundle: b, Config: fileConfig(t), Dir: ".", Only: only, Quick: true}).Run(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if !r.Full() {
				t.Errorf("the report is %+v", r)
			}
		})
	}
}

// TestDestinationThatKeepsValues: one that has kv or blob is given both, and
// finds again what it kept when it is opened anew.
func TestDestinationThatKeepsValues(t *testing.T) {
	ctx := context.Background()
	host, err := wasm.NewHost(ctx, wasm.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close(ctx)
	dir := filepath.Join(t.TempDir(), "store")
	if _, err := scaffold.New(scaffold.Options{Dir: dir, Language: compile.Go, Kind: bundle.Destination}); err != nil {
		t.Fatal(err)
	}
	for _, change := range [][3]string{
		{"plugin.toml", `capabilities = ["sql"]`, `capabilities = ["sql", "kv", "blob"]`},
		{"main.go", "\treturn &pdk.Info{", `	kept, err := pdk.KVGet("opened")
	if err != nil {
		return nil, err
	}
	file, err := pdk.BlobGet("opened")
	if err != nil {
		return nil, err
	}
	rows, err := pdk.Query("SELECT 1 FROM leat_checkpoint WHERE pipeline = " + text(in.Pipeline))
	if err != nil {
		return nil, err
	}
	if len(rows.Rows) > 0 && (kept == nil || file == nil) {
		return nil, fmt.Errorf("kept is %q and %q", kept, file)
	}
	if e := pdk.KVPut("opened", []byte("once")); e != nil {
		return nil, e
	}
	if e := pdk.BlobPut("opened", []byte("once")); e != nil {
		return nil, e
	}
	return &pdk.Info{`},
	} {
		path := filepath.Join(dir, change[0])
		text, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(text), change[1]) {
			t.Fatalf("%s has no %q: %v", change[0], change[1], err)
		}
		if err := os.WriteFile(path, []byte(strings.Replace(string(text), change[1], change[2], 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	kit := &Kit{Host: host, Bundle: built(t, dir), Config: fileConfig(t), Dir: ".", Only: []string{"changes", "checkpoints", "faults"}, Quick: true}
	r, err := kit.Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Full() {
		t.Errorf("the report is %+v", r)
	}
	path := filepath.Join(dir, "main.go")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	deaf := strings.Replace(string(text), `if e := pdk.KVPut("opened", []byte("once")); e != nil {`, `if e := pdk.KVPut("opened", []byte("once")); false && e != nil {`, 1)
	if err := os.WriteFile(path, []byte(deaf), 0o600); err != nil {
		t.Fatal(err)
	}
	kit.Bundle = built(t, dir)
	var score Score
	for call := 1; call <= 10; call++ { // those of an open are the first
		if _, err := kit.strike(ctx, &score, &fault{kind: refused, at: call}); err != nil {
			t.Fatal(err)
		}
	}
	if len(score.Failures) != 1 || !strings.Contains(score.Failures[0].Point, "(kv_put) refused") {
		t.Errorf("a destination that does not look whether a value was kept scores %+v", score)
	}
}

// built compiles a plugin.
func built(t *testing.T, dir string) *bundle.Bundle {
	t.Helper()
	out, err := compile.Module(dir)
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	if _, err := compile.Build(context.Background(), dir, out, &said); err != nil {
		t.Fatalf("%v\n%s", err, said.String())
	}
	b, err := bundle.Resolve(dir, ".")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// fileConfig is settings with a database of their own.
func fileConfig(t *testing.T) json.RawMessage {
	t.Helper()
	config, err := json.Marshal(map[string]any{"path": filepath.Join(t.TempDir(), "store.duckdb")})
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// TestNamesOfCapabilities: they stand in a list behind --only, in JSON, and in
// a column of a table.
func TestNamesOfCapabilities(t *testing.T) {
	for _, name := range Capabilities() {
		if !regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`).MatchString(name) {
			t.Errorf("the name %q is not of lower-case words with hyphens", name)
		}
	}
}
