package catalogue

import (
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/bundle/bundletest"
	"github.com/leat-etl/leat/plugins/bundle/oci"
	"github.com/leat-etl/leat/plugins/bundle/sign"
	"github.com/leat-etl/leat/plugins/bundle/trust"
)

// folder makes a catalogue of plugins in a folder.
func folder(t *testing.T, key *sign.PrivateKey, created time.Time, refs ...string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, BundleFolder), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, ref := range refs {
		a := bundletest.Artifact(t, ref, map[string]string{"conformance.json": `{"score":9,"of":10}`})
		if err := a.WriteFile(filepath.Join(dir, BundleFolder, a.FileName())); err != nil {
			t.Fatal(err)
		}
	}
	save(t, dir, key, created, nil)
	return dir
}

func save(t *testing.T, dir string, key *sign.PrivateKey, created time.Time, change func(*Folder)) {
	t.Helper()
	f, err := OpenFolder(dir, created)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(f)
	}
	if err := f.Save(key); err != nil {
		t.Fatal(err)
	}
}

// reader returns a reader, what it warned about, and its trust store.
func reader(t *testing.T) (*Reader, *[]string) {
	t.Helper()
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	var warned []string
	return &Reader{
		Registry: oci.Registry{Timeout: 20 * time.Second}, Trust: &trust.Store{Mode: trust.Require}, CacheDir: t.TempDir(),
		Warn: func(s string) { warned = append(warned, s) },
	}, &warned
}

// TestWordsOfTheVersionShown: a pre-release is not what is described and found.
func TestWordsOfTheVersionShown(t *testing.T) {
	for _, order := range [][]string{{"1.0.0", "1.1.0-rc.1"}, {"1.1.0-rc.1", "1.0.0"}} {
		x := &Index{}
		for _, version := range order {
			var asks []string
			if version == "1.1.0-rc.1" {
				asks = []string{"kv"}
			}
			a := bundletest.Artifact(t, "acme/mask@"+version, nil, asks...)
			a.Bundle.Manifest.Description = "Version " + version
			if err := x.Add(a, "mask.leat", ""); err != nil {
				t.Fatal(err)
			}
		}
		if p := x.Plugins[0]; p.Description != "Version 1.0.0" || len(x.Search([]string{"kv"})) != 0 {
			t.Errorf("added as %v it is described as %q, and found by kv: %v", order, p.Description, x.Search([]string{"kv"}))
		}
	}
}

