package engine

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/plugins/wasm"
	"github.com/leat-etl/leat/state"
)

// Status returns what the pipeline has done since it was opened.
func (p *Pipeline) Status() Status {
	s := p.progress.Status()
	s.Shadows = p.Shadows()
	bills := p.PluginStats()
	for _, name := range slices.Sorted(maps.Keys(bills)) {
		s.Plugins = append(s.Plugins, PluginBill{name, bills[name]})
	}
	return s
}

// PluginBill is what a plugin has done and cost since it was loaded: the
// transforms by place and name, the destination by its name.
type PluginBill struct {
	Plugin string `json:"plugin"`
	wasm.Stats
}

// FullStatus is Status with what is kept in the state folder.
func (p *Pipeline) FullStatus() (Status, error) {
	s := p.Status()
	var err error
	if s.SetAside, err = p.FailedCount(); err != nil {
		return s, err
	}
	s.Objects, err = p.Objects()
	return s, err
}

// PluginStats returns what each plugin has done and cost: the transforms by
// place and name, the destination by its name since it was last connected.
func (p *Pipeline) PluginStats() map[string]wasm.Stats {
	out := p.plugins.stats()
	if d := p.applier.current.Load(); d != nil {
		out[p.plugins.target.Manifest.Name] = d.Stats()
	}
	return out
}

// Objects returns the source tables and what became of them.
func (p *Pipeline) Objects() ([]state.Object, error) { return p.store.Objects() }

// FailedEvents yields the failed events that are kept.
func (p *Pipeline) FailedEvents(q state.FailedFilter) iter.Seq2[state.Failed, error] {
	return p.store.FailedEvents(q)
}

// FailedCount is the number of failed events that are kept and not superseded.
func (p *Pipeline) FailedCount() (int64, error) {
	counts, err := p.store.FailedCounts()
	var n int64
	for _, c := range counts {
		n += c
	}
	return n, err
}

// SetSocket lets other processes know where the running pipeline listens.
func (p *Pipeline) SetSocket(path string) error { return p.store.SetSocket(path) }

// CatchUp waits until everything that the source has committed by now is at
// the destination, but for the databases that it does without. The pipeline must be
// running.
func (p *Pipeline) CatchUp(ctx context.Context, without ...string) error {
	for i, database := range Databases(p.Spec) {
		if slices.Contains(without, database) {
			continue
		}
		if err := p.lanes[i].catchUp(ctx); err != nil {
			return err
		}
	}
	return nil
}

// catchUp implements databaseLane.
func (l *lane) catchUp(ctx context.Context) error {
	if s := l.p.schedules[l.database]; s.every > 0 {
		return s.runNow(ctx, nil, true)
	}
	cfg, err := SourceConfig(l.p.Spec)
	if err != nil {
		return err
	}
	source, err := postgres.Open(ctx, cfg, l.database)
	if err != nil {
		return err
	}
	system, err := source.System(ctx)
	if err == nil && !system.Standby {
		_, err = source.Heartbeat(ctx, l.p.Spec.Name) // something to arrive behind it
	}
	if err := errors.Join(err, source.Close(ctx)); err != nil {
		return err
	}
	return l.waitFor(ctx, system.LSN)
}

func (l *lane) waitFor(ctx context.Context, lsn uint64) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !l.has(lsn) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		var held *postgres.Error
		l.progress(func(d *DatabaseProgress) {
			if d.Awaits != "" {
				held = &postgres.Error{Op: "catch up with", Object: "database " + l.database, Class: postgres.Retry, Err: errors.New(d.Awaits), Hint: d.AwaitsFix}
			}
		})
		if held != nil {
			return held
		}
	}
	return nil
}
