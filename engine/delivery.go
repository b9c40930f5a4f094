package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/plugins/capability"
	"github.com/leat-etl/leat/plugins/wasm"
	"github.com/leat-etl/leat/state"
)

// applier owns the destination and what stands before it. Whoever holds it
// may use its other fields: one delivery at a time.
type applier struct {
	holder      sync.Mutex
	plugins     *plugins
	chain       *Chain
	loadAgain   func(tables []batch.TableID, why string) error
	destination *wasm.Destination // nil after its connection was lost
	sql         capability.SQL
	compacts    bool
	fills       bool // see wasm.Info
	empties     bool
	// changesApart: the destination changes tables in transactions of their own.
	changesApart bool
	quarantine   *quarantine
	progress     *Progress
	log          *slog.Logger

	current atomic.Pointer[wasm.Destination] // destination, for its counters alone
}

// open connects to the destination if it is not connected. The caller holds a.
func (a *applier) open(ctx context.Context) error {
	if a.destination != nil {
		return nil
	}
	destination, info, sql, err := a.plugins.openDestination(ctx)
	if err != nil {
		return err
	}
	a.destination, a.sql, a.compacts, a.fills, a.changesApart, a.empties = destination, sql, info.Compacts, info.Fills, info.ChangesApart, info.Empties
	a.current.Store(destination)
	sql.Tell(a.progress.destinationDoes)
	a.chain.replan(destination)
	entries, err := destination.Checkpoint(ctx)
	if err == nil {
		err = a.quarantine.settle(entries)
	}
	if err != nil {
		return errors.Join(err, a.close(ctx))
	}
	return nil
}

// close ends the connection to the destination.
func (a *applier) close(ctx context.Context) error {
	if a.destination == nil {
		return nil
	}
	err := errors.Join(a.destination.Close(ctx), a.sql.Close())
	a.destination, a.sql = nil, nil
	return err
}

// checkpoint returns what the destination itself has stored.
func (a *applier) checkpoint(ctx context.Context) ([]wasm.Checkpoint, error) {
	a.holder.Lock()
	defer a.holder.Unlock()
	if err := a.open(ctx); err != nil {
		return nil, err
	}
	entries, err := a.destination.Checkpoint(ctx)
	if err != nil && actionFor(err) == retry {
		return nil, errors.Join(err, a.close(ctx))
	}
	return entries, err
}

// dropUnsettled forgets the failed events of deliveries from a database that
// never committed: their rows come again.
func (a *applier) dropUnsettled(ctx context.Context, database string) error {
	a.holder.Lock()
	defer a.holder.Unlock()
	if err := a.open(ctx); err != nil {
		return err
	}
	return a.quarantine.drop(database)
}

// waitsOtherwise says whether rows wait that had another key than those of a
// schema.
func (a *applier) waitsOtherwise(s *batch.Schema) bool {
	a.holder.Lock()
	defer a.holder.Unlock()
	return (a.compacts || a.fills) && a.quarantine.otherKey(s)
}

// announce makes the newest schema of a source table known to the chain.
func (a *applier) announce(s *batch.Schema) {
	a.holder.Lock()
	defer a.holder.Unlock()
	a.chain.Announce(s)
}

// errSetAside says that rows which the destination cannot store have become
// failed events and that the delivery has to be made again without them.
var errSetAside = errors.New("rows set aside")

// delivery is one transaction of the destination: batches in order, then the
// checkpoint they reach (invariant 5). Exactly one of commit and abort ends
// it; abort after commit does nothing.
type delivery struct {
	*applier
	began  time.Time
	failed []state.Failed
	tally  tally
	ended  bool
	// taken and kept count the rows before and after their reduction to the
	// last state of each key.
	taken, kept int
	// shapes are those of the tables whose batches came, by OID; emptied has
	// the shape before for those that have to be emptied first, rekeyed that of
	// those which have got another key.
	shapes           map[uint32]*batch.Schema
	emptied, rekeyed map[*batch.Schema]*batch.Schema
	// republishes: the key of a table has changed, which may belong into the other
	// publication.
	republishes bool
	// diverts are the diversions that end as the delivery does, nil for none.
	diverts *diversions
	// reshaped has a schema of each target whose rows are to be loaded again.
	reshaped map[string]*batch.Schema
	// loadedAt is the LSN before which the rows of its tables will be replaced
	// by those of a load in full, 0 if that is not so.
	loadedAt uint64
}

