package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/leat-etl/leat/plugins/bundle/oci"
)

func (p *program) pluginPushCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "push FILE HOST/REPOSITORY",
		Short: "Store a bundle in a registry",
		Long: `Push stores the file of a bundle with its signatures in an OCI registry, tagged
with its version. A version that is there already is not replaced. Credentials
are those of docker login, podman login or oras login.`,
		Args: exactly(2),
	}
	registry := registryFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		a, err := oci.ReadFile(args[0])
		if err != nil {
			return asPluginError(args[0], err)
		}
		to, err := oci.ParseAddress(args[1])
		if err != nil {
			return errUsage{err}
		}
		if to, err = registry.Push(cmd.Context(), a, to); err != nil {
			return err
		}
		if len(a.Signatures) == 0 {
			fmt.Fprintf(p.err, "warning: the bundle is not signed, and most users will not run it: leat plugin sign %s --key KEY\n", to)
		}
		if p.json {
			return json.NewEncoder(p.out).Encode(map[string]any{"plugin": a.Ref().String(), "digest": a.Digest, "address": to.String(), "signatures": len(a.Signatures)})
		}
		fmt.Fprintf(p.out, "%s is at %s\n%s, %s\n", a.Ref(), to, a.Digest, counted(len(a.Signatures), "signature"))
		return nil
	}
	return cmd
}

func (p *program) pluginPullCommand() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "pull HOST/REPOSITORY:VERSION",
		Short: "Fetch a bundle from a registry into a file",
		Long: `Pull fetches a bundle with its signatures from an OCI registry and writes it to a
file, which can be carried to a machine without a network and installed there.
The bundle is checked; its signatures are not judged before it is installed.`,
		Args: exactly(1),
	}
	registry := registryFlags(cmd)
	cmd.Flags().StringVarP(&out, "output", "o", "", "path of the bundle (default PUBLISHER-NAME-VERSION.leat)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		at, err := oci.ParseAddress(args[0])
		if err != nil {
			return errUsage{err}
		}
		a, err := registry.Pull(cmd.Context(), at)
		if err != nil {
			return asPluginError(args[0], err)
		}
		if out == "" {
			out = a.FileName()
		}
		if err := a.WriteFile(out); err != nil {
			return err
		}
		if p.json {
			return json.NewEncoder(p.out).Encode(map[string]any{"plugin": a.Ref().String(), "digest": a.Digest, "file": out, "signatures": len(a.Signatures)})
		}
		fmt.Fprintf(p.out, "%s: %s, %s\n%s, %s\n", a.Ref(), out, size(a.Size()), a.Digest, counted(len(a.Signatures), "signature"))
		return nil
	}
	return cmd
}
