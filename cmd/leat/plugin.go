package main

import "github.com/spf13/cobra"

func (p *program) pluginCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plugin",
		Short: "WebAssembly plugins: write, test, sign, share, install",
		Long: `A plugin is bundled with leat (leat plugin list), or a folder of your own, or one
that a publisher shares: signed, found by publisher/name, and pinned by leat.lock
beside the pipeline file.

To write one: new, test, run, bench. To share one: keygen, pack, sign, push. To use
one: trust add, install.`,
	}
	cmd.AddCommand(p.pluginListCommand(), p.pluginInfoCommand(), p.pluginNewCommand(), p.pluginKitCommand(), p.pluginBuildCommand(), p.pluginTestCommand(), p.pluginBenchCommand(), p.pluginRunCommand(), p.pluginPackCommand(), p.pluginKeygenCommand(),
		p.pluginSignCommand(), p.pluginVerifyCommand(), p.pluginPushCommand(), p.pluginPullCommand(), p.pluginTrustCommand(),
		p.pluginInstallCommand(), p.pluginUpdateCommand(), p.pluginRemoveCommand(), p.pluginCatalogueCommand(), p.pluginSearchCommand(), p.pluginYankCommand(), p.pluginPromoteCommand(), p.pluginConformanceCommand())
	return cmd
}
