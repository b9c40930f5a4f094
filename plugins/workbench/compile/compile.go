// Package compile turns the folder of a plugin into its module with the
// compiler of its language. It finds the language by the files that are there
// and says what to install where a compiler is missing.
package compile

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// Language is one that has a kit.
type Language string

// The languages.
const (
	Go         Language = "go"
	Rust       Language = "rust"
	C          Language = "c"
	TypeScript Language = "typescript"
)

// Languages are all of them.
var Languages = []Language{Go, Rust, C, TypeScript}

// KitFolder is where a plugin keeps the kit that it was made with.
const KitFolder = "leat"

// marks are the files by which a language is known, the first that is found.
var marks = []struct {
	language Language
	pattern  string
}{{Rust, "Cargo.toml"}, {Go, "*.go"}, {C, "*.c"}, {TypeScript, "*.ts"}}

// Detect returns the language of a plugin's folder.
func Detect(dir string) (Language, error) {
	if _, err := os.Stat(dir); err != nil {
		return "", fmt.Errorf("find the sources of a plugin: %w", err)
	}
	for _, m := range marks {
		if len(sources(dir, m.pattern)) > 0 {
			return m.language, nil
		}
	}
	return "", fmt.Errorf("%s holds no source of a plugin: neither *.go, Cargo.toml, *.c nor *.ts; leat plugin new makes a folder that does", dir)
}

// sources are the names of the files in dir that match a pattern, sorted.
func sources(dir, pattern string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		if ok, _ := filepath.Match(pattern, e.Name()); ok && !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}

// Error says that a plugin could not be compiled. Output is what the compiler
// said, Hint what to install, if that is the reason.
type Error struct {
	Dir      string
	Language Language
	Output   string
	Hint     string
	Err      error
}

// Error implements error.
func (e *Error) Error() string {
	s := fmt.Sprintf("compile %s: %v", e.Dir, e.Err)
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	if e.Output != "" {
		s += "\n" + e.Output
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// compilers make the module out of the folder dir; both paths are absolute.
var compilers = map[Language]func(*job) error{Go: buildGo, Rust: buildRust, C: buildC, TypeScript: buildTypeScript}

// job is one compilation.
type job struct {
	ctx      context.Context
	language Language
	dir, out string
	said     io.Writer
}

// Build compiles the plugin in dir and writes its module to out. A failed
// build leaves the module of the last one. What the compiler says beside
// errors goes to said.
func Build(ctx context.Context, dir, out string, said io.Writer) (Language, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	language, err := Detect(dir)
	if err != nil {
		return "", err
	}
	if out, err = filepath.Abs(out); err != nil {
		return "", err
	}
	scratch, err := os.MkdirTemp("", "leat-build-")
	if err != nil {
		return "", fmt.Errorf("compile %s: %w", dir, err)
	}
	defer os.RemoveAll(scratch)
	j := &job{ctx: ctx, language: language, dir: dir, out: filepath.Join(scratch, "plugin.wasm"), said: said}
	if err := compilers[language](j); err != nil {
		return language, err
	}
	return language, install(j.out, out)
}

// install moves a finished module to its place in one step, so that who reads
// it meanwhile has the old one or the new.
func install(from, to string) error {
	code, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("read the compiled module: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return fmt.Errorf("write the module: %w", err)
	}
	half := to + ".new"
	if err := os.WriteFile(half, code, 0o644); err != nil {
		return fmt.Errorf("write the module: %w", err)
	}
	if err := os.Rename(half, to); err != nil {
		return fmt.Errorf("write the module: %w", err)
	}
	return nil
}

// Module is where the module of a folder goes: NAME.wasm inside it.
func Module(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, filepath.Base(dir)+".wasm"), nil
}

// run starts a compiler in the plugin's folder.
func (j *job) run(env []string, compiler string, args ...string) error {
	cmd := exec.CommandContext(j.ctx, compiler, args...)
	cmd.Dir, cmd.Env = j.dir, append(os.Environ(), env...)
	text, err := cmd.CombinedOutput()
	if err != nil {
		return &Error{Dir: j.dir, Language: j.language, Output: string(text), Err: fmt.Errorf("%s: %w", filepath.Base(compiler), err)}
	}
	if len(text) > 0 {
		fmt.Fprintf(j.said, "%s", text)
	}
	return nil
}

// missing says that a tool is not there and how to get it.
func (j *job) missing(what, hint string) error {
	return &Error{Dir: j.dir, Language: j.language, Hint: hint, Err: fmt.Errorf("it needs %s, which is not installed", what)}
}
