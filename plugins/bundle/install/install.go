package install

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/bundle/catalogue"
	"github.com/leat-etl/leat/plugins/bundle/lock"
	"github.com/leat-etl/leat/plugins/bundle/oci"
	"github.com/leat-etl/leat/plugins/bundle/trust"
)

// Installer installs plugins for the pipelines of one folder.
type Installer struct {
	Dir      string // of the pipeline files and leat.lock
	Store    Store
	Trust    *trust.Store
	Registry oci.Registry
	// Catalogues are opened when a plugin is asked for by name, in this order.
	Catalogues []catalogue.Source
	Reader     *catalogue.Reader
	// Grant decides whether a plugin gets what it asks for.
	Grant func(Question) error
	Warn  func(string)

	opened map[string]*catalogue.Catalogue
}

// Question is what has to be granted before a plugin is installed.
type Question struct {
	Plugin bundle.Ref
	// Before is what an earlier version of the plugin was granted in this
	// folder, and its version; both empty for a new plugin.
	Before        []string
	BeforeVersion string
	// Asks is all that the plugin asks for, New what of it was not granted
	// before.
	Asks, New []string
}

// Result is a plugin that was installed.
type Result struct {
	lock.Entry
	// Before is the version that it takes the place of, empty for none.
	Before string `json:"before,omitempty"`
	// Kept says where the version before is still in use.
	Kept string `json:"kept,omitempty"`
	// Limits are what the plugin's manifest takes beyond the usual limits.
	Limits []string `json:"limits,omitempty"`
}

// candidate is a bundle that has been fetched, with where it came from.
type candidate struct {
	*oci.Artifact
	source string
}

// Install installs one plugin: from the file of a bundle, from an address in a
// registry, or by publisher/name[@version] from a catalogue.
func (in *Installer) Install(ctx context.Context, what string) (Result, error) {
	pins, err := lock.Load(in.Dir)
	if err != nil {
		return Result{}, err
	}
	c, err := in.fetch(ctx, what, pins)
	if err != nil {
		return Result{}, err
	}
	r, err := in.accept(c, pins)
	if err != nil {
		return Result{}, err
	}
	return r, pins.Save()
}

// fetch finds a bundle by what the user wrote.
func (in *Installer) fetch(ctx context.Context, what string, pins *lock.File) (candidate, error) {
	if IsFile(what) {
		a, err := oci.ReadFile(what)
		return candidate{a, ""}, err
	}
	ref, refErr := bundle.ParseRef(what)
	if refErr == nil {
		if pin, err := pins.Find(ref); err == nil && ref.Version != "" {
			return in.restore(ctx, pin)
		}
		return in.fromCatalogues(ctx, ref)
	}
	at, err := oci.ParseAddress(what)
	if err != nil || !strings.ContainsAny(at.Repository, ".:") && !strings.HasPrefix(at.Repository, "localhost/") {
		return candidate{}, fmt.Errorf("plugin %q is neither the file of a bundle, nor publisher/name@version, nor an address in a registry, host/repository:version", what)
	}
	if at.Tag == "" && at.Digest == "" {
		if at.Tag, err = in.newestTag(ctx, at); err != nil {
			return candidate{}, err
		}
	}
	a, err := in.Registry.Pull(ctx, at)
	return candidate{a, at.Repository}, err
}

// IsFile says whether an argument names the file of a bundle.
func IsFile(what string) bool {
	if strings.HasSuffix(what, ".leat") {
		return true
	}
	info, err := os.Stat(what)
	return err == nil && !info.IsDir()
}

// newestTag is the newest released version in a repository.
func (in *Installer) newestTag(ctx context.Context, at oci.Address) (string, error) {
	versions, err := in.Registry.Versions(ctx, at)
	if err != nil {
		return "", err
	}
	released := slices.DeleteFunc(slices.Clone(versions), bundle.Prerelease)
	if len(released) == 0 {
		released = versions
	}
	if len(released) == 0 {
		return "", fmt.Errorf("%s holds no version of a plugin", at.Repository)
	}
	return slices.MaxFunc(released, bundle.CompareVersions), nil
}

