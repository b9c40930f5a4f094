package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/spec"
	"github.com/leat-etl/leat/plugins/capability"
	"github.com/leat-etl/leat/plugins/wasm"
	"github.com/leat-etl/leat/state"
)

// ReplayResult says what became of failed events.
type ReplayResult struct {
	Replayed int `json:"replayed"`
	Skipped  int `json:"skipped"`
	// Superseded events were dropped: their table was truncated after them.
	Superseded int `json:"superseded"`
	// Failed are the events that failed again, with the new reason.
	Failed []state.Failed `json:"failed,omitempty"`
}

// Replay processes failed events again, ids or all, each with everything that
// waits behind it. What succeeds is at the destination and no failed event
// any more; what fails stays, and so does what waits behind it.
func (p *Pipeline) Replay(ctx context.Context, ids []string) (*ReplayResult, error) {
	return p.settleFailed(ctx, ids, false)
}

// Skip drops failed events for good and processes what waited behind them.
func (p *Pipeline) Skip(ctx context.Context, ids []string) (*ReplayResult, error) {
	if len(ids) == 0 {
		return nil, errors.New("skip failed events: name the events to drop")
	}
	return p.settleFailed(ctx, ids, true)
}

// UnknownEvent says that a pipeline has no failed event of that name.
func UnknownEvent(s *spec.Spec, id string) *RequestError {
	return &RequestError{fmt.Sprintf("there is no failed event %q", id), fmt.Sprintf("leat failed list %s shows those that there are", s.Path)}
}

// failedEvent returns an event that somebody has named.
func (p *Pipeline) failedEvent(id string) (state.Failed, error) {
	f, err := p.store.Failed(id)
	if errors.Is(err, state.ErrNotFound) {
		err = UnknownEvent(p.Spec, id)
	}
	return f, err
}

func (p *Pipeline) settleFailed(ctx context.Context, ids []string, skip bool) (*ReplayResult, error) {
	if err := p.forgetReplayed(ctx); err != nil {
		return nil, err
	}
	r := &replay{p: p, blocked: map[string]bool{}}
	if len(ids) > 0 {
		if err := r.want(ids); err != nil {
			return nil, err
		}
	}
	if skip {
		if err := r.skip(ids); err != nil {
			return &r.out, err
		}
	}
	for again := true; again; { // what comes meanwhile may wait behind what is replayed now
		settled, err := r.pass(ctx)
		if err != nil {
			return &r.out, err
		}
		again = settled > 0
	}
	if err := r.forgetMarks(ctx); err != nil {
		return &r.out, err
	}
	p.applier.holder.Lock()
	defer p.applier.holder.Unlock()
	return &r.out, p.applier.quarantine.reload()
}

// replay settles failed events in the order of their positions. What a change
// needs is that all events of its keys before it are settled: a change of key
// has two.
type replay struct {
	p       *Pipeline
	out     ReplayResult
	wanted  map[string]bool // row keys, nil for all
	blocked map[string]bool // row keys of which an event has failed again
	marks   []wasm.Checkpoint
}

// change is the events of one change of a row, without payloads: the second
// one holds the key that the row had.
type change []state.Failed

func keyOf(f *state.Failed) string {
	if len(f.KeyHash) == 0 {
		return f.ID
	}
	return f.Table.String() + "\x00" + string(f.KeyHash)
}

func (c change) touches(keys map[string]bool) bool {
	return slices.ContainsFunc(c, func(f state.Failed) bool { return keys[keyOf(&f)] })
}

func (c change) mark(keys map[string]bool) {
	for i := range c {
		keys[keyOf(&c[i])] = true
	}
}

// changes returns the events of the store as changes, in order.
func (r *replay) changes() (out []change, err error) {
	type place struct {
		table batch.TableID
		at    batch.Position
		// What a load could not decode has places of its own in each chunk.
		alone string
	}
	at := map[place]int{}
	for f, err := range r.p.store.FailedEvents(state.FailedFilter{}) {
		if err != nil {
			return nil, err
		}
		where := place{table: f.Table, at: f.Position}
		if f.Op == batch.Read.String() {
			where.alone = f.ID
		}
		if i, ok := at[where]; ok {
			out[i] = append(out[i], f)
			continue
		}
		at[where] = len(out)
		out = append(out, change{f})
	}
	slices.SortStableFunc(out, func(a, b change) int {
		switch {
		case comesBefore(a[0].Position, b[0].Position):
			return -1
		case comesBefore(b[0].Position, a[0].Position):
			return 1
		}
		return 0
	})
	return out, nil
}

