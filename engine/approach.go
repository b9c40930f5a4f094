package engine

import (
	"context"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
)

// approach brings the log to the destination up to the snapshot in which an
// interrupted load goes on, and not beyond: a commit of the log must never be
// applied to rows that are newer. An update that leaves a TOAST value out, or
// that moves a row to the key which another row has by now, would take the
// value of the wrong row. What the log writes to rows that are not loaded yet
// is incomplete until the load reads them.
func (l *lane) approach(ctx context.Context, h *history) error {
	at, _, err := l.destinationPosition()
	if err != nil || at.Position.LSN >= h.snapshot.LSN {
		return err
	}
	if err := l.drainRelay(ctx); err != nil { // it was filled before the snapshot was taken
		return err
	}
	l.progress(func(d *DatabaseProgress) { d.Phase, d.Error = "catching up", "" })
	l.ahead = h
	defer func() { l.ahead = nil }()
	return l.follow(ctx)
}

// atSnapshot says whether the log is where approach ends.
func (l *lane) atSnapshot() bool {
	if l.ahead == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(l.record.Durable.LSN, l.record.IdleAcknowledged) >= l.ahead.snapshot.LSN
}

// untilSnapshot cuts a group at the snapshot where approach ends. What is cut
// off comes again.
func (l *lane) untilSnapshot(g *postgres.Group) (_ *postgres.Group, ended bool) {
	if l.ahead == nil {
		return g, false
	}
	at := l.ahead.snapshot.LSN
	out := postgres.Group{
		Position: batch.Position{Timeline: g.Position.Timeline, LSN: at}, // a commit exactly there is still to come
		Complete: true, ReceivedBytes: g.ReceivedBytes, LastCommitTime: g.LastCommitTime,
	}
	for _, b := range g.Batches {
		ended = ended || b.LSN[b.Len()-1] >= at
	}
	for _, f := range g.Failed {
		if f.Position.LSN < at {
			out.Failed = append(out.Failed, f)
		} else {
			ended = true
		}
	}
	if !ended {
		return g, false
	}
	for _, b := range g.Batches {
		if b = before(b, at, true); b != nil {
			out.Batches = append(out.Batches, b)
		}
	}
	return postgres.RestoreGroup(out, at), true
}

// silent acknowledges nothing: the end of a group that was cut is no boundary
// that the stream knows.
type silent struct{ changes }

// Acknowledge implements changes.
func (silent) Acknowledge(batch.Position) {}
