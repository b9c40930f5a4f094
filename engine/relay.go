package engine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/state"
	"github.com/leat-etl/leat/state/spool"
)

// errRelay ends a session whose slot keeps more log than wal_budget: the next
// one takes the log into the relay.
var errRelay = errors.New("the log goes to the spool")

// relay is the log of one database on this machine while the destination
// cannot take it, so that the slot moves on: groups are appended to a spool,
// which is synced and recorded before the slot is told (invariant 1: the spool
// is the durable log). Sessions take turns: one fills it until the destination
// answers, the next delivers it, in order and past what the destination has,
// before it follows the slot again.
type relay struct {
	*lane
	spool     *spool.Spool
	reachable atomic.Bool // the destination answers
}

func (l *lane) relayDir() string { return filepath.Join(l.p.stateDir, "relay", l.record.Slot) }

// openRelay opens the spool that the state folder relies on and takes back
// what came after, or makes one where it relies on none.
func (l *lane) openRelay() (*relay, error) {
	known := l.record.Relay
	if known == nil {
		if err := spool.Remove(l.relayDir()); err != nil {
			return nil, err
		}
	}
	s, err := spool.Open(l.relayDir(), spool.Options{Budget: &spool.Budget{Limit: int64(l.p.Spec.Engine.SpoolBudget)}})
	if err != nil {
		return nil, err
	}
	if known == nil {
		return &relay{lane: l, spool: s}, nil
	}
	if s.ID() != known.ID || s.End() < known.End || s.Begin() > known.Begin {
		return nil, errors.Join(&GapError{l.database,
			fmt.Sprintf("the spool %s has lost log that the slot has passed and the destination has not got", l.relayDir()), l.again(l.record.Slot)}, s.Close())
	}
	if err := s.Truncate(known.End); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &relay{lane: l, spool: s}, nil
}

// fillRelay is a session without the destination. It ends with nil once the
// destination answers and what the server had by then is in the spool.
func (l *lane) fillRelay(ctx context.Context) (err error) {
	if err = l.identify(ctx); err != nil {
		return err
	}
	found, err := l.source.Slot(ctx, l.record.Slot)
	if err != nil {
		return err
	}
	at := position{Position: l.record.Durable, End: l.record.Durable.LSN, Slot: l.record.Slot}
	if at.System, err = strconv.ParseUint(l.record.SystemIdentifier, 10, 64); err != nil {
		return fmt.Errorf("system identifier of database %s in the state folder: %w", l.database, err)
	}
	if err := l.checkContinuity(ctx, at, found); err != nil {
		return err
	}
	if err := l.loadWhatIsOut(ctx); err != nil {
		return err
	}
	if err := l.publish(ctx, l.record.Publication, l.tables); err != nil {
		return err
	}
	connection, err := l.source.ReplicationConfig()
	if err != nil {
		return err
	}
	r, err := l.openRelay()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.spool.Close()) }()
	start, err := l.startOfLog(ctx)
	if err != nil {
		return err
	}
	if l.record.Relay != nil {
		at.Position = l.record.Relay.To
	}
	stream, err := postgres.OpenStream(ctx, connection, l.streamOptions(start, at))
	if err != nil {
		return err
	}
	l.log.Warn("the slot keeps more log than wal_budget: the log goes to the spool until the destination takes it", "slot", l.record.Slot)
	l.progress(func(d *DatabaseProgress) { d.Phase = "spooling" })
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return stream.Run(ctx) })
	g.Go(func() error { return r.receive(ctx, stream) })
	g.Go(func() error { return r.probe(ctx) })
	g.Go(func() error { return r.watch(ctx) })
	if err = l.ended(at, g.Wait()); errors.Is(err, errRelayed) {
		return nil
	}
	return err
}

// loadWhatIsOut notes that the tables which the log passes without, and those
// that come back to it now, are to be loaded again, perhaps before the destination
// can be told: see leaveTables and unpublished.
func (l *lane) loadWhatIsOut(ctx context.Context) error {
	unpublished, err := l.source.NotPublished(ctx, l.record.Publication, l.tables)
	if err != nil {
		return err
	}
	whole := map[batch.TableID]bool{}
	for _, t := range l.tables {
		whole[t.ID()] = !slices.Contains(unpublished, t.OID)
	}
	return l.p.store.Update(func(tx *state.Tx) error {
		objects, err := tx.Objects()
		for _, o := range objects {
			if err == nil && o.Table.Database == l.database && o.OID != 0 && o.State != state.Deleted && !whole[o.Table] {
				err = tx.ChangeObject(o.Table, func(o *state.Object) { o.Restart = true })
			}
		}
		return err
	})
}

