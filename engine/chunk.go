package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/plugins/wasm"
	"github.com/leat-etl/leat/state"
)

// chunkWriter collects the batches of one task and delivers them.
type chunkWriter struct {
	*history
	task     task
	chunk    postgres.Chunk // being read
	done     []state.Chunk  // read to their end
	budget   int64
	pending  []*batch.Batch
	failed   []postgres.RawFailure
	bytes    int64
	row      uint64 // of all chunks
	delivery *delivery
	culprit  *batch.Batch
}

func (w *chunkWriter) take(ctx context.Context, b *batch.Batch, failed []postgres.RawFailure) error {
	w.failed = append(w.failed, failed...)
	if b != nil {
		w.number(b)
		w.pending = append(w.pending, b)
		w.bytes += b.Bytes
	}
	if w.delivery == nil && w.bytes < w.budget {
		return nil
	}
	return w.flush(ctx)
}

// number makes the ordinals of a load unique in their table, and rows that
// may be there already into updates.
func (w *chunkWriter) number(b *batch.Batch) {
	for i := range b.Ordinal {
		w.row++
		b.Ordinal[i] = uint64(w.chunk.Seq+1)<<36 + w.row
	}
	if w.resumed && w.applier.compacts && len(b.Schema.Key()) > 0 {
		for i := range b.Ops {
			b.Ops[i] = batch.Update
		}
	}
}

func (w *chunkWriter) flush(ctx context.Context) error {
	if w.delivery == nil {
		d, err := w.applier.begin(ctx)
		if err != nil {
			return err
		}
		w.delivery = d
	}
	for _, f := range w.failed {
		if err := w.delivery.undecodable(f); err != nil {
			return err
		}
	}
	w.failed = nil
	for len(w.pending) > 0 {
		b := w.pending[0]
		if err := w.delivery.write(context.WithoutCancel(ctx), b); err != nil {
			w.culprit = b
			return err
		}
		b.Release()
		w.pending, w.bytes = w.pending[1:], w.bytes-b.Bytes
	}
	return nil
}

func (w *chunkWriter) abort(ctx context.Context, cause error) error {
	if w.delivery == nil {
		return cause
	}
	return w.delivery.abort(context.WithoutCancel(ctx), w.culprit, cause)
}

func (w *chunkWriter) release() {
	for _, b := range w.pending {
		b.Release()
	}
}

// commit records the chunks at the destination, in the transaction of their
// rows, and then in the state folder.
func (w *chunkWriter) commit(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	failpoint("chunk-written")
	id := w.task.table.ID()
	value, err := json.Marshal(readIn{w.snapshot.Visible, w.snapshot.LSN})
	if err != nil {
		return fmt.Errorf("record chunks of %s: %w", id, err)
	}
	text := string(value)
	entries := make([]wasm.Checkpoint, len(w.done))
	for i, c := range w.done {
		entries[i] = wasm.Checkpoint{Key: chunkKey(id, c.Seq), Value: &text}
	}
	if err := w.delivery.commit(ctx, entries...); err != nil {
		return w.delivery.abort(ctx, nil, err)
	}
	failpoint("chunk-committed")
	w.stored.apply(entries)
	if err := w.finished(id, w.done); err != nil {
		return err
	}
	failpoint("chunk-recorded")
	w.p.progress.table(id, func(t *TableProgress) { t.LoadChunks += len(w.done) })
	return nil
}

func (h *history) finished(id batch.TableID, done []state.Chunk) error {
	return h.p.store.Update(func(tx *state.Tx) error {
		o, err := tx.Object(id)
		if err != nil {
			return err
		}
		for _, c := range done {
			if err := tx.FinishChunk(id, 0, c.Seq, c.Rows, c.Bytes); err != nil {
				return err
			}
			o.RowsLoaded += c.Rows
			o.BytesLoaded += c.Bytes
		}
		o.Updated = time.Now()
		return tx.PutObject(o)
	})
}
