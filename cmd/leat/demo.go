package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
	"github.com/leat-etl/leat/engine/enginetest/shop"
	"github.com/leat-etl/leat/engine/spec"
)

func (p *program) demoCommand() *cobra.Command {
	d := &demo{program: p}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Replicate two sample databases into DuckDB on this machine",
		Long: `Demo starts a throwaway PostgreSQL with two databases, keeps writing to them,
and replicates both into one local DuckDB file through the bundled plugins.
After a while, or with Ctrl-C, it stops writing, catches up, and compares source
and destination row by row.`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return d.run(cmd.Context()) },
	}
	cmd.Flags().DurationVar(&d.duration, "for", 30*time.Second, "how long to keep writing")
	cmd.Flags().IntVar(&d.scale, "scale", 20, "size of the sample: 1 is about 16,000 rows a database")
	cmd.Flags().IntVar(&d.rate, "rate", 200, "transactions a second in each database")
	cmd.Flags().BoolVar(&d.keep, "keep", false, "leave everything running after the comparison, until Ctrl-C")
	return cmd
}

type demo struct {
	*program
	duration    time.Duration
	scale, rate int
	keep        bool

	dir      string
	server   *pgserver.Server
	pipeline *engine.Pipeline
}

func (d *demo) run(ctx context.Context) (err error) {
	if d.dir, err = os.MkdirTemp("", "leat-demo-"); err != nil {
		return err
	}
	// Ctrl-C ends the writing; what follows needs the server and the engine.
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	fmt.Fprintln(d.err, "starting a throwaway PostgreSQL")
	if d.server, err = pgserver.Start(work, pgserver.Options{}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.server.Stop(context.WithoutCancel(ctx))) }()
	fmt.Fprintf(d.err, "filling %d databases\n", len(shop.Databases))
	for _, database := range shop.Databases {
		if err := shop.Create(work, d.server.DSN("postgres"), database, d.scale); err != nil {
			return err
		}
	}
	file, err := d.writePipeline()
	if err != nil {
		return err
	}
	s, err := spec.Load(file)
	if err != nil {
		return err
	}
	if d.pipeline, err = engine.Open(work, s, engine.Options{Log: d.log(s.Log)}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.pipeline.Close(context.WithoutCancel(ctx))) }()
	return d.replicate(ctx, work, stop, file)
}

// replicate runs writers and engine until it is time to compare.
func (d *demo) replicate(ctx, work context.Context, stop context.CancelFunc, file string) error {
	fmt.Fprintf(d.err, "replicating with %s\n\n", file)
	var running errgroup.Group
	failed, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	running.Go(func() error {
		err := d.pipeline.Run(work, engine.RunOptions{})
		fail(err)
		return err
	})
	if err := d.listen(work, &running, []*engine.Pipeline{d.pipeline}, runOptions{}); err != nil {
		return err
	}
	hide := d.display(work)
	writing, pause := context.WithCancel(failed)
	var writers errgroup.Group
	for i, database := range shop.Databases {
		w := &shop.Writer{DSN: d.server.DSN(database), Rate: d.rate, Seed: uint64(i + 1)}
		writers.Go(func() error { return w.Run(writing) })
	}
	select {
	case <-failed.Done():
	case <-time.After(d.duration):
	}
	pause()
	err := writers.Wait()
	if cause := context.Cause(failed); err == nil && ctx.Err() == nil && cause != nil {
		err = cause // the pipeline has ended by itself
	}
	if err == nil {
		err = d.finish(ctx, work, hide, file)
	}
	hide()
	stop()
	return errors.Join(err, running.Wait())
}

// display shows the progress until hide is called, which returns when the last
// of it is on the screen.
func (d *demo) display(ctx context.Context) (hide func()) {
	ctx, cancel := context.WithCancel(ctx)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if err := d.showProgress(ctx, []*engine.Pipeline{d.pipeline}); err != nil {
			fmt.Fprintln(os.Stderr, err) // the demo itself goes on
		}
	}()
	return func() {
		cancel()
		<-gone
	}
}

// finish catches up, compares and shows what there is.
func (d *demo) finish(ctx, work context.Context, hide func(), file string) error {
	catching, cancel := context.WithTimeout(work, 2*time.Minute)
	defer cancel()
	if err := d.pipeline.CatchUp(catching); err != nil {
		return fmt.Errorf("catch up: %w", err)
	}
	hide()
	fmt.Fprintln(d.out, "\nthe writers have stopped and everything is delivered; comparing row by row")
	v, err := d.pipeline.Verify(work, nil, nil)
	if err != nil {
		return err
	}
	if err := d.printVerification(v, 20); err != nil {
		return err
	}
	fmt.Fprintln(d.out, "\nthe newest orders in DuckDB:")
	out := newTable(d.out)
	if err := d.pipeline.Query(work, `SELECT __leat_database_name, id, status, total, placed_at, flags FROM orders WHERE NOT __leat_marked_deleted ORDER BY placed_at DESC LIMIT 5`, out.rows); err != nil {
		return err
	}
	if err := out.end(); err != nil {
		return err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	fmt.Fprintf(d.out, "\nthe pipeline file, %s:\n\n%s\nthe data is in %s\n", file, text, filepath.Join(d.dir, "warehouse.duckdb"))
	if !v.Equal() {
		return errReported(exitDifferent)
	}
	if d.keep && ctx.Err() == nil {
		fmt.Fprintf(d.out, "\neverything keeps running until Ctrl-C; in another terminal:\n  export LEAT_DEMO_PASSWORD=%s\n  %s query %s \"SELECT count(*) FROM orders\"\n  psql '%s'\n",
			d.server.Password(), os.Args[0], file, d.server.DSN(shop.Databases[0]))
		<-ctx.Done()
	}
	return nil
}

func (d *demo) writePipeline() (string, error) {
	if err := os.Setenv("LEAT_DEMO_PASSWORD", d.server.Password()); err != nil {
		return "", err
	}
	file := filepath.Join(d.dir, "shop.toml")
	text := fmt.Sprintf(`name = "shop"

[source]
type = "postgres"
host = %q
port = %d
user = %q
password = { env = "LEAT_DEMO_PASSWORD" }
databases = [%q, %q]
merge_tables = true

[objects]
include = ["public.*"]

[[transforms]]
plugin = "array-to-varchar"

[destination]
plugin = "duckdb"
config = { path = %q }
`, d.server.Host(), d.server.Port(), d.server.User(), shop.Databases[0], shop.Databases[1], filepath.Join(d.dir, "warehouse.duckdb"))
	return file, os.WriteFile(file, []byte(text), 0o600)
}
