package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
	"github.com/leat-etl/leat/plugins/bundle/bundletest"
	"github.com/leat-etl/leat/plugins/workbench/compile"
)

// installs are commands of documents that fetch compilers: go tool task
// toolchains does that.
var installs = regexp.MustCompile(`^\(?(cd \S+ && )?(npm install|rustup target add)`)

// document runs the sh commands of a text in order, in the working folder: those
// of leat in this process, others in a shell. What runs until it is stopped is
// stopped once it has said what is awaited.
func document(t *testing.T, text string, change func(line string) string) int {
	t.Helper()
	ran := 0
	for _, line := range commands(text) {
		if line = change(line); installs.MatchString(line) || line == "" {
			continue
		}
		ran++
		args := words(line)
		if args[0] != "leat" {
			if text, err := exec.CommandContext(t.Context(), "sh", "-c", line).CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", line, err, text)
			}
			continue
		}
		runLine(t, line, args[1:])
	}
	return ran
}

// documentPatience is for one command of a document.
const documentPatience = 4 * time.Minute

// endless are flags of verbs that run until they are stopped, with what these say
// when they wait.
var endless = map[string]string{"--watch": "waiting for changes", "--dev": "watching the plugin for changes"}

// runLine runs a leat command and returns what it printed.
func runLine(t *testing.T, line string, args []string) (out, errOut *transcript) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), documentPatience)
	defer stop()
	out, errOut = newTranscript(), newTranscript()
	said := make(chan bool, 1)
	says := ""
	for _, arg := range args {
		if endless[arg] != "" {
			says = endless[arg]
		}
	}
	if says == "" {
		said <- true
	} else {
		go func() {
			said <- errOut.await(says, 1, documentPatience)
			stop()
		}()
	}
	code := execute(ctx, args, out, errOut)
	errOut.end()
	if ok := <-said; code != exitOK || !ok {
		t.Fatalf("%s: exit code %d\n%s%s", line, code, out, errOut)
	}
	return out, errOut
}

