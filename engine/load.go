package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sync/errgroup"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/plugins/wasm"
	"github.com/leat-etl/leat/state"
)

// history is the historical load of one database: every chunk of every table
// read in one snapshot, each chunk one transaction at the destination that
// also records the chunk, so that a chunk is loaded exactly once. After a
// crash a new snapshot reads the chunks that are left and, again, what has
// changed in those that are done (see postgres.Chunk.CatchUp). Before it does,
// the log is brought to where that snapshot was taken (see lane.approach).
//
// A table without identity cannot be caught up: all of it is one transaction.
type history struct {
	*lane
	tables   []*postgres.Table
	snapshot *postgres.Snapshot
	tasks    []task
	resumed  bool
}

// task is the chunks of a table that make one transaction at the destination.
type task struct {
	table  *postgres.Table
	chunks []postgres.Chunk
}

// tasksOf parts the chunks of a table into transactions.
func tasksOf(t *postgres.Table, chunks []postgres.Chunk) []task {
	if len(t.Schema.Key()) == 0 && len(chunks) > 0 {
		return []task{{t, chunks}}
	}
	tasks := make([]task, len(chunks))
	for i := range chunks {
		tasks[i] = task{t, chunks[i : i+1]}
	}
	return tasks
}

// ledger is the payload of a chunk in the state folder.
type ledger struct {
	Chunk postgres.Chunk `json:"chunk"`
}

// readIn is the value of a chunk in the destination's checkpoint: the snapshot
// in which it was read to its end.
type readIn struct {
	Visible string `json:"visible"`
	LSN     uint64 `json:"lsn"`
}

// chunkKey names a chunk in the destination's checkpoint.
func chunkKey(t batch.TableID, seq int) string { return chunkPrefix(t) + strconv.Itoa(seq) }

func chunkPrefix(t batch.TableID) string {
	return fmt.Sprintf("chunk/%s/%s/%s/", t.Database, t.Schema, t.Name)
}

