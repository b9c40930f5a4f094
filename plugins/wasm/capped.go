package wasm

import (
	"github.com/tetratelabs/wazero/experimental"

	"github.com/leat-etl/leat/plugins/wasm/memory"
)

// cappedMemory allocates an instance's memory and remembers whether growth
// was refused.
type cappedMemory struct {
	allocator *memory.Allocator
	refused   bool
}

func newCappedMemory(capBytes uint64) *cappedMemory {
	return &cappedMemory{allocator: memory.New(capBytes)}
}

// Allocate implements experimental.MemoryAllocator.
func (m *cappedMemory) Allocate(capacity, maximum uint64) experimental.LinearMemory {
	return &cappedLinear{m.allocator.Allocate(capacity, maximum), m}
}

type cappedLinear struct {
	experimental.LinearMemory
	owner *cappedMemory
}

// Reallocate implements experimental.LinearMemory.
func (l *cappedLinear) Reallocate(size uint64) []byte {
	b := l.LinearMemory.Reallocate(size)
	if b == nil {
		l.owner.refused = true
	}
	return b
}
