package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/plugins/capability"
	"github.com/leat-etl/leat/state"
)

// lane is the replication of one source database by its log: prepare, load,
// follow. It implements databaseLane.
type lane struct {
	p        *Pipeline
	applier  *applier
	database string
	log      *slog.Logger

	untilCaughtUp  bool
	retryFor       time.Duration // see RunOptions
	goal           uint64        // the end of the log when the run started
	restartChanged bool          // see RunOptions
	needsText      bool          // a value came up that binary form does not have
	mayResync      bool          // see RunOptions
	mayDeselect    bool          // see RunOptions
	nothing        nothingSelected
	asked          atomic.Bool // an operator asks something of the objects
	spooling       atomic.Bool // the slot keeps more log than wal_budget: see relay
	costs          costs
	refused        refusals
	pausedAt       int64                        // bytes of log that waited when guard last paused a table, 0 for none
	warnedAt       int64                        // bytes that it kept when guard last warned of them, 0 for not since it kept few
	warnedOver     time.Time                    // when guard last warned of that
	end            atomic.Uint64                // of the log as guard has seen it: a stream does not hear of what the server holds back
	awaits         string                       // what guard has said that the slot awaits
	silences       int                          // sessions in a row that ended because the server sent nothing
	stale          uint32                       // the server's process that has served the last stream
	uncaptured     string                       // why schema changes are not captured although they should be, as it was said
	strange        bool                         // a message that is like those of DDL capture came
	locked         map[uint32]postgres.Obstacle // tables that could not be published: see leaveLocked

	// Of one session, that is until the next failure:
	source      *postgres.Source
	tables      []*postgres.Table
	publication *postgres.Publication
	system      postgres.System
	givenUp     bool // leat drop has given the pipeline up in the database
	stored      checkpointEntries
	shapes      shapes
	visible     visible
	diverted    diversions
	successors  map[uint32]*postgres.Table // tables under the names of dropped ones, by the OID of those
	warned      map[uint32]bool            // see lookAtChain
	followed    map[uint32]bool            // see onlyTheirs; nil is every relation in the log
	rekeyed     bool                       // the key of a table has changed: it may belong into the other publication

	captureKey []byte        // of DDL capture; nil: schema changes are not captured
	noticed    atomic.Uint64 // with nextLook: see lookAtNoticed
	nextLook   time.Time

	dueLoads chan struct{} // wakes loadBeside
	readers  chan struct{} // has a place for each reader of historical loads

	mu        sync.Mutex // guards what follows while the log is followed
	record    state.Source
	following bool          // the log is followed
	begun     bool          // the loads that the session starts with are known
	waits     bool          // see awaitRights
	moved     chan struct{} // closed with the next move of the position; nil while nobody waits
	resuming  []uint32      // tables whose changes have waited and are being delivered
	// failing are, for as long as the process lives, the tables that are paused
	// because a plugin fails on them, by OID.
	failing map[uint32]*PluginFailure
}

func newLane(p *Pipeline, database string) *lane {
	return &lane{p: p, applier: p.applier, database: database, log: p.log.With("database", database), failing: map[uint32]*PluginFailure{},
		dueLoads: make(chan struct{}, 1), readers: make(chan struct{}, p.Spec.Engine.LoadWorkers)}
}

// ingest implements databaseLane.
func (l *lane) ingest(ctx context.Context, o RunOptions) error {
	l.untilCaughtUp, l.retryFor, l.restartChanged, l.mayResync, l.mayDeselect, l.goal = o.UntilCaughtUp, o.RetryFor, o.RestartChanged, o.Resync, o.DeselectAll, 0
	return l.run(ctx)
}

// run keeps a session going until ctx ends or an operator has to act.
func (l *lane) run(ctx context.Context) error {
	err := persist(ctx, l.log, "replication", l.retryFor, func(ctx context.Context) error {
		return l.p.advancing(l.database, func() error { return l.attempt(ctx) })
	})
	if err == nil {
		err = errors.Join(l.failures(), l.refusal()) // the run has caught up, but for these
	}
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("database %s: %w", l.database, err)
	}
	return err
}

// attempt is a session, with those that follow it at once.
func (l *lane) attempt(ctx context.Context) error {
	err := l.session(ctx)
	lost := ""
	for errors.Is(err, errSetAside) || errors.Is(err, errRelay) || errors.Is(err, errAnew) || losesTable(err, &lost) {
		if errors.Is(err, errSetAside) {
			l.log.Warn("rows that the destination refuses were set aside: leat failed list shows them")
		}
		err = l.session(ctx)
	}
	var gap *GapError
	if l.mayResync && errors.As(err, &gap) && l.began() {
		if err = l.resync(ctx, gap); err == nil {
			l.mayResync = false
			err = l.session(ctx)
		}
	}
	if err != nil && ctx.Err() == nil {
		err = l.p.away(l.database, err)
		l.progress(func(d *DatabaseProgress) { d.fail(err) })
	}
	return err
}

// losesTable says whether a session ended because of one table, such as one that
// the role may not read any more: the next looks at the rights again, so that the
// table waits alone. The same a second time is none that this settles.
func losesTable(err error, last *string) bool {
	var one *postgres.Error
	if !errors.As(err, &one) || one.Class != postgres.Object || err.Error() == *last {
		return false
	}
	*last = err.Error()
	return true
}

func (l *lane) progress(change func(*DatabaseProgress)) {
	l.p.progress.database(l.database, change)
}

// sayWaits shows for whose transaction at the source a slot or a load waits.
func (l *lane) sayWaits(who, end string) {
	if who != "" {
		l.log.Warn("waiting for the end of a transaction at the source, behind which a load can begin", "of", who, fixAttr(end))
	}
	l.progress(func(d *DatabaseProgress) { d.Waits = who })
}

