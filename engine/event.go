package engine

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/state"
)

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
		Identity: identityOf(b.Schema),
		Reason:   why.reason, Plugin: why.plugin, Digest: why.digest, WaitsBehind: why.behind,
		Delivery: q.number(b.Schema.Table.Database), Payload: payload, At: time.Now(), Attempts: 1,
	}
	events := []state.Failed{f}
	if first != last {
		old := f
		old.Op, old.KeyHash = batch.OldKey.String(), keyHash(b, b.Schema.Key(), first)
		old.Reason, old.Payload = "its change of key waits", nil
		events = append(events, old)
	}
	q.keep(events)
	if q.taken[f.Table] == nil {
		q.taken[f.Table] = map[rowID]bool{}
	}
	q.taken[f.Table][rowID{f.Position.LSN, f.Position.Ordinal}] = true
	return events, nil
}

// keep names new events and notes them.
func (q *quarantine) keep(events []state.Failed) {
	for i := range events {
		events[i].ID = events[i].EventID()
		q.note(&events[i])
	}
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

// identityOf names what keyHash looks at in rows of a schema: two hashes can be
// compared if it is the same.
func identityOf(s *batch.Schema) string {
	identity := s.Key()
	if len(identity) == 0 {
		for i := range s.Columns {
			identity = append(identity, i)
		}
	}
	var out []byte
	for _, i := range identity {
		c := &s.Columns[i]
		if c.ID == 0 {
			out = strconv.AppendQuote(out, c.Name)
		}
		out = fmt.Appendf(out, "%d:%s ", c.ID, c.Type)
	}
	return string(out)
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
	event := state.Failed{Size: f.Size, Table: f.Schema.Table, Position: f.Position, Op: f.Op.String(), Reason: f.Error(), Payload: payload, Delivery: q.number(f.Schema.Table.Database), At: time.Now(), Attempts: 1}
	events := []state.Failed{event}
	if f.Key != nil {
		last := f.Key.Len() - 1
		events[0].KeyHash, events[0].Identity = keyHash(f.Key, f.Schema.Key(), last), identityOf(f.Schema)
		for r := range last {
			old := event
			old.Op, old.Payload, old.Reason = batch.OldKey.String(), nil, "its change of key waits"
			old.KeyHash = keyHash(f.Key, f.Schema.Key(), r)
			if string(old.KeyHash) != string(events[0].KeyHash) {
				events = append(events, old)
			}
		}
	}
	q.keep(events)
	return events, nil
}
