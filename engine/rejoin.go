package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/plugins/wasm"
)

// slice is a part of the spooled log of one table that is applied in one
// delivery, so that the deliveries of the stream come in between.
type slice struct {
	oid uint32
	// until is the LSN of the first commit that is not applied.
	until uint64
	// whole says that all log before until is in the spool.
	whole bool
	// skips says that what lies before until is not needed.
	skips bool
	// replaced says that a load in full follows.
	replaced bool
	// opening comes before the rows, ending with the last of them; both may be
	// nil. A slice without ending leaves the table diverted.
	opening func(context.Context, *delivery) error
	ending  func() []wasm.Checkpoint
}

// endOfLog is behind every commit.
const endOfLog = math.MaxUint64

// rejoin applies what was spooled of a table, in order, and lets the table
// join the stream; ending says what the checkpoint is to say with it. A table
// that is not diverted has joined. The session has to be following.
func (l *lane) rejoin(ctx context.Context, oid uint32, opening func(context.Context, *delivery) error, ending func() []wasm.Checkpoint) error {
	if ending == nil {
		ending = func() []wasm.Checkpoint { return nil }
	}
	for s := (slice{oid: oid, until: endOfLog, whole: true, opening: opening, ending: ending}); ; s.opening = nil {
		done, err := l.apply(ctx, s)
		if err != nil || done {
			return err
		}
	}
}

// apply applies one slice, again and again if rows of it have to be set aside,
// and says whether nothing is left of it.
func (l *lane) apply(ctx context.Context, s slice) (done bool, err error) {
	for {
		done, err = l.applyOnce(ctx, s)
		switch {
		case errors.Is(err, errSetAside):
			l.log.Warn("rows that the destination refuses were set aside: leat failed list shows them")
		case errors.Is(err, errPromised):
			if err := l.savePromises(context.WithoutCancel(ctx)); err != nil {
				return false, err
			}
		default:
			return done, err
		}
	}
}

func (l *lane) applyOnce(ctx context.Context, s slice) (done bool, err error) {
	d, err := l.applier.begin(ctx)
	if err != nil {
		return false, err
	}
	ctx = context.WithoutCancel(ctx)
	t := l.diverted.held(s.oid)
	if t == nil {
		return true, d.abort(ctx, nil, nil)
	}
	if s.replaced {
		d.loadedAt = s.until
	}
	if s.opening != nil {
		if err := s.opening(ctx, d); err != nil {
			return false, d.abort(ctx, nil, err)
		}
	}
	next, culprit, err := l.applyGroups(ctx, d, t, s)
	if err != nil {
		return false, d.abort(ctx, culprit, err)
	}
	done = next.ended
	entries, committed, err := l.shapesOf(d)
	if err != nil {
		return false, d.abort(ctx, nil, err)
	}
	if done && s.ending != nil {
		entries = append(entries, s.ending()...)
	}
	d.change(&l.diverted, s.oid, func(t *diverted) {
		t.Begin = next.begin
		if done && s.whole {
			t.From = max(t.From, s.until)
		}
		t.joins = done && s.ending != nil
	})
	if err := d.commit(ctx, entries...); err != nil {
		return false, d.abort(ctx, nil, err)
	}
	committed(entries)
	failpoint("diverted-applied")
	return done, nil
}

// applied is how far applyGroups came.
type applied struct {
	begin int64 // of what is left
	ended bool  // nothing of the slice is left
}

// applyGroups writes the groups of a slice, as many as make a batch.
func (l *lane) applyGroups(ctx context.Context, d *delivery, t *diverted, s slice) (out applied, culprit *batch.Batch, err error) {
	out.begin = t.Begin
	if t.Begin == t.End {
		return applied{t.Begin, true}, nil, nil
	}
	groups := readGroups(t.spool, t.Begin)
	defer func() { err = errors.Join(err, groups.close()) }()
	bytes := int64(0)
	for out.begin < t.End && bytes < int64(l.p.Spec.Engine.BatchBytes) {
		group, err := groups.next()
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("spool of %s: it ends at %d, before %d", t.Table, groups.after, t.End)
		}
		if err != nil {
			return out, nil, err
		}
		bytes += group.ReceivedBytes
		beyond := group.Position.LSN >= s.until
		group = restrict(group, func(at batch.Position) bool { return !s.skips && at.LSN >= t.From && at.LSN < s.until })
		if culprit, err := l.write(ctx, d, group); err != nil {
			return out, culprit, err
		}
		if beyond {
			return applied{out.begin, true}, nil, nil
		}
		out.begin = groups.after
	}
	out.ended = out.begin == t.End
	return out, nil, nil
}

// held returns a diversion to whoever holds the applier, nil if there is none.
func (s *diversions) held(oid uint32) *diverted {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byOID[oid]
}
