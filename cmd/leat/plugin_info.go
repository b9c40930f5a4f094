package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/bundle/install"
	"github.com/leat-etl/leat/plugins/bundle/lock"
	"github.com/leat-etl/leat/plugins/bundle/oci"
	"github.com/leat-etl/leat/plugins/bundle/sign"
)

func (p *program) pluginInfoCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "info PLUGIN",
		Short: "Show a plugin: what it does, may do and can be told",
		Long: `Info shows a bundled plugin by its name, one of a folder by its path, one that
leat.lock pins by publisher/name, or a bundle by its file or its address in a
registry, host/repository:version.`,
		Args: exactly(1),
	}
	registry := registryFlags(cmd)
	cmd.Flags().StringVar(&dir, "dir", ".", "folder of the pipeline files and leat.lock")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		what, err := pathOrName(args[0], dir)
		if err != nil {
			return err
		}
		b, a, err := p.lookUp(cmd, what, dir, *registry)
		if err != nil {
			return &engine.PluginError{Plugin: args[0], Err: err}
		}
		signers := []string{}
		var files []string
		if a != nil {
			files = slices.Sorted(maps.Keys(a.Files))
			for _, text := range a.Signatures {
				if s, err := sign.Parse(text); err == nil {
					signers = append(signers, s.KeyID)
				}
			}
		}
		if p.json {
			out := map[string]any{"manifest": b.Manifest, "digest": b.Digest, "config_schema": b.Manifest.ConfigSchema}
			if a != nil {
				out["bundle"], out["files"], out["keys"] = a.Digest, files, signers
			}
			return json.NewEncoder(p.out).Encode(out)
		}
		p.printPlugin(b)
		if a != nil {
			fmt.Fprintf(p.out, "\nbundle        %s, %s\nfiles         %v\n", a.Digest, size(a.Size()), files)
			for _, s := range signers {
				fmt.Fprintf(p.out, "signed with   %s (as it says; leat plugin verify looks)\n", s)
			}
		}
		return nil
	}
	return cmd
}

// lookUp finds a plugin to show; the artifact is nil for one without a bundle.
func (p *program) lookUp(cmd *cobra.Command, what, dir string, r oci.Registry) (*bundle.Bundle, *oci.Artifact, error) {
	if ref, err := bundle.ParseRef(what); err == nil {
		pins, err := lock.Load(dir)
		if err != nil {
			return nil, nil, err
		}
		pin, err := pins.Find(ref)
		if err != nil {
			return nil, nil, err
		}
		store, err := install.DefaultStore()
		if err != nil {
			return nil, nil, err
		}
		a, err := store.Get(pin.Digest)
		if err != nil {
			return nil, nil, err
		}
		return a.Bundle, a, nil
	}
	if strings.HasSuffix(what, ".leat") || bundle.IsRef(what) {
		a, err := p.artifact(cmd, what, r)
		if err != nil {
			return nil, nil, err
		}
		return a.Bundle, a, nil
	}
	b, err := bundle.Resolve(what, ".")
	return b, nil, err
}

func (p *program) printPlugin(b *bundle.Bundle) {
	m := b.Manifest
	limits := m.Limits.Or(bundle.DefaultLimits)
	fmt.Fprintf(p.out, "%s %s, %s\n%s\n\nlicence       %s\ndigest        %s\nsize          %s\nABI           %d\nlimits        memory %s, fuel %d, deadline %s\n",
		m.Ref().ID(), m.Version, m.Kind, m.Description, m.Licence, b.Digest, size(int64(len(b.Module))), m.ABI, size(int64(limits.Memory)), limits.Fuel, limits.Deadline)
	fmt.Fprintf(p.out, "capabilities  %s\n", bundle.Words(m.Capabilities))
	for _, c := range m.Capabilities {
		fmt.Fprintf(p.out, "              %s: it can %s\n", c, bundle.Explain(c))
	}
	fmt.Fprintf(p.out, "\nsettings (JSON Schema)\n%s\n", m.ConfigSchema)
}
