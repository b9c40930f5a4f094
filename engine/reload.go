package engine

import (
	"context"
	"errors"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/plugins/wasm"
	"github.com/leat-etl/leat/state"
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
	if l.asked.Load() {
		return errAnew
	}
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

// startReloads takes the marks of the tables that are due, and of those that
// an operator wants loaded again.
func (l *lane) startReloads(ctx context.Context) error {
	records, err := l.objectRecords()
	if err != nil {
		return err
	}
	due := map[uint32]shape{}
	for _, noted := range l.shapes.due(max(l.record.Durable.LSN, l.record.IdleAcknowledged)) {
		due[noted.OID] = noted
	}
	for _, t := range l.tables {
		noted, again := due[t.OID]
		if records[t.ID()].Restart {
			known, ok := l.shapes.get(t.OID)
			if !ok {
				known = shapeOf(t) // nothing of it is at the destination
			}
			noted, again = known, true
			noted.Why, noted.Left = "an operator asks for it", true
		}
		if !again {
			continue
		}
		if err := l.startReload(ctx, t, noted); err != nil {
			return err
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
	if err := l.unload(ctx, t, empty, entry); err != nil {
		return err
	}
	l.shapes.put(noted)
	return nil
}

// unload takes the mark of a table as loaded, and what was begun of a load, from
// the checkpoint, together with its rows if it is to be emptied.
func (l *lane) unload(ctx context.Context, t *postgres.Table, empty bool, entries ...wasm.Checkpoint) error {
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
	entries = append(entries, wasm.Checkpoint{Key: loadKey(t.ID())})
	for _, key := range l.stored.keys(chunkPrefix(t.ID())) {
		entries = append(entries, wasm.Checkpoint{Key: key})
	}
	if err := d.commit(work, entries...); err != nil {
		return d.abort(work, nil, err)
	}
	l.stored.apply(entries)
	failpoint("unloaded")
	return l.p.store.Update(func(tx *state.Tx) error {
		if err := tx.DeleteChunks(t.ID()); err != nil {
			return err
		}
		return tx.ChangeObject(t.ID(), func(o *state.Object) {
			o.Restart, o.RowsLoaded, o.BytesLoaded = false, 0, 0
			if o.Choice != state.Skip {
				o.State, o.Reason, o.Fix = state.Queued, "", ""
			}
		})
	})
}

// succeed notes that a table has the name of a dropped one, whose changes are
// delivered first.
func (l *lane) succeed(ctx context.Context, dropped shape, t *postgres.Table) error {
	if l.successors == nil {
		l.successors = map[uint32]*postgres.Table{}
	}
	l.successors[dropped.OID] = t
	if dropped.Due != 0 {
		return nil
	}
	system, err := l.source.System(ctx)
	if err != nil {
		return err
	}
	l.shapes.update(dropped.OID, func(s *shape) { s.Due, s.Why = system.LSN, "it was dropped and created again" })
	return nil
}

// forgetDropped empties the tables whose dropped predecessors have been
// delivered to their end, and takes those out of the checkpoint. The session
// that follows finds the new ones as tables that it does not know.
func (l *lane) forgetDropped(ctx context.Context) error {
	var again error
	for _, noted := range l.shapes.due(max(l.record.Durable.LSN, l.record.IdleAcknowledged)) {
		t := l.successors[noted.OID]
		if !noted.Dropped || t == nil {
			continue
		}
		l.log.Warn("a table is replaced by a new one of its name", "table", t.ID().String())
		if err := l.number(t.Schema, 0); err != nil {
			return err
		}
		l.applier.announce(t.Schema)
		if err := l.unload(ctx, t, true, wasm.Checkpoint{Key: shapeKey(t.ID())}); err != nil {
			return err
		}
		l.shapes.forget(noted.OID)
		again = errAnew
	}
	return again
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
