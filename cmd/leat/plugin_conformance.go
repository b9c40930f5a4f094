package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/workbench/conformance"
)

func (p *program) pluginConformanceCommand() *cobra.Command {
	var config string
	var kit conformance.Kit
	cmd := &cobra.Command{
		Use:   "conformance DESTINATION",
		Short: "Try a destination plugin with everything a source can do, and with failures",
		Long: `Conformance drives a destination, named as in a pipeline file, through loads,
changes, keys that move, values that were not sent, truncates, schema changes, odd
names and restarts. Then it fails each of its host calls in turn, to the database and
to what it keeps (kv, blob): refused, lost before it ran, lost after it ran, answered
late. After each failure the rows must be exactly those of the checkpoint. It prints a
score for each capability. What the plugin keeps is in memory, and no server is asked
(http).

With --json the report is what a bundle carries: as conformance.json beside the plugin
it is packed with it, and a catalogue shows the score.

The database is that of --config; the tables that are made are dropped again. For a
destination on DuckDB the default is a file of its own. Exit code 5 if a point is lost.`,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.conformance(cmd.Context(), args[0], config, &kit)
		},
	}
	cmd.Flags().StringSliceVar(&kit.Only, "only", nil, "try these capabilities alone: "+strings.Join(conformance.Capabilities(), ", "))
	cmd.Flags().BoolVar(&kit.Quick, "quick", false, "fail every seventh host call instead of each")
	cmd.Flags().StringVar(&config, "config", "{}", "settings of the plugin as JSON")
	return cmd
}

func (p *program) conformance(ctx context.Context, ref, config string, kit *conformance.Kit) (err error) {
	for _, name := range kit.Only {
		if !slices.Contains(conformance.Capabilities(), name) {
			return errUsage{fmt.Errorf("there is no capability %q: there are %s", name, strings.Join(conformance.Capabilities(), ", "))}
		}
	}
	b, err := bundleOf(ref)
	if err != nil {
		return err
	}
	if b.Manifest.Kind != bundle.Destination {
		return errUsage{fmt.Errorf("plugin %s is a %s: leat plugin test tries those", ref, b.Manifest.Kind)}
	}
	dir, err := os.MkdirTemp("", "leat-conformance-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	settings, err := conformanceSettings(b.Manifest, config, filepath.Join(dir, "conformance.duckdb"))
	if err != nil {
		return err
	}
	host, err := p.pluginHost(ctx)
	if err != nil {
		return err
	}
	defer host.Close(context.WithoutCancel(ctx))
	here, err := os.Getwd()
	if err != nil {
		return err
	}
	kit.Host, kit.Bundle, kit.Config, kit.Dir = host, b, settings, here
	if !p.json {
		kit.Progress = func(capability string) { fmt.Fprintf(p.err, "trying %s\n", capability) }
	}
	report, err := kit.Run(ctx)
	if err != nil {
		return err
	}
	return p.printConformance(report)
}

// conformanceSettings checks the settings, and names a DuckDB file where the
// plugin wants one and none is given.
func conformanceSettings(m bundle.Manifest, config, file string) (json.RawMessage, error) {
	var all map[string]any
	if err := json.Unmarshal([]byte(config), &all); err != nil {
		return nil, errUsage{fmt.Errorf("--config is not a JSON object: %w", err)}
	}
	if all["path"] == nil && m.Driver == "duckdb" {
		all["path"] = file
	}
	settings, err := json.Marshal(all)
	if err != nil {
		return nil, err
	}
	if err := bundle.ValidateConfig(m, settings); err != nil {
		return nil, &engine.PluginError{Plugin: m.Name, Err: err}
	}
	return settings, nil
}

func (p *program) printConformance(r *conformance.Report) error {
	if p.json {
		if err := json.NewEncoder(p.out).Encode(r); err != nil {
			return err
		}
	} else {
		out := newTable(p.out)
		out.head("capability", "holds", "of")
		for _, s := range r.Scores {
			out.row(s.Capability, s.Passed, s.Points)
		}
		if err := out.end(); err != nil {
			return err
		}
		for _, s := range r.Scores {
			for _, f := range s.Failures {
				fmt.Fprintf(p.out, "\n%s: %s\n  %s\n", s.Capability, f.Point, f.Detail)
			}
		}
		if len(r.Left) > 0 {
			fmt.Fprintf(p.out, "\nthese tables could not be dropped again: %s\n", strings.Join(r.Left, ", "))
		}
		fmt.Fprintf(p.out, "\n%s: %d of %d points\n", r.Plugin, r.Passed, r.Of)
	}
	if !r.Full() {
		return errReported(exitPlugin)
	}
	return nil
}
