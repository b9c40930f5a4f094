package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

var seed = flag.Uint64("spool-seed", 0, "seed of the random tests, 0 for a new one")

func random(t *testing.T) *rand.Rand {
	n := *seed
	if n == 0 {
		n = uint64(time.Now().UnixNano())
	}
	t.Logf("-spool-seed=%d", n)
	return rand.New(rand.NewPCG(n, 0))
}

func open(t *testing.T, dir string, o Options) *Spool {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// record makes the n-th record, of a size that differs from its neighbours'.
func record(n int) []byte {
	return fmt.Appendf(nil, "%d %s", n, bytes.Repeat([]byte{byte(n)}, n*37%300))
}

// appendAll appends the records from up to to and returns the offset after each.
func appendAll(t *testing.T, s *Spool, from, to int) (after []int64) {
	t.Helper()
	for n := from; n < to; n++ {
		end, err := s.Append(record(n))
		if err != nil {
			t.Fatal(err)
		}
		after = append(after, end)
	}
	return after
}

// contents reads to the end and returns how many of the records from first on
// are there, in order.
func contents(t *testing.T, s *Spool, offset int64, first int) int {
	t.Helper()
	r := s.Read(offset)
	defer r.Close()
	for n := first; ; n++ {
		got, _, err := r.Next()
		if err == io.EOF {
			return n - first
		}
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, record(n)) {
			t.Fatalf("record %d is %.20q", n, got)
		}
	}
}

