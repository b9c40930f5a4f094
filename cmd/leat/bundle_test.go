package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/bundle/bundletest"
	"github.com/leat-etl/leat/plugins/bundle/install"
)

const passphrase = "a passphrase nobody sees"

// workshop is a publisher's and a user's machine in one: folders of their own
// for settings and plugins, and a folder to work in.
type workshop struct {
	*site
	dir string
}

func newWorkshop(t *testing.T, s *site) *workshop {
	t.Helper()
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	t.Setenv(passphraseVariable, passphrase)
	w := &workshop{site: s, dir: t.TempDir()}
	t.Chdir(w.dir)
	return w
}

// ok runs a verb that succeeds, says what is wanted and never the passphrase.
func (w *workshop) ok(args []string, says ...string) result {
	w.t.Helper()
	r := w.leat(args...)
	w.expect(r, exitOK, says...)
	if strings.Contains(r.out+r.err, passphrase) {
		w.t.Errorf("leat %s printed the passphrase", strings.Join(args, " "))
	}
	return r
}

func (w *workshop) refused(args []string, says ...string) {
	w.t.Helper()
	w.expect(w.leat(args...), exitPlugin, says...)
}

func plugin(args ...string) []string { return append([]string{"plugin"}, args...) }

// author writes the folder of a plugin of acme with the code of the bundled
// mask.
func (w *workshop) author(version string) string {
	w.t.Helper()
	mask, err := bundle.Resolve("mask", ".")
	if err != nil {
		w.t.Fatal(err)
	}
	dir := filepath.Join(w.t.TempDir(), "mask")
	if err := os.Mkdir(dir, 0o755); err != nil {
		w.t.Fatal(err)
	}
	manifest := "publisher = \"acme\"\nname = \"mask\"\nversion = \"" + version + "\"\nkind = \"transform\"\nabi = 1\ndescription = \"Hide values.\"\nlicence = \"Apache-2.0\"\n"
	for name, data := range map[string][]byte{"mask.wasm": mask.Module, "plugin.toml": []byte(manifest), "config.schema.json": mask.Manifest.ConfigSchema, "README.md": []byte("# Mask\n\nHides values.\n")} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			w.t.Fatal(err)
		}
	}
	return dir
}

// small writes the file of a plugin without code.
func (w *workshop) small(ref string, capabilities ...string) string {
	w.t.Helper()
	a := bundletest.Artifact(w.t, ref, nil, capabilities...)
	if err := a.WriteFile(a.FileName()); err != nil {
		w.t.Fatal(err)
	}
	return a.FileName()
}

