package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/plugins/wasm"
	"github.com/leat-etl/leat/state"
)

// Where a lane begins: with a new slot and its first snapshot, or where the
// destination stands in the log of one that is there.

// prepare makes sure of publication and slot. It returns the first historical
// load, whose snapshot is that of the slot, nil if the slot is not new.
func (l *lane) prepare(ctx context.Context, tables []*postgres.Table) (*history, error) {
	var err error
	if err = l.identify(ctx); err != nil {
		return nil, err
	}
	if l.goal == 0 {
		l.goal = l.system.LSN
	}
	if err := l.settleQueries(ctx, tables); err != nil {
		return nil, err
	}
	slot, publication := names(l.p.Spec, l.database)
	l.record, err = l.p.store.Source(l.database)
	switch {
	case errors.Is(err, state.ErrNotFound):
		if l.stored.get(failedKey(l.database)) != "" {
			l.log.Warn("the state folder is a new one: rows that were set aside before are not in it; leat verify names them")
		}
	case err != nil:
		return nil, err
	}
	l.givenUp = err == nil && l.record.Slot == ""
	if l.record.Slot == "" {
		l.record = state.Source{Database: l.database, Slot: slot, Publication: publication, Beside: l.record.Beside}
	}
	position, started, err := l.destinationPosition()
	if err != nil {
		return nil, err
	}
	found, err := l.source.Slot(ctx, l.record.Slot)
	if err != nil {
		return nil, err
	}
	if started { // before anything is noted of this server
		if err := l.checkContinuity(ctx, position, found); err != nil {
			return nil, err
		}
	}
	if err := l.unpublished(ctx, tables); err != nil {
		return nil, err
	}
	if l.identities(tables) || l.shapes.anyPromise() { // before the log is without them
		if err := l.savePromises(ctx); err != nil {
			return nil, err
		}
	}
	failpoint("left-noted")
	if !started {
		return l.begin(ctx, tables, found)
	}
	if err := l.publish(ctx, PublicationName(l.p.Spec, l.database), tables); err != nil {
		return nil, err
	}
	if err := l.applier.dropUnsettled(ctx, l.database); err != nil {
		return nil, err
	}
	if err := l.forgetDropped(ctx); err != nil {
		return nil, err
	}
	if err := l.settlePauses(ctx); err != nil {
		return nil, err
	}
	return nil, l.divertUnfinished(ctx, tables, position)
}

// position is the value of a database in the destination's checkpoint.
type position struct {
	Position batch.Position `json:"position"`
	// End is the LSN that the slot may be told for Position.
	End uint64 `json:"end"`
	// Time is when the transaction was committed that Position ends, in
	// microseconds since 1970, 0 if that is not known.
	Time int64 `json:"time,omitempty"`
	// System is the identity of the server that Position is a place of.
	System uint64 `json:"system,string"`
	// Standby says that the server was a standby when the session began: it may
	// have gone over to a later timeline before Position, and the stream on with it.
	Standby bool   `json:"standby,omitempty"`
	Slot    string `json:"slot"`
}

func positionKey(database string) string { return checkpointKey("position", database) }

// destinationPosition is what the destination says it has. It wins over the
// state folder, which may be a moment behind.
func (l *lane) destinationPosition() (p position, started bool, err error) {
	text := l.stored.get(positionKey(l.database))
	if text == "" {
		return p, false, nil
	}
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return p, false, fmt.Errorf("checkpoint of database %s at the destination: %w", l.database, err)
	}
	return p, true, nil
}

