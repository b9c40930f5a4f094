package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/bundle/install"
	"github.com/leat-etl/leat/plugins/bundle/lock"
	"github.com/leat-etl/leat/plugins/capsule"
	"github.com/leat-etl/leat/plugins/wasm"
	"github.com/leat-etl/leat/plugins/workbench/golden"
)

func (p *program) pluginCapsuleCommand() *cobra.Command {
	var ref, config string
	cmd := &cobra.Command{
		Use:   "capsule CAPSULE",
		Short: "Make the call in a capsule again",
		Long: `Capsule makes the plugin call again that leat failed capsule, or a pipeline that
had to stop, has saved. The plugin is found by its digest, among the bundled and the
installed ones: then the outcome has to be the same to the last byte. With --plugin
another one is tried, a mended version for example: then the call has to succeed.
Exit code 5 otherwise. What the plugin keeps (kv, blob) is in memory and empty then,
and no server is asked (http).`,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := capsule.Open(args[0])
			if err != nil {
				return err
			}
			return p.replayCapsule(cmd.Context(), c, ref, config)
		},
	}
	cmd.Flags().StringVar(&ref, "plugin", "", "the plugin to try: a path, or a name as in a pipeline file")
	cmd.Flags().StringVar(&config, "config", "", "settings as JSON, in the place of those in the capsule")
	return cmd
}

func (p *program) replayCapsule(ctx context.Context, c *capsule.Capsule, ref, config string) error {
	settings := c.Config
	if config != "" {
		settings = json.RawMessage(config)
	}
	if strings.Contains(string(settings), `"[secret]"`) {
		return errUsage{errors.New("settings in the capsule came from outside the pipeline file and are not in it: give them all with --config '{...}'")}
	}
	b, err := capsuleBundle(c, ref)
	if err != nil {
		return err
	}
	if err := bundle.ValidateConfig(b.Manifest, settings); err != nil {
		return &engine.PluginError{Plugin: b.Manifest.Name, Err: err}
	}
	guest, private, err := bundle.SplitConfig(b.Manifest, settings, ".")
	if err != nil {
		return err
	}
	// Private: a replay asks the plugin itself, and keeps nothing.
	runs := wasm.Plugin{Name: b.Manifest.Name, Version: b.Manifest.Version, Digest: b.Digest, Config: guest, Private: true, Limits: c.Limits, Columns: c.Columns, Grants: golden.Grants(b.Manifest)}
	if err := json.Unmarshal(private, &runs.Settings); err != nil {
		return err
	}
	host, err := p.pluginHost(ctx)
	if err != nil {
		return err
	}
	defer host.Close(context.WithoutCancel(ctx))
	plugin, err := host.Transform(ctx, b.Module, runs)
	if err != nil {
		return err
	}
	defer plugin.Close(context.WithoutCancel(ctx))
	now, err := c.Replay(ctx, plugin)
	if err != nil {
		return err
	}
	return p.printReplay(c, b, now)
}

// printReplay says whether the call came out as it has to.
func (p *program) printReplay(c *capsule.Capsule, b *bundle.Bundle, now capsule.Outcome) error {
	same := b.Digest == c.Digest
	good := !now.Failed()
	if same {
		good = now.Equal(c.Outcome)
	}
	if p.json {
		if err := json.NewEncoder(p.out).Encode(map[string]any{"plugin": b.Manifest.Ref().String(), "digest": b.Digest, "recorded": c.Outcome, "now": now, "ok": good}); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(p.out, "recorded  %s %s: %s\n", c.Plugin, c.Version, c.Outcome)
		fmt.Fprintf(p.out, "now       %s %s: %s\n", b.Manifest.Name, b.Manifest.Version, now)
		switch {
		case same && good:
			fmt.Fprintln(p.out, "the same outcome")
		case same:
			fmt.Fprintln(p.out, "another outcome: the plugin is not deterministic, other settings were given, or it depends on what it keeps or asks (kv, blob, http), which is not in the capsule")
		case good:
			fmt.Fprintln(p.out, "the call succeeds")
		default:
			fmt.Fprintln(p.out, "the call still fails")
		}
	}
	if !good {
		return errReported(exitPlugin)
	}
	return nil
}

// bundleOf finds a plugin that is named as in a pipeline file of this folder, or
// by the path of its folder or module, with or without ./ before it.
func bundleOf(ref string) (b *bundle.Bundle, err error) {
	what, err := pathOrName(ref, ".")
	if err != nil {
		return nil, err
	}
	if bundle.IsRef(what) {
		var store install.Store
		if store, err = install.DefaultStore(); err == nil {
			b, _, err = install.Find(what, ".", "", store)
		}
	} else {
		b, err = bundle.Resolve(what, ".")
	}
	if err != nil {
		return nil, &engine.PluginError{Plugin: ref, Err: err}
	}
	return b, nil
}

// pathOrName puts ./ before what a file or folder here has the name of, and no
// plugin that is bundled or that leat.lock in dir pins.
func pathOrName(ref, dir string) (string, error) {
	if _, err := os.Stat(ref); err != nil || bundle.IsPath(ref) {
		return ref, nil
	}
	path := "." + string(filepath.Separator) + ref
	name, err := bundle.ParseRef(ref)
	if err != nil {
		if _, err := bundle.Resolve(ref, "."); err == nil {
			return ref, nil
		}
		return path, nil
	}
	pins, err := lock.Load(dir)
	if err != nil {
		return "", err
	}
	if pinned := pins.Versions(name.ID()); len(pinned) > 0 {
		return "", errUsage{fmt.Errorf("%s is a folder here and a plugin that %s pins: write %s for the folder, %s for the plugin", ref, pins.Path(), path, pinned[0].Plugin)}
	}
	return path, nil
}

// capsuleBundle finds the plugin that is named, or the one of the capsule.
func capsuleBundle(c *capsule.Capsule, ref string) (*bundle.Bundle, error) {
	if ref != "" {
		return bundleOf(ref)
	}
	store, err := install.DefaultStore()
	if err != nil {
		return nil, err
	}
	bundled, err := bundle.Bundled()
	if err != nil {
		return nil, err
	}
	for _, b := range bundled {
		if b.Digest == c.Digest {
			return b, nil
		}
	}
	digests, err := store.List()
	if err != nil {
		return nil, err
	}
	for _, digest := range digests {
		if a, err := store.Get(digest); err == nil && a.Bundle.Digest == c.Digest {
			return a.Bundle, nil
		}
	}
	return nil, &engine.PluginError{Plugin: c.Plugin, Err: fmt.Errorf("plugin %s %s (%s) is neither bundled with this leat nor installed here: name it with --plugin PATH", c.Plugin, c.Version, c.Digest)}
}
