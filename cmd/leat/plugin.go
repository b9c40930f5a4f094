package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/plugins/bundle"
)

func (p *program) pluginCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "plugin", Short: "WebAssembly plugins"}
	cmd.AddCommand(&cobra.Command{
		Use:   "list",
		Short: "List the bundled plugins",
		Args:  exactly(0),
		RunE: func(*cobra.Command, []string) error {
			bundles, err := bundle.Bundled()
			if err != nil {
				return err
			}
			if p.json {
				manifests := make([]bundle.Manifest, len(bundles))
				for i, b := range bundles {
					manifests[i] = b.Manifest
				}
				return json.NewEncoder(p.out).Encode(manifests)
			}
			out := newTable(p.out)
			out.head("name", "version", "kind", "description")
			for _, b := range bundles {
				fmt.Fprintf(out.w, "%s\t%s\t%s\t%s\n", b.Manifest.Name, b.Manifest.Version, b.Manifest.Kind, b.Manifest.Description)
			}
			return out.end()
		},
	}, &cobra.Command{
		Use:   "info PLUGIN",
		Short: "Show a plugin: what it does, may do and can be told",
		Args:  exactly(1),
		RunE: func(_ *cobra.Command, args []string) error {
			b, err := bundle.Resolve(args[0], ".")
			if err != nil {
				return &engine.PluginError{Plugin: args[0], Err: err}
			}
			if p.json {
				return json.NewEncoder(p.out).Encode(map[string]any{"manifest": b.Manifest, "digest": b.Digest, "config_schema": b.Manifest.ConfigSchema})
			}
			m := b.Manifest
			limits := m.Limits.Or(bundle.DefaultLimits)
			fmt.Fprintf(p.out, "%s %s, %s\n%s\n\nlicence       %s\ndigest        %s\nsize          %s\nABI           %d\ncapabilities  %v\nlimits        memory %s, fuel %d, deadline %s\n\nsettings (JSON Schema)\n%s\n",
				m.Name, m.Version, m.Kind, m.Description, m.Licence, b.Digest, size(int64(len(b.Module))), m.ABI, m.Capabilities,
				size(int64(limits.Memory)), limits.Fuel, limits.Deadline, m.ConfigSchema)
			return nil
		},
	}, p.pluginBuildCommand())
	return cmd
}

func (p *program) pluginBuildCommand() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "build [FOLDER]",
		Short: "Compile a Go plugin to WebAssembly",
		Long: `Build compiles the Go program in a folder to a module named after the folder,
and checks that the plugin.toml beside it is valid. It needs Go.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "."
			if len(args) == 1 {
				dir = args[0]
			}
			dir, err := filepath.Abs(dir)
			if err != nil {
				return err
			}
			if out == "" {
				out = filepath.Join(dir, filepath.Base(dir)+".wasm")
			}
			if out, err = filepath.Abs(out); err != nil {
				return err
			}
			build := exec.CommandContext(cmd.Context(), "go", "build", "-trimpath", "-buildmode=c-shared", "-ldflags", "-s -w", "-o", out, ".")
			build.Dir = dir
			build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
			build.Stdout, build.Stderr = p.err, p.err
			if err := build.Run(); err != nil {
				return fmt.Errorf("compile %s: %w", dir, err)
			}
			b, err := bundle.Resolve(out, ".")
			if err != nil {
				return err
			}
			fmt.Fprintf(p.out, "%s %s: %s, %s\n", b.Manifest.Name, b.Manifest.Version, out, size(int64(len(b.Module))))
			return nil
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "path of the module (default FOLDER/NAME.wasm)")
	return cmd
}
