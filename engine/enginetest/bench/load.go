package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
)

// Names of what a historical load is compared with.
const (
	copyServer = "COPY to /dev/null in the server"
	copyClient = "COPY to one client"
	copyCopy   = "COPY | COPY into a keyed table"
	copyNamed  = "COPY | COPY, database name in row and key"
	readOne    = "leat, batches dropped, 1 reader"
)

// loadRun is the historical load of one table.
type loadRun struct {
	*bench
	table    *table
	database string
	rows     int
	kinds    []string // destinations
	variants []variant
	modes    []string
}

func (b *bench) measureLoads(ctx context.Context) error {
	both, variants, modes := []string{"duckdb", "postgres"}, []variant{plain, features, mask}, []string{"table", "xmin"}
	for _, l := range []loadRun{
		{bench: b, table: &accounts, rows: b.sized(2_000_000), kinds: both, variants: variants, modes: modes},
		{bench: b, table: &orders, rows: b.sized(500_000), kinds: both, variants: variants, modes: modes},
		// PostgreSQL has no room for more columns beside these.
		{bench: b, table: &wide, rows: b.sized(10_000), kinds: both[:1], variants: variants[:1]},
	} {
		l.database = "bench_load_" + l.table.name
		if err := l.measure(ctx); err != nil {
			return fmt.Errorf("%s: %w", l.table.name, err)
		}
	}
	return nil
}

func (l *loadRun) title() string { return "load " + l.table.name }

// fill makes a database with a filled table.
func (b *bench) fill(ctx context.Context, database string, t *table, rows int) error {
	if err := recreate(ctx, b.source, database, ""); err != nil {
		return err
	}
	return b.source.Exec(ctx, database, "SET synchronous_commit = off", t.ddl, insertRows(t, 1, rows), "VACUUM ANALYZE "+t.name)
}

func (l *loadRun) measure(ctx context.Context) (err error) {
	l.say("%s: writing %d rows", l.title(), l.rows)
	if err := l.fill(ctx, l.database, l.table, l.rows); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, recreate(context.WithoutCancel(ctx), l.source, l.database, "")) }()
	contenders := []contender{{copyServer, l.copyServer}, {copyClient, l.copyClient}, {readOne, l.read},
		{copyCopy, func(ctx context.Context) (measure, error) { return l.copyCopy(ctx, false) }},
	}
	if slices.Contains(l.variants, features) { // what it is the yardstick of; a table of 1,600 columns takes no more
		contenders = append(contenders, contender{copyNamed, func(ctx context.Context) (measure, error) { return l.copyCopy(ctx, true) }})
	}
	for _, v := range l.variants {
		for _, kind := range l.kinds {
			r, err := l.newRig(l.database, kind, v, l.table)
			if err != nil {
				return err
			}
			contenders = append(contenders, contender{r.title(), func(ctx context.Context) (measure, error) { return r.loadOnce(ctx) }})
		}
	}
	for _, mode := range l.modes {
		for _, kind := range l.kinds {
			r, err := l.newRig(l.database+"_"+mode, kind, plain, l.table)
			if err != nil {
				return err
			}
			r.database, r.mode = l.database, mode
			contenders = append(contenders, contender{r.title(), func(ctx context.Context) (measure, error) { return r.loadOnce(ctx) }})
		}
	}
	contenders = slices.DeleteFunc(contenders, func(c contender) bool { return !l.matches(c.name) })
	for round := range l.rounds {
		order := slices.Clone(contenders)
		if round%2 == 1 {
			slices.Reverse(order)
		}
		for _, c := range order {
			m, err := c.run(ctx)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			m.Changes = l.rows
			l.say("%s, round %d: %s %.0f/s", l.title(), round+1, c.name, m.rate())
			l.report.add(l.title(), c.name, m)
		}
	}
	l.compareTargets()
	return nil
}

func (l *loadRun) compareTargets() {
	c := l.report.of(l.title())
	into := 0.0
	if l.table == &orders {
		into = 0.85
	}
	c.compare(copyClient, copyServer, 0)
	c.compare(readOne, copyClient, 0)
	c.compare(leatTo("duckdb", plain), copyClient, into)
	c.compare(leatTo("duckdb", plain), copyServer, 0)
	c.compare(leatTo("postgres", plain), copyCopy, 0.9)
	c.compare(copyNamed, copyCopy, 0)
	c.compare(leatTo("postgres", features), copyNamed, 0)
	for _, mode := range []string{"table", "xmin"} {
		c.compare(leatIn(mode, "duckdb"), copyClient, into)
		c.compare(leatIn(mode, "postgres"), copyClient, 0)
	}
	for _, kind := range []string{"duckdb", "postgres"} {
		c.compare(leatTo(kind, features), leatTo(kind, plain), 0.97)
		c.compare(leatTo(kind, mask), leatTo(kind, plain), 0)
	}
}

// loadOnce loads into an empty destination: from the start of the connection
// that makes the slot to the end of the process.
func (r *rig) loadOnce(ctx context.Context) (_ measure, err error) {
	if err := r.create(ctx); err != nil {
		return measure{}, err
	}
	defer func() {
		ctx := context.WithoutCancel(ctx)
		err = errors.Join(err, r.drop(ctx), r.source.Exec(ctx, r.database, fmt.Sprintf("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '%s'", r.slot())))
	}()
	m, err := r.run(ctx)
	m.WalsenderCPU = 0 // it only made the slot
	return m, err
}

