package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/leat-etl/leat/plugins/capability"
)

// manyTables is what a pipeline of many tables selects.
var manyTables = table{name: "t_*"}

// measureTables runs a pipeline of 10,000 tables twice into each destination: the first run makes and
// loads them all, the second finds nothing to do. Rows are tables here. It takes
// longer than everything else together and runs only where it is asked for.
func (b *bench) measureTables(ctx context.Context) (err error) {
	n := b.sized(10_000)
	const database = "bench_tables"
	b.say("many tables: making %d tables", n)
	if err := recreate(ctx, b.source, database, ""); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, recreate(context.WithoutCancel(ctx), b.source, database, "")) }()
	if err := b.source.Exec(ctx, database, "SET synchronous_commit = off", fmt.Sprintf(`DO $$
BEGIN
	FOR i IN 1..%d LOOP
		EXECUTE format('CREATE TABLE t_%%s (id int PRIMARY KEY, v text)', i);
		EXECUTE format('INSERT INTO t_%%s VALUES (%%s, ''row'')', i, i);
		COMMIT;
	END LOOP;
END $$`, n), "VACUUM ANALYZE"); err != nil {
		return err
	}
	for _, kind := range []string{"duckdb", "postgres"} {
		if err := b.tablesInto(ctx, database, kind, n); err != nil {
			return fmt.Errorf("into %s: %w", kind, err)
		}
	}
	return nil
}

func (b *bench) tablesInto(ctx context.Context, database, kind string, n int) (err error) {
	r, err := b.newRig(database, kind, plain, &manyTables)
	if err != nil {
		return err
	}
	if err := r.create(ctx); err != nil {
		return err
	}
	defer func() {
		ctx := context.WithoutCancel(ctx)
		err = errors.Join(err, r.drop(ctx), b.source.Exec(ctx, database, fmt.Sprintf("SELECT pg_drop_replication_slot('%s')", r.slot())))
	}()
	for _, what := range []string{"first run", "started again"} {
		m, err := r.measured(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		m.Changes = n
		b.say("many tables: %s, %s %.1f s, %.1f s CPU, %.0f MB", kind, what, m.Seconds, m.CPU, m.PeakMB)
		b.report.add("many tables", leatTo(kind, plain)+", "+what, m)
	}
	return r.holdsTables(ctx, n)
}

// holdsTables makes sure that n tables with a row are at the destination.
// DuckDB's estimate is exact after a load.
func (r *rig) holdsTables(ctx context.Context, n int) (err error) {
	want := fmt.Sprintf("%d tables with a row", n)
	if r.kind == "postgres" {
		got, err := ask(ctx, r.destination, r.name, `SELECT count(*) || ' tables with a row' FROM pg_class WHERE relkind = 'r' AND relname LIKE 't\_%' AND pg_relation_size(oid) > 0`)
		return errors.Join(err, same(want, got))
	}
	sql, err := capability.OpenDuckDB(ctx, capability.DuckDBOptions{Path: r.duckFile(), ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sql.Close()) }()
	rows, err := sql.Query(ctx, "SELECT count(*) || ' tables with a row' AS n FROM duckdb_tables() WHERE table_name LIKE 't\\_%' ESCAPE '\\' AND estimated_size = 1")
	if err != nil {
		return err
	}
	return same(want, *rows.Rows[0][0])
}
