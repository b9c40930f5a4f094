package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"github.com/leat-etl/leat/plugins/bundle/sign"
	"github.com/leat-etl/leat/plugins/bundle/trust"
)

func (p *program) pluginTrustCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "trust",
		Short: "Whose plugins may be installed",
		Long: `Trust shows and edits the trust store: the publishers whose plugins may be
installed and run, and their keys. A plugin runs only if a key of its own
publisher has signed it, unless the mode says otherwise:

  require  refuse everything else (default)
  warn     let it run and say so; what a revoked key has signed is refused
  off      look at no signature

The plugins that are part of leat need no signature.`,
	}
	cmd.PersistentFlags().StringVar(&path, "trust", "", "trust store (default the user's own)")
	edit := func(do func(*trust.Store) error) error {
		s, err := trust.Load(path)
		if errors.Is(err, fs.ErrNotExist) { // one that is named is made
			s, err = &trust.Store{Mode: trust.Require, Path: path}, nil
		}
		if err != nil {
			return err
		}
		if err := do(s); err != nil {
			return err
		}
		return s.Save()
	}
	cmd.AddCommand(p.trustListCommand(&path), p.trustAddCommand(edit), p.trustRevokeCommand(edit), &cobra.Command{
		Use:   "mode require|warn|off",
		Short: "Set what happens to plugins that nobody trusted has signed",
		Args:  exactly(1),
		RunE: func(_ *cobra.Command, args []string) error {
			mode := trust.Mode(args[0])
			if mode != trust.Require && mode != trust.Warn && mode != trust.Off {
				return errUsage{fmt.Errorf("mode %q: want require, warn or off", mode)}
			}
			if err := edit(func(s *trust.Store) error { s.Mode = mode; return nil }); err != nil {
				return err
			}
			fmt.Fprintf(p.out, "mode %s\n", mode)
			return nil
		},
	})
	return cmd
}

func (p *program) trustListCommand(path *string) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the publishers and keys that are trusted",
		Args:  exactly(0),
		RunE: func(*cobra.Command, []string) error {
			s, err := trust.Load(*path)
			if err != nil {
				return err
			}
			type key struct {
				Publisher  string         `json:"publisher"`
				Key        string         `json:"key"`
				Algorithm  sign.Algorithm `json:"algorithm"`
				ValidFrom  trust.Date     `json:"valid_from"`
				ValidUntil trust.Date     `json:"valid_until"`
				Revoked    string         `json:"revoked,omitempty"`
			}
			keys := []key{}
			for _, publisher := range s.Publishers {
				for _, k := range publisher.Keys {
					keys = append(keys, key{publisher.Name, k.Public().ID(), k.Public().Algorithm(), k.ValidFrom, k.ValidUntil, k.Revoked})
				}
			}
			if p.json {
				return json.NewEncoder(p.out).Encode(map[string]any{"path": s.Path, "mode": s.Mode, "keys": keys})
			}
			fmt.Fprintf(p.out, "%s, mode %s\n", s.Path, s.Mode)
			if len(keys) == 0 {
				fmt.Fprintln(p.out, "no publisher is trusted: leat plugin trust add PUBLISHER KEY.pub")
				return nil
			}
			out := newTable(p.out)
			out.head("publisher", "algorithm", "key", "valid from", "valid until", "revoked")
			for _, k := range keys {
				out.row(k.Publisher, k.Algorithm, k.Key, k.ValidFrom, k.ValidUntil, k.Revoked)
			}
			return out.end()
		},
	}
}

func (p *program) trustAddCommand(edit func(func(*trust.Store) error) error) *cobra.Command {
	var from, until string
	cmd := &cobra.Command{
		Use:   "add PUBLISHER KEY.pub",
		Short: "Trust a publisher's key",
		Long: `Add trusts a public key for the plugins of one publisher. Get the key from the
publisher and not from where the plugin lies. A publisher that changes keys has
two for a while: add the new one with --from, and the old one again with --until,
which bounds it.`,
		Args: exactly(2),
		RunE: func(_ *cobra.Command, args []string) error {
			text, err := keyText(args[1])
			if err != nil {
				return err
			}
			public, err := sign.ParsePublicKey(text)
			if err != nil {
				return fmt.Errorf("read key %s: %w", args[1], err)
			}
			var k trust.Key
			for _, d := range []struct {
				text string
				into *trust.Date
			}{{from, &k.ValidFrom}, {until, &k.ValidUntil}} {
				if d.text == "" {
					continue
				}
				if d.into.Time, err = time.Parse(time.DateOnly, d.text); err != nil {
					return errUsage{fmt.Errorf("day %q: want a day such as 2026-12-31", d.text)}
				}
			}
			if err := edit(func(s *trust.Store) error { return s.Add(args[0], k, public) }); err != nil {
				return err
			}
			days := ""
			if from != "" {
				days = " from " + from + " on"
			}
			if until != "" {
				days += " until " + until
			}
			fmt.Fprintf(p.out, "plugins of %s signed with the key %s are trusted%s\n", args[0], public.ID(), days)
			return nil
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "first day on which plugins signed with the key may be installed")
	cmd.Flags().StringVar(&until, "until", "", "last day on which plugins signed with the key may be installed")
	return cmd
}

func (p *program) trustRevokeCommand(edit func(func(*trust.Store) error) error) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "revoke KEY",
		Short: "End all trust in a key",
		Long: `Revoke marks a key, named by its ID or the beginning of it, as not to be trusted
any more, for example because it was stolen. Plugins that it alone has signed
are not installed, and installed ones do not run.`,
		Args: exactly(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if reason == "" {
				reason = "on " + time.Now().UTC().Format(time.DateOnly)
			}
			var k trust.Key
			err := edit(func(s *trust.Store) (err error) {
				k, err = s.Revoke(args[0], reason)
				return err
			})
			if err != nil {
				return err
			}
			fmt.Fprintf(p.out, "the key %s is revoked: %s\n", k.Public().ID(), reason)
			return nil
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for those who read the trust store (default the day)")
	return cmd
}
