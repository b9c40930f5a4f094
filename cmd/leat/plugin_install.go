package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/leat-etl/leat/engine/spec"
	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/bundle/catalogue"
	"github.com/leat-etl/leat/plugins/bundle/install"
	"github.com/leat-etl/leat/plugins/bundle/lock"
	"github.com/leat-etl/leat/plugins/bundle/oci"
	"github.com/leat-etl/leat/plugins/bundle/trust"
)

// installFlags are those of install and update.
type installFlags struct {
	dir, trust string
	grant      []string
	registry   *oci.Registry
}

func newInstallFlags(cmd *cobra.Command) *installFlags {
	f := &installFlags{registry: registryFlags(cmd)}
	cmd.Flags().StringVar(&f.dir, "dir", ".", "folder of the pipeline files and leat.lock")
	cmd.Flags().StringVar(&f.trust, "trust", "", "trust store (default the user's own)")
	cmd.Flags().StringSliceVar(&f.grant, "grant", nil, "capabilities to grant without being asked, for example http,kv")
	return f
}

func (p *program) pluginInstallCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "install [PLUGIN...]",
		Short: "Install plugins for the pipelines of a folder",
		Long: `Install checks plugins and their signatures, asks for the capabilities that they
want, stores them on this machine and pins them in leat.lock. A PLUGIN is

  publisher/name@version         from a catalogue; the newest without @version
  host/repository:version        from a registry
  FILE.leat                      from the file of a bundle, without any network
  shop.toml                      all plugins that a pipeline file names

Without any, everything that leat.lock pins is installed, by digest: on a
colleague's machine, or on a server. Keep leat.lock with the pipeline files.`,
	}
	f := newInstallFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		in, err := p.installer(f)
		if err != nil {
			return err
		}
		var done []install.Result
		if len(args) == 0 {
			if done, err = in.Restore(cmd.Context()); err != nil {
				return asPluginError(f.dir, err)
			}
		}
		for _, what := range args {
			results, err := p.install(cmd, f, in, what)
			if err != nil {
				return asPluginError(what, err)
			}
			done = append(done, results...)
		}
		return p.printInstalled(done, "nothing is pinned in "+filepath.Join(f.dir, lock.Name))
	}
	return cmd
}

// install installs what one argument names.
func (p *program) install(cmd *cobra.Command, f *installFlags, in *install.Installer, what string) ([]install.Result, error) {
	if filepath.Ext(what) != ".toml" {
		r, err := in.Install(cmd.Context(), what)
		return []install.Result{r}, err
	}
	s, err := p.load(what)
	if err != nil {
		return nil, err
	}
	own := *f
	own.dir = s.Dir
	if own.trust == "" {
		own.trust = s.Plugins.Trust
	}
	if in, err = p.installer(&own); err != nil {
		return nil, err
	}
	var done []install.Result
	for _, ref := range namedPlugins(s) {
		r, err := in.Install(cmd.Context(), ref)
		if err != nil {
			return done, err
		}
		done = append(done, r)
	}
	return done, nil
}

// namedPlugins are the plugins of publishers in a pipeline file. One without a
// version that is pinned already stays at its pin.
func namedPlugins(s *spec.Spec) []string {
	pins, err := lock.Load(s.Dir)
	var refs []string
	for _, name := range append([]string{s.Destination.Plugin}, transformNames(s)...) {
		ref, refErr := bundle.ParseRef(name)
		if refErr != nil {
			continue
		}
		if err == nil {
			if pin, findErr := pins.Find(ref); findErr == nil {
				ref = pin.Ref()
			}
		}
		if !slices.Contains(refs, ref.String()) {
			refs = append(refs, ref.String())
		}
	}
	return refs
}

func transformNames(s *spec.Spec) []string {
	names := make([]string, len(s.Transforms))
	for i, t := range s.Transforms {
		names[i] = t.Plugin
	}
	return names
}

// installer makes the installer of a folder.
func (p *program) installer(f *installFlags) (*install.Installer, error) {
	store, err := install.DefaultStore()
	if err != nil {
		return nil, err
	}
	keys, err := trust.Load(f.trust)
	if err != nil {
		return nil, err
	}
	sources, err := catalogue.LoadSources()
	if err != nil {
		return nil, err
	}
	return &install.Installer{
		Dir: f.dir, Store: store, Trust: keys, Registry: *f.registry, Catalogues: sources.Catalogues,
		Reader: p.catalogueReader(keys, *f.registry), Warn: p.warn,
		Grant: func(q install.Question) error { return p.grant(q, f.grant) },
	}, nil
}

