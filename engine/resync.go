package engine

import (
	"context"
	"errors"
	"strings"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/plugins/wasm"
	"github.com/leat-etl/leat/state"
	"github.com/leat-etl/leat/state/spool"
)

// began says whether the slot is known to be of this pipeline, so that it may
// be dropped.
func (l *lane) began() bool {
	return !l.record.Durable.IsZero() || l.stored.get(positionKey(l.database)) != ""
}

// resync begins the lane anew after a gap, beside what is at the destination:
// every table is truncated there, as the destination's policy has it, and
// loaded again by key. What crashes in between is found by the next start: the
// state folder knows of no slot but one to be made.
func (l *lane) resync(ctx context.Context, gap *GapError) error {
	l.log.Warn("loading every table again, as --resync asks for", "reason", gap.Reason)
	if err := l.truncateAll(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	failpoint("resync-truncated")
	l.record = besideRows(l.p.Spec, l.database)
	err := l.p.store.Update(func(tx *state.Tx) error {
		for _, t := range l.tables {
			if err := tx.DeleteChunks(t.ID()); err != nil {
				return err
			}
		}
		return tx.PutSource(l.record)
	})
	return errors.Join(err, spool.Remove(l.relayDir()), l.removeDiverted())
}

// truncateAll truncates the tables and takes the database out of the
// destination's checkpoint, but for what it has to know of rows that stay: those of
// tables that are not selected or may not be replicated now, and of those on which
// a plugin fails. The log passes without such a table, which is emptied and loaded
// once it comes back.
func (l *lane) truncateAll(ctx context.Context) error {
	at, _, err := l.destinationPosition()
	if err != nil {
		return err
	}
	d, tables, err := l.truncate(ctx, l.tables, batch.Position{Timeline: at.Position.Timeline, LSN: at.Position.LSN, Ordinal: batch.EndOfTransaction})
	if err != nil {
		return err
	}
	entries, err := l.withoutAll(tables)
	if err != nil {
		return d.abort(ctx, nil, err)
	}
	if err := d.commit(ctx, entries...); err != nil {
		return d.abort(ctx, nil, err)
	}
	l.stored.apply(entries)
	return nil
}

// truncate begins a delivery that empties tables, but for those on which a plugin
// fails: it pauses them. It returns which ones the delivery empties.
func (l *lane) truncate(ctx context.Context, tables []*postgres.Table, at batch.Position) (d *delivery, emptied []*postgres.Table, err error) {
	if d, err = l.applier.begin(ctx); err != nil {
		return nil, nil, err
	}
	for _, t := range tables {
		if l.fails(t.OID) {
			continue
		}
		b := truncation(t.Schema, at)
		err := d.makeTables(ctx, t.Schema)
		if err == nil {
			err = d.write(ctx, b)
		}
		b.Release()
		if err != nil {
			if _, err := l.pause(d.abort(ctx, nil, err)); err != nil {
				return nil, nil, err
			}
			return l.truncate(ctx, tables, at)
		}
		emptied = append(emptied, t)
	}
	return d, emptied, nil
}

// withoutAll takes the database out of the checkpoint, but for what tells of rows
// that stay when some tables are emptied.
func (l *lane) withoutAll(emptied []*postgres.Table) (entries []wasm.Checkpoint, err error) {
	names, oids := map[batch.TableID]bool{}, map[uint32]bool{}
	vacated := map[string]bool{}
	for _, t := range emptied {
		names[t.ID()], oids[t.OID], vacated[vacatedKey(t.ID())] = true, true, true
	}
	for _, key := range l.stored.of(l.database) {
		if !strings.HasPrefix(key, checkpointKey(vacatedKind, l.database)+"/") || vacated[key] {
			entries = append(entries, wasm.Checkpoint{Key: key})
		}
	}
	for _, noted := range l.shapes.all() {
		var entry wasm.Checkpoint
		switch {
		case names[noted.Table]:
			continue
		case oids[noted.OID]: // it has another name now
			entry, err = noted.vacated()
		default:
			noted.Left, noted.Due, noted.Why = true, 0, ""
			entry, err = noted.entry()
		}
		if err != nil {
			return nil, err
		}
		entries = append(entries, entry)
	}
	return entries, nil
}

// of returns the keys that are about a database: its position, its tables and
// their parts.
func (c *checkpointEntries) of(database string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var keys []string
	for key := range c.entries {
		if parts := strings.Split(key, "/"); len(parts) > 1 && parts[1] == escapeKey.Replace(database) && parts[0]+"/" != replayedKey && key != failedKey(database) {
			keys = append(keys, key)
		}
	}
	return keys
}
