package marketplace

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/bundle/bundletest"
	"github.com/leat-etl/leat/plugins/bundle/oci"
)

// browser is a headless Chromium that is told what to do through a pipe.
type browser struct {
	t       *testing.T
	to      io.Writer
	from    *bufio.Reader
	session string
	n       int
	// complaints are what the browser's log says, refusals by the content
	// security policy above all; requests is what was asked for.
	complaints, requests []string
}

var browsers = []string{"chromium-headless-shell", "chromium", "google-chrome"}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	path := ""
	for _, name := range browsers {
		if found, err := exec.LookPath(name); err == nil && path == "" {
			path = found
		}
	}
	if path == "" {
		t.Fatalf("none of %s is installed: go tool task toolchains", strings.Join(browsers, ", "))
	}
	theirIn, ourOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ourIn, theirOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	cmd := exec.CommandContext(ctx, path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe", "--user-data-dir="+t.TempDir(), "about:blank")
	cmd.ExtraFiles = []*os.File{theirIn, theirOut}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t, to: ourOut, from: bufio.NewReaderSize(ourIn, 1<<20)}
	t.Cleanup(func() {
		ourOut.Close() // the browser ends when nobody speaks to it any more
		theirIn.Close()
		if err := cmd.Wait(); err != nil && ctx.Err() != nil {
			t.Error(err)
		}
		cancel()
		theirOut.Close()
		ourIn.Close()
	})
	target := b.call("Target.createTarget", map[string]any{"url": "about:blank"})["targetId"]
	b.session, _ = b.call("Target.attachToTarget", map[string]any{"targetId": target, "flatten": true})["sessionId"].(string)
	for _, domain := range []string{"Page", "Log", "Network", "Runtime"} {
		b.call(domain+".enable", map[string]any{})
	}
	return b
}

// call sends a command and reads on until its answer; events on the way are
// noted.
func (b *browser) call(method string, params map[string]any) map[string]any {
	b.t.Helper()
	b.n++
	message := map[string]any{"id": b.n, "method": method, "params": params}
	if b.session != "" {
		message["sessionId"] = b.session
	}
	text, err := json.Marshal(message)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.to.Write(append(text, 0)); err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
	for {
		text, err := b.from.ReadBytes(0)
		if err != nil {
			b.t.Fatalf("%s: %v", method, err)
		}
		var answer struct {
			ID     int
			Method string
			Result map[string]any
			Error  *struct{ Message string }
			Params struct {
				Entry   struct{ Text, URL string }
				Request struct{ URL string }
			}
		}
		if err := json.Unmarshal(text[:len(text)-1], &answer); err != nil {
			b.t.Fatal(err)
		}
		switch {
		case answer.ID == b.n && answer.Error != nil:
			b.t.Fatalf("%s: %s", method, answer.Error.Message)
		case answer.ID == b.n:
			return answer.Result
		case answer.Method == "Log.entryAdded":
			b.complaints = append(b.complaints, answer.Params.Entry.Text)
		case answer.Method == "Network.requestWillBeSent":
			b.requests = append(b.requests, answer.Params.Request.URL)
		}
	}
}

// eval evaluates a script in the page, and waits for what it promises.
func (b *browser) eval(script string) string {
	b.t.Helper()
	r := b.call("Runtime.evaluate", map[string]any{"expression": script, "awaitPromise": true, "returnByValue": true})
	if r["exceptionDetails"] != nil {
		b.t.Fatalf("%s: %v", script, r["exceptionDetails"])
	}
	return fmt.Sprint(r["result"].(map[string]any)["value"])
}

// open opens a page and waits until it has been loaded.
func (b *browser) open(url string) {
	b.t.Helper()
	b.call("Page.navigate", map[string]any{"url": url})
	b.eval(`new Promise((done) => { const look = () => location.href !== "about:blank" && document.readyState === "complete" ? done(1) : setTimeout(look, 20); look(); })`)
}

// real packs a bundled plugin as one of acme.
func real(t *testing.T, name string) *oci.Artifact {
	t.Helper()
	b, err := bundle.Resolve(name, ".")
	if err != nil {
		t.Fatal(err)
	}
	files := bundletest.Files(t, "acme/"+name+"@1.0.0")
	files["plugin.wasm"], files["config.schema.json"] = b.Module, b.Manifest.ConfigSchema
	a, err := oci.Assemble(files)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// sample is rows for the playground.
const sample = "id:bigint,email,tags:text[]\n1,ada@example.com,\"{a,b}\"\n2,,{}\n"

const settled = `new Promise((done) => { const r = document.getElementById("result"); const look = () => r.dataset.done ? done(r.textContent) : setTimeout(look, 20); look(); })`

// example compiles an example of the Go kit.
func example(t *testing.T, name string) *oci.Artifact {
	t.Helper()
	out := filepath.Join(t.TempDir(), name+".wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-ldflags", "-s -w", "-o", out, "./examples/"+name)
	cmd.Dir = "../../../pdk/go"
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, text)
	}
	files := bundletest.Files(t, "acme/"+name+"@1.0.0")
	for file, path := range map[string]string{"plugin.wasm": out, "config.schema.json": filepath.Join(cmd.Dir, "examples", name, "config.schema.json")} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files[file] = text
	}
	a, err := oci.Assemble(files)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestInABrowser searches the site and runs plugins on its pages in a real
