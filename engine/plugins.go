package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/spec"
	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/capability"
	"github.com/leat-etl/leat/plugins/wasm"
)

// plugins are the plugins of a pipeline, loaded and with their settings
// checked: the transforms in order, and what is needed to open the
// destination.
type plugins struct {
	host *wasm.Host
	// mu guards which plugin stands at a place of transforms: it changes under
	// the destination's holder and mu, and is read under either.
	mu         sync.Mutex
	transforms []boundTransform
	naming     int // see chainOf
	pipeline   string
	target     loadedPlugin
	guest      json.RawMessage // the destination's settings without secrets
	private    json.RawMessage // those for the host alone
}

// loadedPlugin is a bundle with what the pipeline file says of it.
type loadedPlugin struct {
	*bundle.Bundle
	plugin  wasm.Plugin
	public  json.RawMessage // the guest's settings without what came from outside the pipeline file
	granted spec.Grants     // of a transform, as the pipeline file gives them
	warning string          // of the trust store
}

// identity names the very code that ran.
func (p loadedPlugin) identity() string { return p.Manifest.Ref().String() }

// loadPlugins resolves, checks and compiles every plugin of the pipeline.
func loadPlugins(ctx context.Context, s *spec.Spec, cacheDir string, log *slog.Logger) (_ *plugins, err error) {
	if cacheDir == "" {
		if cacheDir, err = PluginCache(); err != nil {
			return nil, err
		}
	}
	host, err := wasm.NewHost(ctx, wasm.Config{CacheDir: cacheDir, Log: log})
	if err != nil {
		return nil, err
	}
	p := &plugins{host: host, pipeline: s.Name}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close(ctx))
		}
	}()
	transforms, naming, err := chainOf(s)
	if err != nil {
		return nil, err
	}
	p.naming = naming
	p.transforms = make([]boundTransform, len(transforms))
	for i, t := range transforms {
		config, err := t.ConfigJSON(true)
		if err != nil {
			return nil, fmt.Errorf("settings of plugin %s: %w", t.Plugin, err)
		}
		loaded, err := resolveTransform(s, &t, t.Plugin, config, log)
		if err != nil {
			return nil, err
		}
		p.transforms[i] = boundTransform{loaded: loaded, match: matcher(t.Tables)}
		if p.transforms[i].mark, err = markOf(&t, loaded); err != nil {
			return nil, err
		}
		if t.Shadow == "" {
			continue
		}
		candidate, err := resolveTransform(s, &t, t.Shadow, config, log)
		if err != nil {
			return nil, err
		}
		own := candidate.plugin.Grants
		if candidate.plugin.Grants, err = apart(own, candidate.granted, candidate.Bundle); err != nil {
			return nil, err
		}
		p.transforms[i].shadow = &shadow{loaded: candidate, own: own}
		if p.transforms[i].shadow.mark, err = markOf(&t, candidate); err != nil {
			return nil, err
		}
	}
	config, err := s.Destination.ConfigJSON(true)
	if err != nil {
		return nil, fmt.Errorf("settings of plugin %s: %w", s.Destination.Plugin, err)
	}
	if p.target, err = resolve(s, s.Destination.Plugin, bundle.Destination, config, s.Destination.Limits); err != nil {
		return nil, err
	}
	p.target.warn(log)
	p.guest, p.private, err = bundle.SplitConfig(p.target.Manifest, config, s.Dir)
	if err != nil {
		return nil, err
	}
	p.target.plugin.Config = p.guest
	if p.target.plugin.Grants, err = grantsOf(s.Destination.Grants, p.target.Bundle); err != nil {
		return nil, err
	}
	return p, p.compile(ctx, log)
}

