package bundle

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/leat-etl/leat/plugins/bundle/strict"
)

const maskManifest = `name = "mask"
version = "1.2.0"
kind = "transform"
abi = 1
description = "Hide values."
licence = "Apache-2.0"
capabilities = ["kv"]
[limits]
memory = "64MB"
deadline = "5s"
`

const maskSchema = `{
  "type": "object",
  "required": ["columns"],
  "additionalProperties": false,
  "properties": {
    "columns": {"type": "array", "minItems": 1, "items": {"type": "string"}},
    "method": {"enum": ["hash", "redact"]},
    "password": {"type": "string", "pattern": "^[a-z]+$", "x-leat-host": true},
    "rules": {"type": "array", "items": {"type": "object", "additionalProperties": false, "properties": {"column": {"type": "string"}}}},
    "target": {"anyOf": [{"type": "string"}, {"type": "object"}], "x-leat-host": false},
    "rate": {"type": "integer", "minimum": 1}
  }
}`

var module = []byte("\x00asm\x01\x00\x00\x00")

func mask(t *testing.T) Manifest {
	t.Helper()
	m, err := ParseManifest("plugin.toml", []byte(maskManifest), []byte(maskSchema))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestManifest(t *testing.T) {
	m := mask(t)
	if m.Name != "mask" || m.Version != "1.2.0" || m.Kind != Transform || m.ABI != 1 || m.Capabilities[0] != "kv" ||
		m.Limits != (Limits{Memory: 64 << 20, Deadline: 5 * time.Second}) {
		t.Errorf("manifest %+v", m)
	}
	limits := Limits{Deadline: time.Second}.Or(m.Limits).Or(DefaultLimits)
	if limits != (Limits{Memory: 64 << 20, Fuel: DefaultLimits.Fuel, Deadline: time.Second}) {
		t.Errorf("limits %+v", limits)
	}
}

func TestBadManifests(t *testing.T) {
	for name, c := range map[string]struct {
		old, new, schema string
		want             []string
	}{
		"unknown key":   {`licence =`, `license =`, maskSchema, []string{`plugin.toml: key "licence" is missing`, `plugin.toml:6:1: key "license" is unknown: did you mean "licence"?`}},
		"kind":          {`"transform"`, `"tranform"`, maskSchema, []string{`plugin.toml:3:1: key "kind" is "tranform": want one of transform, destination, did you mean "transform"?`}},
		"capability":    {`["kv"]`, `["kv", "sqll"]`, maskSchema, []string{`plugin.toml:7:23: key "capabilities[2]" is "sqll"`, `did you mean "sql"?`}},
		"name":          {`"mask"`, `"Mask 1"`, maskSchema, []string{`plugin.toml:1:1: key "name" is "Mask 1": want 1 to 64 lower-case`}},
		"version":       {`1.2.0`, `latest`, maskSchema, []string{`plugin.toml:2:1: key "version" is "latest"`}},
		"abi":           {`abi = 1`, `abi = "1"`, maskSchema, []string{`plugin.toml:4:1: key "abi" must be an integer, not a string`}},
		"driver":        {`abi = 1`, "abi = 1\ndriver = \"duckdb\"", maskSchema, []string{`plugin.toml:5:1: key "driver" is only for a destination`}},
		"no driver":     {"kind = \"transform\"\nabi = 1", "kind = \"destination\"\nabi = 1\ncapabilities = [\"sql\"]\n[x]", maskSchema, []string{`key "driver" is missing`}},
		"limit":         {`"64MB"`, `"64 apples"`, maskSchema, []string{`plugin.toml:9:1: key "limits.memory"`}},
		"schema":        {``, ``, `{"type": "objekt"}`, []string{"settings schema of plugin mask"}},
		"not JSON":      {``, ``, `{`, []string{"config.schema.json:1:2: settings schema of plugin mask is not JSON"}},
		"no JSON below": {``, ``, "{\n  \"type\": objekt}", []string{"config.schema.json:2:11: settings schema of plugin mask is not JSON"}},
		"elsewhere":     {``, ``, `{"$ref": "https://example.org/schema.json"}`, []string{"may not refer to other documents"}},
	} {
		_, err := ParseManifest("plugin.toml", []byte(strings.Replace(maskManifest, c.old, c.new, 1)), []byte(c.schema))
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q does not say %q", name, err, want)
			}
		}
	}
	var faults strict.Errors
	if _, err := ParseManifest("plugin.toml", nil, nil); !errors.As(err, &faults) || len(faults) != 6 {
		t.Errorf("an empty manifest: %v", err)
	}
}

