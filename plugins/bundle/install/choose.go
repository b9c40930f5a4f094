package install

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/bundle/catalogue"
	"github.com/leat-etl/leat/plugins/bundle/lock"
	"github.com/leat-etl/leat/plugins/bundle/oci"
)

// open opens a catalogue once.
func (in *Installer) open(ctx context.Context, s catalogue.Source) (*catalogue.Catalogue, error) {
	if c := in.opened[s.Name]; c != nil {
		return c, nil
	}
	c, err := in.Reader.Open(ctx, s)
	if err != nil {
		return nil, err
	}
	if in.opened == nil {
		in.opened = map[string]*catalogue.Catalogue{}
	}
	in.opened[s.Name] = c
	return c, nil
}

// offer is a version that a catalogue lists.
type offer struct {
	in *catalogue.Catalogue
	catalogue.Version
}

// offers lists the versions of a plugin in all catalogues that can be opened;
// the others are warned about.
func (in *Installer) offers(ctx context.Context, id string) ([]offer, error) {
	var out []offer
	var failed error
	for _, s := range in.Catalogues {
		c, err := in.open(ctx, s)
		if err != nil {
			in.Warn(err.Error())
			failed = err
			continue
		}
		if p := c.Find(id); p != nil {
			for _, v := range p.Versions {
				out = append(out, offer{c, v})
			}
		}
	}
	switch {
	case len(out) > 0:
		return out, nil
	case failed != nil:
		return nil, fmt.Errorf("plugin %s is in no catalogue that can be opened: %w", id, failed)
	case len(in.Catalogues) == 0:
		return nil, fmt.Errorf("plugin %s: there is no catalogue to look it up in: leat plugin catalogue add NAME URL, or install it from its file or its address in a registry", id)
	}
	return nil, fmt.Errorf("plugin %s is in no catalogue: leat plugin search", id)
}

// fromCatalogues fetches a version, or the newest one that may be used.
func (in *Installer) fromCatalogues(ctx context.Context, ref bundle.Ref) (candidate, error) {
	offers, err := in.offers(ctx, ref.ID())
	if err != nil {
		return candidate{}, err
	}
	o, err := choose(ref, offers)
	if err != nil {
		return candidate{}, err
	}
	return in.take(ctx, ref.ID(), o)
}

func (in *Installer) take(ctx context.Context, id string, o offer) (candidate, error) {
	a, err := o.in.Bundle(ctx, id, o.Version)
	if err != nil {
		return candidate{}, err
	}
	source := ""
	if address, ok := strings.CutPrefix(o.Location, "oci://"); ok {
		if at, err := oci.ParseAddress(address); err == nil {
			source = at.Repository
		}
	}
	return candidate{a, source}, nil
}

// choose picks the version that is asked for, the newest that may be used if
// none is. A yanked version is never picked: a pin of it goes on working.
func choose(ref bundle.Ref, offers []offer) (offer, error) {
	usable := slices.DeleteFunc(slices.Clone(offers), func(o offer) bool {
		return o.Yanked != "" || o.ABI != bundle.ABI || ref.Version == "" && bundle.Prerelease(o.Version.Version) || ref.Version != "" && o.Version.Version != ref.Version
	})
	if len(usable) > 0 {
		return slices.MaxFunc(usable, func(a, b offer) int { return bundle.CompareVersions(a.Version.Version, b.Version.Version) }), nil
	}
	var versions []string
	for _, o := range offers {
		if o.Version.Version == ref.Version && o.Yanked != "" {
			return offer{}, fmt.Errorf("plugin %s was yanked: %s", ref, o.Yanked)
		}
		if o.Version.Version == ref.Version && o.ABI != bundle.ABI {
			return offer{}, fmt.Errorf("plugin %s speaks ABI %d, this leat speaks ABI %d", ref, o.ABI, bundle.ABI)
		}
		if o.Yanked == "" {
			versions = append(versions, o.Version.Version)
		}
	}
	return offer{}, fmt.Errorf("plugin %s is in no catalogue in a version that can be used; listed are %s", ref, bundle.Words(versions))
}

