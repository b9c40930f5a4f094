package state

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/leat-etl/leat/engine/batch"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func table(name string) batch.TableID {
	return batch.TableID{Database: "shop", Schema: "public", Name: name}
}

func at(lsn, ordinal uint64) batch.Position {
	return batch.Position{Timeline: 1, LSN: lsn, Ordinal: ordinal}
}

func TestSources(t *testing.T) {
	s := openMem(t)
	want := Source{
		Database: "eu", SystemIdentifier: "73", Slot: "leat_shop", Publication: "leat_shop", SlotCreating: true,
		Durable: at(10, batch.EndOfTransaction), Acknowledged: at(9, 4), IdleAcknowledged: 12, Snapshot: "00-1", Generation: 2,
	}
	must(t, s.PutSource(want))
	must(t, s.PutSource(Source{Database: "asia"}))
	got, err := s.Sources()
	must(t, err)
	if len(got) != 2 || got[0] != (Source{Database: "asia"}) || got[1] != want {
		t.Errorf("sources %+v", got)
	}
	if _, err := s.Source("us"); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown database: %v", err)
	}
	if err := s.PutSource(Source{Database: "a\x00b"}); err == nil {
		t.Error("a database with a zero byte")
	}
}

func TestObjects(t *testing.T) {
	s := openMem(t)
	for i, state := range ObjectStates {
		must(t, s.PutObject(Object{Table: table(fmt.Sprintf("t%02d", i)), State: state, Reason: "r", Fix: "f", BytesTotal: 5}))
	}
	got, err := s.Objects()
	must(t, err)
	for i, o := range got {
		if o.State != ObjectStates[i] || o.Reason != "r" || o.Fix != "f" || o.BytesTotal != 5 {
			t.Errorf("object %d: %+v", i, o)
		}
	}
	if len(got) != len(ObjectStates) {
		t.Errorf("%d objects", len(got))
	}
	if err := s.PutObject(Object{Table: table("x"), State: "SLEEPING"}); err == nil || !strings.Contains(err.Error(), "SLEEPING") {
		t.Errorf("unknown state: %v", err)
	}
}

func shape(name string, columns ...string) *batch.Schema {
	s := &batch.Schema{Table: table(name), Version: 99}
	for _, c := range columns {
		s.Columns = append(s.Columns, batch.Column{Name: c, Type: arrow.PrimitiveTypes.Int64, PG: batch.PGType{Name: "int8", OID: 20, Typmod: -1}})
	}
	return s
}

func TestSchemaHistory(t *testing.T) {
	s := openMem(t)
	put := func(shape *batch.Schema, want uint64) {
		t.Helper()
		if v, err := s.PutSchema(shape, 0); err != nil || v != want {
			t.Errorf("version %d %v, want %d", v, err, want)
		}
	}
	put(shape("a", "id"), 1)
	put(shape("a", "id"), 1)
	put(shape("a", "id", "x"), 2)
	put(shape("a", "id"), 3) // a shape that comes back is a new version
	put(shape("ab", "id"), 1)
	latest, err := s.LatestSchema(table("a"))
	must(t, err)
	if latest.Version != 3 || latest.Fingerprint() != shape("a", "id").Fingerprint() {
		t.Errorf("latest %+v", latest)
	}
	second, err := s.Schema(table("a"), 2)
	must(t, err)
	if second.Version != 2 || len(second.Columns) != 2 {
		t.Errorf("second %+v", second)
	}
	history, err := s.Schemas(table("a"))
	must(t, err)
	if len(history) != 3 {
		t.Errorf("%d versions", len(history))
	}
	if _, err := s.LatestSchema(table("b")); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown table: %v", err)
	}
}

