package state

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/leat-etl/leat/engine/batch"
)

var crashSeed = flag.Uint64("crash-seed", 0, "seed of the crash tests, 0 for a new one")

var orders = batch.TableID{Database: "shop", Schema: "public", Name: "orders"}

// mark writes n into four keyspaces in one Update.
func mark(s *Store, n int) error {
	return s.Update(func(tx *Tx) error {
		text, err := json.Marshal(n)
		if err != nil {
			return err
		}
		_, err = tx.PutFailed(Failed{Table: orders, Op: "insert", KeyHash: []byte("k"), Reason: "r", Payload: text})
		return errors.Join(err,
			tx.PutSource(Source{Database: "shop", Durable: batch.Position{Timeline: 1, LSN: uint64(n), Ordinal: batch.EndOfTransaction}}),
			tx.PutObject(Object{Table: orders, State: Streaming, RowsLoaded: int64(n)}),
			tx.PutChunks([]Chunk{{Table: orders, Seq: 0, Rows: int64(n)}, {Table: orders, Seq: n, Rows: int64(n)}}),
		)
	})
}

// marked returns what mark wrote last, and an error where its records differ.
func marked(s *Store) (int, error) {
	src, err := s.Source("shop")
	if errors.Is(err, ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	n := int(src.Durable.LSN)
	o, err := s.Object(orders)
	if err != nil || o.RowsLoaded != int64(n) {
		return 0, fmt.Errorf("object has %d, source %d: %w", o.RowsLoaded, n, err)
	}
	chunks := 0
	for c, err := range s.Chunks(orders, 0) {
		if err != nil {
			return 0, err
		}
		want := c.Seq
		if c.Seq == 0 {
			want = n
		}
		if c.Rows != int64(want) {
			return 0, fmt.Errorf("chunk %d has %d rows of %d", c.Seq, c.Rows, want)
		}
		chunks++
	}
	if chunks != n+1 {
		return 0, fmt.Errorf("%d chunks after %d updates", chunks, n)
	}
	for f, err := range s.FailedEvents(FailedFilter{WithPayload: true}) {
		if err != nil || string(f.Payload) != fmt.Sprint(n) {
			return 0, fmt.Errorf("failed event has payload %s, source %d: %w", f.Payload, n, err)
		}
	}
	return n, nil
}

// TestCrash takes the file system as a power failure might leave it, at random
// moments beside a writer: everything that Update returned is there, and every
// Update is there entirely or not at all.
func TestCrash(t *testing.T) {
	seed := *crashSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-crash-seed=%d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	fsys := vfs.NewCrashableMem()
	base := 0
	for life := range 12 {
		s, err := openPebble(fsys, "state", Options{Pipeline: "shop"}, false)
		if err != nil {
			t.Fatalf("open in life %d: %v", life, err)
		}
		got, err := marked(s)
		if err != nil {
			t.Fatalf("life %d after %d updates: %v", life, base, err)
		}
		if got < base {
			t.Fatalf("life %d: %d updates survived of %d that returned", life, got, base)
		}
		base, fsys = liveAndCrash(t, s, fsys, got, rng)
	}
}

// liveAndCrash writes on from n while it takes a crashed copy of the file
// system, and returns that copy and what it must at least hold.
func liveAndCrash(t *testing.T, s *Store, fsys *vfs.MemFS, n int, rng *rand.Rand) (int, *vfs.MemFS) {
	var returned atomic.Int64
	returned.Store(int64(n))
	enough, stop, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	target := int64(n + rng.IntN(40))
	go func() {
		closed := false
		for i := n + 1; ; i++ {
			if !closed && returned.Load() >= target {
				close(enough)
				closed = true
			}
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			if err := mark(s, i); err != nil {
				done <- err
				return
			}
			returned.Store(int64(i))
		}
	}()
	select {
	case <-enough:
	case err := <-done:
		t.Fatalf("update: %v", err)
	}
	base := int(returned.Load())
	crashed := fsys.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
	close(stop)
	if err := <-done; err != nil {
		t.Fatalf("update: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	return base, crashed
}

// TestUpdateErrorCommitsNothing also shows that a Tx reads what it wrote.
func TestUpdateErrorCommitsNothing(t *testing.T) {
	s := openMem(t)
	if err := s.PutSource(Source{Database: "shop", Generation: 1}); err != nil {
		t.Fatal(err)
	}
	sorry := errors.New("sorry")
	err := s.Update(func(tx *Tx) error {
		if err := tx.PutSource(Source{Database: "shop", Generation: 2}); err != nil {
			return err
		}
		if src, err := tx.Source("shop"); err != nil || src.Generation != 2 {
			t.Errorf("inside: %+v %v", src, err)
		}
		return sorry
	})
	if err != sorry {
		t.Fatalf("error %v", err)
	}
	if src, err := s.Source("shop"); err != nil || src.Generation != 1 {
		t.Fatalf("after: %+v %v", src, err)
	}
}

func openMem(t *testing.T) *Store {
	t.Helper()
	s, err := openPebble(vfs.NewMem(), "state", Options{Pipeline: "shop", KVQuota: 4 << 10}, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}