// stopwatch times work that has no walsender.
func (l *loadRun) stopwatch(ctx context.Context, work func(context.Context) error) (measure, error) {
	if err := l.quiet(ctx); err != nil {
		return measure{}, err
	}
	began, before := time.Now(), ownCPU()
	err := work(ctx)
	return measure{Seconds: time.Since(began).Seconds(), CPU: ownCPU() - before}, err
}

func (l *loadRun) copyServer(ctx context.Context) (measure, error) {
	m, err := l.stopwatch(ctx, func(ctx context.Context) error {
		return l.source.Exec(ctx, l.database, fmt.Sprintf("COPY %s TO '/dev/null' (FORMAT binary)", l.table.name))
	})
	m.CPU = 0
	return m, err
}

// connect opens a connection that reads in large pieces.
func connect(ctx context.Context, dsn string) (*pgconn.PgConn, error) {
	cfg, err := pgconn.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	cfg.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		return pgproto3.NewFrontend(bufio.NewReaderSize(r, 256<<10), w)
	}
	return pgconn.ConnectConfig(ctx, cfg)
}

func (l *loadRun) copyOut(ctx context.Context, w io.Writer) error {
	conn, err := connect(ctx, l.source.SocketDSN(l.database))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.CopyTo(ctx, w, fmt.Sprintf("COPY %s TO STDOUT (FORMAT binary)", l.table.name))
	return err
}

func (l *loadRun) copyClient(ctx context.Context) (measure, error) {
	return l.stopwatch(ctx, func(ctx context.Context) error { return l.copyOut(ctx, io.Discard) })
}

// copyCopy is what one would do by hand. named gives each row the name of its
// database, in its key too, as the bundled features do.
func (l *loadRun) copyCopy(ctx context.Context, named bool) (measure, error) {
	const database = "bench_copy"
	if err := recreate(ctx, l.destination, database, ""); err != nil {
		return measure{}, err
	}
	columns, err := ask(ctx, l.source, l.database, fmt.Sprintf("SELECT string_agg(attname, ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = '%s'::regclass AND attnum > 0", l.table.name))
	if err != nil {
		return measure{}, err
	}
	ddl := []string{l.table.ddl}
	if named {
		key, _, _ := strings.Cut(columns, ",")
		ddl = append(ddl, fmt.Sprintf("ALTER TABLE %[1]s DROP CONSTRAINT %[1]s_pkey, ADD COLUMN database_name text DEFAULT '%[2]s', ADD PRIMARY KEY (%[3]s, database_name)", l.table.name, l.database, key))
	}
	if err := l.destination.Exec(ctx, database, ddl...); err != nil {
		return measure{}, err
	}
	m, err := l.stopwatch(ctx, func(ctx context.Context) error { return l.pipe(ctx, database, columns) })
	if err != nil {
		return m, err
	}
	return m, l.comparePostgres(ctx, l.database, database, l.table, plain)
}

func (l *loadRun) pipe(ctx context.Context, database, columns string) error {
	conn, err := connect(ctx, l.destination.SocketDSN(database))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	in, out, err := os.Pipe()
	if err != nil {
		return err
	}
	sent := make(chan error, 1)
	go func() {
		w := bufio.NewWriterSize(out, 64<<10)
		err := l.copyOut(ctx, w)
		sent <- errors.Join(err, w.Flush(), out.Close())
	}()
	_, err = conn.CopyFrom(ctx, in, fmt.Sprintf("COPY %s (%s) FROM STDIN (FORMAT binary)", l.table.name, columns))
	return errors.Join(err, in.Close(), <-sent)
}

// read is Leat's reader of one whole table with nobody behind it.
func (l *loadRun) read(ctx context.Context) (measure, error) {
	source, tables, err := openSource(ctx, l.bench, l.database, l.table)
	if err != nil {
		return measure{}, err
	}
	defer source.Close(ctx)
	snapshot, err := source.TakeSnapshot(ctx)
	if err != nil {
		return measure{}, err
	}
	defer snapshot.Close(ctx)
	chunks, err := source.PlanChunks(ctx, tables[0], 1<<40)
	if err != nil {
		return measure{}, err
	}
	var rows int64
	m, err := l.stopwatch(ctx, func(ctx context.Context) error {
		reader, err := snapshot.Join(ctx)
		if err != nil {
			return err
		}
		defer reader.Close(ctx)
		for _, c := range chunks {
			n, _, err := reader.ReadChunk(ctx, tables[0], c, postgres.Limit{Rows: 50_000, Bytes: 32 << 20}, func(b *batch.Batch, _ []postgres.RawFailure) error {
				if b != nil {
					b.Release()
				}
				return nil
			})
			if err != nil {
				return err
			}
			rows += n
		}
		return nil
	})
	if err == nil && rows != int64(l.rows) {
		err = fmt.Errorf("%d rows came, want %d", rows, l.rows)
	}
	return m, err
}
