package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/plugins/wasm"
	"github.com/leat-etl/leat/state"
)

// collector gathers the batches of one transaction of the destination. Beyond
// its budget it takes the destination and writes as they come.
type collector struct {
	applier  *applier
	budget   int64
	opening  func(context.Context, *delivery) error // before the first row; may be nil
	pending  []*batch.Batch
	failed   []postgres.RawFailure
	bytes    int64
	delivery *delivery
	culprit  *batch.Batch
}

// add takes over a batch, which may be nil, and rows that none could hold.
func (c *collector) add(ctx context.Context, b *batch.Batch, failed []postgres.RawFailure) error {
	c.failed = append(c.failed, failed...)
	if b != nil {
		c.pending = append(c.pending, b)
		c.bytes += b.Bytes
	}
	if c.delivery == nil && c.bytes < c.budget {
		return nil
	}
	return c.flush(ctx)
}

func (c *collector) flush(ctx context.Context) error {
	if c.delivery == nil {
		d, err := c.applier.begin(ctx)
		if err != nil {
			return err
		}
		c.delivery = d
		if c.opening != nil {
			if err := c.opening(context.WithoutCancel(ctx), d); err != nil {
				return err
			}
		}
	}
	for _, f := range c.failed {
		if err := c.delivery.undecodable(f); err != nil {
			return err
		}
	}
	c.failed = nil
	for len(c.pending) > 0 {
		b := c.pending[0]
		if err := c.delivery.write(context.WithoutCancel(ctx), b); err != nil {
			c.culprit = b
			return err
		}
		b.Release()
		c.pending, c.bytes = c.pending[1:], c.bytes-b.Bytes
	}
	return nil
}

func (c *collector) abort(ctx context.Context, cause error) error {
	if c.delivery == nil {
		return cause
	}
	return c.delivery.abort(context.WithoutCancel(ctx), c.culprit, cause)
}

func (c *collector) release() {
	for _, b := range c.pending {
		b.Release()
	}
	c.pending = nil
}

// part is a batch, which may be nil, and rows that none could hold.
type part struct {
	batch  *batch.Batch
	failed []postgres.RawFailure
}

// chunkReader reads the chunks of one task and hands their rows on.
type chunkReader struct {
	*history
	task   task
	reader *postgres.Reader
	limit  postgres.Limit
	parts  chan part
	stop   chan struct{} // closed when nobody takes parts any more

	chunk postgres.Chunk // being read
	row   uint64         // of all chunks of the table
	done  []state.Chunk  // read to their end
}

// errNotTaken ends a read whose rows nobody takes.
var errNotTaken = errors.New("the rows are not taken")

// read runs until all chunks are read, then closes parts.
func (r *chunkReader) read(ctx context.Context) error {
	defer close(r.parts)
	for _, p := range r.task {
		r.row = 0
		for _, c := range p.chunks {
			r.chunk = c
			rows, bytes, err := r.reader.ReadChunk(ctx, p.load.table, c, r.limit, r.hand)
			if err != nil {
				return err
			}
			r.done = append(r.done, state.Chunk{Table: p.load.table.ID(), Seq: c.Seq, Rows: rows, Bytes: bytes})
		}
	}
	return nil
}

func (r *chunkReader) hand(b *batch.Batch, failed []postgres.RawFailure) error {
	if b != nil {
		r.number(b)
	}
	select {
	case r.parts <- part{b, failed}:
		return nil
	case <-r.stop:
		if b != nil {
			b.Release()
		}
		return errNotTaken
	}
}

// end lets read end and releases what was not taken.
func (r *chunkReader) end() {
	close(r.stop)
	for p := range r.parts {
		if p.batch != nil {
			p.batch.Release()
		}
	}
}

// number makes the ordinals of a load unique in their table, and rows that
// may be there already into updates.
func (r *chunkReader) number(b *batch.Batch) {
	for i := range b.Ordinal {
		r.row++
		b.Ordinal[i] = uint64(r.chunk.Seq+1)<<36 + r.row
	}
	if r.resumed && (r.applier.compacts || r.applier.fills) && len(b.Schema.Key()) > 0 {
		for i := range b.Ops {
			b.Ops[i] = batch.Update
		}
	}
}

// chunkWriter delivers the rows of one task.
type chunkWriter struct {
	*history
	collector
	task task
}

// write takes the destination with the first part and writes them as they come.
func (w *chunkWriter) write(ctx context.Context, parts <-chan part) error {
	for p := range parts {
		if err := w.add(ctx, p.batch, p.failed); err != nil {
			return err
		}
	}
	return nil
}

// commit records the chunks at the destination, in the transaction of their
// rows, and then in the state folder. With the last chunk a table of which no
// log was spooled joins the stream at once.
func (w *chunkWriter) commit(ctx context.Context, done []state.Chunk) error {
	ctx = context.WithoutCancel(ctx)
	failpoint("chunk-written")
	value, err := json.Marshal(readIn{w.snapshot.Visible, w.snapshot.LSN})
	if err != nil {
		return fmt.Errorf("record chunks: %w", err)
	}
	text := string(value)
	joined := map[batch.TableID]*tableLoad{}
	var entries []wasm.Checkpoint
	for _, p := range w.task {
		joins, err := w.joins(ctx, p.load)
		if err != nil {
			return w.delivery.abort(ctx, nil, err)
		}
		if joins {
			joined[p.load.table.ID()] = p.load
			entries = append(entries, w.joined(p.load.table.Schema)...)
		}
	}
	for _, c := range done {
		if joined[c.Table] == nil {
			entries = append(entries, wasm.Checkpoint{Key: chunkKey(c.Table, c.Seq), Value: &text})
		}
	}
	if err := w.delivery.commit(ctx, entries...); err != nil {
		return w.delivery.abort(ctx, nil, err)
	}
	failpoint("chunk-committed")
	w.stored.apply(entries)
	for _, l := range joined {
		l.joined = true
	}
	if err := w.finished(done, joined); err != nil {
		return err
	}
	failpoint("chunk-recorded")
	for _, p := range w.task {
		w.p.progress.table(p.load.table.ID(), func(t *TableProgress) {
			t.LoadChunks += len(p.chunks)
			for _, c := range p.chunks {
				t.LoadBytes += c.Bytes
			}
		})
	}
	return nil
}

// joins lets a table of the task join the stream with the delivery, if it may.
func (w *chunkWriter) joins(ctx context.Context, l *tableLoad) (bool, error) {
	s := l.table.Schema
	held := w.diverted.held(s.OID)
	if held == nil || held.Begin < held.End || !w.last(l) {
		return false, nil
	}
	failpoint("load-read")
	w.delivery.change(&w.diverted, s.OID, func(t *diverted) { t.joins = true })
	return true, w.delivery.makeTables(ctx, s)
}

// finished notes what was read, and which tables follow the log now.
func (h *history) finished(done []state.Chunk, joined map[batch.TableID]*tableLoad) error {
	return h.p.store.Update(func(tx *state.Tx) error {
		for _, c := range done {
			if err := tx.FinishChunk(c.Table, 0, c.Seq, c.Rows, c.Bytes); err != nil {
				return err
			}
			if err := tx.ChangeObject(c.Table, func(o *state.Object) { o.RowsLoaded, o.BytesLoaded = o.RowsLoaded+c.Rows, o.BytesLoaded+c.Bytes }); err != nil {
				return err
			}
		}
		for id, l := range joined {
			if err := tx.ChangeObject(id, func(o *state.Object) { come(o, l.table.OID, state.Streaming) }); err != nil {
				return err
			}
		}
		return nil
	})
}
