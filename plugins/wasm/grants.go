package wasm

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/tetratelabs/wazero/api"

	"github.com/leat-etl/leat/plugins/capability"
)

// Grants are what a plugin may use beside log, reply, kernels and, for a
// destination, sql. What is nil or false does not link.
type Grants struct {
	HTTP   *capability.HTTP
	KV     capability.KV
	Blob   capability.Files
	Clock  bool
	Random bool
}

// Volatile names the capabilities that are granted: what a plugin makes of a
// row may depend on more than the row.
func (g *Grants) Volatile() (names []string) {
	for _, one := range []struct {
		name    string
		granted bool
	}{{"http", g.HTTP != nil}, {"kv", g.KV != nil}, {"blob", g.Blob != nil}, {"clock", g.Clock}, {"random", g.Random}} {
		if one.granted {
			names = append(names, one.name)
		}
	}
	return names
}

// names lists the host functions that the grants link.
func (g *Grants) names(sql bool) []string {
	granted := map[string]bool{"sql": sql, "http": g.HTTP != nil, "kv": g.KV != nil, "blob": g.Blob != nil, "clock": g.Clock, "random": g.Random}
	var names []string
	for name := range hostFunctions {
		if granted[capabilityOf(name)] {
			names = append(names, name)
		}
	}
	return names
}

const (
	maxListed = 10_000
	maxRandom = 1 << 20
)

// key is the request of most functions of kv and blob.
type keyRequest struct {
	Key   string `json:"key"`
	Value []byte `json:"value"` // base64
}

type listRequest struct {
	Prefix string `json:"prefix"`
	Limit  int    `json:"limit"`
}

func (l *listRequest) limit() int {
	if l.Limit <= 0 || l.Limit > maxListed {
		return maxListed
	}
	return l.Limit
}

// withKey decodes the request of a function about one key.
func withKey(f func(ctx context.Context, s *services, r keyRequest) (any, error)) jsonFunc {
	return func(ctx context.Context, s *services, request []byte) (any, error) {
		var r keyRequest
		if err := decodeRequest(request, &r); err != nil {
			return nil, err
		}
		return f(ctx, s, r)
	}
}

func withList(f func(ctx context.Context, s *services, r listRequest) ([]string, error)) jsonFunc {
	return func(ctx context.Context, s *services, request []byte) (any, error) {
		var r listRequest
		if err := decodeRequest(request, &r); err != nil {
			return nil, err
		}
		keys, err := f(ctx, s, r)
		return map[string][]string{"keys": keys}, err
	}
}

// grantedFunctions are the JSON functions of http, kv and blob.
var grantedFunctions = map[string]jsonFunc{
	"http_request": func(ctx context.Context, s *services, request []byte) (any, error) {
		var r capability.HTTPRequest
		if err := decodeRequest(request, &r); err != nil {
			return nil, err
		}
		return s.grants.HTTP.Do(ctx, r)
	},
	"kv_get": withKey(func(ctx context.Context, s *services, r keyRequest) (any, error) {
		value, err := s.grants.KV.Get(ctx, r.Key)
		return map[string][]byte{"value": value}, err
	}),
	"kv_put": withKey(func(ctx context.Context, s *services, r keyRequest) (any, error) {
		return nil, s.grants.KV.Put(ctx, r.Key, r.Value)
	}),
	"kv_delete": withKey(func(ctx context.Context, s *services, r keyRequest) (any, error) {
		return nil, s.grants.KV.Delete(ctx, r.Key)
	}),
	"kv_list": withList(func(ctx context.Context, s *services, r listRequest) ([]string, error) {
		return s.grants.KV.List(ctx, r.Prefix, r.limit())
	}),
	"blob_get": withKey(func(_ context.Context, s *services, r keyRequest) (any, error) {
		value, err := s.grants.Blob.Get(r.Key)
		return map[string][]byte{"value": value}, err
	}),
	"blob_put": withKey(func(_ context.Context, s *services, r keyRequest) (any, error) {
		return nil, s.grants.Blob.Put(r.Key, r.Value)
	}),
	"blob_delete": withKey(func(_ context.Context, s *services, r keyRequest) (any, error) {
		return nil, s.grants.Blob.Delete(r.Key)
	}),
	"blob_list": withList(func(_ context.Context, s *services, r listRequest) ([]string, error) {
		return s.grants.Blob.List(r.Prefix, r.limit())
	}),
}

// hostClock is the time of day in microseconds since 1970.
func hostClock(_ context.Context, _ api.Module, stack []uint64) {
	stack[0] = uint64(time.Now().UnixMicro())
}

// hostRandom fills memory with random bytes.
func hostRandom(_ context.Context, guest api.Module, stack []uint64) {
	at, n := uint32(stack[0]), uint32(stack[1])
	into, ok := guest.Memory().Read(at, n)
	if !ok || n > maxRandom {
		panic(&contractError{fmt.Sprintf("random_fill: %d bytes at %d are outside memory or more than %d", n, at, maxRandom)})
	}
	rand.Read(into) // never fails
}
