package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/engine/server"
	"github.com/leat-etl/leat/engine/spec"
	"github.com/leat-etl/leat/state"
)

func (p *program) failedCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "failed",
		Short: "Rows that could not be processed",
		Long: `A row that a plugin or the destination refuses is kept as a failed event, and
later changes of the same row wait behind it; everything else goes on.` + positionHelp,
	}
	var all bool
	replay := &cobra.Command{
		Use:   "replay FILE [EVENT...]",
		Short: "Process failed events again, with what waits behind them",
		Args:  atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && !all {
				return errUsage{fmt.Errorf("name the events to replay, or --all")}
			}
			return p.settle(cmd.Context(), args, (*engine.Pipeline).Replay, (*server.Client).Replay)
		},
	}
	replay.Flags().BoolVar(&all, "all", false, "replay every failed event")
	cmd.AddCommand(replay, &cobra.Command{
		Use:   "list FILE",
		Short: "List the failed events",
		Args:  exactly(1),
		RunE:  func(cmd *cobra.Command, args []string) error { return p.listFailed(cmd.Context(), args[0]) },
	}, &cobra.Command{
		Use:   "show FILE EVENT",
		Short: "Show a failed event with its row",
		Args:  exactly(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.showFailed(cmd.Context(), args[0], args[1])
		},
	})
	cmd.AddCommand(p.failedSkipCommand(), p.failedCapsuleCommand())
	return cmd
}

