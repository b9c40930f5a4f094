package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/engine/spec"
	"github.com/leat-etl/leat/plugins/wasm"
	"github.com/leat-etl/leat/state"
)

// history is the historical load of some tables: every chunk of every table
// read in one snapshot, each chunk one transaction at the destination that also
// records the chunk, so that a chunk is loaded exactly once. After a crash a new
// snapshot reads the chunks that are left and, again, what has changed in those
// that are done (see postgres.Chunk.CatchUp).
//
// The rows of a table without a key cannot be caught up: after a crash they are
// taken back and loaded anew. Where the destination does not take rows back all
// of them are one transaction.
type history struct {
	*lane
	snapshot *postgres.Snapshot
	resumed  bool // rows of the tables may be at the destination

	ledgers []ledger // of the loads that begin, not recorded yet

	mu    sync.Mutex   // guards what is left of the loads, and again
	loads []*tableLoad // in the order in which they are read
	first int          // the first of them that may have something left
	again []uint32     // to be loaded in another snapshot
}

// payload is that of a chunk in the state folder.
type payload struct {
	Chunk postgres.Chunk `json:"chunk"`
}

// ledger is the chunks of a table as its load begins.
type ledger struct {
	table   *postgres.Table
	records []state.Chunk
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
	return tableKey("chunk", t) + "/"
}

// chunkEntries forget the chunks of a table.
func (l *lane) chunkEntries(t batch.TableID) []wasm.Checkpoint {
	var out []wasm.Checkpoint
	for _, key := range l.stored.in(chunkPrefix(t)) {
		out = append(out, wasm.Checkpoint{Key: key})
	}
	return out
}

// run loads the tables in parallel. Each worker reads a chunk while another
// writes. Who loads the last chunk of a table lets the table join the stream.
func (h *history) run(ctx context.Context) error {
	if err := h.makeAll(ctx); err != nil {
		return err
	}
	var complete []*tableLoad // as of an earlier snapshot, or without a leaf
	for _, t := range h.loads {
		if len(t.left) == 0 && !t.gone {
			complete = append(complete, t)
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		for _, t := range complete {
			if err := h.pauseLoad(task{{load: t}}, h.join(ctx, t)); err != nil {
				return err
			}
		}
		return nil
	})
	for range h.p.Spec.Engine.LoadWorkers {
		g.Go(func() error { return h.work(ctx) })
	}
	return g.Wait()
}

// madeAtOnce is how many tables are asked for before the destination is free
// again for those that are followed.
const madeAtOnce = 1000

// makeAll lets the destination make the tables together where it makes them in
// transactions of their own: one for each would cost it more than their rows.
func (h *history) makeAll(ctx context.Context) error {
	if !h.applier.changesApart {
		return nil
	}
	for part := range slices.Chunk(slices.Clone(h.loads), madeAtOnce) {
		for len(part) > 0 {
			cause := h.askFor(ctx, part)
			failed, err := h.pause(cause)
			if err != nil {
				return err
			}
			at := slices.IndexFunc(part, func(l *tableLoad) bool { return l.table.OID == failed })
			if failed == 0 {
				break
			}
			if at < 0 {
				return cause
			}
			h.giveUp(task{{load: part[at]}}, func(*tableLoad) bool { return true }, false)
			part = slices.Delete(part, at, at+1)
		}
	}
	return nil
}

// askFor asks for some tables in one delivery.
func (h *history) askFor(ctx context.Context, loads []*tableLoad) error {
	d, err := h.applier.begin(ctx)
	if err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	for _, t := range loads {
		if err := d.makeTables(ctx, t.table.Schema); err != nil {
			return d.abort(ctx, nil, err)
		}
	}
	if err := d.commit(ctx); err != nil {
		return d.abort(ctx, nil, err)
	}
	return nil
}

