package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/engine/spec"
	"github.com/leat-etl/leat/state"
)

// poller is the replication of one source database by queries: each run reads
// what is new in every object, as its rule says. Where an object stands is an
// entry of the destination's checkpoint and moves in the transaction of the
// rows, so that a row is delivered exactly once. It implements databaseLane.
type poller struct {
	p        *Pipeline
	applier  *applier
	database string
	log      *slog.Logger

	// Of one run:
	last    bool // see RunOptions.last
	source  *postgres.Source
	stored  checkpointEntries
	objects []*object

	nothing nothingSelected

	// known keeps the schema of a table from run to run, so that the chain is
	// planned anew only when a table has changed.
	known map[batch.TableID]*batch.Schema
}

// object is a table, view or query with the rule by which it is read.
type object struct {
	*postgres.Queryable
	rule     spec.ObjectRule
	identity string // of the rule
}

func newPoller(p *Pipeline, database string) *poller {
	return &poller{p: p, applier: p.applier, database: database, log: p.log.With("database", database), known: map[batch.TableID]*batch.Schema{}}
}

// ingest implements databaseLane: one run over all objects.
func (l *poller) ingest(ctx context.Context, o RunOptions) error {
	err := persist(ctx, l.log, "ingestion", o.RetryFor, func(ctx context.Context) error {
		err := l.p.advancing(l.database, func() error { return l.session(ctx, o) })
		if err != nil && ctx.Err() == nil {
			err = l.p.away(l.database, err)
			l.progress(func(d *DatabaseProgress) { d.fail(err) })
		}
		return err
	})
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("database %s: %w", l.database, err)
	}
	return err
}

// guard implements databaseLane: queries keep nothing at the source.
func (l *poller) guard(context.Context) error { return nil }

// catchUp implements databaseLane: a run that begins now brings what was
// committed until now.
func (l *poller) catchUp(ctx context.Context) error {
	return l.p.schedules[l.database].runNow(ctx, nil, true)
}

func (l *poller) progress(change func(*DatabaseProgress)) {
	l.p.progress.database(l.database, change)
}

// session is the straight line of a run: find the objects, see where they
// stand, read them.
func (l *poller) session(ctx context.Context, o RunOptions) (err error) {
	l.last = o.last
	l.progress(func(d *DatabaseProgress) { d.Phase = "connecting" })
	cfg, err := SourceConfig(l.p.Spec)
	if err != nil {
		return err
	}
	if l.source, err = postgres.Open(ctx, cfg, l.database); err != nil {
		return err
	}
	l.source.ByQuery = true
	defer func() { err = errors.Join(err, l.source.Close(context.WithoutCancel(ctx))) }()
	if err := l.p.patterns.look(ctx, l.p, l.source); err != nil {
		return err
	}
	failed, err := l.find(ctx)
	if err != nil {
		return err
	}
	if err := l.stored.read(ctx, l.applier); err != nil {
		return err
	}
	if err := l.applier.dropUnsettled(ctx, l.database); err != nil {
		return err
	}
	if err := l.areKnown(o.Tables); err != nil {
		return err
	}
	more, err := l.settleChanges(ctx, o)
	if failed = append(failed, more...); err != nil {
		return err
	}
	if more, err = l.moveCursors(ctx); err != nil {
		return err
	}
	failed = append(failed, more...)
	l.progress(func(d *DatabaseProgress) { d.enter("reading") })
	more, err = l.readObjects(ctx, o)
	if err != nil {
		return err
	}
	failed = append(failed, more...)
	l.progress(func(d *DatabaseProgress) { d.Phase = "waiting" })
	return errors.Join(failed...)
}

