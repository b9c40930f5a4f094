//go:build wasm

package pdk

import (
	"structs"
	"unsafe"
)

// arrowArray is struct ArrowArray of the Arrow C Data Interface on wasm32.
// Pointers are 32 bits wide although Go's own are 64.
type arrowArray struct {
	_          structs.HostLayout
	length     int64
	nullCount  int64
	offset     int64
	nBuffers   int64
	nChildren  int64
	buffers    uint32
	children   uint32
	dictionary uint32
	release    uint32
	private    uint32
	_          uint32
}

// batchHeader is what leat_process receives.
type batchHeader struct {
	_        structs.HostLayout
	plan     uint32
	rows     uint32
	array    uint32
	schema   uint32
	presence uint32
	ops      uint32
	// positions are 0 where the plan does not ask for them.
	positions uint32
	_         uint32
}

// resultHeader is what leat_process returns.
type resultHeader struct {
	_         structs.HostLayout
	message   uint32
	size      uint32
	rows      uint32
	columns   uint32
	array     uint32
	presence  uint32
	selection uint32
	routes    uint32
	nErrors   uint32
	errors    uint32
	_         [2]uint32
}

type rowErrorEntry struct {
	_       structs.HostLayout
	row     uint32
	message uint32
	size    uint32
}

// result is the answer to the last leat_process; it keeps alive what its
// header points to.
var result struct {
	header   resultHeader
	root     arrowArray
	arrays   []arrowArray
	pointers []uint32
	buffers  [][3]uint32
	presence []uint32
	errors   []rowErrorEntry
}

//go:wasmexport leat_process
func exportProcess(at unsafe.Pointer) unsafe.Pointer {
	h := (*batchHeader)(at)
	result.header = resultHeader{}
	o, err := process(h.plan, readBatch(h))
	if err != nil {
		last = encode(nil, err)
		result.header.message, result.header.size = sliceAt(last), uint32(len(last))
	} else {
		writeOutput(o)
	}
	return unsafe.Pointer(&result.header)
}

func at[T any](address uint32, n int) []T {
	if address == 0 || n == 0 {
		return nil
	}
	p := uintptr(address)
	return unsafe.Slice(*(**T)(unsafe.Pointer(&p)), n)
}

func sliceAt[T any](s []T) uint32 { return address(unsafe.Pointer(unsafe.SliceData(s))) }

// readBatch makes views of the host's columns in place.
func readBatch(h *batchHeader) *Batch {
	rows := int(h.rows)
	root := &at[arrowArray](h.array, 1)[0]
	n := int(root.nChildren)
	b := &Batch{ops: at[byte](h.ops, rows), places: at[Place](h.positions, rows), columns: make([]View, n)}
	children, presence := at[uint32](root.children, n), at[uint32](h.presence, n)
	plan := transform.plans[h.plan]
	for i := range n {
		b.columns[i] = viewOf(children[i], presence[i], rows, plan.needWidth(i))
	}
	return b
}

// viewOf is a view of the column at an ArrowArray.
func viewOf(array, presence uint32, rows, width int) View {
	a := &at[arrowArray](array, 1)[0]
	buffers := at[uint32](a.buffers, int(a.nBuffers))
	v := View{n: rows, width: width}
	v.valid, v.present = at[byte](buffers[0], (rows+7)/8), at[byte](presence, (rows+7)/8)
	switch v.width {
	case -1:
		v.offsets = at[int32](buffers[1], rows+1)
		v.data = at[byte](buffers[2], int(v.offsets[rows]))
	case 0:
		v.data = at[byte](buffers[1], (rows+7)/8)
	default:
		v.data = at[byte](buffers[1], rows*v.width)
	}
	return v
}

// writeOutput lays the output out for the host.
func writeOutput(o *Output) {
	n := len(o.columns)
	grow(&result.arrays, n)
	grow(&result.pointers, n)
	grow(&result.buffers, n)
	grow(&result.presence, n)
	for i := range o.columns {
		c := &o.columns[i]
		b := &result.buffers[i]
		*b = [3]uint32{sliceAt(c.valid), sliceAt(c.data), 0}
		buffers := int64(2)
		if c.width == -1 {
			b[1], b[2], buffers = sliceAt(c.offsets), sliceAt(c.data), 3
		}
		result.arrays[i] = arrowArray{length: int64(c.n), nullCount: int64(c.nulls), nBuffers: buffers, buffers: sliceAt(b[:])}
		result.pointers[i] = address(unsafe.Pointer(&result.arrays[i]))
		result.presence[i] = sliceAt(c.present)
	}
	result.root = arrowArray{length: int64(o.Len()), nBuffers: 1, nChildren: int64(n), buffers: sliceAt(noBuffers), children: sliceAt(result.pointers)}
	h := &result.header
	h.rows, h.columns = uint32(o.Len()), uint32(n)
	h.array, h.presence = address(unsafe.Pointer(&result.root)), sliceAt(result.presence)
	if o.selected {
		h.selection = sliceAt(atLeastOne(&o.rows))
		if len(o.plan.Outputs) > 1 {
			h.routes = sliceAt(atLeastOne(&o.routes))
		}
	}
	result.errors = result.errors[:0]
	for i := range o.failed {
		f := &o.failed[i]
		result.errors = append(result.errors, rowErrorEntry{row: uint32(f.row), message: address(unsafe.Pointer(unsafe.StringData(f.message))), size: uint32(len(f.message))})
	}
	h.nErrors, h.errors = uint32(len(result.errors)), sliceAt(result.errors)
}

var noBuffers = make([]uint32, 1)

// atLeastOne makes an empty selection distinct from none: it needs an address.
func atLeastOne(s *[]int32) []int32 {
	if cap(*s) == 0 {
		*s = make([]int32, 0, 16)
	}
	return (*s)[:1:cap(*s)]
}

func grow[T any](s *[]T, n int) {
	if cap(*s) < n {
		*s = make([]T, n)
	}
	*s = (*s)[:n]
}
