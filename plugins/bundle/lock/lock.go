// Package lock is leat.lock, the file beside a pipeline file that pins every
// plugin that is not bundled: by the digest of its artifact and of its module,
// and with the capabilities that somebody granted it.
//
//	version = 1
//
//	[[plugins]]
//	plugin = "acme/mask@1.2.0"
//	digest = "sha256:..."          # of the artifact
//	module = "sha256:..."          # of the module in it
//	capabilities = ["kv"]          # what it was granted
//	key = "sha256:..."             # the key that had signed it, if one had
//	source = "ghcr.io/acme/mask"   # where it came from
//
// It belongs under version control with the pipeline file. Package install
// writes it; an engine refuses what differs from it.
package lock

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/bundle/strict"
)

// Name is the name of the file.
const Name = "leat.lock"

// format is the version of the file that this leat writes and reads.
const format = 1

// File is a lock file.
type File struct {
	Version int     `toml:"version" doc:"Version of the file's format." required:"true" min:"1"`
	Plugins []Entry `toml:"plugins" doc:"The plugins that are pinned."`

	path string
}

// Entry pins one version of a plugin.
type Entry struct {
	Plugin       string   `toml:"plugin" json:"plugin" doc:"The plugin, publisher/name@version." required:"true"`
	Digest       string   `toml:"digest" json:"digest" doc:"Digest of the artifact." required:"true"`
	Module       string   `toml:"module" json:"module" doc:"Digest of the module." required:"true"`
	Capabilities []string `toml:"capabilities" json:"capabilities" doc:"Capabilities that the plugin was granted."`
	Key          string   `toml:"key" json:"key,omitempty" doc:"The key that had signed the plugin when it was installed."`
	Source       string   `toml:"source" json:"source,omitempty" doc:"Where the plugin came from."`

	ref bundle.Ref
}

// Ref is the plugin that the entry pins.
func (e Entry) Ref() bundle.Ref { return e.ref }

var digestForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// Load reads the lock file of a folder. One that is missing pins nothing.
func Load(dir string) (*File, error) {
	path := filepath.Join(dir, Name)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &File{Version: format, path: path}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read lock file: %w", err)
	}
	return parse(path, text)
}

func parse(path string, text []byte) (*File, error) {
	f := &File{path: path}
	doc, err := strict.Decode(path, text, f)
	if err != nil {
		return nil, err
	}
	if f.Version > format {
		doc.Fault(strict.Path{"version"}, "is %d: this leat knows %d; use a newer leat", f.Version, format)
	}
	seen := map[string]bool{}
	for i := range f.Plugins {
		e, at := &f.Plugins[i], strict.Path{"plugins"}.Index(i)
		if e.ref, err = bundle.ParseRef(e.Plugin); err != nil || e.ref.Version == "" {
			doc.Fault(at.Key("plugin"), "is %q: want publisher/name@version", e.Plugin)
		}
		if seen[e.Plugin] {
			doc.Fault(at.Key("plugin"), "is %q once more: two pins of one version differ or say nothing", e.Plugin)
		}
		seen[e.Plugin] = true
		for key, digest := range map[string]string{"digest": e.Digest, "module": e.Module} {
			if !digestForm.MatchString(digest) {
				doc.Fault(at.Key(key), "is not of the form sha256:<64 hexadecimal digits>")
			}
		}
	}
	return f, doc.Err()
}

// Path is the path of the file.
func (f *File) Path() string { return f.path }

// Find returns the entry of a plugin. A ref without a version means the one
// version that is pinned.
func (f *File) Find(ref bundle.Ref) (Entry, error) {
	var found, others []string
	var entry Entry
	for _, e := range f.Plugins {
		switch {
		case e.ref.ID() != ref.ID():
		case ref.Version == "" || e.ref.Version == ref.Version:
			entry, found = e, append(found, e.Plugin)
		default:
			others = append(others, e.ref.Version)
		}
	}
	install := fmt.Sprintf("leat plugin install --dir %s %s", strconv.Quote(filepath.Dir(f.path)), ref)
	switch {
	case len(found) == 1:
		return entry, nil
	case len(found) > 1:
		return Entry{}, fmt.Errorf("%s pins %s: name the version in the pipeline file", f.path, strings.Join(found, " and "))
	case len(others) > 0:
		return Entry{}, fmt.Errorf("%s pins %s at %s, the pipeline file names %s: write the version that is pinned, or run %s", f.path, ref.ID(), strings.Join(others, ", "), ref.Version, install)
	}
	return Entry{}, fmt.Errorf("%s does not pin %s: run %s", f.path, ref, install)
}

// Versions returns the entries of a plugin, whatever their versions.
func (f *File) Versions(id string) []Entry {
	var out []Entry
	for _, e := range f.Plugins {
		if e.ref.ID() == id {
			out = append(out, e)
		}
	}
	return out
}

// Put pins a version, in the place of an earlier pin of the same version.
func (f *File) Put(ref bundle.Ref, e Entry) {
	f.Remove(ref)
	e.Plugin, e.ref = ref.String(), ref
	f.Plugins = append(f.Plugins, e)
	slices.SortFunc(f.Plugins, func(a, b Entry) int { return strings.Compare(a.Plugin, b.Plugin) })
}

// Remove unpins a version.
func (f *File) Remove(ref bundle.Ref) {
	f.Plugins = slices.DeleteFunc(f.Plugins, func(e Entry) bool { return e.ref == ref })
}

// Save writes the file, all of it or nothing.
func (f *File) Save() error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# The plugins of the pipelines in this folder; leat plugin install, update and remove write this file.\nversion = %d\n", format)
	for _, e := range f.Plugins {
		fmt.Fprintf(&b, "\n[[plugins]]\nplugin = %q\ndigest = %q\nmodule = %q\ncapabilities = [%s]\n", e.Plugin, e.Digest, e.Module, quoted(e.Capabilities))
		for _, kv := range [][2]string{{"key", e.Key}, {"source", e.Source}} {
			if kv[1] != "" {
				fmt.Fprintf(&b, "%s = '%s'\n", kv[0], strings.ReplaceAll(kv[1], "'", ""))
			}
		}
	}
	temporary := f.path + ".new"
	if err := os.WriteFile(temporary, b.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write lock file: %w", err)
	}
	if err := os.Rename(temporary, f.path); err != nil {
		return fmt.Errorf("write lock file: %w", err)
	}
	return nil
}

func quoted(names []string) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = strconv.Quote(n)
	}
	return strings.Join(out, ", ")
}
