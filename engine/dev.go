package engine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"

	"github.com/leat-etl/leat/engine/spec"
	"github.com/leat-etl/leat/plugins/bundle"
)

// PathPlugin is a transform of the pipeline that lies in a folder of the
// author's own, rather than being bundled or installed.
type PathPlugin struct {
	// Place of the transform in the chain, from 0.
	Place int
	// Dir is the plugin's folder.
	Dir string
}

// PathPlugins are the transforms that Reload can take anew.
func (p *Pipeline) PathPlugins() ([]PathPlugin, error) {
	transforms, _, err := chainOf(p.Spec)
	if err != nil {
		return nil, err
	}
	var out []PathPlugin
	for i, t := range transforms {
		if !bundle.IsPath(t.Plugin) {
			continue
		}
		dir := t.Plugin
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(p.Spec.Dir, dir)
		}
		if filepath.Ext(dir) == ".wasm" {
			dir = filepath.Dir(dir)
		}
		out = append(out, PathPlugin{i, dir})
	}
	return out, nil
}

// Reload puts what lies at the path of a transform by now, with the settings,
// columns, limits and grants that now, the pipeline file read again, gives it, into
// its place: between two deliveries, so that no row meets half of each. A plugin
// that does not load, or whose plan of a known table fails here or at the
// destination, leaves the one that runs where it is. changed is false if all is
// the same as before.
func (p *Pipeline) Reload(ctx context.Context, place int, now *spec.Spec) (changed bool, err error) {
	if err := p.sameChain(now); err != nil {
		return false, err
	}
	if place < 0 || place >= len(now.Transforms) {
		return false, fmt.Errorf("the pipeline file has no transform %d", place+1)
	}
	t := &now.Transforms[place]
	config, err := t.ConfigJSON(true)
	if err != nil {
		return false, fmt.Errorf("settings of plugin %s: %w", t.Plugin, err)
	}
	loaded, err := resolveTransform(now, t, t.Plugin, config, p.log)
	if err != nil {
		return false, err
	}
	if p.plugins.runs(place, loaded) {
		return false, nil
	}
	loaded.keep(p.store)
	next := boundTransform{loaded: loaded}
	if next.mark, err = markOf(t, loaded); err != nil {
		return false, err
	}
	if next.plugin, err = p.plugins.host.Transform(ctx, loaded.Module, loaded.plugin); err != nil {
		return false, p.plugins.stays(place, loaded, err)
	}
	if err := p.swap(ctx, place, next); err != nil {
		return false, p.plugins.stays(place, loaded, errors.Join(err, next.plugin.Close(context.WithoutCancel(ctx))))
	}
	return true, p.retryPlugins()
}

// stays adds to the error for which a plugin is not taken what goes on being
// granted to the one before it, though the pipeline file says otherwise.
func (p *plugins) stays(place int, loaded loadedPlugin, err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if reflect.DeepEqual(p.transforms[place].loaded.granted, loaded.granted) {
		return err
	}
	return fmt.Errorf("%w; the changed grants do not count yet: the plugin that runs has those from before, stop the pipeline to take them away", err)
}

// sameChain makes sure that a changed pipeline file has the same plugins on the
// same tables: what else has changed counts at the next start.
func (p *Pipeline) sameChain(now *spec.Spec) error {
	same := slices.EqualFunc(p.Spec.Transforms, now.Transforms, func(a, b spec.Transform) bool {
		return a.Plugin == b.Plugin && reflect.DeepEqual(a.Tables, b.Tables) && a.Shadow == b.Shadow
	})
	if !same {
		return errors.New("the pipeline file has other transforms, or has them on other tables: start the pipeline again")
	}
	return nil
}

// runs says whether the very plugin stands at a place already, with the same
// settings and grants.
func (p *plugins) runs(place int, loaded loadedPlugin) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.transforms[place].loaded
	return now.Digest == loaded.Digest && now.identity() == loaded.identity() && now.plugin.Limits == loaded.plugin.Limits &&
		string(now.Manifest.ConfigSchema) == string(loaded.Manifest.ConfigSchema) &&
		string(now.plugin.Config) == string(loaded.plugin.Config) && reflect.DeepEqual(now.plugin.Settings, loaded.plugin.Settings) &&
		reflect.DeepEqual(now.plugin.Columns, loaded.plugin.Columns) && reflect.DeepEqual(now.granted, loaded.granted)
}

// swap puts a transform into its place, if all tables can be planned with it.
func (p *Pipeline) swap(ctx context.Context, place int, next boundTransform) error {
	a := p.applier
	a.holder.Lock()
	defer a.holder.Unlock()
	p.plugins.mu.Lock()
	defer p.plugins.mu.Unlock()
	at := &p.plugins.transforms[place]
	before := *at
	at.plugin, at.loaded, at.mark = next.plugin, next.loaded, next.mark
	if a.destination != nil {
		a.chain.replan(a.destination)
		if err := a.chain.planKnown(ctx); err != nil {
			*at = before
			a.chain.replan(a.destination)
			return err
		}
	}
	p.log.Info("plugin swapped", "transform", p.plugins.place(place), "plugin", next.loaded.identity(), "digest", next.loaded.Digest)
	return before.plugin.Close(context.WithoutCancel(ctx))
}

// planKnown plans the newest schema of every table that is known.
func (c *Chain) planKnown(ctx context.Context) error {
	for _, databases := range c.current {
		for _, s := range databases {
			if _, err := c.plan(ctx, s); err != nil {
				return err
			}
		}
	}
	return nil
}
