package pdk

import "time"

// HostError is a failure of a host function of any capability.
type HostError = SQLError

// HTTPRequest is a request to a server that the pipeline allows. Body is text,
// Bytes any other body.
type HTTPRequest struct {
	Method  string            `json:"method"`
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers,omitempty"`
	Body    string            `json:"body,omitempty"`
	Bytes   []byte            `json:"body_base64,omitempty"`
}

// HTTPResponse is the answer; Bytes is set instead of Body where it is not
// text. The names of headers are in lower case.
type HTTPResponse struct {
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body"`
	Bytes   []byte            `json:"body_base64"`
}

// HTTP sends a request; it needs the capability http. Any status is a response.
// A batch may be processed again after a failure: let a request that is
// repeated do no harm.
func HTTP(r HTTPRequest) (*HTTPResponse, error) {
	var out HTTPResponse
	if err := call(hostHTTPRequest, r, &out); err != nil {
		return nil, err
	}
	return &out, nil
}

type keyRequest struct {
	Key   string `json:"key"`
	Value []byte `json:"value,omitempty"`
}

type listRequest struct {
	Prefix string `json:"prefix"`
	Limit  int    `json:"limit,omitempty"`
}

func value(host func([]byte) []byte, key string) ([]byte, error) {
	var r struct {
		Value []byte `json:"value"`
	}
	err := call(host, keyRequest{Key: key}, &r)
	return r.Value, err
}

func keys(host func([]byte) []byte, prefix string) ([]string, error) {
	var r struct {
		Keys []string `json:"keys"`
	}
	err := call(host, listRequest{Prefix: prefix}, &r)
	return r.Keys, err
}

// KVGet reads a value of the plugin's own space, nil where there is none. KV
// functions need the capability kv. What they write is durable at once, not with
// the batch: a batch that is processed again sees it.
func KVGet(key string) ([]byte, error) { return value(hostKVGet, key) }

// KVPut writes a value.
func KVPut(key string, value []byte) error { return call(hostKVPut, keyRequest{key, value}, nil) }

// KVDelete removes a value; it is no error where there is none.
func KVDelete(key string) error { return call(hostKVDelete, keyRequest{Key: key}, nil) }

// KVList returns the keys that start with prefix, at most 10,000.
func KVList(prefix string) ([]string, error) { return keys(hostKVList, prefix) }

// BlobGet reads a file of the granted folder, nil where there is none. Blob
// functions need the capability blob; names are slash-separated.
func BlobGet(name string) ([]byte, error) { return value(hostBlobGet, name) }

// BlobPut writes a file whole.
func BlobPut(name string, data []byte) error { return call(hostBlobPut, keyRequest{name, data}, nil) }

// BlobDelete removes a file; it is no error where there is none.
func BlobDelete(name string) error { return call(hostBlobDelete, keyRequest{Key: name}, nil) }

// BlobList returns the files whose names start with prefix, at most 10,000.
func BlobList(prefix string) ([]string, error) { return keys(hostBlobList, prefix) }

// Now is the time of day; it needs the capability clock. A batch that is
// processed again sees another time.
func Now() time.Time { return time.UnixMicro(hostNow()).UTC() }

// Random fills into with random bytes; it needs the capability random.
func Random(into []byte) { hostFill(into) }
