package postgres

import (
	"bytes"
	"time"

	"github.com/leat-etl/leat/engine/batch"
)

// Group is a run of the log that is applied in one go.
type Group struct {
	// Batches are in log order of their first change: one for each table,
	// schema version and truncate segment. The receiver releases them.
	Batches []*batch.Batch
	// Failed are the changes that no batch could hold.
	Failed []RawFailure
	// Position is reached once all of it has been applied.
	Position batch.Position
	// Complete says that Position is a commit boundary. A group that is not
	// ends inside a transaction that was too large. A complete group without
	// batches ends such a transaction.
	Complete bool
	// ReceivedBytes is the size of the changes, an estimate for budgets.
	ReceivedBytes int64
	// LastCommitTime is when the last transaction in it was committed, in
	// microseconds since 1970.
	LastCommitTime int64

	end uint64
}

// End is the LSN where the last commit record ends, 0 inside a transaction.
// Position names the record by its start.
func (g *Group) End() uint64 { return g.end }

// RestoreGroup returns a group as it was when its End was end.
func RestoreGroup(g Group, end uint64) *Group {
	g.end = end
	return &g
}

// gathering is the group that is being filled.
type gathering struct {
	entries  []entry
	failed   []RawFailure
	position batch.Position
	end      uint64
	time     int64
	bytes    int64
	rows     int
	since    time.Time // of the first change
	reached  bool      // position is set
}

// entry is a batch in log order: finished, or still in its relation's builder.
type entry struct {
	batch *batch.Batch
	open  *loggedRelation
}

// reshape adds a batch without rows: its table is another one from here on.
func (g *gathering) reshape(rel *loggedRelation, at batch.Position) {
	g.add(entry{batch: rel.builder.Finish(at)})
}

// used says whether anything was gathered.
func (g *gathering) used() bool { return len(g.entries) > 0 || len(g.failed) > 0 }

// builder returns the builder of a relation, whose place among the batches is
// taken by its first change.
func (g *gathering) builder(rel *loggedRelation) *batch.Builder {
	if rel.entry < 0 {
		rel.entry = len(g.entries)
		g.add(entry{open: rel})
	}
	return rel.builder
}

func (g *gathering) add(e entry) {
	g.start()
	g.entries = append(g.entries, e)
}

func (g *gathering) start() {
	if g.since.IsZero() {
		g.since = time.Now()
	}
}

// close ends the batch of a relation: what follows is another batch.
func (g *gathering) close(rel *loggedRelation) {
	if rel.entry < 0 {
		return
	}
	e := &g.entries[rel.entry]
	rel.entry, e.open = -1, nil
	if rel.builder.Len() > 0 {
		e.batch = rel.builder.Finish(batch.Position{})
	}
}

// truncate adds the batch of a truncate.
func (g *gathering) truncate(rel *loggedRelation, at batch.Position, commitTime int64) {
	g.close(rel)
	for i := range rel.schema.Columns {
		rel.builder.Column(i).AppendAbsent()
	}
	rel.builder.EndRow(batch.Truncate, at.LSN, at.Ordinal, commitTime)
	g.add(entry{batch: rel.builder.Finish(at)})
}

var operations = map[byte]batch.Op{'I': batch.Insert, 'U': batch.Update, 'D': batch.Delete}

// fail keeps a change as it was sent.
func (g *gathering) fail(rel *loggedRelation, kind byte, at batch.Position, commitTime int64, old, row []byte, key *batch.Batch, why columnError) {
	g.start()
	g.failed = append(g.failed, RawFailure{
		Schema: rel.schema, Op: operations[kind], Position: at, CommitTime: commitTime,
		Old: bytes.Clone(old), New: bytes.Clone(row), Column: why.column, Reason: why.reason, Key: key,
	})
}

// tooLarge keeps the key of a change that is too large.
func (g *gathering) tooLarge(rel *loggedRelation, kind byte, at batch.Position, commitTime int64, key *batch.Batch, why tooLarge) {
	g.start()
	g.failed = append(g.failed, RawFailure{
		Schema: rel.schema, Op: operations[kind], Position: at, CommitTime: commitTime, Column: -1, Reason: why, Size: why.size, Key: key,
	})
}

// reach notes that the group ends at p; end is that of its commit record, 0
// inside a transaction.
func (g *gathering) reach(p batch.Position, end uint64, commitTime int64) {
	g.start()
	g.position, g.end, g.time, g.reached = p, end, commitTime, true
}

// finish returns the group and starts another.
func (g *gathering) finish() *Group {
	out := &Group{
		Failed: g.failed, Position: g.position, Complete: g.position.Ordinal == batch.EndOfTransaction,
		ReceivedBytes: g.bytes, LastCommitTime: g.time, end: g.end,
	}
	for i := range g.entries {
		if rel := g.entries[i].open; rel != nil {
			g.close(rel)
		}
		if b := g.entries[i].batch; b != nil {
			if b.Len() > 0 {
				b.Position = g.position
			}
			out.Batches = append(out.Batches, b)
		}
	}
	clear(g.entries)
	*g = gathering{entries: g.entries[:0]}
	return out
}
