package capability

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
)

// MemoryKV is a space that lasts as long as the program, without a quota.
type MemoryKV struct {
	mu     sync.Mutex
	values map[string][]byte
}

// NewMemoryKV makes an empty space.
func NewMemoryKV() *MemoryKV { return &MemoryKV{values: map[string][]byte{}} }

// Get implements KV.
func (m *MemoryKV) Get(_ context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.values[key], nil
}

// Put implements KV.
func (m *MemoryKV) Put(_ context.Context, key string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.values[key] = value
	return nil
}

// Delete implements KV.
func (m *MemoryKV) Delete(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.values, key)
	return nil
}

// List implements KV.
func (m *MemoryKV) List(_ context.Context, prefix string, limit int) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	keys := slices.DeleteFunc(slices.Sorted(maps.Keys(m.values)), func(key string) bool { return !strings.HasPrefix(key, prefix) })
	return keys[:min(limit, len(keys))], nil
}

// MemoryFiles is a folder that lasts as long as the program, without a quota.
type MemoryFiles struct{ kv *MemoryKV }

// NewMemoryFiles makes an empty folder.
func NewMemoryFiles() MemoryFiles { return MemoryFiles{NewMemoryKV()} }

// Put implements Files.
func (m MemoryFiles) Put(name string, data []byte) error {
	if !goodName(name) {
		return badName(name)
	}
	return m.kv.Put(context.Background(), name, data)
}

// Get implements Files.
func (m MemoryFiles) Get(name string) ([]byte, error) {
	if !goodName(name) {
		return nil, badName(name)
	}
	return m.kv.Get(context.Background(), name)
}

// Delete implements Files.
func (m MemoryFiles) Delete(name string) error {
	if !goodName(name) {
		return badName(name)
	}
	return m.kv.Delete(context.Background(), name)
}

// List implements Files.
func (m MemoryFiles) List(prefix string, limit int) ([]string, error) {
	return m.kv.List(context.Background(), prefix, limit)
}
