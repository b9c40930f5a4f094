package main

import (
	"context"
	"fmt"

	"github.com/leat-etl/leat/engine/batch"
)

const (
	subscriber         = "bench_subscriber"
	subscriberTemplate = "bench_subscriber_empty"
)

// prepareSubscriber fills a database with what is at the source before the
// workload.
func (r *logRun) prepareSubscriber(ctx context.Context) error {
	if err := recreate(ctx, r.destination, subscriberTemplate, ""); err != nil {
		return err
	}
	if err := r.destination.Exec(ctx, subscriberTemplate, r.table.ddl, "CREATE TABLE marker (n int)"); err != nil {
		return err
	}
	if r.rows == 0 {
		return nil
	}
	return r.destination.Exec(ctx, subscriberTemplate, insertRows(r.table, 1, r.rows), "VACUUM ANALYZE "+r.table.name)
}

// runSubscription is PostgreSQL's own replication of the same log.
func (r *logRun) runSubscription(ctx context.Context) (_ measure, err error) {
	if err := recreate(ctx, r.destination, subscriber, subscriberTemplate); err != nil {
		return measure{}, err
	}
	folder, err := socket(r.source)
	if err != nil {
		return measure{}, err
	}
	err = r.destination.Exec(ctx, subscriber, fmt.Sprintf(
		"CREATE SUBSCRIPTION bench CONNECTION 'host=%s port=%d user=%s password=%s dbname=%s' PUBLICATION %s WITH (copy_data = false, create_slot = false, enabled = false, slot_name = '%s', binary = %t)",
		folder, r.source.Port(), r.source.User(), r.source.Password(), r.database, publication, runSlot, r.binary))
	if err != nil {
		return measure{}, err
	}
	m, err := r.timed(ctx, walsender, func(ctx context.Context) error {
		if err := r.destination.Exec(ctx, subscriber, "ALTER SUBSCRIPTION bench ENABLE"); err != nil {
			return err
		}
		return await(ctx, r.destination, subscriber, fmt.Sprintf("SELECT coalesce((SELECT max(remote_lsn) > '%s' FROM pg_replication_origin_status), false)", batch.FormatLSN(r.end)))
	})
	if err != nil {
		return m, err
	}
	m.CPU = 0 // the apply worker is a process of the server
	if err := r.destination.Exec(ctx, subscriber, "ALTER SUBSCRIPTION bench DISABLE"); err != nil {
		return m, err
	}
	if err := await(ctx, r.source, "postgres", "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'walsender'"); err != nil {
		return m, err
	}
	if err := r.destination.Exec(ctx, subscriber, "ALTER SUBSCRIPTION bench SET (slot_name = NONE)", "DROP SUBSCRIPTION bench"); err != nil {
		return m, err
	}
	return m, r.comparePostgres(ctx, r.database, subscriber, r.table, plain)
}
