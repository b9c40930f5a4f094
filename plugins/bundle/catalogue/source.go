package catalogue

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/bundle/oci"
	"github.com/leat-etl/leat/plugins/bundle/strict"
)

// Source is a catalogue that the user looks into.
type Source struct {
	Name string `toml:"name" json:"name" doc:"Name of the catalogue on this machine." required:"true" min:"1" max:"64"`
	URL  string `toml:"url" json:"url" doc:"Where it is: a folder, an http:// or https:// URL, or oci:// and an address in a registry." required:"true" min:"1"`
	// Publisher is empty for a catalogue whose signature is not looked at.
	Publisher string `toml:"publisher" json:"publisher,omitempty" doc:"Whose key, by the trust store, signs the catalogue. Without it its signature is not looked at."`
}

// Sources are the user's catalogues.
type Sources struct {
	Catalogues []Source `toml:"catalogues" doc:"The catalogues that search, install and update look into, in this order."`

	// Path is the file.
	Path string `toml:"-"`
}

// SourcesPath is the user's list.
func SourcesPath() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("find catalogues: %w", err)
	}
	return filepath.Join(dir, "leat", "catalogues.toml"), nil
}

// LoadSources reads the user's list, which may be missing.
func LoadSources() (*Sources, error) {
	path, err := SourcesPath()
	if err != nil {
		return nil, err
	}
	s := &Sources{Path: path}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read catalogues: %w", err)
	}
	doc, err := strict.Decode(path, text, s)
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for i, c := range s.Catalogues {
		at := strict.Path{"catalogues"}.Index(i)
		if names[c.Name] {
			doc.Fault(at.Key("name"), "is %q once more", c.Name)
		}
		names[c.Name] = true
		if err := c.check(); err != nil {
			doc.Fault(at.Key("url"), "%v", err)
		}
	}
	return s, doc.Err()
}

// check refuses an address that cannot be one.
func (s Source) check() error {
	if s.Publisher != "" {
		if err := bundle.CheckName(s.Publisher); err != nil {
			return err
		}
	}
	if address, ok := strings.CutPrefix(s.URL, "oci://"); ok {
		_, err := oci.ParseAddress(address)
		return err
	}
	if scheme, _, found := strings.Cut(s.URL, "://"); found && scheme != "http" && scheme != "https" {
		return fmt.Errorf("the address %q is neither a folder, nor http://, https:// or oci://", s.URL)
	}
	return nil
}

// Add puts a catalogue at the end of the list.
func (s *Sources) Add(c Source) error {
	if err := bundle.CheckName(c.Name); err != nil {
		return err
	}
	if err := c.check(); err != nil {
		return err
	}
	for _, other := range s.Catalogues {
		if other.Name == c.Name {
			return fmt.Errorf("catalogue %q is in the list already: leat plugin catalogue remove %s", c.Name, c.Name)
		}
	}
	s.Catalogues = append(s.Catalogues, c)
	return nil
}

// Remove takes a catalogue off the list.
func (s *Sources) Remove(name string) error {
	for i, c := range s.Catalogues {
		if c.Name == name {
			s.Catalogues = append(s.Catalogues[:i], s.Catalogues[i+1:]...)
			return nil
		}
	}
	return fmt.Errorf("no catalogue is called %q: leat plugin catalogue list", name)
}

// Save writes the list.
func (s *Sources) Save() error {
	var b bytes.Buffer
	fmt.Fprintln(&b, "# Where Leat looks for plugins; leat plugin catalogue writes this file.")
	for _, c := range s.Catalogues {
		fmt.Fprintf(&b, "\n[[catalogues]]\nname = %q\nurl = %s\n", c.Name, strconv.Quote(c.URL))
		if c.Publisher != "" {
			fmt.Fprintf(&b, "publisher = %q\n", c.Publisher)
		}
	}
	if err := os.MkdirAll(filepath.Dir(s.Path), 0o700); err != nil {
		return fmt.Errorf("write catalogues: %w", err)
	}
	if err := os.WriteFile(s.Path, b.Bytes(), 0o600); err != nil {
		return fmt.Errorf("write catalogues: %w", err)
	}
	return nil
}
