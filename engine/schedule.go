package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/spec"
	"github.com/leat-etl/leat/state"
)

// schedule lets one lane run now and then. Its runs never overlap: one that is
// asked for while another goes on follows it. The time of the next one is
// counted from the start of the last, also of an earlier process, so that a
// missed run is caught up once.
type schedule struct {
	p        *Pipeline
	lane     databaseLane
	database string
	every    time.Duration
	requests chan runRequest
}

// runRequest asks for a run of some tables, all if there are none. done, if not
// nil, receives what became of it.
type runRequest struct {
	tables []string
	done   chan error
}

// maxRequests bounds how many runs may wait for their turn.
const maxRequests = 64

// pollPause is between two runs of a pipeline that queries continuously.
const pollPause = time.Second

func newSchedule(p *Pipeline, lane databaseLane, database string) *schedule {
	s := &schedule{p: p, lane: lane, database: database, every: p.Spec.Source.Frequency.Every, requests: make(chan runRequest, maxRequests)}
	if s.every == 0 && p.Spec.Queries() {
		s.every = pollPause
	}
	return s
}

// replicate lets the lane run: once, without end, or on its schedule.
func (s *schedule) replicate(ctx context.Context, o RunOptions) error {
	if s.every == 0 {
		return s.lane.ingest(ctx, o)
	}
	if o.UntilCaughtUp {
		o.last = true
		return s.once(ctx, o)
	}
	next, err := s.next()
	if err != nil {
		return err
	}
	timer := time.NewTimer(time.Until(next))
	defer timer.Stop()
	for {
		s.p.progress.database(s.database, func(d *DatabaseProgress) {
			d.Phase, d.NextRun = "waiting", next
		})
		one := runRequest{}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case one = <-s.requests:
		case <-timer.C:
		}
		started := time.Now()
		err := s.once(ctx, RunOptions{UntilCaughtUp: true, RetryFor: o.RetryFor, RestartChanged: o.RestartChanged, DeselectAll: o.DeselectAll, Tables: one.tables})
		if one.done != nil {
			one.done <- err
		}
		if err = s.goesOn(ctx, err); err != nil {
			return err
		}
		if len(one.tables) == 0 {
			next = started.Add(s.every)
		}
		timer.Reset(max(0, time.Until(next)))
	}
}

// goesOn says that the next run may mend what ended this one.
func (s *schedule) goesOn(ctx context.Context, err error) error {
	if ctx.Err() != nil || !sparesRest(err) {
		return err
	}
	s.p.progress.database(s.database, func(d *DatabaseProgress) { d.Error, d.Fix = err.Error(), fixOf(err) })
	return nil
}

// next is when the next run is due.
func (s *schedule) next() (time.Time, error) {
	last, err := s.p.lastRun(s.database)
	if err != nil || last.Started.IsZero() || last.Ended.IsZero() {
		return time.Now(), err
	}
	s.p.progress.database(s.database, func(d *DatabaseProgress) { d.LastRun = last.Started })
	return last.Started.Add(s.every), nil
}

// lastRun is the newest recorded run over a database, zero if there is none.
func (p *Pipeline) lastRun(database string) (state.Run, error) {
	runs, err := p.store.Runs(state.MaxRuns)
	if err != nil {
		return state.Run{}, err
	}
	for _, r := range runs {
		if r.Database == database {
			return r, nil
		}
	}
	return state.Run{}, nil
}

// once is one run with its record.
func (s *schedule) once(ctx context.Context, o RunOptions) error {
	run := state.Run{Started: s.p.starts.now(), Database: s.database}
	before := s.p.counted(s.database)
	if err := s.p.store.PutRun(run); err != nil {
		return err
	}
	s.p.progress.database(s.database, func(d *DatabaseProgress) { d.LastRun = run.Started })
	err := s.lane.ingest(ctx, o)
	after := s.p.counted(s.database)
	run.Rows, run.Bytes = after.Rows-before.Rows, after.Bytes-before.Bytes
	run.Ended, run.Outcome = time.Now(), "finished"
	switch {
	case ctx.Err() != nil:
		run.Outcome = "stopped"
		run.Ended = time.Time{} // the next process goes on at once
	case err != nil:
		run.Outcome = err.Error()
	}
	return errors.Join(err, s.p.store.PutRun(run))
}

// startClock gives each run a start of its own, its identity.
type startClock struct {
	mu   sync.Mutex
	last time.Time
}

func (c *startClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if !now.After(c.last) {
		now = c.last.Add(1)
	}
	c.last = now
	return now
}

// counted is what has been delivered of a database, of all if it is empty.
func (p *Pipeline) counted(database string) (sum state.Run) {
	for _, t := range p.progress.Status().Tables {
		if database == "" || t.Table.Database == database {
			sum.Rows += t.Changes() + t.Loaded
			sum.Bytes += t.Bytes
		}
	}
	return sum
}

// RunNow starts a run over the given tables, all if there are none, without
// waiting for its end. A run that goes on is finished first. A table is named
// as schema.table or database.schema.table. The pipeline must be running.
func (p *Pipeline) RunNow(ctx context.Context, tables []string) error {
	if p.Spec.Source.Mode == spec.ModeLogical && p.Spec.Source.Frequency.Continuous() {
		return &RequestError{"the pipeline follows the log continuously: there is no run to start", "every change is on its way already; leat status shows how far"}
	}
	if err := p.knows(tables); err != nil {
		return err
	}
	for _, s := range p.schedules {
		if err := s.runNow(ctx, tables, false); err != nil {
			return err
		}
	}
	return nil
}

// knows says whether every name is that of an object of the pipeline.
func (p *Pipeline) knows(tables []string) error {
	objects, err := p.store.Objects()
	if err != nil {
		return err
	}
	return allKnown(tables, tablesOf(objects))
}

// allKnown says which of the names is none of the tables'.
func allKnown(names []string, tables []batch.TableID) error {
	for _, name := range names {
		if !slices.ContainsFunc(tables, func(t batch.TableID) bool { return named(name, t) }) {
			return unknownTable(name, tables)
		}
	}
	return nil
}

// runNow hands a request over; wait waits until its run has ended.
func (s *schedule) runNow(ctx context.Context, tables []string, wait bool) error {
	r := runRequest{tables: tables, done: make(chan error, 1)}
	select {
	case s.requests <- r:
	default:
		return fmt.Errorf("%d runs of database %s wait for their turn already", maxRequests, s.database)
	}
	if !wait {
		return nil
	}
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
