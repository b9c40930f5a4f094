package trust

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/bundle/sign"
	"github.com/leat-etl/leat/plugins/bundle/strict"
)

// Mode says what happens to a bundle that nobody trusted has signed.
type Mode string

// The modes.
const (
	Require Mode = "require"
	Warn    Mode = "warn"
	Off     Mode = "off"
)

// Store is a trust store.
type Store struct {
	Mode       Mode        `toml:"mode" doc:"What happens to a plugin without a signature that is trusted: require refuses it, warn lets it run and says so, off looks at no signature." default:"require" enum:"require|warn|off"`
	Publishers []Publisher `toml:"publishers" doc:"Whose plugins are trusted."`

	// Path is the file, empty for none.
	Path string `toml:"-"`
}

// Publisher is one that is trusted for plugins of its own name.
type Publisher struct {
	Name string `toml:"name" doc:"Name of the publisher, the first part of the names of its plugins." required:"true" min:"1" max:"64"`
	Keys []Key  `toml:"keys" doc:"Its public keys."`
}

// Key is one public key of a publisher.
type Key struct {
	PEM        string `toml:"key" doc:"Public key in PEM: ECDSA on P-256, or Ed25519." required:"true" min:"1"`
	ValidFrom  Date   `toml:"valid_from" doc:"First day, in UTC, on which plugins signed with the key may be installed."`
	ValidUntil Date   `toml:"valid_until" doc:"Last day, in UTC, on which plugins signed with the key may be installed."`
	Revoked    string `toml:"revoked" doc:"Why the key is not to be trusted any more, for example \"stolen 2026-05-01\". A plugin signed with it alone does not run."`

	public sign.PublicKey
}

// Public returns the key itself.
func (k Key) Public() sign.PublicKey { return k.public }

// Date is a day, zero for none.
type Date struct{ time.Time }

// FromTOML implements strict.Value.
func (d *Date) FromTOML(v any) error {
	s, ok := v.(string)
	if !ok {
		return errors.New(`must be a day such as "2026-12-31"`)
	}
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return fmt.Errorf("is %q: want a day such as 2026-12-31", s)
	}
	d.Time = t
	return nil
}

// JSONSchema implements strict.Value.
func (*Date) JSONSchema() map[string]any { return map[string]any{"type": "string", "format": "date"} }

// TypeName implements strict.Value.
func (*Date) TypeName() string { return "a day" }

// String writes the day, empty for none.
func (d Date) String() string {
	if d.IsZero() {
		return ""
	}
	return d.Format(time.DateOnly)
}

// MarshalJSON writes the day as a string.
func (d Date) MarshalJSON() ([]byte, error) { return []byte(strconv.Quote(d.String())), nil }

// DefaultPath is the trust store of the user.
func DefaultPath() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("find trust store: %w", err)
	}
	return filepath.Join(dir, "leat", "trust.toml"), nil
}

// Load reads a trust store. path is empty for that of the user, which need not
// exist: an empty store requires signatures and trusts nobody.
func Load(path string) (*Store, error) {
	mayLack := path == ""
	if mayLack {
		var err error
		if path, err = DefaultPath(); err != nil {
			return nil, err
		}
	}
	text, err := os.ReadFile(path)
	if mayLack && errors.Is(err, fs.ErrNotExist) {
		return &Store{Mode: Require, Path: path}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read trust store: %w", err)
	}
	return Parse(path, text)
}

// Parse reads the text of a trust store. All faults are returned together, as
// strict.Errors.
func Parse(path string, text []byte) (*Store, error) {
	s := &Store{Path: path}
	doc, err := strict.Decode(path, text, s)
	if err != nil {
		return nil, err
	}
	owners := map[string]string{}
	for i := range s.Publishers {
		p := &s.Publishers[i]
		at := strict.Path{"publishers"}.Index(i)
		if p.Name != "" && bundle.CheckName(p.Name) != nil {
			doc.Fault(at.Key("name"), "is %q: it cannot be the name of a publisher", p.Name)
		}
		for j := range p.Keys {
			k := &p.Keys[j]
			at := at.Key("keys").Index(j).Key("key")
			if k.public, err = sign.ParsePublicKey([]byte(k.PEM)); err != nil {
				doc.Fault(at, "is wrong: %v", err)
				continue
			}
			if owner := owners[k.public.ID()]; owner != "" {
				doc.Fault(at, "is the key of %s already: a key belongs to one publisher and is listed once", owner)
			}
			owners[k.public.ID()] = p.Name
		}
	}
	return s, doc.Err()
}

