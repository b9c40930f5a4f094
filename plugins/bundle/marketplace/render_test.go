package marketplace

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/bundle/bundletest"
	"github.com/leat-etl/leat/plugins/bundle/catalogue"
	"github.com/leat-etl/leat/plugins/bundle/oci"
)

const hostile = "# Mask <script>alert(1)</script>\n\n<img src=x onerror=alert(1)><iframe src=//evil></iframe>\n\n" +
	"![a picture](https://evil.example/pixel.png) [click](javascript:alert(1)) [data](data:text/html,x) [local](../../x) [relative](//evil.example/x) [web](https://example.com/\"onclick=alert(1)) <https://auto.example> [ref]\n\n[ref]: JaVaScRiPt:alert(2)\n\n| a |\n|---|\n| [![badge](https://evil.example/badge.svg)](https://example.com/ci) |\n"

// build renders a site of bundles.
func build(t *testing.T, change func(*catalogue.Folder), bundles ...*oci.Artifact) string {
	t.Helper()
	dir := t.TempDir()
	for _, a := range bundles {
		if err := a.WriteFile(filepath.Join(dir, a.FileName())); err != nil {
			t.Fatal(err)
		}
	}
	f, err := catalogue.OpenFolder(dir, time.Date(2026, 5, 4, 0, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(f)
	}
	if err := Render(f); err != nil {
		t.Fatal(err)
	}
	return dir
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func says(t *testing.T, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("no %q in\n%s", w, text)
		}
	}
}

func TestSite(t *testing.T) {
	key := bundletest.Key(t)
	dir := build(t, func(f *catalogue.Folder) {
		f.Name = "Acme <plugins>"
		if err := f.Yank(bundle.Ref{Publisher: "acme", Name: "mask", Version: "1.1.0"}, "eats <rows>"); err != nil {
			t.Fatal(err)
		}
	},
		bundletest.Sign(t, bundletest.Artifact(t, "acme/mask@1.2.0", map[string]string{"config.schema.json": `{"type":"object","title":"</pre><script>"}`, "tests/nulls.toml": "x", "conformance.json": `{"score": 47, "of": 48}`}, "http", "kv"), key),
		bundletest.Artifact(t, "acme/mask@1.1.0", nil), bundletest.Artifact(t, "globex/geo@0.1.0-rc.1", map[string]string{"README.md": hostile}))
	index := read(t, dir, "index.html")
	says(t, index, "Acme &lt;plugins&gt;", `href="plugins/acme/mask/index.html"`, `href="plugins/globex/geo/index.html"`, "Does what mask does.", "signed", "not signed", "conformance 47 of 48", "computes only", "4 May 2026")
	mask := read(t, dir, "plugins", "acme", "mask", "index.html")
	says(t, mask, "leat plugin install acme/mask@1.2.0", `plugin = "acme/mask@1.2.0"`, "send HTTP requests to the hosts that the pipeline allows", "keep small values between runs",
		"yanked: eats &lt;rows&gt;", `href="../../../acme-mask-1.1.0.leat"`, "MIT", "1 in the bundle", "&lt;/pre&gt;&lt;script&gt;", "47 of 48")
	geo := read(t, dir, "plugins", "globex", "geo", "index.html")
	says(t, geo, "It asks for nothing else: no network, no files, no database.", "There is no release yet", "0.1.0-rc.1", "a picture", "badge")
	for _, name := range []string{"style.css", "search.js", "playground.js", "sandbox.js", "icon.svg"} {
		if read(t, dir, name) == "" {
			t.Errorf("%s is empty", name)
		}
	}
}

var (
	attribute = regexp.MustCompile(`(?i)\s(src|href|action|style|on[a-z]+)\s*=\s*"([^"]*)"`)
	scripts   = regexp.MustCompile(`(?is)<script[^>]*>(.*?)</script>`)
)

// TestNothingIsFetchedFromOutside looks at every reference of every page, with a
// README that tries everything.
func TestNothingIsFetchedFromOutside(t *testing.T) {
	dir := build(t, nil, bundletest.Artifact(t, "acme/mask@1.2.0", map[string]string{"README.md": hostile}))
	for _, page := range []string{"index.html", "plugins/acme/mask/index.html"} {
		text := read(t, dir, page)
		says(t, text, `http-equiv="Content-Security-Policy" content="default-src &#39;none&#39;; style-src &#39;self&#39;; script-src &#39;self&#39;;`)
		for _, m := range attribute.FindAllStringSubmatch(text, -1) {
			name, value := strings.ToLower(m[1]), m[2]
			switch {
			case strings.HasPrefix(name, "on") || name == "style" || name == "action":
				t.Errorf("%s has the attribute %s", page, m[0])
			case name == "src" && (strings.Contains(value, ":") || strings.HasPrefix(value, "//")):
				t.Errorf("%s loads %s", page, value)
			case strings.HasPrefix(value, "https://example.com/") || value == "https://auto.example":
			case strings.Contains(value, ":") || strings.HasPrefix(value, "//"):
				t.Errorf("%s leads to %s", page, value)
			default: // within the site
				if _, err := os.Stat(filepath.Join(dir, filepath.Dir(page), filepath.FromSlash(value))); err != nil && value != "catalogue.json" && !strings.HasSuffix(value, "/catalogue.json") {
					t.Errorf("%s leads nowhere: %s", page, value)
				}
			}
		}
		for _, m := range scripts.FindAllStringSubmatch(text, -1) {
			if strings.TrimSpace(m[1]) != "" {
				t.Errorf("%s has a script in it: %s", page, m[0])
			}
		}
		for _, bad := range []string{"<iframe", "<img src=x", "javascript:", "JaVaScRiPt:", "evil.example", "data:text"} {
			if strings.Contains(text, bad) {
				t.Errorf("%s holds %q", page, bad)
			}
		}
	}
	for _, name := range []string{"style.css", "search.js", "playground.js", "sandbox.js"} {
		if text := read(t, dir, name); strings.Contains(text, "http:") || strings.Contains(text, "https:") || strings.Contains(text, "@import") || strings.Contains(text, "fetch(") && name != "sandbox.js" || strings.Contains(text, "innerHTML") {
			t.Errorf("%s reaches outside", name)
		}
	}
}

func TestSampleSettings(t *testing.T) {
	schema := `{"required":["a","b","c","d","e","f","g","h"],"properties":{"a":{"type":"array"},"b":{"enum":["x","y"]},"c":{"default":7,"enum":[1]},"d":{"examples":["z"]},"e":{"type":"integer"},"f":{"type":"boolean"},"g":{"type":"object"},"z":{"type":"string"}}}`
	if got, want := sampleSettings([]byte(schema)), `{"a":["email"],"b":"x","c":7,"d":"z","e":1,"f":true,"g":{},"h":"email"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if sampleSettings(nil) != "{}" {
		t.Error(sampleSettings(nil))
	}
}

func TestScores(t *testing.T) {
	for text, want := range map[string]string{`{"score":1,"of":2.5}`: "1 of 2.5", `{"score":1}`: "", `x`: "", ``: ""} {
		if got := score([]byte(text)); got != want {
			t.Errorf("%s: %q", text, got)
		}
	}
	if sizeText(10) != "10 B" || sizeText(3<<20) != "3072 kB" || sizeText(64<<20) != "64 MB" {
		t.Error(sizeText(10), sizeText(3<<20), sizeText(64<<20))
	}
}
