package lock

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/bundle/strict"
)

var a, b = "sha256:" + strings.Repeat("a", 64), "sha256:" + strings.Repeat("b", 64)

func ref(t *testing.T, s string) bundle.Ref {
	t.Helper()
	r, err := bundle.ParseRef(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSaveLoadFind(t *testing.T) {
	dir := t.TempDir()
	f, err := Load(dir)
	if err != nil || len(f.Plugins) != 0 {
		t.Fatalf("%+v %v", f, err)
	}
	if _, err := f.Find(ref(t, "acme/mask@1.2.0")); err == nil || !strings.Contains(err.Error(), "does not pin acme/mask@1.2.0: run leat plugin install --dir ") {
		t.Error(err)
	}
	f.Put(ref(t, "acme/mask@1.2.0"), Entry{Digest: a, Module: b, Capabilities: []string{"http", "kv"}, Key: a, Source: "ghcr.io/acme/mask"})
	f.Put(ref(t, "acme/geo@1.0.0"), Entry{Digest: b, Module: a})
	f.Put(ref(t, "acme/mask@1.2.0"), Entry{Digest: b, Module: b, Capabilities: []string{"kv"}, Source: "it's"})
	if err := f.Save(); err != nil {
		t.Fatal(err)
	}
	if f, err = Load(dir); err != nil || len(f.Plugins) != 2 {
		t.Fatalf("%+v %v", f, err)
	}
	for _, name := range []string{"acme/mask@1.2.0", "acme/mask"} {
		e, err := f.Find(ref(t, name))
		if err != nil || e.Plugin != "acme/mask@1.2.0" || e.Digest != b || e.Capabilities[0] != "kv" || len(e.Capabilities) != 1 || e.Source != "its" || e.Ref().Name != "mask" {
			t.Errorf("%s: %+v %v", name, e, err)
		}
	}
	if _, err := f.Find(ref(t, "acme/mask@1.3.0")); err == nil || !strings.Contains(err.Error(), "pins acme/mask at 1.2.0, the pipeline file names 1.3.0") {
		t.Error(err)
	}
	f.Put(ref(t, "acme/mask@1.3.0"), Entry{Digest: a, Module: a})
	if _, err := f.Find(ref(t, "acme/mask")); err == nil || !strings.Contains(err.Error(), "pins acme/mask@1.2.0 and acme/mask@1.3.0: name the version") {
		t.Error(err)
	}
	if got := f.Versions("acme/mask"); len(got) != 2 {
		t.Errorf("%+v", got)
	}
	f.Remove(ref(t, "acme/mask@1.2.0"))
	if e, err := f.Find(ref(t, "acme/mask")); err != nil || e.Plugin != "acme/mask@1.3.0" {
		t.Errorf("%+v %v", e, err)
	}
}

func TestFaults(t *testing.T) {
	entry := func(plugin, digest, module string) string {
		return "[[plugins]]\nplugin = '" + plugin + "'\ndigest = '" + digest + "'\nmodule = '" + module + "'\n"
	}
	for want, text := range map[string]string{
		`key "version" is 2: this leat knows 1`:             "version = 2\n",
		`key "version" is missing`:                          "",
		`key "plugins[1].plugin" is "mask": want`:           "version = 1\n" + entry("mask", a, b),
		`key "plugins[1].plugin" is "acme/mask": want`:      "version = 1\n" + entry("acme/mask", a, b),
		`key "plugins[2].plugin" is "acme/mask@1.0.0" once`: "version = 1\n" + entry("acme/mask@1.0.0", a, b) + entry("acme/mask@1.0.0", b, b),
		`key "plugins[1].digest" is not of the form`:        "version = 1\n" + entry("acme/mask@1.0.0", "sha256:../../x", b),
		`key "plugins[1].module" is not of the form`:        "version = 1\n" + entry("acme/mask@1.0.0", a, strings.ToUpper(b)),
		`key "plugins[1].granted" is unknown`:               "version = 1\n" + entry("acme/mask@1.0.0", a, b) + "granted = []\n",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, Name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Load(dir)
		var faults strict.Errors
		if !errors.As(err, &faults) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "leat.lock") {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
