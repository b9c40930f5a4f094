package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/engine/spec"
	"github.com/leat-etl/leat/plugins/wasm"
	"github.com/leat-etl/leat/state"
)

// objectPosition is the value of an object in the destination's checkpoint:
// what the destination has of it.
type objectPosition struct {
	// Identity is that of the rule under which the object was read.
	Identity string `json:"identity"`
	// OID is that of the table, 0 for a query: another one of its name has other
	// rows, wherever its cursors stand.
	OID uint32 `json:"oid,omitempty"`
	// Version is that of the schema under which rows were last read.
	Version uint64 `json:"version,omitempty"`
	// Run counts the runs; Done says that the last one came to its end.
	Run  uint64 `json:"run"`
	Done bool   `json:"done,omitempty"`
	// Cursors are the positions of the rule's cursors.
	Cursors []cursorPosition `json:"cursors,omitempty"`
	// Horizon is the first transaction that mode xmin has yet to read.
	Horizon uint64 `json:"horizon,string,omitempty"`
	// Scan is a run over the blocks of a table that is under way.
	Scan *scanPosition `json:"scan,omitempty"`
}

// queryKey names an object in the destination's checkpoint.
func queryKey(t batch.TableID) string {
	return tableKey("query", t)
}

// oid is that of the object's table, 0 for a query.
func (o *object) oid() uint32 {
	if o.Table == nil {
		return 0
	}
	return o.Table.OID
}

// replaced says whether an object is another table than that of which rows were
// read under its name.
func (o *object) replaced(at objectPosition) bool { return at.OID != 0 && at.OID != o.oid() }

// object is where the destination says that an object stands.
func (c *checkpointEntries) object(t batch.TableID) (p objectPosition, started bool, err error) {
	text := c.get(queryKey(t))
	if text == "" {
		return p, false, nil
	}
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return p, false, fmt.Errorf("checkpoint of %s at the destination: %w", t, err)
	}
	return p, true, nil
}

// objectRun is one run over one object. Reading and delivering go side by
// side: the reader hands over batches and, between them, the positions at
// which they may be committed.
type objectRun struct {
	*poller
	o       *object
	session *postgres.Session
	at      objectPosition // committed; the delivering side's while it runs
	first   bool           // nothing of the object has been delivered before; likewise
	fresh   bool           // first, when the attempt began
	run     uint64
	keyed   bool

	snapshot *postgres.Snapshot
	steps    chan handover
	reached  uint64 // rows read of this snapshot
	counted  uint64 // of those, committed
	settled  int    // how often rows were set aside
}

// handover is what the reader hands over: rows, or a position at which they are to
// be committed.
type handover struct {
	batch  *batch.Batch
	failed []postgres.RawFailure
	commit *objectPosition
	rows   uint64 // read until commit
}

// read runs over one object.
func (l *poller) read(ctx context.Context, session *postgres.Session, o *object) error {
	r := &objectRun{poller: l, o: o, session: session, keyed: len(o.Schema.Key()) > 0}
	at, started, err := l.stored.object(o.ID())
	if err != nil {
		return err
	}
	r.at, r.first = at, !started
	r.at.Identity, r.at.OID, r.at.Version = o.identity, o.oid(), o.Schema.Version
	if !started || at.Done {
		r.at.Run++
	}
	r.at.Done, r.run = false, r.at.Run
	if r.first {
		if err := l.p.store.ChangeObject(o.ID(), func(s *state.Object) {
			s.State, s.Reason, s.Fix, s.RowsLoaded, s.BytesLoaded = state.HistoricalLoad, "", "", 0, 0
		}); err != nil {
			return err
		}
	}
	switch {
	case o.rule.Cursor():
		err = r.readCursors(ctx)
	default:
		err = r.scan(ctx)
	}
	if err == nil && r.keyed && (o.rule.DetectDeletes || o.rule.QueryMode == spec.FullLoad) {
		err = r.detectDeletes(ctx)
	}
	if err != nil {
		return err
	}
	stands := state.Active
	if l.last && o.rule.QueryMode == spec.FullLoad {
		stands = state.Finished // all of it was read, and nothing follows
	}
	return l.p.store.ChangeObject(o.ID(), func(s *state.Object) {
		if s.QueryMode = o.identity; !s.Restart && s.Position == nil { // asked for meanwhile
			s.State, s.Reason, s.Fix = stands, "", ""
		}
	})
}

// begin takes the snapshot of the run.
func (r *objectRun) begin(ctx context.Context) (err error) {
	r.snapshot, err = r.session.Begin(ctx, r.o.Queryable)
	r.reached, r.counted = 0, 0
	return err
}

// transfer lets reading and delivering run until the reader has ended. Rows
// that the destination refuses are set aside and what was not committed is
// read once more in the same snapshot.
func (r *objectRun) transfer(ctx context.Context, reading func(context.Context) error) error {
	for {
		err := r.attempt(ctx, reading)
		if !errors.Is(err, errSetAside) {
			return err
		}
		if r.settled++; r.settled > maxIsolated {
			return fmt.Errorf("read %s: the destination refuses rows of %d parts: leat failed list shows them", r.o.ID(), maxIsolated)
		}
		r.log.Warn("rows that the destination refuses were set aside: leat failed list shows them", "table", r.o.ID().String())
		r.reached = r.counted
	}
}

