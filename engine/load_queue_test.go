package engine

import (
	"testing"
	"time"

	"github.com/leat-etl/leat/engine/postgres"
)

// TestChunksAdapt reads a table whose blocks hold next to nothing, then a
// hundred times what the catalogue says, then the destination becomes slow:
// chunks come back to their size, and every block is read once.
func TestChunksAdapt(t *testing.T) {
	const target, pages = 1 << 20, 40_000
	need := func(block uint32) (bytes int64, took time.Duration) {
		switch {
		case block < 10_000:
			return 10, time.Microsecond
		case block < 20_000:
			return 100_000, 10 * time.Microsecond
		}
		return 1000, 100 * time.Millisecond
	}
	p := &pace{pages: pages, bytes: 1000}
	left, next := postgres.Chunk{Bytes: pages * 1000}, uint32(0)
	after := map[uint32]int{} // chunks since the blocks changed
	total := int64(0)
	for seq := 1; ; seq++ {
		head, rest, cut := left.Cut(p.blocks(target), p.pages, seq)
		if head.FromBlock != next {
			t.Fatalf("chunk %d begins at %d, want %d", seq, head.FromBlock, next)
		}
		total += head.Bytes
		if !cut {
			break
		}
		bytes, took := int64(0), time.Duration(0)
		for b := head.FromBlock; b < head.ToBlock; b++ {
			n, d := need(b)
			bytes, took = bytes+n, took+d
		}
		kind := head.FromBlock / 10_000
		if (head.ToBlock-1)/10_000 == kind {
			after[kind]++
		}
		if after[kind] > 12 && (bytes > 3*target || took.Seconds() > 2*longest) {
			t.Errorf("chunk of blocks %d to %d: %d bytes, %s", head.FromBlock, head.ToBlock, bytes, took)
		}
		p.learn(int64(head.ToBlock-head.FromBlock), bytes, took)
		next, left = head.ToBlock, rest
	}
	if left.ToBlock != 0 {
		t.Errorf("the last chunk ends at block %d: rows behind it would be lost", left.ToBlock)
	}
	if total != pages*1000 {
		t.Errorf("chunks of %d bytes together, want %d", total, pages*1000)
	}
}
