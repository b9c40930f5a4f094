package engine

import (
	"context"
	"encoding/json"
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
	l.progress(func(d *DatabaseProgress) { d.Phase, d.Error = "draining", "" })
	d := &relayReader{relay: r, records: r.spool.Read(l.record.Relay.Begin), has: at.Position, schemas: map[string]*batch.Schema{}}
	defer func() { err = errors.Join(err, d.records.Close()) }()
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
		if group.Position.Compare(d.has) <= 0 && group.Complete {
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
	records *spool.Reader
	after   int64
	has     batch.Position
	schemas map[string]*batch.Schema // one for each shape, so that it is planned once
}

// Next implements changes; the error is io.EOF after the last group.
func (d *relayReader) Next(ctx context.Context) (*postgres.Group, error) {
	var group postgres.Group
	for {
		record, after, err := d.records.Next()
		if err != nil {
			return nil, err
		}
		d.after = after
		switch kind, body := record[0], record[1:]; kind {
		case relayedBatch:
			b, err := batch.Unmarshal(body)
			if err != nil {
				return nil, err
			}
			if b = d.fresh(b); b != nil {
				group.Batches = append(group.Batches, b)
			}
		case relayedFailure:
			var f failureForm
			if err := json.Unmarshal(body, &f); err != nil {
				return nil, fmt.Errorf("read spool: %w", err)
			}
			failure, err := f.failure()
			if err != nil {
				return nil, err
			}
			if failure.Position.Compare(d.has) > 0 {
				group.Failed = append(group.Failed, failure)
			}
		case relayedEnd:
			var e groupEnd
			if err := json.Unmarshal(body, &e); err != nil {
				return nil, fmt.Errorf("read spool: %w", err)
			}
			return e.complete(&group), nil
		}
	}
}

// fresh takes the rows of b behind what the destination has, nil if there are
// none, under the schema that batches of the shape had before.
func (d *relayReader) fresh(b *batch.Batch) *batch.Batch {
	key := fmt.Sprintf("%s %d %x", b.Schema.Table, b.Schema.Version, b.Schema.Fingerprint())
	if d.schemas[key] == nil {
		d.schemas[key] = b.Schema
	}
	b.Schema = d.schemas[key]
	first := 0
	for first < b.Len() && (batch.Position{LSN: b.LSN[first], Ordinal: b.Ordinal[first]}).Compare(d.has) <= 0 {
		first++
	}
	switch first {
	case 0:
		return b
	case b.Len():
		b.Release()
		return nil
	}
	defer b.Release()
	return batch.Take(b, rowRange(first, b.Len()))
}

// Acknowledge implements changes: the records before are not needed any more.
func (d *relayReader) Acknowledge(batch.Position) {
	if d.record.Relay != nil {
		d.record.Relay.Begin = d.after // recorded with the next position
	}
	if err := d.spool.Drop(d.after); err != nil {
		d.log.Warn("delivered records stay in the spool", "error", err)
	}
}

// What a record of a relay is: its first byte.
const (
	relayedBatch   = 'B'
	relayedFailure = 'F'
	relayedEnd     = 'E'
)

// groupEnd closes the records of a group.
type groupEnd struct {
	Position   batch.Position `json:"position"`
	Complete   bool           `json:"complete"`
	End        uint64         `json:"end,omitempty"`
	Bytes      int64          `json:"bytes"`
	CommitTime int64          `json:"commit_time"`
}

func (e *groupEnd) complete(g *postgres.Group) *postgres.Group {
	return postgres.RestoreGroup(postgres.Group{Batches: g.Batches, Failed: g.Failed, Position: e.Position, Complete: e.Complete,
		ReceivedBytes: e.Bytes, LastCommitTime: e.CommitTime}, e.End)
}

func encodeGroup(g *postgres.Group) ([][]byte, error) {
	var out [][]byte
	for _, f := range g.Failed {
		form, err := formOf(f)
		if err != nil {
			return nil, err
		}
		text, err := json.Marshal(form)
		if err != nil {
			return nil, fmt.Errorf("spool %w: %w", &f, err)
		}
		out = append(out, append([]byte{relayedFailure}, text...))
	}
	for _, b := range g.Batches {
		data, err := batch.Marshal(b)
		if err != nil {
			return nil, err
		}
		out = append(out, append([]byte{relayedBatch}, data...))
	}
	end, err := json.Marshal(groupEnd{g.Position, g.Complete, g.End(), g.ReceivedBytes, g.LastCommitTime})
	if err != nil {
		return nil, fmt.Errorf("spool group at %s: %w", g.Position, err)
	}
	return append(out, append([]byte{relayedEnd}, end...)), nil
}

func releaseGroup(g *postgres.Group) {
	for _, b := range g.Batches {
		b.Release()
	}
	g.Batches = nil
}

// failureForm is a postgres.RawFailure in a spool.
type failureForm struct {
	Schema     *batch.Schema  `json:"schema"`
	Op         batch.Op       `json:"op"`
	Position   batch.Position `json:"position"`
	CommitTime int64          `json:"commit_time"`
	Old        []byte         `json:"old,omitempty"`
	New        []byte         `json:"new,omitempty"`
	Column     int            `json:"column"`
	Reason     string         `json:"reason"`
	Size       int64          `json:"size,omitempty"`
	Key        []byte         `json:"key,omitempty"`
}

func formOf(f postgres.RawFailure) (out failureForm, err error) {
	out = failureForm{f.Schema, f.Op, f.Position, f.CommitTime, f.Old, f.New, f.Column, f.Reason.Error(), f.Size, nil}
	if f.Key != nil {
		out.Key, err = batch.Marshal(f.Key)
	}
	return out, err
}

func (f *failureForm) failure() (postgres.RawFailure, error) {
	out := postgres.RawFailure{Schema: f.Schema, Op: f.Op, Position: f.Position, CommitTime: f.CommitTime,
		Old: f.Old, New: f.New, Column: f.Column, Reason: errors.New(f.Reason), Size: f.Size}
	if f.Key == nil {
		return out, nil
	}
	var err error
	out.Key, err = batch.Unmarshal(f.Key)
	return out, err
}
