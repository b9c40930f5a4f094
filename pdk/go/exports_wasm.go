//go:build wasm

package pdk

import "unsafe"

// arena is where the host puts the input of a call, last what the guest
// answered; both stay until the next call.
var (
	arena []uint64
	last  []byte
)

//go:wasmexport leat_abi_version
func exportVersion() uint32 { return ABI }

//go:wasmexport leat_alloc
func exportAlloc(size uint32) unsafe.Pointer {
	if words := int(size/8) + 1; words > len(arena) {
		arena = make([]uint64, words)
	}
	return unsafe.Pointer(unsafe.SliceData(arena))
}

func input(size uint32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(arena))), size)
}

// packed hands bytes to the host: address in the high half, length in the low.
func packed(text []byte) uint64 {
	last = text
	return uint64(address(unsafe.Pointer(unsafe.SliceData(text))))<<32 | uint64(len(text))
}

func address(p unsafe.Pointer) uint32 { return uint32(uintptr(p)) }

//go:wasmexport leat_plan
func exportPlan(_, size uint32) uint64 { return packed(handlePlan(input(size))) }

//go:wasmexport leat_open
func exportOpen(_, size uint32) uint64 { return packed(handleOpen(input(size))) }

//go:wasmexport leat_write
func exportWrite(_, size uint32) uint64 { return packed(handleWrite(input(size))) }

//go:wasmexport leat_commit
func exportCommit(_, size uint32) uint64 { return packed(handleCommit(input(size))) }

//go:wasmexport leat_checkpoint
func exportCheckpoint(_, size uint32) uint64 { return packed(handleCheckpoint(input(size))) }

//go:wasmexport leat_rollback
func exportRollback(_, size uint32) uint64 { return packed(handleRollback(input(size))) }

//go:wasmexport leat_close
func exportClose(_, size uint32) uint64 { return packed(handleClose(input(size))) }