// work loads tasks over a connection of its own until there are no more. It
// reads while it has one of the lane's places for readers.
func (h *history) work(ctx context.Context) (err error) {
	var reader *postgres.Reader
	defer func() {
		if reader != nil {
			err = errors.Join(err, reader.Close(context.WithoutCancel(ctx)))
		}
	}()
	for {
		select {
		case h.readers <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		t, err := h.next()
		if err == nil && len(t) > 0 {
			err = h.attempt(ctx, &reader, t)
		}
		<-h.readers
		if err != nil || len(t) == 0 {
			return err
		}
		for _, p := range t {
			if !h.ended(p.load) {
				continue
			}
			if err := h.pauseLoad(task{p}, h.join(ctx, p.load)); err != nil {
				return err
			}
		}
	}
}

// attempt loads a task. Rows that the destination refuses are set aside, and
// the task made again in the same snapshot.
func (h *history) attempt(ctx context.Context, reader **postgres.Reader, t task) error {
	for {
		if *reader == nil || (*reader).Closed() {
			var err error
			if *reader, err = h.snapshot.Join(ctx); err != nil {
				return err
			}
		}
		err := h.loadTask(ctx, *reader, t)
		var again *postgres.RestartError
		switch {
		case errors.As(err, &again):
			h.log.Warn("loading a table again from its first chunk", "table", again.Table.String(), "reason", again.Reason)
			h.giveUp(t, func(l *tableLoad) bool { return l.table.ID() == again.Table }, true)
			return nil
		case errors.Is(err, errSetAside):
		default:
			return h.pauseLoad(t, err)
		}
	}
}

// pauseLoad gives a table of a task up for now on which a plugin fails: what is
// left of it waits. Any other error it returns.
func (h *history) pauseLoad(t task, err error) error {
	failed, err := h.pause(err)
	if failed != 0 {
		h.giveUp(t, func(l *tableLoad) bool { return l.table.OID == failed }, false)
	}
	return err
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
	if err := w.commit(ctx, r.done); err != nil {
		return err
	}
	h.measured(t, r.done, time.Since(w.delivery.began))
	return nil
}

// plan begins the load of a table. Its chunks are cut off as they are read.
func (h *history) plan(ctx context.Context, t *postgres.Table) error {
	size := int64(math.MaxInt64 / 2)
	if t.Ordered() {
		size = int64(h.p.Spec.Engine.ChunkBytes)
	}
	chunks, err := h.source.PlanChunks(ctx, t, size)
	if err != nil {
		return err
	}
	records, err := recordsOf(t, chunks)
	if err != nil {
		return err
	}
	h.ledgers = append(h.ledgers, ledger{t, records})
	h.enqueue(t, chunks, false)
	return nil
}

// record writes the ledgers of the loads that begin.
func (h *history) record() error {
	ledgers := h.ledgers
	h.ledgers = nil
	return h.p.store.Update(func(tx *state.Tx) error {
		for _, l := range ledgers {
			if err := tx.DeleteChunks(l.table.ID()); err != nil {
				return err
			}
			if err := tx.PutChunks(l.records); err != nil {
				return err
			}
			if err := tx.ChangeObject(l.table.ID(), func(o *state.Object) {
				o.OID, o.State, o.Reason, o.Fix = l.table.OID, state.HistoricalLoad, "", ""
				o.RowsLoaded, o.BytesLoaded, o.BytesTotal = 0, 0, l.table.Bytes
			}); err != nil {
				return err
			}
		}
		return nil
	})
}

// putChunks adds chunks to the ledger, or changes them.
func (h *history) putChunks(t *postgres.Table, chunks []postgres.Chunk) error {
	records, err := recordsOf(t, chunks)
	if err != nil {
		return err
	}
	return h.p.store.PutChunks(records)
}

func recordsOf(t *postgres.Table, chunks []postgres.Chunk) ([]state.Chunk, error) {
	records := make([]state.Chunk, len(chunks))
	for i, c := range chunks {
		c.CatchUp = "" // is said by the destination
		payload, err := json.Marshal(payload{c})
		if err != nil {
			return nil, fmt.Errorf("record chunk %d of %s: %w", c.Seq, t.ID(), err)
		}
		records[i] = state.Chunk{Table: t.ID(), Seq: c.Seq, Payload: payload}
	}
	return records, nil
}

// resume finds what is left of the load of a table: the destination's
// checkpoint says which chunks it has, the ledger what they are.
func (h *history) resume(ctx context.Context, t *postgres.Table) error {
	d, _ := h.diverted.get(t.OID)
	var entries []postgres.LedgerEntry
	done := 0
	for c, err := range h.p.store.Chunks(t.ID(), 0) {
		if err != nil {
			return err
		}
		var p payload
		if err := json.Unmarshal(c.Payload, &p); err != nil {
			return fmt.Errorf("ledger of %s, chunk %d: %w", t.ID(), c.Seq, err)
		}
		read, err := h.readBefore(t.ID(), c.Seq)
		if err != nil {
			return err
		}
		if read.Visible != "" {
			done++
		}
		entries = append(entries, postgres.LedgerEntry{Chunk: p.Chunk, ReadIn: read.Visible})
	}
	noted, _ := h.shapes.get(t.OID)
	rekeyed, err := h.anotherKey(t)
	if err != nil {
		return err
	}
	keyless, there := len(t.Schema.Key()) == 0, len(h.chunkEntries(t.ID()))
	switch {
	case d.Lost, rekeyed, noted.Empty && noted.Due <= h.snapshot.LSN, keyless && there > 0 && done < max(there, len(entries)):
		h.log.Warn("loading a table again from its first row: what is there cannot be completed", "table", t.ID().String())
		if err := h.startOver(ctx, t, true); err != nil {
			return err
		}
	case noted.Due != 0 && noted.Due <= h.snapshot.LSN && done > 0: // what is read from now on is as it is to be
		h.log.Warn("loading a table again from its first chunk", "table", t.ID().String(), "reason", noted.Why)
		h.shapes.update(t.OID, func(s *shape) { s.Due, s.Why = 0, "" })
		if err := h.startOver(ctx, t, keyless); err != nil {
			return err
		}
	case done < there: // the ledger is gone with its state folder
		if err := h.startOver(ctx, t, false); err != nil {
			return err
		}
	case keyless && done > 0:
		h.enqueue(t, nil, true) // complete as of an earlier snapshot
		return nil
	case done > 0:
		chunks, err := t.ResumeChunks(entries, math.MaxInt64/2)
		var again *postgres.RestartError
		if !errors.As(err, &again) {
			if err == nil {
				err = h.putChunks(t, chunks)
			}
			h.enqueue(t, chunks, false)
			return err
		}
		// Rows of the old storage are replaced by key; those that are gone by
		// now are deleted by the log, which is applied up to the snapshot.
		h.log.Warn("loading a table again from its first chunk", "table", t.ID().String(), "reason", again.Reason)
		if err := h.startOver(ctx, t, false); err != nil {
			return err
		}
	}
	return h.plan(ctx, t)
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

// loadKey marks a table as loaded in the destination's checkpoint. The value
// is the LSN below which the load has what the log says of a table without a
// key.
func loadKey(t batch.TableID) string {
	return tableKey("loaded", t)
}

// makeTables lets the destination have the tables of a source table that may
// be empty.
func (d *delivery) makeTables(ctx context.Context, s *batch.Schema) error {
	return d.writeEmpty(ctx, s, batch.Position{})
}

// writeEmpty writes no rows of a table, which makes its tables at the
// destination; at is where it came to its shape if the log tells that, and the
// rows before it are written.
func (d *delivery) writeEmpty(ctx context.Context, s *batch.Schema, at batch.Position) error {
	root, err := d.chain.plan(ctx, s)
	if err != nil {
		return err
	}
	for _, leaf := range root.leaves() {
		if err := d.reshape(ctx, s, leaf.target); err != nil {
			return err
		}
		empty := batch.NewBuilder(leaf.schema).Finish(at)
		err := d.destination.Write(ctx, leaf.target, empty)
		empty.Release()
		if err != nil {
			return fmt.Errorf("make table %s: %w", leaf.target.Table, destinationFailure(s, err))
		}
	}
	return nil
}

// orderLoads lets tables be loaded in the order that their query modes ask for:
// that of the incrementing column, or of the timestamp. full_load and xmin read
// block by block, and so is a table read that has no such column: nothing but the
// order is lost.
func (l *lane) orderLoads(tables []*postgres.Table) error {
	ruleOf, err := rulesOf(l.p.Spec, l.p.store)
	if err != nil {
		return err
	}
	for _, t := range tables {
		if err := orderLoad(l.source, t, ruleOf(t.ID())); err != nil && l.stored.get(loadKey(t.ID())) == "" {
			l.log.Warn("a table is to be loaded in the order of its blocks, not in that of its query mode", "table", t.ID().String(), "reason", causeOf(err), fixAttr(fixOf(err)))
		}
	}
	return nil
}

func orderLoad(source *postgres.Source, t *postgres.Table, rule spec.ObjectRule) error {
	switch {
	case rule.IncrementingColumn != "":
		return source.OrderLoad(t, "incrementing_column", rule.IncrementingColumn, false)
	case rule.TimestampColumn != "":
		return source.OrderLoad(t, "timestamp_column", rule.TimestampColumn, true)
	}
	return nil
}
