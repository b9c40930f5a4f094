package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
)

// originSlot stands before a workload; every run consumes a copy of it.
const (
	originSlot  = "bench_origin"
	runSlot     = "bench_run"
	publication = "bench"
)

// logRun is one workload with everything that consumes it.
type logRun struct {
	*bench
	*workload
	database string
	binary   bool   // the form that Leat asks for
	end      uint64 // the last transaction ends behind it
	rigs     []*rig
}

// contender consumes the log of a workload once.
type contender struct {
	name string
	run  func(context.Context) (measure, error)
}

// measureLog prepares a workload, writes it and lets everybody consume it.
func (b *bench) measureLog(ctx context.Context, w *workload) (err error) {
	r := &logRun{bench: b, workload: w, database: "bench_" + w.name}
	b.say("%s: preparing", w.name)
	if err := r.prepare(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.drop(context.WithoutCancel(ctx))) }()
	b.say("%s: writing %d changes", w.name, w.changes)
	if err := r.writeLog(ctx); err != nil {
		return err
	}
	contenders := slices.DeleteFunc(r.contenders(), func(c contender) bool { return !b.matches(c.name) })
	for round := range b.rounds {
		order := slices.Clone(contenders)
		if round%2 == 1 {
			slices.Reverse(order)
		}
		for _, c := range order {
			m, err := r.consume(ctx, c)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			m.Changes = w.changes
			b.say("%s, round %d: %s %.0f/s", w.name, round+1, c.name, m.rate())
			b.report.add(w.name, c.name, m)
		}
	}
	r.compareTargets()
	return nil
}

// prepare makes the database, the origin slot and every pipeline.
func (r *logRun) prepare(ctx context.Context) error {
	if err := recreate(ctx, r.source, r.database, ""); err != nil {
		return err
	}
	statements := []string{r.table.ddl, "CREATE TABLE marker (n int)"}
	if r.rows > 0 {
		statements = append(statements, insertRows(r.table, 1, r.rows))
	}
	statements = append(statements, "VACUUM ANALYZE "+r.table.name,
		fmt.Sprintf("CREATE PUBLICATION %s FOR TABLE %s, marker", publication, r.table.name),
		fmt.Sprintf("SELECT pg_create_logical_replication_slot('%s', 'pgoutput')", originSlot))
	if err := r.source.Exec(ctx, r.database, statements...); err != nil {
		return err
	}
	if err := r.chooseFormat(ctx); err != nil {
		return err
	}
	variants := []variant{plain}
	if r.plugins {
		variants = append(variants, features, mask)
	}
	for _, v := range variants {
		for _, kind := range []string{"duckdb", "postgres"} {
			if !r.matches(leatTo(kind, v)) {
				continue
			}
			rig, err := r.newRig(r.database, kind, v, r.table)
			if err != nil {
				return err
			}
			if err := rig.prepare(ctx); err != nil {
				return fmt.Errorf("prepare pipeline %s: %w", rig.name, err)
			}
			r.rigs = append(r.rigs, rig)
		}
	}
	return r.prepareSubscriber(ctx)
}

// chooseFormat asks Leat's own rule whether values come as text or binary, so
// that everybody reads the same.
func (r *logRun) chooseFormat(ctx context.Context) error {
	source, tables, err := r.open(ctx)
	if err != nil {
		return err
	}
	var schemas []*batch.Schema
	for _, t := range tables {
		schemas = append(schemas, t.Schema)
	}
	r.binary = source.Types().PreferBinary(schemas, source.Version)
	return source.Close(ctx)
}

// open is Leat's own connection to the source.
func (r *logRun) open(ctx context.Context) (*postgres.Source, []*postgres.Table, error) {
	return openSource(ctx, r.bench, r.database, r.table)
}

func openSource(ctx context.Context, b *bench, database string, t *table) (*postgres.Source, []*postgres.Table, error) {
	folder, err := socket(b.source)
	if err != nil {
		return nil, nil, err
	}
	cfg := &postgres.Config{Host: folder, Port: uint16(b.source.Port()), User: b.source.User(), Password: b.source.Password(), Databases: []string{database}}
	source, err := postgres.Open(ctx, cfg, database)
	if err != nil {
		return nil, nil, err
	}
	tables, err := source.Tables(ctx, postgres.Selection{Include: []string{"public." + t.name}})
	if err != nil {
		return nil, nil, errors.Join(err, source.Close(ctx))
	}
	return source, tables, nil
}