func TestRecordsSurviveReopening(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	s := open(t, dir, Options{SegmentBytes: 1000})
	after := appendAll(t, s, 0, 100)
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
	id := s.ID()
	if n := contents(t, s, 0, 0); n != 100 {
		t.Errorf("%d records", n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, Options{SegmentBytes: 1000})
	if s.ID() != id || s.End() != after[99] || contents(t, s, after[49], 50) != 50 {
		t.Errorf("after reopening: ID %s, end %d", s.ID(), s.End())
	}
	appendAll(t, s, 100, 120)
	if n := contents(t, s, 0, 0); n != 120 {
		t.Errorf("%d records", n)
	}
	if err := Remove(dir); err != nil {
		t.Fatal(err)
	}
	if again := open(t, dir, Options{}); again.ID() == id || again.End() != 0 {
		t.Error("a spool made anew passes for the one before it")
	}
}

func TestDropAndTruncate(t *testing.T) {
	dir := t.TempDir()
	budget := &Budget{}
	s := open(t, dir, Options{SegmentBytes: 1000, Budget: budget})
	after := appendAll(t, s, 0, 100)
	if err := s.Drop(after[59]); err != nil {
		t.Fatal(err)
	}
	if s.Begin() == 0 || s.Begin() > after[59] || contents(t, s, after[59], 60) != 40 {
		t.Errorf("after Drop at %d it begins at %d", after[59], s.Begin())
	}
	if r := s.Read(0); true {
		if _, _, err := r.Next(); err == nil || err == io.EOF {
			t.Errorf("a dropped record was read: %v", err)
		}
	}
	if err := s.Truncate(after[79]); err != nil {
		t.Fatal(err)
	}
	if budget.Used() != s.End()-s.Begin() {
		t.Errorf("budget says %d of %d bytes", budget.Used(), s.End()-s.Begin())
	}
	appendAll(t, s, 80, 90) // over what was there
	if n := contents(t, s, after[59], 60); n != 30 {
		t.Errorf("%d records", n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if budget.Used() != 0 {
		t.Errorf("a closed spool keeps %d bytes of the budget", budget.Used())
	}
	s = open(t, dir, Options{SegmentBytes: 1000, Budget: budget})
	if n := contents(t, s, after[59], 60); n != 30 || budget.Used() != s.End()-s.Begin() {
		t.Errorf("after reopening: %d records, budget %d", n, budget.Used())
	}
	for _, at := range []int64{s.Begin() - 1, s.End() + 1} {
		if s.Truncate(at) == nil {
			t.Errorf("truncated at %d, outside", at)
		}
	}
	if _, err := s.Append(nil); err == nil {
		t.Error("an empty record was appended")
	}
}

// TestTornTail cuts the folder where a crash may, at every byte of the last
// records and at random, and fills what follows with what a disk may hold: what
// was whole stays, and appending goes on behind it.
func TestTornTail(t *testing.T) {
	rng := random(t)
	dir := t.TempDir()
	s := open(t, dir, Options{SegmentBytes: 1200})
	after := appendAll(t, s, 0, 30)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	last := s.segments[len(s.segments)-1]
	text, err := os.ReadFile(last.path(dir))
	if err != nil {
		t.Fatal(err)
	}
	for size := range len(text) {
		tail := make([]byte, rng.IntN(40)) // zeros: blocks that were never written
		if rng.IntN(2) == 0 {
			for i := range tail {
				tail[i] = byte(rng.Uint32())
			}
		}
		if err := os.WriteFile(last.path(dir), append(text[:size:size], tail...), fileMode); err != nil {
			t.Fatal(err)
		}
		s, err := Open(dir, Options{SegmentBytes: 1200})
		if err != nil {
			t.Fatalf("cut at byte %d of %d: %v", size, len(text), err)
		}
		want := 0
		for want < len(after) && (after[want] <= last.begin || last.place(after[want]) <= int64(size)) {
			want++
		}
		if got := contents(t, s, 0, 0); got != want {
			t.Fatalf("cut at byte %d: %d records, want %d", size, got, want)
		}
		appendAll(t, s, want, want+2)
		if got := contents(t, s, 0, 0); got != want+2 {
			t.Fatalf("cut at byte %d: %d records after two more", size, got)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		for _, g := range s.segments {
			if g.begin > last.begin {
				if err := os.Remove(g.path(dir)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// TestDamage changes a byte of a segment that is not the last: what was synced
// is never passed over in silence.
func TestDamage(t *testing.T) {
	for name, at := range map[string]int64{"head": 20, "record": headSize + frameSize + 3, "length": headSize} {
		dir := t.TempDir()
		s := open(t, dir, Options{SegmentBytes: 500})
		appendAll(t, s, 10, 40)
		path := s.segments[1].path(dir)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		one := make([]byte, 1)
		f.ReadAt(one, at)
		one[0] ^= 0x10
		f.WriteAt(one, at)
		f.Close()
		var damage *DamageError
		s, err = Open(dir, Options{SegmentBytes: 500})
		if err == nil {
			r := s.Read(0)
			for err == nil {
				_, _, err = r.Next()
			}
			r.Close()
			s.Close()
		}
		if !errors.As(err, &damage) || damage.Path != path {
			t.Errorf("%s: %v", name, err)
		}
	}
	dir := t.TempDir()
	s := open(t, dir, Options{SegmentBytes: 500})
	appendAll(t, s, 0, 40)
	path := s.segments[1].path(dir)
	s.Close()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	var damage *DamageError
	if _, err := Open(dir, Options{}); !errors.As(err, &damage) {
		t.Errorf("a segment is gone: %v", err)
	}
}

func TestNewerFormat(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	head := encodeHead(s.id, 0)
	head[11]++
	binary.BigEndian.PutUint32(head[headSize-4:], crc32.Checksum(head[:headSize-4], castagnoli))
	if err := os.WriteFile(s.segments[0].path(dir), head, fileMode); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, err := Open(dir, Options{}); err == nil || !bytes.Contains([]byte(err.Error()), []byte("format 2")) {
		t.Errorf("open: %v", err)
	}
}

func TestBudget(t *testing.T) {
	budget := &Budget{Limit: 1000}
	a, b := open(t, t.TempDir(), Options{Budget: budget}), open(t, t.TempDir(), Options{Budget: budget})
	big := make([]byte, 400)
	for _, s := range []*Spool{a, b} {
		if _, err := s.Append(big); err != nil {
			t.Fatal(err)
		}
	}
	end := a.End()
	if _, err := a.Append(big); !errors.Is(err, ErrFull) || a.End() != end {
		t.Errorf("beyond the budget: %v, end %d", err, a.End())
	}
	if err := b.Truncate(0); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Append(big); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

// TestBrokenDisk fails a write: nothing is taken for durable afterwards.
func TestBrokenDisk(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	appendAll(t, s, 0, 3)
	s.file.Close() // every write and fsync fails from here
	if _, err := s.Append(record(3)); err == nil {
		t.Fatal("appended to a closed file")
	}
	if _, err := s.Append(record(3)); err == nil {
		t.Error("went on after a failed write")
	}
	if err := s.Sync(); err == nil {
		t.Error("synced after a failed write")
	}
}

// TestTogether appends, syncs, reads and drops from several goroutines.
func TestTogether(t *testing.T) {
	const each, writers = 200, 4
	s := open(t, t.TempDir(), Options{SegmentBytes: 2000})
	var g sync.WaitGroup
	for w := range writers {
		g.Go(func() {
			for n := range each {
				end, err := s.Append(fmt.Appendf(nil, "%d/%d", w, n))
				if err == nil {
					err = s.Sync()
				}
				if err != nil {
					t.Error(err)
					return
				}
				s.mu.Lock()
				durable := s.durable
				s.mu.Unlock()
				if durable < end {
					t.Errorf("%d is durable after the sync of %d", durable, end)
				}
			}
		})
	}
	next := make([]int, writers)
	r := s.Read(0)
	defer r.Close()
	for read := 0; read < each*writers; {
		text, after, err := r.Next()
		if err == io.EOF {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		var w, n int
		if _, err := fmt.Sscanf(string(text), "%d/%d", &w, &n); err != nil || next[w] != n {
			t.Fatalf("read %q after %d records of that writer", text, next[w])
		}
		next[w]++
		read++
		if err := s.Drop(after); err != nil {
			t.Fatal(err)
		}
	}
	g.Wait()
	if len(s.segments) != 1 {
		t.Errorf("%d segments are left of a drained spool", len(s.segments))
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(append(encodeHead([16]byte{1}, 0), encodeFrame(0, []byte("record"))...))
	f.Fuzz(func(t *testing.T, file []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(segment{}.path(dir), file, fileMode); err != nil {
			t.Fatal(err)
		}
		s, err := Open(dir, Options{})
		if err != nil {
			return
		}
		defer s.Close()
		r := s.Read(0)
		defer r.Close()
		for {
			if _, _, err := r.Next(); err == io.EOF {
				return
			} else if err != nil {
				t.Fatalf("what Open let pass: %v", err)
			}
		}
	})
}
