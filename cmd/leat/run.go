package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/engine/server"
	"github.com/leat-etl/leat/engine/spec"
)

func (p *program) runCommand() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run FILE...",
		Short: "Replicate until stopped",
		Long: `Run replicates the pipelines until it is stopped with Ctrl-C or SIGTERM, which
finish what is in flight. It can be killed at any moment and goes on where the
destination stands.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := cobra.MinimumNArgs(1)(cmd, args); err != nil {
				return errUsage{err}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			var specs []*spec.Spec
			for _, path := range args {
				s, err := p.load(path)
				if err != nil {
					return err
				}
				specs = append(specs, s)
			}
			if o.untilCaughtUp && !cmd.Flags().Changed("retry-for") {
				o.retryFor = 5 * time.Minute
			}
			return p.run(cmd.Context(), specs, o)
		},
	}
	cmd.Flags().BoolVar(&o.resync, "resync", false, "where the log has a gap, load every table again beside what is at the destination")
	cmd.Flags().BoolVar(&o.restartChanged, "restart-changed", false, "ingest tables anew that the pipeline file now reads, or transforms, in another way")
	cmd.Flags().BoolVar(&o.deselectAll, "deselect-all", false, "let every table of a database be taken out that the pipeline file does not select any more")
	cmd.Flags().BoolVar(&o.untilCaughtUp, "until-caught-up", false, "end with exit code 0 once everything committed at the source by now is at the destination")
	cmd.Flags().DurationVar(&o.retryFor, "retry-for", 0, "give up after failing for so long, for example 30s; 0 is never (with --until-caught-up the default is 5m)")
	cmd.Flags().StringVar(&o.metrics, "metrics", "", "serve Prometheus metrics at this address, for example 127.0.0.1:9187")
	cmd.Flags().BoolVar(&o.dev, "dev", false, "compile a transform of the pipeline that lies in a folder of your own whenever it is saved, and swap it between two batches; take settings and grants of transforms from the pipeline file whenever that is saved")
	cmd.Flags().BoolVar(&o.quiet, "quiet", false, "show no progress")
	return cmd
}

type runOptions struct {
	restartChanged       bool
	resync, deselectAll  bool
	untilCaughtUp, quiet bool
	dev                  bool
	metrics              string
	retryFor             time.Duration
}

// run opens the pipelines and runs them beside their control sockets, the
// metrics and the progress display.
func (p *program) run(ctx context.Context, specs []*spec.Spec, o runOptions) (err error) {
	var pipelines []*engine.Pipeline
	defer func() {
		for _, pipeline := range pipelines {
			err = errors.Join(err, pipeline.Close(context.WithoutCancel(ctx)))
		}
	}()
	for _, s := range specs {
		p.log(s.Log).Info("run begins", "pipeline", s.Name, "databases", strings.Join(engine.Databases(s), ", "), "tables", selected(s), "destination", s.Destination.Plugin)
		pipeline, err := engine.Open(ctx, s, p.options(s))
		if err != nil {
			return err
		}
		pipelines = append(pipelines, pipeline)
		if o.metrics == "" {
			o.metrics = s.Metrics.Listen
		}
	}
	boundMemory(specs)
	// What is beside the pipelines ends when they have ended.
	beside, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var helpers errgroup.Group
	if err := p.listen(beside, &helpers, pipelines, o); err != nil {
		return err
	}
	if o.dev {
		if err := p.develop(beside, &helpers, pipelines); err != nil {
			return err
		}
	}
	if !o.quiet {
		helpers.Go(func() error { return p.showProgress(beside, pipelines) })
	}
	g, running := errgroup.WithContext(ctx)
	for _, pipeline := range pipelines {
		g.Go(func() error {
			return pipeline.Run(running, engine.RunOptions{Resync: o.resync, RestartChanged: o.restartChanged, DeselectAll: o.deselectAll, UntilCaughtUp: o.untilCaughtUp, RetryFor: o.retryFor})
		})
	}
	err = g.Wait()
	stop()
	err = errors.Join(err, helpers.Wait())
	for _, pipeline := range pipelines {
		printShadows(p.err, pipeline.Shadows())
		n, countErr := pipeline.FailedCount()
		fmt.Fprint(p.err, setAside(pipeline.Spec, n))
		err = errors.Join(err, countErr)
	}
	return err
}

// selected is what a pipeline file selects, in one line.
func selected(s *spec.Spec) string {
	if s.Source.Mode == spec.ModeSQL {
		return "query " + s.Source.QueryName
	}
	texts := func(patterns []spec.Pattern) string {
		out := make([]string, len(patterns))
		for i, pattern := range patterns {
			out[i] = pattern.String()
		}
		return strings.Join(out, ", ")
	}
	if len(s.Objects.Exclude) == 0 {
		return texts(s.Objects.Include)
	}
	return texts(s.Objects.Include) + " without " + texts(s.Objects.Exclude)
}

// boundMemory has Go's collector run more often rather than let garbage take
// more than the rows that the pipelines may have on their way. GOMEMLIMIT in
// the environment wins.
func boundMemory(specs []*spec.Spec) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	total := int64(0)
	for _, s := range specs {
		total += int64(s.Engine.Memory)
	}
	debug.SetMemoryLimit(total)
}

// listen opens the control sockets and, if asked for, the metrics port.
func (p *program) listen(ctx context.Context, g *errgroup.Group, pipelines []*engine.Pipeline, o runOptions) error {
	for _, pipeline := range pipelines {
		l, path, err := server.Listen(engine.StateDir(pipeline.Spec, p.stateDir))
		if err != nil {
			return err
		}
		if err := pipeline.SetSocket(path); err != nil {
			return errors.Join(err, l.Close())
		}
		g.Go(func() error { return server.Serve(ctx, l, server.Control(pipeline)) })
	}
	if o.metrics == "" {
		return nil
	}
	l, err := net.Listen("tcp", o.metrics)
	if err != nil {
		return fmt.Errorf("serve metrics at %s: %w", o.metrics, err)
	}
	g.Go(func() error { return server.Serve(ctx, l, server.Metrics(pipelines...)) })
	return nil
}