// Add trusts a key for a publisher. Of one that the publisher has already it
// sets the days that k has.
func (s *Store) Add(publisher string, k Key, public sign.PublicKey) error {
	if err := bundle.CheckName(publisher); err != nil {
		return err
	}
	if owner, known := s.find(public.ID()); owner != nil {
		if owner.Name == publisher && !(k.ValidFrom.IsZero() && k.ValidUntil.IsZero()) {
			known.bound(k)
			return nil
		}
		return fmt.Errorf("key %s is in %s already, as a key of %s", public.ID(), s.Path, owner.Name)
	}
	k.PEM, k.public = string(public.PEM()), public
	for i := range s.Publishers {
		if s.Publishers[i].Name == publisher {
			s.Publishers[i].Keys = append(s.Publishers[i].Keys, k)
			return nil
		}
	}
	s.Publishers = append(s.Publishers, Publisher{publisher, []Key{k}})
	return nil
}

// bound takes over the days that other has.
func (k *Key) bound(other Key) {
	if !other.ValidFrom.IsZero() {
		k.ValidFrom = other.ValidFrom
	}
	if !other.ValidUntil.IsZero() {
		k.ValidUntil = other.ValidUntil
	}
}

// Revoke ends all trust in a key, which is named by its ID or the beginning of
// it.
func (s *Store) Revoke(id, reason string) (Key, error) {
	if !strings.HasPrefix(id, "sha256:") {
		id = "sha256:" + id
	}
	var found []*Key
	for i := range s.Publishers {
		for j := range s.Publishers[i].Keys {
			if k := &s.Publishers[i].Keys[j]; strings.HasPrefix(k.public.ID(), id) {
				found = append(found, k)
			}
		}
	}
	if len(found) != 1 {
		return Key{}, fmt.Errorf("%d keys in %s begin with %s: leat plugin trust list shows them", len(found), s.Path, id)
	}
	found[0].Revoked = reason
	return *found[0], nil
}

// find returns a key and whose it is.
func (s *Store) find(id string) (*Publisher, *Key) {
	for i := range s.Publishers {
		for j := range s.Publishers[i].Keys {
			if s.Publishers[i].Keys[j].public.ID() == id {
				return &s.Publishers[i], &s.Publishers[i].Keys[j]
			}
		}
	}
	return nil, nil
}

// Save writes the store to its file, all of it or nothing. Comments in the
// file are not kept.
func (s *Store) Save() error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Whose plugins Leat trusts; leat plugin trust writes this file.\nmode = %q\n", s.Mode)
	for _, p := range s.Publishers {
		fmt.Fprintf(&b, "\n[[publishers]]\nname = %q\n", p.Name)
		for _, k := range p.Keys {
			fmt.Fprintf(&b, "\n[[publishers.keys]] # %s\nkey = \"\"\"\n%s\"\"\"\n", k.public.ID(), k.PEM)
			for _, d := range []struct {
				key  string
				date Date
			}{{"valid_from", k.ValidFrom}, {"valid_until", k.ValidUntil}} {
				if !d.date.IsZero() {
					fmt.Fprintf(&b, "%s = %q\n", d.key, d.date)
				}
			}
			if k.Revoked != "" {
				fmt.Fprintf(&b, "revoked = %s\n", quote(k.Revoked))
			}
		}
	}
	if err := os.MkdirAll(filepath.Dir(s.Path), 0o700); err != nil {
		return fmt.Errorf("write trust store: %w", err)
	}
	temporary := s.Path + ".new"
	if err := os.WriteFile(temporary, b.Bytes(), 0o600); err != nil {
		return fmt.Errorf("write trust store: %w", err)
	}
	if err := os.Rename(temporary, s.Path); err != nil {
		return fmt.Errorf("write trust store: %w", err)
	}
	return nil
}

// quote writes a string as TOML does, where Go's escapes are not all known.
func quote(s string) string {
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '"' || r == '\\' {
			return ' '
		}
		return r
	}, s)
	return `"` + clean + `"`
}

// Names lists the publishers that have a key.
func (s *Store) Names() []string {
	var names []string
	for _, p := range s.Publishers {
		names = append(names, p.Name)
	}
	slices.Sort(names)
	return names
}
