package wasm

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/plugins/capability"
)

// memoryKV is a space that lasts as long as the test.
type memoryKV struct{ values map[string][]byte }

func (m *memoryKV) Get(_ context.Context, key string) ([]byte, error) { return m.values[key], nil }

func (m *memoryKV) Put(_ context.Context, key string, value []byte) error {
	if len(value) > 10 {
		return &capability.Error{Class: capability.Resource, Message: "plugin grants would keep 99 bytes of its quota of 10"}
	}
	m.values[key] = value
	return nil
}

func (m *memoryKV) Delete(_ context.Context, key string) error {
	delete(m.values, key)
	return nil
}

func (m *memoryKV) List(_ context.Context, prefix string, limit int) ([]string, error) {
	var keys []string
	for k := range m.values {
		if strings.HasPrefix(k, prefix) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys[:min(limit, len(keys))], nil
}

// grantsOfEveryKit are guests that do the same in each language.
var grantsOfEveryKit = map[string]func(t testing.TB) []byte{
	"go":         func(t testing.TB) []byte { return build(t, "testdata/grants") },
	"c":          func(t testing.TB) []byte { return compileC(t, "testdata/grants-kits/plugin.c") },
	"rust":       func(t testing.TB) []byte { return compileRust(t, "testdata/grants-kits/lib.rs") },
	"typescript": func(t testing.TB) []byte { return compileTypeScript(t, "plugins/wasm/testdata/grants-kits/plugin.ts") },
}

func TestAPluginUsesWhatItIsGranted(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "hello from ", r.URL.Path)
	}))
	t.Cleanup(server.Close)
	for language, code := range grantsOfEveryKit {
		t.Run(language, func(t *testing.T) { usesGrants(t, code(t), server.URL) })
	}
}

func usesGrants(t *testing.T, code []byte, server string) {
	client, err := capability.NewHTTP(capability.HTTPPolicy{Hosts: []string{server}, Timeout: 10 * time.Second, MaxBytes: 1000})
	if err != nil {
		t.Fatal(err)
	}
	blob, err := capability.NewBlob(filepath.Join(t.TempDir(), "blob"), capability.BlobUse{Bytes: 1 << 20, Files: 100})
	if err != nil {
		t.Fatal(err)
	}
	tr, err := newHost(t).Transform(t.Context(), code, Plugin{Name: "grants", Version: "0.1.0", Grants: Grants{HTTP: client, KV: &memoryKV{map[string][]byte{}}, Blob: blob, Clock: true, Random: true}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close(context.Background()) })
	s := customers("shop")
	p := mustPlan(t, tr, PlanInput{Schema: s})
	do := func(what string) string {
		out := mustProcess(t, tr, p, customerBatch(s, row{batch.Insert, 1, [3]string{what, "n", null}})).Batches[0]
		defer out.Release()
		return cellText(out.Rows.Column(1), 0)
	}
	for what, want := range map[string]string{
		"get " + server + "/x":         `^200 hello from /x0$`,
		"get http://169.254.169.254/":  `^error: the pipeline does not allow http://169.254.169.254:80$`,
		"get https://example.org/?a=b": `^error: the pipeline does not allow https://example.org:443$`,
		"put a 12345678901":            `^error: plugin grants would keep 99 bytes of its quota of 10$`,
		"value none":                   `^""$`,
		"write ../x y":                 `^error: "../x" is not the name of a file`,
		"read none":                    `^""$`,
		"now":                          `^20[2-9][0-9]$`,
		"random":                       `^[0-9a-f]{32}$`,
	} {
		if got := do(what); !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("%s gives %q, want %s", what, got, want)
		}
	}
	// Values of every length by three, which base64 pads differently.
	for _, step := range [][2]string{
		{"put k v w", "put"}, {"value k", `"v w"`}, {"put k é", "put"}, {"value k", `"é"`}, {"put k wxyz", "put"}, {"value k", `"wxyz"`}, {"keys ", "[k]"},
		{"write a/b c", "written"}, {"read a/b", `"c"`}, {"files a", "[a/b]"}, {"remove k", "removed"}, {"keys ", "[]"}, {"remove a/b", "removed"}, {"files a", "[]"},
	} {
		if got := do(step[0]); got != step[1] {
			t.Errorf("%s gives %q, want %q", step[0], got, step[1])
		}
	}
	if do("random") == do("random") {
		t.Error("random numbers repeat")
	}
}

func TestCapabilitiesThatAreNotGrantedDoNotLink(t *testing.T) {
	h := newHost(t)
	code := build(t, "testdata/grants")
	all := Grants{HTTP: &capability.HTTP{}, KV: &memoryKV{}, Blob: &capability.Blob{}, Clock: true, Random: true}
	for name, without := range map[string]func(*Grants){
		"http": func(g *Grants) { g.HTTP = nil }, "kv": func(g *Grants) { g.KV = nil }, "blob": func(g *Grants) { g.Blob = nil },
		"clock": func(g *Grants) { g.Clock = false }, "random": func(g *Grants) { g.Random = false },
	} {
		g := all
		without(&g)
		_, err := h.Transform(context.Background(), code, Plugin{Name: "grants", Version: "1", Grants: g})
		wantError(t, err, KindContract, fmt.Sprintf(`but the capability %q is not granted to it: below plugin in the pipeline file, for example, grants = { http = { hosts = ["api.example.org"] }, kv = "10MB", blob = "exports", clock = true, random = true }`, name))
	}
	// A transform has no database, whatever it is granted.
	_, err := h.Transform(context.Background(), build(t, "testdata/ledger"), Plugin{Name: "ledger", Version: "1", Grants: all})
	wantError(t, err, KindContract, `the capability "sql" is not granted`)
}

func TestAFloodOfLogLinesIsDammed(t *testing.T) {
	var lines bytes.Buffer
	h, err := NewHost(context.Background(), Config{CacheDir: filepath.Join(builds.dir, "cache"), Log: slog.New(slog.NewTextHandler(&lines, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close(context.Background()) })
	tr := transform(t, h, "testdata/grants", Plugin{Grants: Grants{HTTP: &capability.HTTP{}, KV: &memoryKV{}, Blob: &capability.Blob{}, Clock: true, Random: true}})
	s := customers("shop")
	p := mustPlan(t, tr, PlanInput{Schema: s})
	for range 20 {
		r := mustProcess(t, tr, p, customerBatch(s, row{batch.Insert, 1, [3]string{"log", "n", null}}, row{batch.Insert, 2, [3]string{"log", "n", null}}))
		r.Batches[0].Release()
	}
	if n := strings.Count(lines.String(), "flood"); n != logLinesMinute {
		t.Errorf("%d lines of 3600 were logged, want %d", n, logLinesMinute)
	}
	b := &tr.module.logs
	if ok, dropped := b.take(b.began.Add(time.Minute)); !ok || dropped < 500 {
		t.Errorf("a minute later: %v, %d lines were dropped", ok, dropped)
	}
}

func TestALineOfTheLogIsOneLine(t *testing.T) {
	if got := oneLine([]byte("one\nforged level=ERROR\r\x1b[2J\xff\u009b31m élan\n")); got != "one forged level=ERROR  [2J? 31m élan" {
		t.Errorf("got %q", got)
	}
}
