package engine

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/state"
)

// quarantine keeps the rows that could not be processed and holds back later
// rows of the same keys (invariants 3 and 4). It mirrors the failed events of
// the store; between a divert and the store of what it returned the mirror is
// ahead, and reload brings it back.
type quarantine struct {
	store *state.Store
	keys  map[batch.TableID]map[string]string // key hash -> the event that it waits behind
	rows  map[batch.TableID]map[rowID]bool
}

// rowID tells the rows of one table apart. An OldKey and the row after it
// share it.
type rowID struct{ lsn, ordinal uint64 }

func newQuarantine(store *state.Store) (*quarantine, error) {
	q := &quarantine{store: store}
	return q, q.reload()
}

// reload reads the failed events back from the store.
func (q *quarantine) reload() error {
	q.keys = map[batch.TableID]map[string]string{}
	q.rows = map[batch.TableID]map[rowID]bool{}
	for f, err := range q.store.FailedEvents(state.FailedFilter{}) {
		if err != nil {
			return fmt.Errorf("read failed events: %w", err)
		}
		q.note(f)
	}
	return nil
}

func (q *quarantine) note(f state.Failed) {
	if q.keys[f.Table] == nil {
		q.keys[f.Table] = map[string]string{}
		q.rows[f.Table] = map[rowID]bool{}
	}
	q.rows[f.Table][rowID{f.Position.LSN, f.Position.Ordinal}] = true
	if f.Superseded != nil {
		return
	}
	if hash := string(f.KeyHash); hash != "" && q.keys[f.Table][hash] == "" {
		q.keys[f.Table][hash] = f.ID
	}
}

// divert parts the rows of b into those that may go on and those that have to
// wait. kept is a reference of the caller's; it is nil if nothing is left.
func (q *quarantine) divert(b *batch.Batch) (kept *batch.Batch, waiting []state.Failed, err error) {
	keys, rows := q.keys[b.Schema.Table], q.rows[b.Schema.Table]
	if len(rows) == 0 || b.IsTruncate() {
		b.Retain()
		return b, nil, nil
	}
	identity := b.Schema.Key()
	var keep []int32
	for r := 0; r < b.Len(); r++ {
		last := changeEnd(b, r)
		if rows[rowID{b.LSN[last], b.Ordinal[last]}] {
			r = last // kept as an event in an earlier attempt
			continue
		}
		behind := ""
		for i := r; i <= last && behind == ""; i++ {
			behind = keys[string(keyHash(b, identity, i))]
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
	if len(q.keys[table]) == 0 {
		return nil, nil
	}
	at := batch.Position{Timeline: b.Position.Timeline, LSN: b.LSN[0], Ordinal: b.Ordinal[0]}
	for i := range pending {
		if pending[i].Table == table {
			pending[i].Superseded = &at
		}
	}
	var changed []state.Failed
	for f, err := range q.store.FailedEvents(state.FailedFilter{Table: table, WithPayload: true}) {
		if err != nil {
			return nil, fmt.Errorf("read failed events: %w", err)
		}
		if f.Superseded == nil && f.Position.Compare(at) < 0 {
			f.Superseded = &at
			changed = append(changed, f)
		}
	}
	clear(q.keys[table])
	return changed, nil
}

// changeEnd returns the last row of the change that starts at row r: the row
// after an OldKey, otherwise r.
func changeEnd(b *batch.Batch, r int) int {
	if b.Ops[r] == batch.OldKey && r+1 < b.Len() {
		return r + 1
	}
	return r
}

// failure says why a row is set aside.
type failure struct {
	reason, plugin, digest, behind string
}

// events makes the failed event of the change that ends at row last of b, and
// notes it. A change of key makes two: the old key waits as well.
func (q *quarantine) events(b *batch.Batch, last int, why failure) ([]state.Failed, error) {
	first := last
	if last > 0 && b.Ops[last-1] == batch.OldKey {
		first = last - 1
	}
	row := batch.Take(b, rowRange(first, last+1))
	defer row.Release()
	payload, err := batch.Marshal(row)
	if err != nil {
		return nil, err
	}
	f := state.Failed{
		Table:    b.Schema.Table,
		Position: batch.Position{Timeline: b.Position.Timeline, LSN: b.LSN[last], Ordinal: b.Ordinal[last]},
		Op:       b.Ops[last].String(),
		KeyHash:  keyHash(b, b.Schema.Key(), last),
		Reason:   why.reason, Plugin: why.plugin, Digest: why.digest, WaitsBehind: why.behind,
		Payload: payload, At: time.Now(), Attempts: 1,
	}
	events := []state.Failed{f}
	if first != last {
		old := f
		old.Op, old.KeyHash = batch.OldKey.String(), keyHash(b, b.Schema.Key(), first)
		old.Reason, old.Payload = "its change of key waits", nil
		events = append(events, old)
	}
	for i := range events {
		events[i].ID = events[i].EventID()
		q.note(events[i])
	}
	return events, nil
}

// keyHash is the hash of a row's identity: of the whole row in a table without
// a key, where equal rows stand for each other.
func keyHash(b *batch.Batch, identity []int, row int) []byte {
	var key []byte
	if len(identity) == 0 {
		for _, column := range b.Rows.Columns() {
			key = batch.AppendCell(key, column, row)
		}
	}
	for _, col := range identity {
		key = batch.AppendCell(key, b.Rows.Column(col), row)
	}
	return binary.BigEndian.AppendUint64(nil, xxhash.Sum64(key))
}

// put stores events durably.
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
