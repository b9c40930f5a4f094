package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// rig is a pipeline of the real program, and a copy of its state and its
// destination from before the workload, so that it can be run again.
type rig struct {
	*bench
	name     string
	kind     string
	variant  variant
	table    *table
	database string
	dir      string
	// mode is a query mode of the source; empty is the log.
	mode string
	// duckMemory caps DuckDB's buffers where that is measured.
	duckMemory string
	// extra goes to the pipeline's file as it is.
	extra string
}

func (b *bench) newRig(database, kind string, v variant, t *table) (*rig, error) {
	name := strings.ReplaceAll(fmt.Sprintf("%s_%s_%s", database, kind, v), " ", "_")
	r := &rig{bench: b, name: name, kind: kind, variant: v, table: t, database: database, dir: filepath.Join(b.dir, name)}
	return r, os.MkdirAll(r.dir, 0o700)
}

// leatIn is the title of Leat reading by queries.
func leatIn(mode, kind string) string { return fmt.Sprintf("leat in mode %s into %s", mode, kind) }

// leatTo is the title of Leat with a destination and plugins.
func leatTo(kind string, v variant) string { return fmt.Sprintf("leat into %s, %s", kind, v) }

func (r *rig) title() string {
	if r.mode != "" {
		return leatIn(r.mode, r.kind)
	}
	return leatTo(r.kind, r.variant)
}

func (r *rig) slot() string     { return r.name }
func (r *rig) file() string     { return filepath.Join(r.dir, "pipeline.toml") }
func (r *rig) duckFile() string { return filepath.Join(r.dir, "warehouse.duckdb") }
func (r *rig) template() string { return r.name + "_before" }

// pipeline is the file. Deletes are hard in PostgreSQL, as the built-in
// subscription's are.
func (r *rig) pipeline() (string, error) {
	folder, err := socket(r.source)
	if err != nil {
		return "", err
	}
	target, err := socket(r.destination)
	if err != nil {
		return "", err
	}
	var s strings.Builder
	fmt.Fprintf(&s, "name = %q\n\n[source]\nhost = %q\nport = %d\nuser = %q\npassword = { env = \"BENCH_SOURCE_PASSWORD\" }\n",
		r.name, folder, r.source.Port(), r.source.User())
	if r.mode == "" {
		fmt.Fprintf(&s, "slot = %q\n", r.slot())
	} else {
		fmt.Fprintf(&s, "mode = %q\n", r.mode)
	}
	if r.variant == features {
		fmt.Fprintf(&s, "databases = [%q]\nmerge_tables = true\n", r.database)
	} else {
		fmt.Fprintf(&s, "database = %q\n", r.database)
	}
	fmt.Fprintf(&s, "\n[objects]\ninclude = [\"public.%s\"]\n", r.table.name)
	switch r.variant {
	case features:
		s.WriteString("\n[[transforms]]\nplugin = \"array-to-varchar\"\n")
	case mask:
		fmt.Fprintf(&s, "\n[[transforms]]\nplugin = \"mask\"\nconfig = { columns = [\"%s\"] }\n", strings.Join(r.table.masked, `", "`))
	}
	fmt.Fprintf(&s, "\n%s\n[destination]\nplugin = %q\n", r.extra, r.kind)
	if r.kind == "duckdb" {
		memory := ""
		if r.duckMemory != "" {
			memory = fmt.Sprintf(", memory_limit = %q", r.duckMemory)
		}
		fmt.Fprintf(&s, "config = { path = %q%s }\n", r.duckFile(), memory)
	} else {
		fmt.Fprintf(&s, "config = { host = %q, port = %d, user = %q, password = { env = \"BENCH_DESTINATION_PASSWORD\" }, database = %q, deletes = \"hard\" }\n",
			target, r.destination.Port(), r.destination.User(), r.name)
	}
	return s.String(), nil
}

// create writes the file and makes the destination anew.
func (r *rig) create(ctx context.Context) error {
	text, err := r.pipeline()
	if err != nil {
		return err
	}
	if err := os.RemoveAll(r.dir); err != nil {
		return err
	}
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(r.file(), []byte(text), 0o600); err != nil {
		return err
	}
	if r.kind == "postgres" {
		return recreate(ctx, r.destination, r.name, "")
	}
	return nil
}

