package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/bundle/catalogue"
	"github.com/leat-etl/leat/plugins/bundle/marketplace"
	"github.com/leat-etl/leat/plugins/bundle/sign"
	"github.com/leat-etl/leat/plugins/bundle/trust"
)

func (p *program) marketplaceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "marketplace",
		Short: "Make a catalogue of plugins, and its web site",
	}
	cmd.AddCommand(p.marketplaceBuildCommand(), p.marketplacePushCommand(), p.marketplaceMirrorCommand())
	return cmd
}

// keyFlags are those of verbs that may sign a catalogue.
type keyFlags struct{ key, passphraseFile string }

func newKeyFlags(cmd *cobra.Command) *keyFlags {
	var f keyFlags
	cmd.Flags().StringVar(&f.key, "key", "", "private key to sign the catalogue with, or env://VARIABLE")
	cmd.Flags().StringVar(&f.passphraseFile, "passphrase-file", "", "file whose first line is the passphrase of the key")
	return &f
}

// read reads the key, nil if none is named.
func (f keyFlags) read(p *program) (*sign.PrivateKey, error) {
	if f.key == "" {
		return nil, nil
	}
	k, err := p.privateKey(f.key, f.passphraseFile)
	return &k, err
}

func (p *program) marketplaceBuildCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "build FOLDER",
		Short: "Make a catalogue and a web site of a folder of bundles",
		Long: `Build reads every bundle in a folder and writes catalogue.json and a web site
beside them: a page to search in, and a page for each plugin. Put the folder on
any web server, and its URL is the catalogue:

  leat plugin catalogue add NAME https://plugins.example.com/

Run it again after bundles were added; versions that were yanked stay so.`,
		Args: exactly(1),
	}
	key := newKeyFlags(cmd)
	cmd.Flags().StringVar(&name, "name", "", "name of the catalogue (default: as it was, or the folder's)")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		dir, err := filepath.Abs(args[0])
		if err != nil {
			return err
		}
		f, err := catalogue.OpenFolder(dir, time.Now())
		if err != nil {
			return asPluginError(dir, err)
		}
		if name != "" {
			f.Name = name
		}
		return p.publish(f, *key)
	}
	return cmd
}

// publish writes catalogue and site of a folder and says what is in them.
func (p *program) publish(f *catalogue.Folder, flags keyFlags) error {
	key, err := flags.read(p)
	if err != nil {
		return err
	}
	if err := f.Save(key); err != nil {
		return err
	}
	if err := marketplace.Render(f); err != nil {
		return err
	}
	versions := 0
	for _, plugin := range f.Plugins {
		versions += len(plugin.Versions)
	}
	if p.json {
		return json.NewEncoder(p.out).Encode(map[string]any{"catalogue": filepath.Join(f.Dir, catalogue.IndexName), "plugins": len(f.Plugins), "versions": versions, "signed": key != nil})
	}
	fmt.Fprintf(p.out, "%s: %s in %s\n%s\n%s\n", f.Name, counted(len(f.Plugins), "plugin"), counted(versions, "version"), filepath.Join(f.Dir, catalogue.IndexName), filepath.Join(f.Dir, "index.html"))
	return nil
}

func (p *program) pluginYankCommand() *cobra.Command {
	var reason, dir string
	var undo bool
	cmd := &cobra.Command{
		Use:   "yank PUBLISHER/NAME@VERSION",
		Short: "Mark a version as not to be used",
		Long: `Yank marks a version in a catalogue that leat marketplace build made, and makes
its site again. New installs and updates pass over the version; pipelines that
have it pinned go on running, and update warns about it. The bundle stays.`,
		Args: exactly(1),
	}
	key := newKeyFlags(cmd)
	cmd.Flags().StringVar(&dir, "catalogue", ".", "folder of the catalogue")
	cmd.Flags().StringVar(&reason, "reason", "", "why, for those who want to install it")
	cmd.Flags().BoolVar(&undo, "undo", false, "take the mark back")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		ref, err := bundle.ParseRef(args[0])
		if err != nil || ref.Version == "" {
			return errUsage{fmt.Errorf("yank %q: want publisher/name@version", args[0])}
		}
		if (reason == "") != undo {
			return errUsage{fmt.Errorf("say why with --reason, or take the mark back with --undo")}
		}
		f, err := catalogue.OpenFolder(dir, time.Now())
		if err != nil {
			return asPluginError(dir, err)
		}
		if err := f.Yank(ref, strings.TrimSpace(reason)); err != nil {
			return asPluginError(args[0], err)
		}
		return p.publish(f, *key)
	}
	return cmd
}

func (p *program) marketplacePushCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "push FOLDER HOST/PREFIX",
		Short: "Store a catalogue and its bundles in a registry",
		Long: `Push stores every bundle of a folder as HOST/PREFIX/publisher/name:version, and a
catalogue that leads to them as HOST/PREFIX/catalogue:latest, signed if --key is
given:

  leat plugin catalogue add NAME oci://HOST/PREFIX/catalogue`,
		Args: exactly(2),
	}
	registry, key := registryFlags(cmd), newKeyFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f, err := catalogue.OpenFolder(args[0], time.Now())
		if err != nil {
			return asPluginError(args[0], err)
		}
		k, err := key.read(p)
		if err != nil {
			return err
		}
		at, err := f.Push(cmd.Context(), *registry, args[1], k)
		if err != nil {
			return err
		}
		if p.json {
			return json.NewEncoder(p.out).Encode(map[string]any{"catalogue": "oci://" + at.String(), "bundles": len(f.Bundles), "signed": k != nil})
		}
		fmt.Fprintf(p.out, "%s in the registry, the catalogue is oci://%s\n", counted(len(f.Bundles), "bundle"), at)
		return nil
	}
	return cmd
}

func (p *program) marketplaceMirrorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "mirror CATALOGUE FOLDER",
		Short: "Copy a catalogue with all its bundles",
		Long: `Mirror copies a catalogue of the list (leat plugin catalogue list), named by its
name or its address there, with every bundle to a folder, which is a catalogue
then: for machines without a network, or against the day on which the original is
gone.`,
		Args: exactly(2),
	}
	registry := registryFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		sources, err := catalogue.LoadSources()
		if err != nil {
			return err
		}
		keys, err := trust.Load("")
		if err != nil {
			return err
		}
		for _, s := range sources.Catalogues {
			if s.Name != args[0] && strings.TrimSuffix(s.URL, "/") != strings.TrimSuffix(args[0], "/") {
				continue
			}
			c, err := p.catalogueReader(keys, *registry).Open(cmd.Context(), s)
			if err != nil {
				return err
			}
			n, err := c.Mirror(cmd.Context(), args[1])
			if err != nil {
				return asPluginError(args[0], err)
			}
			if p.json {
				return json.NewEncoder(p.out).Encode(map[string]any{"folder": args[1], "copied": n})
			}
			fmt.Fprintf(p.out, "%s copied to %s\n", counted(n, "bundle"), args[1])
			return nil
		}
		return errUsage{fmt.Errorf("no catalogue of the list is called %q or has that address: leat plugin catalogue list shows them, leat plugin catalogue add NAME URL adds one", args[0])}
	}
	return cmd
}
