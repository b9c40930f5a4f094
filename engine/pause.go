package engine

import (
	"context"
	"slices"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/state"
)

// A table that an operator pauses is diverted (see diversion): its log waits in
// a spool of its own, so that neither the slot nor other tables wait with it.
// When it is resumed the spool is applied in order beside the stream. A table
// whose load is not done has no rows to keep: it is left out until it is
// resumed, and loaded then.

// forPause is the Reason of a table that an operator pauses.
const forPause = "pause"

// settlePauses begins the diversions of tables that are paused, and ends those
// of tables that were left out since. What is to be applied of tables that are
// resumed is left to resume.
func (l *lane) settlePauses(ctx context.Context) error {
	records, err := l.objectRecords()
	if err != nil {
		return err
	}
	begin, end := l.pausesOf(records)
	if len(begin)+len(end) == 0 {
		return nil
	}
	at, _, err := l.destinationPosition()
	if err != nil {
		return err
	}
	d, err := l.applier.begin(ctx)
	if err != nil {
		return err
	}
	for _, n := range begin {
		l.log.Warn("a table is paused: its changes wait on this machine", "table", n.Table.String())
		n.From = at.Position.LSN
		d.divert(&l.diverted, n)
	}
	for _, oid := range end {
		d.change(&l.diverted, oid, func(t *diverted) { t.joins = true })
	}
	if err := d.commit(context.WithoutCancel(ctx)); err != nil {
		return d.abort(ctx, nil, err)
	}
	failpoint("paused")
	return nil
}

// pausesOf says which diversions are to begin, and which to end unapplied.
func (l *lane) pausesOf(records map[batch.TableID]state.Object) (begin []diversion, end []uint32) {
	var resuming []uint32
	here := map[uint32]bool{}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range l.tables {
		here[t.OID] = true
		held, diverts := l.diverted.get(t.OID)
		switch paused, fails := records[t.ID()].Choice == state.Pause, l.failing[t.OID] != nil; {
		case paused && !diverts:
			begin = append(begin, diversion{Table: t.ID(), OID: t.OID, Reason: forPause})
		case fails && !diverts:
			begin = append(begin, diversion{Table: t.ID(), OID: t.OID, Reason: forPlugin})
		case !paused && !fails && diverts && held.waits() && !held.replaced(records[t.ID()]):
			resuming = append(resuming, t.OID)
		}
	}
	for oid, f := range l.failing { // dropped, and the log has still something of it
		noted, known := l.shapes.get(oid)
		if _, diverts := l.diverted.get(oid); !diverts && !here[oid] && known && !noted.Left {
			begin = append(begin, diversion{Table: f.Table, OID: oid, Reason: forPlugin})
		}
	}
	for _, held := range l.diverted.waiting() {
		noted, ok := l.shapes.get(held.OID)
		switch {
		case here[held.OID]:
		case ok && noted.Left:
			end = append(end, held.OID)
		case records[held.Table].Choice != state.Pause && l.failing[held.OID] == nil: // dropped, and resumed
			resuming = append(resuming, held.OID)
		}
	}
	l.resuming = resuming
	return begin, end
}

// resume applies what was spooled of the tables that are paused no longer.
func (l *lane) resume(ctx context.Context) error {
	for len(l.resumes()) > 0 {
		oid := l.resumes()[0]
		held, _ := l.diverted.get(oid)
		l.log.Info("delivering what has waited of a table", "table", held.Table.String())
		err := l.rejoin(ctx, oid, nil, nil)
		failed, err := l.pause(err)
		if err != nil {
			return err
		}
		failpoint("resumed")
		l.mu.Lock()
		l.resuming = l.resuming[1:]
		l.mu.Unlock()
		if failed != 0 {
			continue
		}
		if err := l.comesTo(&batch.Schema{Table: held.Table, OID: oid}, state.Streaming); err != nil {
			return err
		}
		l.log.Info("a table follows the log again", "table", held.Table.String())
	}
	return nil
}

func (l *lane) resumes() []uint32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.resuming
}

// waits says whether the table is diverted for longer than a load takes.
func (d *diversion) waits() bool { return d.Reason == forPause || d.Reason == forPlugin }

// replaced says whether a load that an operator asks for takes the place of what
// has waited of the table.
func (d *diversion) replaced(o state.Object) bool { return d.Reason == forPlugin && o.Restart }

// waiting returns the tables that are diverted for longer than a load takes.
func (s *diversions) waiting() (out []diversion) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.byOID {
		if t.waits() {
			out = append(out, t.diversion)
		}
	}
	return out
}

// settled says whether nothing is to be loaded or to be delivered of tables that
// are not paused. The caller holds l.mu.
func (l *lane) settled() bool {
	due := slices.DeleteFunc(l.shapes.due(endOfLog), func(noted shape) bool {
		held, ok := l.diverted.get(noted.OID)
		return ok && held.waits() || l.failing[noted.OID] != nil // is loaded again when what has waited is delivered
	})
	return len(l.resuming) == 0 && len(due) == 0 && !l.isLoading()
}

// isLoading says whether a table is under load. It is asked often, also while
// thousands are. The caller holds l.mu.
func (l *lane) isLoading() bool {
	return l.diverted.any(func(d *diversion) bool { return d.Reason == forLoad && l.failing[d.OID] == nil })
}

// underLoad are the tables that are under load.
func (l *lane) underLoad() []diversion {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(l.diverted.loading(), func(d diversion) bool { return l.failing[d.OID] != nil })
}