// want selects the named events with everything of their rows, under whatever
// key these were.
func (r *replay) want(ids []string) error {
	r.wanted = map[string]bool{}
	for _, id := range ids {
		f, err := r.p.failedEvent(id)
		if err != nil {
			return err
		}
		r.wanted[keyOf(&f)] = true
	}
	all, err := r.changes()
	for n := 0; err == nil && n != len(r.wanted); {
		n = len(r.wanted)
		for _, c := range all {
			if c.touches(r.wanted) {
				c.mark(r.wanted)
			}
		}
	}
	return err
}

// skip drops the named events for good, each with the rest of its change.
func (r *replay) skip(ids []string) error {
	all, err := r.changes()
	if err != nil {
		return err
	}
	for _, c := range all {
		if !slices.ContainsFunc(c, func(f state.Failed) bool { return slices.Contains(ids, f.ID) }) {
			continue
		}
		given, err := r.given(c)
		if err != nil {
			return err
		}
		if err := r.forget(c, given...); err != nil {
			return err
		}
		for _, f := range c {
			r.p.log.Warn("failed event skipped", "event", f.ID, "reason", f.Reason)
			r.out.Skipped++
		}
	}
	return nil
}

// given is what is kept of a change that is given up, nothing of one that has
// nothing to do any more.
func (r *replay) given(c change) ([]state.GivenUp, error) {
	f, err := r.payload(c)
	switch {
	case errors.Is(err, state.ErrNotFound): // settled by a replay
		return nil, nil
	case err != nil || f.Superseded != nil:
		return nil, err
	}
	d, err := Describe(*f)
	if err != nil {
		d = &DescribedEvent{} // it tells no key
	}
	return []state.GivenUp{{ID: f.ID, Table: f.Table, Reason: f.Reason, At: time.Now(), Keys: d.values(true)}}, nil
}

// forget removes the events of a change, and keeps what was given up of it.
func (r *replay) forget(c change, given ...state.GivenUp) error {
	return r.p.store.Update(func(tx *state.Tx) error {
		for _, s := range given {
			if err := tx.PutSkipped(s); err != nil {
				return err
			}
		}
		for _, f := range c {
			if err := tx.DeleteFailed(f.ID); err != nil && !errors.Is(err, state.ErrNotFound) {
				return err
			}
		}
		return nil
	})
}

// pass goes through the events once and returns how many it has settled.
func (r *replay) pass(ctx context.Context) (settled int, err error) {
	all, err := r.changes()
	if err != nil {
		return 0, err
	}
	for _, c := range all {
		if r.wanted != nil && !c.touches(r.wanted) {
			continue
		}
		if c.touches(r.blocked) {
			c.mark(r.blocked)
			continue
		}
		done, err := r.settle(ctx, c)
		if err != nil {
			return settled, err
		}
		if !done {
			c.mark(r.blocked)
			continue
		}
		settled++
	}
	return settled, nil
}

