package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
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

func (p *Pipeline) settleFailed(ctx context.Context, ids []string, skip bool) (*ReplayResult, error) {
	queues, err := p.queues(ids)
	if err != nil {
		return nil, err
	}
	out := &ReplayResult{}
	for _, q := range queues {
		if skip {
			if q, err = p.skip(q, ids, out); err != nil {
				return out, err
			}
		}
		if err := p.replayQueue(ctx, q, out); err != nil {
			return out, err
		}
	}
	p.applier.holder.Lock()
	defer p.applier.holder.Unlock()
	return out, p.applier.quarantine.reload()
}

// queues returns the events to settle by row key, in order: for each named
// event all that its key has.
func (p *Pipeline) queues(ids []string) ([][]state.Failed, error) {
	wanted := map[string]bool{}
	for _, id := range ids {
		f, err := p.store.Failed(id)
		if err != nil {
			return nil, err
		}
		wanted[queueOf(f)] = true
	}
	var order []string
	byKey := map[string][]state.Failed{}
	for f, err := range p.store.FailedEvents(state.FailedFilter{WithPayload: true}) {
		if err != nil {
			return nil, err
		}
		key := queueOf(f)
		if len(ids) > 0 && !wanted[key] {
			continue
		}
		if byKey[key] == nil {
			order = append(order, key)
		}
		byKey[key] = append(byKey[key], f)
	}
	queues := make([][]state.Failed, len(order))
	for i, key := range order {
		queues[i] = byKey[key]
	}
	return queues, nil
}

func queueOf(f state.Failed) string {
	if len(f.KeyHash) == 0 {
		return f.ID
	}
	return f.Table.String() + "\x00" + string(f.KeyHash)
}

func (p *Pipeline) skip(q []state.Failed, ids []string, out *ReplayResult) ([]state.Failed, error) {
	named := map[string]bool{}
	for _, id := range ids {
		named[id] = true
	}
	var rest []state.Failed
	for _, f := range q {
		if !named[f.ID] {
			rest = append(rest, f)
			continue
		}
		if err := p.store.DeleteFailed(f.ID); err != nil {
			return nil, err
		}
		p.log.Warn("failed event skipped", "event", f.ID, "reason", f.Reason)
		out.Skipped++
	}
	return rest, nil
}

// replayedKey marks an event as replayed in the destination's checkpoint, from
// the commit of its row until the state folder has forgotten it.
const replayedKey = "replayed/"

// replayQueue replays the events of one key until one fails.
func (p *Pipeline) replayQueue(ctx context.Context, q []state.Failed, out *ReplayResult) error {
	for _, f := range q {
		if f.Superseded != nil {
			if err := p.store.DeleteFailed(f.ID); err != nil {
				return err
			}
			out.Superseded++
			continue
		}
		if f.WaitsBehind != "" { // of another key, where this change moved the row
			if _, err := p.store.Failed(f.WaitsBehind); !errors.Is(err, state.ErrNotFound) {
				return err
			}
		}
		d, err := p.applier.begin(ctx)
		if err != nil {
			return err
		}
		if err := d.replay(ctx, f); err != nil {
			if err := d.abort(ctx, nil, err); actionFor(err) == retry {
				return err
			}
			f.Attempts++
			f.Reason, f.WaitsBehind = err.Error(), ""
			if _, err := p.store.PutFailed(f); err != nil {
				return err
			}
			out.Failed = append(out.Failed, f)
			return nil
		}
		done := f.ID
		if err := d.commit(ctx, wasm.Checkpoint{Key: replayedKey + f.ID, Value: &done}); err != nil {
			return d.abort(ctx, nil, err)
		}
		if err := p.forget(ctx, f.ID); err != nil {
			return err
		}
		out.Replayed++
	}
	return nil
}

// replay passes the row of an event through the chain past the quarantine.
func (d *delivery) replay(ctx context.Context, f state.Failed) error {
	if len(f.Payload) == 0 {
		return nil // the other half of a change of key
	}
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
		return errors.New(failures[0].message)
	}
	for _, o := range outputs {
		if err := d.store(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

// forget removes a replayed event from the state folder, then its mark from
// the destination.
func (p *Pipeline) forget(ctx context.Context, id string) error {
	if err := p.store.DeleteFailed(id); err != nil && !errors.Is(err, state.ErrNotFound) {
		return err
	}
	d, err := p.applier.begin(ctx)
	if err != nil {
		return err
	}
	if err := d.quarantine.reload(); err != nil {
		return d.abort(ctx, nil, err)
	}
	if err := d.commit(ctx, wasm.Checkpoint{Key: replayedKey + id}); err != nil {
		return d.abort(ctx, nil, err)
	}
	return nil
}

// forgetReplayed finishes replays that a crash interrupted after their commit.
func (p *Pipeline) forgetReplayed(ctx context.Context) error {
	entries, err := p.applier.checkpoint(ctx)
	if err != nil {
		if p.mayWait(err) {
			return nil // at the next start
		}
		return err
	}
	for _, e := range entries {
		if id, ok := strings.CutPrefix(e.Key, replayedKey); ok {
			if err := p.forget(ctx, id); err != nil {
				return err
			}
		}
	}
	return nil
}

// rawRow is the payload of a change that could not be decoded.
type rawRow struct {
	Schema     *batch.Schema `json:"schema"`
	Op         string        `json:"op"`
	CommitTime int64         `json:"commit_time"`
	Old        []byte        `json:"old,omitempty"`
	New        []byte        `json:"new,omitempty"`
	Binary     bool          `json:"binary"`
	Column     int           `json:"column"`
}

// rawEvents makes the failed event of a change that no batch could hold.
func (q *quarantine) rawEvents(f postgres.RawFailure) ([]state.Failed, error) {
	payload, err := json.Marshal(rawRow{f.Schema, f.Op.String(), f.CommitTime, f.Old, f.New, f.Binary, f.Column})
	if err != nil {
		return nil, fmt.Errorf("keep %w: %w", &f, err)
	}
	if f.Size > 0 && f.Key != nil {
		if payload, err = batch.Marshal(f.Key); err != nil {
			return nil, err
		}
	}
	event := state.Failed{Size: f.Size, Table: f.Schema.Table, Position: f.Position, Op: f.Op.String(), Reason: f.Error(), Payload: payload, At: time.Now(), Attempts: 1}
	events := []state.Failed{event}
	if f.Key != nil {
		last := f.Key.Len() - 1
		events[0].KeyHash = keyHash(f.Key, f.Schema.Key(), last)
		for r := range last {
			old := event
			old.Op, old.Payload, old.Reason = batch.OldKey.String(), nil, "its change of key waits"
			old.KeyHash = keyHash(f.Key, f.Schema.Key(), r)
			if string(old.KeyHash) != string(events[0].KeyHash) {
				events = append(events, old)
			}
		}
	}
	for i := range events {
		events[i].ID = events[i].EventID()
		q.note(events[i])
	}
	return events, nil
}
