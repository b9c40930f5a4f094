package engine

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"golang.org/x/sync/errgroup"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/plugins/wasm"
	"github.com/leat-etl/leat/state"
)

// History is loaded beside the stream. A table under load is diverted (see
// diversion): its chunks are read in an exact snapshot, and its log waits in
// the spool until they are at the destination. The log is never applied to rows
// that are newer than it: an update that leaves a TOAST value out, or that moves
// a row to the key which another row has by now, would take the value of the
// wrong row. So where rows of the table are there already, because its load was
// interrupted or it is loaded again, the spool is first applied up to the
// snapshot and not beyond. Where none are there, the log before the snapshot is
// in the load, and is dropped.

// loadBeside runs the historical loads of a session until ctx ends: the first
// one, whose snapshot is that of the new slot, or what an earlier session has
// left; then every table that falls due. Its errgroup is the session's.
func (l *lane) loadBeside(ctx context.Context, first *history) error {
	g, ctx := errgroup.WithContext(ctx)
	begin := func(h *history, oids []uint32) {
		if h != nil || len(oids) > 0 {
			g.Go(func() error { return l.load(ctx, h, oids) })
		}
	}
	var left []uint32
	if first == nil {
		if _, err := l.startReloads(ctx, true); err != nil {
			return err
		}
		for _, d := range l.underLoad() {
			left = append(left, d.OID)
		}
	}
	l.mu.Lock()
	l.begun = true
	l.mu.Unlock()
	begin(first, left)
	g.Go(func() error {
		for {
			l.showPhase()
			select {
			case <-l.dueLoads:
			case <-ctx.Done():
				return ctx.Err()
			}
			oids, err := l.startReloads(ctx, false)
			if err != nil {
				return err
			}
			begin(nil, oids)
		}
	})
	return g.Wait()
}

// load loads tables that are diverted. A table whose rows move to another place
// meanwhile is loaded again in another snapshot, one on which a plugin fails is
// left as it is; the others go on.
func (l *lane) load(ctx context.Context, h *history, oids []uint32) (err error) {
	tables := len(oids)
	if h != nil {
		tables = len(h.loads)
	}
	for h != nil || len(oids) > 0 {
		if h == nil {
			h, err = l.openHistory(ctx, oids)
			failed, err := l.pause(err)
			if err != nil {
				return err
			}
			if failed != 0 {
				oids = slices.DeleteFunc(oids, func(oid uint32) bool { return oid == failed })
				continue
			}
		}
		err = h.run(ctx)
		if err = errors.Join(err, h.snapshot.Close(context.WithoutCancel(ctx))); err != nil {
			return err
		}
		h, oids = nil, h.again
	}
	l.showPhase()
	if tables > 0 {
		l.log.Info("historical load finished", "tables", tables)
	}
	return nil
}

// openHistory prepares the load of tables in a new snapshot, whose LSN is
// exact, and brings the destination up to it.
func (l *lane) openHistory(ctx context.Context, oids []uint32) (_ *history, err error) {
	snapshot, tables, err := l.snapshotOf(ctx, oids)
	if err != nil {
		return nil, err
	}
	h := &history{lane: l, snapshot: snapshot, resumed: true}
	defer func() {
		if err != nil {
			err = errors.Join(err, snapshot.Close(context.WithoutCancel(ctx)))
		}
	}()
	for _, t := range tables {
		if err := h.resume(ctx, t); err != nil {
			return nil, err
		}
	}
	if err := h.record(); err != nil {
		return nil, err
	}
	h.arrange()
	if err := l.rejoinGone(ctx, oids, tables); err != nil {
		return nil, err
	}
	if err := h.approach(ctx); err != nil {
		return nil, err
	}
	return h, h.settle(ctx)
}

// snapshotOf takes a snapshot and returns the tables as they are in it: a
// snapshot does not hold back those who alter a table, so it is taken again
// where one was altered around that moment.
func (l *lane) snapshotOf(ctx context.Context, oids []uint32) (*postgres.Snapshot, []*postgres.Table, error) {
	before, err := l.catalogue(ctx, oids)
	if err != nil {
		return nil, nil, err
	}
	for {
		snapshot, err := l.source.ExactSnapshot(ctx)
		if err != nil {
			return nil, nil, err
		}
		failpoint("load-snapshot")
		after, err := l.catalogue(ctx, oids)
		if err == nil && slices.EqualFunc(before, after, sameTable) {
			if err = l.describe(after); err == nil {
				return snapshot, after, nil
			}
		}
		if err = errors.Join(err, snapshot.Close(context.WithoutCancel(ctx))); err != nil {
			return nil, nil, err
		}
		before = after
	}
}

