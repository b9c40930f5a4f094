package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/plugins/wasm"
)

// checkpointEntries is the destination's checkpoint as this process knows it.
type checkpointEntries struct {
	mu      sync.Mutex
	entries map[string]string
	folders map[string]map[string]bool // their keys by what stands before the last slash, with it
}

// escapeKey escapes what separates the names of a key, and what escapes it.
var escapeKey = strings.NewReplacer("%", "%25", "/", "%2F")

// unescapeKey takes it back.
var unescapeKey = strings.NewReplacer("%25", "%", "%2F", "/")

// checkpointKey is the key of a kind of entry: about a database, a table of it, or
// what else the names are of.
func checkpointKey(kind string, names ...string) string {
	key := kind
	for _, name := range names {
		key += "/" + escapeKey.Replace(name)
	}
	return key
}

func tableKey(kind string, t batch.TableID) string {
	return checkpointKey(kind, t.Database, t.Schema, t.Name)
}

func folderOf(key string) string { return key[:strings.LastIndexByte(key, '/')+1] }

func (c *checkpointEntries) get(key string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.entries[key]
}

// keys returns the keys with a prefix, sorted.
func (c *checkpointEntries) keys(prefix string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for key := range c.entries {
		if strings.HasPrefix(key, prefix) {
			out = append(out, key)
		}
	}
	slices.Sort(out)
	return out
}

// in returns the keys of a folder, sorted, without those of folders below.
func (c *checkpointEntries) in(folder string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.folders[folder]))
}

func (c *checkpointEntries) apply(entries []wasm.Checkpoint) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range entries {
		folder := folderOf(e.Key)
		if e.Value == nil {
			delete(c.entries, e.Key)
			if delete(c.folders[folder], e.Key); len(c.folders[folder]) == 0 {
				delete(c.folders, folder)
			}
			continue
		}
		c.entries[e.Key] = *e.Value
		if c.folders[folder] == nil {
			c.folders[folder] = map[string]bool{}
		}
		c.folders[folder][e.Key] = true
	}
}

// read asks the destination.
func (c *checkpointEntries) read(ctx context.Context, a *applier) error {
	entries, err := a.checkpoint(ctx)
	if err != nil {
		return fmt.Errorf("read the destination's checkpoint: %w", err)
	}
	c.set(entries)
	return nil
}

// set replaces what is known.
func (c *checkpointEntries) set(entries []wasm.Checkpoint) {
	c.mu.Lock()
	c.entries, c.folders = map[string]string{}, map[string]map[string]bool{}
	c.mu.Unlock()
	c.apply(entries)
}
