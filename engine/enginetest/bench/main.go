// Command bench measures how fast Leat moves data, beside what bounds it and
// what a user would take instead, on throwaway PostgreSQL servers. Client and
// servers share one machine, so absolute figures mean little: every figure has
// its yardstick from the same run, and ratios are medians of pairs that ran
// one after the other.
//
// A missed target is reported and is no failure; a destination whose rows
// differ from the source's is.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// options are the command line.
type options struct {
	leat   string
	json   string
	only   string
	match  string
	server string
	scale  float64
	rounds int
	quick  bool
}

// selects says whether a workload is to be run.
func (o *options) selects(name string) bool {
	return o.only == "" || slices.Contains(strings.Split(o.only, ","), name)
}

// serverless says that nothing is to be run that needs PostgreSQL.
func (o *options) serverless() bool { return o.only == "plugins" }

// matches says whether a contender is to be run.
func (o *options) matches(name string) bool {
	return o.match == "" || slices.ContainsFunc(strings.Split(o.match, ","), func(part string) bool { return strings.Contains(name, part) })
}

// sized scales a number of rows.
func (o *options) sized(n int) int { return max(1000, int(float64(n)*o.scale)/1000*1000) }

func run(ctx context.Context) (err error) {
	var o options
	flag.StringVar(&o.leat, "leat", "bin/leat", "the leat to measure")
	flag.StringVar(&o.json, "json", "", "write the results to this file as JSON")
	flag.StringVar(&o.only, "only", "", "workloads to run, separated by commas: inserts, mixed, updates, hot, orders, load, memory, plugins (default all of these), tables")
	flag.StringVar(&o.match, "match", "", "run only contenders whose names contain one of these, separated by commas; of plugins: examples, metering, empty, copies, hashing, records, start")
	flag.StringVar(&o.server, "postgres", "", "major version of the servers (default the newest installed)")
	flag.Float64Var(&o.scale, "scale", 1, "size of the workloads; 1 is 400,000 changes of accounts")
	flag.IntVar(&o.rounds, "rounds", 3, "rounds of each workload")
	flag.BoolVar(&o.quick, "quick", false, "one round of small workloads, to see that it works")
	flag.Parse()
	if o.quick {
		o.scale, o.rounds = 0.1, 1
	}
	if o.leat, err = filepath.Abs(o.leat); err != nil {
		return err
	}
	if _, err := os.Stat(o.leat); err != nil {
		return fmt.Errorf("find leat: %w: build it with `go tool task build`, or name it with -leat", err)
	}
	b, err := newBench(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close(context.WithoutCancel(ctx))) }()
	err = b.measureAll(ctx)
	b.report.finish()
	b.report.print(os.Stdout)
	if o.json != "" {
		err = errors.Join(err, b.report.write(o.json))
	}
	return err
}

// measureAll runs every workload that is selected.
func (b *bench) measureAll(ctx context.Context) error {
	for _, w := range workloads(&b.options) {
		if b.selects(w.name) {
			if err := b.measureLog(ctx, w); err != nil {
				return fmt.Errorf("workload %s: %w", w.name, err)
			}
		}
	}
	if b.selects("load") {
		if err := b.measureLoads(ctx); err != nil {
			return fmt.Errorf("historical load: %w", err)
		}
	}
	if b.selects("memory") {
		if err := b.measureMemory(ctx); err != nil {
			return fmt.Errorf("memory: %w", err)
		}
	}
	if b.selects("plugins") {
		if err := b.measurePlugins(ctx); err != nil {
			return fmt.Errorf("plugins: %w", err)
		}
	}
	if strings.Contains(","+b.only+",", ",tables,") {
		if err := b.measureTables(ctx); err != nil {
			return fmt.Errorf("many tables: %w", err)
		}
	}
	return nil
}
