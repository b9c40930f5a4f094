package engine

import (
	"context"
	"errors"
	"time"

	"github.com/leat-etl/leat/engine/postgres"
)

// maxDoublings bounds how often the wait for a silent server doubles.
const maxDoublings = 6

// silence is how long the server may send nothing. A server that was silent
// for longer may have been at work on something large: without more time for
// it, every session would end at the same place.
func (l *lane) silence() time.Duration {
	return l.p.Spec.Source.ReceiveTimeout << min(l.silences, maxDoublings)
}

// noteSilence takes into account how a session ended.
func (l *lane) noteSilence(err error) {
	if errors.Is(err, postgres.ErrSilent) || l.source != nil && l.source.FellSilent() {
		l.silences++
	} else {
		l.silences = 0
	}
}

// freeSlot takes the slot back from the process of the stream before: one whose
// connection is silent does not know that its reader is gone, whatever ended that.
func (l *lane) freeSlot(ctx context.Context) error {
	if l.stale == 0 {
		return nil
	}
	if err := l.source.FreeSlot(ctx, l.record.Slot, l.stale); err != nil {
		return err
	}
	l.stale = 0
	return nil
}
