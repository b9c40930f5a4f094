package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/plugins/capsule"
)

func (p *program) failedCapsuleCommand() *cobra.Command {
	var path string
	var mask bool
	cmd := &cobra.Command{
		Use:   "capsule FILE EVENT",
		Short: "Save the plugin call that refused a row, to make it again elsewhere",
		Long: `Capsule writes the call of the transform that refused the row of a failed event to
one file: the row as the plugin got it, its digest and settings, and what came of
it. Columns that the plugin did not declare are left out, and settings that come
from outside the pipeline file. leat plugin test capsule makes the call again.`,
		Args: exactly(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := p.makeCapsule(cmd.Context(), args[0], args[1], mask)
			if err != nil {
				return err
			}
			if path == "" {
				path = c.Plugin + "-" + c.Version + ".capsule"
			}
			if err := c.Write(path); err != nil {
				return err
			}
			if p.json {
				return json.NewEncoder(p.out).Encode(map[string]any{"capsule": path, "plugin": c.Plugin, "version": c.Version, "digest": c.Digest, "masked": c.Masked, "outcome": c.Outcome})
			}
			fmt.Fprintf(p.out, "%s: %s %s, %s\n", path, c.Plugin, c.Version, c.Outcome)
			if !c.Outcome.Failed() {
				fmt.Fprintln(p.out, "with masked values the plugin does not fail: without --mask the capsule has the values")
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&path, "output", "o", "", "the file (default PLUGIN-VERSION.capsule)")
	cmd.Flags().BoolVar(&mask, "mask", false, "replace letters by x, digits by 9, numbers and times by zero")
	return cmd
}

// makeCapsule asks the running engine, or opens the pipeline for it.
func (p *program) makeCapsule(ctx context.Context, file, event string, mask bool) (c *capsule.Capsule, err error) {
	s, client, err := p.locate(file)
	if err != nil {
		return nil, err
	}
	if client != nil {
		return client.Capsule(ctx, event, mask)
	}
	err = p.withPipeline(ctx, s, func(pipeline *engine.Pipeline) error {
		c, err = pipeline.Capsule(ctx, event, mask)
		return err
	})
	return c, err
}