func (r *objectRun) attempt(ctx context.Context, reading func(context.Context) error) error {
	g, ctx := errgroup.WithContext(ctx)
	r.steps, r.fresh = make(chan handover, 2), r.first
	g.Go(func() error {
		defer close(r.steps)
		return reading(ctx)
	})
	var aside error
	g.Go(func() error {
		aside = r.deliver(ctx)
		if !errors.Is(aside, errSetAside) {
			return aside
		}
		for s := range r.steps { // so that the snapshot outlives the query
			if s.batch != nil {
				s.batch.Release()
			}
		}
		return nil
	})
	err := g.Wait()
	for s := range r.steps {
		if s.batch != nil {
			s.batch.Release()
		}
	}
	if err == nil {
		err = aside
	}
	return err
}

// deliver takes the steps to the destination.
func (r *objectRun) deliver(ctx context.Context) error {
	c := r.collector()
	defer func() { c.release() }()
	bytes := int64(0) // since the last commit
	for {
		var s handover
		select {
		case <-ctx.Done():
			return c.abort(ctx, ctx.Err())
		case next, ok := <-r.steps:
			if !ok {
				if len(c.pending)+len(c.failed) > 0 || c.delivery != nil {
					return c.abort(ctx, errUncommitted)
				}
				return nil
			}
			s = next
		}
		if s.commit == nil {
			if s.batch != nil {
				bytes += s.batch.Bytes
			}
			if err := c.add(ctx, s.batch, s.failed); err != nil {
				return c.abort(ctx, err)
			}
			continue
		}
		rows := s.rows - r.counted
		if err := r.commit(ctx, c, s); err != nil {
			return err
		}
		if err := r.noteLoaded(int64(rows), bytes); err != nil {
			return err
		}
		c, bytes = r.collector(), 0
	}
}

// noteLoaded counts what the first run over an object brings.
func (r *objectRun) noteLoaded(rows, bytes int64) error {
	if r.run > 1 || rows == 0 {
		return nil
	}
	return r.p.store.ChangeObject(r.o.ID(), func(s *state.Object) { s.RowsLoaded, s.BytesLoaded = s.RowsLoaded+rows, s.BytesLoaded+bytes })
}

// errUncommitted ends a delivery whose reader has failed.
var errUncommitted = errors.New("the reader has ended before its rows were complete")

func (r *objectRun) collector() *collector {
	c := &collector{applier: r.applier, budget: r.budget()}
	if r.first {
		c.opening = func(ctx context.Context, d *delivery) error { return d.makeTables(ctx, r.o.Schema) }
	}
	return c
}

// commit ends a delivery with the position that its rows reach.
func (r *objectRun) commit(ctx context.Context, c *collector, s handover) error {
	if err := c.flush(ctx); err != nil {
		return c.abort(ctx, err)
	}
	failpoint("query-written")
	if err := r.record(ctx, c.delivery, s.commit); err != nil {
		return c.abort(ctx, err)
	}
	r.counted, r.first = s.rows, false
	return nil
}

// record commits a delivery together with the object's position.
func (r *objectRun) record(ctx context.Context, d *delivery, at *objectPosition) error {
	value, err := json.Marshal(at)
	if err != nil {
		return fmt.Errorf("record position of %s: %w", r.o.ID(), err)
	}
	text := string(value)
	entry := wasm.Checkpoint{Key: queryKey(r.o.ID()), Value: &text}
	if err := d.commit(context.WithoutCancel(ctx), entry); err != nil {
		return err
	}
	r.stored.apply([]wasm.Checkpoint{entry})
	failpoint("query-committed")
	r.at = *at
	return nil
}

// hand gives rows to the delivering side, numbered.
func (r *objectRun) hand(ctx context.Context, b *batch.Batch, failed []postgres.RawFailure) error {
	if b != nil {
		for i := range b.Ordinal {
			r.reached++
			b.Ordinal[i] = r.ordinal(r.reached)
			if r.keyed && !r.fresh && r.applier.compacts {
				b.Ops[i] = batch.Update // a row of its key may be there
			}
		}
	}
	return r.send(ctx, handover{batch: b, failed: failed})
}

// ordinal makes the numbers of a run's rows unlike those of other runs, which
// may have read at the same position of the log.
func (r *objectRun) ordinal(row uint64) uint64 { return r.run%(1<<23)<<40 | row }

// mayCommit says that all rows handed over so far reach the position.
func (r *objectRun) mayCommit(ctx context.Context, at objectPosition) error {
	return r.send(ctx, handover{commit: &at, rows: r.reached})
}

func (r *objectRun) send(ctx context.Context, s handover) error {
	select {
	case r.steps <- s:
		return nil
	case <-ctx.Done():
		if s.batch != nil {
			s.batch.Release()
		}
		return ctx.Err()
	}
}

// budget is what one object may hold in memory.
func (r *objectRun) budget() int64 {
	return int64(r.p.Spec.Engine.Memory) / 2 / int64(r.p.Spec.Engine.LoadWorkers)
}

func (r *objectRun) limit() postgres.Limit {
	engine := r.p.Spec.Engine
	return postgres.Limit{Rows: engine.BatchRows, Bytes: min(int64(engine.BatchBytes), r.budget()/4), Row: int64(engine.MaxEventBytes)}
}
