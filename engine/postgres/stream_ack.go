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
	told     uint64
	expected []boundary // groups handed out and not acknowledged, in order
	held     map[uint32]prepared
}

// prepared is a transaction whose PREPARE the slot must not pass yet: it is
// not committed, or the commit is not durable.
type prepared struct {
	lsn    uint64
	commit batch.Position
}

// prepared notes the PREPARE of a transaction. One before what the server was
// told is sent again at its commit in any case.
func (a *acknowledgements) prepared(xid uint32, lsn uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if lsn < a.told {
		return
	}
	if a.held == nil {
		a.held = map[uint32]prepared{}
	}
	a.held[xid] = prepared{lsn: lsn}
}

// committed notes where a prepared transaction was committed.
func (a *acknowledgements) committed(xid uint32, at batch.Position) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if p, ok := a.held[xid]; ok {
		a.held[xid] = prepared{p.lsn, at}
		a.release()
	}
}

// forget notes that a prepared transaction was rolled back.
func (a *acknowledgements) forget(xid uint32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.held, xid)
}

// release lets go of what has become durable.
func (a *acknowledgements) release() {
	for xid, p := range a.held {
		if !p.commit.IsZero() && p.commit.Compare(a.position) <= 0 {
			delete(a.held, xid)
		}
	}
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
	a.release()
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
	out := a.flushed
	for _, p := range a.held {
		out = min(out, p.lsn)
	}
	a.told = max(a.told, out)
	return out
}

// passed returns the LSN that durable would return if nothing were prepared.
func (a *acknowledgements) passed() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.flushed
}
