// Package memory gives each plugin instance its linear memory outside the
// host's heap, with a hard cap of its own: wazero's limit is per runtime.
package memory

import (
	"sync/atomic"

	"github.com/tetratelabs/wazero/experimental"
)

// Allocator makes the linear memory of one instance. Put it into the context
// that instantiates with experimental.WithMemoryAllocator. It reserves the
// address range once and commits pages as the guest grows, so that growing
// moves nothing. Growing past the cap makes memory.grow return -1; a module
// whose minimum is past the cap fails to instantiate by a panic in wazero,
// so compare the declared minimum first. The memory is given back when the
// instance is closed; wazero forgets it when instantiation fails, so that the
// owner then calls Close.
type Allocator struct {
	limit  uint64
	bytes  atomic.Int64
	memory *linear
}

var _ experimental.MemoryAllocator = (*Allocator)(nil)

// New returns an allocator for one instance that holds at most capBytes.
func New(capBytes uint64) *Allocator { return &Allocator{limit: capBytes} }

// Bytes is the size of the linear memory now. It is safe to call from any
// goroutine, also while the guest runs.
func (a *Allocator) Bytes() uint64 { return uint64(a.bytes.Load()) }

// Allocate implements experimental.MemoryAllocator. It is called once.
func (a *Allocator) Allocate(_, most uint64) experimental.LinearMemory {
	a.memory = &linear{owner: a, most: min(most, a.limit)}
	return a.memory
}

// Close gives the memory back if the instance has not done so. No instance
// may use it any more.
func (a *Allocator) Close() {
	if a.memory != nil {
		a.memory.Free()
	}
}

// linear is the memory of the instance. wazero calls it from one goroutine at
// a time.
type linear struct {
	owner *Allocator
	pages *pages // nil before the first use
	most  uint64
	size  uint64
}

// Reallocate implements experimental.LinearMemory. It never moves the memory.
func (l *linear) Reallocate(size uint64) []byte {
	if uint64(l.owner.bytes.Add(int64(size-l.size))) > l.owner.limit {
		l.owner.bytes.Add(-int64(size - l.size))
		return nil
	}
	if l.pages == nil {
		l.pages = reserve(l.most)
	}
	buffer := l.pages.commit(size)
	if buffer == nil {
		l.owner.bytes.Add(-int64(size - l.size))
		return nil
	}
	l.size = size
	return buffer
}

// Free implements experimental.LinearMemory.
func (l *linear) Free() {
	if l.pages != nil {
		l.pages.release()
	}
	l.owner.bytes.Add(-int64(l.size))
	l.size = 0
}