func refOf(t *testing.T, s string) bundle.Ref {
	t.Helper()
	r, err := bundle.ParseRef(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestFolder lists bundles, keeps what was said of them, and finds them again.
func TestFolder(t *testing.T) {
	dir := folder(t, nil, time.Now().AddDate(0, 0, -3), "acme/mask@1.2.0", "acme/mask@1.10.0", "acme/mask@2.0.0-rc.1", "acme/geo@0.1.0")
	save(t, dir, nil, time.Now(), func(f *Folder) {
		if err := f.Yank(refOf(t, "acme/mask@1.10.0"), "eats rows"); err != nil {
			t.Fatal(err)
		}
		if err := f.Yank(refOf(t, "acme/mask@9.0.0"), "x"); err == nil {
			t.Error("yanked what is not listed")
		}
	})
	save(t, dir, nil, time.Now(), nil)
	r, warned := reader(t)
	c, err := r.Open(t.Context(), Source{Name: "local", URL: dir})
	if err != nil || len(*warned) != 0 {
		t.Fatalf("%v %q", err, *warned)
	}
	mask := c.Find("acme/mask")
	if len(c.Plugins) != 2 || len(mask.Versions) != 3 || mask.Versions[0].Version != "2.0.0-rc.1" || mask.Versions[1].Yanked != "eats rows" || mask.Description != "Does what mask does." ||
		string(mask.Versions[0].Conformance) == "" || mask.Versions[2].Published != time.Now().AddDate(0, 0, -3).UTC().Format(time.DateOnly) {
		t.Errorf("%+v", c.Plugins)
	}
	if v, ok := mask.Newest(false); !ok || v.Version != "1.2.0" {
		t.Errorf("newest %+v", v)
	}
	if v, _ := mask.Newest(true); v.Version != "2.0.0-rc.1" {
		t.Errorf("newest with pre-releases %+v", v)
	}
	a, err := c.Bundle(t.Context(), "acme/mask", mask.Versions[2])
	if err != nil || a.Ref().Version != "1.2.0" {
		t.Errorf("%v", err)
	}
	for words, want := range map[string]int{"": 2, "MASK": 1, "does geo": 1, "transform": 2, "destination": 0, "acme does": 2} {
		if got := c.Search(strings.Fields(words)); len(got) != want {
			t.Errorf("%q finds %d", words, len(got))
		}
	}
	other := bundletest.Artifact(t, "acme/geo@0.1.0", map[string]string{"README.md": "changed"})
	if err := other.WriteFile(filepath.Join(dir, BundleFolder, other.FileName())); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenFolder(dir, time.Now()); err == nil || !strings.Contains(err.Error(), "a published version does not change") {
		t.Errorf("a version was replaced: %v", err)
	}
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "x.leat"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenFolder(dir, time.Now()); err == nil || !strings.Contains(err.Error(), "x.leat is refused") {
		t.Errorf("a file that is no bundle: %v", err)
	}
}

// TestOverHTTP reads a catalogue from a web server, and its last copy when the
// server is gone.
func TestOverHTTP(t *testing.T) {
	dir := folder(t, nil, time.Now(), "acme/mask@1.2.0")
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	t.Cleanup(server.Close)
	r, warned := reader(t)
	source := Source{Name: "web", URL: server.URL}
	c, err := r.Open(t.Context(), source)
	if err != nil || len(*warned) != 0 {
		t.Fatalf("%v %q", err, *warned)
	}
	if a, err := c.Bundle(t.Context(), "acme/mask", c.Plugins[0].Versions[0]); err != nil || a.Ref().String() != "acme/mask@1.2.0" {
		t.Error(err)
	}
	save(t, dir, nil, time.Now().AddDate(0, 0, -40), nil)
	if _, err := r.Open(t.Context(), source); err != nil || len(*warned) != 2 || !strings.Contains((*warned)[0], "it went back") || !strings.Contains((*warned)[1], "is 40 days old") {
		t.Errorf("old: %v %q", err, *warned)
	}
	*warned = nil
	server.Close()
	if c, err = r.Open(t.Context(), source); err != nil || len(c.Plugins) != 1 || len(*warned) != 2 || !strings.Contains((*warned)[0], "cannot be reached, its last copy is used") {
		t.Fatalf("gone: %v %q", err, *warned)
	}
	if _, err := c.Bundle(t.Context(), "acme/mask", c.Plugins[0].Versions[0]); err == nil {
		t.Error("a bundle came from a server that is gone")
	}
	if _, err := r.Open(t.Context(), Source{Name: "never", URL: server.URL + "/other"}); err == nil || !strings.Contains(err.Error(), "open catalogue never") {
		t.Error(err)
	}
}

// TestBadServers answer with too much, with errors, or lead elsewhere.
func TestBadServers(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"not there": {http.NotFound, "file does not exist"},
		"broken":    {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, "answers 502"},
		"in a loop": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }, "too many redirects"},
		"html":      {func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>")) }, "read catalogue"},
		"endless": {func(w http.ResponseWriter, _ *http.Request) {
			for block := make([]byte, 1<<20); ; {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		}, "more than the"},
		"silent": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "deadline"},
	} {
		server := httptest.NewServer(c.answer)
		r, _ := reader(t)
		if name == "silent" {
			r.Registry.Timeout = 200 * time.Millisecond
		}
		if _, err := r.Open(t.Context(), Source{Name: "web", URL: server.URL}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		server.Close()
	}
}

// TestDowngrade follows no redirect from HTTPS to HTTP.
func TestDowngrade(t *testing.T) {
	dir := folder(t, nil, time.Now(), "acme/mask@1.2.0")
	plain := httptest.NewServer(http.FileServer(http.Dir(dir)))
	t.Cleanup(plain.Close)
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, plain.URL+r.URL.Path, http.StatusFound)
	}))
	t.Cleanup(secure.Close)
	before := http.DefaultTransport
	http.DefaultTransport = secure.Client().Transport
	t.Cleanup(func() { http.DefaultTransport = before })
	r, _ := reader(t)
	if _, err := r.Open(t.Context(), Source{Name: "web", URL: secure.URL}); err == nil || !strings.Contains(err.Error(), "it leads from HTTPS to HTTP") {
		t.Error(err)
	}
}

