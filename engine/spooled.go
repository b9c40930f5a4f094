package engine

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/state/spool"
)

// What a record of spooled log is: its first byte.
const (
	spooledBatch   = 'B'
	spooledFailure = 'F'
	spooledEnd     = 'E'
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
		out = append(out, append([]byte{spooledFailure}, text...))
	}
	for _, b := range g.Batches {
		data, err := batch.Marshal(b)
		if err != nil {
			return nil, err
		}
		out = append(out, append([]byte{spooledBatch}, data...))
	}
	end, err := json.Marshal(groupEnd{g.Position, g.Complete, g.End(), g.ReceivedBytes, g.LastCommitTime})
	if err != nil {
		return nil, fmt.Errorf("spool group at %s: %w", g.Position, err)
	}
	return append(out, append([]byte{spooledEnd}, end...)), nil
}

// groupReader reads groups out of a spool.
type groupReader struct {
	records *spool.Reader
	after   int64                    // the offset behind the last group
	schemas map[string]*batch.Schema // one for each shape, so that it is planned once
}

func readGroups(s *spool.Spool, offset int64) *groupReader {
	return &groupReader{records: s.Read(offset), after: offset, schemas: map[string]*batch.Schema{}}
}

func (r *groupReader) close() error { return r.records.Close() }

// next returns the next group, io.EOF after the last one.
func (r *groupReader) next() (*postgres.Group, error) {
	var group postgres.Group
	for {
		record, after, err := r.records.Next()
		if err != nil {
			releaseGroup(&group)
			return nil, err
		}
		switch kind, body := record[0], record[1:]; kind {
		case spooledBatch:
			b, err := batch.Unmarshal(body)
			if err != nil {
				return nil, err
			}
			b.Schema = r.schema(b.Schema)
			group.Batches = append(group.Batches, b)
		case spooledFailure:
			var f failureForm
			if err := json.Unmarshal(body, &f); err != nil {
				return nil, fmt.Errorf("read spool: %w", err)
			}
			failure, err := f.failure()
			if err != nil {
				return nil, err
			}
			group.Failed = append(group.Failed, failure)
		case spooledEnd:
			var e groupEnd
			if err := json.Unmarshal(body, &e); err != nil {
				return nil, fmt.Errorf("read spool: %w", err)
			}
			r.after = after
			return e.complete(&group), nil
		}
	}
}

// schema is the one that earlier batches of the same shape had.
func (r *groupReader) schema(s *batch.Schema) *batch.Schema {
	key := fmt.Sprintf("%s %d %x", s.Table, s.Version, s.Fingerprint())
	if r.schemas[key] == nil {
		r.schemas[key] = s
	}
	return r.schemas[key]
}

// restrict leaves the changes in a group whose positions are wanted. The
// wanted ones of a batch are a run of its rows; one without rows stands at its
// own.
func restrict(g *postgres.Group, wanted func(batch.Position) bool) *postgres.Group {
	out := *g
	out.Batches, out.Failed = nil, nil
	for _, b := range g.Batches {
		if b.Len() == 0 && wanted(b.Position) {
			out.Batches = append(out.Batches, b)
			continue
		}
		at := func(row int) bool { return wanted(batch.Position{LSN: b.LSN[row], Ordinal: b.Ordinal[row]}) }
		from := 0
		for from < b.Len() && !at(from) {
			from++
		}
		to := from
		for to < b.Len() && at(to) {
			to++
		}
		switch to - from {
		case 0:
			b.Release()
		case b.Len():
			out.Batches = append(out.Batches, b)
		default:
			out.Batches = append(out.Batches, batch.Take(b, rowRange(from, to)))
			b.Release()
		}
	}
	for _, f := range g.Failed {
		if wanted(f.Position) {
			out.Failed = append(out.Failed, f)
		}
	}
	return &out
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
