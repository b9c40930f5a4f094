//go:build wasm

package pdk

import (
	"runtime"
	"strings"
	"unsafe"
)

//go:wasmimport leat kernel_run
func importKernelRun(request unsafe.Pointer, size uint32) uint32

//go:wasmimport leat kernel_result
func importKernelResult(into unsafe.Pointer, size uint32)

func hostKernelRun(r []byte) []byte {
	return fetch(importKernelRun(unsafe.Pointer(unsafe.SliceData(r)), uint32(len(r))))
}

func runKernel(r *kernelRequest, inputs []KernelColumn) (*KernelResult, error) {
	arrays, buffers := make([]arrowArray, len(inputs)), make([][3]uint32, len(inputs))
	for i := range inputs {
		v := &inputs[i].View
		arrays[i] = v.arrowArray(&buffers[i])
		r.Inputs[i].Array, r.Inputs[i].Presence = address(unsafe.Pointer(&arrays[i])), sliceAt(v.present)
	}
	var ok struct {
		Format string `json:"format"`
		Size   uint32 `json:"size"`
	}
	err := call(hostKernelRun, r, &ok)
	runtime.KeepAlive(arrays)
	runtime.KeepAlive(buffers)
	runtime.KeepAlive(inputs)
	if err != nil {
		return nil, err
	}
	block := make([]uint64, (ok.Size+7)/8)
	importKernelResult(unsafe.Pointer(unsafe.SliceData(block)), ok.Size)
	head := unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(block))), 6)
	out := &KernelResult{Format: ok.Format, View: viewOf(head[0], head[1], r.Rows, Width(ok.Format))}
	for _, e := range at[rowErrorEntry](head[3], int(head[2])) {
		out.Failed = append(out.Failed, FailedRow{int(e.row), strings.Clone(string(at[byte](e.message, int(e.size))))})
	}
	return out, nil
}

// arrowArray describes the column for the host; its buffers have to live as
// long.
func (v *View) arrowArray(b *[3]uint32) arrowArray {
	*b = [3]uint32{sliceAt(v.valid), sliceAt(v.data), 0}
	n := int64(2)
	if v.width == -1 {
		b[1], b[2], n = sliceAt(v.offsets), sliceAt(v.data), 3
	}
	return arrowArray{length: int64(v.n), nullCount: -1, nBuffers: n, buffers: sliceAt(b[:])}
}
