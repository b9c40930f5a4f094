package spec

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/bundle/strict"
)

var update = flag.Bool("update", false, "write the expected messages of the bad pipeline files")

const pipelines = "../../testdata/pipelines"

// TestBadFiles holds the messages of every bad file against the text beside
// it.
func TestBadFiles(t *testing.T) {
	files, err := filepath.Glob(pipelines + "/bad/*.toml")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Parse(filepath.Base(file), text)
			var faults Errors
			if !errors.As(err, &faults) {
				t.Fatalf("error %v, want Errors", err)
			}
			golden := strings.TrimSuffix(file, ".toml") + ".txt"
			if *update {
				if err := os.WriteFile(golden, []byte(err.Error()+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got := faults.Error() + "\n"; got != string(want) {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		})
	}
}

func TestDefaults(t *testing.T) {
	s, err := Load(pipelines + "/minimal.toml")
	if err != nil {
		t.Fatal(err)
	}
	src := s.Source
	if src.Type != "postgres" || src.Port != 5432 || src.Mode != "logical" || !src.LoadHistoricalData || !src.IncludeNewTables || src.MergeTables ||
		src.Heartbeat != 30*time.Second || src.DecoderFormat != "auto" || src.TLS.Mode != "prefer" || !src.TLS.LoadAllCACertificates || src.Password.IsSet() {
		t.Errorf("source %+v", src)
	}
	if !reflect.DeepEqual(src.Databases, []string{"shop"}) {
		t.Errorf("databases %q", src.Databases)
	}
	if sel := s.Objects.Selection(); !sel.Match("any", "table") {
		t.Error("not every table is selected")
	}
	if s.Engine.BatchBytes != 32<<20 || s.Engine.MaxEventBytes != 128<<20 || s.Engine.LoadWorkers != 2 || s.Log.Level != "info" {
		t.Errorf("engine %+v, log %+v", s.Engine, s.Log)
	}
	if want := filepath.Join(pipelines, ".leat", "shop"); s.Engine.StateDir != want {
		t.Errorf("state folder %q, want %q", s.Engine.StateDir, want)
	}
	if config, err := s.Destination.ConfigJSON(true); err != nil || string(config) != "{}" {
		t.Errorf("settings %s %v", config, err)
	}
	if len(s.Warnings) != 0 {
		t.Errorf("warnings %q", s.Warnings)
	}
}

func TestFull(t *testing.T) {
	s, err := Load(pipelines + "/full.toml")
	if err != nil {
		t.Fatal(err)
	}
	src := s.Source
	if src.Port != 5433 || src.LoadHistoricalData || src.IncludeNewTables || !src.MergeTables || src.Heartbeat != time.Minute || src.Decoder != "pgoutput" || len(src.Messages) != 1 || !src.DDLCapture || src.DecoderFormat != "binary" || src.Streaming != "off" || !src.TwoPhase || len(src.Databases) != 2 {
		t.Errorf("source %+v", src)
	}
	if tls := src.TLS; tls.CAFile != filepath.Join(pipelines, "ca.pem") || tls.ClientKey != "/keys/client.key" || tls.LoadAllCACertificates {
		t.Errorf("tls %+v", tls)
	}
	if ssh := src.SSH; ssh.KeyFile != filepath.Join(pipelines, "id_ed25519") || ssh.KnownHosts != filepath.Join(pipelines, "known_hosts") || ssh.Port != 2222 {
		t.Errorf("ssh %+v", ssh)
	}
	second := s.Transforms[1]
	if second.Limits != (bundle.Limits{Memory: 64 << 20, Fuel: 1e6, Deadline: 5 * time.Second}) || second.Columns[0] != "email" {
		t.Errorf("transform %+v", second)
	}
	if s.Destination.Limits.Memory != 128<<20 || s.Engine.FlushInterval != 250*time.Millisecond || s.Engine.MaxEventBytes != 64<<20 || s.Engine.StateDir != filepath.Join(pipelines, "state") {
		t.Errorf("destination %+v, engine %+v", s.Destination, s.Engine)
	}
	sel := s.Objects.Selection()
	for table, want := range map[[2]string]bool{
		{"public", "orders"}: true, {"public", "audit_log"}: false, {"My.Schema", "Order*s"}: true, {"My.Schema", "Orders"}: false, {"x", "y"}: false,
	} {
		if got := sel.Match(table[0], table[1]); got != want {
			t.Errorf("%q selected: %v", table, got)
		}
	}
}

// TestFullNamesEveryKey keeps full.toml complete, so that the other tests see
// every key.
func TestFullNamesEveryKey(t *testing.T) {
	var tree, schema map[string]any
	if _, err := toml.DecodeFile(pipelines+"/full.toml", &tree); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(Schema(), &schema); err != nil {
		t.Fatal(err)
	}
	reference := Reference()
	var compare func(path string, schema map[string]any, trees []map[string]any)
	compare = func(path string, schema map[string]any, trees []map[string]any) {
		properties, _ := schema["properties"].(map[string]any)
		for key, sub := range properties {
			found := 0
			var below []map[string]any
			for _, tree := range trees {
				switch v := tree[key].(type) {
				case nil:
					continue
				case map[string]any:
					below = append(below, v)
				case []map[string]any:
					below = append(below, v...)
				}
				found++
			}
			if found == 0 && key != "database" && path+key != "source.host" && key != "query" && key != "query_name" && path+key != "destination.limits.fuel" && path+key != "destination.limits.deadline" {
				t.Errorf("full.toml has no %s%s", path, key)
			}
			if !strings.Contains(reference, "`"+key+"`") {
				t.Errorf("the reference has no %s%s", path, key)
			}
			s := sub.(map[string]any)
			if s["description"] == "" {
				t.Errorf("%s%s is not described", path, key)
			}
			if items, ok := s["items"].(map[string]any); ok {
				s = items
			}
			if s["anyOf"] == nil {
				compare(path+key+".", s, below)
			}
		}
	}
	compare("", schema, []map[string]any{tree})
}

// TestSchemaAgrees: what Parse takes the JSON Schema takes, and a file with
// unknown keys or wrong types neither.
func TestSchemaAgrees(t *testing.T) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("leat.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("leat.json")
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]bool{
		"minimal.toml": true, "full.toml": true, "bad/unknown-key.toml": false, "bad/wrong-type.toml": false, "bad/out-of-range.toml": false, "bad/missing.toml": false,
	} {
		var tree map[string]any
		if _, err := toml.DecodeFile(filepath.Join(pipelines, file), &tree); err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(tree)
		if err != nil {
			t.Fatal(err)
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(value); (err == nil) != want {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestSecrets(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("LEAT_TEST_SECRET", "hunter2")
	if err := os.WriteFile(filepath.Join(dir, "pass"), []byte("hunter2\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, written := range []string{`"hunter2"`, `{ env = "LEAT_TEST_SECRET" }`, `{ file = "pass" }`} {
		text := fmt.Sprintf("name = 'n'\n[source]\nhost = 'h'\nuser = 'u'\ndatabase = 'd'\n password = %s\n[destination]\nplugin = 'p'\nconfig.password = %s\n", written, written)
		s, err := Parse(filepath.Join(dir, "p.toml"), []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.Source.Password.Reveal(); err != nil || got != "hunter2" {
			t.Errorf("%s reveals %q %v", written, got, err)
		}
		if config, err := s.Destination.ConfigJSON(true); err != nil || string(config) != `{"password":"hunter2"}` {
			t.Errorf("%s: settings %s %v", written, config, err)
		}
		literal := strings.HasPrefix(written, `"`)
		if warned := len(s.Warnings) == 1 && strings.Contains(s.Warnings[0], "p.toml:6:2: "); warned != literal {
			t.Errorf("%s: warnings %q", written, s.Warnings)
		}
		if literal {
			s.Destination = Destination{} // a literal setting is no secret to Leat
		} else if config, err := s.Destination.ConfigJSON(false); err != nil || string(config) != `{"password":"[secret]"}` {
			t.Errorf("%s: hidden settings %s %v", written, config, err)
		}
		checkHidden(t, s)
	}
	t.Setenv("LEAT_TEST_SECRET", "")
	os.Unsetenv("LEAT_TEST_SECRET")
	if _, err := (secretSource{env: "LEAT_TEST_SECRET"}.in("")).Reveal(); err == nil || !strings.Contains(err.Error(), "LEAT_TEST_SECRET is not set") {
		t.Errorf("missing variable: %v", err)
	}
	if _, err := (secretSource{file: "missing"}.in(dir)).Reveal(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

// checkHidden prints a spec in every way and looks for the secret.
func checkHidden(t *testing.T, s *Spec) {
	t.Helper()
	var out bytes.Buffer
	hidden := struct{ s Spec }{*s}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+verb+verb+verb+"\n", s, *s, s.Source.Password, hidden)
	}
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(text)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "spec", s, "password", s.Source.Password, "config", s.Destination.Config)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "spec", s, "password", s.Source.Password, "config", s.Destination.Config)
	for _, bad := range []string{"hunter2", fmt.Sprintf("%x", "hunter2")} {
		if strings.Contains(out.String(), bad) {
			t.Errorf("%q was printed in\n%s", bad, out.String())
		}
	}
	if !strings.Contains(out.String(), redacted) {
		t.Error("nothing was redacted")
	}
}

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, schema, table string
		want                   bool
	}{
		{"public.*", "public", "orders", true},
		{"public.*", "publicity", "orders", false},
		{"*.orders", "any", "orders", true},
		{"public.o?ders", "public", "orders", true},
		{"public.o?ders", "public", "oders", false},
		{"public.*_*_log", "public", "a_b_c_log", true},
		{"public.*_*_log", "public", "a_log", false},
		{"public.a*b*c", "public", "aXbYbZ", false},
		{`"public".orders`, "public", "orders", true},
		{`"a.b"."c""d*"`, "a.b", `c"d*`, true},
		{`"a.b"."c""d*"`, "a.b", `c"dx`, false},
		{`public."Or"*`, "public", "Orders", true},
		{"public.orders", "public", "Orders", false},
		{"public.größe?", "public", "größen", true},
	} {
		p, err := ParsePattern(c.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Match(c.schema, c.table); got != c.want {
			t.Errorf("%s matches %s.%s: %v", c.pattern, c.schema, c.table, got)
		}
	}
}

func TestStateFolderName(t *testing.T) {
	for name, want := range map[string]string{"shop": "shop", "../x": "%2E.%2Fx", "a b/c": "a%20b%2Fc", "..": "%2E."} {
		if got := folderName(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

func TestNewTransform(t *testing.T) {
	tr, err := NewTransform("merge-tables", map[string]any{"merge": true})
	if err != nil {
		t.Fatal(err)
	}
	if config, err := tr.ConfigJSON(true); err != nil || string(config) != `{"merge":true}` || !tr.Tables[0].Match("a", "b") {
		t.Errorf("%s %v", config, err)
	}
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob(pipelines + "/*.toml")
	if err != nil {
		f.Fatal(err)
	}
	bad, err := filepath.Glob(pipelines + "/bad/*.toml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range append(files, bad...) {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("\x12")) // the parser names a place before the text
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := Parse("p.toml", text)
		if err == nil {
			if s.Name == "" || s.Source.Host+s.Source.Service == "" && len(s.Source.Hosts) == 0 || len(s.Source.Databases) == 0 || s.Engine.StateDir == "" {
				t.Fatalf("incomplete: %+v", s)
			}
			if _, err := s.Destination.ConfigJSON(false); err != nil {
				t.Fatal(err)
			}
			return
		}
		var faults strict.Errors
		if !errors.As(err, &faults) || len(faults) == 0 {
			t.Fatalf("%T: %v", err, err)
		}
		lines := bytes.Count(text, []byte("\n")) + 1
		for _, e := range faults {
			if e.Line < 0 || e.Line > lines || (e.Line > 0 && e.Column < 1) {
				t.Fatalf("place of %v in %d lines", e, lines)
			}
		}
	})
}