func TestValidateConfig(t *testing.T) {
	m := mask(t)
	for config, want := range map[string]string{
		`{"columns": ["a"], "method": "hash", "rules": [{"column": "x"}], "target": {}, "rate": 7}`: "",
		`{}`:                                                 "config.columns is missing",
		`{"columns": "a"}`:                                   "config.columns must be array, not string",
		`{"columns": ["a", 1]}`:                              "config.columns[2] must be string, not number",
		`{"columns": []}`:                                    "config.columns is wrong: minItems: got 0, want 1",
		`{"columns": ["a"], "metod": "hash"}`:                `config.metod is unknown: did you mean "method"?`,
		`{"columns": ["a"], "method": "secret"}`:             `config.method must be one of "hash", "redact"`,
		`{"columns": ["a"], "password": "SECRET"}`:           "config.password does not match the pattern ^[a-z]+$",
		`{"columns": ["a"], "target": 1}`:                    "config.target is in none of the forms that are allowed there",
		`{"columns": ["a"], "rate": 0.5}`:                    "config.rate must be integer, not number",
		`{"columns": ["a"], "rules": [{}, {"colum": "x"}]}`:  `config.rules[2].colum is unknown: did you mean "column"?`,
		`{"columns": ["a"], "rate": "SECRET", "metod": "a"}`: `config.metod is unknown: did you mean "method"?; config.rate must be integer, not string`,
		`[]`:      "config must be object, not array",
		`{"SECR`:  "not JSON",
		`{} "ET"`: "not JSON",
	} {
		err := ValidateConfig(m, json.RawMessage(config))
		if want == "" {
			if err != nil {
				t.Errorf("%s: %v", config, err)
			}
			continue
		}
		var fault *ConfigError
		if !errors.As(err, &fault) || err.Error() != "settings of plugin mask: "+want {
			t.Errorf("%s:\ngot  %v\nwant %s", config, err, want)
		} else if strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s: the error holds a value: %v", config, err)
		}
	}
	none, err := ParseManifest("plugin.toml", []byte(maskManifest), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := ValidateConfig(none, []byte(`{}`)); err != nil {
		t.Errorf("no settings: %v", err)
	}
	if err := ValidateConfig(none, []byte(`{"a": 1}`)); err == nil {
		t.Error("a plugin without settings took one")
	}
}

