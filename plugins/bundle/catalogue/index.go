package catalogue

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/bundle/oci"
)

// Names of the files of a catalogue.
const (
	IndexName     = "catalogue.json"
	SignatureName = "catalogue.sigstore.json"
	BundleFolder  = "bundles"
)

// format is the version of the document that this leat writes and reads.
const format = 1

// maxIndex bounds a document that is read.
const maxIndex = 32 << 20

// Index is the document.
type Index struct {
	Format  int       `json:"format"`
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
	Plugins []Plugin  `json:"plugins"`
}

// Plugin is one plugin with its versions, the newest first.
type Plugin struct {
	ID          string      `json:"id"` // publisher/name
	Kind        bundle.Kind `json:"kind"`
	Description string      `json:"description"`
	Licence     string      `json:"licence"`
	Versions    []Version   `json:"versions"`
}

// Version is one version of a plugin.
type Version struct {
	Version      string   `json:"version"`
	Digest       string   `json:"digest"`
	Module       string   `json:"module"`
	Size         int64    `json:"size"`
	ABI          int      `json:"abi"`
	Capabilities []string `json:"capabilities"`
	// Location is a path below the catalogue, or a registry address that
	// begins with oci://.
	Location  string `json:"location"`
	Published string `json:"published,omitempty"`
	// Yanked says why the version should not be used, empty if it may be.
	Yanked string `json:"yanked,omitempty"`
	// Conformance is the score that the bundle carries, nil for none.
	Conformance json.RawMessage `json:"conformance,omitempty"`
}

// Parse reads the text of a document and refuses what install or a web page
// could not rely on.
func Parse(text []byte) (*Index, error) {
	if len(text) > maxIndex {
		return nil, fmt.Errorf("read catalogue: %d bytes, more than the %d that are allowed", len(text), maxIndex)
	}
	var x Index
	d := json.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(&x); err != nil {
		return nil, fmt.Errorf("read catalogue: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("read catalogue: something follows the document")
	}
	if x.Format != format {
		return nil, fmt.Errorf("read catalogue: its format is %d, this leat knows %d", x.Format, format)
	}
	seen := map[string]bool{}
	for _, p := range x.Plugins {
		for _, v := range p.Versions {
			ref, err := bundle.ParseRef(p.ID + "@" + v.Version)
			if err != nil {
				return nil, fmt.Errorf("read catalogue: %w", err)
			}
			if seen[ref.String()] {
				return nil, fmt.Errorf("read catalogue: %s is listed twice", ref)
			}
			seen[ref.String()] = true
			if !strings.HasPrefix(v.Digest, "sha256:") || len(v.Digest) != 71 {
				return nil, fmt.Errorf("read catalogue: %s has no sha256 digest", ref)
			}
			if err := checkLocation(v.Location); err != nil {
				return nil, fmt.Errorf("read catalogue: %s: %w", ref, err)
			}
		}
	}
	return &x, nil
}

// checkLocation refuses a location outside of the catalogue and of registries.
func checkLocation(location string) error {
	if address, ok := strings.CutPrefix(location, "oci://"); ok {
		_, err := oci.ParseAddress(address)
		return err
	}
	if location == "" || path.IsAbs(location) || path.Clean(location) != location || strings.HasPrefix(location, "..") || strings.ContainsAny(location, "\\?#%:") {
		return fmt.Errorf("its location %q is neither a path below the catalogue nor an oci:// address", location)
	}
	return nil
}

// Text writes the document.
func (x *Index) Text() ([]byte, error) {
	x.Format = format
	text, err := json.MarshalIndent(x, "", " ")
	if err != nil {
		return nil, fmt.Errorf("write catalogue: %w", err)
	}
	return append(text, '\n'), nil
}

// Add lists a bundle. A version that is listed already must be the same.
func (x *Index) Add(a *oci.Artifact, location, published string) error {
	m := a.Bundle.Manifest
	v := Version{
		Version: m.Version, Digest: string(a.Digest), Module: a.Bundle.Digest, Size: a.Size(), ABI: m.ABI,
		Capabilities: m.Grants(), Location: location, Published: published, Conformance: a.Files[oci.ConformanceName],
	}
	i := slices.IndexFunc(x.Plugins, func(p Plugin) bool { return p.ID == m.Ref().ID() })
	if i < 0 {
		i = len(x.Plugins)
		x.Plugins = append(x.Plugins, Plugin{ID: m.Ref().ID()})
	}
	p := &x.Plugins[i]
	if j := slices.IndexFunc(p.Versions, func(w Version) bool { return w.Version == v.Version }); j >= 0 {
		if p.Versions[j].Digest != v.Digest {
			return fmt.Errorf("%s is there twice, as %s and as %s: a published version does not change", m.Ref(), p.Versions[j].Digest, v.Digest)
		}
		return nil
	}
	p.Versions = append(p.Versions, v)
	slices.SortFunc(p.Versions, func(a, b Version) int { return bundle.CompareVersions(b.Version, a.Version) })
	if newest := p.newest(); newest.Version == v.Version {
		p.Kind, p.Description, p.Licence = m.Kind, m.Description, m.Licence
	}
	slices.SortFunc(x.Plugins, func(a, b Plugin) int { return strings.Compare(a.ID, b.ID) })
	return nil
}

// Find returns a plugin, nil if it is not listed.
func (x *Index) Find(id string) *Plugin {
	for i := range x.Plugins {
		if x.Plugins[i].ID == id {
			return &x.Plugins[i]
		}
	}
	return nil
}

// Yank marks a version, or with an empty reason takes the mark back.
func (x *Index) Yank(ref bundle.Ref, reason string) error {
	if p := x.Find(ref.ID()); p != nil {
		for i := range p.Versions {
			if p.Versions[i].Version == ref.Version {
				p.Versions[i].Yanked = reason
				return nil
			}
		}
	}
	return fmt.Errorf("yank %s: the catalogue does not list it", ref)
}

// Newest returns the newest version that may be used: none that is yanked or
// speaks another ABI, and no pre-release unless asked for.
func (p *Plugin) Newest(prerelease bool) (Version, bool) {
	for _, v := range p.Versions {
		if v.Yanked == "" && v.ABI == bundle.ABI && (prerelease || !bundle.Prerelease(v.Version)) {
			return v, true
		}
	}
	return Version{}, false
}

// newest is the version that people are shown: the newest that may be used, or
// where there is none the newest of all.
func (p *Plugin) newest() Version {
	if v, ok := p.Newest(false); ok {
		return v
	}
	return p.Versions[0]
}

// Search returns the plugins of which every word is in the name or the
// description, or is a capability or the kind.
func (x *Index) Search(words []string) []Plugin {
	var out []Plugin
	for _, p := range x.Plugins {
		text := strings.ToLower(p.ID + " " + p.Description + " " + string(p.Kind))
		if len(p.Versions) > 0 {
			text += " " + strings.Join(p.newest().Capabilities, " ")
		}
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, strings.ToLower(w)) }) {
			out = append(out, p)
		}
	}
	return out
}
