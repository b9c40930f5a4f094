package bundle

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/leat-etl/leat/plugins/bundle/strict"
)

// bundledFiles holds <name>.wasm, <name>.toml and <name>.schema.json of each
// plugin that the build compiled, nothing in a fresh clone.
//
//go:embed bundled
var bundledFiles embed.FS

// Names of the files beside a module.
const (
	ManifestName = "plugin.toml"
	SchemaName   = "config.schema.json"
)

// Bundle is a plugin ready to be loaded.
type Bundle struct {
	Manifest Manifest
	Module   []byte
	// Digest names the very module: sha256: and hexadecimal digits.
	Digest string
}

// Bundled returns the plugins that are part of this leat, by name.
func Bundled() ([]*Bundle, error) { return library{mustSub(bundledFiles, "bundled")}.all() }

// Resolve finds a plugin: a bundled one by name or name@version, another by
// the path of its module or of the folder that holds it. Paths start with ./,
// ../ or / and are relative to baseDir.
func Resolve(ref, baseDir string) (*Bundle, error) {
	if IsPath(ref) {
		path := ref
		if !filepath.IsAbs(path) {
			path = filepath.Join(baseDir, path)
		}
		return openPath(path)
	}
	return library{mustSub(bundledFiles, "bundled")}.resolve(ref)
}

// IsPath says whether a plugin is meant by the path of its module or folder.
func IsPath(ref string) bool {
	return filepath.IsAbs(ref) || strings.HasPrefix(ref, "./") || strings.HasPrefix(ref, "../") || strings.HasSuffix(ref, ".wasm") || ref == "." || ref == ".."
}

func mustSub(files fs.FS, dir string) fs.FS {
	sub, err := fs.Sub(files, dir)
	if err != nil {
		panic(err) // only for a name that is not a path
	}
	return sub
}

// library is a folder of bundled plugins.
type library struct{ files fs.FS }

func (l library) names() ([]string, error) {
	modules, err := fs.Glob(l.files, "*.wasm")
	if err != nil {
		return nil, err
	}
	for i := range modules {
		modules[i] = strings.TrimSuffix(modules[i], ".wasm")
	}
	return modules, nil
}

func (l library) all() ([]*Bundle, error) {
	names, err := l.names()
	if err != nil {
		return nil, err
	}
	bundles := make([]*Bundle, len(names))
	for i, name := range names {
		if bundles[i], err = l.open(name); err != nil {
			return nil, err
		}
	}
	return bundles, nil
}

func (l library) open(name string) (*Bundle, error) {
	b, err := open(l.files, name+".wasm", name+".toml", name+".schema.json")
	if err != nil {
		return nil, fmt.Errorf("open bundled plugin %s: %w", name, err)
	}
	if b.Manifest.Name != name {
		return nil, fmt.Errorf("open bundled plugin %s: its manifest names it %q", name, b.Manifest.Name)
	}
	return b, nil
}

func (l library) resolve(ref string) (*Bundle, error) {
	name, version, pinned := strings.Cut(ref, "@")
	names, err := l.names()
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("plugin %q: this leat was built without plugins; build them with: go tool task build", ref)
	}
	if _, err := fs.Stat(l.files, name+".wasm"); err != nil || !pluginName.MatchString(name) {
		hint := "bundled are " + strings.Join(names, ", ")
		if near := strict.Nearest(name, names); near != "" {
			hint = fmt.Sprintf("did you mean %q? %s", near, hint)
		}
		return nil, fmt.Errorf("plugin %q is not bundled: %s; one of a publisher is named publisher/name@version, one of your own by its path, for example ./my-plugin", ref, hint)
	}
	b, err := l.open(name)
	if err != nil {
		return nil, err
	}
	if pinned && version != b.Manifest.Version {
		return nil, fmt.Errorf("plugin %q: this leat bundles version %s; write %s@%s, or %s for whatever is bundled",
			ref, b.Manifest.Version, name, b.Manifest.Version, name)
	}
	return b, nil
}

// openPath opens a module, or the one module of a folder.
func openPath(path string) (*Bundle, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil && filepath.Ext(path) == ".wasm":
		return nil, fmt.Errorf("open plugin: %w; leat plugin build %s compiles it", err, filepath.Dir(path))
	case err != nil:
		return nil, fmt.Errorf("open plugin: %w; leat plugin new %s begins one", err, path)
	}
	dir, module := filepath.Split(path)
	if info.IsDir() {
		dir = path
		modules, err := filepath.Glob(filepath.Join(escapeGlob(dir), "*.wasm"))
		if err != nil {
			return nil, fmt.Errorf("open plugin %s: %w", path, err)
		}
		switch len(modules) {
		case 0:
			return nil, fmt.Errorf("open plugin %s: the folder holds no .wasm file; leat plugin build %s compiles it", path, path)
		case 1:
			module = filepath.Base(modules[0])
		default:
			return nil, fmt.Errorf("open plugin %s: the folder holds %d .wasm files; name the one, such as %s", path, len(modules), modules[0])
		}
	}
	if dir == "" {
		dir = "."
	}
	b, err := open(os.DirFS(dir), module, ManifestName, SchemaName)
	if err != nil {
		return nil, fmt.Errorf("open plugin %s: %w", path, err)
	}
	return b, nil
}

func escapeGlob(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

// open reads a plugin's three files.
func open(files fs.FS, module, manifest, schema string) (*Bundle, error) {
	code, err := fs.ReadFile(files, module)
	if err != nil {
		return nil, err
	}
	if len(code) < 8 || string(code[:4]) != "\x00asm" {
		return nil, fmt.Errorf("%s is not a WebAssembly module", module)
	}
	text, err := fs.ReadFile(files, manifest)
	if err != nil {
		return nil, fmt.Errorf("a plugin needs %s beside its module: %w", manifest, err)
	}
	settings, err := fs.ReadFile(files, schema)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	m, err := ParseManifest(manifest, text, settings)
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(code)
	return &Bundle{Manifest: m, Module: code, Digest: "sha256:" + hex.EncodeToString(digest[:])}, nil
}