func TestSplitConfig(t *testing.T) {
	guest, host, err := SplitConfig(mask(t), []byte(`{"columns": ["a"], "password": "x", "target": {"password": 1}, "rate": 12345678901234567890}`), "/pipelines")
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"columns":["a"],"rate":12345678901234567890,"target":{"password":1}}`; string(guest) != want {
		t.Errorf("guest %s, want %s", guest, want)
	}
	if string(host) != `{"password":"x"}` {
		t.Errorf("host %s", host)
	}
	if _, _, err := SplitConfig(mask(t), []byte(`[]`), "/pipelines"); err == nil {
		t.Error("a list was split")
	}
}

func TestResolveBundled(t *testing.T) {
	l := library{fstest.MapFS{
		"README.md":        {Data: []byte("x")},
		"mask.wasm":        {Data: module},
		"mask.toml":        {Data: []byte(maskManifest)},
		"mask.schema.json": {Data: []byte(maskSchema)},
		"duckdb.wasm":      {Data: module},
		"duckdb.toml":      {Data: []byte(strings.Replace(maskManifest, `"mask"`, `"duckdb"`, 1))},
	}}
	for _, ref := range []string{"mask", "mask@1.2.0"} {
		b, err := l.resolve(ref)
		if err != nil {
			t.Fatal(err)
		}
		// sha256 of the eight bytes of an empty module
		if b.Manifest.Name != "mask" || b.Digest != "sha256:93a44bbb96c751218e4c00d479e4c14358122a389acca16205b1e4d0dc5f9476" || string(b.Module) != string(module) {
			t.Errorf("%s: %+v", ref, b)
		}
	}
	for ref, want := range map[string][]string{
		"maks":       {`did you mean "mask"?`, "bundled are duckdb, mask", "./my-plugin"},
		"mask@1.3.0": {"bundles version 1.2.0", "mask@1.2.0"},
		"../mask":    {"is not bundled"},
		"":           {"is not bundled"},
	} {
		if _, err := l.resolve(ref); err == nil {
			t.Errorf("%q was found", ref)
		} else {
			for _, part := range want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q: %q does not say %q", ref, err, part)
				}
			}
		}
	}
	if all, err := l.all(); err != nil || len(all) != 2 || all[0].Manifest.Name != "duckdb" {
		t.Errorf("all: %v %v", all, err)
	}
	if _, err := (library{fstest.MapFS{}}).resolve("mask"); err == nil || !strings.Contains(err.Error(), "go tool task build") {
		t.Errorf("nothing bundled: %v", err)
	}
	wrong := library{fstest.MapFS{"a.wasm": {Data: module}, "a.toml": {Data: []byte(maskManifest)}}}
	if _, err := wrong.resolve("a"); err == nil || !strings.Contains(err.Error(), `its manifest names it "mask"`) {
		t.Errorf("wrong name: %v", err)
	}
}

func TestResolvePath(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "my [plugin]")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	fails := func(ref, want string) {
		t.Helper()
		if _, err := Resolve(ref, base); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", ref, err, want)
		}
	}
	fails("./none", "no such file or directory; leat plugin new ")
	fails("./none/none.wasm", "no such file or directory; leat plugin build ")
	if _, err := Resolve("./none", base); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	fails("./my [plugin]", "holds no .wasm file; leat plugin build ")
	write("mask.wasm", string(module))
	fails("./my [plugin]", "needs plugin.toml beside its module")
	write(ManifestName, maskManifest)
	write(SchemaName, maskSchema)
	for _, ref := range []string{"./my [plugin]", "./my [plugin]/mask.wasm", "my [plugin]/mask.wasm", dir} {
		b, err := Resolve(ref, base)
		if err != nil || b.Manifest.Name != "mask" || len(b.Module) != 8 || !strings.Contains(string(b.Manifest.ConfigSchema), "columns") {
			t.Errorf("%s: %+v %v", ref, b, err)
		}
	}
	write("other.wasm", "text")
	fails("./my [plugin]", "holds 2 .wasm files")
	fails("./my [plugin]/other.wasm", "is not a WebAssembly module")
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte(maskManifest))
	f.Add([]byte("[[limits]]\nmemory = 1\n[config]\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := ParseManifest("plugin.toml", text, nil)
		if err == nil && (m.Name == "" || m.ABI < 1 || (m.Kind != Transform && m.Kind != Destination)) {
			t.Fatalf("incomplete: %+v", m)
		}
	})
}

func TestSplitConfigMakesPathsRelativeToThePipeline(t *testing.T) {
	m := Manifest{ConfigSchema: []byte(`{"properties": {"path": {"x-leat-host": true, "x-leat-path": true}, "host": {"x-leat-host": true}}}`)}
	for path, want := range map[string]string{"data/w.duckdb": "/pipelines/data/w.duckdb", "/abs/w.duckdb": "/abs/w.duckdb", "": ""} {
		_, host, err := SplitConfig(m, []byte(`{"path": "`+path+`", "host": "db"}`), "/pipelines")
		if err != nil {
			t.Fatal(err)
		}
		if got := `{"host":"db","path":"` + want + `"}`; string(host) != got {
			t.Errorf("%q: %s, want %s", path, host, got)
		}
	}
}