// find lists the objects and gives each its schema version. What is wrong with
// single objects comes back beside the error.
func (l *poller) find(ctx context.Context) (failed []error, err error) {
	ruleOf, err := rulesOf(l.p.Spec, l.p.store)
	if err != nil {
		return nil, err
	}
	queryables, rules, refused, err := queryables(ctx, l.p.Spec, l.source, ruleOf)
	if err != nil {
		return nil, err
	}
	for _, f := range refused {
		failed = append(failed, f)
		if err := l.fail(f); err != nil {
			return nil, err
		}
	}
	listed := map[batch.TableID]bool{}
	for _, q := range queryables {
		listed[q.ID()] = true
	}
	for _, f := range refused {
		listed[f.table] = true
	}
	records, err := objectRecords(l.p.store)
	if err != nil {
		return nil, err
	}
	if err := l.p.noteAbsent(ctx, l.source, listed, records); err != nil {
		return nil, err
	}
	if len(listed) == 0 {
		l.nothing.say(l.log)
	}
	l.objects = nil
	var schemas []*batch.Schema
	for i, q := range queryables {
		if known := l.known[q.ID()]; known != nil && known.Fingerprint() == q.Schema.Fingerprint() {
			q.Schema = known
		} else if q.Schema.Version, err = l.p.store.PutSchema(q.Schema, 0); err != nil {
			return nil, err
		}
		l.known[q.ID()] = q.Schema
		l.applier.announce(q.Schema)
		l.objects = append(l.objects, &object{q, rules[i], rules[i].Identity(l.p.Spec.Source.Query)})
		schemas = append(schemas, q.Schema)
	}
	unnamed, err := l.applier.checkNames(ctx, schemas)
	for _, f := range unnamed {
		one := &objectError{f.Table, f}
		failed = append(failed, one)
		l.objects = slices.DeleteFunc(l.objects, func(o *object) bool { return o.ID() == f.Table })
		if err := l.fail(one); err != nil {
			return nil, err
		}
	}
	return failed, err
}

// objectError is why one object cannot be read.
type objectError struct {
	table batch.TableID
	err   error
}

// Error implements error.
func (e *objectError) Error() string { return e.table.String() + ": " + e.err.Error() }

// Unwrap returns the cause.
func (e *objectError) Unwrap() error { return e.err }

// fail records why an object cannot be read; the others go on.
func (l *poller) fail(e *objectError) error {
	l.log.Error("object cannot be read", "table", e.table.String(), "error", e.err, fixAttr(fixOf(e.err)))
	return l.p.store.ChangeObject(e.table, func(o *state.Object) { o.State, o.Reason, o.Fix = state.FailedState, e.err.Error(), fixOf(e.err) })
}

// queryables are the objects of a database that is read by queries, with their
// rules. What is wrong with single objects comes back beside the error.
func queryables(ctx context.Context, s *spec.Spec, source *postgres.Source, ruleOf func(batch.TableID) spec.ObjectRule) (out []*postgres.Queryable, rules []spec.ObjectRule, failed []*objectError, err error) {
	if s.Source.Mode == spec.ModeSQL {
		id := batch.TableID{Database: source.Database, Schema: "public", Name: s.Source.QueryName}
		rule := ruleOf(id)
		q, err := source.Query(ctx, id, s.Source.Query, rule.Key)
		if err == nil {
			err = checkRule(source, q, rule)
		}
		if err != nil {
			return nil, nil, nil, placeQueryError(s, err)
		}
		return []*postgres.Queryable{q}, []spec.ObjectRule{rule}, nil, nil
	}
	tables, err := source.Tables(ctx, selection(s))
	if err != nil {
		return nil, nil, nil, err
	}
	for _, t := range tables {
		rule := ruleOf(t.ID())
		if t.Reason != "" {
			continue
		}
		q, err := t.Queryable(rule.QueryMode == spec.QueryXmin, rule.Key)
		if err == nil {
			err = checkRule(source, q, rule)
		}
		if err != nil {
			failed = append(failed, &objectError{t.ID(), err})
			continue
		}
		out, rules = append(out, q), append(rules, rule)
	}
	return out, rules, failed, nil
}