// writeLog writes the workload and, as its end, a row of another table.
func (r *logRun) writeLog(ctx context.Context) error {
	if err := r.source.Exec(ctx, r.database, "SET synchronous_commit = off", r.write); err != nil {
		return err
	}
	text, err := ask(ctx, r.source, r.database, "SELECT pg_current_wal_insert_lsn()::text")
	if err != nil {
		return err
	}
	if r.end, err = batch.ParseLSN(text); err != nil {
		return err
	}
	return r.source.Exec(ctx, r.database, "INSERT INTO marker VALUES (1)")
}

func (r *logRun) drop(ctx context.Context) error {
	errs := []error{r.source.Exec(ctx, r.database, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")}
	for _, s := range r.rigs {
		errs = append(errs, s.drop(ctx))
	}
	return errors.Join(append(errs, recreate(ctx, r.source, r.database, ""))...)
}

// slotCopy makes a slot that stands where the origin stands.
func (r *logRun) slotCopy(ctx context.Context, name string) error {
	return r.source.Exec(ctx, r.database,
		fmt.Sprintf("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '%s'", name),
		fmt.Sprintf("SELECT pg_copy_logical_replication_slot('%s', '%s')", originSlot, name))
}

// consume runs a contender on a quiet machine.
func (r *logRun) consume(ctx context.Context, c contender) (measure, error) {
	if err := r.quiet(ctx); err != nil {
		return measure{}, err
	}
	if err := r.slotCopy(ctx, runSlot); err != nil {
		return measure{}, err
	}
	return c.run(ctx)
}

// timed measures what starts now in terms of its backend at the source: from
// the moment the server started that to the end of work.
func (b *bench) timed(ctx context.Context, which string, work func(context.Context) error) (measure, error) {
	if err := b.quiet(ctx); err != nil {
		return measure{}, err
	}
	before := ownCPU()
	var ended time.Time
	c, err := b.observed(ctx, which, func(ctx context.Context) error {
		err := work(ctx)
		ended = time.Now()
		return err
	})
	return measure{Seconds: ended.Sub(c.began).Seconds(), CPU: ownCPU() - before, WalsenderCPU: c.cpu}, err
}

// Names of the contenders, which the report refers to.
const (
	bareLoop     = "bare receive loop"
	recvLogical  = "pg_recvlogical"
	decoded      = "leat, batches dropped"
	subscription = "built-in subscription"
)

func (r *logRun) contenders() []contender {
	out := []contender{
		{bareLoop, r.runBare},
		{decoded, r.runDecoded},
		{subscription, r.runSubscription},
	}
	if _, ok := r.tool("pg_recvlogical"); ok {
		out = slices.Insert(out, 1, contender{recvLogical, r.runRecvLogical})
	}
	for _, s := range r.rigs {
		out = append(out, contender{s.title(), func(ctx context.Context) (measure, error) {
			if err := s.restore(ctx); err != nil {
				return measure{}, err
			}
			if err := r.slotCopy(ctx, s.slot()); err != nil {
				return measure{}, err
			}
			return s.run(ctx)
		}})
	}
	return out
}

// compareTargets says what is compared with what, and what is aimed at.
func (r *logRun) compareTargets() {
	c := r.report.of(r.name)
	c.compare(decoded, bareLoop, 0.9)
	c.compare(decoded, recvLogical, 1)
	c.compare(leatTo("duckdb", plain), bareLoop, r.duckdb)
	c.compare(leatTo("postgres", plain), subscription, r.subscription)
	c.compare(leatTo("postgres", plain), bareLoop, 0)
	c.compare(subscription, bareLoop, 0)
	for _, kind := range []string{"duckdb", "postgres"} {
		c.compare(leatTo(kind, features), leatTo(kind, plain), 0.97)
		c.compare(leatTo(kind, mask), leatTo(kind, plain), 0)
	}
}
