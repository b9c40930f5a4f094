package main

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/leat-etl/leat/plugins/bundle/oci"
	"github.com/leat-etl/leat/plugins/bundle/sign"
	"github.com/leat-etl/leat/plugins/bundle/trust"
)

func (p *program) pluginVerifyCommand() *cobra.Command {
	var key, store string
	cmd := &cobra.Command{
		Use:   "verify BUNDLE",
		Short: "Check a bundle and its signatures",
		Long: `Verify checks everything about a bundle that install would check, and judges its
signatures by the trust store, or with --key by that public key alone. Nothing
but the registry that holds the bundle is asked.`,
		Args: exactly(1),
	}
	registry := registryFlags(cmd)
	cmd.Flags().StringVar(&key, "key", "", "public key to verify with instead of the trust store")
	cmd.Flags().StringVar(&store, "trust", "", "trust store (default the user's own)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		a, err := p.artifact(cmd, args[0], *registry)
		if err != nil {
			return err
		}
		keys, err := p.verifyingKeys(key, store, a)
		if err != nil {
			return err
		}
		v, err := keys.Check(trust.Subject{
			What: "plugin " + a.Ref().String(), Publisher: a.Ref().Publisher, Digest: string(a.Digest), Signatures: a.Signatures,
		}, time.Now())
		if err != nil {
			return asPluginError(args[0], err)
		}
		if p.json {
			return json.NewEncoder(p.out).Encode(map[string]any{"plugin": a.Ref().String(), "digest": a.Digest, "key": v.KeyID, "warning": v.Warning, "signatures": len(a.Signatures)})
		}
		fmt.Fprintf(p.out, "%s, %s\n", a.Ref(), a.Digest)
		switch {
		case v.Warning != "":
			fmt.Fprintf(p.out, "warning: %s\n", v.Warning)
		case v.KeyID == "":
			fmt.Fprintf(p.out, "no signature was looked at: the mode of %s is off\n", keys.Path)
		default:
			fmt.Fprintf(p.out, "signed with the key %s\n", v.KeyID)
		}
		return nil
	}
	return cmd
}

// verifyingKeys is the trust store, or one with a single key in it.
func (p *program) verifyingKeys(key, store string, a *oci.Artifact) (*trust.Store, error) {
	if key == "" {
		return trust.Load(store)
	}
	text, err := keyText(key)
	if err != nil {
		return nil, err
	}
	public, err := sign.ParsePublicKey(text)
	if err != nil {
		return nil, fmt.Errorf("read key %s: %w", key, err)
	}
	keys := &trust.Store{Mode: trust.Require, Path: key}
	return keys, keys.Add(a.Ref().Publisher, trust.Key{}, public)
}
