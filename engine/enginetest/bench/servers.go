package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// bench is the servers, a folder for pipelines, and what was measured.
type bench struct {
	options
	dir                 string
	source, destination *pgserver.Server
	watch               *pgx.Conn // to the source: looks at walsenders while contenders run
	report              *report
}

// settings are those of both servers where they are not PostgreSQL's own.
// Writes are durable as on a real server; what runs by itself, autovacuum and
// timed checkpoints, is kept out of the rounds.
var settings = map[string]string{
	"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on",
	"shared_buffers": "512MB", "max_wal_size": "16GB", "checkpoint_timeout": "1h", "autovacuum": "off",
}

func newBench(ctx context.Context, o options) (_ *bench, err error) {
	b := &bench{options: o}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close(context.WithoutCancel(ctx)))
		}
	}()
	if b.dir, err = os.MkdirTemp("", "leat-bench-"); err != nil {
		return nil, err
	}
	if o.serverless() {
		b.report = newReport(&b.options, "no server")
		b.report.Settings = ""
		return b, nil
	}
	if b.source, err = pgserver.Start(ctx, pgserver.Options{Version: o.server, Settings: settings}); err != nil {
		return nil, err
	}
	if b.destination, err = pgserver.Start(ctx, pgserver.Options{Version: o.server, Settings: settings}); err != nil {
		return nil, err
	}
	if b.watch, err = pgx.Connect(ctx, b.source.SocketDSN("postgres")); err != nil {
		return nil, err
	}
	b.report = newReport(&b.options, b.source.Install().Version)
	return b, nil
}

func (b *bench) close(ctx context.Context) error {
	var errs []error
	if b.watch != nil {
		errs = append(errs, b.watch.Close(ctx))
	}
	for _, s := range []*pgserver.Server{b.source, b.destination} {
		if s != nil {
			errs = append(errs, s.Stop(ctx))
		}
	}
	return errors.Join(append(errs, os.RemoveAll(b.dir))...)
}

// say tells what is going on, beside the results.
func (b *bench) say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// recreate makes a database empty, or as its template is.
func recreate(ctx context.Context, s *pgserver.Server, database, template string) error {
	if template == "" {
		template = "template1"
	}
	return s.Exec(ctx, "postgres",
		fmt.Sprintf("DROP DATABASE IF EXISTS %s WITH (FORCE)", database),
		fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s", database, template))
}

// ask returns the one text that a query gives.
func ask(ctx context.Context, s *pgserver.Server, database, sql string) (string, error) {
	conn, err := pgx.Connect(ctx, s.SocketDSN(database))
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	var out string
	if err := conn.QueryRow(ctx, sql).Scan(&out); err != nil {
		return "", fmt.Errorf("ask %q: %w", sql, err)
	}
	return out, nil
}

// await asks until the answer is t. It polls seldom enough to cost nothing.
func await(ctx context.Context, s *pgserver.Server, database, sql string) error {
	conn, err := pgx.Connect(ctx, s.SocketDSN(database))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		var done bool
		if err := conn.QueryRow(ctx, sql).Scan(&done); err != nil {
			return fmt.Errorf("await %q: %w", sql, err)
		}
		if done {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// socket is the folder of a server's Unix socket.
func socket(s *pgserver.Server) (string, error) {
	cfg, err := pgconn.ParseConfig(s.SocketDSN("postgres"))
	if err != nil {
		return "", err
	}
	return cfg.Host, nil
}

// quiet writes back what is dirty and waits until no walsender is left, so
// that a contender does not pay for the one before.
func (b *bench) quiet(ctx context.Context) error {
	if err := await(ctx, b.source, "postgres", "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'walsender'"); err != nil {
		return err
	}
	return errors.Join(b.source.Exec(ctx, "postgres", "CHECKPOINT"), b.destination.Exec(ctx, "postgres", "CHECKPOINT"))
}

// copyTree copies a folder, replacing what is there.
func copyTree(to, from string) error {
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	return os.CopyFS(to, os.DirFS(from))
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// describeSettings lists the settings for the report.
func describeSettings() string {
	var parts []string
	for name, value := range settings {
		parts = append(parts, name+"="+value)
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}

// tool returns the path of a client program, of the server's installation or
// else of any, if it is there.
func (b *bench) tool(name string) (string, bool) {
	path := filepath.Join(b.source.Install().Bin, name)
	if _, err := os.Stat(path); err == nil {
		return path, true
	}
	path, err := exec.LookPath(name)
	return path, err == nil
}
