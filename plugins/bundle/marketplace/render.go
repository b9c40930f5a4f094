// Package marketplace makes a web site of a folder of bundles: a page to search
// in, and a page for each plugin with its README, what it may do in plain
// words, its versions and how it is installed, and for a transform that asks for
// nothing, or for kv alone, a playground: the browser runs its module on rows
// that are pasted in.
//
// The site is files only and lies in the folder itself, beside catalogue.json
// and the bundles, so that one folder on any web server is both the catalogue
// and its site. Nothing in it asks another server for anything, and its content
// security policy forbids it. READMEs are rendered without raw HTML and without
// pictures.
package marketplace

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/bundle/catalogue"
	"github.com/leat-etl/leat/plugins/bundle/oci"
)

// site is the pages, and Leat's kernels, which the build compiles: nothing of
// them is there in a fresh clone.
//
//go:embed site
var site embed.FS

// Kernels is the file of the site with Leat's kernels for the playground.
const Kernels = "kernels.wasm.gz"

// policy lets a page load the style sheet and the scripts of the site. A page
// itself cannot even fetch: the playground's worker reads the module.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; worker-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'"

var pages = template.Must(template.New("").Funcs(template.FuncMap{
	"explain": bundle.Explain, "bytes": sizeText, "short": shortDigest, "anchor": anchor,
}).ParseFS(site, "site/*.html"))

// view is what a page shows.
type view struct {
	Policy string
	// Root leads from the page to the top of the site: empty, or ../ some
	// times.
	Root    string
	Name    string
	Created string
	Plugins []listed
	Plugin  *listed
}

// listed is a plugin as pages show it.
type listed struct {
	catalogue.Plugin
	Publisher, Short string
	// Latest is the version that is shown, Usable whether it may be installed.
	Latest   catalogue.Version
	Usable   bool
	Readme   template.HTML
	Schema   string
	Tests    int
	Signed   bool
	Score    string
	Keywords string
	// Sample is the settings that the playground begins with, empty for a
	// plugin that it cannot run.
	Sample string
	// Hosts are the settings that stay with the host, separated by spaces.
	Hosts string

	module []byte
}

// Render writes the site of a folder of bundles into the folder.
func Render(f *catalogue.Folder) error {
	v := view{Policy: policy, Name: f.Name, Created: f.Created.Format("2 January 2006")}
	for _, p := range f.Plugins {
		l, err := list(p, f.Bundles)
		if err != nil {
			return err
		}
		v.Plugins = append(v.Plugins, l)
	}
	for _, name := range []string{"style.css", "search.js", "playground.js", "sandbox.js", "icon.svg", Kernels} {
		data, err := site.ReadFile("site/" + name)
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		if err := write(filepath.Join(f.Dir, name), data); err != nil {
			return err
		}
	}
	if err := page(filepath.Join(f.Dir, "index.html"), "index.html", v); err != nil {
		return err
	}
	for i := range v.Plugins {
		one := v
		one.Root, one.Plugin = "../../../", &v.Plugins[i]
		dir := filepath.Join(f.Dir, "plugins", filepath.FromSlash(one.Plugin.ID))
		if err := page(filepath.Join(dir, "index.html"), "plugin.html", one); err != nil {
			return err
		}
		if one.Plugin.Sample == "" {
			continue
		}
		if err := write(filepath.Join(dir, "plugin.wasm"), one.Plugin.module); err != nil {
			return err
		}
	}
	return nil
}

func page(path, name string, v view) error {
	var out bytes.Buffer
	if err := pages.ExecuteTemplate(&out, name, v); err != nil {
		return fmt.Errorf("render %s: %w", path, err)
	}
	return write(path, out.Bytes())
}

func write(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write site: %w", err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		return fmt.Errorf("write site: %w", err)
	}
	return nil
}

func list(p catalogue.Plugin, bundles map[string]*oci.Artifact) (listed, error) {
	l := listed{Plugin: p}
	l.Publisher, l.Short, _ = strings.Cut(p.ID, "/")
	if l.Latest, l.Usable = p.Newest(false); !l.Usable {
		l.Latest = p.Versions[0]
	}
	a := bundles[l.Latest.Location]
	if a == nil {
		return l, fmt.Errorf("render %s@%s: its bundle %s is not in the folder", p.ID, l.Latest.Version, l.Latest.Location)
	}
	var err error
	if l.Readme, err = readme(a.Files[oci.ReadmeName]); err != nil {
		return l, fmt.Errorf("render the README of %s: %w", a.Ref(), err)
	}
	l.Schema = string(a.Files[bundle.SchemaName])
	l.Signed = len(a.Signatures) > 0
	for title := range a.Files {
		if strings.HasPrefix(title, oci.TestFolder+"/") {
			l.Tests++
		}
	}
	if p.Kind == bundle.Transform && !slices.ContainsFunc(l.Latest.Capabilities, func(c string) bool { return c != "kv" }) {
		l.Sample, l.module = sampleSettings(a.Bundle.Manifest.ConfigSchema), a.Bundle.Module
		l.Hosts = hostSettings(a.Bundle.Manifest.ConfigSchema)
	}
	l.Score = score(l.Latest.Conformance)
	l.Keywords = strings.ToLower(p.ID + " " + p.Description + " " + string(p.Kind) + " " + strings.Join(l.Latest.Capabilities, " "))
	return l, nil
}

func sizeText(n int64) string {
	switch {
	case n < 10<<10:
		return fmt.Sprintf("%d B", n)
	case n < 10<<20:
		return fmt.Sprintf("%d kB", n>>10)
	}
	return fmt.Sprintf("%d MB", n>>20)
}

func shortDigest(d string) string {
	if len(d) > 19 {
		return d[:19] + "…"
	}
	return d
}

// anchor names a version on its page.
func anchor(version string) string { return "v" + version }