// TestSharedPlugin takes a plugin from its author's folder through a registry
// into a pipeline that runs it, and then changes everything behind it.
func TestSharedPlugin(t *testing.T) {
	w := newWorkshop(t, newSite(t, pgserver.Test(t, pgserver.Options{})))
	host := bundletest.Registry(t, true, nil)
	w.ok(plugin("keygen", "acme"), "key sha256:", "acme.key", "acme.pub")
	w.expect(w.leat("plugin", "keygen", "acme"), exitUsage, "acme.key exists")
	w.ok(plugin("pack", w.author("1.2.0")), "acme/mask@1.2.0: acme-mask-1.2.0.leat", "sha256:")
	w.refused(plugin("verify", "acme-mask-1.2.0.leat"), "it has no signature", "leat plugin trust add acme KEY.pub")
	w.ok(plugin("sign", "acme-mask-1.2.0.leat", "--key", "acme.key"), "signed with the key sha256:")
	w.ok(plugin("verify", "acme-mask-1.2.0.leat", "--key", "acme.pub"), "signed with the key sha256:")
	w.ok(plugin("push", "acme-mask-1.2.0.leat", host+"/acme/mask"), host+"/acme/mask:1.2.0", ", 1 signature\n")
	w.ok(plugin("info", host+"/acme/mask:1.2.0"), "acme/mask 1.2.0, transform", "capabilities  nothing", "signed with", "README.md")

	w.extra = "[[transforms]]\nplugin = \"acme/mask@1.2.0\"\ntables = [\"public.customers\"]\nconfig = { columns = [\"email\"], method = \"redact\" }\n"
	w.write()
	w.refused([]string{"run", "--until-caught-up", w.file}, "leat.lock does not pin acme/mask@1.2.0", "leat plugin install")
	in := func(what string) []string { return plugin("install", "--dir", w.site.dir, what) }
	w.refused(in(host+"/acme/mask:1.2.0"), "is not trusted: it is signed with the unknown key")
	w.ok(plugin("trust", "add", "acme", "acme.pub"), "are trusted")
	w.ok(in(host+"/acme/mask:1.2.0"), "acme/mask@1.2.0 is installed", "may use nothing", "signed with the key")
	w.ok(plugin("list", "--dir", w.site.dir), "acme/mask", "leat.lock")
	for _, ref := range []string{"acme/mask", "acme/mask@1.2.0"} {
		w.refused(plugin("remove", "--dir", w.site.dir, ref), filepath.Base(w.file)+" names acme/mask@1.2.0", "take it out of the pipeline file first")
	}
	w.expect(w.run(), exitOK)
	w.expect(w.leat("query", w.file, "SELECT count(*) FROM customers WHERE email LIKE '%@%'"), exitOK, "\n0")
	w.expect(w.leat("plan", w.file), exitOK, "acme/mask@1.2.0 sees no column", "kernel mask works for it on email")

	// Another machine: nothing is installed, the registry still has it.
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	w.refused([]string{"run", "--until-caught-up", w.file}, "it is not installed on this machine: run leat plugin install --dir")
	w.ok(plugin("install", "--dir", w.site.dir), "acme/mask@1.2.0 is installed")
	w.ok(plugin("install", w.file), "acme/mask@1.2.0 is installed")
	w.expect(w.run(), exitOK)

	lockFile := filepath.Join(w.site.dir, "leat.lock")
	text, err := os.ReadFile(lockFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(lockFile, bytes.Replace(text, []byte("module = \"sha256:"), []byte("module = \"sha256:0"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	w.refused([]string{"run", "--until-caught-up", w.file}, "leat.lock", `key "plugins[1].module"`)
	if err := os.WriteFile(lockFile, text, 0o600); err != nil {
		t.Fatal(err)
	}
	var keys struct {
		Keys []struct{ Key string }
	}
	if err := json.Unmarshal([]byte(w.ok([]string{"--json", "plugin", "trust", "list"}).out), &keys); err != nil || len(keys.Keys) != 1 {
		t.Fatalf("%+v %v", keys, err)
	}
	w.ok(plugin("trust", "revoke", keys.Keys[0].Key[:20], "--reason", "stolen"), "is revoked: stolen")
	w.refused([]string{"run", "--until-caught-up", w.file}, "which is revoked: stolen")
	w.ok(plugin("list", "--dir", w.site.dir), "acme/mask 1.2.0 DOES NOT RUN: ", "which is revoked: stolen")
	w.ok(plugin("trust", "list"), "acme", "stolen", "mode require")
	w.ok(plugin("trust", "mode", "off"), "mode off")
	w.expect(w.run(), exitOK)
	w.expect(w.leat("plugin", "trust", "mode", "sometimes"), exitUsage, "want require, warn or off")

	w.extra = ""
	w.write()
	w.refused(plugin("remove", "--dir", w.site.dir, "acme/mask@9.9.9"), "does not pin acme/mask@9.9.9")
	w.expect(w.leat("plugin", "remove", "mask"), exitUsage, "publisher/name")
	w.ok(plugin("remove", "--dir", w.site.dir, "acme/mask"), "acme/mask@1.2.0 is pinned no longer")
	w.refused(plugin("remove", "--dir", w.site.dir, "acme/mask"), "does not pin acme/mask")
}

// TestTrustOfAPipeline is named by the pipeline file, beside it.
func TestTrustOfAPipeline(t *testing.T) {
	w := newWorkshop(t, newSite(t, pgserver.Test(t, pgserver.Options{})))
	w.ok(plugin("keygen", "acme", "--algorithm", "ed25519"))
	w.ok(plugin("pack", w.author("1.2.0")))
	w.ok(plugin("sign", "acme-mask-1.2.0.leat", "--key", "acme.key"))
	w.ok(plugin("trust", "--trust", filepath.Join(w.site.dir, "trust.toml"), "add", "acme", "acme.pub"))
	w.extra = "[plugins]\ntrust = \"trust.toml\"\n[[transforms]]\nplugin = \"acme/mask\"\ntables = [\"public.customers\"]\nconfig = { columns = [\"email\"], method = \"redact\" }\n"
	w.write()
	w.refused(plugin("install", "--dir", w.site.dir, "acme-mask-1.2.0.leat"), "is not trusted")
	w.ok(plugin("install", "--dir", w.site.dir, "--trust", filepath.Join(w.site.dir, "trust.toml"), "acme-mask-1.2.0.leat"))
	w.expect(w.leat("plan", w.file), exitOK, "acme/mask@1.2.0 sees no column", "kernel mask works for it on email")
}

// TestMarketplace builds a catalogue and serves it, and installs, updates and
// yanks by it.
func TestMarketplace(t *testing.T) {
	w := newWorkshop(t, &site{t: t})
	w.ok(plugin("keygen", "acme"))
	w.ok(plugin("trust", "add", "acme", "acme.pub"))
	shelf := t.TempDir()
	stock := func(ref string, capabilities ...string) {
		t.Helper()
		name := w.small(ref, capabilities...)
		w.ok(plugin("sign", name, "--key", "acme.key"))
		if err := os.Rename(name, filepath.Join(shelf, name)); err != nil {
			t.Fatal(err)
		}
	}
	stock("acme/mask@1.2.0", "kv")
	build := []string{"marketplace", "build", shelf, "--name", "Acme", "--key", "acme.key"}
	w.ok(build, "Acme: 1 plugin in 1 version\n", "catalogue.json", "index.html")
	server := httptest.NewServer(http.FileServer(http.Dir(shelf)))
	t.Cleanup(server.Close)
	w.ok(plugin("catalogue", "add", "acme", server.URL, "--publisher", "acme"))
	w.ok(plugin("catalogue", "list"), "acme", server.URL)
	w.ok(plugin("search", "mask"), "acme/mask", "1.2.0", "kv", "bundled")
	w.ok(plugin("search", "no-such-thing"), "nothing found")
	w.refused(plugin("install", "acme/mask"), "acme/mask@1.2.0 asks for", "+ kv", "keep small values between runs", "--grant kv grants it")
	w.ok(plugin("install", "acme/mask", "--grant", "kv"), "acme/mask@1.2.0 is installed", "may use kv")

	stock("acme/mask@1.3.0", "http")
	stock("acme/early@0.1.0-rc.1")
	w.ok(build)
	w.ok(plugin("search", "early"), "PRE-RELEASE. Does what")
	w.refused(plugin("update"), "asks for more than 1.2.0 was granted", "+ http", "- kv", "--grant http grants it")
	w.ok(plugin("update", "--grant", "http"), "acme/mask@1.3.0 is installed", "in the place of 1.2.0")
	w.ok(plugin("update"), "every plugin is at its newest version")

	yank := plugin("yank", "acme/mask@1.3.0", "--catalogue", shelf)
	w.expect(w.leat(append(yank, "--reason", "eats rows")...), exitFailure, "is signed: give the key")
	w.ok(append(yank, "--reason", "eats rows", "--key", "acme.key"))
	w.ok(plugin("update"), "acme/mask@1.3.0, which is pinned, was yanked: eats rows")
	page, err := os.ReadFile(filepath.Join(shelf, "plugins", "acme", "mask", "index.html"))
	if err != nil || !strings.Contains(string(page), "leat plugin install acme/mask@1.2.0") || !strings.Contains(string(page), "eats rows") {
		t.Errorf("the page does not show what was yanked: %v\n%s", err, page)
	}
	w.expect(w.leat(yank...), exitUsage, "--reason")
	w.refused(plugin("yank", "acme/mask@9.0.0", "--catalogue", shelf, "--undo", "--key", "acme.key"), "does not list it")

	mirror := filepath.Join(t.TempDir(), "mirror")
	w.expect(w.leat("marketplace", "mirror", "nothing", mirror), exitUsage, "no catalogue of the list is called")
	if err := os.Mkdir(mirror, 0o755); err != nil {
		t.Fatal(err)
	}
	w.ok([]string{"marketplace", "mirror", server.URL + "/", filepath.Join(t.TempDir(), "by-address")}, "3 bundles copied")
	w.ok([]string{"marketplace", "mirror", "acme", mirror}, "3 bundles copied")
	host := bundletest.Registry(t, false, nil)
	w.ok([]string{"marketplace", "push", shelf, host + "/plugins", "--key", "acme.key"}, "3 bundles in the registry", "oci://"+host+"/plugins/catalogue:latest")
	server.Close()
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	w.ok(plugin("search", "mask"), "cannot be reached, its last copy is used")
	w.ok(plugin("catalogue", "remove", "acme"))
	w.ok(plugin("catalogue", "add", "mirror", mirror, "--publisher", "acme"))
	w.ok(plugin("install"), "acme/mask@1.3.0 is installed")
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	w.ok(plugin("catalogue", "remove", "mirror"))
	w.ok(plugin("catalogue", "add", "registry", "oci://"+host+"/plugins/catalogue", "--publisher", "acme"))
	w.ok(plugin("install"), "acme/mask@1.3.0 is installed")
}

// TestBundleVerbsAsJSON decodes what every verb prints for machines.
func TestBundleVerbsAsJSON(t *testing.T) {
	w := newWorkshop(t, &site{t: t})
	host := bundletest.Registry(t, true, nil)
	name := w.small("acme/mask@1.2.0")
	for _, c := range []struct {
		args []string
		key  string
	}{
		{plugin("keygen", "acme"), "key"},
		{plugin("pack", w.author("1.3.0")), "digest"},
		{plugin("sign", name, "--key", "acme.key"), "key"},
		{plugin("sign", "acme-mask-1.3.0.leat", "--key", "acme.key"), "key"},
		{plugin("sign", name, "--key", "env://ACME_KEY"), "key"},
		{plugin("verify", name, "--key", "acme.pub"), "key"},
		{plugin("push", name, host+"/acme/mask"), "address"},
		{plugin("pull", host+"/acme/mask:1.2.0", "-o", "pulled.leat"), "signatures"},
		{plugin("sign", host+"/acme/mask:1.2.0", "--key", "acme.key"), "digest"},
		{plugin("info", "pulled.leat"), "bundle"},
		{plugin("trust", "list"), "mode"},
		{[]string{"marketplace", "build", w.dir}, "plugins"},
	} {
		if key, err := os.ReadFile("acme.key"); err == nil {
			t.Setenv("ACME_KEY", string(key))
		}
		r := w.ok(append([]string{"--json"}, c.args...))
		var out map[string]any
		if err := json.Unmarshal([]byte(r.out), &out); err != nil || out[c.key] == nil {
			t.Errorf("%v: %v\n%s", c.args, err, r.out)
		}
	}
	w.ok(plugin("trust", "add", "acme", "acme.pub", "--from", "2020-01-01", "--until", "2999-12-31"))
	for _, args := range [][]string{plugin("install", "pulled.leat"), plugin("update"), plugin("list"), plugin("search"), plugin("catalogue", "list"), plugin("remove", "acme/mask")} {
		if args[1] == "update" {
			w.ok(plugin("catalogue", "add", "here", w.dir))
		}
		r := w.ok(append([]string{"--json"}, args...))
		var out []map[string]any
		if err := json.Unmarshal([]byte(r.out), &out); err != nil {
			t.Errorf("%v: %v\n%s", args, err, r.out)
		}
	}
}

// TestBundleVerbsRefuse what makes no sense.
func TestBundleVerbsRefuse(t *testing.T) {
	w := newWorkshop(t, &site{t: t})
	name := w.small("acme/mask@1.2.0")
	w.ok(plugin("keygen", "acme"))
	w.expect(w.leat("plugin", "sign", name), exitUsage, "leat plugin keygen NAME makes one")
	w.expect(w.leat("plugin", "sign", name, "--key", "acme.pub"), exitFailure, "this is the public key")
	w.expect(w.leat("plugin", "sign", name, "--key", "env://NOT_SET_AT_ALL"), exitUsage, "is not set")
	w.expect(w.leat("plugin", "verify", "acme/mask"), exitUsage, "leat plugin pack makes a bundle")
	w.expect(w.leat("plugin", "keygen", "other", "--algorithm", "rsa"), exitUsage, "want ecdsa-p256 or ed25519")
	w.expect(w.leat("plugin", "trust", "add", "acme", "acme.key"), exitFailure, "not a public key")
	w.expect(w.leat("plugin", "trust", "add", "acme", "acme.pub", "--until", "soon"), exitUsage, "want a day")
	w.expect(w.leat("plugin", "trust", "revoke", "abc"), exitFailure, "0 keys")
	w.refused(plugin("pack", t.TempDir()), "holds no .wasm file")
	w.refused(plugin("install", "nonsense"), "is neither the file of a bundle")
	w.refused(plugin("info", "acme/none"), "does not pin acme/none")
	t.Setenv(passphraseVariable, "a guess")
	w.expect(w.leat("plugin", "sign", name, "--key", "acme.key"), exitFailure, "the passphrase is wrong")
	if err := os.WriteFile("pass", []byte(passphrase+"\nmore"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.ok(plugin("sign", name, "--key", "acme.key", "--passphrase-file", "pass"))
	if err := os.Unsetenv(passphraseVariable); err != nil {
		t.Fatal(err)
	}
	w.expect(w.leat("plugin", "sign", name, "--key", "acme.key"), exitUsage, passphraseVariable)
	private, err := os.ReadFile("acme.key")
	if err != nil || !strings.Contains(string(private), "ENCRYPTED SIGSTORE PRIVATE KEY") {
		t.Errorf("the private key is not encrypted: %v", err)
	}
	if info, err := os.Stat("acme.key"); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the private key can be read by others: %v", err)
	}
}

// TestGrantIsDescribed shows what a plugin asks for against what it had.
// TestInstallSaysWhatIsBeyondTheUsual: limits that a manifest sets hold unless
// the pipeline file has others.
func TestInstallSaysWhatIsBeyondTheUsual(t *testing.T) {
	w := newWorkshop(t, &site{t: t})
	dir := w.author("1.2.0")
	edit(t, filepath.Join(dir, "plugin.toml"), "abi = 1\n", "abi = 1\nlimits = { memory = \"4GB\", deadline = \"24h\", fuel = 20000000000 }\n")
	w.ok(plugin("keygen", "acme"))
	w.ok(plugin("pack", dir))
	w.ok(plugin("sign", "acme-mask-1.2.0.leat", "--key", "acme.key"))
	w.ok(plugin("trust", "add", "acme", "acme.pub"))
	r := w.ok(plugin("install", "acme-mask-1.2.0.leat"), "takes memory of 4GB, usual is 256MB", "takes calls of 24h0m0s, usual is 30s", "limits = {...}")
	if strings.Contains(r.out, "fuel") {
		t.Errorf("the usual fuel is told: %s", r.out)
	}
}

func TestGrantIsDescribed(t *testing.T) {
	got := describeGrant(install.Question{Plugin: bundle.Ref{Publisher: "acme", Name: "mask", Version: "2.0.0"}, BeforeVersion: "1.0.0", Before: []string{"kv", "sql"}, Asks: []string{"http", "kv"}, New: []string{"http"}})
	want := "acme/mask@2.0.0 asks for more than 1.0.0 was granted\n" +
		"  + http  it can send HTTP requests to the hosts that the pipeline allows\n" +
		"    kv    it can keep small values between runs in a space of its own\n" +
		"  - sql   it can no longer run SQL on the destination's own connection, never seeing its credentials\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