// checkRule makes sure that an object can be read as its rule says.
func checkRule(source *postgres.Source, q *postgres.Queryable, rule spec.ObjectRule) error {
	if _, err := cursorsOf(source, q, rule); err != nil {
		return err
	}
	if len(q.Schema.Key()) > 0 {
		return nil
	}
	section := fmt.Sprintf("[objects.%q]", q.ID().Schema+"."+q.ID().Name)
	refuse := func(what string) error {
		return &postgres.Error{Op: "read", Object: q.ID().String(), Class: postgres.Object, Err: errors.New(what),
			Hint: section + ` key = ["..."] names the columns that identify a row; a primary key of the table is found by itself.`}
	}
	switch {
	case rule.DetectDeletes:
		return refuse("detect_deletes compares keys, and the object has none")
	case rule.QueryMode == spec.ChangeDataCapture:
		return refuse("change_data_capture replaces changed rows by key, and the object has none: incrementing_append_only and xmin append")
	case rule.Cursor() && !q.HasBlocks():
		return refuse("rows that share the last value of a cursor are told apart by key or by xmin, and the object has neither")
	}
	return nil
}

// cursorsOf are the cursors of an object: new rows first, then changed ones.
func cursorsOf(source *postgres.Source, q *postgres.Queryable, rule spec.ObjectRule) ([]*postgres.Cursor, error) {
	var out []*postgres.Cursor
	if rule.IncrementingColumn != "" {
		c, err := source.Cursor(q, "incrementing_column", rule.IncrementingColumn, false, 0)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	if rule.TimestampColumn != "" {
		c, err := source.Cursor(q, "timestamp_column", rule.TimestampColumn, true, rule.Delay)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

// readObjects reads the objects side by side. A failure of one is kept and the
// others go on, unless it is one of the pipeline.
func (l *poller) readObjects(ctx context.Context, o RunOptions) (failed []error, err error) {
	g, ctx := errgroup.WithContext(ctx)
	queue := make(chan *object)
	g.Go(func() error {
		defer close(queue)
		for _, one := range l.objects {
			if !o.wants(one.ID()) {
				continue
			}
			select {
			case queue <- one:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	var mu sync.Mutex
	for range min(l.p.Spec.Engine.LoadWorkers, len(l.objects)) {
		g.Go(func() error {
			return l.work(ctx, queue, func(e *objectError) error {
				mu.Lock()
				defer mu.Unlock()
				failed = append(failed, e)
				return l.fail(e)
			})
		})
	}
	return failed, g.Wait()
}

// lockPatience is how long a run waits for a table that somebody has locked: the
// other objects wait for the end of the run.
const lockPatience = 10 * time.Second

// work reads objects over a connection of its own until there are no more.
func (l *poller) work(ctx context.Context, queue <-chan *object, fail func(*objectError) error) (err error) {
	var session *postgres.Session
	defer func() {
		if session != nil {
			err = errors.Join(err, session.Close(context.WithoutCancel(ctx)))
		}
	}()
	for o := range queue {
		if skip, err := l.skips(o); skip || err != nil {
			if err != nil {
				return err
			}
			continue
		}
		if session == nil || session.Closed() {
			if session, err = l.source.OpenSession(ctx); err != nil {
				return err
			}
			if err = session.WaitForLocks(ctx, lockPatience); err != nil {
				return err
			}
		}
		err := l.read(ctx, session, o)
		var known *postgres.Error
		var plugin *PluginFailure
		if errors.As(err, &known) && known.Class == postgres.Object || errors.As(err, &plugin) {
			err = fail(&objectError{o.ID(), err})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// skips says whether an operator has taken the object out of the runs.
func (l *poller) skips(o *object) (bool, error) {
	record, err := l.p.store.Object(o.ID())
	if errors.Is(err, state.ErrNotFound) {
		return false, nil
	}
	return record.Choice == state.Skip || record.Choice == state.Pause, err
}

// reconsider implements databaseLane: each run looks at the choices anew.
func (l *poller) reconsider() {}

// areKnown says which of the names is no object of a pipeline with one
// database. With several, a table may be in some of them only.
func (l *poller) areKnown(names []string) error {
	if len(l.p.lanes) > 1 {
		return nil
	}
	tables := make([]batch.TableID, len(l.objects))
	for i, o := range l.objects {
		tables[i] = o.ID()
	}
	return allKnown(names, tables)
}

// wants says whether a run is to read a table.
func (o *RunOptions) wants(t batch.TableID) bool {
	return len(o.Tables) == 0 || slices.ContainsFunc(o.Tables, func(name string) bool { return named(name, t) })
}
