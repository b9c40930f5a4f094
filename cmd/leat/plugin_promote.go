package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/engine/spec"
)

func (p *program) pluginPromoteCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "promote FILE [TRANSFORM]",
		Short: "Put the candidate of a transform into its place",
		Long: `A transform with shadow = "..." runs that candidate beside the live plugin; leat
status says what differs. Promote loads the candidate, writes it into the pipeline
file in the place of the plugin and, where the pipeline runs, switches between two
deliveries. TRANSFORM is the place of the transform, from 1, if several have a
candidate.`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error { return p.promote(cmd.Context(), args) },
	}
}

func (p *program) promote(ctx context.Context, args []string) error {
	s, client, err := p.locate(args[0])
	if err != nil {
		return err
	}
	at, err := candidateOf(s, args[1:])
	if err != nil {
		return err
	}
	text, err := os.ReadFile(s.Path)
	if err != nil {
		return err
	}
	if text, err = spec.PromoteShadow(s.Path, text, at); err != nil {
		return err
	}
	after, err := spec.Parse(s.Path, text)
	if err == nil {
		err = engine.LoadPlugins(ctx, after)
	}
	if err != nil {
		return fmt.Errorf("%s stays as it is, the next run would not start: %w", s.Path, err)
	}
	if err := spec.Rewrite(s.Path, text); err != nil {
		return err
	}
	promoted := engine.ShadowPlugin{Plugin: s.Transforms[at].Shadow}
	if client != nil {
		if promoted, err = client.Promote(ctx, at); err != nil {
			return fmt.Errorf("%s has been changed, but the running pipeline has not switched: stop it and run it again: %w", s.Path, err)
		}
	}
	if p.json {
		return json.NewEncoder(p.out).Encode(map[string]any{"transform": at + 1, "plugin": promoted.Plugin, "digest": promoted.Digest, "running": client != nil})
	}
	fmt.Fprintf(p.out, "transform %d is %s now; %s says so, too\n", at+1, promoted.Plugin, s.Path)
	return nil
}

// candidateOf returns the place, from 0, of the transform that is meant.
func candidateOf(s *spec.Spec, args []string) (int, error) {
	var with []string
	for i, t := range s.Transforms {
		if t.Shadow != "" {
			with = append(with, strconv.Itoa(i+1))
		}
	}
	switch {
	case len(with) == 0:
		return 0, fmt.Errorf("no transform of %s has a candidate: set shadow = \"publisher/name@version\" in its section, run the pipeline and look at leat status", s.Path)
	case len(args) == 0 && len(with) > 1:
		return 0, errUsage{fmt.Errorf("transforms %s of %s have candidates: name one", strings.Join(with, ", "), s.Path)}
	case len(args) == 0:
		args = with
	case !slices.Contains(with, args[0]):
		return 0, errUsage{fmt.Errorf("transform %s of %s has no candidate, %s has", args[0], s.Path, strings.Join(with, ", "))}
	}
	at, err := strconv.Atoi(args[0])
	return at - 1, err
}

// printShadows says what candidates make otherwise than the live plugins.
func printShadows(out io.Writer, reports []engine.ShadowReport) {
	for _, r := range reports {
		fmt.Fprintf(out, "\ncandidate %s beside %s (%s): %s of %s compared\n", r.Candidate.Plugin, r.Live.Plugin, r.Transform, counted(r.Rows, "row"), counted(r.Batches, "batch"))
		fmt.Fprintf(out, "  time %.3f s, live %.3f s; fuel %d, live %d\n", r.Candidate.Seconds, r.Live.Seconds, r.Candidate.Fuel, r.Live.Fuel)
		if r.Clean() {
			fmt.Fprintln(out, "  no difference")
			continue
		}
		for _, line := range r.Shapes {
			fmt.Fprintf(out, "  %s\n", line)
		}
		if r.Stopped {
			fmt.Fprintln(out, "  stopped: it met its limits too often, and the live plugin waited for it; the next start tries it again")
		}
		counts := []struct {
			n         int64
			one, what string
		}{
			{r.Differing, "row", "with other values"}, {r.OnlyLive, "row", "only of the live plugin"}, {r.OnlyCandidate, "row", "only of the candidate"},
			{r.FailedLive, "row", "refused only by the live plugin"}, {r.FailedCandidate, "row", "refused only by the candidate"},
			{r.Errors, "batch", "on which the candidate failed: " + r.LastError},
		}
		for _, c := range counts {
			if c.n > 0 {
				fmt.Fprintf(out, "  %s %s\n", counted(c.n, c.one), c.what)
			}
		}
		for _, column := range slices.Sorted(maps.Keys(r.Columns)) {
			fmt.Fprintf(out, "  column %s: %s\n", column, counted(r.Columns[column], "row"))
		}
		for _, e := range r.Examples {
			fmt.Fprintf(out, "  for example %s at %s: %s%s\n", e.Table, e.Position, strings.Join(e.Columns, ", "), e.Reason)
		}
	}
}
