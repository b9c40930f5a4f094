package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/leat-etl/leat/engine/spec"
	"github.com/leat-etl/leat/state"
)

// Options of Open.
type Options struct {
	// StateDir replaces the state folder of the pipeline file.
	StateDir string
	// CacheDir keeps compiled plugins between runs; empty is the user's cache
	// folder.
	CacheDir string
	Log      *slog.Logger
}

// Pipeline is one pipeline file with its state folder, plugins and
// destination open. Open makes it, Run moves data, Close gives everything
// back.
type Pipeline struct {
	Spec *spec.Spec

	log       *slog.Logger
	stateDir  string
	store     *state.Store
	plugins   *plugins
	applier   *applier
	lanes     []databaseLane
	schedules map[string]*schedule // when the lanes run, by database
	starts    startClock
	progress  *Progress
	patterns  patternWatch
	runs      runs
}

// runs lets one Run at a time use the pipeline, none once it is closed.
type runs struct {
	mu     sync.Mutex
	stop   context.CancelFunc // of the Run under way, nil for none
	ended  chan struct{}      // closed when that has returned
	closed bool
}

// begin returns the context of a Run and what ends it.
func (r *runs) begin(ctx context.Context) (context.Context, func(), error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
		return nil, nil, errors.New("run pipeline: it is closed")
	case r.stop != nil:
		return nil, nil, errors.New("run pipeline: it runs already")
	}
	ctx, r.stop = context.WithCancel(ctx)
	stop, ended := r.stop, make(chan struct{})
	r.ended = ended
	return ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		stop()
		r.stop = nil
		close(ended)
	}, nil
}

// close stops the Run under way and waits for its end.
func (r *runs) close() {
	r.mu.Lock()
	r.closed = true
	stop, ended := r.stop, r.ended
	r.mu.Unlock()
	if stop != nil {
		stop()
		<-ended
	}
}

// Open opens the state folder, loads and checks the plugins and connects to
// the destination. It does not touch the source.
func Open(ctx context.Context, s *spec.Spec, o Options) (_ *Pipeline, err error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	p := &Pipeline{Spec: s, log: o.Log.With("pipeline", s.Name), stateDir: StateDir(s, o.StateDir), progress: newProgress(), schedules: map[string]*schedule{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close(context.WithoutCancel(ctx)))
		}
	}()
	if p.plugins, err = loadPlugins(ctx, s, o.CacheDir, p.log); err != nil {
		return nil, err
	}
	if p.store, err = state.Open(p.stateDir, state.Options{Pipeline: s.Name, Log: p.log}); err != nil {
		return nil, err
	}
	p.plugins.keep(p.store)
	quarantine, err := newQuarantine(p.store)
	if err != nil {
		return nil, err
	}
	p.applier = &applier{chain: newChain(p.plugins, Databases(s), s.Values), plugins: p.plugins, quarantine: quarantine, progress: p.progress, log: p.log}
	p.applier.loadAgain = p.loadAgain
	if s.Engine.Capsules != "off" {
		p.applier.chain.kept = &capsuleKeeper{dir: filepath.Join(p.stateDir, "capsules"), mask: s.Engine.Capsules == "masked", log: p.log}
	}
	if err := recall(p.applier.chain, p.store, s.Source.MergeTables); err != nil {
		return nil, err
	}
	if err := p.applier.open(ctx); err != nil && !p.mayWait(err) {
		return nil, err
	}
	for _, database := range Databases(s) {
		lane := databaseLane(newLane(p, database))
		if s.Queries() {
			lane = newPoller(p, database)
		}
		p.lanes = append(p.lanes, lane)
		p.schedules[database] = newSchedule(p, lane, database)
	}
	return p, p.forgetReplayed(ctx)
}