// settle replays one change. done is false if it has failed again, or if its
// delivery has not committed: then its rows come again.
func (r *replay) settle(ctx context.Context, c change) (done bool, err error) {
	d, err := r.p.applier.begin(ctx)
	if err != nil {
		return false, err
	}
	row, err := r.payload(c)
	switch {
	case errors.Is(err, state.ErrNotFound): // settled by another replay
		return true, d.abort(ctx, nil, nil)
	case err != nil:
		return false, d.abort(ctx, nil, err)
	case !d.quarantine.counts(row):
		return false, d.abort(ctx, nil, nil)
	case row.Superseded != nil:
		r.out.Superseded += len(c)
		return true, errors.Join(d.abort(ctx, nil, nil), r.forget(c))
	}
	if err := d.replay(ctx, *row); err != nil {
		if err := d.abort(ctx, nil, err); actionFor(err) == retry {
			return false, err
		}
		row.Attempts++
		row.Reason, row.WaitsBehind = err.Error(), ""
		var refused *rowFailure
		var database *capability.Error
		switch {
		case errors.As(err, &refused):
			row.Plugin, row.Digest = refused.plugin, refused.digest
		case errors.As(err, &database):
			row.Plugin, row.Digest = r.p.plugins.target.identity(), r.p.plugins.target.Digest
		}
		if _, err := r.p.store.PutFailed(*row); err != nil {
			return false, err
		}
		r.out.Failed = append(r.out.Failed, *row)
		return false, nil
	}
	mark := row.ID
	if err := d.commit(ctx, append(r.marks, wasm.Checkpoint{Key: replayedKey + row.ID, Value: &mark})...); err != nil {
		return false, d.abort(ctx, nil, err)
	}
	if err := r.forget(c); err != nil {
		return false, err
	}
	r.marks = []wasm.Checkpoint{{Key: replayedKey + row.ID}}
	r.out.Replayed += len(c)
	return true, nil
}

// payload reads the event of a change that has its row.
func (r *replay) payload(c change) (*state.Failed, error) {
	var row *state.Failed
	for _, f := range c {
		f, err := r.p.store.Failed(f.ID)
		if err != nil {
			return nil, err
		}
		if row == nil || len(f.Payload) > 0 {
			row = &f
		}
	}
	return row, nil
}

// forgetMarks removes what is left of the marks of replayed events.
func (r *replay) forgetMarks(ctx context.Context) error {
	if len(r.marks) == 0 {
		return nil
	}
	d, err := r.p.applier.begin(ctx)
	if err != nil {
		return err
	}
	if err := d.commit(ctx, r.marks...); err != nil {
		return d.abort(ctx, nil, err)
	}
	return nil
}

// replayedKey marks an event as replayed in the destination's checkpoint, from
// the commit of its row until the state folder has forgotten it.
const replayedKey = "replayed/"

// replay passes the row of an event through the chain past the quarantine.
func (d *delivery) replay(ctx context.Context, f state.Failed) error {
	if f.Payload[0] == '{' || f.Size > 0 {
		return errors.New(f.Reason) // it never was a row: nothing has changed since
	}
	b, err := batch.Unmarshal(f.Payload)
	if err != nil {
		return fmt.Errorf("failed event %s: %w", f.ID, err)
	}
	defer b.Release()
	for i, op := range b.Ops {
		if d.compacts && (op == batch.Insert || op == batch.Read) {
			b.Ops[i] = batch.Update
		}
	}
	outputs, failures, err := d.chain.Process(ctx, b)
	if err != nil {
		return err
	}
	defer releaseAll(outputs)
	if len(failures) > 0 {
		return &failures[0]
	}
	for _, o := range outputs {
		if err := d.store(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

// forgetReplayed finishes replays that a crash interrupted after their commit.
func (p *Pipeline) forgetReplayed(ctx context.Context) error {
	entries, err := p.applier.checkpoint(ctx)
	if err != nil {
		if p.mayWait(err) {
			return nil // before the next replay
		}
		return err
	}
	r := &replay{p: p}
	done := map[string]bool{}
	for _, e := range entries {
		if id, ok := strings.CutPrefix(e.Key, replayedKey); ok {
			done[id] = true
			r.marks = append(r.marks, wasm.Checkpoint{Key: e.Key})
		}
	}
	if len(done) == 0 {
		return nil
	}
	all, err := r.changes()
	if err != nil {
		return err
	}
	for _, c := range all {
		if !slices.ContainsFunc(c, func(f state.Failed) bool { return done[f.ID] }) {
			continue
		}
		if err := r.forget(c); err != nil {
			return err
		}
	}
	if err := r.forgetMarks(ctx); err != nil {
		return err
	}
	p.applier.holder.Lock()
	defer p.applier.holder.Unlock()
	return p.applier.quarantine.reload()
}
