package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
	"github.com/leat-etl/leat/engine/enginetest/shop"
	"github.com/leat-etl/leat/engine/spec"
)

// blocks returns the fenced blocks of a language.
func blocks(text, language string) []string {
	var out []string
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```").FindAllStringSubmatch(text, -1) {
		out = append(out, m[1])
	}
	return out
}

// commands returns the lines of the sh blocks without their comments.
func commands(text string) []string {
	var out []string
	for _, block := range blocks(text, "sh") {
		for _, line := range strings.Split(block, "\n") {
			line, _, _ = strings.Cut(line, " #")
			if line = strings.TrimSpace(line); line != "" {
				out = append(out, line)
			}
		}
	}
	return out
}

// TestReadmeCommands runs every leat command of the README, in its order,
// against a database like the one it speaks of.
func TestReadmeCommands(t *testing.T) {
	server := pgserver.Own(t, pgserver.Options{})
	if err := shop.Create(t.Context(), server.DSN("postgres"), "shop_eu", 1); err != nil {
		t.Fatal(err)
	}
	if err := server.Exec(t.Context(), "postgres", `ALTER DATABASE shop_eu RENAME TO shop`,
		`CREATE ROLE leat LOGIN SUPERUSER PASSWORD 'a secret'`); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PGPASSWORD", "a secret")
	t.Chdir(t.TempDir())
	ran := 0
	for _, line := range commands(readme(t)) {
		line = strings.ReplaceAll(line, "127.0.0.1:5432", fmt.Sprintf("%s:%d", server.Host(), server.Port()))
		args := words(line)
		if args[0] != "leat" {
			continue
		}
		ran++
		if strings.HasPrefix(line, "leat plugin run hide-email") {
			addTransform(t, "shop.toml")
		}
		out, errOut := runLine(t, line, args[1:])
		if out.String() == "" && args[1] != "run" {
			t.Errorf("%s: printed nothing", line)
		}
		if strings.Contains(out.String()+errOut.String(), "a secret") {
			t.Errorf("%s: printed the password", line)
		}
	}
	if ran < 15 {
		t.Errorf("the README has %d leat commands, want at least 15", ran)
	}
}

// addTransform adds the transform of the README's author to a pipeline file.
func addTransform(t *testing.T, file string) {
	t.Helper()
	for _, block := range blocks(readme(t), "toml") {
		if strings.HasPrefix(block, "[[transforms]]") {
			writeFile(t, readFile(t, file)+"\n"+block, file)
			return
		}
	}
	t.Error("the README shows no transform of the author's own")
}

// readme reads the README, also after a test has changed its folder.
func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(sourceDir, "../../README.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// sourceDir is the folder of this package, in which go test starts.
var sourceDir = func() string {
	dir, err := os.Getwd()
	if err != nil {
		panic(err)
	}
	return dir
}()

// words splits a line as a shell does, for double quotes only.
func words(line string) []string {
	var out []string
	for i, part := range strings.Split(line, `"`) {
		if i%2 == 1 {
			out = append(out, part)
		} else {
			out = append(out, strings.Fields(part)...)
		}
	}
	return out
}

func TestReadmeTasks(t *testing.T) {
	taskfile, err := os.ReadFile("../../Taskfile.yml")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, line := range commands(readme(t)) {
		if name, ok := strings.CutPrefix(line, "go tool task "); ok {
			found++
			if !strings.Contains(string(taskfile), "\n  "+name+":\n") {
				t.Errorf("%s: there is no such task", line)
			}
		}
	}
	if found < 2 {
		t.Errorf("the README names %d tasks in its commands", found)
	}
}

func TestReadmePipelineIsValid(t *testing.T) {
	for _, text := range blocks(readme(t), "toml") {
		if !strings.Contains(text, "[source]") {
			continue
		}
		s, err := spec.Parse("shop.toml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Warnings) > 0 {
			t.Errorf("warnings: %q", s.Warnings)
		}
		return
	}
	t.Error("the README shows no pipeline")
}

// TestReadmePlugin builds the README's plugin as it stands there, in the folder
// that leat plugin new makes.
func TestReadmePlugin(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "hide-email")
	var out, errOut bytes.Buffer
	if code := execute(t.Context(), []string{"plugin", "new", dir}, &out, &errOut); code != exitOK {
		t.Fatalf("exit code %d: %s", code, errOut.String())
	}
	body := ""
	for _, b := range blocks(readme(t), "go") {
		if strings.Contains(b, "RegisterTransform") {
			body = b
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(body), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOFLAGS", "")
	out.Reset()
	if code := execute(t.Context(), []string{"plugin", "build", dir}, &out, &errOut); code != exitOK {
		t.Fatalf("exit code %d: %s", code, errOut.String())
	}
	if !strings.HasPrefix(out.String(), "hide-email 0.1.0: ") {
		t.Errorf("printed %q", out.String())
	}
}

func TestReadmeExitCodes(t *testing.T) {
	text := readme(t)
	for _, line := range strings.Split(exitCodeHelp, "\n") {
		code, what, _ := strings.Cut(line, "  ")
		what = strings.NewReplacer("leat verify", "`leat verify`", "leat explain row", "`leat explain row`").Replace(what)
		if !strings.Contains(text, "| "+code+" | "+what+" |") {
			t.Errorf("exit code %s: the README does not say %q", code, what)
		}
	}
}

// TestDemo runs the demo, small and short.
func TestDemo(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var out, errOut bytes.Buffer
	if code := execute(t.Context(), []string{"demo", "--for", "2s", "--scale", "1"}, &out, &errOut); code != exitOK {
		t.Fatalf("exit code %d\n%s%s", code, out.String(), errOut.String())
	}
	for _, want := range []string{"source and destination are equal", "merge_tables = true", "shop_us"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the demo's output lacks %q:\n%s", want, out.String())
		}
	}
}