func readFile(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func writeFile(t *testing.T, text string, path ...string) {
	t.Helper()
	to := filepath.Join(path...)
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, to string, path ...string) {
	t.Helper()
	if err := os.Symlink(to, filepath.Join(path...)); err != nil {
		t.Fatal(err)
	}
}

// TestKitReadmes runs the commands of each kit's README: the short way with
// leat, and, with the plugin that stands there, the way by hand.
func TestKitReadmes(t *testing.T) {
	repository := filepath.Join(sourceDir, "..", "..")
	modules := filepath.Join(repository, "build", "assemblyscript", "node_modules")
	for language, c := range map[string]struct {
		fence, source string
		// prepare lays out what the way by hand expects in the working folder.
		prepare func(t *testing.T, text, plugin string)
	}{
		"go": {"go", "main.go", func(t *testing.T, text, plugin string) {
			writeFile(t, plugin, "main.go")
			writeFile(t, strings.ReplaceAll(blocks(text, "text")[0], "/path/to/leat", repository), "go.mod")
		}},
		"rust": {"rust", "src/lib.rs", func(t *testing.T, _, plugin string) {
			writeFile(t, plugin, "src", "lib.rs")
			writeFile(t, strings.ReplaceAll(readFile(t, repository, "pdk", "rust", "examples", "upper", "Cargo.toml"), "../..", filepath.Join(repository, "pdk", "rust")), "Cargo.toml")
		}},
		"c": {"c", "plugin.c", func(t *testing.T, _, plugin string) {
			writeFile(t, plugin, "hide-email", "plugin.c")
			link(t, filepath.Join(repository, "pdk"), "pdk")
		}},
		"typescript": {"ts", "plugin.ts", func(t *testing.T, _, plugin string) {
			if err := os.CopyFS(".", os.DirFS(filepath.Join(repository, "pdk", "typescript"))); err != nil {
				t.Fatal(err)
			}
			link(t, modules, "node_modules")
			writeFile(t, strings.ReplaceAll(plugin, `"./leat/assembly`, `"../../assembly`), "examples", "hide-email", "plugin.ts")
		}},
	} {
		t.Run(language, func(t *testing.T) {
			text := readFile(t, repository, "pdk", language, "README.md")
			short, byHand, found := strings.Cut(text, "By hand it goes as follows.")
			if !found {
				t.Fatal("the README has no way by hand")
			}
			t.Setenv("GOFLAGS", "")
			t.Setenv("GOWORK", "off")
			t.Chdir(t.TempDir())
			ran := document(t, short, func(line string) string {
				if strings.HasPrefix(line, "leat plugin test") && language == "typescript" {
					link(t, modules, "hide-email", "node_modules")
				}
				return line
			})
			if ran < 2 {
				t.Errorf("the short way has %d commands", ran)
			}
			plugin := blocks(text, c.fence)[0]
			// Its own folder takes it as it stands there.
			writeFile(t, plugin, "hide-email", c.source)
			runLine(t, "leat plugin build hide-email", []string{"plugin", "build", "hide-email"})
			t.Chdir(t.TempDir())
			c.prepare(t, text, plugin)
			if document(t, byHand, func(line string) string { return withoutCargo(t, line) }) == 0 && language != "rust" {
				t.Error("the way by hand has no command")
			}
		})
	}
}

// withoutCargo builds a crate as leat does where there is no cargo for
// WebAssembly, as on a machine with the distribution's compiler alone.
func withoutCargo(t *testing.T, line string) string {
	t.Helper()
	if !strings.HasPrefix(line, "cargo build --release --target wasm32-unknown-unknown") {
		return line
	}
	var said strings.Builder
	if _, err := compile.Build(t.Context(), ".", filepath.Join(t.TempDir(), "plugin.wasm"), &said); err != nil {
		t.Fatalf("%s: %v\n%s", line, err, said.String())
	}
	return ""
}

// TestPluginReadmes runs the commands of the READMEs that leat plugin new writes:
// building, trying on real rows, and sharing.
func TestPluginReadmes(t *testing.T) {
	host := bundletest.Registry(t, true, nil)
	w := newWorkshop(t, newSite(t, pgserver.Test(t, pgserver.Options{})))
	w.patience = documentPatience
	for _, kind := range []string{"transform", "destination"} {
		name := "my-" + kind
		dir := filepath.Join(w.site.dir, name)
		w.ok(plugin("new", dir, "--lang", "c", "--kind", kind))
		if kind == "transform" {
			w.extra = blocks(readFile(t, dir, "README.md"), "toml")[0]
			w.write()
		}
		edit(t, filepath.Join(dir, "plugin.toml"), `# publisher = "you"  `, `publisher = "acme" #`)
		t.Chdir(dir)
		ran := document(t, readFile(t, dir, "README.md"), func(line string) string { return strings.ReplaceAll(line, "ghcr.io", host) })
		if ran < 7 {
			t.Errorf("the README of a %s has %d commands", kind, ran)
		}
	}
}

// indented are the leat commands of a text that are set off by four spaces.
func indented(text string) string {
	var out strings.Builder
	for _, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, "    leat ") {
			out.WriteString(strings.TrimSpace(line) + "\n")
		}
	}
	return "```sh\n" + out.String() + "```"
}

// TestBundleReadme runs what the page of bundles tells publishers and users.
func TestBundleReadme(t *testing.T) {
	host := bundletest.Registry(t, true, nil)
	w := newWorkshop(t, &site{t: t})
	w.ok(plugin("new", "mask", "--lang", "c"))
	edit(t, filepath.Join("mask", "plugin.toml"), `# publisher = "you"  `, `publisher = "acme" #`)
	edit(t, filepath.Join("mask", "plugin.toml"), `version = "0.1.0"`, `version = "1.2.0"`)
	t.Chdir("mask")
	text := readFile(t, sourceDir, "../../plugins/bundle/README.md")
	if ran := document(t, indented(text), func(line string) string { return strings.ReplaceAll(line, "ghcr.io", host) }); ran < 7 {
		t.Errorf("the page has %d commands", ran)
	}
}