// begin waits for the destination and connects to it again if need be.
func (a *applier) begin(ctx context.Context) (*delivery, error) {
	a.holder.Lock()
	if err := a.open(ctx); err != nil {
		a.holder.Unlock()
		return nil, err
	}
	return &delivery{applier: a, began: time.Now(), shapes: map[uint32]*batch.Schema{}, emptied: map[*batch.Schema]*batch.Schema{}, rekeyed: map[*batch.Schema]*batch.Schema{}, reshaped: map[string]*batch.Schema{}}, nil
}

// write passes a batch of a source table through the chain to the
// destination. One without rows changes the table alone. The batch stays the
// caller's.
func (d *delivery) write(ctx context.Context, b *batch.Batch) error {
	if b.Len() == 0 {
		return d.writeEmpty(ctx, b.Schema, b.Position)
	}
	if b.IsTruncate() && (d.compacts || d.fills) {
		superseded, err := d.quarantine.supersede(b, d.failed)
		if err != nil {
			return err
		}
		d.failed = append(d.failed, superseded...)
	}
	outputs, err := d.transform(ctx, b)
	if err != nil {
		return err
	}
	defer releaseAll(outputs)
	for _, o := range outputs {
		if err := d.reshape(ctx, b.Schema, o.Plan); err != nil {
			return err
		}
		if err := d.store(ctx, o); err != nil {
			return fmt.Errorf("write %d rows of %s: %w", o.Batch.Len(), b.Schema.Table, destinationFailure(b.Schema, err))
		}
	}
	failpoint("delivery-written")
	d.tally.add(b)
	return nil
}

// transform runs the chain until no row of what is left fails. A row that
// fails takes the later rows of its key with it, so the rest is made anew.
func (d *delivery) transform(ctx context.Context, b *batch.Batch) ([]Output, error) {
	for {
		kept, waiting, err := d.quarantine.divert(b)
		if err != nil {
			return nil, err
		}
		d.failed = append(d.failed, waiting...)
		if kept == nil {
			return nil, nil
		}
		var outputs []Output
		failures := d.quarantine.refusedIn(kept)
		if len(failures) == 0 {
			outputs, failures, err = d.chain.Process(ctx, kept)
		}
		if err == nil && len(failures) == 0 {
			kept.Release()
			return outputs, nil
		}
		releaseAll(outputs)
		if err == nil {
			err = d.setAside(kept, failures)
		}
		kept.Release()
		if err != nil {
			return nil, err
		}
	}
}

func (d *delivery) setAside(b *batch.Batch, failures []rowFailure) error {
	rows := map[rowID]int{}
	for r := range b.Ops {
		rows[rowID{b.LSN[r], b.Ordinal[r]}] = r
	}
	done := map[rowID]bool{}
	for _, f := range failures {
		if done[rowID{f.lsn, f.ordinal}] {
			continue // the other row of a change of key
		}
		r, ok := rows[rowID{f.lsn, f.ordinal}]
		if !ok {
			return fmt.Errorf("plugin %s failed a row that batch %s of %s has not", f.plugin, b.Position, b.Schema.Table)
		}
		events, err := d.quarantine.events(b, r, failure{reason: f.message, plugin: f.plugin, digest: f.digest})
		if err != nil {
			return err
		}
		d.failed = append(d.failed, events...)
		done[rowID{f.lsn, f.ordinal}] = true
	}
	return nil
}

// undecodable keeps a change that no batch could hold.
func (d *delivery) undecodable(f postgres.RawFailure) error {
	events, err := d.quarantine.rawEvents(f)
	if err != nil {
		return err
	}
	d.failed = append(d.failed, events...)
	return nil
}

// store hands one output to the destination plugin, reduced to the last state
// of each key if it merges.
func (d *delivery) store(ctx context.Context, o Output) error {
	b := o.Batch
	switch {
	case d.compacts:
		b = batch.Compact(b)
		defer b.Release()
	case d.fills:
		b = batch.Fill(b)
		defer b.Release()
	}
	d.taken, d.kept = d.taken+o.Batch.Len(), d.kept+b.Len()
	if b.Len() == 0 {
		return nil
	}
	return d.destination.Write(ctx, o.Plan, b)
}