// LoadPlugins says whether the plugins of a pipeline file load, as a run would load
// them.
func LoadPlugins(ctx context.Context, s *spec.Spec) error {
	p, err := loadPlugins(ctx, s, "", slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	return p.close(ctx)
}

// resolveTransform finds what is to run in the place of t: its plugin or its
// shadow. The settings that only the host may see stay with the host.
func resolveTransform(s *spec.Spec, t *spec.Transform, ref string, config json.RawMessage, log *slog.Logger) (loadedPlugin, error) {
	p, err := resolve(s, ref, bundle.Transform, config, t.Limits)
	if err != nil {
		return p, err
	}
	p.warn(log)
	guest, private, err := bundle.SplitConfig(p.Manifest, config, s.Dir)
	if err != nil {
		return p, err
	}
	p.plugin.Config, p.plugin.Columns, p.granted = guest, t.Columns, t.Grants
	if p.plugin.Grants, err = grantsOf(t.Grants, p.Bundle); err != nil {
		return p, err
	}
	public, err := t.ConfigJSON(false)
	if err != nil {
		return p, fmt.Errorf("settings of plugin %s: %w", t.Plugin, err)
	}
	if p.public, _, err = bundle.SplitConfig(p.Manifest, public, s.Dir); err != nil {
		return p, err
	}
	p.plugin.Private = !bytes.Equal(p.public, guest)
	return p, json.Unmarshal(private, &p.plugin.Settings)
}

// compile compiles the transforms side by side, which takes seconds for those
// that the cache does not have yet.
func (p *plugins) compile(ctx context.Context, log *slog.Logger) error {
	slow := time.AfterFunc(time.Second, func() { log.Info("compiling plugins; the next start takes them from the cache") })
	defer slow.Stop()
	g, ctx := errgroup.WithContext(ctx)
	for i := range p.transforms {
		t := &p.transforms[i]
		g.Go(func() (err error) {
			t.plugin, err = p.host.Transform(ctx, t.loaded.Module, t.loaded.plugin)
			return err
		})
		if t.shadow == nil {
			continue
		}
		g.Go(func() (err error) {
			t.shadow.plugin, err = p.host.Transform(ctx, t.shadow.loaded.Module, t.shadow.loaded.plugin)
			return err
		})
	}
	return g.Wait()
}

// PluginCache is where compiled plugins are kept for all pipelines of a user.
func PluginCache() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	dir = filepath.Join(dir, "leat", "plugins")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make plugin cache: %w", err)
	}
	return dir, nil
}

// PluginError says that a plugin of the pipeline file is missing, not valid,
// of another kind, or has wrong settings.
type PluginError struct {
	Plugin string
	Err    error
}

// Error implements error.
func (e *PluginError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *PluginError) Unwrap() error { return e.Err }

func resolve(s *spec.Spec, ref string, kind bundle.Kind, config json.RawMessage, limits bundle.Limits) (loadedPlugin, error) {
	b, warning, err := findPlugin(s, ref)
	if err == nil && b.Manifest.Kind != kind {
		err = fmt.Errorf("plugin %s is a %s: the pipeline file uses it as a %s", ref, b.Manifest.Kind, kind)
	}
	if err == nil {
		err = bundle.ValidateConfig(b.Manifest, config)
	}
	if err != nil {
		return loadedPlugin{}, &PluginError{ref, err}
	}
	limits = limits.Or(b.Manifest.Limits)
	return loadedPlugin{Bundle: b, warning: warning, plugin: wasm.Plugin{
		Name: b.Manifest.Name, Version: b.Manifest.Version, Digest: b.Digest, Config: config,
		Limits: wasm.Limits{MemoryBytes: uint64(limits.Memory), Fuel: uint64(limits.Fuel), Deadline: limits.Deadline},
	}}, nil
}

func matcher(patterns []spec.Pattern) func(batch.TableID) bool {
	selection := spec.Selection{Include: patterns}
	return func(t batch.TableID) bool { return selection.Match(t.Schema, t.Name) }
}

// openDestination connects to the destination and starts its plugin.
func (p *plugins) openDestination(ctx context.Context) (*wasm.Destination, wasm.Info, capability.SQL, error) {
	sql, err := capability.OpenSQL(ctx, p.target.Manifest.Driver, p.private)
	if err != nil {
		return nil, wasm.Info{}, nil, fmt.Errorf("open destination %s: %w", p.target.Manifest.Name, err)
	}
	d, err := p.host.Destination(ctx, p.target.Module, p.target.plugin, sql)
	if err != nil {
		return nil, wasm.Info{}, nil, errors.Join(err, sql.Close())
	}
	info, err := d.Open(ctx, wasm.OpenInput{Pipeline: p.pipeline})
	if err != nil {
		return nil, wasm.Info{}, nil, errors.Join(err, d.Close(ctx), sql.Close())
	}
	return d, info, sql, nil
}

func (p *plugins) close(ctx context.Context) error {
	var errs []error
	for _, t := range p.transforms {
		if t.plugin != nil {
			errs = append(errs, t.plugin.Close(ctx))
		}
		if t.shadow != nil && t.shadow.plugin != nil {
			errs = append(errs, t.shadow.plugin.Close(ctx))
		}
	}
	return errors.Join(append(errs, p.host.Close(ctx))...)
}

// stats returns what each transform has done, by its place in the chain.
func (p *plugins) stats() map[string]wasm.Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[string]wasm.Stats{}
	for i, t := range p.transforms {
		out[p.place(i)] = t.plugin.Stats()
	}
	return out
}

// place names transform i by where it stands in the chain.
func (p *plugins) place(i int) string {
	return fmt.Sprintf("%d:%s", i+1, p.transforms[i].loaded.Manifest.Name)
}
