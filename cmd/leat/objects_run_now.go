package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/leat-etl/leat/engine"
)

// objectsRunNowCommand starts a run that the schedule has for later.
func (p *program) objectsRunNowCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "run-now FILE [TABLE...]",
		Short: "Read the source now instead of at the next scheduled time",
		Long: `Run-now starts a run of a pipeline with a frequency: over the tables named as
schema.table, or over all. A running engine is told and goes on by itself, after
the run that it may be in; without one the run takes place here.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := cobra.MinimumNArgs(1)(cmd, args); err != nil {
				return errUsage{err}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			s, client, err := p.locate(args[0])
			if err != nil {
				return err
			}
			if client == nil {
				return p.withPipeline(cmd.Context(), s, func(pipeline *engine.Pipeline) error {
					return pipeline.Run(cmd.Context(), engine.RunOptions{UntilCaughtUp: true, Tables: args[1:]})
				})
			}
			if err := client.RunNow(cmd.Context(), args[1:]); err != nil {
				return err
			}
			if !p.json {
				fmt.Fprintln(p.out, "the run starts; leat status shows it")
			}
			return nil
		},
	}
}