// commit stores the failed events, then commits rows and checkpoint together.
func (d *delivery) commit(ctx context.Context, entries ...wasm.Checkpoint) error {
	if err := d.quarantine.put(d.failed); err != nil {
		return fmt.Errorf("store failed events: %w", err)
	}
	d.quarantine.doubtful = d.failed
	if len(d.failed) > 0 {
		d.log.Warn("rows are set aside: leat failed list shows them", "events", len(d.failed), "table", d.failed[0].Table.String())
	}
	failpoint("failed-stored")
	if d.diverts != nil {
		more, err := d.diverts.entries()
		if err != nil {
			return err
		}
		entries = append(entries, more...)
	}
	entries = append(entries, d.quarantine.entries(d.failed)...)
	if err := d.destination.Commit(ctx, lastOfEach(entries)); err != nil {
		err = fmt.Errorf("commit at the destination: %w", err)
		if d.diverts != nil {
			d.diverts.fail(err)
		}
		return err
	}
	failpoint("destination-committed")
	d.quarantine.committed(d.failed)
	for _, s := range d.reshaped {
		d.chain.forget(s.Table)
	}
	d.progress.delivered(d.tally, len(d.failed))
	d.ended = true
	defer d.holder.Unlock()
	if d.diverts != nil {
		return d.diverts.committed()
	}
	return nil
}

// lastOfEach leaves out entries that later ones of the same key replace: a
// destination is given each key once.
func lastOfEach(entries []wasm.Checkpoint) []wasm.Checkpoint {
	last := make(map[string]int, len(entries))
	for i, e := range entries {
		last[e.Key] = i
	}
	out := make([]wasm.Checkpoint, 0, len(last))
	for i, e := range entries {
		if last[e.Key] == i {
			out = append(out, e)
		}
	}
	return out
}

// abort takes back what was written. cause decides what comes of it: rows
// that the destination refuses are found in culprit and set aside, which
// turns cause into errSetAside.
func (d *delivery) abort(ctx context.Context, culprit *batch.Batch, cause error) error {
	if d.ended {
		return cause
	}
	d.ended = true
	defer d.holder.Unlock()
	if d.diverts != nil {
		if err := d.diverts.aborted(); err != nil {
			return errors.Join(cause, err)
		}
	}
	if err := d.quarantine.reload(); err != nil {
		return errors.Join(cause, err)
	}
	err := d.destination.Rollback(ctx)
	if err != nil && !lostConnection(err) { // it also runs the changes of tables that the delivery was taken back for
		d.log.Warn("a delivery could not be taken back in order: the destination is connected to again", "error", err)
	}
	if err != nil || lostConnection(cause) || len(d.quarantine.doubtful) > 0 {
		// A new connection cannot see what the old one did not commit, and says
		// whether stored events count.
		_ = d.close(ctx)
		return cause
	}
	var database *capability.Error
	var plugin *PluginFailure
	if culprit == nil || errors.As(cause, &plugin) || !errors.As(cause, &database) || actionFor(cause) != setAside {
		return cause
	}
	return d.isolate(ctx, culprit, cause)
}

// lostConnection says whether the destination's connection is of no more use.
func lostConnection(err error) bool {
	var database *capability.Error
	return errors.As(err, &database) && database.Class == capability.Connection
}

// isolate finds the rows of b that the destination refuses, by trying halves
// in transactions that are rolled back.
func (d *delivery) isolate(ctx context.Context, b *batch.Batch, cause error) (err error) {
	defer func() { err = errors.Join(err, d.quarantine.reload()) }()
	outputs, err := d.transform(ctx, b)
	if err != nil {
		return err
	}
	defer releaseAll(outputs)
	var refused []rowFailure
	for _, o := range outputs {
		if err := d.refusals(ctx, o, &refused); err != nil {
			return err
		}
	}
	if len(refused) == 0 {
		return pluginFailure(b.Schema, cause) // it is not a matter of single rows
	}
	d.quarantine.refuse(b, refused)
	return errSetAside
}

func (d *delivery) refusals(ctx context.Context, o Output, refused *[]rowFailure) error {
	cause := d.store(ctx, o)
	if err := d.destination.Rollback(ctx); err != nil {
		return err
	}
	if cause == nil {
		return nil
	}
	var database *capability.Error
	if !errors.As(cause, &database) || database.Class != capability.Data || len(*refused) >= maxIsolated {
		return cause
	}
	low, high := halves(o.Batch)
	if high == nil {
		r := o.Batch.Len() - 1
		*refused = append(*refused, rowFailure{
			lsn: o.Batch.LSN[r], ordinal: o.Batch.Ordinal[r], message: database.Message,
			plugin: d.plugins.target.identity(), digest: d.plugins.target.Digest,
		})
		return nil
	}
	for _, rows := range [][]int32{low, high} {
		half := Output{o.Plan, batch.Take(o.Batch, rows)}
		err := d.refusals(ctx, half, refused)
		half.Batch.Release()
		if err != nil {
			return err
		}
	}
	return nil
}

func releaseAll(outputs []Output) {
	for _, o := range outputs {
		o.Batch.Release()
	}
}
