package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/bundle/install"
	"github.com/leat-etl/leat/plugins/bundle/oci"
)

func (p *program) pluginPackCommand() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "pack [FOLDER]",
		Short: "Make a bundle of a built plugin",
		Long: `Pack puts the module of a folder, its plugin.toml and, where they are there,
config.schema.json, README.md, the licence, conformance.json and the files of
the folder tests into one file, PUBLISHER-NAME-VERSION.leat: an OCI image layout
that can be handed on as it is, or pushed to a registry. The same folder gives
the same bytes on every machine.

plugin.toml names the publisher: publisher = "acme".`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			dir := "."
			if len(args) == 1 {
				dir = args[0]
			}
			a, err := oci.Pack(dir)
			if err != nil {
				return &engine.PluginError{Plugin: dir, Err: err}
			}
			if out == "" {
				out = a.FileName()
			}
			if err := a.WriteFile(out); err != nil {
				return err
			}
			if p.json {
				return json.NewEncoder(p.out).Encode(map[string]any{"plugin": a.Ref().String(), "digest": a.Digest, "file": out, "size": a.Size()})
			}
			fmt.Fprintf(p.out, "%s: %s, %s\n%s\n", a.Ref(), out, size(a.Size()), a.Digest)
			return nil
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "path of the bundle (default PUBLISHER-NAME-VERSION.leat)")
	return cmd
}

// registryFlags are those of every verb that speaks to a registry.
func registryFlags(cmd *cobra.Command) *oci.Registry {
	r := &oci.Registry{}
	cmd.Flags().DurationVar(&r.Timeout, "timeout", oci.DefaultTimeout, "how long the registry may take")
	cmd.Flags().BoolVar(&r.PlainHTTP, "plain-http", false, "speak to registries without TLS; those on this machine always are")
	return r
}

// artifact reads a bundle from its file, a registry, or the store of installed
// ones by sha256:...
func (p *program) artifact(cmd *cobra.Command, what string, r oci.Registry) (*oci.Artifact, error) {
	if install.IsFile(what) {
		a, err := oci.ReadFile(what)
		return a, asPluginError(what, err)
	}
	if _, err := os.Stat(what); err == nil || bundle.IsRef(what) && !isAddress(what) {
		return nil, errUsage{fmt.Errorf("%s is neither the file of a bundle nor an address in a registry, host/repository:version; leat plugin pack makes a bundle of a folder", what)}
	}
	at, err := oci.ParseAddress(what)
	if err != nil {
		return nil, errUsage{err}
	}
	a, err := r.Pull(cmd.Context(), at)
	return a, asPluginError(what, err)
}

// isAddress says whether publisher/name could be host/repository: a host has a
// dot or a port.
func isAddress(what string) bool {
	_, err := bundle.ParseRef(what)
	return err != nil
}

func asPluginError(what string, err error) error {
	if err == nil {
		return nil
	}
	return &engine.PluginError{Plugin: what, Err: err}
}
