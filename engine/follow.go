package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
)

// errCaughtUp ends a run that was to end when it has caught up.
var errCaughtUp = errors.New("caught up")

// follow delivers the log from the destination's position on until ctx ends
// or something fails. Receiving, delivering and the heartbeat run beside each
// other; the stream's keep-alives wait for none of them.
func (l *lane) follow(ctx context.Context) error {
	at, _, err := l.destinationPosition()
	if err != nil {
		return err
	}
	connection, err := l.source.ReplicationConfig()
	if err != nil {
		return err
	}
	start, err := l.startOfLog(ctx)
	if err != nil {
		return err
	}
	stream, err := postgres.OpenStream(ctx, connection, l.streamOptions(start, at))
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return stream.Run(ctx) })
	g.Go(func() error { return l.deliver(ctx, stream) })
	g.Go(func() error { return l.watch(ctx, stream) })
	err = l.ended(at, g.Wait())
	if errors.Is(err, postgres.ErrNeedsText) && l.p.Spec.Source.DecoderFormat == "binary" {
		return fmt.Errorf("decoder_format is \"binary\", set it to \"auto\" or \"text\": %w", errors.New(err.Error())) // not worth another try
	}
	return err
}

// ended notes what the next session has to know of how a stream ended that began
// behind at.
func (l *lane) ended(at position, err error) error {
	l.needsText = l.needsText || errors.Is(err, postgres.ErrNeedsText)
	if postgres.IsNoPublication(err) {
		return &GapError{l.database, fmt.Sprintf("the publication was dropped, and the server cannot read the log from then on for slot %q: %s", l.record.Slot, err), l.again(l.record.Slot)}
	}
	if errors.Is(err, postgres.ErrOtherLog) {
		return &GapError{l.database, fmt.Sprintf("the log of the server is not the one that was taken up to %s: the server was restored to an earlier state", at.Position), l.again(l.record.Slot)}
	}
	return err
}

// streamOptions are those of a stream of the slot that hands out what lies
// behind at, which a promoted server has on the timeline that it was promoted to.
func (l *lane) streamOptions(start uint64, at position) postgres.StreamOptions {
	engine := l.p.Spec.Engine
	at.Position.Timeline = l.system.Timeline
	return postgres.StreamOptions{
		Slot: l.record.Slot, Publications: l.publication.Names, Database: l.database, Timeline: l.system.Timeline,
		Start: start, SkipTo: at.Position, SkipTime: at.Time, Binary: l.binary(),
		Streaming: l.p.Spec.Source.Streaming != "off", TwoPhase: l.p.Spec.Source.TwoPhase, SpillDir: l.spillDir(), Text: l.textLog(),
		MaxBytes: int(min(engine.BatchBytes, engine.Memory/4)), MaxRows: engine.BatchRows, MostBytes: int(engine.Memory / 4), MaxEventBytes: int64(engine.MaxEventBytes), Linger: engine.FlushInterval,
		StatusInterval: statusInterval, Silence: l.silence(), Process: func(pid uint32) { l.stale = pid }, Until: l.until(), Tables: l.tableByOID, Visible: l.source.AwaitVisible, Types: l.source.Types,
		Previous: l.logged, Number: l.number, Messages: l.p.Spec.Source.Messages, Capture: l.capturing(),
	}
}

// statusInterval is well below any sensible wal_sender_timeout, and is how
// often the server hears of progress.
const statusInterval = time.Second

// endInterval is how often a run that is to end looks whether it may.
const endInterval = 50 * time.Millisecond

// binary says in which form the server is to send values.
func (l *lane) binary() bool {
	if l.decoder() == string(postgres.TestDecoding) {
		return false
	}
	switch l.p.Spec.Source.DecoderFormat {
	case "binary":
		return true
	case "text":
		return false
	}
	if l.needsText {
		return false
	}
	var schemas []*batch.Schema
	for _, t := range l.tables {
		schemas = append(schemas, t.Schema)
	}
	return l.source.Types().PreferBinary(schemas, l.source.Version)
}

// deliver moves groups of batches to the destination. A transaction that the
// stream passes on in parts is one delivery.
func (l *lane) deliver(ctx context.Context, stream *postgres.Stream) error {
	size := groupSize(1)
	for {
		group, err := stream.Next(ctx)
		if err != nil {
			return err
		}
		d, err := l.deliverGroup(ctx, stream, group)
		if err != nil {
			return err
		}
		stream.Widen(size.after(d.taken, d.kept))
		if l.untilCaughtUp && l.reached() {
			return errCaughtUp
		}
	}
}

func (l *lane) deliverGroup(ctx context.Context, stream changes, group *postgres.Group) (*delivery, error) {
	if err := l.awaitRoom(ctx); err != nil {
		return nil, err
	}
	d, err := l.applier.begin(ctx)
	if err != nil {
		return nil, err
	}
	// What has begun is finished even if ctx ends; only the wait for the rest
	// of a large transaction is given up.
	work := context.WithoutCancel(ctx)
	for {
		l.costs.add(group)
		if err := d.take(&l.diverted, group); err != nil {
			return d, d.abort(work, nil, err)
		}
		if culprit, err := l.write(work, d, group); err != nil {
			err = d.abort(work, culprit, err)
			if errors.Is(err, errPromised) {
				err = errors.Join(errAnew, l.savePromises(work))
			}
			return d, l.pauseAnew(err)
		}
		if group.Complete {
			break
		}
		if group, err = stream.Next(ctx); err != nil {
			return d, d.abort(work, nil, err)
		}
	}
	entries, committed, err := l.entriesOf(d, group)
	if err != nil {
		return d, d.abort(work, nil, err)
	}
	if err := d.commit(work, entries...); err != nil {
		return d, d.abort(work, nil, err)
	}
	committed(entries)
	if err := l.advance(stream, group); err != nil {
		return d, err
	}
	return d, l.reloadDue()
}

