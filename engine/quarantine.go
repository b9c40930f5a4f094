package engine

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/plugins/wasm"
	"github.com/leat-etl/leat/state"
)

// quarantine keeps the rows that could not be processed and holds back later
// rows of the same keys (invariants 3 and 4). It mirrors the failed events of
// the store. Between a divert and the store of what it returned the mirror is
// ahead; reload brings it back.
//
// Events are stored just before the delivery that found them commits. They
// count once it has: each has the number of its delivery, and the destination's
// checkpoint the number of the last one that it has. Events of a higher number
// are of a delivery that never was; its rows come again.
type quarantine struct {
	store *state.Store
	// settled, by failedKey, and last, by source database, are the numbers of the last
	// deliveries with failed events: at the destination and in the store.
	settled, last map[string]uint64
	// first is the first event of each row key, by the key's hash.
	first map[batch.TableID]map[string]blocker
	// identities are those of the events in first.
	identities map[batch.TableID]map[string]bool
	// taken are the rows that the delivery under way has made events of.
	taken map[batch.TableID]map[rowID]bool
	// refused are rows that the destination does not take, until the delivery
	// that is made again without them has committed.
	refused map[batch.TableID]map[rowID]rowFailure
	// doubtful are the stored events of a delivery whose commit failed: a new
	// connection to the destination tells whether they count.
	doubtful []state.Failed
}

// blocker is the event that rows of its key wait behind.
type blocker struct {
	id string
	at batch.Position
}

// rowID tells the rows of one table in a delivery apart. An OldKey and the row
// after it share it.
type rowID struct{ lsn, ordinal uint64 }

func newQuarantine(store *state.Store) (*quarantine, error) {
	q := &quarantine{store: store, settled: map[string]uint64{}, refused: map[batch.TableID]map[rowID]rowFailure{}}
	return q, q.reload()
}

// failedKey is where the destination's checkpoint has the number of the last
// delivery from a database that had failed events.
func failedKey(database string) string { return checkpointKey("failed", database) }

// settle takes over from the destination's checkpoint which events count.
func (q *quarantine) settle(entries []wasm.Checkpoint) error {
	clear(q.settled)
	for _, e := range entries {
		if e.Value == nil || !strings.HasPrefix(e.Key, failedKey("")) {
			continue
		}
		n, err := strconv.ParseUint(*e.Value, 10, 64)
		if err != nil {
			return fmt.Errorf("checkpoint %q at the destination: %w", e.Key, err)
		}
		q.settled[e.Key] = n
	}
	if err := q.forget(q.doubtful); err != nil {
		return err
	}
	q.doubtful = nil
	return q.reload()
}

// counts says whether the destination has the delivery that found an event.
func (q *quarantine) counts(f *state.Failed) bool {
	return f.Delivery <= q.settled[failedKey(f.Table.Database)]
}

// number is that of the delivery under way, should it have failed events.
func (q *quarantine) number(database string) uint64 {
	return max(q.settled[failedKey(database)], q.last[database]) + 1
}

// reload reads the failed events back from the store.
func (q *quarantine) reload() error {
	q.first, q.taken, q.last = map[batch.TableID]map[string]blocker{}, map[batch.TableID]map[rowID]bool{}, map[string]uint64{}
	q.identities = map[batch.TableID]map[string]bool{}
	for f, err := range q.store.FailedEvents(state.FailedFilter{}) {
		if err != nil {
			return fmt.Errorf("read failed events: %w", err)
		}
		q.last[f.Table.Database] = max(q.last[f.Table.Database], f.Delivery)
		if q.counts(&f) {
			q.note(&f)
		}
	}
	return nil
}

// drop forgets the events of a database that do not count, before their rows
// come again.
func (q *quarantine) drop(database string) error {
	var all []state.Failed
	for f, err := range q.store.FailedEvents(state.FailedFilter{}) {
		if err != nil {
			return fmt.Errorf("read failed events: %w", err)
		}
		if f.Table.Database == database {
			all = append(all, f)
		}
	}
	if err := q.forget(all); err != nil {
		return err
	}
	return q.reload()
}