// browser, which refuses nothing and asks no other server.
func TestInABrowser(t *testing.T) {
	dir := build(t, nil, real(t, "mask"), example(t, "mask-email"), example(t, "array-json"), bundletest.Artifact(t, "globex/geo@1.0.0", map[string]string{"README.md": hostile}, "http"))
	var mu sync.Mutex
	asked := map[string]int{}
	files := http.FileServer(http.Dir(dir))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked[r.Method]++
		mu.Unlock()
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	b := newBrowser(t)
	b.open(server.URL + "/")
	search := func(text string) string {
		return b.eval(`(() => { const q = document.getElementById("q"); q.value = ` + fmt.Sprintf("%q", text) + `; q.dispatchEvent(new Event("input")); return [...document.querySelectorAll(".card")].filter((c) => c.offsetParent).map((c) => c.querySelector("h2").textContent).join(" ") })()`)
	}
	for text, want := range map[string]string{"": "acme/array-json acme/mask acme/mask-email globex/geo", "MASK": "acme/mask acme/mask-email", "http": "globex/geo", "nothing at all": ""} {
		if got := search(text); got != want {
			t.Errorf("%q finds %q, want %q", text, got, want)
		}
	}
	b.open(server.URL + "/plugins/acme/mask/index.html#try")
	got := b.eval(settled)
	for _, want := range []string{"It sees no column.", "It leaves work to functions of Leat: mask.", "public.sample, 3 rows", "{a,b}", "***@example.com"} {
		if !strings.Contains(got, want) {
			t.Errorf("the playground does not say %q:\n%s", want, got)
		}
	}
	run := func(config, csv string) string {
		script := fmt.Sprintf(`(() => { const f = document.getElementById("playground"); f.elements.config.value = %q; f.elements.csv.value = %q; f.requestSubmit(); return %s })()`, config, csv, settled)
		return b.eval(script)
	}
	for config, want := range map[string]string{
		`{"columns": ["email"]}`:                                        "b5fc85e55755f9e0d030a10ab4429b6b2944855f9a0d60077fe832becbc41d72", // the digest of sha256sum
		`{"columns": ["email"], "method": "hash", "salt": "pepper"}`:    "f3de2501fc91c4a9ae4d4ed50bef931c9901aabe5ea36979890a69204e7eb2b1",
		`{"columns": ["email"], "method": "encrypt", "key": "short"}`:   "key",
		`{"columns": ["tags"], "method": "redact", "text": "<hidden>"}`: "<hidden>",
	} {
		if got := run(config, sample); !strings.Contains(got, want) {
			t.Errorf("mask with %s gives\n%s, want %q", config, got, want)
		}
	}
	if got := run(`{"columns": ["other"]}`, "id:bigint,mail\n1,x\n"); !strings.Contains(got, `has no column "other"`) {
		t.Errorf("mask of a column that is not there: %q", got)
	}
	b.open(server.URL + "/plugins/acme/mask-email/index.html#try")
	b.eval(settled)
	for _, c := range [][3]string{
		{`{"column": "mail"}`, "id:bigint,mail\n1,<b>ada</b>@example.com\n2,\n", "1<***@example.com2null"},
		{`{"column": "mail"}`, "id:bigint,mail\n1,x\n", "It sees mail and no other column."},
		{`{`, "id\n1\n", "JSON"},
		{`{"column": "mail"}`, "id:bigint,mail\nx,y\n", "row 1, column id: x is not of its type"},
		{`{"column": "mail"}`, "id:money,mail\n1,y\n", "column id: types are"},
		{`{"column": "mail"}`, "id,mail\n1,\"y\n", "a quoted cell is not closed"},
	} {
		if got := run(c[0], c[1]); !strings.Contains(got, c[2]) {
			t.Errorf("%s on %q gives %q, want %q", c[0], c[1], got, c[2])
		}
	}
	b.open(server.URL + "/plugins/acme/array-json/index.html#try")
	b.eval(settled)
	if got := run(`{"column": "tags"}`, "id:bigint,tags:text[]\n1,\"{a,b}\"\n2,\"{\"\"x y\"\",NULL}\"\n"); !strings.Contains(got, `["a","b"]`) || !strings.Contains(got, `["x y",null]`) {
		t.Errorf("array-json in the browser:\n%s", got)
	}
	b.open(server.URL + "/plugins/globex/geo/index.html")
	if got := b.eval(`String(document.querySelector("#playground, .readme img, .readme script, .readme iframe"))`); got != "null" {
		t.Errorf("the page of a plugin with capabilities and a hostile README has %s", got)
	}
	if got := b.eval(`fetch("/catalogue.json").then(() => "fetched", () => "refused")`); got != "refused" {
		t.Errorf("a page could fetch: its policy is not in force")
	}
	for _, c := range b.complaints {
		if !strings.Contains(c, "catalogue.json") { // the fetch above
			t.Errorf("the browser complains: %s", c)
		}
	}
	for _, r := range b.requests {
		if !strings.HasPrefix(r, server.URL+"/") {
			t.Errorf("a page asked for %s", r)
		}
	}
	if mu.Lock(); asked[http.MethodPost]+asked[http.MethodPut] > 0 || asked[http.MethodGet] == 0 {
		t.Errorf("something was sent: %v", asked)
	}
	mu.Unlock()
}