func (p *program) failedSkipCommand() *cobra.Command {
	yes := false
	cmd := &cobra.Command{
		Use:   "skip FILE EVENT...",
		Short: "Drop failed events for good and process what waited behind them",
		Long: `Skip gives up what failed events would have brought, and asks before: their rows
stay at the destination as they are, or missing, until they change at the source
or the table is loaded again. Until then leat verify names them. What waited behind
them is processed.`,
		Args: atLeast(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !yes {
				if err := p.agreesToSkip(cmd.Context(), args[0], args[1:]); err != nil {
					return err
				}
			}
			return p.settle(cmd.Context(), args, (*engine.Pipeline).Skip, (*server.Client).Skip)
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

// agreesToSkip asks whether failed events are meant to be given up.
func (p *program) agreesToSkip(ctx context.Context, path string, ids []string) error {
	s, events, err := p.failedEvents(ctx, path)
	if err != nil {
		return err
	}
	tables := map[string]bool{}
	for _, id := range ids {
		at := slices.IndexFunc(events, func(f state.Failed) bool { return f.ID == id })
		if at < 0 {
			return engine.UnknownEvent(s, id)
		}
		tables[events[at].Table.String()] = true
	}
	what := fmt.Sprintf("skip gives %s of %s up for good", counted(len(ids), "failed event"), strings.Join(slices.Sorted(maps.Keys(tables)), ", "))
	if !p.agrees(what + ".\nThe rows stay at the destination as they are, or missing. Go on?") {
		return &engine.RequestError{Reason: what, Hint: "the rows stay at the destination as they are, or missing, until they change at the source or leat objects restart loads the table again: repeat with --yes if that is meant"}
	}
	return nil
}

func atLeast(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := cobra.MinimumNArgs(n)(cmd, args); err != nil {
			return errUsage{err}
		}
		return nil
	}
}

// failedEvents asks the running engine, or the state folder.
func (p *program) failedEvents(ctx context.Context, path string) (s *spec.Spec, out []state.Failed, err error) {
	s, client, err := p.locate(path)
	if err != nil {
		return nil, nil, err
	}
	if client != nil {
		out, err = client.Failed(ctx)
		return s, out, err
	}
	store, err := p.stopped(s)
	if err != nil {
		return nil, nil, err
	}
	defer store.Close()
	for f, err := range store.FailedEvents(state.FailedFilter{WithPayload: true}) {
		if err != nil {
			return nil, nil, err
		}
		out = append(out, f)
	}
	return s, out, nil
}

func (p *program) listFailed(ctx context.Context, path string) error {
	_, events, err := p.failedEvents(ctx, path)
	if err != nil {
		return err
	}
	if p.json {
		return json.NewEncoder(p.out).Encode(append([]state.Failed{}, events...))
	}
	if len(events) == 0 {
		fmt.Fprintln(p.out, "no failed events")
		return nil
	}
	out := newTable(p.out)
	out.head("event", "operation", "attempts", "plugin", "reason")
	for _, f := range events {
		if f.Superseded != nil {
			f.Reason = fmt.Sprintf("superseded by the truncate at %s: a replay forgets it", f.Superseded)
		}
		// The event is what the other verbs take: it is never cut.
		fmt.Fprintf(out.w, "%s\t%s\t%d\t%s\t%s\n", f.ID, f.Op, f.Attempts, f.Plugin, out.cell(f.Reason))
	}
	return out.end()
}

func (p *program) showFailed(ctx context.Context, path, id string) error {
	s, events, err := p.failedEvents(ctx, path)
	if err != nil {
		return err
	}
	for _, f := range events {
		if f.ID != id {
			continue
		}
		shown, err := engine.Describe(f)
		if err != nil {
			return err
		}
		if p.json {
			return json.NewEncoder(p.out).Encode(shown)
		}
		return printEvent(p, shown)
	}
	return engine.UnknownEvent(s, id)
}

func printEvent(p *program, e *engine.DescribedEvent) error {
	f := e.Event
	fmt.Fprintf(p.out, "event      %s\ntable      %s\nposition   %s\noperation  %s\nreason     %s\n", f.ID, f.Table, f.Position, f.Op, f.Reason)
	if f.Plugin != "" {
		fmt.Fprintf(p.out, "plugin     %s, %s\n", f.Plugin, f.Digest)
	}
	if f.Size > 0 {
		fmt.Fprintf(p.out, "size       %d bytes\n", f.Size)
	}
	if f.Superseded != nil {
		fmt.Fprintf(p.out, "superseded by the truncate at %s\n", f.Superseded)
	}
	if f.WaitsBehind != "" {
		fmt.Fprintf(p.out, "behind     %s\n", f.WaitsBehind)
	}
	for _, row := range e.Rows {
		fmt.Fprintf(p.out, "\n%s\n", row.Op)
		out := newTable(p.out)
		out.head("column", "state", "value")
		for _, c := range row.Cells {
			out.row(c.Column, c.State, c.Value)
		}
		if err := out.end(); err != nil {
			return err
		}
	}
	return nil
}

// settle replays or skips: in the running engine, or with the pipeline opened
// for it.
func (p *program) settle(ctx context.Context, args []string,
	local func(*engine.Pipeline, context.Context, []string) (*engine.ReplayResult, error),
	remote func(*server.Client, context.Context, []string) (*engine.ReplayResult, error),
) error {
	s, client, err := p.locate(args[0])
	if err != nil {
		return err
	}
	var result *engine.ReplayResult
	if client != nil {
		result, err = remote(client, ctx, args[1:])
	} else {
		err = p.withPipeline(ctx, s, func(pipeline *engine.Pipeline) error {
			result, err = local(pipeline, ctx, args[1:])
			return err
		})
	}
	if err != nil {
		return err
	}
	if p.json {
		err = json.NewEncoder(p.out).Encode(result)
	} else {
		fmt.Fprintf(p.out, "%d replayed, %d skipped, %d superseded by a truncate, %d failed again\n", result.Replayed, result.Skipped, result.Superseded, len(result.Failed))
		for _, f := range result.Failed {
			fmt.Fprintf(p.out, "  %s: %s\n", f.ID, f.Reason)
		}
	}
	if err == nil && len(result.Failed) > 0 {
		return errReported(exitFailure)
	}
	return err
}
