package install

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/bundle/bundletest"
	"github.com/leat-etl/leat/plugins/bundle/catalogue"
	"github.com/leat-etl/leat/plugins/bundle/lock"
	"github.com/leat-etl/leat/plugins/bundle/oci"
	"github.com/leat-etl/leat/plugins/bundle/sign"
	"github.com/leat-etl/leat/plugins/bundle/trust"
)

// world is a machine with a folder of pipelines, a registry and a publisher
// that is trusted.
type world struct {
	t     *testing.T
	in    *Installer
	key   sign.PrivateKey
	host  string
	warns []string
	asked []Question
	// refuse lets nothing be granted.
	refuse bool
}

func newWorld(t *testing.T) *world {
	t.Helper()
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	w := &world{t: t, key: bundletest.Key(t), host: bundletest.Registry(t, true, nil)}
	keys := &trust.Store{Mode: trust.Require, Path: filepath.Join(t.TempDir(), "trust.toml")}
	if err := keys.Add("acme", trust.Key{}, w.key.Public()); err != nil {
		t.Fatal(err)
	}
	warn := func(s string) { w.warns = append(w.warns, s) }
	registry := oci.Registry{Timeout: 20 * time.Second}
	w.in = &Installer{
		Dir: t.TempDir(), Store: Store{t.TempDir()}, Trust: keys, Registry: registry, Warn: warn,
		Reader: &catalogue.Reader{Registry: registry, Trust: keys, CacheDir: t.TempDir(), Warn: warn},
		Grant: func(q Question) error {
			w.asked = append(w.asked, q)
			if w.refuse {
				return errors.New("refused")
			}
			return nil
		},
	}
	w.saveTrust()
	return w
}

func (w *world) saveTrust() {
	w.t.Helper()
	if err := w.in.Trust.Save(); err != nil {
		w.t.Fatal(err)
	}
}

// signed makes a plugin of the trusted publisher.
func (w *world) signed(ref string, capabilities ...string) *oci.Artifact {
	w.t.Helper()
	return bundletest.Sign(w.t, bundletest.Artifact(w.t, ref, nil, capabilities...), w.key)
}

// file writes a bundle to a file.
func (w *world) file(a *oci.Artifact) string {
	w.t.Helper()
	path := filepath.Join(w.t.TempDir(), a.FileName())
	if err := a.WriteFile(path); err != nil {
		w.t.Fatal(err)
	}
	return path
}

func (w *world) push(a *oci.Artifact) oci.Address {
	w.t.Helper()
	at, err := w.in.Registry.Push(w.t.Context(), a, oci.Address{Repository: w.host + "/" + a.Ref().ID()})
	if err != nil {
		w.t.Fatal(err)
	}
	return at
}