// TestSignedCatalogue is accepted with the key of its publisher only.
func TestSignedCatalogue(t *testing.T) {
	key := bundletest.Key(t)
	dir := folder(t, &key, time.Now(), "acme/mask@1.2.0")
	r, _ := reader(t)
	source := Source{Name: "local", URL: dir, Publisher: "acme"}
	fails := func(want string) {
		t.Helper()
		if _, err := r.Open(t.Context(), source); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	fails("signed with the unknown key")
	if err := r.Trust.Add("acme", trust.Key{}, key.Public()); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Open(t.Context(), source); err != nil {
		t.Fatal(err)
	}
	f, err := OpenFolder(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Save(nil); err == nil || !strings.Contains(err.Error(), "is signed: give the key") {
		t.Errorf("saved with a wrong signature: %v", err)
	}
	path := filepath.Join(dir, IndexName)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), "Does what", "Does not what", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	fails("is about another artifact")
	if err := os.Remove(filepath.Join(dir, SignatureName)); err != nil {
		t.Fatal(err)
	}
	fails("it has no signature")
	source.Publisher = ""
	if _, err := r.Open(t.Context(), source); err != nil {
		t.Error(err)
	}
}

// TestInARegistry pushes a catalogue with its bundles and reads it back, in
// registries with and without the referrers API; and mirrors it.
func TestInARegistry(t *testing.T) {
	for _, referrers := range []bool{true, false} {
		key := bundletest.Key(t)
		r, _ := reader(t)
		if err := r.Trust.Add("acme", trust.Key{}, key.Public()); err != nil {
			t.Fatal(err)
		}
		host := bundletest.Registry(t, referrers, nil)
		f, err := OpenFolder(folder(t, nil, time.Now(), "acme/mask@1.2.0", "acme/mask@1.3.0", "acme/geo@0.1.0"), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		var at oci.Address
		for range 2 {
			if at, err = f.Push(t.Context(), r.Registry, host+"/plugins/", &key); err != nil {
				t.Fatal(err)
			}
		}
		if at.String() != host+"/plugins/catalogue:latest" {
			t.Errorf("pushed to %s", at)
		}
		source := Source{Name: "registry", URL: "oci://" + at.Repository, Publisher: "acme"}
		c, err := r.Open(t.Context(), source)
		if err != nil {
			t.Fatal(err)
		}
		mask := c.Find("acme/mask")
		if a, err := c.Bundle(t.Context(), "acme/mask", mask.Versions[0]); err != nil || a.Ref().Version != "1.3.0" || mask.Versions[0].Location != "oci://"+host+"/plugins/acme/mask" {
			t.Errorf("%+v %v", mask, err)
		}
		mirror := t.TempDir()
		for i, want := range []int{3, 0} {
			if n, err := c.Mirror(t.Context(), mirror); err != nil || n != want {
				t.Errorf("mirror %d: %d bundles, %v", i, n, err)
			}
		}
		m, err := r.Open(t.Context(), Source{Name: "mirror", URL: mirror})
		if err != nil {
			t.Fatal(err)
		}
		if a, err := m.Bundle(t.Context(), "acme/geo", m.Find("acme/geo").Versions[0]); err != nil || a.Ref().Name != "geo" {
			t.Error(err)
		}
		if _, err := r.Open(t.Context(), Source{Name: "plugin", URL: "oci://" + host + "/plugins/acme/mask:1.2.0"}); err == nil || !strings.Contains(err.Error(), "it is not a catalogue") {
			t.Error(err)
		}
	}
}

// TestMirrorKeepsTheSignature of a catalogue whose bundles keep their places.
func TestMirrorKeepsTheSignature(t *testing.T) {
	key := bundletest.Key(t)
	r, _ := reader(t)
	if err := r.Trust.Add("acme", trust.Key{}, key.Public()); err != nil {
		t.Fatal(err)
	}
	c, err := r.Open(t.Context(), Source{Name: "local", URL: folder(t, &key, time.Now(), "acme/mask@1.2.0"), Publisher: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	mirror := t.TempDir()
	if n, err := c.Mirror(t.Context(), mirror); err != nil || n != 1 {
		t.Fatalf("%d %v", n, err)
	}
	if _, err := r.Open(t.Context(), Source{Name: "mirror", URL: mirror, Publisher: "acme"}); err != nil {
		t.Error(err)
	}
}

func TestBadDocuments(t *testing.T) {
	version := func(id, version, digest, location string) string {
		return `{"format":1,"plugins":[{"id":"` + id + `","versions":[{"version":"` + version + `","digest":"` + digest + `","location":"` + location + `"}]}]}`
	}
	d := "sha256:" + strings.Repeat("a", 64)
	if _, err := Parse([]byte(version("acme/mask", "1.0.0", d, "bundles/x.leat"))); err != nil {
		t.Fatal(err)
	}
	for want, text := range map[string]string{
		"read catalogue":                      "x",
		"its format is 2":                     `{"format":2}`,
		"something follows":                   `{"format":1}{}`,
		`name "../x"`:                         version("acme/../x", "1.0.0", d, "x.leat"),
		`version "latest"`:                    version("acme/mask", "latest", d, "x.leat"),
		"has no sha256 digest":                version("acme/mask", "1.0.0", "md5:x", "x.leat"),
		`its location "../../etc/passwd"`:     version("acme/mask", "1.0.0", d, "../../etc/passwd"),
		`its location "/etc/passwd"`:          version("acme/mask", "1.0.0", d, "/etc/passwd"),
		`its location "a/../../x"`:            version("acme/mask", "1.0.0", d, "a/../../x"),
		`its location "http://169.254.1.1/x"`: version("acme/mask", "1.0.0", d, "http://169.254.1.1/x"),
		`its location "javascript:alert(1)"`:  version("acme/mask", "1.0.0", d, "javascript:alert(1)"),
		`its location ""`:                     version("acme/mask", "1.0.0", d, ""),
		"registry address":                    version("acme/mask", "1.0.0", d, "oci://nowhere"),
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	twice := strings.Replace(version("acme/mask", "1.0.0", d, "x.leat"), `"versions":[{`, `"versions":[{"version":"1.0.0","digest":"`+d+`","location":"y.leat"},{`, 1)
	if _, err := Parse([]byte(twice)); err == nil || !strings.Contains(err.Error(), "listed twice") {
		t.Error(err)
	}
}

func TestSources(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	s, err := LoadSources()
	if err != nil || len(s.Catalogues) != 0 {
		t.Fatalf("%+v %v", s, err)
	}
	for _, c := range []Source{{"web", "https://plugins.example.com/", ""}, {"local", `/a "folder"`, "acme"}, {"registry", "oci://ghcr.io/acme/catalogue", ""}} {
		if err := s.Add(c); err != nil {
			t.Fatal(err)
		}
	}
	for want, c := range map[string]Source{
		"is in the list already": {"web", "/x", ""}, "neither a folder": {"ftp", "ftp://x", ""}, "registry address": {"r", "oci://x", ""}, `name "A B"`: {"A B", "/x", ""}, `name "A"`: {"a", "/x", "A"},
	} {
		if err := s.Add(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if err := s.Remove("web"); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove("web"); err == nil {
		t.Error("removed twice")
	}
	if err := s.Save(); err != nil {
		t.Fatal(err)
	}
	if s, err = LoadSources(); err != nil || len(s.Catalogues) != 2 || s.Catalogues[0] != (Source{"local", `/a "folder"`, "acme"}) {
		t.Errorf("%+v %v", s, err)
	}
	text := "[[catalogues]]\nname = \"a\"\nurl = \"ftp://x\"\n[[catalogues]]\nname = \"a\"\nurl = \"/x\"\n"
	if err := os.WriteFile(s.Path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadSources(); err == nil || !strings.Contains(err.Error(), "neither a folder") || !strings.Contains(err.Error(), `is "a" once more`) {
		t.Error(err)
	}
	if errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"format":1,"name":"x","plugins":[{"id":"acme/mask","versions":[{"version":"1.0.0","digest":"sha256:` + strings.Repeat("a", 64) + `","location":"x"}]}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		x, err := Parse(text)
		if err != nil {
			return
		}
		for _, p := range x.Plugins {
			for _, v := range p.Versions {
				if !strings.HasPrefix(v.Location, "oci://") && !filepath.IsLocal(v.Location) {
					t.Fatalf("location %q", v.Location)
				}
			}
		}
	})
}