// accept judges a bundle, has it granted, stores and pins it.
func (in *Installer) accept(c candidate, pins *lock.File) (Result, error) {
	ref, m := c.Ref(), c.Bundle.Manifest
	if pin, err := pins.Find(ref); err == nil && pin.Digest != string(c.Digest) {
		return Result{}, fmt.Errorf("plugin %s is not the one that %s pins: it is %s, pinned is %s; a version does not change once it is published. If its publisher confirms the change, remove the entry from %s and install again",
			ref, pins.Path(), c.Digest, pin.Digest, lock.Name)
	}
	v, err := in.Trust.Check(subject(c.Artifact, false), time.Now())
	if err != nil {
		if pin, findErr := pins.Find(ref); findErr != nil || pin.Digest != string(c.Digest) {
			return Result{}, err
		}
		// It was installed while its key was valid: only a revoked key stops it.
		if v, err = in.Trust.Check(subject(c.Artifact, true), time.Now()); err != nil {
			return Result{}, err
		}
	}
	if v.Warning != "" {
		in.Warn(v.Warning)
	}
	q := question(ref, m.Grants(), pins)
	if len(q.New) > 0 {
		if err := in.Grant(q); err != nil {
			return Result{}, err
		}
	}
	if err := in.Store.Put(c.Artifact); err != nil {
		return Result{}, err
	}
	e := lock.Entry{Plugin: ref.String(), Digest: string(c.Digest), Module: c.Bundle.Digest, Capabilities: m.Grants(), Key: v.KeyID, Source: c.source}
	if pin, err := pins.Find(ref); err == nil && e.Source == "" {
		e.Source = pin.Source
	}
	pins.Put(ref, e)
	return Result{Entry: e, Limits: m.Limits.Beyond()}, nil
}

// question compares what a plugin asks for with what it has been granted in
// this folder: by the pin of the same version, or else of the newest one.
func question(ref bundle.Ref, asks []string, pins *lock.File) Question {
	q := Question{Plugin: ref, Asks: asks}
	for _, e := range pins.Versions(ref.ID()) {
		same := e.Ref().Version == ref.Version
		if same || q.BeforeVersion == "" || q.BeforeVersion != ref.Version && bundle.CompareVersions(e.Ref().Version, q.BeforeVersion) > 0 {
			q.Before, q.BeforeVersion = e.Capabilities, e.Ref().Version
		}
	}
	for _, a := range asks {
		if !slices.Contains(q.Before, a) {
			q.New = append(q.New, a)
		}
	}
	return q
}

// Restore brings every plugin that the lock file pins onto this machine, by
// digest.
func (in *Installer) Restore(ctx context.Context) ([]Result, error) {
	pins, err := lock.Load(in.Dir)
	if err != nil {
		return nil, err
	}
	var done []Result
	for _, pin := range slices.Clone(pins.Plugins) {
		c, err := in.restore(ctx, pin)
		if err != nil {
			return done, err
		}
		if err := matches(c.Artifact, pin, pins.Path()); err != nil {
			return done, err
		}
		r, err := in.accept(c, pins)
		if err != nil {
			return done, err
		}
		done = append(done, r)
	}
	return done, pins.Save()
}

// restore finds the bundle of a pin: in the store, where it came from, or in a
// catalogue, which may be a mirror.
func (in *Installer) restore(ctx context.Context, pin lock.Entry) (candidate, error) {
	a, err := in.Store.Get(pin.Digest)
	if err == nil {
		return candidate{a, pin.Source}, nil
	}
	if !errors.Is(err, ErrNotInstalled) {
		in.Warn(err.Error())
	}
	var failed []string
	if pin.Source != "" {
		at, err := oci.ParseAddress(pin.Source)
		if err == nil {
			at.Tag, at.Digest = "", pin.Digest
			if a, err = in.Registry.Pull(ctx, at); err == nil {
				return candidate{a, pin.Source}, nil
			}
		}
		failed = append(failed, err.Error())
	}
	for _, s := range in.Catalogues {
		c, err := in.open(ctx, s)
		if err != nil {
			failed = append(failed, err.Error())
			continue
		}
		p := c.Find(pin.Ref().ID())
		if p == nil {
			continue
		}
		for _, v := range p.Versions {
			if v.Digest == pin.Digest {
				if a, err = c.Bundle(ctx, p.ID, v); err == nil {
					return candidate{a, pin.Source}, nil
				}
				failed = append(failed, err.Error())
			}
		}
	}
	if failed == nil {
		failed = []string{"no catalogue of yours lists it, and no registry is known for it: leat plugin catalogue add NAME URL adds the catalogue that it came from"}
	}
	return candidate{}, fmt.Errorf("plugin %s, which %s pins as %s, cannot be found: %s; a bundle can be installed from its file: leat plugin install --dir %s FILE.leat",
		pin.Plugin, lock.Name, pin.Digest, strings.Join(failed, "; "), strconv.Quote(in.Dir))
}
