package engine

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/plugins/wasm"
)

// The rows at the destination under one name are those of one source table. A
// table may take the name that another one has had: two swap their names, a new
// one is made where one was renamed. Its rows must not come beside those that
// are there, so from then on the log passes without the changes of either, and
// each is loaded again under the name that it has by now, which is emptied
// first.

// otherName is why a table is loaded again that was renamed.
const otherName = "it has another name, and so another table at the destination"

// holder returns which other table than oid has its rows under the name that all
// of these have or had: rather one that is still there.
func holder(under []shape, oid uint32) (found shape, ok bool) {
	for _, noted := range under {
		if noted.OID != oid && !noted.Ousted && (!ok || found.Dropped) {
			found, ok = noted, true
		}
	}
	return found, ok
}

// under returns the tables that have or had their rows under a name.
func (s *shapes) under(t batch.TableID) (out []shape) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, noted := range s.byOID {
		if noted.Table == t {
			out = append(out, noted)
		}
	}
	return out
}

// holder returns the shape of the rows under a name that are not of the table
// oid.
func (l *lane) holder(t batch.TableID, oid uint32) (found shape, ok bool, err error) {
	if noted, ok := holder(l.shapes.under(t), oid); ok {
		return noted, true, nil
	}
	text := l.stored.get(vacatedKey(t))
	if text == "" {
		return found, false, nil
	}
	if err := json.Unmarshal([]byte(text), &found); err != nil {
		return found, false, fmt.Errorf("checkpoint %q at the destination: %w", vacatedKey(t), err)
	}
	return found, true, nil
}

// taken says whether rows of another table than oid are under a name, or are
// about to be.
func (l *lane) taken(t batch.TableID, oid uint32) bool {
	_, held := holder(l.shapes.under(t), oid)
	return held || l.stored.get(vacatedKey(t)) != "" || l.diverted.under(t, oid)
}

// under says whether another table than oid is diverted under a name.
func (s *diversions) under(t batch.TableID, oid uint32) bool {
	return s.any(func(d *diversion) bool { return d.Table == t && d.OID != oid })
}

// replaces says whether the destination has one row for each of the source; it
// has every change that came under a name elsewhere.
func (l *lane) replaces() bool { return l.applier.compacts || l.applier.fills }

// leave lets the log pass without the changes of the table oid, which has taken
// a name, and of those that had it.
func (l *lane) leave(t batch.TableID, oid uint32) {
	for _, noted := range l.shapes.all() {
		if noted.Left || noted.Dropped || noted.OID != oid && (noted.Table != t || noted.Ousted) {
			continue
		}
		l.log.Warn("the name of a table is that of another one now: both are loaded again", "table", noted.Table.String(), "name", t.String())
		l.shapes.update(noted.OID, func(s *shape) { s.Left, s.Due = true, 0 })
	}
}

// comesBack notes that a table is to be loaded again that the log has passed
// without. One that has another name waits until the log says nothing of before
// any more.
func (l *lane) comesBack(ctx context.Context, t *postgres.Table, noted shape) error {
	due, why := uint64(1), "it was not selected for a while"
	if noted.Table != t.ID() || noted.Ousted {
		system, err := l.source.System(ctx)
		if err != nil {
			return err
		}
		due, why = system.LSN, "it has the name that another table had"
	}
	l.shapes.update(t.OID, func(s *shape) { s.Due, s.Why = due, why })
	return nil
}

// loadRenamed notes that a table is to be loaded under its new name, of which the
// log says nothing as long as no row follows.
func (l *lane) loadRenamed(ctx context.Context, t *postgres.Table) error {
	system, err := l.source.System(ctx)
	if err == nil {
		l.shapes.promise(t.OID, system.LSN, otherName, false)
	}
	return err
}

// oust notes, for the delivery that empties the name of a table, that no row of
// another one is under it.
func (l *lane) oust(t *postgres.Table) (entries []wasm.Checkpoint, saved func(), err error) {
	for _, noted := range l.shapes.under(t.ID()) {
		if noted.OID == t.OID || noted.Ousted {
			continue
		}
		_, loads := l.diverted.get(noted.OID) // under its new name
		l.shapes.update(noted.OID, func(s *shape) {
			if s.Ousted = true; l.replaces() && !loads && (!s.Left || s.Dropped) {
				s.Left, s.Due = true, 0
			}
		})
	}
	entries, saved, err = l.shapes.entries()
	return append(entries, wasm.Checkpoint{Key: vacatedKey(t.ID())}), saved, err
}

// takeNames empties the names that new tables have and others had. The load of
// the new ones begins with that.
func (l *lane) takeNames(ctx context.Context, tables []*postgres.Table, at position) error {
	for _, t := range tables {
		if _, known := l.shapes.get(t.OID); known || !l.taken(t.ID(), t.OID) {
			continue
		}
		l.log.Warn("a table is replaced by a new one of its name", "table", t.ID().String())
		var divert func(*delivery)
		if l.p.Spec.Source.LoadHistoricalData {
			divert = func(d *delivery) {
				d.divert(&l.diverted, diversion{Table: t.ID(), OID: t.OID, Reason: forLoad, Fresh: true, From: at.Position.LSN})
			}
		}
		if _, err := l.pause(l.unload(ctx, t, t.OID, true, divert)); err != nil {
			return err
		}
	}
	return nil
}

const vacatedKind = "vacated"

// vacatedKey is that of the entry for rows whose table has another name.
func vacatedKey(t batch.TableID) string {
	return tableKey(vacatedKind, t)
}

// vacated is that entry.
func (s shape) vacated() (wasm.Checkpoint, error) {
	text, err := json.Marshal(shape{Table: s.Table, OID: s.OID, Version: s.Version})
	if err != nil {
		return wasm.Checkpoint{}, fmt.Errorf("encode shape of %s: %w", s.Table, err)
	}
	value := string(text)
	return wasm.Checkpoint{Key: vacatedKey(s.Table), Value: &value}, nil
}

// renamed moves what the checkpoint has of a table under another name. The rows
// under the old one stay.
func (l *lane) renamed(noted shape, to batch.TableID) ([]wasm.Checkpoint, error) {
	if noted.Ousted || l.taken(noted.Table, noted.OID) {
		return nil, nil // what there is under the old name is of another table
	}
	entries := []wasm.Checkpoint{{Key: loadKey(noted.Table)}, {Key: vacatedKey(to)}}
	if loaded := l.stored.get(loadKey(noted.Table)); loaded != "" {
		entries = append(entries, wasm.Checkpoint{Key: loadKey(to), Value: &loaded})
	}
	vacated, err := noted.vacated()
	return append(entries, vacated), err
}