func sameTable(a, b *postgres.Table) bool {
	return a.OID == b.OID && a.ID() == b.ID() && a.Definition() == b.Definition() && a.Schema.Fingerprint() == b.Schema.Fingerprint()
}

// catalogue returns those of the session's tables that are there.
func (l *lane) catalogue(ctx context.Context, oids []uint32) ([]*postgres.Table, error) {
	all, err := l.source.Tables(ctx, selection(l.p.Spec))
	if err != nil {
		return nil, err
	}
	wanted := map[uint32]bool{}
	for _, oid := range oids {
		wanted[oid] = true
	}
	here := map[uint32]bool{}
	for _, t := range l.tables {
		here[t.OID] = wanted[t.OID]
	}
	return slices.DeleteFunc(all, func(t *postgres.Table) bool { return !here[t.OID] || t.Reason != "" }), nil
}

// describe makes the schemas of tables known to all who will see their rows.
func (l *lane) describe(tables []*postgres.Table) error {
	if err := l.numberAll(tables); err != nil {
		return err
	}
	if err := l.orderLoads(tables); err != nil {
		return err
	}
	for _, t := range tables {
		p, err := l.visibleOf(t.Schema)
		if err != nil {
			return err
		}
		t.Schema = p.schema
		l.applier.announce(t.Schema)
	}
	return nil
}

// rejoinGone lets tables that are not there any more join the stream with what
// the log still has of them.
func (l *lane) rejoinGone(ctx context.Context, oids []uint32, there []*postgres.Table) error {
	here := map[uint32]bool{}
	for _, t := range there {
		here[t.OID] = true
	}
	for _, oid := range oids {
		d, ok := l.diverted.get(oid)
		if !ok || here[oid] {
			continue
		}
		l.log.Warn("a table went away while it was loaded: what has been loaded stays at the destination", "table", d.Table.String())
		if err := l.rejoin(ctx, oid, nil, nil); err != nil {
			return err
		}
	}
	return nil
}

