//go:build !wasm

package pdk

import (
	"crypto/rand"
	"time"
)

// Host answers the host calls of a plugin that runs natively, in tests. Call
// receives the name of the host function ("sql_exec") and its JSON request and
// returns the JSON reply.
type Host interface {
	Call(function string, request []byte) (reply []byte)
	Log(l Level, line string)
}

var host Host

// SetHost chooses who answers host calls outside WebAssembly.
func SetHost(h Host) { host = h }

func native(function string) func([]byte) []byte {
	return func(request []byte) []byte {
		if host == nil {
			panic("pdk: call SetHost before " + function)
		}
		return host.Call(function, request)
	}
}

var (
	hostExec     = native("sql_exec")
	hostQuery    = native("sql_query")
	hostIngest   = native("sql_ingest")
	hostBegin    = native("sql_begin")
	hostCommit   = native("sql_commit")
	hostRollback = native("sql_rollback")

	hostHTTPRequest = native("http_request")
	hostKVGet       = native("kv_get")
	hostKVPut       = native("kv_put")
	hostKVDelete    = native("kv_delete")
	hostKVList      = native("kv_list")
	hostBlobGet     = native("blob_get")
	hostBlobPut     = native("blob_put")
	hostBlobDelete  = native("blob_delete")
	hostBlobList    = native("blob_list")
)

func hostNow() int64       { return time.Now().UnixMicro() }
func hostFill(into []byte) { rand.Read(into) }

func hostLog(l Level, line string) {
	if host != nil {
		host.Log(l, line)
	}
}
