package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/bundle/lock"
)

func (p *program) pluginRemoveCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "remove PUBLISHER/NAME[@VERSION]...",
		Short: "Take plugins out of leat.lock",
		Long: `Remove unpins plugins: the named version, or all that leat.lock pins of one. Nothing
is removed where a pipeline file of the folder names one of them. The bundles stay on
this machine, where pipelines of other folders may need them.`,
		Args: atLeast(1),
		RunE: func(_ *cobra.Command, args []string) error {
			pins, err := lock.Load(dir)
			if err != nil {
				return err
			}
			removed := []lock.Entry{} // a list in JSON, too
			for _, arg := range args {
				ref, err := bundle.ParseRef(arg)
				if err != nil {
					return errUsage{err}
				}
				found := false
				for _, e := range pins.Versions(ref.ID()) {
					if ref.Version != "" && e.Ref().Version != ref.Version {
						continue
					}
					if file := p.namesPlugin(dir, e.Ref()); file != "" {
						return asPluginError(arg, &engine.RequestError{Reason: fmt.Sprintf("%s names %s", file, e.Plugin), Hint: "take it out of the pipeline file first"})
					}
					pins.Remove(e.Ref())
					removed, found = append(removed, e), true
				}
				if !found {
					return asPluginError(arg, fmt.Errorf("%s does not pin %s", pins.Path(), arg))
				}
			}
			if err := pins.Save(); err != nil {
				return err
			}
			if p.json {
				return json.NewEncoder(p.out).Encode(removed)
			}
			for _, one := range removed {
				fmt.Fprintf(p.out, "%s is pinned no longer\n", one.Plugin)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "dir", ".", "folder of the pipeline files and leat.lock")
	return cmd
}

// namesPlugin returns the pipeline file of a folder that needs a pin, empty if
// none does. One that cannot be read may, if the name is in it.
func (p *program) namesPlugin(dir string, ref bundle.Ref) string {
	files, _ := filepath.Glob(filepath.Join(dir, "*.toml")) // the pattern is well formed
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(text, []byte(ref.ID())) {
			continue
		}
		s, err := p.load(file)
		if err != nil {
			return file
		}
		for _, name := range namedPlugins(s) {
			if named, err := bundle.ParseRef(name); err == nil && named.ID() == ref.ID() && (named.Version == "" || named.Version == ref.Version) {
				return file
			}
		}
	}
	return ""
}
