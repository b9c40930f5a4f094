//go:build wasm

package pdk

import "unsafe"

//go:wasmimport leat log
func importLog(level int32, text unsafe.Pointer, size uint32)

//go:wasmimport leat reply
func importReply(into unsafe.Pointer, size uint32)

//go:wasmimport leat sql_exec
func importExec(request unsafe.Pointer, size uint32) uint32

//go:wasmimport leat sql_query
func importQuery(request unsafe.Pointer, size uint32) uint32

//go:wasmimport leat sql_ingest
func importIngest(request unsafe.Pointer, size uint32) uint32

//go:wasmimport leat sql_begin
func importBegin(request unsafe.Pointer, size uint32) uint32

//go:wasmimport leat sql_commit
func importCommit(request unsafe.Pointer, size uint32) uint32

//go:wasmimport leat sql_rollback
func importRollback(request unsafe.Pointer, size uint32) uint32

//go:wasmimport leat http_request
func importHTTPRequest(request unsafe.Pointer, size uint32) uint32

//go:wasmimport leat kv_get
func importKVGet(request unsafe.Pointer, size uint32) uint32

//go:wasmimport leat kv_put
func importKVPut(request unsafe.Pointer, size uint32) uint32

//go:wasmimport leat kv_delete
func importKVDelete(request unsafe.Pointer, size uint32) uint32

//go:wasmimport leat kv_list
func importKVList(request unsafe.Pointer, size uint32) uint32

//go:wasmimport leat blob_get
func importBlobGet(request unsafe.Pointer, size uint32) uint32

//go:wasmimport leat blob_put
func importBlobPut(request unsafe.Pointer, size uint32) uint32

//go:wasmimport leat blob_delete
func importBlobDelete(request unsafe.Pointer, size uint32) uint32

//go:wasmimport leat blob_list
func importBlobList(request unsafe.Pointer, size uint32) uint32

//go:wasmimport leat clock_now
func importNow() int64

//go:wasmimport leat random_fill
func importFill(into unsafe.Pointer, size uint32)

// The functions are thin so that the linker keeps only the imports that a
// plugin uses: what a plugin does not import it need not be granted.

func hostExec(r []byte) []byte {
	return fetch(importExec(unsafe.Pointer(unsafe.SliceData(r)), uint32(len(r))))
}
func hostQuery(r []byte) []byte {
	return fetch(importQuery(unsafe.Pointer(unsafe.SliceData(r)), uint32(len(r))))
}
func hostIngest(r []byte) []byte {
	return fetch(importIngest(unsafe.Pointer(unsafe.SliceData(r)), uint32(len(r))))
}
func hostBegin(r []byte) []byte {
	return fetch(importBegin(unsafe.Pointer(unsafe.SliceData(r)), uint32(len(r))))
}
func hostCommit(r []byte) []byte {
	return fetch(importCommit(unsafe.Pointer(unsafe.SliceData(r)), uint32(len(r))))
}
func hostRollback(r []byte) []byte {
	return fetch(importRollback(unsafe.Pointer(unsafe.SliceData(r)), uint32(len(r))))
}
func hostHTTPRequest(r []byte) []byte {
	return fetch(importHTTPRequest(unsafe.Pointer(unsafe.SliceData(r)), uint32(len(r))))
}
func hostKVGet(r []byte) []byte {
	return fetch(importKVGet(unsafe.Pointer(unsafe.SliceData(r)), uint32(len(r))))
}
func hostKVPut(r []byte) []byte {
	return fetch(importKVPut(unsafe.Pointer(unsafe.SliceData(r)), uint32(len(r))))
}
func hostKVDelete(r []byte) []byte {
	return fetch(importKVDelete(unsafe.Pointer(unsafe.SliceData(r)), uint32(len(r))))
}
func hostKVList(r []byte) []byte {
	return fetch(importKVList(unsafe.Pointer(unsafe.SliceData(r)), uint32(len(r))))
}
func hostBlobGet(r []byte) []byte {
	return fetch(importBlobGet(unsafe.Pointer(unsafe.SliceData(r)), uint32(len(r))))
}
func hostBlobPut(r []byte) []byte {
	return fetch(importBlobPut(unsafe.Pointer(unsafe.SliceData(r)), uint32(len(r))))
}
func hostBlobDelete(r []byte) []byte {
	return fetch(importBlobDelete(unsafe.Pointer(unsafe.SliceData(r)), uint32(len(r))))
}
func hostBlobList(r []byte) []byte {
	return fetch(importBlobList(unsafe.Pointer(unsafe.SliceData(r)), uint32(len(r))))
}
func hostNow() int64 { return importNow() }
func hostFill(into []byte) {
	importFill(unsafe.Pointer(unsafe.SliceData(into)), uint32(len(into)))
}

// fetch copies the host's reply of n bytes into the guest.
func fetch(n uint32) []byte {
	reply := make([]byte, n)
	importReply(unsafe.Pointer(unsafe.SliceData(reply)), n)
	return reply
}

func hostLog(l Level, line string) {
	importLog(int32(l), unsafe.Pointer(unsafe.StringData(line)), uint32(len(line)))
}
