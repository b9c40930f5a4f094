package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/bundle/catalogue"
	"github.com/leat-etl/leat/plugins/bundle/trust"
)

func (p *program) pluginCatalogueCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "catalogue",
		Short: "Where plugins are looked for",
		Long: `Catalogue shows and edits the list of catalogues that search, install and update
look into: folders, URLs, or artifacts in a registry. leat marketplace makes one.`,
	}
	var publisher string
	add := &cobra.Command{
		Use:   "add NAME FOLDER|URL",
		Short: "Look into one more catalogue",
		Long: `Add puts a catalogue on the list: a folder, an http:// or https:// URL, or
oci://host/repository. With --publisher it has to be signed with a key that the
trust store has for that publisher.`,
		Args: exactly(2),
		RunE: func(_ *cobra.Command, args []string) error {
			url := args[1]
			if !strings.Contains(url, "://") {
				var err error
				if url, err = filepath.Abs(url); err != nil {
					return err
				}
			}
			if err := editSources(func(s *catalogue.Sources) error {
				return s.Add(catalogue.Source{Name: args[0], URL: url, Publisher: publisher})
			}); err != nil {
				return errUsage{err}
			}
			fmt.Fprintf(p.out, "catalogue %s is %s\n", args[0], url)
			return nil
		},
	}
	add.Flags().StringVar(&publisher, "publisher", "", "publisher whose key signs the catalogue")
	cmd.AddCommand(add, p.catalogueListCommand(), p.catalogueRemoveCommand())
	return cmd
}

func (p *program) catalogueListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the catalogues",
		Args:  exactly(0),
		RunE: func(*cobra.Command, []string) error {
			s, err := catalogue.LoadSources()
			if err != nil {
				return err
			}
			if p.json {
				return json.NewEncoder(p.out).Encode(append([]catalogue.Source{}, s.Catalogues...))
			}
			out := newTable(p.out)
			out.head("name", "address", "signed by")
			for _, c := range s.Catalogues {
				out.row(c.Name, c.URL, c.Publisher)
			}
			return out.end()
		},
	}
}

func (p *program) catalogueRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "remove NAME",
		Short: "Look into a catalogue no more",
		Args:  exactly(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := editSources(func(s *catalogue.Sources) error { return s.Remove(args[0]) }); err != nil {
				return errUsage{err}
			}
			fmt.Fprintf(p.out, "catalogue %s is off the list\n", args[0])
			return nil
		},
	}
}

func editSources(do func(*catalogue.Sources) error) error {
	s, err := catalogue.LoadSources()
	if err != nil {
		return err
	}
	if err := do(s); err != nil {
		return err
	}
	return s.Save()
}

// foundPlugin is a plugin as search shows it.
type foundPlugin struct {
	catalogue.Plugin
	Catalogue string `json:"catalogue"`
}

func (p *program) pluginSearchCommand() *cobra.Command {
	var only []string
	cmd := &cobra.Command{
		Use:   "search [WORD...]",
		Short: "Find plugins in the catalogues",
		Long: `Search lists the plugins of all catalogues in whose name, description, kind or
capabilities every WORD is found, and the bundled ones beside them. A catalogue
that cannot be reached is read from the copy of the last time.`,
	}
	registry := registryFlags(cmd)
	cmd.Flags().StringSliceVar(&only, "catalogue", nil, "look into these catalogues only")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		sources, err := catalogue.LoadSources()
		if err != nil {
			return err
		}
		keys, err := trust.Load("")
		if err != nil {
			return err
		}
		reader := p.catalogueReader(keys, *registry)
		found, err := bundledAs(args)
		if err != nil {
			return err
		}
		var failed []error
		for _, s := range sources.Catalogues {
			if len(only) > 0 && !slices.Contains(only, s.Name) {
				continue
			}
			c, err := reader.Open(cmd.Context(), s)
			if err != nil {
				failed = append(failed, err)
				continue
			}
			for _, plugin := range c.Search(args) {
				found = append(found, foundPlugin{plugin, s.Name})
			}
		}
		if err := p.printFound(found); err != nil {
			return err
		}
		return errors.Join(failed...)
	}
	return cmd
}

// bundledAs searches the bundled plugins as if they were a catalogue.
func bundledAs(words []string) ([]foundPlugin, error) {
	bundles, err := bundle.Bundled()
	if err != nil {
		return nil, err
	}
	var x catalogue.Index
	for _, b := range bundles {
		m := b.Manifest
		x.Plugins = append(x.Plugins, catalogue.Plugin{ID: m.Name, Kind: m.Kind, Description: m.Description, Licence: m.Licence,
			Versions: []catalogue.Version{{Version: m.Version, Module: b.Digest, ABI: m.ABI, Capabilities: m.Grants(), Size: int64(len(b.Module))}}})
	}
	var out []foundPlugin
	for _, plugin := range x.Search(words) {
		out = append(out, foundPlugin{plugin, "bundled"})
	}
	return out, nil
}

func (p *program) printFound(found []foundPlugin) error {
	if p.json {
		return json.NewEncoder(p.out).Encode(append([]foundPlugin{}, found...))
	}
	if len(found) == 0 {
		fmt.Fprintln(p.out, "nothing found; leat plugin catalogue list shows where was looked")
		return nil
	}
	out := newTable(p.out)
	out.head("name", "version", "kind", "may use", "catalogue", "description")
	for _, f := range found {
		v, ok := f.Newest(false)
		text := f.Description
		if !ok && len(f.Versions) > 0 {
			v = f.Versions[0]
			text = unusable(v) + text
		}
		out.row(f.ID, v.Version, f.Kind, bundle.Words(v.Capabilities), f.Catalogue, text)
	}
	return out.end()
}

// unusable says why the newest version of a plugin would not be installed by
// itself.
func unusable(v catalogue.Version) string {
	switch {
	case v.Yanked != "":
		return "YANKED: " + v.Yanked + ". "
	case v.ABI != bundle.ABI:
		return fmt.Sprintf("OF ABI %d. ", v.ABI)
	}
	return "PRE-RELEASE. "
}
