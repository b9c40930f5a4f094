package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/plugins/wasm"
)

// shadow is a candidate for the place of a transform. It is given the batches
// that the live plugin is given; what it makes of them is compared and thrown
// away, and its failures are only counted.
type shadow struct {
	plugin *wasm.Transform
	loaded loadedPlugin
	mark   string      // see markOf
	own    wasm.Grants // when it is promoted, see apart

	mu     sync.Mutex
	report ShadowReport
}

// ShadowReport says how a candidate differs from the live plugin. Rows are
// those of both plugins' outputs; a batch that is delivered again counts again.
type ShadowReport struct {
	// Transform is the place in the chain and the name, as in the plugins' bill.
	Transform string       `json:"transform"`
	Live      ShadowPlugin `json:"live"`
	Candidate ShadowPlugin `json:"candidate"`
	Batches   int64        `json:"batches"`
	Rows      int64        `json:"rows"`
	// Differing rows have another value in at least one column; OnlyLive and
	// OnlyCandidate are rows that one plugin has and the other has not.
	Differing     int64 `json:"differing"`
	OnlyLive      int64 `json:"only_live"`
	OnlyCandidate int64 `json:"only_candidate"`
	// FailedLive and FailedCandidate are rows that one refused and the other did not.
	FailedLive      int64 `json:"failed_live"`
	FailedCandidate int64 `json:"failed_candidate"`
	// Columns counts differing rows by schema.table.column of the output.
	Columns map[string]int64 `json:"columns,omitempty"`
	// Shapes are the differences of the planned tables, in words.
	Shapes []string `json:"shapes,omitempty"`
	// Errors counts batches on which the candidate failed as a whole.
	Errors    int64  `json:"errors"`
	LastError string `json:"last_error,omitempty"`
	// Stopped: it met its limits so often that it is not tried any more. The live
	// plugin waited for it each time.
	Stopped  bool `json:"stopped,omitempty"`
	overruns int
	// Examples are the first rows that differ.
	Examples []ShadowExample `json:"examples,omitempty"`
}

// ShadowPlugin is one side of the comparison with what it has cost.
type ShadowPlugin struct {
	Plugin  string  `json:"plugin"`
	Digest  string  `json:"digest"`
	Seconds float64 `json:"seconds"`
	Fuel    uint64  `json:"fuel"`
}

// ShadowExample names a row that differs.
type ShadowExample struct {
	Table    batch.TableID  `json:"table"`
	Position batch.Position `json:"position"`
	Columns  []string       `json:"columns,omitempty"`
	// Reason is why the row is not in both outputs, where it is not.
	Reason string `json:"reason,omitempty"`
}

const (
	maxShadowExamples = 10
	// maxShadowOverruns bounds how often a candidate may run into its limits.
	maxShadowOverruns = 3
)

// Clean says that nothing differed.
func (r *ShadowReport) Clean() bool {
	return r.Differing+r.OnlyLive+r.OnlyCandidate+r.FailedLive+r.FailedCandidate+r.Errors == 0 && len(r.Shapes) == 0
}

// Shadows reports on the candidates of the pipeline's transforms.
func (p *Pipeline) Shadows() []ShadowReport { return p.plugins.shadows() }

func (p *plugins) shadows() []ShadowReport {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []ShadowReport
	for i := range p.transforms {
		t := &p.transforms[i]
		if t.shadow == nil {
			continue
		}
		r := t.shadow.snapshot()
		r.Transform = p.place(i)
		r.Live, r.Candidate = sideOf(t.loaded, t.plugin), sideOf(t.shadow.loaded, t.shadow.plugin)
		out = append(out, r)
	}
	return out
}

func sideOf(loaded loadedPlugin, plugin *wasm.Transform) ShadowPlugin {
	s := plugin.Stats()
	return ShadowPlugin{Plugin: loaded.identity(), Digest: loaded.Digest, Seconds: float64(s.Nanoseconds) / 1e9, Fuel: s.Fuel}
}

func (s *shadow) snapshot() ShadowReport {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.report
	r.Columns = maps.Clone(r.Columns)
	r.Shapes, r.Examples = slices.Clone(r.Shapes), slices.Clone(r.Examples)
	return r
}

// observe runs the candidate on a batch that the live plugin has processed and
// notes what differs. live stays the caller's.
func (s *shadow) observe(ctx context.Context, at *step, b *batch.Batch, live wasm.Result) {
	if s.snapshot().Stopped {
		return
	}
	plan, err := s.plugin.Plan(ctx, at.asked)
	var made wasm.Result
	if err == nil {
		made, err = s.plugin.Process(ctx, plan, b)
	}
	defer func() {
		for _, o := range made.Batches {
			o.Release()
		}
	}()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report.Batches++
	if err != nil {
		s.report.Errors++
		s.report.LastError = err.Error()
		if metLimit(err) != "" {
			s.report.overruns++
		}
		s.report.Stopped = s.report.overruns >= maxShadowOverruns
		return
	}
	c := comparison{report: &s.report, input: b}
	c.shapes(at.plan.Outputs, plan.Outputs)
	c.refusals(live.Failed, made.Failed)
	c.outputs(live.Batches, made.Batches)
}

// Promote puts the candidate of a transform into its place, between two
// deliveries: from then on it is the live plugin. place counts from 0.
func (p *Pipeline) Promote(ctx context.Context, place int) (ShadowPlugin, error) {
	p.applier.holder.Lock()
	defer p.applier.holder.Unlock()
	p.plugins.mu.Lock()
	defer p.plugins.mu.Unlock()
	if place < 0 || place >= len(p.plugins.transforms) || p.plugins.transforms[place].shadow == nil {
		return ShadowPlugin{}, fmt.Errorf("transform %d has no candidate: set shadow in its section of the pipeline file and run it", place+1)
	}
	t := &p.plugins.transforms[place]
	if err := p.settle(ctx, t.shadow); err != nil {
		return ShadowPlugin{}, err
	}
	before := t.plugin
	t.plugin, t.loaded, t.mark, t.shadow = t.shadow.plugin, t.shadow.loaded, t.shadow.mark, nil
	p.applier.chain.replan(p.applier.destination)
	p.log.Info("candidate promoted", "transform", p.plugins.place(place), "plugin", t.loaded.identity(), "digest", t.loaded.Digest)
	return sideOf(t.loaded, t.plugin), errors.Join(before.Close(ctx), p.retryPlugins())
}

// settle gives a candidate that keeps something the space and the folder of a
// live plugin.
func (p *Pipeline) settle(ctx context.Context, s *shadow) error {
	if s.own.KV == nil && s.own.Blob == nil {
		return nil
	}
	loaded := s.loaded
	loaded.plugin.Grants = s.own
	loaded.keep(p.store)
	plugin, err := p.plugins.host.Transform(ctx, loaded.Module, loaded.plugin)
	if err != nil {
		return err
	}
	before := s.plugin
	s.loaded, s.plugin = loaded, plugin
	return before.Close(context.WithoutCancel(ctx))
}
