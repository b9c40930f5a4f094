package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/leat-etl/leat/plugins/bundle/install"
	"github.com/leat-etl/leat/plugins/bundle/oci"
	"github.com/leat-etl/leat/plugins/bundle/sign"
)

func (p *program) pluginSignCommand() *cobra.Command {
	var key, passphraseFile string
	cmd := &cobra.Command{
		Use:   "sign BUNDLE --key KEY",
		Short: "Sign a bundle",
		Long: `Sign adds a signature to a bundle: to its file, or to what a registry holds at
host/repository:version. A bundle can have several, one for each key. The
signature is a Sigstore bundle; cosign verifies it with
cosign verify --new-bundle-format --key KEY.pub.

KEY is the file of a private key, or env://VARIABLE.`,
		Args: exactly(1),
	}
	registry := registryFlags(cmd)
	cmd.Flags().StringVar(&key, "key", "", "private key, or env://VARIABLE")
	cmd.Flags().StringVar(&passphraseFile, "passphrase-file", "", "file whose first line is the passphrase of the key")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if key == "" {
			return errUsage{fmt.Errorf("name the private key with --key; leat plugin keygen NAME makes one")}
		}
		a, err := p.artifact(cmd, args[0], *registry)
		if err != nil {
			return err
		}
		k, err := p.privateKey(key, passphraseFile)
		if err != nil {
			return err
		}
		signature, err := sign.Sign(k, string(a.Digest))
		if err != nil {
			return err
		}
		a.Attach(signature)
		if install.IsFile(args[0]) {
			err = a.WriteFile(args[0])
		} else {
			var at oci.Address
			if at, err = oci.ParseAddress(args[0]); err == nil {
				_, err = registry.Push(cmd.Context(), a, oci.Address{Repository: at.Repository})
			}
		}
		if err != nil {
			return err
		}
		if p.json {
			return json.NewEncoder(p.out).Encode(map[string]any{"plugin": a.Ref().String(), "digest": a.Digest, "key": k.Public().ID()})
		}
		fmt.Fprintf(p.out, "%s, %s\nsigned with the key %s\n", a.Ref(), a.Digest, k.Public().ID())
		return nil
	}
	return cmd
}