func TestChunks(t *testing.T) {
	s := openMem(t)
	var chunks []Chunk
	for seq := range 300 {
		chunks = append(chunks, Chunk{Table: table("a"), Generation: 1, Seq: seq, Payload: []byte(fmt.Sprintf(`{"from":%d}`, seq))})
	}
	must(t, s.PutChunks(chunks))
	must(t, s.PutChunks([]Chunk{{Table: table("a"), Generation: 2, Seq: 0}, {Table: table("ab"), Generation: 1, Seq: 0}}))
	must(t, s.FinishChunk(table("a"), 1, 299, 7, 70))
	seq := 0
	for c, err := range s.Chunks(table("a"), 1) {
		must(t, err)
		if c.Seq != seq || string(c.Payload) != fmt.Sprintf(`{"from":%d}`, seq) || c.Done != (seq == 299) {
			t.Fatalf("chunk %d: %+v", seq, c)
		}
		if c.Done && (c.Rows != 7 || c.Bytes != 70) {
			t.Errorf("done: %+v", c)
		}
		seq++
	}
	if seq != 300 {
		t.Errorf("%d chunks", seq)
	}
	if err := s.FinishChunk(table("a"), 1, 300, 0, 0); !errors.Is(err, ErrNotFound) {
		t.Errorf("finish of an unknown chunk: %v", err)
	}
	must(t, s.DeleteChunks(table("a")))
	left := 0
	for _, generation := range []int{1, 2} {
		for range s.Chunks(table("a"), generation) {
			left++
		}
	}
	for range s.Chunks(table("ab"), 1) {
		left += 10
	}
	if left != 10 {
		t.Errorf("after delete: %d, want the one chunk of the other table", left)
	}
	if err := s.PutChunks([]Chunk{{Table: table("a"), Seq: -1}}); err == nil {
		t.Error("a negative number")
	}
}

