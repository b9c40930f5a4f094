package golden

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/capability"
	"github.com/leat-etl/leat/plugins/wasm"
)

// Grants are what a plugin under test is given of what it asks for: spaces of
// its own in memory, the clock, random bytes, and no host that it may ask.
func Grants(m bundle.Manifest) (g wasm.Grants) {
	asks := func(name string) bool { return slices.Contains(m.Capabilities, name) }
	if asks("kv") {
		g.KV = &memoryKV{values: map[string][]byte{}}
	}
	if asks("blob") {
		g.Blob = memoryFiles{&memoryKV{values: map[string][]byte{}}}
	}
	if asks("http") {
		g.HTTP, _ = capability.NewHTTP(capability.HTTPPolicy{}) // fails for hosts that cannot be read
	}
	g.Clock, g.Random = asks("clock"), asks("random")
	return g
}

// memoryKV implements capability.KV without a quota.
type memoryKV struct {
	mu     sync.Mutex
	values map[string][]byte
}

// Get implements capability.KV.
func (m *memoryKV) Get(_ context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.values[key], nil
}

// Put implements capability.KV.
func (m *memoryKV) Put(_ context.Context, key string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.values[key] = value
	return nil
}

// Delete implements capability.KV.
func (m *memoryKV) Delete(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.values, key)
	return nil
}

// List implements capability.KV.
func (m *memoryKV) List(_ context.Context, prefix string, limit int) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	keys := slices.DeleteFunc(slices.Sorted(maps.Keys(m.values)), func(key string) bool { return !strings.HasPrefix(key, prefix) })
	return keys[:min(limit, len(keys))], nil
}

// memoryFiles implements capability.Files.
type memoryFiles struct{ kv *memoryKV }

// Put implements capability.Files.
func (m memoryFiles) Put(name string, data []byte) error {
	return m.kv.Put(context.Background(), name, data)
}

// Get implements capability.Files.
func (m memoryFiles) Get(name string) ([]byte, error) { return m.kv.Get(context.Background(), name) }

// Delete implements capability.Files.
func (m memoryFiles) Delete(name string) error { return m.kv.Delete(context.Background(), name) }

// List implements capability.Files.
func (m memoryFiles) List(prefix string, limit int) ([]string, error) {
	return m.kv.List(context.Background(), prefix, limit)
}
