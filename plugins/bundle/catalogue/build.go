package catalogue

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/bundle/oci"
	"github.com/leat-etl/leat/plugins/bundle/sign"
)

// Folder is a catalogue that is being made: a folder with bundles, in itself
// or in folders below.
type Folder struct {
	Dir string
	*Index
	// Bundles are the artifacts by their locations.
	Bundles map[string]*oci.Artifact
}

// OpenFolder reads every bundle of a folder and lists it. What catalogue.json
// says there already, names, days and yanked versions, is kept; a version whose
// bundle is gone is listed no more.
func OpenFolder(dir string, now time.Time) (*Folder, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("read catalogue: %w", err)
	}
	f := &Folder{Dir: dir, Index: &Index{Name: filepath.Base(dir)}, Bundles: map[string]*oci.Artifact{}}
	before := &Index{}
	text, err := os.ReadFile(filepath.Join(dir, IndexName))
	if err == nil {
		if before, err = Parse(text); err != nil {
			return nil, err
		}
		f.Name = before.Name
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read catalogue: %w", err)
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".leat" {
			return err
		}
		a, err := oci.ReadFile(path)
		if err != nil {
			return err
		}
		location, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		location = filepath.ToSlash(location)
		if err := checkLocation(location); err != nil {
			return err
		}
		f.Bundles[location] = a
		return f.add(a, location, before, now)
	})
	if err != nil {
		return nil, err
	}
	f.Created = now.UTC().Truncate(time.Second)
	return f, nil
}

// add lists a bundle with what was said of it before.
func (f *Folder) add(a *oci.Artifact, location string, before *Index, now time.Time) error {
	ref := a.Ref()
	published, yanked := now.UTC().Format(time.DateOnly), ""
	if p := before.Find(ref.ID()); p != nil {
		for _, v := range p.Versions {
			if v.Version != ref.Version {
				continue
			}
			if v.Digest != string(a.Digest) {
				return fmt.Errorf("%s was listed as %s, %s holds %s: a published version does not change", ref, v.Digest, location, a.Digest)
			}
			published, yanked = v.Published, v.Yanked
		}
	}
	if err := f.Add(a, location, published); err != nil {
		return err
	}
	if yanked == "" {
		return nil
	}
	return f.Yank(ref, yanked)
}

// Save writes catalogue.json, and its signature if there is a key. Without one
// a catalogue that was signed is refused: its signature would be wrong.
func (f *Folder) Save(key *sign.PrivateKey) error {
	text, err := f.Text()
	if err != nil {
		return err
	}
	signature := filepath.Join(f.Dir, SignatureName)
	if key == nil {
		if _, err := os.Stat(signature); err == nil {
			return fmt.Errorf("the catalogue %s is signed: give the key, or remove %s", f.Dir, signature)
		}
	} else {
		sum := sha256.Sum256(text)
		signed, err := sign.Sign(*key, "sha256:"+hex.EncodeToString(sum[:]))
		if err != nil {
			return err
		}
		if err := os.WriteFile(signature, signed, 0o644); err != nil {
			return fmt.Errorf("write catalogue: %w", err)
		}
	}
	if err := os.WriteFile(filepath.Join(f.Dir, IndexName), text, 0o644); err != nil {
		return fmt.Errorf("write catalogue: %w", err)
	}
	return nil
}

// Push stores every bundle of a folder in a registry, below a prefix as
// PREFIX/publisher/name, and the catalogue that leads to them as
// PREFIX/catalogue:latest, signed if there is a key.
func (f *Folder) Push(ctx context.Context, r oci.Registry, prefix string, key *sign.PrivateKey) (oci.Address, error) {
	prefix = strings.Trim(strings.TrimPrefix(prefix, "oci://"), "/")
	x := *f.Index
	x.Plugins = nil
	for _, p := range f.Plugins {
		to, err := oci.ParseAddress(prefix + "/" + p.ID)
		if err != nil {
			return oci.Address{}, err
		}
		p.Versions = slices.Clone(p.Versions)
		for i, v := range p.Versions {
			if _, err := r.Push(ctx, f.Bundles[v.Location], to); err != nil {
				return oci.Address{}, err
			}
			p.Versions[i].Location = "oci://" + to.Repository
		}
		x.Plugins = append(x.Plugins, p)
	}
	text, err := x.Text()
	if err != nil {
		return oci.Address{}, err
	}
	d, err := oci.NewDocument(text)
	if err != nil {
		return oci.Address{}, err
	}
	if key != nil {
		signature, err := sign.Sign(*key, d.Digest)
		if err != nil {
			return oci.Address{}, err
		}
		d.Signatures = [][]byte{signature}
	}
	at, err := oci.ParseAddress(prefix + "/catalogue:latest")
	if err != nil {
		return oci.Address{}, err
	}
	return at, r.PushDocument(ctx, d, at)
}

// Mirror copies a catalogue with all its bundles to a folder, which is a
// catalogue then, for machines without a network. What is there already is not
// fetched again. The catalogue keeps its signature if the bundles keep their
// places.
func (c *Catalogue) Mirror(ctx context.Context, dir string) (copied int, err error) {
	moved := false
	x := *c.Index
	x.Plugins = slices.Clone(c.Plugins)
	for i, p := range x.Plugins {
		versions := slices.Clone(p.Versions)
		for j, v := range versions {
			if strings.HasPrefix(v.Location, "oci://") {
				ref := bundle.Ref{Version: v.Version}
				ref.Publisher, ref.Name, _ = strings.Cut(p.ID, "/")
				versions[j].Location = BundleFolder + "/" + ref.Publisher + "-" + ref.Name + "-" + ref.Version + ".leat"
				moved = true
			}
			path := filepath.Join(dir, filepath.FromSlash(versions[j].Location))
			if a, err := oci.ReadFile(path); err == nil && string(a.Digest) == v.Digest {
				continue
			}
			a, err := c.Bundle(ctx, p.ID, v)
			if err != nil {
				return copied, err
			}
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				return copied, fmt.Errorf("mirror catalogue: %w", err)
			}
			if err := a.WriteFile(path); err != nil {
				return copied, err
			}
			copied++
		}
		x.Plugins[i].Versions = versions
	}
	return copied, c.writeMirror(dir, &x, moved)
}

// writeMirror writes the document of a mirror: the original with its signature
// if nothing has moved.
func (c *Catalogue) writeMirror(dir string, x *Index, moved bool) error {
	files := map[string][]byte{IndexName: c.fetched.Text}
	if len(c.fetched.Signatures) == 1 && !moved {
		files[SignatureName] = c.fetched.Signatures[0]
	} else if err := os.Remove(filepath.Join(dir, SignatureName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("mirror catalogue: %w", err)
	}
	if moved {
		text, err := x.Text()
		if err != nil {
			return err
		}
		files[IndexName] = text
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return fmt.Errorf("mirror catalogue: %w", err)
		}
	}
	return nil
}
