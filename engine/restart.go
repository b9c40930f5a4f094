package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/engine/spec"
	"github.com/leat-etl/leat/plugins/wasm"
	"github.com/leat-etl/leat/state"
)

// Change is an object whose way of ingestion is another one than that under
// which the destination got its rows.
type Change struct {
	Table    batch.TableID `json:"table"`
	From, To string
}

// ChangedError says that objects have to be ingested anew, which has not been
// agreed to.
type ChangedError struct{ Changes []Change }

// Error implements error.
func (e *ChangedError) Error() string {
	lines := make([]string, len(e.Changes))
	for i, c := range e.Changes {
		lines[i] = fmt.Sprintf("%s: from %q to %q", c.Table, c.From, c.To)
	}
	return "the pipeline file now reads tables in another way, which starts their ingestion anew: " + strings.Join(lines, "; ")
}

// Hint is what an operator can do.
func (e *ChangedError) Hint() string {
	return "leat run --restart-changed reads these tables from the beginning; leat plan shows them; or take the change in the file back"
}

const fromLog = "the log"

// changes are the objects of the checkpoint that are now read in another way.
func (l *poller) changes() ([]Change, error) {
	var out []Change
	for _, o := range l.objects {
		at, started, err := l.stored.object(o.ID())
		if err != nil {
			return nil, err
		}
		switch {
		case started && at.Identity != o.identity:
			out = append(out, Change{o.ID(), at.Identity, o.identity})
		case !started && l.stored.get(positionKey(l.database)) != "":
			out = append(out, Change{o.ID(), fromLog, o.identity})
		}
	}
	return out, nil
}

// settleChanges starts objects anew that are now read in another way, if the
// run may. Those on which a plugin fails come back beside the error.
func (l *poller) settleChanges(ctx context.Context, o RunOptions) (failed []error, err error) {
	if failed, err = l.restartAsked(ctx); err != nil {
		return failed, err
	}
	changes, err := l.changes()
	if err != nil || len(changes) == 0 {
		return failed, err
	}
	if !o.RestartChanged {
		return failed, &ChangedError{changes}
	}
	followed := false
	for _, c := range changes {
		followed = followed || c.From == fromLog
		if failed, err = l.without(failed, c.Table, l.beginAnew(ctx, l.known[c.Table], batch.Position{}, false)); err != nil {
			return failed, err
		}
	}
	if !followed {
		return failed, nil
	}
	if err := l.dropSlot(ctx); err != nil || len(failed) > 0 { // these remain to be begun anew
		return failed, err
	}
	return failed, l.p.restart(ctx, &l.stored, logKeys(&l.stored, l.database), nil, batch.Position{}, false)
}

// beginAnew lets the next run read an object from its beginning.
func (l *poller) beginAnew(ctx context.Context, s *batch.Schema, at batch.Position, empty bool) error {
	return l.p.restart(ctx, &l.stored, []string{queryKey(s.Table)}, []*batch.Schema{s}, at, empty)
}

// without leaves an object out of the run if a plugin fails on it, and adds it to
// the failed. Any other error it returns.
func (l *poller) without(failed []error, t batch.TableID, err error) ([]error, error) {
	var plugin *PluginFailure
	if !errors.As(err, &plugin) {
		return failed, err
	}
	one := &objectError{t, err}
	l.objects = slices.DeleteFunc(l.objects, func(o *object) bool { return o.ID() == t })
	return append(failed, one), l.fail(one)
}

// restartAsked starts the objects anew that an operator wants read from the
// beginning, of which rows are set aside under another key, or that are other
// tables than before. They are emptied, so that rows go which the source has no
// more.
func (l *poller) restartAsked(ctx context.Context) (failed []error, err error) {
	var at batch.Position
	for _, o := range slices.Clone(l.objects) {
		record, err := l.p.store.Object(o.ID())
		if err != nil && !errors.Is(err, state.ErrNotFound) {
			return failed, err
		}
		stands, _, err := l.stored.object(o.ID())
		if err != nil {
			return failed, err
		}
		if o.replaced(stands) {
			l.log.Warn("a table is replaced by a new one of its name", "table", o.ID().String())
		} else if !record.Restart && !l.applier.waitsOtherwise(o.Schema) {
			continue
		}
		there, err := l.p.store.Schema(o.ID(), stands.Version)
		if errors.Is(err, state.ErrNotFound) {
			there, err = o.Schema, nil
		}
		if err != nil {
			return failed, err
		}
		if at.IsZero() {
			system, err := l.source.System(ctx)
			if err != nil {
				return failed, err
			}
			at = batch.Position{Timeline: system.Timeline, LSN: system.LSN, Ordinal: batch.EndOfTransaction}
		}
		before := len(failed)
		if failed, err = l.without(failed, o.ID(), l.beginAnew(ctx, there, at, true)); err != nil {
			return failed, err
		}
		if len(failed) > before {
			continue
		}
		if err := l.p.store.ChangeObject(o.ID(), func(o *state.Object) { o.Restart = false }); err != nil {
			return failed, err
		}
	}
	return failed, nil
}

