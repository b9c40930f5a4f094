package engine

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/state/spool"
)

// changes is where groups come from: the slot's stream, or the relay.
type changes interface {
	Next(ctx context.Context) (*postgres.Group, error)
	Acknowledge(p batch.Position)
}

// drainRelay delivers what the relay holds and gives it up.
func (l *lane) drainRelay(ctx context.Context) (err error) {
	if l.record.Relay == nil {
		l.spooling.Store(false) // nothing came while the destination did not answer
		return nil
	}
	at, _, err := l.destinationPosition()
	if err != nil {
		return err
	}
	if at.Position.Compare(l.record.Relay.From) < 0 {
		return &GapError{l.database, fmt.Sprintf("the spool begins at %s, the destination has only %s", l.record.Relay.From, at.Position), l.again(l.record.Slot)}
	}
	r, err := l.openRelay()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.spool.Close()) }()
	l.log.Info("delivering what was spooled", "up_to", l.record.Relay.To.String())
	l.progress(func(d *DatabaseProgress) { d.enter("draining") })
	d := &relayReader{relay: r, groups: readGroups(r.spool, l.record.Relay.Begin), has: at.Position}
	defer func() { err = errors.Join(err, d.groups.close()) }()
	for {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		group, err := d.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if !d.lacks(group.Position) && group.Complete {
			releaseGroup(group)
			continue // the destination has it
		}
		if _, err := l.deliverGroup(ctx, d, group); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.record.Relay = nil
	l.spooling.Store(false)
	if err := l.p.store.PutSource(l.record); err != nil {
		return err
	}
	l.log.Info("what was spooled is at the destination")
	return spool.Remove(l.relayDir())
}

// relayReader hands out the groups of a relay as the stream has handed them
// out, without the rows that the destination has.
type relayReader struct {
	*relay
	groups *groupReader
	has    batch.Position
}

// Next implements changes; the error is io.EOF after the last group.
func (d *relayReader) Next(context.Context) (*postgres.Group, error) {
	group, err := d.groups.next()
	if err != nil {
		return nil, err
	}
	return restrict(group, d.lacks), nil
}

// lacks says whether a place lies behind what the destination has, which a server
// may have written on another timeline: what was taken of the two is one log.
func (d *relayReader) lacks(at batch.Position) bool {
	at.Timeline = d.has.Timeline
	return at.Compare(d.has) > 0
}

// Acknowledge implements changes: the records before are not needed any more.
func (d *relayReader) Acknowledge(batch.Position) {
	if d.record.Relay != nil {
		d.record.Relay.Begin = d.groups.after // recorded with the next position
	}
	if err := d.spool.Drop(d.groups.after); err != nil {
		d.log.Warn("delivered records stay in the spool", "error", err)
	}
}