// Update replaces pinned plugins by their newest versions: those with these
// IDs, all without any. Where a pipeline file of the folder names the version
// that is pinned now, that pin is kept beside the new one.
func (in *Installer) Update(ctx context.Context, ids ...string) ([]Result, error) {
	pins, err := lock.Load(in.Dir)
	if err != nil {
		return nil, err
	}
	newest := map[string]bundle.Ref{}
	for _, e := range pins.Plugins {
		id := e.Ref().ID()
		if at, ok := newest[id]; !ok || bundle.CompareVersions(e.Ref().Version, at.Version) > 0 {
			newest[id] = e.Ref()
		}
	}
	if len(ids) == 0 {
		for id := range newest {
			ids = append(ids, id)
		}
		slices.Sort(ids)
	}
	var done []Result
	for _, id := range ids {
		at, ok := newest[id]
		if !ok {
			return done, fmt.Errorf("update %s: %s does not pin it", id, pins.Path())
		}
		r, err := in.update(ctx, at, pins)
		if err != nil {
			return done, err
		}
		if r != nil {
			done = append(done, *r)
			if err := pins.Save(); err != nil {
				return done, err
			}
		}
	}
	return done, nil
}

// update updates one plugin, nil if it is the newest already.
func (in *Installer) update(ctx context.Context, at bundle.Ref, pins *lock.File) (*Result, error) {
	pin, err := pins.Find(at)
	if err != nil {
		return nil, err
	}
	c, err := in.newer(ctx, pin)
	if err != nil || c == nil {
		return nil, err
	}
	r, err := in.accept(*c, pins)
	if err != nil {
		return nil, err
	}
	r.Before = at.Version
	if r.Kept = in.namedIn(at); r.Kept == "" {
		pins.Remove(at)
	}
	return &r, nil
}

// newer fetches the newest version after a pin: from the registry that it came
// from, otherwise from a catalogue. A pre-release is followed by pre-releases.
func (in *Installer) newer(ctx context.Context, pin lock.Entry) (*candidate, error) {
	at := pin.Ref()
	if len(in.Catalogues) == 0 && pin.Source != "" {
		from, err := oci.ParseAddress(pin.Source)
		if err != nil {
			return nil, err
		}
		if from.Tag, err = in.newestTag(ctx, from); err != nil || bundle.CompareVersions(from.Tag, at.Version) <= 0 {
			return nil, err
		}
		a, err := in.Registry.Pull(ctx, from)
		if err == nil && a.Ref().ID() != at.ID() {
			err = fmt.Errorf("update %s: %s holds %s", at.ID(), from, a.Ref())
		}
		return &candidate{a, pin.Source}, err
	}
	offers, err := in.offers(ctx, at.ID())
	if err != nil {
		return nil, err
	}
	offers = slices.DeleteFunc(offers, func(o offer) bool {
		if o.Version.Version == at.Version && o.Yanked != "" {
			in.Warn(fmt.Sprintf("plugin %s, which is pinned, was yanked: %s", at, o.Yanked))
		}
		return bundle.CompareVersions(o.Version.Version, at.Version) <= 0 || o.Yanked != "" || o.ABI != bundle.ABI ||
			bundle.Prerelease(o.Version.Version) && !bundle.Prerelease(at.Version)
	})
	if len(offers) == 0 {
		return nil, nil
	}
	best := slices.MaxFunc(offers, func(a, b offer) int { return bundle.CompareVersions(a.Version.Version, b.Version.Version) })
	c, err := in.take(ctx, at.ID(), best)
	return &c, err
}

// namedIn returns a pipeline file of the folder that names a version of a
// plugin, empty for none.
func (in *Installer) namedIn(ref bundle.Ref) string {
	files, err := filepath.Glob(filepath.Join(in.Dir, "*.toml"))
	if err != nil {
		return ""
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err == nil && (strings.Contains(string(text), `"`+ref.String()+`"`) || strings.Contains(string(text), `'`+ref.String()+`'`)) {
			return f
		}
	}
	return ""
}
