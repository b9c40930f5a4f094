package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/bundle/install"
	"github.com/leat-etl/leat/plugins/bundle/lock"
)

// listedPlugin is a plugin as list shows it.
type listedPlugin struct {
	Name         string      `json:"name"`
	Version      string      `json:"version"`
	Kind         bundle.Kind `json:"kind"`
	Description  string      `json:"description"`
	Capabilities []string    `json:"capabilities"`
	// From is "bundled", or "leat.lock" for one that is pinned.
	From   string `json:"from"`
	Digest string `json:"digest"`
	// Problem says why a pinned plugin would not run, Warning what the trust
	// store says of one that does.
	Problem string `json:"problem,omitempty"`
	Warning string `json:"warning,omitempty"`
}

func (p *program) pluginListCommand() *cobra.Command {
	var dir, trustPath string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the plugins that a pipeline can use",
		Long: `List shows the plugins that are part of leat, and those that leat.lock of a folder
pins, with what would keep them from running.`,
		Args: exactly(0),
		RunE: func(*cobra.Command, []string) error {
			bundles, err := bundle.Bundled()
			if err != nil {
				return err
			}
			var list []listedPlugin
			for _, b := range bundles {
				m := b.Manifest
				list = append(list, listedPlugin{Name: m.Name, Version: m.Version, Kind: m.Kind, Description: m.Description, Capabilities: m.Grants(), From: "bundled", Digest: b.Digest})
			}
			pinned, err := pinnedPlugins(dir, trustPath)
			if err != nil {
				return err
			}
			list = append(list, pinned...)
			if p.json {
				return json.NewEncoder(p.out).Encode(list)
			}
			return p.printPlugins(list)
		},
	}
	cmd.Flags().StringVar(&dir, "dir", ".", "folder of the pipeline files and leat.lock")
	cmd.Flags().StringVar(&trustPath, "trust", "", "trust store (default the user's own)")
	return cmd
}

func (p *program) printPlugins(list []listedPlugin) error {
	out := newTable(p.out)
	out.head("name", "version", "kind", "from", "description")
	for _, l := range list {
		out.row(l.Name, l.Version, l.Kind, l.From, l.Description)
	}
	if err := out.end(); err != nil {
		return err
	}
	for _, l := range list {
		if l.Problem != "" {
			fmt.Fprintf(p.out, "%s %s DOES NOT RUN: %s\n", l.Name, l.Version, l.Problem)
		}
		if l.Warning != "" {
			fmt.Fprintf(p.out, "warning: %s\n", l.Warning)
		}
	}
	return nil
}

// pinnedPlugins are those of a lock file, each found as an engine would.
func pinnedPlugins(dir, trustPath string) ([]listedPlugin, error) {
	pins, err := lock.Load(dir)
	if err != nil {
		return nil, err
	}
	store, err := install.DefaultStore()
	if err != nil {
		return nil, err
	}
	var list []listedPlugin
	for _, pin := range pins.Plugins {
		l := listedPlugin{Name: pin.Ref().ID(), Version: pin.Ref().Version, Capabilities: pin.Capabilities, From: lock.Name, Digest: pin.Digest}
		var b *bundle.Bundle
		b, l.Warning, err = install.Find(pin.Plugin, dir, trustPath, store)
		if err == nil {
			l.Kind, l.Description = b.Manifest.Kind, b.Manifest.Description
		} else {
			l.Problem = err.Error()
		}
		list = append(list, l)
	}
	return list, nil
}