func TestFailedEvents(t *testing.T) {
	s := openMem(t)
	odd := batch.TableID{Database: "sh.op", Schema: "p@b %", Name: "größe-\"x\""}
	put := func(f Failed) string {
		t.Helper()
		id, err := s.PutFailed(f)
		must(t, err)
		if id != f.EventID() {
			t.Errorf("ID %s, EventID %s", id, f.EventID())
		}
		return id
	}
	first := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	third := put(Failed{Table: table("a"), Position: at(30, 1), Op: "insert", KeyHash: []byte{1}, Plugin: "mask", Payload: []byte("three")})
	one := put(Failed{Table: table("a"), Position: at(3, 300), Op: "update", KeyHash: []byte{1}, Payload: []byte("one"), At: first, Attempts: 4})
	two := put(Failed{Table: table("a"), Position: at(30, 0), Op: "delete", KeyHash: []byte{2, 0}, WaitsBehind: one})
	other := put(Failed{Table: odd, Position: at(1, 1), Op: "insert", Payload: []byte("x")})

	list := func(q FailedFilter) (ids []string) {
		t.Helper()
		for f, err := range s.FailedEvents(q) {
			must(t, err)
			if (f.Payload != nil) && !q.WithPayload {
				t.Errorf("payload of %s without asking", f.ID)
			}
			ids = append(ids, f.ID)
		}
		return ids
	}
	for name, c := range map[string]struct {
		q    FailedFilter
		want []string
	}{
		"all":    {FailedFilter{}, []string{other, one, two, third}},
		"table":  {FailedFilter{Table: table("a")}, []string{one, two, third}},
		"limit":  {FailedFilter{Table: table("a"), Limit: 2}, []string{one, two}},
		"key":    {FailedFilter{KeyHash: []byte{1}}, []string{one, third}},
		"plugin": {FailedFilter{Plugin: "mask"}, []string{third}},
		"cause":  {FailedFilter{Table: table("a"), Cause: true, WithPayload: true}, []string{one, third}},
	} {
		want := c.want
		if name == "all" {
			slices.Sort(want)
			got := list(c.q)
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
			continue
		}
		if got := list(c.q); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if ids := []string{one, two, third}; !slices.IsSorted(ids) {
		t.Errorf("IDs do not sort by position: %q", ids)
	}

	again := put(Failed{Table: table("a"), Position: at(3, 300), Op: "update", KeyHash: []byte{1}, Reason: "new", Payload: []byte("uno"), At: first.Add(time.Hour), Attempts: 1})
	f, err := s.Failed(again)
	must(t, err)
	if again != one || f.Reason != "new" || string(f.Payload) != "uno" || !f.At.Equal(first) || f.Attempts != 4 {
		t.Errorf("put again: %+v", f)
	}
	counts, err := s.FailedCounts()
	must(t, err)
	if !maps.Equal(counts, map[batch.TableID]int64{table("a"): 3, odd: 1}) {
		t.Errorf("counts %v", counts)
	}
	f.Superseded = &f.Position
	_, err = s.PutFailed(f)
	must(t, err)
	if counts, err = s.FailedCounts(); err != nil || counts[table("a")] != 2 {
		t.Errorf("counts with a superseded event %v, %v", counts, err)
	}
	blocked, err := s.BlockedKeys(table("a"))
	must(t, err)
	if !maps.Equal(blocked, map[string]int{"\x01": 2, "\x02\x00": 1}) {
		t.Errorf("blocked %v", blocked)
	}
	must(t, s.DeleteFailed(one))
	must(t, s.DeleteFailed(two))
	must(t, s.DeleteFailed(other))
	if err := s.DeleteFailed(one); !errors.Is(err, ErrNotFound) {
		t.Errorf("delete twice: %v", err)
	}
	blocked, err = s.BlockedKeys(table("a"))
	must(t, err)
	if !maps.Equal(blocked, map[string]int{"\x01": 1}) {
		t.Errorf("blocked after delete %v", blocked)
	}
	if got := list(FailedFilter{}); !slices.Equal(got, []string{third}) {
		t.Errorf("after delete %q", got)
	}
}

// TestFailedEventsOfOnePosition: rows of a historical load may share a
// position; none may take another's place.
func TestFailedEventsOfOnePosition(t *testing.T) {
	s := openMem(t)
	for _, f := range []Failed{
		{KeyHash: []byte{1}}, {KeyHash: []byte{2}}, {Payload: []byte("p")}, {Payload: []byte("q")}, {Payload: []byte("q"), Op: "read"},
	} {
		f.Table, f.Position = table("a"), at(1, 1)
		for range 2 {
			_, err := s.PutFailed(f)
			must(t, err)
		}
	}
	counts, err := s.FailedCounts()
	must(t, err)
	if counts[table("a")] != 5 {
		t.Errorf("%d events, want 5", counts[table("a")])
	}
}

func TestEventIDs(t *testing.T) {
	for _, id := range []string{"", "a", "a.b@1-2-3", "a.b.c@1-2", "a.b.c@1-2-x", "a.%zz.c@1-2-3", "a..c@1-2-3", "a.%00.c@1-2-3"} {
		if _, err := parseEventID(id); err == nil {
			t.Errorf("%q was taken for an ID", id)
		}
	}
}

func FuzzEventID(f *testing.F) {
	f.Add("shop", "public", "orders", uint64(1), uint64(2), uint64(3))
	f.Add("a.b", "c@d", "%2E é \n", uint64(1<<63), uint64(0), uint64(1<<64-1))
	f.Fuzz(func(t *testing.T, database, schema, name string, lsn, ordinal, digest uint64) {
		id := eventID{batch.TableID{Database: database, Schema: schema, Name: name}, lsn, ordinal, digest}
		if checkTable(id.table) != nil {
			return // PostgreSQL has no such name
		}
		text := id.String()
		for _, r := range text {
			if r <= ' ' || r > '~' {
				t.Fatalf("ID %q is not printable", text)
			}
		}
		got, err := parseEventID(text)
		if err != nil || got != id {
			t.Fatalf("%q is read as %+v: %v", text, got, err)
		}
		back, rest, err := splitTable(id.key(spaceFailed))
		if err != nil || back != id.table || len(rest) != 24 {
			t.Fatalf("key of %q is read as %+v, %d: %v", text, back, len(rest), err)
		}
	})
}

func TestKV(t *testing.T) {
	s := openMem(t) // quota 4 KiB
	must(t, s.KVPut("a", []byte("k1"), []byte("v1")))
	must(t, s.KVPut("a", []byte("k2"), []byte("v2")))
	must(t, s.KVPut("ab", []byte("k1"), []byte("other")))
	if v, err := s.KVGet("a", []byte("k1")); err != nil || string(v) != "v1" {
		t.Errorf("get %q %v", v, err)
	}
	pairs, err := s.KVList("a", []byte("k"), 10)
	must(t, err)
	if len(pairs) != 2 || string(pairs[0].Key) != "k1" || string(pairs[1].Value) != "v2" {
		t.Errorf("list %q", pairs)
	}
	if pairs, err = s.KVList("a", nil, 1); err != nil || len(pairs) != 1 {
		t.Errorf("limited list %q %v", pairs, err)
	}
	big := bytes.Repeat([]byte{1}, 4000)
	must(t, s.KVPut("a", []byte("big"), big))
	var quota *QuotaError
	if err := s.KVPut("a", []byte("more"), big); !errors.As(err, &quota) || quota.Quota != 4<<10 {
		t.Errorf("beyond the quota: %v", err)
	}
	must(t, s.KVPut("b", []byte("more"), big)) // another plugin, another quota
	must(t, s.KVPut("a", []byte("big"), big))  // over itself: nothing is added
	must(t, s.KVDelete("a", []byte("big")))
	must(t, s.KVDelete("a", []byte("big")))
	if used, err := s.KVUsage("a"); err != nil || used != 8 {
		t.Errorf("usage %d %v, want 8", used, err)
	}
	if _, err := s.KVGet("a", []byte("big")); !errors.Is(err, ErrNotFound) {
		t.Errorf("deleted key: %v", err)
	}
	for _, key := range [][]byte{nil, make([]byte, MaxKVKey+1)} {
		if err := s.KVPut("a", key, nil); err == nil {
			t.Errorf("a key of %d bytes", len(key))
		}
	}
	if err := s.KVPut("a", []byte("k"), make([]byte, MaxKVValue+1)); err == nil || errors.As(err, &quota) {
		t.Errorf("a value beyond the limit: %v", err)
	}
	if err := s.KVPut("a\x00b", []byte("k"), nil); err == nil {
		t.Error("a plugin with a zero byte")
	}
}

func TestRuns(t *testing.T) {
	s := openMem(t)
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	must(t, s.Update(func(tx *Tx) error {
		for i := range MaxRuns + 5 {
			if err := tx.PutRun(Run{Started: start.Add(time.Duration(i) * time.Second), Rows: int64(i)}); err != nil {
				return err
			}
		}
		return nil
	}))
	last := start.Add((MaxRuns + 4) * time.Second)
	must(t, s.PutRun(Run{Started: last, Ended: last.Add(time.Minute), Outcome: "stopped", Rows: 9}))
	runs, err := s.Runs(MaxRuns * 2)
	must(t, err)
	if len(runs) != MaxRuns || runs[0].Rows != 9 || runs[0].Outcome != "stopped" || runs[1].Rows != MaxRuns+3 || runs[MaxRuns-1].Rows != 5 {
		t.Errorf("%d runs, first %+v, last %+v", len(runs), runs[0], runs[len(runs)-1])
	}
	if runs, err = s.Runs(3); err != nil || len(runs) != 3 {
		t.Errorf("limit: %d %v", len(runs), err)
	}
	if err := s.PutRun(Run{}); err == nil {
		t.Error("a run without a start")
	}
}
