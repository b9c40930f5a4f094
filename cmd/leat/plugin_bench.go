package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/wasm"
	"github.com/leat-etl/leat/plugins/workbench"
)

func (p *program) pluginBenchCommand() *cobra.Command {
	var o authorOptions
	var b workbench.BenchOptions
	cmd := &cobra.Command{
		Use:   "bench [FOLDER]",
		Short: "Measure what a plugin costs",
		Long: `Bench compiles the plugin in a folder and measures it with the table, the settings
and the values of its first case that has an input. Beside a transform, in the same
run and in turns, runs a plugin that takes the same columns and does nothing: what
that one costs is the way into the sandbox and back. Beside a destination, which gets
a DuckDB file of its own and the rows again and again, each time in the place of those
before, stands the host's bare ingest of the same rows into a new table. What a
destination on another database costs, its server decides: leat run shows it.

Fuel is about one unit an instruction, and the same on every machine: compare it
from one version to the next. Rates compare within one run only.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := folderOf(args)
			return p.again(cmd.Context(), dir, o, func(ctx context.Context, h *wasm.Host, plugin *bundle.Bundle) error {
				if plugin.Manifest.Kind == bundle.Destination {
					d, err := workbench.BenchDestination(ctx, h, plugin, dir, b)
					if err != nil {
						return asPluginError(dir, err)
					}
					return p.printDelivery(d)
				}
				m, err := workbench.Bench(ctx, h, plugin, dir, b)
				if err != nil {
					return asPluginError(dir, err)
				}
				return p.printMeasurement(m)
			})
		},
	}
	o.flags(cmd)
	cmd.Flags().IntVar(&b.Rows, "rows", 8192, "rows of a batch")
	cmd.Flags().DurationVar(&b.For, "for", 3*time.Second, "how long to measure, about")
	cmd.Flags().IntVar(&b.Limit, "parallel", 0, "instances of the parallel series of a transform; 0 is one for each core")
	return cmd
}

func (p *program) printDelivery(d *workbench.Delivery) error {
	if p.json {
		return json.NewEncoder(p.out).Encode(d)
	}
	fmt.Fprintf(p.out, "%s, as in %q, deliveries of %d rows\n", d.Plugin, d.Case, d.Rows)
	out := newTable(p.out)
	out.row("rows a second, committed", fmt.Sprintf("%.0f", d.RowsASecond))
	out.row("the host's bare ingest", fmt.Sprintf("%.0f", d.BareASecond), fmt.Sprintf("the plugin takes %.1f times as long", d.BareASecond/d.RowsASecond))
	out.row("fuel a row", fmt.Sprintf("%.1f", d.FuelARow))
	out.row("host calls a delivery", fmt.Sprintf("%.0f", d.HostCalls))
	out.row("memory of the instance", size(int64(d.MemoryBytes)))
	return out.end()
}

func (p *program) printMeasurement(m *workbench.Measurement) error {
	if p.json {
		return json.NewEncoder(p.out).Encode(m)
	}
	fmt.Fprintf(p.out, "%s, as in %q, batches of %d rows\n", m.Plugin, m.Case, m.Rows)
	if m.Native {
		fmt.Fprintln(p.out, "the plan needs no data: the host carries it out, and the plugin is not called")
	}
	out := newTable(p.out)
	out.row("rows a second", fmt.Sprintf("%.0f", m.RowsASecond))
	out.row("a plugin that does nothing", fmt.Sprintf("%.0f", m.NoopASecond), fmt.Sprintf("the plugin takes %.1f times as long", m.NoopASecond/m.RowsASecond))
	out.row(fmt.Sprintf("%d in parallel", m.Parallel), fmt.Sprintf("%.0f", m.ParallelRate), fmt.Sprintf("%.2f times one", m.ParallelRate/m.RowsASecond))
	out.row("fuel a row", fmt.Sprintf("%.1f", m.FuelARow))
	out.row("bytes copied a row", fmt.Sprintf("%.1f in, %.1f out", m.BytesIn, m.BytesOut))
	out.row("memory of an instance", size(int64(m.MemoryBytes)))
	return out.end()
}