// errRelayed ends fillRelay.
var errRelayed = errors.New("the destination answers")

// probe asks the destination until it answers.
func (r *relay) probe(ctx context.Context) error {
	return persist(ctx, r.log, "asking the destination", r.retryFor, func(ctx context.Context) error {
		if _, err := r.applier.checkpoint(ctx); err != nil {
			return err
		}
		r.reachable.Store(true)
		return nil
	})
}

// watch spares the writers at the source.
func (r *relay) watch(ctx context.Context) error {
	for {
		began, pause := time.Now(), statusInterval
		if err := r.spareWriters(ctx); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			r.log.Warn("updates and deletes of a table without identity fail at the source", "error", err, fixAttr(fixOf(err)))
			pause = longestPause(err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(max(pause, identityShare*time.Since(began))):
		}
	}
}

// receive appends what comes to the spool.
func (r *relay) receive(ctx context.Context, stream *postgres.Stream) error {
	goal, beat := uint64(0), time.Time{}
	for {
		if time.Since(beat) > r.p.Spec.Source.Heartbeat {
			if err := r.beat(ctx); err != nil {
				return err
			}
			beat = time.Now()
		}
		group, err := nextWithin(ctx, stream, statusInterval)
		switch {
		case err != nil:
			return err
		case group == nil:
			if err := r.idle(stream); err != nil {
				return err
			}
		default:
			if err := r.take(ctx, stream, group); err != nil {
				return err
			}
		}
		if !r.reachable.Load() {
			continue
		}
		stats := stream.Stats()
		if goal == 0 {
			goal = stats.ServerEnd
		}
		if between := group != nil && !group.Complete; !between && (group == nil || stats.Received >= goal) {
			return errRelayed
		}
	}
}

// nextWithin returns nil where no group comes within d.
func nextWithin(ctx context.Context, stream *postgres.Stream, d time.Duration) (*postgres.Group, error) {
	waiting, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	group, err := stream.Next(waiting)
	if err != nil && waiting.Err() != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return nil, nil
	}
	return group, err
}

// take appends a group. One that ends a transaction is synced, recorded and
// acknowledged. Where the spool is full the log waits at the source.
func (r *relay) take(ctx context.Context, stream *postgres.Stream, group *postgres.Group) error {
	defer releaseGroup(group)
	records, err := encodeGroup(group)
	if err != nil {
		return err
	}
	for _, record := range records {
		_, err := r.spool.Append(record)
		if errors.Is(err, spool.ErrFull) {
			return r.waitFull(ctx)
		}
		if err != nil {
			return err
		}
	}
	if !group.Complete {
		return nil
	}
	if err := r.spool.Sync(); err != nil {
		return err
	}
	failpoint("relay-synced")
	if err := r.note(group.Position, group.End()); err != nil {
		return err
	}
	failpoint("relay-recorded")
	stream.Acknowledge(group.Position)
	return nil
}

// note records how far the slot may go by the spool.
func (r *relay) note(at batch.Position, end uint64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := state.Relay{ID: r.spool.ID(), Begin: r.spool.Begin(), From: r.record.Durable}
	if known := r.record.Relay; known != nil {
		next = *known
	}
	next.End, next.To, next.ToEnd = r.spool.End(), at, end
	r.record.Relay = &next
	return r.p.store.PutSource(r.record)
}

// waitFull returns once there is somewhere to go on: the destination.
func (r *relay) waitFull(ctx context.Context) error {
	r.log.Error("the spool is full: the log waits at the source until the destination answers", "spool_budget", int64(r.p.Spec.Engine.SpoolBudget), "slot", r.record.Slot)
	tick := time.NewTicker(endInterval)
	defer tick.Stop()
	for !r.reachable.Load() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return errRelayed // what was appended after the last commit is taken back when the spool is opened
}

// mayRelay says whether the lane has to go on without its destination, and
// may: its history is loaded, and the state folder knows the slot.
func (l *lane) mayRelay() bool {
	if l.p.Spec.Source.WALBudgetAction != "spool" {
		return false
	}
	record, err := l.p.store.Source(l.database)
	if err != nil || !record.Followed || record.SlotCreating {
		return false // the session that follows says what is wrong
	}
	if record.Relay == nil && !l.spooling.Load() {
		return false
	}
	l.spooling.Store(true)
	l.mu.Lock()
	l.record = record
	l.mu.Unlock()
	return true
}

// mayWait says whether a pipeline may start although its destination does not
// answer: the log goes to the spool in the meantime.
func (p *Pipeline) mayWait(err error) bool {
	return p.Spec.Source.WALBudgetAction == "spool" && p.Spec.Source.WALBudget > 0 && actionFor(err) == retry
}