func (w *world) install(what string) Result {
	w.t.Helper()
	r, err := w.in.Install(w.t.Context(), what)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// fails installs what must be refused, and leaves the lock file as it was.
func (w *world) fails(what, want string) {
	w.t.Helper()
	before, _ := os.ReadFile(filepath.Join(w.in.Dir, lock.Name))
	if _, err := w.in.Install(w.t.Context(), what); err == nil || !strings.Contains(err.Error(), want) {
		w.t.Errorf("install %s: %v, want %q", what, err, want)
	}
	if after, _ := os.ReadFile(filepath.Join(w.in.Dir, lock.Name)); string(after) != string(before) {
		w.t.Errorf("install %s changed the lock file:\n%s", what, after)
	}
}

func (w *world) find(ref string) (*bundle.Bundle, error) {
	b, _, err := Find(ref, w.in.Dir, w.in.Trust.Path, w.in.Store)
	return b, err
}

func (w *world) runs(ref string) {
	w.t.Helper()
	if b, err := w.find(ref); err != nil || !strings.HasPrefix(b.Manifest.Ref().String(), ref) {
		w.t.Errorf("%s does not run: %v", ref, err)
	}
}

func (w *world) doesNotRun(ref, want string) {
	w.t.Helper()
	if _, err := w.find(ref); err == nil || !strings.Contains(err.Error(), want) {
		w.t.Errorf("%s: %v, want %q", ref, err, want)
	}
}

// folder makes a catalogue in a folder and looks into it.
func (w *world) folder(bundles ...*oci.Artifact) string {
	w.t.Helper()
	dir := w.t.TempDir()
	for _, a := range bundles {
		if err := a.WriteFile(filepath.Join(dir, a.FileName())); err != nil {
			w.t.Fatal(err)
		}
	}
	w.index(dir, nil)
	w.in.Catalogues = []catalogue.Source{{Name: "local", URL: dir}}
	w.in.opened = nil
	return dir
}

func (w *world) index(dir string, change func(*catalogue.Folder)) {
	w.t.Helper()
	f, err := catalogue.OpenFolder(dir, time.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	if change != nil {
		change(f)
	}
	if err := f.Save(nil); err != nil {
		w.t.Fatal(err)
	}
	w.in.opened = nil
}

// TestInstallFromAFile needs no network, and a pipeline then finds the plugin.
func TestInstallFromAFile(t *testing.T) {
	w := newWorld(t)
	w.doesNotRun("acme/mask@1.2.0", "does not pin acme/mask@1.2.0: run leat plugin install")
	r := w.install(w.file(w.signed("acme/mask@1.2.0", "kv")))
	if r.Plugin != "acme/mask@1.2.0" || !slices.Equal(r.Capabilities, []string{"kv"}) || r.Key != w.key.Public().ID() || len(w.asked) != 1 {
		t.Errorf("%+v, asked %+v", r, w.asked)
	}
	w.runs("acme/mask@1.2.0")
	w.runs("acme/mask")
	w.doesNotRun("acme/mask@1.3.0", "pins acme/mask at 1.2.0, the pipeline file names 1.3.0")
	w.doesNotRun("acme/Mask", `name "Mask"`)
	if files, err := w.in.Store.List(); err != nil || len(files) != 1 || files[0] != r.Digest {
		t.Errorf("store %q %v", files, err)
	}
	w.refuse = true // the same once more asks nothing
	w.install(w.file(w.signed("acme/mask@1.2.0", "kv")))
}

// TestInstallRefuses what is not signed by its publisher, not granted, or not a
// bundle.
func TestInstallRefuses(t *testing.T) {
	w := newWorld(t)
	w.fails(w.file(bundletest.Artifact(t, "acme/mask@1.2.0", nil)), "plugin acme/mask@1.2.0 is not trusted: it has no signature")
	w.fails(w.file(bundletest.Sign(t, bundletest.Artifact(t, "acme/mask@1.2.0", nil), bundletest.Key(t))), "it is signed with the unknown key sha256:")
	w.fails(w.file(w.signed("globex/mask@1.2.0")), "it is signed with a key of acme, not of globex")
	stolen := w.signed("acme/other@1.0.0").Signatures[0]
	a := bundletest.Artifact(t, "acme/mask@1.2.0", nil)
	a.Attach(stolen)
	w.fails(w.file(a), "is about another artifact")
	w.refuse = true
	w.fails(w.file(w.signed("acme/mask@1.2.0", "http")), "refused")
	w.fails("acme/mask", "there is no catalogue to look it up in: leat plugin catalogue add")
	w.fails("mask", "is neither the file of a bundle, nor publisher/name@version, nor an address in a registry")
	w.fails("missing.leat", "open bundle")
	if files, err := w.in.Store.List(); err != nil || len(files) != 0 {
		t.Errorf("stored: %q %v", files, err)
	}
	w.in.Trust.Mode = trust.Warn
	w.install(w.file(bundletest.Artifact(t, "acme/mask@1.2.0", nil)))
	if len(w.warns) != 1 || !strings.Contains(w.warns[0], "it has no signature") {
		t.Errorf("warnings %q", w.warns)
	}
	w.saveTrust()
	if _, warning, err := Find("acme/mask", w.in.Dir, w.in.Trust.Path, w.in.Store); err != nil || !strings.Contains(warning, "it has no signature") {
		t.Errorf("%q %v", warning, err)
	}
	w.in.Trust.Mode = trust.Require
	w.saveTrust()
	w.doesNotRun("acme/mask", "it has no signature")
}

// TestRunRefusesWhatDiffers changes the store, the lock file and the trust store
// behind a plugin that was installed.
func TestRunRefusesWhatDiffers(t *testing.T) {
	w := newWorld(t)
	r := w.install(w.file(w.signed("acme/mask@1.2.0", "http", "kv")))
	other := w.install(w.file(w.signed("acme/other@1.2.0")))
	lockFile := filepath.Join(w.in.Dir, lock.Name)
	good, err := os.ReadFile(lockFile)
	if err != nil {
		t.Fatal(err)
	}
	edit := func(old, new string) {
		t.Helper()
		if !strings.Contains(string(good), old) {
			t.Fatalf("no %q in\n%s", old, good)
		}
		if err := os.WriteFile(lockFile, []byte(strings.Replace(string(good), old, new, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	edit(`"http", "kv"`, `"kv"`)
	w.doesNotRun("acme/mask", "asks for http, kv, "+lockFile+" grants it kv: to let it send HTTP requests to the hosts that the pipeline allows, run leat plugin install --grant http acme/mask@1.2.0")
	edit(r.Module, other.Module)
	w.doesNotRun("acme/mask", "pins the module "+other.Module+", its bundle holds "+r.Module)
	edit(r.Digest, other.Digest)
	w.doesNotRun("acme/mask", "which is acme/other@1.2.0")
	edit(r.Digest, "sha256:"+strings.Repeat("0", 64))
	w.doesNotRun("acme/mask", "it is not installed on this machine: run leat plugin install --dir")
	edit("a", "a")
	w.runs("acme/mask")
	bundlePath, otherPath := w.in.Store.path(r.Digest), w.in.Store.path(other.Digest)
	swap, err := os.ReadFile(otherPath)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := os.ReadFile(bundlePath)
	if err != nil {
		t.Fatal(err)
	}
	write := func(data []byte) {
		t.Helper()
		if err := os.WriteFile(bundlePath, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(swap)
	w.doesNotRun("acme/mask", "somebody has changed it")
	damaged := slices.Clone(kept)
	at := bytes.Index(damaged, []byte("\x00asm")) // a byte elsewhere may be padding
	if at < 0 {
		t.Fatal("the bundle holds no module in plain sight")
	}
	damaged[at+4] ^= 1
	write(damaged)
	w.doesNotRun("acme/mask", "is refused")
	w.doesNotRun("acme/mask", "leat plugin install --dir")
	if err := w.in.Store.Put(w.signed("acme/mask@1.2.0", "http", "kv")); err != nil {
		t.Fatal(err)
	}
	w.runs("acme/mask")
	if _, err := w.in.Trust.Revoke(w.key.Public().ID(), "stolen"); err != nil {
		t.Fatal(err)
	}
	w.saveTrust()
	w.doesNotRun("acme/mask", "which is revoked: stolen")
	w.doesNotRun("acme/mask", "leat plugin update brings a newer version")
}

// TestExpiredKeys stop installs and not what is pinned.
func TestExpiredKeys(t *testing.T) {
	w := newWorld(t)
	a := w.file(w.signed("acme/mask@1.2.0"))
	w.install(a)
	w.in.Trust.Publishers[0].Keys[0].ValidUntil = trust.Date{Time: time.Now().AddDate(0, 0, -2)}
	w.saveTrust()
	w.runs("acme/mask")
	w.install(a) // pinned: the same on another machine
	w.fails(w.file(w.signed("acme/mask@1.3.0")), "which was valid until")
	next := bundletest.Key(t)
	if err := w.in.Trust.Add("acme", trust.Key{}, next.Public()); err != nil {
		t.Fatal(err)
	}
	w.install(w.file(bundletest.Sign(t, w.signed("acme/mask@1.3.0"), next)))
}

// TestInstallFromARegistry takes a tag, a digest, or the newest release.
func TestInstallFromARegistry(t *testing.T) {
	w := newWorld(t)
	for _, v := range []string{"1.2.0", "1.10.0", "2.0.0-rc.1"} {
		w.push(w.signed("acme/mask@" + v))
	}
	r := w.install(w.host + "/acme/mask:1.2.0")
	if r.Source != w.host+"/acme/mask" {
		t.Errorf("%+v", r)
	}
	if r := w.install(w.host + "/acme/mask"); r.Plugin != "acme/mask@1.10.0" {
		t.Errorf("newest: %+v", r)
	}
	w.install(w.host + "/acme/mask@" + r.Digest)
	w.fails(w.host+"/acme/nothing", "list versions of")
	w.fails(w.host+"/acme/mask:9.9.9", "not found")
	w.fails("127.0.0.1:1/acme/mask:1.0.0", "the registry cannot be reached")
}

// TestLockCatchesAnotherArtifact has a registry give another artifact for a
// version that is pinned.
func TestLockCatchesAnotherArtifact(t *testing.T) {
	w := newWorld(t)
	at := w.push(w.signed("acme/mask@1.2.0"))
	before := w.install(at.String())
	evil := bundletest.Sign(t, bundletest.Artifact(t, "acme/mask@1.2.0", map[string]string{"README.md": "changed"}), w.key)
	second := bundletest.Registry(t, true, nil) // a registry in which the tag has moved
	if _, err := w.in.Registry.Push(t.Context(), evil, oci.Address{Repository: second + "/acme/mask"}); err != nil {
		t.Fatal(err)
	}
	w.fails(second+"/acme/mask:1.2.0", "is not the one that "+filepath.Join(w.in.Dir, lock.Name)+" pins: it is "+string(evil.Digest)+", pinned is "+before.Digest)
	w.runs("acme/mask@1.2.0")
	w.fails(w.file(evil), "a version does not change once it is published")
}

// TestRestore brings what is pinned onto another machine: from where it came,
// else from a mirror, and never something else.
func TestRestore(t *testing.T) {
	w := newWorld(t)
	mask := w.signed("acme/mask@1.2.0", "kv")
	geo := w.signed("acme/geo@1.0.0")
	w.install(w.push(mask).String())
	w.install(w.file(geo))
	restore := func(want string) {
		t.Helper()
		w.in.Store, w.in.opened, w.asked = Store{t.TempDir()}, nil, nil
		done, err := w.in.Restore(t.Context())
		if want == "" && (err != nil || len(done) != 2 || len(w.asked) != 0) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%d restored, asked %v: %v, want %q", len(done), w.asked, err, want)
		}
	}
	restore("plugin acme/geo@1.0.0, which leat.lock pins as " + string(geo.Digest) + ", cannot be found: no catalogue of yours lists it, and no registry is known for it: leat plugin catalogue add NAME URL")
	mirror := w.folder(mask, geo)
	restore("")
	w.runs("acme/geo@1.0.0")
	w.runs("acme/mask@1.2.0")
	w.in.Registry.Timeout = time.Nanosecond // the registry is gone, the mirror has both
	restore("")
	if err := os.Remove(filepath.Join(mirror, mask.FileName())); err != nil {
		t.Fatal(err)
	}
	restore("the registry took longer than")
}

func update(w *world, ids ...string) ([]Result, error) { return w.in.Update(w.t.Context(), ids...) }

// TestUpdate takes the newest version that may be used and asks for what is new
// in it only.
func TestUpdate(t *testing.T) {
	w := newWorld(t)
	w.install(w.file(w.signed("acme/mask@1.2.0", "kv")))
	w.install(w.file(w.signed("acme/geo@1.0.0")))
	dir := w.folder(w.signed("acme/mask@1.3.0", "kv"), w.signed("acme/mask@1.4.0", "http"), w.signed("acme/mask@1.5.0"), w.signed("acme/mask@2.0.0-rc.1"), w.signed("acme/geo@1.0.0"))
	w.index(dir, func(f *catalogue.Folder) {
		if err := f.Yank(bundle.Ref{Publisher: "acme", Name: "mask", Version: "1.5.0"}, "eats rows"); err != nil {
			t.Fatal(err)
		}
	})
	w.asked, w.refuse = nil, true
	if _, err := update(w, "acme/mask"); err == nil {
		t.Fatal("widened without being granted")
	}
	if q := w.asked[0]; q.Plugin.Version != "1.4.0" || !slices.Equal(q.New, []string{"http"}) || !slices.Equal(q.Before, []string{"kv"}) || q.BeforeVersion != "1.2.0" {
		t.Errorf("asked %+v", q)
	}
	w.runs("acme/mask@1.2.0")
	w.refuse = false
	done, err := update(w)
	if err != nil || len(done) != 1 || done[0].Plugin != "acme/mask@1.4.0" || done[0].Before != "1.2.0" || done[0].Kept != "" {
		t.Fatalf("%+v %v", done, err)
	}
	w.runs("acme/mask")
	w.doesNotRun("acme/mask@1.2.0", "pins acme/mask at 1.4.0")
	if done, err := update(w); err != nil || len(done) != 0 {
		t.Errorf("twice: %+v %v", done, err)
	}
	if _, err := update(w, "acme/none"); err == nil || !strings.Contains(err.Error(), "does not pin it") {
		t.Error(err)
	}
	w.fails("acme/mask@1.5.0", "plugin acme/mask@1.5.0 was yanked: eats rows")
	w.fails("acme/mask@7.0.0", "listed are")
}

// TestUpdateKeepsWhatIsNamed leaves a version pinned that a pipeline file names.
func TestUpdateKeepsWhatIsNamed(t *testing.T) {
	w := newWorld(t)
	w.install(w.push(w.signed("acme/mask@1.2.0")).String())
	w.push(w.signed("acme/mask@1.3.0"))
	pipeline := filepath.Join(w.in.Dir, "shop.toml")
	if err := os.WriteFile(pipeline, []byte(`plugin = "acme/mask@1.2.0"`), 0o600); err != nil {
		t.Fatal(err)
	}
	done, err := update(w) // without a catalogue: where it came from
	if err != nil || len(done) != 1 || done[0].Kept != pipeline {
		t.Fatalf("%+v %v", done, err)
	}
	w.runs("acme/mask@1.2.0")
	w.runs("acme/mask@1.3.0")
	w.doesNotRun("acme/mask", "name the version in the pipeline file")
}

// TestYankedPins go on running, and update says so.
func TestYankedPins(t *testing.T) {
	w := newWorld(t)
	dir := w.folder(w.signed("acme/mask@1.2.0"))
	w.install("acme/mask")
	w.index(dir, func(f *catalogue.Folder) {
		if err := f.Yank(bundle.Ref{Publisher: "acme", Name: "mask", Version: "1.2.0"}, "eats rows"); err != nil {
			t.Fatal(err)
		}
	})
	if _, err := update(w); err != nil || len(w.warns) != 1 || !strings.Contains(w.warns[0], "acme/mask@1.2.0, which is pinned, was yanked: eats rows") {
		t.Errorf("%q %v", w.warns, err)
	}
	w.runs("acme/mask")
	w.install("acme/mask@1.2.0")
}

// TestSeveralCatalogues takes the best of all, past those that fail.
func TestSeveralCatalogues(t *testing.T) {
	w := newWorld(t)
	old := w.folder(w.signed("acme/mask@1.2.0"))
	newer := w.folder(w.signed("acme/mask@1.3.0"))
	down := httptest.NewServer(http.NotFoundHandler())
	down.Close()
	w.in.Catalogues = []catalogue.Source{{Name: "down", URL: down.URL}, {Name: "old", URL: old}, {Name: "newer", URL: newer}}
	if r := w.install("acme/mask"); r.Plugin != "acme/mask@1.3.0" {
		t.Errorf("%+v", r)
	}
	if len(w.warns) != 1 || !strings.Contains(w.warns[0], "open catalogue down") {
		t.Errorf("%q", w.warns)
	}
	w.fails("acme/none", "is in no catalogue")
}

// TestCatalogueThatLies leads to something else than it says.
func TestCatalogueThatLies(t *testing.T) {
	w := newWorld(t)
	good, other := w.signed("acme/mask@1.2.0"), w.signed("acme/other@1.2.0")
	dir := w.folder(good)
	if err := other.WriteFile(filepath.Join(dir, good.FileName())); err != nil {
		t.Fatal(err)
	}
	w.in.opened = nil
	w.fails("acme/mask", "the catalogue says "+string(good.Digest))
	text, err := os.ReadFile(filepath.Join(dir, catalogue.IndexName))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, catalogue.IndexName), []byte(strings.ReplaceAll(string(text), string(good.Digest), string(other.Digest))), 0o600); err != nil {
		t.Fatal(err)
	}
	w.in.opened = nil
	w.fails("acme/mask", "holds acme/other@1.2.0")
}

func TestCancelledInstall(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.in.Install(ctx, w.host+"/acme/mask:1.2.0"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestDefaultStore(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", "/data")
	if s, err := DefaultStore(); err != nil || s.Dir != "/data/leat/plugins" {
		t.Errorf("%+v %v", s, err)
	}
	t.Setenv("XDG_DATA_HOME", "")
	t.Setenv("HOME", "/home/me")
	if s, err := DefaultStore(); err != nil || s.Dir != "/home/me/.local/share/leat/plugins" {
		t.Errorf("%+v %v", s, err)
	}
}
