package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/workbench/compile"
)

func (p *program) pluginBuildCommand() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "build [FOLDER]",
		Short: "Compile a plugin to WebAssembly",
		Long: `Build compiles the plugin in a folder, in Go, Rust, C or TypeScript, to a module
named after the folder, and checks that the plugin.toml beside it is valid. It
needs the compiler of the language: go; cargo with the target
wasm32-unknown-unknown; clang and lld; or AssemblyScript (npm install).`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, path, err := p.buildPlugin(cmd.Context(), folderOf(args), out)
			if err != nil {
				return err
			}
			if p.json {
				return json.NewEncoder(p.out).Encode(map[string]any{"plugin": b.Manifest.Ref().String(), "module": path, "size": len(b.Module), "digest": b.Digest})
			}
			fmt.Fprintf(p.out, "%s %s: %s, %s\n", b.Manifest.Name, b.Manifest.Version, path, size(int64(len(b.Module))))
			return nil
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "path of the module (default FOLDER/NAME.wasm)")
	return cmd
}

// buildPlugin compiles a folder and opens what came of it. out is the module's
// path, the usual one where empty.
func (p *program) buildPlugin(ctx context.Context, dir, out string) (*bundle.Bundle, string, error) {
	if out == "" {
		path, err := compile.Module(dir)
		if err != nil {
			return nil, "", err
		}
		out = path
	}
	out, err := filepath.Abs(out)
	if err != nil {
		return nil, "", err
	}
	if _, err := compile.Build(ctx, dir, out, p.err); err != nil {
		return nil, "", &engine.PluginError{Plugin: dir, Err: err}
	}
	b, err := bundle.Resolve(out, ".")
	return b, out, asPluginError(dir, err)
}
