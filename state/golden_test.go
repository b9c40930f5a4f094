package state

import (
	"os"
	"testing"

	"github.com/leat-etl/leat/engine/batch"
)

// TestGolden opens a copy of the state folder that the first release wrote
// (testdata/state/write). A later format may add folders, never change one.
func TestGolden(t *testing.T) {
	dir := t.TempDir()
	must(t, os.CopyFS(dir, os.DirFS("../testdata/state/v1")))
	s, err := Open(dir, Options{Pipeline: "shop"})
	must(t, err)
	defer s.Close()

	src, err := s.Source("shop")
	must(t, err)
	if src.Slot != "leat_shop" || src.SystemIdentifier != "7300000000000000001" || src.Durable != at(0x16B3900, batch.EndOfTransaction) ||
		src.Acknowledged.LSN != 0x16B3800 || src.IdleAcknowledged != 0x16B3A00 || src.Snapshot != "00000003-1" || src.Generation != 1 {
		t.Errorf("source %+v", src)
	}
	o, err := s.Object(orders)
	must(t, err)
	if o.State != HistoricalLoad || o.RowsLoaded != 9 || o.BytesTotal != 100 || o.Updated.Year() != 2026 {
		t.Errorf("object %+v", o)
	}
	shape, err := s.LatestSchema(orders)
	must(t, err)
	if shape.Version != 2 || len(shape.Columns) != 2 || shape.Columns[1].Type.String() != "decimal(12, 2)" || shape.Columns[0].Key != 1 {
		t.Errorf("schema %+v", shape)
	}
	var done, open int
	for c, err := range s.Chunks(orders, 1) {
		must(t, err)
		if c.Done && c.Rows == 9 && string(c.Payload) == `{"from":0}` {
			done++
		} else if !c.Done && string(c.Payload) == `{"from":9}` {
			open++
		}
	}
	if done != 1 || open != 1 {
		t.Errorf("%d chunks done, %d open", done, open)
	}
	var failed []Failed
	for f, err := range s.FailedEvents(FailedFilter{WithPayload: true}) {
		must(t, err)
		failed = append(failed, f)
	}
	if len(failed) != 2 || string(failed[0].Payload) != "row\x00one" || failed[1].WaitsBehind != failed[0].ID || failed[0].Plugin != "dates" {
		t.Errorf("failed events %+v", failed)
	}
	// The event fails again after the upgrade: it must be the same event.
	again := failed[0]
	if id, err := s.PutFailed(again); err != nil || id != failed[0].ID {
		t.Errorf("put again: %s %v, want %s", id, err, failed[0].ID)
	}
	if blocked, err := s.BlockedKeys(orders); err != nil || blocked["\x01\x02\x03"] != 2 {
		t.Errorf("blocked %v %v", blocked, err)
	}
	if v, err := s.KVGet("dates", []byte("seen")); err != nil || string(v) != "\x00\x01\x02" {
		t.Errorf("kv %x %v", v, err)
	}
	if used, err := s.KVUsage("dates"); err != nil || used != 7 {
		t.Errorf("kv usage %d %v", used, err)
	}
	if runs, err := s.Runs(10); err != nil || len(runs) != 1 || runs[0].Outcome != "stopped" {
		t.Errorf("runs %+v %v", runs, err)
	}
}