// write hands the batches of a group to a delivery and releases them. It
// returns the batch that failed.
func (l *lane) write(ctx context.Context, d *delivery, group *postgres.Group) (*batch.Batch, error) {
	group.Batches = slices.DeleteFunc(group.Batches, func(b *batch.Batch) bool {
		if l.passes(b.Schema) {
			b.Release()
			return true
		}
		return false
	})
	for _, f := range group.Failed { // first: rows of their keys have to wait
		if l.passes(f.Schema) {
			continue
		}
		if err := d.undecodable(f); err != nil {
			return nil, err
		}
	}
	for i, b := range group.Batches {
		visible, err := l.withhold(b)
		if err != nil {
			return nil, err
		}
		group.Batches[i] = visible
		l.applier.chain.Announce(visible.Schema)
	}
	if err := l.foresee(ctx, d, group); err != nil {
		return nil, err
	}
	for _, b := range group.Batches {
		if err := l.emptyBefore(ctx, d, b); err != nil {
			return nil, err
		}
		if err := d.write(ctx, b); err != nil {
			return b, err
		}
		b.Release()
	}
	return nil, nil
}

// advance records the position and only then lets the slot move (invariants 1
// and 2).
func (l *lane) advance(stream changes, group *postgres.Group) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if group.Position.Compare(l.record.Durable) < 0 {
		return fmt.Errorf("position %s lies before %s, which the destination has", group.Position, l.record.Durable)
	}
	l.record.Durable = group.Position
	l.record.Acknowledged = batch.Position{Timeline: group.Position.Timeline, LSN: group.End()}
	if err := l.p.store.PutSource(l.record); err != nil {
		return err
	}
	failpoint("position-recorded")
	stream.Acknowledge(group.Position)
	failpoint("acknowledged")
	l.hasMoved()
	l.progress(func(d *DatabaseProgress) {
		d.Durable = group.Position
		d.LagSeconds = time.Since(time.UnixMicro(group.LastCommitTime)).Seconds()
	})
	return nil
}

// watch keeps the slot moving while nothing concerns this pipeline, writes
// the heartbeat and measures the lag.
func (l *lane) watch(ctx context.Context, stream *postgres.Stream) error {
	every := statusInterval
	if l.untilCaughtUp {
		every = endInterval
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	beat := time.NewTimer(0) // the first at once: it proves the way through
	defer beat.Stop()
	identities := l.newIdentityWatch()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-beat.C:
			if err := l.beat(ctx); err != nil {
				return err
			}
			if err := l.lookAtAll(ctx); err != nil {
				return err
			}
			if err := l.lookAtPublication(ctx); err != nil {
				return err
			}
			beat.Reset(l.p.Spec.Source.Heartbeat)
		case <-tick.C:
			if l.spooling.Load() {
				return errRelay
			}
			if err := l.idle(stream); err != nil {
				return err
			}
			l.measureLag(stream)
			if err := l.lookAtNoticed(ctx); err != nil {
				return err
			}
			if err := l.lookAtIdentities(ctx, identities); err != nil {
				return err
			}
			if err := l.reloadDue(); err != nil {
				return err
			}
			if l.untilCaughtUp && l.reached() {
				return errCaughtUp
			}
		}
	}
}

// idle lets the slot pass log without changes for this pipeline. The
// destination's checkpoint stays; the state folder remembers how far the slot
// has gone beyond it.
func (l *lane) idle(stream *postgres.Stream) error {
	at, ok := stream.IdlePosition()
	if !ok {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.record.IdleAcknowledged = at.LSN
	if err := l.p.store.PutSource(l.record); err != nil {
		return err
	}
	failpoint("idle-recorded")
	l.hasMoved()
	stream.Acknowledge(at)
	return nil
}

// reached says whether everything that was committed when the run started is
// at the destination.
func (l *lane) reached() bool { return l.has(l.goal) }

// has says whether everything before lsn is at the destination, and all
// history; a lane without a table that may be replicated has nothing to bring.
func (l *lane) has(lsn uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waits || l.following && l.begun && l.settled() && l.record.Relay == nil && max(l.record.Durable.LSN, l.record.Acknowledged.LSN, l.record.IdleAcknowledged) >= lsn
}

// until is where a run that is to end does so, 0 for one that goes on.
func (l *lane) until() uint64 {
	if l.untilCaughtUp {
		return l.goal
	}
	return 0
}

func (l *lane) measureLag(stream *postgres.Stream) {
	stats := stream.Stats()
	l.mu.Lock()
	at := max(l.record.Durable.LSN, l.record.IdleAcknowledged)
	durable := l.record.Durable
	l.mu.Unlock()
	l.progress(func(d *DatabaseProgress) {
		d.Durable = durable
		d.LagBytes = max(0, int64(max(stats.ServerEnd, l.end.Load()))-int64(at))
		if d.LagBytes == 0 {
			d.LagSeconds = 0
		}
	})
}
