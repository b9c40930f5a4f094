package bundle

import (
	"slices"
	"strings"
	"testing"
)

func TestRefs(t *testing.T) {
	for text, want := range map[string]Ref{
		"acme/mask@1.2.0":         {"acme", "mask", "1.2.0"},
		"acme/mask":               {"acme", "mask", ""},
		"a-1/b-2@0.0.1-rc.1.x-y":  {"a-1", "b-2", "0.0.1-rc.1.x-y"},
		"0/1@10.20.30-0a.0.1a--1": {"0", "1", "10.20.30-0a.0.1a--1"},
	} {
		got, err := ParseRef(text)
		if err != nil || got != want || got.String() != text || !IsRef(text) {
			t.Errorf("%s: %+v %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"mask@1.2.0":                                 "want publisher/name@version",
		"Acme/mask@1.2.0":                            `name "Acme"`,
		"acme/../x@1.2.0":                            `name "../x"`,
		"acme/mask/x@1.2.0":                          `name "mask/x"`,
		"/mask@1.2.0":                                `name ""`,
		"acme/-mask@1.2.0":                           `name "-mask"`,
		"acme/m\x00sk@1.2.0":                         `name "m\x00sk"`,
		"acme/" + strings.Repeat("a", 65):            "1 to 64",
		"acme/mask@":                                 `version ""`,
		"acme/mask@1.2":                              `version "1.2"`,
		"acme/mask@v1.2.0":                           `version "v1.2.0"`,
		"acme/mask@01.2.0":                           `version "01.2.0"`,
		"acme/mask@1.2.0-01":                         `version "1.2.0-01"`,
		"acme/mask@1.2.0+build":                      "without build metadata",
		"acme/mask@1.2.0-":                           `version "1.2.0-"`,
		"acme/mask@1.2.0-a..b":                       `version "1.2.0-a..b"`,
		"acme/mask@latest":                           `version "latest"`,
		"acme/mask@9999999999.0.0":                   "version",
		"acme/mask@1.2.0\n":                          "version",
		"acme/mask@1.2.0@1.2.0":                      `version "1.2.0@1.2.0"`,
		"acme/mask@1.2.0-" + strings.Repeat("a", 64): "version",
	} {
		if got, err := ParseRef(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v %v, want %q", text, got, err, want)
		}
	}
	for _, path := range []string{"./acme/mask", "../mask", "/mask", "plugins/mask.wasm", "mask"} {
		if IsRef(path) {
			t.Errorf("%s is taken for a publisher's plugin", path)
		}
	}
}

// TestVersionOrder holds the order against the example of semver.org.
func TestVersionOrder(t *testing.T) {
	want := []string{"0.9.0", "1.0.0-1", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "1.0.2", "1.0.10", "1.10.0", "2.0.0"}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, CompareVersions)
	if !slices.Equal(got, want) {
		t.Errorf("order %q, want %q", got, want)
	}
	if CompareVersions("1.0.0-rc.1", "1.0.0-rc.1") != 0 || !Prerelease("1.0.0-rc.1") || Prerelease("1.0.0") {
		t.Error("equal versions or pre-releases are not seen")
	}
}

// TestBundledModulesUseWhatTheyDeclare holds every bundled module against its
// manifest.
func TestBundledModulesUseWhatTheyDeclare(t *testing.T) {
	bundles, err := Bundled()
	if err != nil {
		t.Fatal(err)
	}
	if len(bundles) == 0 {
		t.Fatal("nothing is bundled: go tool task plugins")
	}
	for _, b := range bundles {
		if err := CheckModule(b.Manifest, b.Module); err != nil {
			t.Error(err)
		}
	}
}

// imports is a module that imports functions of type () -> () and has no
// other section.
func imports(names ...string) []byte {
	body := []byte{byte(len(names))}
	for _, name := range names {
		module, function, _ := strings.Cut(name, ".")
		body = append(append(body, byte(len(module))), module...)
		body = append(append(body, byte(len(function))), function...)
		body = append(body, 0, 0)
	}
	out := append(slices.Clone(module), 1, 4, 1, 0x60, 0, 0)
	return append(append(out, 2, byte(len(body))), body...)
}

func TestCheckModule(t *testing.T) {
	for name, c := range map[string]struct {
		m      Manifest
		module []byte
		want   string
	}{
		"nothing":      {Manifest{ABI: 1}, module, ""},
		"log":          {Manifest{ABI: 1, Capabilities: []string{"log", "clock"}}, imports("leat.log", "leat.reply", "leat.hash"), ""},
		"exact":        {Manifest{ABI: 1, Capabilities: []string{"sql", "kv"}}, imports("leat.kv_get", "leat.sql_exec", "leat.sql_query"), ""},
		"undeclared":   {Manifest{Name: "m", ABI: 1, Capabilities: []string{"kv"}}, imports("leat.kv_get", "leat.http_send"), "module of plugin m uses the capability http, which its plugin.toml does not declare: it declares kv"},
		"none at all":  {Manifest{Name: "m", ABI: 1}, imports("leat.http_send"), "it declares nothing"},
		"unused":       {Manifest{Name: "m", ABI: 1, Capabilities: []string{"sql", "kv"}}, imports("leat.kv_get"), "declares the capability sql, which its module does not use: it uses kv"},
		"other module": {Manifest{Name: "m", ABI: 1}, imports("env.abort"), "imports env.abort"},
		"other ABI":    {Manifest{Name: "m", ABI: 2}, module, "plugin m speaks ABI 2, this leat speaks ABI 1"},
		"no module":    {Manifest{Name: "m", ABI: 1}, []byte("\x00asm\x01\x00\x00"), "module of plugin m: inspect module"},
		"truncated":    {Manifest{Name: "m", ABI: 1}, imports("leat.log")[:20], "inspect module"},
		"component":    {Manifest{Name: "m", ABI: 1}, []byte("\x00asm\x0d\x00\x01\x00"), "this is a component"},
	} {
		if err := CheckModule(c.m, c.module); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestExplain(t *testing.T) {
	for _, c := range []string{"sql", "http", "blob", "kv", "log", "metrics", "clock"} {
		if Explain(c) == Explain("") || Explain(c) == "use "+c {
			t.Errorf("%s is not explained", c)
		}
	}
}
