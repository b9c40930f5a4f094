package engine

import (
	"slices"
	"testing"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/plugins/wasm"
)

// TestChunksOfTablesWithSlashes keeps the chunks of a table apart from those of
// one whose name goes on after a slash.
func TestChunksOfTablesWithSlashes(t *testing.T) {
	var c checkpointEntries
	value := "{}"
	a, ab := batch.TableID{Database: "d", Schema: "s", Name: "a"}, batch.TableID{Database: "d", Schema: "s", Name: "a/b"}
	c.set([]wasm.Checkpoint{{Key: chunkKey(a, 0), Value: &value}, {Key: chunkKey(a, 1), Value: &value}, {Key: chunkKey(ab, 0), Value: &value}})
	if got := c.in(chunkPrefix(a)); !slices.Equal(got, []string{"chunk/d/s/a/0", "chunk/d/s/a/1"}) {
		t.Errorf("chunks of a: %q", got)
	}
	c.apply([]wasm.Checkpoint{{Key: chunkKey(a, 0)}, {Key: chunkKey(a, 1)}})
	if got := c.in(chunkPrefix(a)); len(got) > 0 || len(c.folders) != 1 {
		t.Errorf("what is left: %q, %v", got, c.folders)
	}
	if got := c.keys("chunk/d/"); !slices.Equal(got, []string{"chunk/d/s/a%2Fb/0"}) {
		t.Errorf("all chunks: %q", got)
	}
}

// TestKeysAreOfOneTable has tables whose names, one after the other, read the same.
func TestKeysAreOfOneTable(t *testing.T) {
	seen := map[string]batch.TableID{}
	for _, id := range []batch.TableID{
		{Database: "d", Schema: "s", Name: "a/b"}, {Database: "d", Schema: "s/a", Name: "b"}, {Database: "d/s", Schema: "a", Name: "b"},
		{Database: "d", Schema: "s%2Fa", Name: "b"}, {Database: "d", Schema: "s", Name: "a%2Fb"}, {Database: "d", Schema: "s", Name: "a%252Fb"},
	} {
		if other, ok := seen[loadKey(id)]; ok {
			t.Errorf("%s and %s have the key %s", other, id, loadKey(id))
		}
		seen[loadKey(id)] = id
	}
	var c checkpointEntries
	value := "{}"
	c.set([]wasm.Checkpoint{{Key: positionKey("shop/eu"), Value: &value}, {Key: positionKey("shop"), Value: &value}, {Key: failedKey("shop/eu"), Value: &value}})
	if got := c.of("shop/eu"); !slices.Equal(got, []string{positionKey("shop/eu")}) {
		t.Errorf("keys of shop/eu: %q", got)
	}
}
