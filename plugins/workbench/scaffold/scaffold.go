// Package scaffold writes the folder of a new plugin: a small one that builds
// and passes its tests, with the kit of its language beside it, so that
// nothing has to be downloaded.
package scaffold

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/leat-etl/leat/pdk"
	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/workbench/compile"
)

// templates has for each kind what is the same in every language, and the
// source of each. .tmpl hides files from the tools of this repository.
//
//go:embed templates
var templates embed.FS

// needs says what a language is compiled with.
var needs = map[compile.Language]string{
	compile.Go:         "It needs Go 1.26 or later.",
	compile.Rust:       "It needs Rust 1.63 or later with `rustup target add wasm32-unknown-unknown`; on Debian: `apt-get install rustc cargo lld libstd-rust-dev-wasm32`.",
	compile.C:          "It needs clang and lld 14 or later; on Debian: `apt-get install clang lld`.",
	compile.TypeScript: "It needs Node.js and, once, `npm install` in this folder, for the AssemblyScript compiler.",
}

// Options say what is to be made.
type Options struct {
	// Dir is the folder; its last part is the plugin's name.
	Dir      string
	Language compile.Language
	Kind     bundle.Kind
}

// New makes the folder and returns the files that it wrote, the kit left out.
// A folder that holds something is refused.
func New(o Options) ([]string, error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	name := filepath.Base(dir)
	if err := bundle.CheckName(name); err != nil {
		return nil, err
	}
	if name == compile.KitFolder {
		return nil, fmt.Errorf("name %q: that is the kit's", name)
	}
	if !slices.Contains(compile.Languages, o.Language) {
		return nil, fmt.Errorf("there is no kit for %q: there are %s", o.Language, words(compile.Languages))
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("make %s: %w", dir, err)
	}
	if len(entries) > 0 {
		return nil, fmt.Errorf("make %s: the folder is not empty", dir)
	}
	fill := strings.NewReplacer("@NAME@", name, "@BUILD@", needs[o.Language])
	var written []string
	for _, part := range []string{"all", string(o.Language)} {
		files, err := fs.Sub(templates, path.Join("templates", string(o.Kind), part))
		if err != nil {
			return nil, err
		}
		names, err := write(files, dir, func(name string) string {
			return strings.TrimSuffix(strings.Replace(name, "gitignore", ".gitignore", 1), ".tmpl")
		}, func(text []byte) []byte { return []byte(fill.Replace(string(text))) })
		if err != nil {
			return nil, fmt.Errorf("make %s: %w", dir, err)
		}
		written = append(written, names...)
	}
	slices.Sort(written)
	return written, WriteKit(dir, o.Language)
}

// WriteKit puts the kit of a language into a plugin's folder in place of the
// one that is there.
func WriteKit(dir string, language compile.Language) error {
	kit, err := pdk.Kit(string(language))
	if err != nil {
		return err
	}
	into := filepath.Join(dir, compile.KitFolder)
	if err := os.RemoveAll(into); err != nil {
		return fmt.Errorf("replace the kit: %w", err)
	}
	same := func(text []byte) []byte { return text }
	if _, err := write(kit, into, func(name string) string {
		if strings.HasSuffix(name, "_test.go") {
			return ""
		}
		return name
	}, same); err != nil {
		return fmt.Errorf("write the kit: %w", err)
	}
	return nil
}

// write copies files under other names, empty for none, with other text.
func write(files fs.FS, dir string, rename func(string) string, edit func([]byte) []byte) ([]string, error) {
	var written []string
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		as := rename(name)
		if as == "" {
			return nil
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		to := filepath.Join(dir, filepath.FromSlash(as))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		written = append(written, as)
		return os.WriteFile(to, edit(text), 0o644)
	})
	return written, err
}

func words(languages []compile.Language) string {
	text := make([]string, len(languages))
	for i, l := range languages {
		text[i] = string(l)
	}
	return strings.Join(text, ", ")
}
