package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/workbench/compile"
	"github.com/leat-etl/leat/plugins/workbench/scaffold"
)

func (p *program) pluginNewCommand() *cobra.Command {
	var language, kind string
	cmd := &cobra.Command{
		Use:   "new NAME",
		Short: "Begin a plugin of your own",
		Long: `New makes the folder NAME with a small plugin that builds and passes its tests:
source, manifest, settings schema, README and cases, and the kit of the language
beside it. Nothing is downloaded.

Then: leat plugin build NAME, leat plugin test NAME.`,
		Args: exactly(1),
		RunE: func(_ *cobra.Command, args []string) error {
			o := scaffold.Options{Dir: args[0], Language: compile.Language(language), Kind: bundle.Kind(kind)}
			if o.Kind != bundle.Transform && o.Kind != bundle.Destination {
				return errUsage{fmt.Errorf("--kind %s: a plugin is a transform or a destination", kind)}
			}
			files, err := scaffold.New(o)
			if err != nil {
				return errUsage{err}
			}
			if p.json {
				return json.NewEncoder(p.out).Encode(map[string]any{"folder": o.Dir, "language": language, "kind": kind, "files": files})
			}
			for _, name := range files {
				fmt.Fprintln(p.out, filepath.Join(o.Dir, name))
			}
			fmt.Fprintf(p.out, "%s\n\nnext: leat plugin test %s\n", filepath.Join(o.Dir, compile.KitFolder)+string(filepath.Separator), o.Dir)
			return nil
		},
	}
	cmd.Flags().StringVar(&language, "lang", "go", "language: go, rust, c or typescript")
	cmd.Flags().StringVar(&kind, "kind", "transform", "transform or destination")
	return cmd
}

func (p *program) pluginKitCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "kit [FOLDER]",
		Short: "Replace the kit beside a plugin by that of this leat",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			dir := folderOf(args)
			language, err := compile.Detect(dir)
			if err != nil {
				return errUsage{err}
			}
			if err := scaffold.WriteKit(dir, language); err != nil {
				return err
			}
			fmt.Fprintf(p.out, "%s holds the kit for %s\n", filepath.Join(dir, compile.KitFolder), language)
			return nil
		},
	}
}

// folderOf is the folder that a verb is given, or else this one.
func folderOf(args []string) string {
	if len(args) == 0 {
		return "."
	}
	return args[0]
}