// begin creates the slot and plans the load of a database that the
// destination knows nothing of.
func (l *lane) begin(ctx context.Context, tables []*postgres.Table, found *postgres.Slot) (*history, error) {
	if !l.record.Durable.IsZero() {
		return nil, &GapError{l.database,
			fmt.Sprintf("the state folder says that the destination has everything up to %s, but the destination has no checkpoint of this pipeline", l.record.Durable),
			fmt.Sprintf("if the destination was emptied on purpose, leat drop %s lets the next run start anew", l.p.Spec.Path)}
	}
	if found != nil && !l.record.SlotCreating {
		return nil, &GapError{l.database,
			fmt.Sprintf("slot %q exists, but neither the state folder nor the destination knows it", found.Name),
			fmt.Sprintf("if no other pipeline uses it, run SELECT pg_drop_replication_slot('%s') at the source and start again; otherwise give this pipeline another name or slot", found.Name)}
	}
	if err := l.publish(ctx, PublicationName(l.p.Spec, l.database), tables); err != nil {
		return nil, err
	}
	l.record.SlotCreating, l.record.SystemIdentifier = true, strconv.FormatUint(l.system.ID, 10)
	if err := l.p.store.PutSource(l.record); err != nil {
		return nil, err
	}
	failpoint("slot-intent")
	if found != nil {
		if err := l.source.DropSlot(ctx, found.Name); err != nil {
			return nil, err
		}
	}
	snapshot, err := l.source.CreateSlot(ctx, l.record.Slot, l.failover())
	if err != nil {
		return nil, err
	}
	failpoint("slot-created")
	l.log.Info("slot created", "slot", l.record.Slot, "at", batch.FormatLSN(snapshot.LSN))
	h := &history{lane: l, snapshot: snapshot, resumed: l.record.Beside}
	if err := l.start(ctx, h, tables); err != nil {
		return nil, errors.Join(err, snapshot.Close(context.WithoutCancel(ctx)))
	}
	return h, nil
}

// start records where the log begins, at the destination first: from then on
// the slot is known.
func (l *lane) start(ctx context.Context, h *history, tables []*postgres.Table) error {
	var oids []uint32
	for _, t := range tables {
		oids = append(oids, t.OID)
	}
	now, err := l.catalogue(ctx, oids)
	if err != nil {
		return err
	}
	if !slices.EqualFunc(tables, now, sameTable) {
		return errAnew // a table was altered around the moment of the snapshot
	}
	if l.p.Spec.Source.LoadHistoricalData {
		for i, t := range tables {
			if noted, _ := l.shapes.get(t.OID); noted.Left {
				continue // to be emptied first: see truncateAll
			}
			t.Leaves, t.Pages, t.Bytes, t.Rows = now[i].Leaves, now[i].Pages, now[i].Bytes, now[i].Rows
			if err := h.plan(ctx, t); err != nil {
				return err
			}
		}
		if err := h.record(); err != nil {
			return err
		}
	}
	h.arrange()
	failpoint("load-planned")
	at := batch.Position{Timeline: h.snapshot.Timeline, LSN: h.snapshot.LSN} // a commit exactly there is still to come
	entry, err := l.checkpoint(position{Position: at, End: h.snapshot.LSN})
	if err != nil {
		return err
	}
	for _, t := range tables {
		if noted, _ := l.shapes.get(t.OID); !noted.Left {
			l.shapes.put(l.shapeNow(t))
		}
	}
	shapes, saved, err := l.shapes.entries()
	if err != nil {
		return err
	}
	d, err := l.applier.begin(ctx)
	if err != nil {
		return err
	}
	for _, t := range h.loads {
		id := t.table.ID()
		d.divert(&l.diverted, diversion{Table: id, OID: t.table.OID, Reason: forLoad, Fresh: true, From: h.snapshot.LSN})
	}
	entries := append(shapes, entry)
	if err := d.commit(ctx, entries...); err != nil {
		return d.abort(ctx, nil, err)
	}
	saved()
	l.stored.apply(entries)
	l.record.SlotCreating, l.record.Durable, l.record.Acknowledged = false, at, at
	return l.p.store.PutSource(l.record)
}

func (l *lane) checkpoint(at position) (wasm.Checkpoint, error) {
	at.System, at.Standby, at.Slot = l.system.ID, l.system.Standby, l.record.Slot
	value, err := json.Marshal(at)
	if err != nil {
		return wasm.Checkpoint{}, fmt.Errorf("encode checkpoint: %w", err)
	}
	text := string(value)
	return wasm.Checkpoint{Key: positionKey(l.database), Value: &text}, nil
}

