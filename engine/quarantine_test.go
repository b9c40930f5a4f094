package engine

import (
	"log/slog"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/plugins/wasm"
	"github.com/leat-etl/leat/state"
)

var quarantined = batch.TableID{Database: "shop", Schema: "public", Name: "a"}

// rowsOf makes a batch of updates of table a, one for each key and place.
func rowsOf(t *testing.T, rows ...[3]uint64) *batch.Batch {
	t.Helper()
	schema := &batch.Schema{Table: quarantined, OID: 1, Version: 1, Columns: []batch.Column{
		{Name: "id", Type: arrow.PrimitiveTypes.Int64, PG: batch.PGType{Name: "int8", OID: 20, Typmod: -1}, Key: 1},
	}}
	builder := batch.NewBuilder(schema)
	for _, r := range rows {
		builder.Column(0).AppendUint64(r[0])
		builder.EndRow(batch.Update, r[1], r[2], 0)
	}
	b := builder.Finish(batch.Position{Timeline: 1, LSN: rows[len(rows)-1][1], Ordinal: batch.EndOfTransaction})
	t.Cleanup(b.Release)
	return b
}

func opened(t *testing.T) *state.Store {
	t.Helper()
	store, err := state.Open(t.TempDir(), state.Options{Pipeline: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

// mark makes events of a row, as one delivery does; commits says whether
// the destination gets it.
func (q *quarantine) mark(t *testing.T, commits bool, row [3]uint64) {
	t.Helper()
	events, err := q.events(rowsOf(t, row), 0, failure{reason: "refused"})
	if err != nil {
		t.Fatal(err)
	}
	if err := q.put(events); err != nil {
		t.Fatal(err)
	}
	if commits {
		q.committed(events)
	}
	if err := q.reload(); err != nil {
		t.Fatal(err)
	}
}

// kept returns the places of the rows that need not wait.
func kept(t *testing.T, q *quarantine, b *batch.Batch) (out [][2]uint64) {
	t.Helper()
	rest, _, err := q.divert(b)
	if err != nil {
		t.Fatal(err)
	}
	if rest == nil {
		return nil
	}
	defer rest.Release()
	for r := range rest.Ops {
		out = append(out, [2]uint64{rest.LSN[r], rest.Ordinal[r]})
	}
	return out
}

// TestOnlyLaterRowsWait: an event can be known before the row that stands
// ahead of it, as where a change cannot be decoded, or a table is loaded
// beside the log.
func TestOnlyLaterRowsWait(t *testing.T) {
	q, err := newQuarantine(opened(t))
	if err != nil {
		t.Fatal(err)
	}
	q.mark(t, true, [3]uint64{7, 200, 3})
	got := kept(t, q, rowsOf(t, [3]uint64{7, 100, 1}, [3]uint64{7, 200, 2}, [3]uint64{8, 300, 1}, [3]uint64{7, 300, 2}))
	if want := [][2]uint64{{100, 1}, {200, 2}, {300, 1}}; len(got) != 3 || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
		t.Errorf("kept %v, want %v", got, want)
	}
}

// TestCommitAtTheSnapshotWaits: what a load read comes before a transaction
// that commits exactly where its snapshot stands.
func TestCommitAtTheSnapshotWaits(t *testing.T) {
	q, err := newQuarantine(opened(t))
	if err != nil {
		t.Fatal(err)
	}
	q.mark(t, true, [3]uint64{7, 100, firstLoaded + 5})
	if got := kept(t, q, rowsOf(t, [3]uint64{7, 100, 1})); got != nil {
		t.Errorf("row %v did not wait", got)
	}
	truncate := truncation(rowsOf(t, [3]uint64{1, 1, 1}).Schema, batch.Position{LSN: 100, Ordinal: 2})
	defer truncate.Release()
	changed, err := q.supersede(truncate, nil)
	if err != nil || len(changed) != 1 {
		t.Errorf("a truncate there superseded %d events, %v", len(changed), err)
	}
}

// TestEventsCountWithTheirDelivery: what a delivery found that died before its
// commit is forgotten, since its rows come again.
func TestEventsCountWithTheirDelivery(t *testing.T) {
	store := opened(t)
	q, err := newQuarantine(store)
	if err != nil {
		t.Fatal(err)
	}
	q.mark(t, true, [3]uint64{7, 100, 1})
	q.mark(t, false, [3]uint64{8, 100, 2})
	one := "1"
	if q, err = newQuarantine(store); err == nil { // the next process
		err = q.settle([]wasm.Checkpoint{{Key: failedKey("shop"), Value: &one}})
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := kept(t, q, rowsOf(t, [3]uint64{8, 200, 1}, [3]uint64{7, 200, 2})); len(got) != 1 || got[0] != [2]uint64{200, 1} {
		t.Errorf("kept %v, want only the row whose event does not count", got)
	}
	if err := q.drop("another"); err != nil {
		t.Fatal(err)
	}
	if n := count(t, store); n != 2 {
		t.Errorf("%d events after those of another database were dropped", n)
	}
	if err := q.drop("shop"); err != nil {
		t.Fatal(err)
	}
	if n := count(t, store); n != 1 {
		t.Errorf("%d events are left, want the one that counts", n)
	}
	if n := q.number("shop"); n != 2 {
		t.Errorf("the next delivery is number %d", n)
	}
}

// TestTruncateSparesLaterEvents: a change behind a TRUNCATE is known first
// where it cannot be decoded.
func TestTruncateSparesLaterEvents(t *testing.T) {
	q, err := newQuarantine(opened(t))
	if err != nil {
		t.Fatal(err)
	}
	before, err := q.events(rowsOf(t, [3]uint64{7, 100, 1}), 0, failure{reason: "refused"})
	if err != nil {
		t.Fatal(err)
	}
	after, err := q.events(rowsOf(t, [3]uint64{8, 300, 1}), 0, failure{reason: "refused"})
	if err != nil {
		t.Fatal(err)
	}
	pending := append(before, after...)
	truncate := truncation(rowsOf(t, [3]uint64{1, 1, 1}).Schema, batch.Position{LSN: 200, Ordinal: 1})
	defer truncate.Release()
	if _, err := q.supersede(truncate, pending); err != nil {
		t.Fatal(err)
	}
	if pending[0].Superseded == nil || pending[1].Superseded != nil {
		t.Errorf("superseded: %v and %v", pending[0].Superseded, pending[1].Superseded)
	}
	if got := kept(t, q, rowsOf(t, [3]uint64{7, 400, 1}, [3]uint64{8, 400, 2})); len(got) != 1 || got[0] != [2]uint64{400, 1} {
		t.Errorf("kept %v, want only the row of the freed key", got)
	}
}

func count(t *testing.T, store *state.Store) (n int) {
	t.Helper()
	for _, err := range store.FailedEvents(state.FailedFilter{}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

// TestTruncateForgetsSkippedEvents: their rows are gone at both ends.
func TestTruncateForgetsSkippedEvents(t *testing.T) {
	store := opened(t)
	q, err := newQuarantine(store)
	if err != nil {
		t.Fatal(err)
	}
	q.mark(t, true, [3]uint64{7, 100, 1})
	var id string
	for f, err := range store.FailedEvents(state.FailedFilter{}) {
		if err != nil {
			t.Fatal(err)
		}
		id = f.ID
	}
	r := &replay{p: &Pipeline{store: store, log: slog.New(slog.DiscardHandler)}}
	if err := r.skip([]string{id}); err != nil {
		t.Fatal(err)
	}
	skipped := func() (out []state.GivenUp) {
		for s, err := range store.SkippedEvents(quarantined, 10) {
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, s)
		}
		return out
	}
	if got := skipped(); len(got) != 1 || got[0].ID != id || len(got[0].Keys) != 1 || got[0].Keys[0]["id"] != "7" || got[0].Reason != "refused" || count(t, store) != 0 {
		t.Errorf("kept of the event: %+v", got)
	}
	truncate := truncation(rowsOf(t, [3]uint64{1, 1, 1}).Schema, batch.Position{LSN: 200, Ordinal: 1})
	defer truncate.Release()
	if _, err := q.supersede(truncate, nil); err != nil {
		t.Fatal(err)
	}
	if got := skipped(); len(got) != 0 {
		t.Errorf("after a truncate: %+v", got)
	}
}
