package engine

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/plugins/wasm"
	"github.com/leat-etl/leat/state"
)

// A table that is loaded again has its mark as loaded taken from the
// destination's checkpoint, and is diverted, in one commit. Rows are replaced by
// key; those that are gone by the load's snapshot are deleted by the log, which
// is applied up to it. A table without a key is emptied first.

// errAnew ends a session so that the next one chooses and publishes tables
// otherwise.
var errAnew = errors.New("the session begins anew")

// reloadDue ends the session when it has other tables to replicate or to
// publish, and wakes loadBeside when a table is to be loaded again.
func (l *lane) reloadDue() error {
	if l.asked.Load() {
		return errAnew
	}
	l.mu.Lock()
	rekeyed := l.rekeyed
	l.mu.Unlock()
	if rekeyed {
		return errAnew
	}
	for _, noted := range l.dueNow() {
		if noted.Dropped {
			return errAnew // for its successor
		}
		select {
		case l.dueLoads <- struct{}{}:
		default:
		}
	}
	return nil
}

// passedLSN is where the log has been delivered to.
func (l *lane) passedLSN() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(l.record.Durable.LSN, l.record.IdleAcknowledged)
}

// dueNow are the tables that are to be loaded again and are not under load.
func (l *lane) dueNow() []shape {
	return slices.DeleteFunc(l.shapes.due(l.passedLSN()), func(s shape) bool {
		_, ok := l.diverted.get(s.OID)
		return ok || l.fails(s.OID)
	})
}

// startReloads diverts the tables that are due, and those that an operator
// wants loaded again, and returns them.
func (l *lane) startReloads(ctx context.Context, asked bool) (started []uint32, err error) {
	due := map[uint32]shape{}
	for _, noted := range l.dueNow() {
		due[noted.OID] = noted
	}
	if asked {
		if err := l.askedFor(due); err != nil {
			return nil, err
		}
	}
	if len(due) == 0 {
		return nil, nil
	}
	var oids []uint32
	for oid := range due {
		oids = append(oids, oid)
	}
	tables, err := l.catalogue(ctx, oids)
	if err != nil {
		return nil, err
	}
	for _, t := range tables {
		if l.diverted.under(t.ID(), t.OID) {
			continue // stays due until that load has ended
		}
		if err := l.describe([]*postgres.Table{t}); err != nil {
			return nil, err
		}
		failed, err := l.pause(l.startReload(ctx, t, due[t.OID]))
		if err != nil {
			return nil, err
		}
		if failed == 0 {
			started = append(started, t.OID)
		}
	}
	return started, nil
}

// askedFor adds the tables that an operator wants loaded again.
func (l *lane) askedFor(due map[uint32]shape) error {
	records, err := l.objectRecords()
	if err != nil {
		return err
	}
	for _, t := range l.tables {
		record := records[t.ID()]
		if !record.Restart && record.Again == "" || l.fails(t.OID) {
			continue
		}
		noted, ok := l.shapes.get(t.OID)
		if !ok {
			noted = l.shapeNow(t) // nothing of it is at the destination
		}
		if noted.Why = record.Again; record.Restart {
			noted.Why, noted.Empty = "an operator asks for it", true
		}
		if held, ok := l.diverted.get(t.OID); ok && held.waits() && !held.replaced(record) {
			l.shapes.promise(t.OID, 1, noted.Why, noted.Empty) // once what has waited is delivered
			continue
		}
		due[t.OID] = noted
	}
	return nil
}

func (l *lane) startReload(ctx context.Context, t *postgres.Table, noted shape) error {
	l.log.Warn("loading a table again", "table", t.ID().String(), "reason", noted.Why)
	noted.Chain = l.p.plugins.chainOf(t.ID())
	if now, ok := l.shapes.get(t.OID); ok {
		noted.Ousted = now.Ousted // by the reload of another table since it fell due
	}
	if _, ok := l.diverted.get(t.OID); ok {
		return l.startOver(ctx, t, true)
	}
	rekeyed, err := l.anotherKey(t)
	if err != nil {
		return err
	}
	empty := noted.Left || noted.Empty || rekeyed || len(t.Schema.Key()) == 0 || l.taken(t.ID(), t.OID)
	entries := []wasm.Checkpoint{{Key: loadKey(noted.Table)}}
	if noted.Ousted || l.taken(noted.Table, t.OID) {
		entries = nil // it is the mark of another table
	}
	noted.Due, noted.Why, noted.Left, noted.Empty = 0, "", false, false
	entry, err := noted.entry()
	if err != nil {
		return err
	}
	err = l.unload(ctx, t, t.OID, empty, func(d *delivery) {
		d.divert(&l.diverted, diversion{Table: t.ID(), OID: t.OID, Reason: forLoad, Fresh: empty, From: l.durable().LSN})
	}, append(entries, entry)...)
	if err != nil {
		return err
	}
	l.shapes.put(noted)
	return nil
}

