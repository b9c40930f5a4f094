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
	if got := c.keys("chunk/d/"); !slices.Equal(got, []string{"chunk/d/s/a/b/0"}) {
		t.Errorf("all chunks: %q", got)
	}
}