// run loads the chunks in parallel. Each worker reads a chunk while another
// writes.
func (h *history) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	queue := make(chan task)
	var ended error
	g.Go(func() error {
		defer close(queue)
		for _, t := range h.tasks {
			if h.asked.Load() { // what is being read is finished
				ended = errAnew
				return nil
			}
			select {
			case queue <- t:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for range min(h.p.Spec.Engine.LoadWorkers, len(h.tasks)) {
		g.Go(func() error { return h.work(ctx, queue) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return ended
}

// work loads tasks over a connection of its own until there are no more. Rows
// that the destination refuses are set aside, and the task made again in the
// same snapshot.
func (h *history) work(ctx context.Context, queue <-chan task) (err error) {
	var reader *postgres.Reader
	defer func() {
		if reader != nil {
			err = errors.Join(err, reader.Close(context.WithoutCancel(ctx)))
		}
	}()
	for t := range queue {
		for again := true; again; {
			if reader == nil || reader.Closed() {
				if reader, err = h.snapshot.Join(ctx); err != nil {
					return err
				}
			}
			err := h.loadTask(ctx, reader, t)
			if again = errors.Is(err, errSetAside); err != nil && !again {
				return err
			}
		}
	}
	return nil
}

// readAhead is how many batches of a worker wait for the destination. With the
// one that is being read and the one that is being written they are a worker's
// share of half the memory, of which decoded rows take up to twice what was
// read.
const readAhead = 2

// loadTask moves the rows of a task to the destination. They are read in a
// goroutine of their own, so that the source never waits for the destination
// nor the destination for the source while there is room. The first worker
// with rows has the destination until its task is done; the others read ahead.
func (h *history) loadTask(ctx context.Context, reader *postgres.Reader, t task) error {
	engine := h.p.Spec.Engine
	share := int64(engine.Memory) / 4 / int64(engine.LoadWorkers)
	limit := postgres.Limit{Rows: engine.LoadRows, Bytes: min(int64(engine.BatchBytes), share/(readAhead+2)), Row: int64(engine.MaxEventBytes)}
	r := &chunkReader{history: h, task: t, reader: reader, limit: limit, parts: make(chan part, readAhead), stop: make(chan struct{})}
	var reading errgroup.Group
	reading.Go(func() error { return r.read(ctx) })

	w := &chunkWriter{history: h, task: t, collector: collector{applier: h.applier}}
	defer w.release()
	err := w.write(ctx, r.parts)
	r.end()
	if failure := reading.Wait(); err == nil {
		err = failure
	}
	if err == nil {
		err = w.flush(ctx) // the task may be without rows
	}
	if err != nil {
		return w.abort(ctx, err)
	}
	return w.commit(ctx, r.done)
}

// plan cuts the tables for a first load and records the ledger.
func (h *history) plan(ctx context.Context) ([]task, error) {
	var tasks []task
	for _, t := range h.tables {
		chunks, err := h.source.PlanChunks(ctx, t, int64(h.p.Spec.Engine.ChunkBytes))
		if err != nil {
			return nil, err
		}
		if err := h.record(t, chunks); err != nil {
			return nil, err
		}
		tasks = append(tasks, tasksOf(t, chunks)...)
	}
	return tasks, nil
}

func (h *history) record(t *postgres.Table, chunks []postgres.Chunk) error {
	records := make([]state.Chunk, len(chunks))
	for i, c := range chunks {
		payload, err := json.Marshal(ledger{c})
		if err != nil {
			return fmt.Errorf("record chunk %d of %s: %w", c.Seq, t.ID(), err)
		}
		records[i] = state.Chunk{Table: t.ID(), Seq: c.Seq, Payload: payload}
	}
	h.p.progress.table(t.ID(), func(p *TableProgress) { p.LoadTotal, p.LoadChunks, p.LoadEstimate = len(chunks), 0, t.Rows })
	return h.p.store.Update(func(tx *state.Tx) error {
		if err := tx.DeleteChunks(t.ID()); err != nil {
			return err
		}
		if err := tx.PutChunks(records); err != nil {
			return err
		}
		return tx.ChangeObject(t.ID(), func(o *state.Object) {
			o.OID, o.State, o.Reason, o.Fix = t.OID, state.HistoricalLoad, "", ""
			o.RowsLoaded, o.BytesLoaded, o.BytesTotal = 0, 0, t.Bytes
		})
	})
}

// resume finds what is left of a load that was interrupted: the destination's
// checkpoint says which chunks it has, the ledger what they are.
func (h *history) resume(ctx context.Context) ([]task, error) {
	h.resumed = true
	var tasks []task
	for _, t := range h.tables {
		var entries []postgres.LedgerEntry
		left := 0
		for c, err := range h.p.store.Chunks(t.ID(), 0) {
			if err != nil {
				return nil, err
			}
			var l ledger
			if err := json.Unmarshal(c.Payload, &l); err != nil {
				return nil, fmt.Errorf("ledger of %s, chunk %d: %w", t.ID(), c.Seq, err)
			}
			read, err := h.readBefore(t.ID(), c.Seq)
			if err != nil {
				return nil, err
			}
			if read.Visible == "" {
				left++
			}
			entries = append(entries, postgres.LedgerEntry{Chunk: l.Chunk, ReadIn: read.Visible})
		}
		if len(t.Schema.Key()) == 0 && left == 0 && len(entries) > 0 {
			continue // complete as of an earlier snapshot
		}
		chunks, err := h.remaining(ctx, t, entries)
		if err != nil {
			return nil, err
		}
		h.p.progress.table(t.ID(), func(p *TableProgress) {
			p.LoadTotal, p.LoadChunks, p.LoadEstimate = len(chunks), 0, t.Rows
		})
		tasks = append(tasks, tasksOf(t, chunks)...)
	}
	return tasks, nil
}

// readBefore returns the snapshot in which the destination has a chunk, the
// zero value if it has it not.
func (h *history) readBefore(t batch.TableID, seq int) (read readIn, err error) {
	if text := h.stored.get(chunkKey(t, seq)); text != "" {
		if err := json.Unmarshal([]byte(text), &read); err != nil {
			return read, fmt.Errorf("checkpoint of %s, chunk %d: %w", t, seq, err)
		}
	}
	return read, nil
}

// remaining is what to read of a table in the new snapshot.
func (h *history) remaining(ctx context.Context, t *postgres.Table, entries []postgres.LedgerEntry) ([]postgres.Chunk, error) {
	target := int64(h.p.Spec.Engine.ChunkBytes)
	chunks, err := h.source.ResumeChunks(ctx, t, entries, target)
	var again *postgres.RestartError
	switch {
	case errors.As(err, &again):
		// Rows of the old storage are replaced by key; those that are gone by
		// now are deleted by the log, which is applied up to the snapshot.
		h.log.Warn("loading a table again from its first chunk", "table", t.ID().String(), "reason", again.Reason)
	case err != nil || len(entries) > 0 && len(chunks) == len(entries):
		return chunks, err
	}
	// New storage or new partitions: a new ledger, in which what is to be
	// caught up counts as not read, so that another crash reads it in full.
	if again != nil {
		if chunks, err = h.source.PlanChunks(ctx, t, target); err != nil {
			return nil, err
		}
		seq := 0 // not one of those that the destination has of the old storage
		for _, e := range entries {
			if e.ReadIn != "" {
				seq = max(seq, e.Chunk.Seq+1)
			}
		}
		for i := range chunks {
			chunks[i].Seq += seq
		}
	}
	return chunks, h.record(t, chunks)
}

// loadKey marks a table as loaded in the destination's checkpoint. The value
// is the LSN below which the load has what the log says of a table without a
// key.
func loadKey(t batch.TableID) string {
	return fmt.Sprintf("loaded/%s/%s/%s", t.Database, t.Schema, t.Name)
}

// finish replaces the chunks of the tables in the checkpoint by one entry each.
func (h *history) finish(ctx context.Context) error {
	entries, err := h.destination()
	if err != nil {
		return err
	}
	d, err := h.applier.begin(ctx)
	if err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	for _, t := range h.tables {
		if err := d.makeTables(ctx, t.Schema); err != nil {
			return d.abort(ctx, nil, err)
		}
	}
	for _, t := range h.tables {
		if _, ok := h.shapes.get(t.OID); !ok {
			h.shapes.put(shapeOf(t))
		}
	}
	shapes, saved, err := h.shapes.entries()
	if err != nil {
		return d.abort(ctx, nil, err)
	}
	entries = append(entries, shapes...)
	if err := d.commit(ctx, entries...); err != nil {
		return d.abort(ctx, nil, err)
	}
	saved()
	h.stored.apply(entries)
	return h.p.store.Update(func(tx *state.Tx) error {
		for _, t := range h.tables {
			if err := tx.ChangeObject(t.ID(), func(o *state.Object) {
				if !o.Restart && o.Choice != state.Skip { // asked for meanwhile
					o.OID, o.State, o.Reason, o.Fix = t.OID, state.HistoricalLoadFinished, "", ""
				}
			}); err != nil {
				return err
			}
		}
		return nil
	})
}

// makeTables lets the destination have the tables of a source table that may
// be empty.
func (d *delivery) makeTables(ctx context.Context, s *batch.Schema) error {
	root, err := d.chain.plan(ctx, s)
	if err != nil {
		return err
	}
	for _, leaf := range root.leaves() {
		empty := batch.NewBuilder(leaf.schema).Finish(batch.Position{})
		err := d.destination.Write(ctx, leaf.target, empty)
		empty.Release()
		if err != nil {
			return fmt.Errorf("make table %s: %w", leaf.target.Table, err)
		}
	}
	return nil
}

// destination returns the entries that end the load.
func (h *history) destination() ([]wasm.Checkpoint, error) {
	var entries []wasm.Checkpoint
	for _, t := range h.tables {
		last := uint64(0)
		for c, err := range h.p.store.Chunks(t.ID(), 0) {
			if err != nil {
				return nil, err
			}
			read, err := h.readBefore(t.ID(), c.Seq)
			if err != nil {
				return nil, err
			}
			last = max(last, read.LSN)
		}
		for _, key := range h.stored.keys(chunkPrefix(t.ID())) {
			entries = append(entries, wasm.Checkpoint{Key: key})
		}
		value := strconv.FormatUint(last, 10)
		entries = append(entries, wasm.Checkpoint{Key: loadKey(t.ID()), Value: &value})
	}
	return entries, nil
}

// orderLoad lets a table be loaded in the order that its query mode asks for:
// that of its incrementing column, or of its timestamp. full_load and xmin read
// block by block.
func (l *lane) orderLoad(t *postgres.Table) error {
	rule := l.p.Spec.Rule(t.ID().Schema, t.ID().Name)
	switch {
	case rule.IncrementingColumn != "":
		return l.source.OrderLoad(t, "incrementing_column", rule.IncrementingColumn, false)
	case rule.TimestampColumn != "":
		return l.source.OrderLoad(t, "timestamp_column", rule.TimestampColumn, true)
	}
	return nil
}