// anotherKey says whether rows of a table cannot be replaced by those that are to
// be loaded: at the destination they have a key and here none, or the other way
// round, or rows wait that had another one.
func (l *lane) anotherKey(t *postgres.Table) (bool, error) {
	if l.applier.waitsOtherwise(t.Schema) {
		return true, nil
	}
	before, err := l.previous(t.OID)
	if err != nil || before == nil || len(before.Columns) == 0 {
		return false, err
	}
	return (len(before.Key()) == 0) != (len(t.Schema.Key()) == 0), nil
}

// startOver takes back what the load of a table has brought, or lets it count
// for nothing where it is to be replaced by key.
func (l *lane) startOver(ctx context.Context, t *postgres.Table, empty bool) error {
	nothing := len(l.chunkEntries(t.ID())) == 0
	return l.unload(ctx, t, t.OID, empty, func(d *delivery) {
		d.change(&l.diverted, t.OID, func(t *diverted) { t.Reason, t.Fresh, t.Lost = forLoad, empty || t.Fresh && nothing, false })
	})
}

// unload takes the mark of a table as loaded, and what was begun of a load, from
// the checkpoint, together with its rows if it is to be emptied, and with what
// diverts it, which may be nil. was is the relation whose rows are there.
func (l *lane) unload(ctx context.Context, t *postgres.Table, was uint32, empty bool, divert func(*delivery), entries ...wasm.Checkpoint) error {
	d, err := l.applier.begin(ctx)
	if err != nil {
		return err
	}
	work := context.WithoutCancel(ctx)
	if empty {
		if err := l.emptyTable(work, d, t, was, l.durable()); err != nil {
			return d.abort(work, nil, err)
		}
	}
	if divert != nil {
		divert(d)
	}
	entries = append(entries, wasm.Checkpoint{Key: loadKey(t.ID())})
	entries = append(entries, l.chunkEntries(t.ID())...)
	ousted, saved, err := l.oust(t)
	if err != nil {
		return d.abort(work, nil, err)
	}
	entries = append(ousted, entries...)
	if err := d.commit(work, entries...); err != nil {
		return d.abort(work, nil, err)
	}
	saved()
	l.stored.apply(entries)
	failpoint("unloaded")
	return l.p.store.Update(func(tx *state.Tx) error {
		if err := tx.DeleteChunks(t.ID()); err != nil {
			return err
		}
		return tx.ChangeObject(t.ID(), func(o *state.Object) {
			o.Restart, o.Again, o.RowsLoaded, o.BytesLoaded = false, "", 0, 0
			if o.Choice != state.Skip {
				o.State, o.Reason, o.Fix = state.Queued, "", ""
			}
		})
	})
}

// succeed notes that a table has the name of a dropped one, whose changes are
// delivered first.
func (l *lane) succeed(ctx context.Context, dropped shape, t *postgres.Table) error {
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
	for _, noted := range l.shapes.due(l.passedLSN()) {
		t := l.successors[noted.OID]
		if _, ok := l.diverted.get(noted.OID); !noted.Dropped || t == nil || ok || l.fails(t.OID) {
			continue // of a diverted one the log is still to be applied
		}
		l.log.Warn("a table is replaced by a new one of its name", "table", t.ID().String())
		if err := l.number(t.Schema, 0); err != nil {
			return err
		}
		l.applier.announce(t.Schema)
		failed, err := l.pause(l.unload(ctx, t, noted.OID, true, nil, wasm.Checkpoint{Key: noted.key()}))
		if err != nil {
			return err
		}
		if failed != 0 {
			continue
		}
		l.shapes.forget(noted.OID)
		again = errAnew
	}
	return again
}

func (l *lane) durable() batch.Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.record.Durable
}

// emptyTable does at the destination what a TRUNCATE of the source does, to the
// rows of the relation was. Rows of another key are taken back as what they are:
// they may not fit the key that t has.
func (l *lane) emptyTable(ctx context.Context, d *delivery, t *postgres.Table, was uint32, at batch.Position) error {
	before, err := l.shapeBefore(d, &batch.Schema{OID: was})
	if err != nil {
		return err
	}
	there, held, err := l.holder(t.ID(), t.OID)
	if err != nil {
		return err
	}
	if held {
		if before, err = l.schemaOf(there.OID, there.Table, there.Version); err != nil {
			return err
		}
	}
	if before == nil || before.Table != t.Schema.Table || before.OID == t.OID && identityOf(before) == identityOf(t.Schema) {
		before = t.Schema
		if err := d.makeTables(ctx, before); err != nil {
			return err
		}
	}
	b := truncation(before, at)
	defer b.Release()
	return d.write(ctx, b)
}

// truncation is a TRUNCATE of now that the log does not have.
func truncation(s *batch.Schema, at batch.Position) *batch.Batch {
	builder := batch.NewBuilder(s)
	for i := range s.Columns {
		builder.Column(i).AppendAbsent()
	}
	builder.EndRow(batch.Truncate, at.LSN, at.Ordinal, time.Now().UnixMicro())
	return builder.Finish(at)
}