// prepare loads what is there before the workload and keeps a copy of it all.
// Its slot is made anew from the origin for each run.
func (r *rig) prepare(ctx context.Context) error {
	if err := r.create(ctx); err != nil {
		return err
	}
	if _, err := r.leat(ctx); err != nil {
		return err
	}
	if r.kind == "postgres" {
		// The server knows the filled table as a long-lived one would.
		if err := r.destination.Exec(ctx, r.name, "VACUUM ANALYZE"); err != nil {
			return err
		}
		if err := recreate(ctx, r.destination, r.template(), r.name); err != nil {
			return err
		}
	} else if err := copyFile(r.duckFile()+".before", r.duckFile()); err != nil {
		return err
	}
	if err := copyTree(filepath.Join(r.dir, "state.before"), r.state()); err != nil {
		return err
	}
	return r.source.Exec(ctx, r.database, fmt.Sprintf("SELECT pg_drop_replication_slot('%s')", r.slot()))
}

func (r *rig) state() string { return filepath.Join(r.dir, "state") }

// restore puts everything back to before the workload.
func (r *rig) restore(ctx context.Context) error {
	if err := copyTree(r.state(), filepath.Join(r.dir, "state.before")); err != nil {
		return err
	}
	if r.kind == "postgres" {
		return recreate(ctx, r.destination, r.name, r.template())
	}
	if err := os.RemoveAll(r.duckFile() + ".wal"); err != nil {
		return err
	}
	return copyFile(r.duckFile(), r.duckFile()+".before")
}

// leat runs the program until it has caught up.
func (r *rig) leat(ctx context.Context) (*os.ProcessState, error) {
	cmd := exec.CommandContext(ctx, r.options.leat, "run", "--until-caught-up", "--quiet", "--state-dir", r.state(), r.file())
	cmd.Env = append(os.Environ(), "BENCH_SOURCE_PASSWORD="+r.source.Password(), "BENCH_DESTINATION_PASSWORD="+r.destination.Password())
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Run(); err != nil {
		return cmd.ProcessState, fmt.Errorf("leat run: %w:\n%s", err, log.Bytes())
	}
	return cmd.ProcessState, nil
}

// run measures one run: from its walsender's start to the end of the process,
// its destination closed. CPU and memory are the whole process's.
func (r *rig) run(ctx context.Context) (measure, error) {
	m, err := r.measured(ctx)
	if err != nil {
		return m, err
	}
	return m, r.compare(ctx)
}

// measured is run without the look at the result.
func (r *rig) measured(ctx context.Context) (measure, error) {
	var state *os.ProcessState
	m, err := r.timed(ctx, r.backend(), func(ctx context.Context) (err error) {
		state, err = r.leat(ctx)
		return err
	})
	if err != nil {
		return m, err
	}
	m.CPU = (state.UserTime() + state.SystemTime()).Seconds()
	m.PeakMB = peakMB(state)
	return m, nil
}

// backend is the condition under which a backend is the run's first.
func (r *rig) backend() string {
	if r.mode == "" {
		return walsender
	}
	return fmt.Sprintf("application_name = 'leat' AND datname = '%s'", r.database)
}

func (r *rig) compare(ctx context.Context) error {
	if r.kind == "postgres" {
		return r.comparePostgres(ctx, r.database, r.name, r.table, r.variant)
	}
	return r.compareDuckDB(ctx, r.database, r.duckFile(), r.table, r.variant)
}

// drop removes the destination.
func (r *rig) drop(ctx context.Context) error {
	errs := []error{os.RemoveAll(r.dir)}
	if r.kind == "postgres" {
		errs = append(errs, r.destination.Exec(ctx, "postgres",
			fmt.Sprintf("DROP DATABASE IF EXISTS %s WITH (FORCE)", r.name), fmt.Sprintf("DROP DATABASE IF EXISTS %s WITH (FORCE)", r.template())))
	}
	return errors.Join(errs...)
}

// peakMB is the most memory that a child process had.
func peakMB(state *os.ProcessState) float64 {
	usage, ok := state.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	return float64(usage.Maxrss) / 1024 // kB on Linux
}