// session is the straight line of a lane.
func (l *lane) session(ctx context.Context) (err error) {
	l.progress(func(d *DatabaseProgress) { d.Phase = "connecting" })
	l.mu.Lock()
	l.following, l.begun, l.waits, l.rekeyed = false, false, false, false
	l.mu.Unlock()
	cfg, err := SourceConfig(l.p.Spec)
	if err != nil {
		return err
	}
	cfg.Silence = l.silence()
	defer func() { l.noteSilence(err) }()
	if l.source, err = postgres.Open(ctx, cfg, l.database); err != nil {
		return err
	}
	l.source.Waits = l.sayWaits
	defer func() { err = errors.Join(err, l.source.Close(context.WithoutCancel(ctx))) }()
	if err := l.p.patterns.look(ctx, l.p, l.source); err != nil {
		return err
	}
	if err := l.freeSlot(ctx); err != nil {
		return err
	}
	if err := l.capture(ctx); err != nil {
		return err
	}
	l.visible.reset()
	if l.mayRelay() { // the destination need not be there
		if l.tables, err = l.selectTables(ctx); err != nil {
			return err
		}
		if err := l.fillRelay(ctx); err != nil {
			return err
		}
	}
	if err := l.stored.read(ctx, l.applier); err != nil {
		return errors.Join(err, l.spareWriters(ctx))
	}
	if err := l.shapes.read(&l.stored, l.database); err != nil {
		return err
	}
	l.visible.reset()
	if err := l.diverted.read(&l.stored, l.database, l.divertedDir(), l.log.Warn); err != nil {
		return err
	}
	defer l.diverted.close()
	if l.tables, err = l.selectTables(ctx); err != nil {
		return err
	}
	if l.refused.none != nil && l.stored.get(positionKey(l.database)) == "" {
		return l.awaitRights(ctx)
	}
	first, err := l.prepare(ctx, l.tables)
	if err != nil {
		return err
	}
	return l.replicate(ctx, first)
}

// replicate follows the log and loads history beside it, first where there is
// one, until ctx ends, something fails or the run has caught up.
func (l *lane) replicate(ctx context.Context, first *history) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return l.loadBeside(ctx, first) })
	g.Go(func() error { return l.resume(ctx) })
	g.Go(func() error {
		if err := l.drainRelay(ctx); err != nil {
			return err
		}
		l.mu.Lock()
		l.following, l.record.Followed = true, true
		err := l.p.store.PutSource(l.record)
		l.mu.Unlock()
		if err != nil {
			return err
		}
		if err := l.noteStreaming(); err != nil {
			return err
		}
		l.showPhase()
		return l.follow(ctx)
	})
	err := g.Wait()
	if errors.Is(err, errCaughtUp) {
		return nil
	}
	return err
}

// selectTables returns the tables that are replicated, and says why others
// that are selected cannot be.
func (l *lane) selectTables(ctx context.Context) ([]*postgres.Table, error) {
	l.asked.Store(false)
	if err := l.tryAgain(); err != nil {
		return nil, err
	}
	all, err := l.listTables(ctx)
	if err != nil {
		return nil, err
	}
	l.sayRefused(all)
	if err := l.refuseDeselection(ctx, all); err != nil {
		return nil, err
	}
	if err := l.missTables(ctx, all); err != nil {
		return nil, err
	}
	chosen, err := l.chooseTables(ctx, all)
	if err != nil {
		return nil, err
	}
	if err := l.messagesAlone(chosen); err != nil {
		return nil, err
	}
	l.leaveTables(chosen)
	for _, t := range chosen {
		for _, column := range t.Skipped {
			l.log.Warn("generated column is not replicated", "table", t.ID().String(), "column", column)
		}
	}
	if err := l.orderLoads(chosen); err != nil {
		return nil, err
	}
	if err := l.numberAll(chosen); err != nil {
		return nil, err
	}
	for _, t := range chosen {
		if err := l.look(ctx, t); err != nil {
			return nil, err
		}
		if err := l.showVisible(ctx, t); err != nil {
			return nil, err
		}
		l.applier.announce(t.Schema)
	}
	schemas := make([]*batch.Schema, len(chosen))
	for i, t := range chosen {
		schemas[i] = t.Schema
	}
	failed, err := l.applier.checkNames(ctx, schemas)
	l.tables = chosen
	for _, f := range failed {
		if _, err := l.pause(f); err != nil {
			return nil, err
		}
	}
	return chosen, err
}

// number gives a schema that nobody else has seen yet its version in the
// history of its table; after is the version before it.
func (l *lane) number(s *batch.Schema, after uint64) (err error) {
	s.Version, err = l.p.store.PutSchema(s, after)
	return err
}

// messagesAlone refuses a table of the name under which logical messages land.
func (l *lane) messagesAlone(tables []*postgres.Table) error {
	name := postgres.MessagesTable(l.database)
	if len(l.p.Spec.Source.Messages) == 0 || !slices.ContainsFunc(tables, func(t *postgres.Table) bool { return t.ID() == name }) {
		return nil
	}
	return &capability.Error{Class: capability.Schema, Message: fmt.Sprintf("table %s has the name under which logical messages land", name),
		Hint: "exclude the table, rename it, or remove messages from [source]"}
}

// numberAll numbers the schemas of tables.
func (l *lane) numberAll(tables []*postgres.Table) error {
	return l.p.store.Update(func(tx *state.Tx) (err error) {
		for _, t := range tables {
			if t.Schema.Version, err = tx.PutSchema(t.Schema, l.versionBefore(t.OID)); err != nil {
				return err
			}
		}
		return nil
	})
}
