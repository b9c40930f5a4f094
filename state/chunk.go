package state

import (
	"encoding/json"
	"fmt"
	"iter"

	"github.com/leat-etl/leat/engine/batch"
)

// Chunk is a range of a table in the ledger of its historical load.
type Chunk struct {
	Table batch.TableID `json:"table"`
	// Seq numbers the chunks of one Generation; a restarted load is a new
	// generation.
	Seq        int `json:"seq"`
	Generation int `json:"generation"`
	// Payload is the range itself, in the words of whoever planned it.
	Payload json.RawMessage `json:"payload,omitempty"`
	Done    bool            `json:"done"`
	Rows    int64           `json:"rows"`
	Bytes   int64           `json:"bytes"`
}

// Chunks yields the chunks of one generation of a table by Seq.
func (r Reader) Chunks(t batch.TableID, generation int) iter.Seq2[Chunk, error] {
	return records[Chunk](r, chunkPrefix(t, generation), ascending)
}

// PutChunks writes chunks of one or many tables.
func (tx *Tx) PutChunks(chunks []Chunk) error {
	for _, c := range chunks {
		if err := checkTable(c.Table); err != nil {
			return err
		}
		if c.Seq < 0 || c.Generation < 0 {
			return fmt.Errorf("chunk %d of generation %d of %s: negative number", c.Seq, c.Generation, c.Table)
		}
		if err := tx.putJSON(chunkKey(c.Table, c.Generation, c.Seq), c); err != nil {
			return err
		}
	}
	return nil
}

// FinishChunk marks a chunk done with the rows and bytes that it had,
// ErrNotFound where it was never put.
func (tx *Tx) FinishChunk(t batch.TableID, generation, seq int, rows, bytes int64) error {
	key := chunkKey(t, generation, seq)
	var c Chunk
	if err := tx.getJSON(key, &c); err != nil {
		return fmt.Errorf("finish chunk %d of generation %d of %s: %w", seq, generation, t, err)
	}
	c.Done, c.Rows, c.Bytes = true, rows, bytes
	return tx.putJSON(key, c)
}

// DeleteChunks forgets the ledger of a table, all generations of it.
func (tx *Tx) DeleteChunks(t batch.TableID) error {
	return tx.deletePrefix(tableKey(spaceChunk, t))
}

// PutChunks writes chunks in one commit.
func (s *Store) PutChunks(chunks []Chunk) error {
	return s.Update(func(tx *Tx) error { return tx.PutChunks(chunks) })
}

// FinishChunk marks a chunk done, see Tx.FinishChunk.
func (s *Store) FinishChunk(t batch.TableID, generation, seq int, rows, bytes int64) error {
	return s.Update(func(tx *Tx) error { return tx.FinishChunk(t, generation, seq, rows, bytes) })
}

// DeleteChunks forgets the ledger of a table, all generations of it.
func (s *Store) DeleteChunks(t batch.TableID) error {
	return s.Update(func(tx *Tx) error { return tx.DeleteChunks(t) })
}
