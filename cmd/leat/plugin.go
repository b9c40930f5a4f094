package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/leat-etl/leat/plugins/bundle"
)

func (p *program) pluginCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plugin",
		Short: "WebAssembly plugins: build, sign, share, install",
		Long: `A plugin is bundled with leat (leat plugin list), or a folder of your own, or one
that a publisher shares: signed, found by publisher/name, and pinned by leat.lock
beside the pipeline file.

To share one: build, keygen, pack, sign, push. To use one: trust add, install.`,
	}
	cmd.AddCommand(p.pluginListCommand(), p.pluginInfoCommand(), p.pluginBuildCommand(), p.pluginPackCommand(), p.pluginKeygenCommand(),
		p.pluginSignCommand(), p.pluginVerifyCommand(), p.pluginPushCommand(), p.pluginPullCommand(), p.pluginTrustCommand(),
		p.pluginInstallCommand(), p.pluginUpdateCommand(), p.pluginCatalogueCommand(), p.pluginSearchCommand(), p.pluginYankCommand(), p.pluginPromoteCommand(), p.pluginCapsuleCommand())
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