// approach brings the log of the tables to the destination up to the snapshot,
// as it comes, and not beyond.
func (h *history) approach(ctx context.Context) error {
	if err := h.beat(ctx); err != nil { // something for the slot to come to
		return err
	}
	var left []*tableLoad
	for _, t := range h.loads {
		if !t.complete {
			left = append(left, t)
		}
	}
	for len(left) > 0 {
		whole, moved := h.passed(h.snapshot.LSN)
		if whole {
			var err error
			if left, err = h.passOver(ctx, left); err != nil {
				return err
			}
		}
		for _, t := range left {
			if d, _ := h.diverted.get(t.table.OID); d.Begin == d.End && !whole {
				continue
			}
			s := slice{oid: t.table.OID, until: h.snapshot.LSN, whole: whole, skips: t.fresh, replaced: len(h.chunkEntries(t.table.ID())) == 0}
			for done := false; !done; {
				var err error
				if done, err = h.apply(ctx, s); err != nil {
					return err
				}
			}
		}
		if whole {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// passOver notes that nothing was spooled of tables up to the snapshot, and
// returns the others.
func (h *history) passOver(ctx context.Context, loads []*tableLoad) (left []*tableLoad, err error) {
	d, err := h.applier.begin(ctx)
	if err != nil {
		return nil, err
	}
	ctx = context.WithoutCancel(ctx)
	for _, t := range loads {
		if held := h.diverted.held(t.table.OID); held != nil && held.Begin < held.End {
			left = append(left, t)
			continue
		}
		d.change(&h.diverted, t.table.OID, func(t *diverted) { t.From = max(t.From, h.snapshot.LSN) })
	}
	if err := d.commit(ctx); err != nil {
		return nil, d.abort(ctx, nil, err)
	}
	return left, nil
}

// passed says whether every commit before lsn has been delivered, and returns a
// channel that is closed when that may have changed.
func (l *lane) passed(lsn uint64) (bool, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if max(l.record.Durable.LSN, l.record.IdleAcknowledged) >= lsn {
		return true, nil
	}
	if l.moved == nil {
		l.moved = make(chan struct{})
	}
	return false, l.moved
}

// hasMoved wakes those who wait for the log. The caller holds l.mu.
func (l *lane) hasMoved() {
	if l.moved != nil {
		close(l.moved)
		l.moved = nil
	}
}

// settle notes the tables as they are in the snapshot: their rows come in this
// shape, and whatever the log before it made them due for is done with them.
func (h *history) settle(ctx context.Context) error {
	var renamed []wasm.Checkpoint
	for _, t := range h.loads {
		if t.complete {
			continue
		}
		id := t.table.ID()
		before, err := h.previous(t.table.OID)
		if err != nil {
			return err
		}
		if before != nil && len(before.Columns) > 0 {
			visible, err := h.visibleOf(before)
			if err != nil {
				return err
			}
			for _, c := range schemaChanges(visible.schema, t.table.Schema) {
				if policyOf(&h.p.Spec.SchemaChanges, c.Kind) == "block" {
					return &SchemaChangeError{c}
				}
			}
		}
		noted, ok := h.shapes.get(t.table.OID)
		if ok && noted.Table != id {
			moved, err := h.renamed(noted, id)
			if err != nil {
				return err
			}
			if renamed = append(renamed, moved...); len(moved) > 0 {
				renamed = append(renamed, h.chunkEntries(noted.Table)...)
			}
		}
		now := h.shapeNow(t.table)
		if ok {
			now.Keyless = noted.Keyless // as it is published
		}
		if noted.Chain != "" {
			now.Chain = noted.Chain // that of the chunks which an interrupted load has delivered
		}
		if noted.Due > h.snapshot.LSN {
			now.Due, now.Why, now.Empty = noted.Due, noted.Why, noted.Empty
		}
		if h.applier.waitsOtherwise(t.table.Schema) { // what was just applied has set rows aside
			now.Due, now.Why, now.Empty = h.snapshot.LSN, otherKey, true
		}
		h.shapes.put(now)
	}
	return h.savePromises(ctx, renamed...)
}

// join lets a table whose chunks are all at the destination join the stream.
func (h *history) join(ctx context.Context, t *tableLoad) error {
	failpoint("load-read")
	s := t.table.Schema
	if !t.joined {
		if err := h.comesTo(s, state.HistoricalLoadFinished); err != nil {
			return err
		}
		if err := h.rejoin(ctx, s.OID,
			func(ctx context.Context, d *delivery) error { return d.makeTables(ctx, s) },
			func() []wasm.Checkpoint { return h.joined(s) }); err != nil {
			return err
		}
	}
	failpoint("load-joined")
	return h.comesTo(s, state.Streaming)
}

// joined is what the checkpoint says of a table that joins the stream.
func (h *history) joined(s *batch.Schema) []wasm.Checkpoint {
	id := s.Table
	if noted, ok := h.shapes.get(s.OID); ok {
		id = noted.Table // renamed by the log that was spooled
	}
	value := strconv.FormatUint(h.snapshot.LSN, 10)
	return append(h.chunkEntries(s.Table), wasm.Checkpoint{Key: loadKey(id), Value: &value})
}

// comesTo notes what the load of a table has come to.
func (l *lane) comesTo(s *batch.Schema, what string) error {
	return l.p.store.Update(func(tx *state.Tx) error {
		return tx.ChangeObject(s.Table, func(o *state.Object) { come(o, s.OID, what) })
	})
}

// come notes what an object has come to, unless something else was asked of it
// meanwhile.
func come(o *state.Object, oid uint32, what string) {
	if !o.Restart && o.Choice != state.Skip && o.Choice != state.Pause {
		o.OID, o.State, o.Reason, o.Fix = oid, what, "", ""
	}
}

// beginsAnew says whether a table is under load whose load would begin anew in
// another session: a new table does not end this one for it, or a source where
// tables come and go would never get it loaded.
func (l *lane) beginsAnew() bool {
	for _, d := range l.underLoad() {
		if len(l.chunkEntries(d.Table)) == 0 {
			continue // nothing would be lost
		}
		if i := slices.IndexFunc(l.tables, func(t *postgres.Table) bool { return t.OID == d.OID }); i >= 0 && len(l.tables[i].Schema.Key()) == 0 {
			return true
		}
	}
	return false
}

// showPhase says whether a historical load runs beside the stream.
func (l *lane) showPhase() {
	l.mu.Lock()
	following, loading := l.following, l.isLoading()
	l.mu.Unlock()
	if !following {
		return
	}
	phase := "streaming"
	if loading {
		phase = "loading"
	}
	l.progress(func(d *DatabaseProgress) { d.enter(phase) })
}
