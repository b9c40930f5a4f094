package engine

import (
	"context"
	"errors"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/plugins/wasm"
)

// Loading a table again while the pipeline stands: its mark as loaded is taken
// from the destination's checkpoint, and the next session loads it as one whose
// load was interrupted. Rows are replaced by key; those that are gone by now
// are deleted by the log, which is older than the load. A table without a key
// is emptied first, and its log skipped up to the load.

// errAnew ends a session so that the next one loads tables again or publishes
// them otherwise.
var errAnew = errors.New("the session begins anew")

// reloadDue ends the session when a table is due.
func (l *lane) reloadDue() error {
	l.mu.Lock()
	if l.rekeyed {
		l.mu.Unlock()
		return errAnew
	}
	at := max(l.record.Durable.LSN, l.record.IdleAcknowledged)
	l.mu.Unlock()
	if len(l.shapes.due(at)) > 0 {
		return errAnew
	}
	return nil
}

// startReloads takes the marks of the tables that are due.
func (l *lane) startReloads(ctx context.Context) error {
	for _, noted := range l.shapes.due(max(l.record.Durable.LSN, l.record.IdleAcknowledged)) {
		for _, t := range l.tables {
			if t.OID != noted.OID {
				continue
			}
			if err := l.startReload(ctx, t, noted); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *lane) startReload(ctx context.Context, t *postgres.Table, noted shape) error {
	l.log.Warn("loading a table again", "table", t.ID().String(), "reason", noted.Why)
	empty := noted.Left || len(t.Schema.Key()) == 0
	noted.Due, noted.Why, noted.Left = 0, "", false
	entry, err := noted.entry()
	if err != nil {
		return err
	}
	d, err := l.applier.begin(ctx)
	if err != nil {
		return err
	}
	work := context.WithoutCancel(ctx)
	if empty {
		if err := l.emptyTable(work, d, t); err != nil {
			return d.abort(work, nil, err)
		}
	}
	entries := []wasm.Checkpoint{entry, {Key: loadKey(t.ID())}}
	if err := d.commit(work, entries...); err != nil {
		return d.abort(work, nil, err)
	}
	l.stored.apply(entries)
	l.shapes.update(noted.OID, func(s *shape) { *s = noted })
	return nil
}

// emptyTable does at the destination what a TRUNCATE of the source does.
func (l *lane) emptyTable(ctx context.Context, d *delivery, t *postgres.Table) error {
	if err := d.makeTables(ctx, t.Schema); err != nil {
		return err
	}
	b := truncation(t.Schema, l.record.Durable)
	defer b.Release()
	return d.write(ctx, b)
}

// truncation is a TRUNCATE that the log does not have.
func truncation(s *batch.Schema, at batch.Position) *batch.Batch {
	builder := batch.NewBuilder(s)
	for i := range s.Columns {
		builder.Column(i).AppendAbsent()
	}
	builder.EndRow(batch.Truncate, at.LSN, at.Ordinal, 0)
	return builder.Finish(at)
}