// databaseLane is the work of one source database.
type databaseLane interface {
	// ingest replicates until ctx ends, an operator has to act or, if o says
	// so, everything is at the destination that the source had committed when
	// it was called.
	ingest(ctx context.Context, o RunOptions) error
	// guard watches what the lane costs the source.
	guard(ctx context.Context) error
	// catchUp waits until the running lane has delivered what the source has
	// committed by now.
	catchUp(ctx context.Context) error
	// reconsider lets the running lane see what was asked of its objects.
	reconsider()
}

// RunOptions of Run.
type RunOptions struct {
	// UntilCaughtUp ends the run once everything that was committed at the
	// source when it started is at the destination.
	UntilCaughtUp bool
	// RetryFor ends the run when it has done nothing but fail for so long, 0
	// never.
	RetryFor time.Duration
	// Resync loads every table again where the log has a gap, instead of
	// ending with a GapError.
	Resync bool
	// RestartChanged lets objects be ingested anew that are to be read in
	// another way than before.
	RestartChanged bool
	// DeselectAll lets every table of a database be taken out that the pipeline
	// file does not select any more.
	DeselectAll bool
	// Tables are the only ones that a pipeline reads which queries its source;
	// none are all.
	Tables []string
	// last: no run follows by itself.
	last bool
}

// Run replicates until ctx ends, Close is called, an operator has to act, or it
// has caught up. What is in flight when it is stopped is finished or taken back
// (invariant 7).
func (p *Pipeline) Run(ctx context.Context, o RunOptions) error {
	ctx, end, err := p.runs.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	run := state.Run{Started: p.starts.now()}
	if err := p.store.PutRun(run); err != nil {
		return err
	}
	err = errors.Join(p.sayLeft(), p.replicate(ctx, o))
	if err == nil && o.UntilCaughtUp {
		err = p.settleReshaped(ctx, o)
	}
	run.Ended, run.Outcome = time.Now(), "finished"
	switch {
	case ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)):
		run.Outcome, err = "stopped", nil
	case err != nil:
		run.Outcome = err.Error()
	}
	sum := p.counted("")
	run.Rows, run.Bytes = sum.Rows, sum.Bytes
	return errors.Join(err, p.store.PutRun(run))
}

func (p *Pipeline) replicate(ctx context.Context, o RunOptions) error {
	g, running := errgroup.WithContext(ctx)
	watching, stop := context.WithCancel(running)
	defer stop()
	var lanes sync.WaitGroup
	var left leftBehind
	for _, s := range p.schedules {
		lanes.Add(1)
		g.Go(func() error {
			defer lanes.Done()
			return left.keep(s.replicate(running, o), o)
		})
		g.Go(func() error { return s.lane.guard(watching) })
	}
	g.Go(func() error {
		lanes.Wait()
		stop()
		return nil
	})
	err := g.Wait()
	var over *budgetError
	if errors.As(err, &over) {
		return p.dropOverBudget(ctx, over)
	}
	return errors.Join(append(left.errs, err)...)
}

// leftBehind collects why single objects, or those of one database, are not at the
// destination although the run has come to its end there: those of other databases
// end theirs.
type leftBehind struct {
	mu   sync.Mutex
	errs []error
}

func (l *leftBehind) keep(err error, o RunOptions) error {
	var away *awayError
	if !sparesRest(err) && !(o.UntilCaughtUp && errors.As(err, &away)) {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errs = append(l.errs, err)
	return nil
}

// Close stops Run, waits for its end and releases everything.
func (p *Pipeline) Close(ctx context.Context) error {
	p.runs.close()
	var errs []error
	if p.applier != nil {
		errs = append(errs, p.applier.close(ctx))
	}
	if p.plugins != nil {
		errs = append(errs, p.plugins.close(ctx))
	}
	if p.store != nil {
		errs = append(errs, p.store.Close())
	}
	return errors.Join(errs...)
}

// GapError says that the log no longer holds what the destination needs, so
// that going on would leave a gap.
type GapError struct {
	Database, Reason, Hint string
}

// Error implements error.
func (e *GapError) Error() string {
	return fmt.Sprintf("database %q cannot be followed without a gap: %s", e.Database, e.Reason)
}
