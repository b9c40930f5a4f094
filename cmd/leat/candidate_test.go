package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/bundle/lock"
	"github.com/leat-etl/leat/state"
)

// guest compiles a variant of the engine's test guest into the site's folder
// and returns its path as a pipeline file names it.
func (s *site) guest(variant string) string {
	s.t.Helper()
	dir := filepath.Join(s.dir, variant)
	if err := os.Mkdir(dir, 0o700); err != nil {
		s.t.Fatal(err)
	}
	const source = "../../engine/testdata/shout"
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-ldflags", "-s -w -X main.variant="+variant, "-o", filepath.Join(dir, "shout.wasm"), source)
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("build the test guest: %v\n%s", err, text)
	}
	manifest, err := os.ReadFile(filepath.Join(source, "plugin.toml"))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "plugin.toml"), manifest, 0o600)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return "./" + variant + "/shout.wasm"
}

// TestCandidatesAndCapsules tries a plugin beside the live one, makes its
// failures again from capsules, and promotes it in a pipeline that runs.
func TestCandidatesAndCapsules(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	live, candidate := s.guest("live"), s.guest("candidate")
	s.exec("CREATE TABLE people (id integer PRIMARY KEY, name text)", "ALTER TABLE people OWNER TO "+s.role,
		"INSERT INTO people VALUES (1, 'anna'), (2, 'quiet'), (3, 'refused by live'), (4, 'refused by candidate')")
	s.expect(s.leat("plugin", "promote", s.file), exitFailure, "no transform", "shadow = ")
	s.extra = "[[transforms]]\nplugin = \"" + live + "\" # tried\nshadow = \"" + candidate + "\"\n"
	s.write()
	s.expect(s.run(), exitOK, "candidate shout@1.0.0 beside shout@1.0.0 (1:shout)", "column public.people.name: 2 rows", "1 row refused only by the live plugin")

	events := decode[[]state.Failed](s, s.leat("--json", "failed", "list", s.file))
	if len(events) != 1 {
		t.Fatalf("%d failed events, want 1", len(events))
	}
	path := filepath.Join(s.dir, "refused.capsule")
	s.expect(s.leat("failed", "capsule", s.file, events[0].ID, "-o", path), exitOK, "shout does not like it")
	s.expect(s.leat("plugin", "test", "capsule", path), exitPlugin, "neither bundled with this leat nor installed", "--plugin")
	s.expect(s.leat("plugin", "test", "capsule", path, "--plugin", filepath.Join(s.dir, "live", "shout.wasm")), exitOK, "the same outcome")
	s.expect(s.leat("plugin", "test", "capsule", path, "--plugin", filepath.Join(s.dir, "candidate", "shout.wasm")), exitOK, "the call succeeds")
	s.expect(s.leat("plugin", "test", "capsule", s.file), exitFailure, "is not a capsule")
	s.byFolder(path)

	whole := s.extra
	s.extra = strings.Replace(whole, "shadow = \""+candidate, "shadow = \"./broken.wasm", 1)
	s.write()
	if err := os.WriteFile(filepath.Join(s.dir, "broken.wasm"), []byte("\x00asm\x01\x00\x00\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.expect(s.leat("plugin", "promote", s.file), exitPlugin, "broken")
	if text, err := os.ReadFile(s.file); err != nil || !strings.Contains(string(text), "shadow = \"./broken.wasm") {
		t.Errorf("after a candidate that does not load, %v:\n%s", err, text)
	}
	s.extra = whole
	s.write()

	p := s.start()
	p.listens()
	s.await("SELECT name FROM people WHERE id = 2", "QUIET")
	s.expect(s.leat("failed", "capsule", s.file, events[0].ID, "--mask", "-o", path), exitOK, "with masked values the plugin does not fail")
	s.expect(s.leat("plugin", "promote", s.file, "2"), exitUsage, "transform 2 of", "has no candidate")
	s.expect(s.leat("plugin", "promote", s.file), exitOK, "transform 1 is shout@1.0.0 now")
	s.exec("INSERT INTO people VALUES (5, 'quiet'), (6, 'loud')")
	s.await("SELECT count(*) FROM people WHERE id = 5 AND name = 'quiet' OR id = 6 AND name = 'LOUD'", "2")
	if status := decode[struct{ Status engine.Status }](s, s.leat("--json", "status", s.file)); len(status.Status.Shadows) != 0 {
		t.Errorf("candidates after the promotion: %+v", status.Status.Shadows)
	}
	if code := p.stop(); code != exitOK {
		t.Errorf("exit code %d\n%s", code, p.out)
	}
	text, err := os.ReadFile(s.file)
	if err != nil || !strings.Contains(string(text), "plugin = \""+candidate+"\" # tried\n") || strings.Contains(string(text), "shadow") {
		t.Errorf("the pipeline file, %v:\n%s", err, text)
	}
	s.expect(s.leat("failed", "replay", "--all", s.file), exitOK, "1 replayed")
}

// byFolder names the live plugin by its folder, without ./ before it.
func (s *site) byFolder(capsule string) {
	s.t.Helper()
	s.t.Chdir(s.dir)
	if err := os.CopyFS(filepath.Join("acme", "shout"), os.DirFS("live")); err != nil {
		s.t.Fatal(err)
	}
	s.expect(s.leat("plugin", "test", "capsule", capsule, "--plugin", "live"), exitOK, "the same outcome")
	s.expect(s.leat("plugin", "test", "capsule", capsule, "--plugin", "acme/shout"), exitOK, "the same outcome")
	s.expect(s.leat("plugin", "info", "acme/shout"), exitOK, "shout 1.0.0, transform")
	whole := s.extra
	s.extra = "[[transforms]]\nplugin = \"acme/shout\"\n"
	s.write()
	s.expect(s.leat("plan", s.file), exitPlugin, "does not pin acme/shout", "is written ./acme/shout")
	s.extra = whole
	s.write()

	pins, err := lock.Load(".")
	if err != nil {
		s.t.Fatal(err)
	}
	digest := "sha256:" + strings.Repeat("0", 64)
	pins.Put(bundle.Ref{Publisher: "acme", Name: "shout", Version: "1.0.0"}, lock.Entry{Digest: digest, Module: digest})
	if err := pins.Save(); err != nil {
		s.t.Fatal(err)
	}
	for _, args := range [][]string{{"plugin", "test", "capsule", capsule, "--plugin", "acme/shout"}, {"plugin", "info", "acme/shout"}} {
		s.expect(s.leat(args...), exitUsage, "is a folder here and a plugin that leat.lock pins", "./acme/shout for the folder", "acme/shout@1.0.0 for the plugin")
	}
}