// TestOnANarrowScreen: no page is wider than a telephone's screen; what has to
// be, such as code, scrolls by itself.
func TestOnANarrowScreen(t *testing.T) {
	wide := strings.Repeat("wide", 40)
	readme := "# Geo\n\n" + wide + "\n\n    " + wide + "\n\n| " + wide + " | b |\n|---|---|\n| " + wide + " | `" + wide + "` |\n"
	server := httptest.NewServer(http.FileServer(http.Dir(build(t, nil, real(t, "mask"), bundletest.Artifact(t, "globex/"+wide[:64]+"@1.0.0", map[string]string{"README.md": readme}, "http")))))
	t.Cleanup(server.Close)
	b := newBrowser(t)
	for _, width := range []int{320, 390, 768} {
		b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 800, "deviceScaleFactor": 2, "mobile": true})
		for _, page := range []string{"/", "/plugins/acme/mask/index.html", "/plugins/globex/" + wide[:64] + "/index.html"} {
			b.open(server.URL + page)
			if got := b.eval(`[...document.querySelectorAll("body *")].filter((e) => !e.closest("pre, table, .scroll, .hidden, svg") && e.getBoundingClientRect().right > ` + fmt.Sprint(width) + `).map((e) => e.tagName + "." + e.className).join(" ")`); got != "" {
				t.Errorf("%s at a width of %d: beyond the edge are %s", page, width, got)
			}
			if got := b.eval(`String(document.documentElement.scrollWidth)`); got != fmt.Sprint(width) {
				t.Errorf("%s at a width of %d is %s wide", page, width, got)
			}
		}
	}
}

// bundled packs a bundled plugin with everything in its folder, as of leat.
func bundled(t *testing.T, b *bundle.Bundle) *oci.Artifact {
	t.Helper()
	from := "../../../transforms/"
	if b.Manifest.Kind == bundle.Destination {
		from = "../../destinations/"
	}
	dir := filepath.Join(t.TempDir(), b.Manifest.Name)
	if err := os.CopyFS(dir, os.DirFS(from+b.Manifest.Name)); err != nil {
		t.Fatal(err)
	}
	manifest := filepath.Join(dir, bundle.ManifestName)
	text := "publisher = \"leat\"\n" + read(t, manifest)
	if err := errors.Join(os.WriteFile(manifest, []byte(text), 0o600), os.WriteFile(filepath.Join(dir, b.Manifest.Name+".wasm"), b.Module, 0o600)); err != nil {
		t.Fatal(err)
	}
	a, err := oci.Pack(dir)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestBundledPluginsInABrowser makes the site of the plugins of this repository
// and runs each transform on its own page with its own example: what stays with
// the host is computed there as Leat computes it.
func TestBundledPluginsInABrowser(t *testing.T) {
	all, err := bundle.Bundled()
	if err != nil {
		t.Fatal(err)
	}
	var artifacts []*oci.Artifact
	for _, b := range all {
		artifacts = append(artifacts, bundled(t, b))
	}
	server := httptest.NewServer(http.FileServer(http.Dir(build(t, nil, artifacts...))))
	t.Cleanup(server.Close)
	b := newBrowser(t)
	for name, want := range map[string]string{
		"array-to-varchar": `["x y",null]`,
		"convert":          `["a","b"]`,
		"database-name":    "sample",
		"dedupe":           "public.sample, 2 rows",
		"fields":           "21",
		"filter":           "public.sample, 1 rows",
		"json":             "New York",
		"mask":             "***@example.com",
		"merge-tables":     "public.sample, 3 rows",
		"route":            "public.active, 2 rows",
		"text":             "ADA@EXAMPLE.COM",
	} {
		b.open(server.URL + "/plugins/leat/" + name + "/index.html#try")
		got := b.eval(settled)
		if bad := b.eval(`document.querySelectorAll("#result .bad").length`); bad != "0" || !strings.Contains(got, want) {
			t.Errorf("%s gives\n%s, want %q", name, got, want)
		}
	}
	for _, c := range b.complaints {
		t.Errorf("the browser complains: %s", c)
	}
}