// forget removes those of some events that do not count.
func (q *quarantine) forget(events []state.Failed) error {
	events = slices.DeleteFunc(events, func(f state.Failed) bool { return q.counts(&f) })
	if len(events) == 0 {
		return nil
	}
	err := q.store.Update(func(tx *state.Tx) error {
		for _, f := range events {
			if err := tx.DeleteFailed(f.ID); err != nil && !errors.Is(err, state.ErrNotFound) {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("forget failed events of a delivery that did not commit: %w", err)
	}
	return nil
}

// note lets later rows of an event's key wait behind it.
func (q *quarantine) note(f *state.Failed) {
	if f.Superseded != nil || len(f.KeyHash) == 0 {
		return
	}
	keys := q.first[f.Table]
	if keys == nil {
		keys = map[string]blocker{}
		q.first[f.Table], q.identities[f.Table] = keys, map[string]bool{}
	}
	q.identities[f.Table][f.Identity] = true
	if is, ok := keys[string(f.KeyHash)]; !ok || comesBefore(f.Position, is.at) {
		keys[string(f.KeyHash)] = blocker{f.ID, f.Position}
	}
}

// otherKey says whether rows wait that had another key than those of a schema:
// which row is which can then not be told.
func (q *quarantine) otherKey(s *batch.Schema) bool {
	is := identityOf(s)
	for identity := range q.identities[s.Table] {
		if identity != is && identity != "" {
			return true
		}
	}
	return false
}

// comesBefore orders the changes of a row. What a load read stands at the
// position of its snapshot, before a commit exactly there.
func comesBefore(a, b batch.Position) bool {
	if a.LSN == b.LSN && loaded(a) != loaded(b) {
		return loaded(a)
	}
	return a.Compare(b) < 0
}

// firstLoaded is the lowest ordinal of a row that was read and not sent by the
// log.
const firstLoaded = 1 << 36

func loaded(p batch.Position) bool {
	return p.Ordinal >= firstLoaded && p.Ordinal < batch.EndOfTransaction
}

// behind returns the event that row r of b has to wait behind, empty for none.
func (q *quarantine) behind(b *batch.Batch, r int, identity []int) string {
	is, ok := q.first[b.Schema.Table][string(keyHash(b, identity, r))]
	at := batch.Position{LSN: b.LSN[r], Ordinal: b.Ordinal[r]}
	if !ok || b.Position.Timeline == is.at.Timeline && comesBefore(at, is.at) {
		return ""
	}
	return is.id
}

// divert parts the rows of b into those that may go on and those that have to
// wait. kept is a reference of the caller's; it is nil if nothing is left.
func (q *quarantine) divert(b *batch.Batch) (kept *batch.Batch, waiting []state.Failed, err error) {
	table := b.Schema.Table
	if len(q.first[table]) == 0 && len(q.taken[table]) == 0 || b.IsTruncate() {
		b.Retain()
		return b, nil, nil
	}
	identity := b.Schema.Key()
	var keep []int32
	for r := 0; r < b.Len(); r++ {
		last := changeEnd(b, r)
		if q.taken[table][rowID{b.LSN[last], b.Ordinal[last]}] {
			r = last
			continue
		}
		behind := ""
		for i := r; i <= last && behind == ""; i++ {
			behind = q.behind(b, i, identity)
		}
		if behind == "" {
			keep = append(keep, rowRange(r, last+1)...)
			r = last
			continue
		}
		events, err := q.events(b, last, failure{reason: "waits behind an earlier change of the same row", behind: behind})
		if err != nil {
			return nil, nil, err
		}
		waiting = append(waiting, events...)
		r = last
	}
	switch {
	case len(keep) == b.Len():
		b.Retain()
		return b, waiting, nil
	case len(keep) == 0:
		return nil, waiting, nil
	}
	return batch.Take(b, keep), waiting, nil
}

// supersede marks the events of a table that lie before its TRUNCATE at b, kept
// ones and the pending ones of this delivery: their keys are free again. It
// returns the kept ones that have changed.
func (q *quarantine) supersede(b *batch.Batch, pending []state.Failed) ([]state.Failed, error) {
	table := b.Schema.Table
	if err := q.store.ForgetSkipped(table); err != nil {
		return nil, err
	}
	if len(q.first[table]) == 0 {
		return nil, nil
	}
	at := batch.Position{Timeline: b.Position.Timeline, LSN: b.LSN[0], Ordinal: b.Ordinal[0]}
	delete(q.first, table)
	delete(q.identities, table)
	supersede := func(f *state.Failed) bool {
		if f.Superseded != nil {
			return false
		}
		if !comesBefore(f.Position, at) {
			q.note(f)
			return false
		}
		f.Superseded = &at
		return true
	}
	changed := map[string]bool{}
	for i := range pending {
		if pending[i].Table == table {
			supersede(&pending[i])
			changed[pending[i].ID] = true
		}
	}
	var kept []state.Failed
	for f, err := range q.store.FailedEvents(state.FailedFilter{Table: table, WithPayload: true}) {
		if err != nil {
			return nil, fmt.Errorf("read failed events: %w", err)
		}
		if q.counts(&f) && !changed[f.ID] && supersede(&f) {
			kept = append(kept, f)
		}
	}
	return kept, nil
}

// refuse remembers rows of b that the destination does not take, for the
// delivery that is made again.
func (q *quarantine) refuse(b *batch.Batch, rows []rowFailure) {
	known := q.refused[b.Schema.Table]
	if known == nil {
		known = map[rowID]rowFailure{}
		q.refused[b.Schema.Table] = known
	}
	for _, f := range rows {
		known[rowID{f.lsn, f.ordinal}] = f
	}
	for r := range b.Ops { // the row after an OldKey last
		id := rowID{b.LSN[r], b.Ordinal[r]}
		if f, ok := known[id]; ok {
			f.key = keyHash(b, b.Schema.Key(), r)
			known[id] = f
		}
	}
}

// refusedIn returns the rows of b that the destination is known not to take.
func (q *quarantine) refusedIn(b *batch.Batch) (out []rowFailure) {
	known := q.refused[b.Schema.Table]
	if len(known) == 0 {
		return nil
	}
	for r := range b.Ops {
		if f, ok := known[rowID{b.LSN[r], b.Ordinal[r]}]; ok && string(f.key) == string(keyHash(b, b.Schema.Key(), r)) {
			out = append(out, f)
		}
	}
	return out
}

// put stores events durably, just before their delivery commits.
func (q *quarantine) put(events []state.Failed) error {
	if len(events) == 0 {
		return nil
	}
	return q.store.Update(func(tx *state.Tx) error {
		for _, f := range events {
			if _, err := tx.PutFailed(f); err != nil {
				return err
			}
		}
		return nil
	})
}

// entries are what the checkpoint has to say of a delivery's events.
func (q *quarantine) entries(events []state.Failed) []wasm.Checkpoint {
	var out []wasm.Checkpoint
	said := map[string]bool{}
	for _, f := range events {
		database := f.Table.Database
		if f.Delivery != q.number(database) || said[database] {
			continue // one of before that has changed
		}
		said[database] = true
		value := strconv.FormatUint(f.Delivery, 10)
		out = append(out, wasm.Checkpoint{Key: failedKey(database), Value: &value})
	}
	return out
}

// committed takes note that the delivery has committed which found events.
func (q *quarantine) committed(events []state.Failed) {
	for _, f := range events {
		database := f.Table.Database
		q.settled[failedKey(database)] = max(q.settled[failedKey(database)], f.Delivery)
		q.last[database] = max(q.last[database], f.Delivery)
		delete(q.refused[f.Table], rowID{f.Position.LSN, f.Position.Ordinal})
	}
	q.doubtful = nil
	clear(q.taken)
}
