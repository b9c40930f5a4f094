package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/state"
)

// Which of the tables that the pipeline file selects are replicated: an
// operator's choice counts first, then whether the table is new. What comes of
// each is noted in the state folder.

// reconsider implements databaseLane.
func (l *lane) reconsider() { l.asked.Store(true) }

// place is what becomes of a table in a session.
type place struct {
	joins              bool
	state, reason, fix string
}

// chooseTables returns those of all that are replicated.
func (l *lane) chooseTables(ctx context.Context, all []*postgres.Table) ([]*postgres.Table, error) {
	records, err := l.objectRecords()
	if err != nil {
		return nil, err
	}
	places, err := l.places(ctx, all, records)
	if err != nil {
		return nil, err
	}
	listed := make(map[batch.TableID]bool, len(all))
	for _, t := range all {
		listed[t.ID()] = true
	}
	if err := l.p.noteAbsent(ctx, l.source, listed, records); err != nil {
		return nil, err
	}
	var out []*postgres.Table
	return out, l.p.store.Update(func(tx *state.Tx) error {
		for i, t := range all {
			if places[i].joins {
				out = append(out, t)
			}
			if err := tx.ChangeObject(t.ID(), places[i].note); err != nil {
				return err
			}
		}
		return nil
	})
}

// note writes down where a table stands. One that is replicated keeps the state
// that its load has got to, also that nothing follows until something does.
func (p place) note(o *state.Object) {
	if p.joins && p.state != state.Paused && ((o.Restart || o.Again != "") && o.State == state.Queued || slices.Contains([]string{state.HistoricalLoad, state.HistoricalLoadFinished, state.Streaming, state.Finished}, o.State)) {
		return
	}
	o.State, o.Reason, o.Fix = p.state, p.reason, p.fix
}

// leavesOut says whether a table that the pipeline file selects is not
// replicated all the same.
func (p *Pipeline) leavesOut(t batch.TableID) (bool, error) {
	o, err := p.store.Object(t)
	if errors.Is(err, state.ErrNotFound) {
		return false, nil
	}
	return o.State == state.Skipped || o.State == state.Paused || o.State == state.Inaccessible, err
}

func (l *lane) objectRecords() (map[batch.TableID]state.Object, error) {
	return objectRecords(l.p.store)
}

func objectRecords(store *state.Store) (map[batch.TableID]state.Object, error) {
	objects, err := store.Objects()
	if err != nil {
		return nil, err
	}
	out := make(map[batch.TableID]state.Object, len(objects))
	for _, o := range objects {
		out[o.Table] = o
	}
	return out, nil
}

// places decides about every table.
func (l *lane) places(ctx context.Context, all []*postgres.Table, records map[batch.TableID]state.Object) ([]place, error) {
	out := make([]place, len(all))
	l.successors = map[uint32]*postgres.Table{}
	byName := map[batch.TableID][]shape{}
	for _, noted := range l.shapes.all() {
		byName[noted.Table] = append(byName[noted.Table], noted)
	}
	for i, t := range all {
		out[i] = l.place(t, records[t.ID()])
		noted, taken := holder(byName[t.ID()], t.OID)
		own, known := l.shapes.get(t.OID)
		switch {
		case !out[i].joins || !taken:
		case known:
			if l.replaces() && (own.Table != t.ID() || own.Ousted) {
				l.leave(t.ID(), t.OID)
			}
		case noted.Dropped:
			out[i] = place{state: state.Queued, reason: "the table was dropped and created again: the new one follows once the log has been delivered up to here"}
			if err := l.succeed(ctx, noted, t); err != nil {
				return nil, err
			}
		case l.diverted.under(t.ID(), t.OID):
			out[i] = place{state: state.Queued, reason: "another table had its name, and is being loaded or waits"}
		case l.replaces():
			l.leave(t.ID(), t.OID)
		}
	}
	for _, noted := range l.shapes.all() {
		if noted.Dropped && noted.Due != 0 && l.successors[noted.OID] == nil {
			l.shapes.update(noted.OID, func(s *shape) { s.Due = 0 }) // that one is not to follow any more
		}
	}
	return out, nil
}

// place decides about a table for itself.
func (l *lane) place(t *postgres.Table, record state.Object) place {
	switch {
	case t.Reason != "":
		return place{state: state.Inaccessible, reason: t.Reason, fix: t.Fix}
	case record.Choice == state.Skip:
		return place{state: state.Skipped, reason: skippedByChoice, fix: "leat objects include loads it again"}
	case record.Choice == "" && !l.p.Spec.Source.IncludeNewTables && l.isNew(t, record):
		return place{state: state.Skipped, reason: "it was created after the pipeline, and include_new_tables is off",
			fix: fmt.Sprintf("leat objects include %s %s.%s", l.p.Spec.Path, t.ID().Schema, t.ID().Name)}
	}
	if record.Choice == state.Pause {
		loaded := !l.p.Spec.Source.LoadHistoricalData || l.stored.get(loadKey(t.ID())) != ""
		if record.State != state.Paused { // it was given up, or none of the pipeline's, for a while
			record.Reason, record.Fix = pausedByChoice, resumesInOrder
		}
		return place{joins: loaded, state: state.Paused, reason: record.Reason, fix: record.Fix}
	}
	held, _ := l.diverted.get(t.OID)
	switch {
	case record.State != state.Paused:
	case l.fails(t.OID):
		return place{joins: true, state: state.Paused, reason: record.Reason, fix: record.Fix}
	case held.Reason == forLoad:
		return place{joins: true, state: state.HistoricalLoad} // which goes on
	}
	return place{joins: true, state: state.Queued}
}

// isNew says whether a table came after the pipeline began. One that the
// pipeline file names without a wildcard is wanted, whenever it came.
func (l *lane) isNew(t *postgres.Table, record state.Object) bool {
	began := l.stored.get(positionKey(l.database)) != "" || l.record.Followed
	if !began || l.p.Spec.Objects.Names(t.ID().Schema, t.ID().Name) {
		return false
	}
	_, has := l.shapes.get(t.OID)
	return !has && record.OID != t.OID && (record.OID != 0 || l.stored.get(loadKey(t.ID())) == "")
}

// joining says whether a table is to be replicated that this session does not.
func (l *lane) joining(chosen []*postgres.Table) bool {
	here := make(map[uint32]bool, len(l.tables))
	for _, t := range l.tables {
		here[t.OID] = true
	}
	for _, t := range chosen {
		if !here[t.OID] {
			l.log.Info("a table joins", "table", t.ID().String())
			return true
		}
	}
	return false
}

// noteStreaming says of every table that its log is followed.
func (l *lane) noteStreaming() error {
	return l.p.store.Update(func(tx *state.Tx) error {
		for _, t := range l.tables {
			if err := tx.ChangeObject(t.ID(), func(o *state.Object) {
				if _, held := l.diverted.get(t.OID); held || o.Restart || o.Choice == state.Skip || o.Choice == state.Pause {
					return // under load, on its way back, or asked for since the session began
				}
				o.OID, o.State, o.Reason, o.Fix = t.OID, state.Streaming, "", ""
			}); err != nil {
				return err
			}
		}
		return nil
	})
}