func (p *program) warn(sentence string) { fmt.Fprintf(p.err, "warning: %s\n", sentence) }

// catalogueReader reads catalogues and keeps their copies in the user's cache.
func (p *program) catalogueReader(keys *trust.Store, r oci.Registry) *catalogue.Reader {
	dir, err := os.UserCacheDir()
	if err == nil {
		dir = filepath.Join(dir, "leat", "catalogues")
	}
	return &catalogue.Reader{Registry: r, Trust: keys, CacheDir: dir, Warn: p.warn}
}

// grant asks for the capabilities of a plugin, unless --grant has them all.
func (p *program) grant(q install.Question, granted []string) error {
	missing := slices.DeleteFunc(slices.Clone(q.New), func(c string) bool { return slices.Contains(granted, c) })
	if len(missing) == 0 {
		return nil
	}
	fmt.Fprint(p.err, describeGrant(q))
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return fmt.Errorf("plugin %s asks for %s, which nobody has granted: --grant %s grants it", q.Plugin, strings.Join(missing, ", "), strings.Join(q.New, ","))
	}
	fmt.Fprint(p.err, "grant it? [y/N] ")
	answer, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		return errors.New("not installed: the capabilities were not granted")
	}
	return nil
}

// describeGrant says what a plugin asks for, against what it had.
func describeGrant(q install.Question) string {
	var b strings.Builder
	if q.BeforeVersion == "" {
		fmt.Fprintf(&b, "%s asks for\n", q.Plugin)
	} else {
		fmt.Fprintf(&b, "%s asks for more than %s was granted\n", q.Plugin, q.BeforeVersion)
	}
	for _, c := range q.Asks {
		mark := "+"
		if slices.Contains(q.Before, c) {
			mark = " "
		}
		fmt.Fprintf(&b, "  %s %-5s it can %s\n", mark, c, bundle.Explain(c))
	}
	for _, c := range q.Before {
		if !slices.Contains(q.Asks, c) {
			fmt.Fprintf(&b, "  - %-5s it can no longer %s\n", c, bundle.Explain(c))
		}
	}
	return b.String()
}

func (p *program) printInstalled(done []install.Result, nothing string) error {
	if p.json {
		if done == nil {
			done = []install.Result{}
		}
		return json.NewEncoder(p.out).Encode(done)
	}
	if len(done) == 0 {
		fmt.Fprintln(p.out, nothing)
		return nil
	}
	for _, r := range done {
		fmt.Fprintf(p.out, "%s is installed\n  bundle %s\n  may use %s\n", r.Plugin, r.Digest, bundle.Words(r.Capabilities))
		for _, limit := range r.Limits {
			fmt.Fprintf(p.out, "  takes %s: limits = {...} on it in the pipeline file bounds it\n", limit)
		}
		if r.Key != "" {
			fmt.Fprintf(p.out, "  signed with the key %s\n", r.Key)
		}
		switch {
		case r.Kept != "":
			fmt.Fprintf(p.out, "  %s names version %s, which stays pinned too: write %s there\n", r.Kept, r.Before, r.Plugin)
		case r.Before != "":
			fmt.Fprintf(p.out, "  in the place of %s\n", r.Before)
		}
	}
	return nil
}

func (p *program) pluginUpdateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "update [PUBLISHER/NAME...]",
		Short: "Bring plugins to their newest versions",
		Long: `Update looks for newer versions of the plugins that leat.lock pins, in the
catalogues, or without any where a plugin came from, and installs them. Versions
that were yanked are passed over. A version that asks for more than was granted
shows the difference and asks; without a terminal --grant answers.`,
	}
	f := newInstallFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		in, err := p.installer(f)
		if err != nil {
			return err
		}
		done, err := in.Update(cmd.Context(), args...)
		if err != nil {
			return asPluginError(strings.Join(args, " "), err)
		}
		return p.printInstalled(done, "every plugin is at its newest version")
	}
	return cmd
}