// logKeys are the entries of the checkpoint that a lane of the log has made.
func logKeys(stored *checkpointEntries, database string) []string {
	keys := []string{positionKey(database)}
	for _, kind := range []string{"loaded", "chunk", "diverted", shapeKind, vacatedKind} {
		keys = append(keys, stored.keys(checkpointKey(kind, database)+"/")...)
	}
	return keys
}

// dropSlot gives back the slot of a database that is no longer read from its
// log: it would keep the log for ever.
func (l *poller) dropSlot(ctx context.Context) error {
	record, err := l.p.store.Source(l.database)
	if errors.Is(err, state.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if record.Slot != "" {
		if err := l.source.DropSlot(ctx, record.Slot); err != nil {
			return err
		}
	}
	return l.p.store.PutSource(besideRows(l.p.Spec, l.database))
}

// besideRows is the record of a database whose slot is to be made, and whose rows
// may be at the destination.
func besideRows(s *spec.Spec, database string) state.Source {
	slot, publication := names(s, database)
	return state.Source{Database: database, Slot: slot, Publication: publication, SlotCreating: true, Beside: true}
}

// restart removes entries from the checkpoint, so that the objects begin anew.
// Rows with a key are replaced as they come again; those of a table without
// one are taken back as by a TRUNCATE, in the same transaction, and those of
// every table if empty says so; at is then what is behind all of them.
func (p *Pipeline) restart(ctx context.Context, stored *checkpointEntries, keys []string, schemas []*batch.Schema, at batch.Position, empty bool) error {
	var emptied []*batch.Schema
	for _, s := range schemas {
		if s != nil && (empty || len(s.Key()) == 0 && (p.applier.compacts || p.applier.fills)) {
			emptied = append(emptied, s)
		}
	}
	if err := p.takeBack(ctx, stored, keys, emptied, at); err != nil {
		return err
	}
	for _, s := range schemas {
		if s != nil {
			p.log.Info("ingestion of a table starts anew", "table", s.Table.String())
		}
	}
	return nil
}

// takeBack takes the rows of tables back as by a TRUNCATE, and in the same
// transaction removes entries from the checkpoint.
func (p *Pipeline) takeBack(ctx context.Context, stored *checkpointEntries, keys []string, schemas []*batch.Schema, at batch.Position) error {
	entries := make([]wasm.Checkpoint, len(keys))
	for i, key := range keys {
		entries[i] = wasm.Checkpoint{Key: key}
	}
	d, err := p.applier.begin(ctx)
	if err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	for _, s := range schemas {
		if err := d.makeTables(ctx, s); err != nil {
			return d.abort(ctx, nil, err)
		}
		b := truncation(s, at)
		err := d.write(ctx, b)
		b.Release()
		if err != nil {
			return d.abort(ctx, nil, err)
		}
	}
	if err := d.commit(ctx, entries...); err != nil {
		return d.abort(ctx, nil, err)
	}
	stored.apply(entries)
	return nil
}

// settleQueries lets a database be read from its log that was read by queries,
// if the run may. Its tables are emptied: queries do not tell of every row that is
// gone. One on which a plugin fails is once the plugin is mended. The session that
// follows begins with nothing.
func (l *lane) settleQueries(ctx context.Context, tables []*postgres.Table) error {
	keys := l.stored.keys(checkpointKey("query", l.database) + "/")
	if len(keys) == 0 {
		return nil
	}
	e := &ChangedError{}
	var read []*postgres.Table
	for _, t := range tables {
		if l.stored.get(queryKey(t.ID())) != "" {
			e.Changes = append(e.Changes, Change{t.ID(), "queries", fromLog})
			read = append(read, t)
		}
	}
	if !l.restartChanged && len(read) > 0 {
		return e
	}
	if l.stored.get(positionKey(l.database)) == "" {
		if err := l.p.store.PutSource(besideRows(l.p.Spec, l.database)); err != nil {
			return err
		}
		keys = append(keys, logKeys(&l.stored, l.database)...)
	}
	ctx = context.WithoutCancel(ctx)
	d, emptied, err := l.truncate(ctx, read, batch.Position{Timeline: l.system.Timeline, LSN: l.system.LSN})
	if err != nil {
		return err
	}
	entries := make([]wasm.Checkpoint, len(keys))
	for i, key := range keys {
		entries[i] = wasm.Checkpoint{Key: key}
	}
	for _, t := range read {
		if slices.Contains(emptied, t) {
			l.log.Info("ingestion of a table starts anew", "table", t.ID().String())
			continue
		}
		at, _, err := l.stored.object(t.ID())
		if err != nil {
			return d.abort(ctx, nil, err)
		}
		waits := l.shapeOf(t)
		waits.Version, waits.Left = at.Version, true
		entry, err := waits.entry()
		if err != nil {
			return d.abort(ctx, nil, err)
		}
		entries = append(entries, entry)
	}
	if err := d.commit(ctx, entries...); err != nil {
		return d.abort(ctx, nil, err)
	}
	return errAnew
}

// placeQueryError says where in the pipeline file the query is at fault.
func placeQueryError(s *spec.Spec, err error) error {
	var query *postgres.QueryError
	if !errors.As(err, &query) {
		return err
	}
	return s.QueryError(query.Position, "key \"source.query\": %s; %s", query.Cause.Err, query.Cause.Hint)
}
