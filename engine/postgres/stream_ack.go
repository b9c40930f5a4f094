package postgres

import (
	"sync"

	"github.com/leat-etl/leat/engine/batch"
)

// acknowledgements turn the positions that are durable into the LSN that the
// server is told. It has a lock of its own so that status updates never wait
// for decoding.
type acknowledgements struct {
	mu       sync.Mutex
	position batch.Position
	flushed  uint64
	expected []boundary // groups handed out and not acknowledged, in order
}

// boundary is a commit record: where it starts, which names the position, and
// where it ends, which is what has been flushed once it is durable.
type boundary struct{ lsn, end uint64 }

// expect notes the end of a group.
func (a *acknowledgements) expect(lsn, end uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.expected = append(a.expected, boundary{lsn, end})
}

// add notes that everything up to p is durable. Positions never go back
// (invariant 2), and a position inside a transaction moves no LSN (invariant 1).
func (a *acknowledgements) add(p batch.Position) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if p.Compare(a.position) <= 0 {
		return
	}
	a.position = p
	n := 0
	for ; n < len(a.expected) && a.expected[n].lsn <= p.LSN; n++ {
		if e := a.expected[n]; e.lsn < p.LSN || p.Ordinal == batch.EndOfTransaction {
			a.flushed = max(a.flushed, e.end)
		} else {
			break
		}
	}
	a.expected = append(a.expected[:0], a.expected[n:]...)
	if p.Ordinal == 0 || p.Ordinal == batch.EndOfTransaction {
		a.flushed = max(a.flushed, p.LSN)
	}
}

// at returns the last position that was acknowledged.
func (a *acknowledgements) at() batch.Position {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.position
}

// durable returns the LSN up to which the server may forget its log.
func (a *acknowledgements) durable() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.flushed
}
