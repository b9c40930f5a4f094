package main

import (
	"context"
	"errors"
	"fmt"
)

// duckMemory caps DuckDB where memory is measured. Its buffers are part of
// the process, so the target for DuckDB is the target plus this.
const (
	duckMemory   = "256MB"
	duckMemoryMB = 256
	memoryMB     = 300
)

// measureMemory runs one large transaction and one large table.
func (b *bench) measureMemory(ctx context.Context) error {
	if err := b.largeTransaction(ctx); err != nil {
		return fmt.Errorf("large transaction: %w", err)
	}
	return b.largeTable(ctx)
}

func (b *bench) largeTransaction(ctx context.Context) (err error) {
	n := b.sized(2_000_000)
	title := "one transaction"
	r := &logRun{bench: b, database: "bench_large", workload: &workload{name: "large", table: &accounts, changes: n, write: insertRows(&accounts, 1, n)}}
	if err := r.prepareMemory(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.drop(context.WithoutCancel(ctx))) }()
	b.say("%s: writing %d rows", title, n)
	if err := r.writeLog(ctx); err != nil {
		return err
	}
	for _, s := range r.rigs {
		if err := r.slotCopy(ctx, s.slot()); err != nil {
			return err
		}
		m, err := s.run(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", s.title(), err)
		}
		b.addMemory(title, s, m, n)
	}
	return nil
}

func (r *logRun) prepareMemory(ctx context.Context) error {
	if err := recreate(ctx, r.source, r.database, ""); err != nil {
		return err
	}
	if err := r.source.Exec(ctx, r.database, r.table.ddl, "CREATE TABLE marker (n int)",
		fmt.Sprintf("SELECT pg_create_logical_replication_slot('%s', 'pgoutput')", originSlot)); err != nil {
		return err
	}
	for _, kind := range []string{"postgres", "duckdb"} {
		s, err := r.newRig(r.database, kind, plain, r.table)
		if err != nil {
			return err
		}
		s.duckMemory = duckMemory
		if err := s.prepare(ctx); err != nil {
			return err
		}
		r.rigs = append(r.rigs, s)
	}
	return nil
}

func (b *bench) largeTable(ctx context.Context) (err error) {
	n := b.sized(5_000_000)
	const database = "bench_large"
	title := "one table"
	b.say("%s: writing %d rows", title, n)
	if err := b.fill(ctx, database, &accounts, n); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, recreate(context.WithoutCancel(ctx), b.source, database, "")) }()
	for _, kind := range []string{"postgres", "duckdb"} {
		s, err := b.newRig(database, kind, plain, &accounts)
		if err != nil {
			return err
		}
		s.duckMemory = duckMemory
		m, err := s.loadOnce(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", s.title(), err)
		}
		b.addMemory(title, s, m, n)
	}
	return nil
}

func (b *bench) addMemory(title string, s *rig, m measure, n int) {
	m.Changes = n
	b.say("%s: %s %.0f/s, %.0f MB", title, s.title(), m.rate(), m.PeakMB)
	limit := float64(memoryMB)
	if s.kind == "duckdb" {
		limit += duckMemoryMB
	}
	b.report.add(title, s.title(), m)
	b.report.of(title).bound(s.title(), limit)
}