// checkContinuity makes sure that the slot still has everything after at, which
// the destination has, and that this server has written what was taken of the log
// so far, by the destination or by the spool for it.
func (l *lane) checkContinuity(ctx context.Context, at position, found *postgres.Slot) error {
	again := l.again("")
	if found != nil {
		again = l.again(at.Slot)
	}
	gap := func(format string, args ...any) error {
		return &GapError{l.database, fmt.Sprintf(format, args...), again}
	}
	l.record.Slot = at.Slot
	acknowledged := max(at.End, l.record.Acknowledged.LSN)
	relayed, taken := uint64(0), at
	if l.record.Relay != nil {
		relayed = max(l.record.Relay.ToEnd, l.record.IdleAcknowledged)
		if at.Position.Compare(l.record.Relay.To) < 0 {
			taken.Position, taken.End = l.record.Relay.To, l.record.Relay.ToEnd
		}
	}
	if l.record.Durable.Compare(at.Position) <= 0 {
		acknowledged = max(acknowledged, l.record.IdleAcknowledged)
	} else {
		acknowledged = at.End // the destination has gone back behind the state folder
	}
	if at.System != l.system.ID {
		again = l.unlessElsewhere(again)
		return gap("the server is another one: its system identifier is %d, the destination's position is of %d", l.system.ID, at.System)
	}
	other, err := l.otherLog(ctx, taken)
	if err != nil {
		return err
	}
	switch {
	case other != "":
		again = l.unlessElsewhere(again)
		return gap("%s", other)
	case found == nil && l.givenUp:
		return gap("leat drop has given the pipeline up, and slot %q does not exist any more", at.Slot)
	case found == nil && at.Position.Timeline != l.system.Timeline:
		return gap("the server is on timeline %d, the destination's position %s on %d, and slot %q is not there: %s", l.system.Timeline, at.Position, at.Position.Timeline, at.Slot, noFailoverSlot)
	case found == nil:
		return gap("slot %q does not exist any more", at.Slot)
	case found.Lost():
		return gap("slot %q has lost log that is needed: %s", at.Slot, found.WhyLost())
	case found.Plugin != l.decoder():
		return gap("slot %q is one of %s, the pipeline's decoder is %s", at.Slot, found.Plugin, l.decoder())
	case found.Database != l.database:
		return gap("slot %q belongs to database %q", at.Slot, found.Database)
	case found.ConfirmedFlushLSN > max(acknowledged, relayed):
		again = fmt.Sprintf("if it was run from another state folder, or from a copy of this one, go on from there: it knows what the slot has passed; if not, %s", again)
		return gap("slot %q was advanced to %s, the destination has only %s", at.Slot, batch.FormatLSN(found.ConfirmedFlushLSN), at.Position)
	}
	if taken.Position.Timeline != l.system.Timeline {
		l.log.Info("the server was promoted, going on from its slot", "timeline", l.system.Timeline, "from", taken.Position.String())
	}
	l.record.SystemIdentifier = strconv.FormatUint(l.system.ID, 10)
	l.record.SlotCreating = false
	l.record.Durable = at.Position
	// A slot goes back when its server crashes, and the copy at a standby lags
	// behind: what was idle there may be log of others here.
	l.record.IdleAcknowledged = min(l.record.IdleAcknowledged, found.ConfirmedFlushLSN)
	if l.record.Relay == nil {
		l.record.Acknowledged = batch.Position{Timeline: l.system.Timeline, LSN: max(at.End, found.ConfirmedFlushLSN), Ordinal: batch.EndOfTransaction}
	}
	return l.p.store.PutSource(l.record)
}

// unlessElsewhere is what to do where perhaps a server answers that is not the
// one to read: what that has is not to be loaded.
func (l *lane) unlessElsewhere(again string) string {
	return fmt.Sprintf("if this is not the server that has the data now, correct host or hosts in %s, or stop the old primary; if it is, %s", l.p.Spec.Path, again)
}

// divertUnfinished diverts the tables whose history is not at the destination.
func (l *lane) divertUnfinished(ctx context.Context, tables []*postgres.Table, at position) error {
	if err := l.takeNames(ctx, tables, at); err != nil || !l.p.Spec.Source.LoadHistoricalData {
		return err
	}
	d, err := l.applier.begin(ctx)
	if err != nil {
		return err
	}
	for _, t := range tables {
		noted, known := l.shapes.get(t.OID)
		if known && (noted.Left || noted.Table != t.ID()) {
			continue // to be loaded again, or loaded under the name that the log still has
		}
		if _, ok := l.diverted.get(t.OID); !ok && l.stored.get(loadKey(t.ID())) == "" {
			d.divert(&l.diverted, diversion{Table: t.ID(), OID: t.OID, Reason: forLoad, Fresh: !known, From: at.Position.LSN})
		}
	}
	if d.diverts == nil {
		return d.abort(ctx, nil, nil)
	}
	ctx = context.WithoutCancel(ctx)
	if err := d.commit(ctx); err != nil {
		return d.abort(ctx, nil, err)
	}
	return nil
}
