package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/spec"
	"github.com/leat-etl/leat/plugins/wasm"
)

// maxIsolated bounds how many rows of one batch may be found and set aside one by
// one, beside those that the plugin itself refuses. A plugin that fails on more is
// broken, not the rows.
const maxIsolated = 100

// maxOverruns bounds what a plugin may use up on a table, in whole limits of a
// call, by running out of fuel, time or memory within overrunsWithin: other
// tables wait meanwhile. Batches that pass between give nothing back, for then a
// row in every second one would cost a limit for ever. Halving finds one row
// among 2^20, the most that a batch has, for about 6.
const (
	maxOverruns    = 24
	overrunsWithin = time.Hour
)

// overruns are the calls in which a plugin met a limit on a table.
type overruns struct {
	first time.Time
	calls int
	worth float64 // in whole limits
}

// leastOverrun is what a call with a small share of its fuel counts for: the
// instance is lost in any case.
const leastOverrun = 1.0 / 8

// add counts a call that had a share of its fuel and ended at a limit.
func (o *overruns) add(share float64, limit wasm.Kind) {
	if time.Since(o.first) > overrunsWithin {
		*o = overruns{first: time.Now()}
	}
	if limit == wasm.KindDeadline {
		share = 1
	}
	o.calls, o.worth = o.calls+1, o.worth+max(share, leastOverrun)
}

// explain says why err is one too many.
func (o *overruns) explain(err error) error {
	return fmt.Errorf("%w; calls on this table have met their limits %d times within %s, and other tables wait meanwhile", err, o.calls, max(time.Second, time.Since(o.first).Round(time.Second)))
}

// Chain is the transforms of a pipeline followed by its destination, planned
// once for each version of each source table. It belongs to whoever holds the
// destination (see delivery).
type Chain struct {
	transforms  []boundTransform
	destination *wasm.Destination
	databases   []string
	values      spec.Values
	// current has the newest schema of each source table, by schema-qualified
	// name, then database: the peers that a merging transform resolves with.
	current map[[2]string]map[string]*batch.Schema
	roots   map[*batch.Schema]*step
	// naming is the transform that gives tables their names, -1 for none, and
	// landed the table that has each.
	naming   int
	landed   map[batch.TableID]batch.TableID
	overruns map[batch.TableID]*overruns // of source tables
	// kept has the calls of plugins that stop the pipeline, nil for none.
	kept *capsuleKeeper
}

// boundTransform is a transform with the source tables it applies to.
type boundTransform struct {
	plugin *wasm.Transform
	loaded loadedPlugin
	match  func(batch.TableID) bool
	mark   string  // see markOf
	shadow *shadow // nil for none
}

// step is one node of a planned chain: a transform with a next step for each
// table it may route to, or, last, the destination's plan.
type step struct {
	transform *boundTransform
	asked     wasm.PlanInput // what plan answers
	plan      *wasm.Plan
	next      []*step
	schema    *batch.Schema // what comes in
	target    *wasm.DestinationPlan
	values    *valueStep // of a root: what happens before the first transform
}

// Output is a batch as the destination takes it.
type Output struct {
	Plan  *wasm.DestinationPlan
	Batch *batch.Batch
}

// rowFailure is a row that a plugin refused.
type rowFailure struct {
	lsn, ordinal            uint64
	plugin, digest, message string
	key                     []byte // see keyHash; only of a row that the destination refused
}

// Error implements error.
func (f *rowFailure) Error() string { return f.message }

func newChain(p *plugins, databases []string, values spec.Values) *Chain {
	return &Chain{transforms: p.transforms, databases: databases, values: values,
		current: map[[2]string]map[string]*batch.Schema{}, roots: map[*batch.Schema]*step{}, naming: p.naming,
		landed: map[batch.TableID]batch.TableID{}, overruns: map[batch.TableID]*overruns{}}
}

// replan forgets every plan: they are made for one connection of the
// destination.
func (c *Chain) replan(d *wasm.Destination) {
	c.destination = d
	clear(c.roots)
}

// Announce makes a table's newest schema known. Plans of the same table in
// other databases are made anew when they are next needed.
func (c *Chain) Announce(s *batch.Schema) {
	name := [2]string{s.Table.Schema, s.Table.Name}
	peers := c.current[name]
	if peers == nil {
		peers = map[string]*batch.Schema{}
		c.current[name] = peers
	}
	if peers[s.Table.Database] == s {
		return
	}
	peers[s.Table.Database] = s
	c.forget(s.Table)
}

// forget lets a table and those of its name in other databases be planned anew.
func (c *Chain) forget(t batch.TableID) {
	for schema := range c.roots {
		if schema.Table.Schema == t.Schema && schema.Table.Name == t.Name {
			delete(c.roots, schema)
		}
	}
}

// sharers are the source tables, of the name of t, that land in a target. Of a
// database that has left the pipeline none counts.
func (c *Chain) sharers(ctx context.Context, t batch.TableID, target string) (out []batch.TableID) {
	for _, database := range c.databases {
		s := c.current[[2]string{t.Schema, t.Name}][database]
		if s == nil {
			continue
		}
		root, err := c.plan(ctx, s)
		if err != nil || slices.ContainsFunc(root.leaves(), func(leaf *step) bool { return leaf.target.Table == target }) {
			out = append(out, s.Table) // also one that a plugin fails on: its rows may be there
		}
	}
	return out
}

// planned says whether batches of schema s have passed before.
func (c *Chain) planned(s *batch.Schema) bool { return c.roots[s] != nil }

// plan returns the planned chain for batches of schema s.
func (c *Chain) plan(ctx context.Context, s *batch.Schema) (*step, error) {
	if root := c.roots[s]; root != nil {
		return root, nil
	}
	values := newValueStep(c.values, s)
	root, err := c.planFrom(ctx, 0, s, values.schema(s))
	if err != nil {
		return nil, fmt.Errorf("plan %s: %w", s.Table, err)
	}
	root.values = values
	c.roots[s] = root
	return root, nil
}

func (c *Chain) planFrom(ctx context.Context, i int, source, s *batch.Schema) (*step, error) {
	for i < len(c.transforms) && !c.transforms[i].match(source.Table) {
		i++
	}
	if i == len(c.transforms) {
		target, err := c.destination.Plan(ctx, s)
		if err != nil {
			return nil, destinationFailure(source, err)
		}
		return &step{schema: s, target: target}, nil
	}
	asked, plan, err := c.planOne(ctx, i, source, s)
	if err != nil {
		return nil, err
	}
	n := &step{transform: &c.transforms[i], asked: asked, plan: plan, schema: s}
	for _, out := range plan.Outputs {
		next, err := c.planFrom(ctx, i+1, source, out)
		if err != nil {
			return nil, err
		}
		n.next = append(n.next, next)
	}
	return n, nil
}

// planOne plans transform i for what has become of a source table until there.
func (c *Chain) planOne(ctx context.Context, i int, source, s *batch.Schema) (wasm.PlanInput, *wasm.Plan, error) {
	asked := wasm.PlanInput{Schema: s, Databases: c.databases}
	var err error
	if asked.Peers, err = c.peersAt(ctx, i, source.Table); err != nil {
		return asked, nil, pluginFailure(source, err)
	}
	plan, err := c.transforms[i].plugin.Plan(ctx, asked)
	if err != nil || i != c.naming {
		return asked, plan, pluginFailure(source, err)
	}
	for _, out := range plan.Outputs {
		if err := c.land(s.Table, out.Table); err != nil {
			return asked, nil, err
		}
	}
	return asked, plan, nil
}

// peersAt returns the schemas that the tables of the same name in the other
// databases have when they reach transform i.
func (c *Chain) peersAt(ctx context.Context, i int, source batch.TableID) ([]*batch.Schema, error) {
	var peers []*batch.Schema
	for _, database := range c.databases {
		peer := c.current[[2]string{source.Schema, source.Name}][database]
		if peer == nil || database == source.Database {
			continue
		}
		peer = newValueStep(c.values, peer).schema(peer)
		for j := range i {
			t := &c.transforms[j]
			if !t.match(peer.Table) {
				continue
			}
			plan, err := t.plugin.Plan(ctx, wasm.PlanInput{Schema: peer, Databases: c.databases})
			if err != nil {
				return nil, err
			}
			peer = plan.Outputs[0]
		}
		peers = append(peers, peer)
	}
	return peers, nil
}

// Process passes a batch of a source table through the transforms. The
// outputs are in order and belong to the caller; rows that a plugin refused
// come back beside them (invariant 3).
func (c *Chain) Process(ctx context.Context, b *batch.Batch) ([]Output, []rowFailure, error) {
	root, err := c.plan(ctx, b.Schema)
	if err != nil {
		return nil, nil, err
	}
	shaped, refused, err := root.values.apply(b)
	if err != nil {
		return nil, nil, err
	}
	id := b.Schema.Table
	if c.overruns[id] == nil {
		c.overruns[id] = &overruns{}
	}
	r := &passage{source: b.Schema, rows: b.Len(), failures: refused, overruns: c.overruns[id], kept: c.kept}
	if err := r.pass(ctx, root, shaped); err != nil {
		var failure *PluginFailure
		if errors.As(err, &failure) {
			delete(c.overruns, id) // it begins anew when the table is tried again
		}
		r.release()
		return nil, nil, err
	}
	return r.outputs, r.failures, nil
}

// passage is one batch on its way through the chain.
type passage struct {
	source   *batch.Schema
	rows     int // that it began with
	overruns *overruns
	overrun  error // the first on this batch, of a call with all its fuel
	outputs  []Output
	failures []rowFailure
	isolated int // of failures: found by halving
	kept     *capsuleKeeper
}

func (r *passage) release() {
	for _, o := range r.outputs {
		o.Batch.Release()
	}
}

// pass takes over the caller's reference to b.
func (r *passage) pass(ctx context.Context, s *step, b *batch.Batch) error {
	if s.target != nil {
		r.outputs = append(r.outputs, Output{s.target, b})
		return nil
	}
	defer b.Release()
	if b.IsTruncate() {
		for i, next := range s.next {
			if err := r.pass(ctx, next, truncateOf(s.plan.Outputs[i], b)); err != nil {
				return err
			}
		}
		return nil
	}
	share := r.share(b)
	result, err := s.transform.plugin.Process(wasm.WithShare(ctx, share), s.plan, b)
	if err != nil {
		if limit := metLimit(err); limit != "" {
			r.overruns.add(share, limit)
			r.overrun = cmp.Or(r.overrun, err)
		}
		return r.isolate(ctx, s, b, err)
	}
	s.observe(ctx, b, result)
	for _, f := range result.Failed {
		r.fail(s, b, f.Row, f.Message)
	}
	for i, out := range result.Batches {
		if err := r.pass(ctx, s.nextOf(out.Schema), out); err != nil {
			for _, rest := range result.Batches[i+1:] {
				rest.Release()
			}
			return err
		}
	}
	return nil
}

// observe shows a batch and what the transform made of it to the candidate for
// its place.
func (s *step) observe(ctx context.Context, b *batch.Batch, made wasm.Result) {
	if s.transform.shadow != nil {
		s.transform.shadow.observe(ctx, s, b, made)
	}
}

// nextOf returns the step that takes the transform's output of schema s.
func (s *step) nextOf(out *batch.Schema) *step {
	for i, planned := range s.plan.Outputs {
		if planned == out {
			return s.next[i]
		}
	}
	panic("engine: a transform returned a batch that its plan has not")
}

func (r *passage) fail(s *step, b *batch.Batch, row int, message string) {
	p := s.transform.loaded
	r.failures = append(r.failures, rowFailure{lsn: b.LSN[row], ordinal: b.Ordinal[row], plugin: p.identity(), digest: p.Digest, message: message})
}

// leastShare keeps a share of fuel from becoming less than a large row may need.
const leastShare = 1.0 / 64

// share is the part of its fuel that a plugin gets for b. Once it has met a limit
// on the batch, the parts of that get twice what falls to their rows, and a
// single change all again: other tables then wait for a few times the limit until
// one row is found, and not for one more time with each halving.
func (r *passage) share(b *batch.Batch) float64 {
	if r.overrun == nil {
		return 1
	}
	if _, high := halves(b); high == nil {
		return 1
	}
	return max(leastShare, min(1, 2*float64(b.Len())/float64(r.rows)))
}

// isolate halves a batch on which a plugin failed as a whole until the rows
// that make it fail stand alone.
func (r *passage) isolate(ctx context.Context, s *step, b *batch.Batch, cause error) error {
	tooOften := r.overruns.worth > maxOverruns
	if actionFor(cause) != setAside || r.isolated >= maxIsolated || tooOften {
		if metLimit(cause) != "" {
			cause = r.overrun
		}
		if tooOften {
			cause = r.overruns.explain(cause)
		}
		if r.kept != nil && ctx.Err() == nil {
			r.kept.keep(ctx, s, b)
		}
		return pluginFailure(r.source, cause)
	}
	low, high := halves(b)
	if high == nil {
		message := cause.Error()
		var plugin *wasm.Error
		if errors.As(cause, &plugin) {
			message = plugin.Message
		}
		s.observe(ctx, b, wasm.Result{Failed: []wasm.RowError{{Row: b.Len() - 1, Message: message}}})
		r.isolated++
		r.fail(s, b, b.Len()-1, message)
		return nil
	}
	for _, rows := range [][]int32{low, high} {
		if err := r.pass(ctx, s, batch.Take(b, rows)); err != nil {
			return err
		}
	}
	return nil
}

// halves splits the rows of a batch in two without parting an OldKey from the
// row after it. high is nil where only one change is left.
func halves(b *batch.Batch) (low, high []int32) {
	middle := b.Len() / 2
	if middle > 0 && b.Ops[middle-1] == batch.OldKey {
		middle++
	}
	if middle == 0 || middle == b.Len() {
		return rowRange(0, b.Len()), nil
	}
	return rowRange(0, middle), rowRange(middle, b.Len())
}

func rowRange(from, to int) []int32 {
	rows := make([]int32, to-from)
	for i := range rows {
		rows[i] = int32(from + i)
	}
	return rows
}

// truncateOf returns b, a TRUNCATE, as one of a table of schema s.
func truncateOf(s *batch.Schema, b *batch.Batch) *batch.Batch {
	builder := batch.NewBuilder(s)
	for i := range s.Columns {
		builder.Column(i).AppendAbsent()
	}
	builder.EndRow(batch.Truncate, b.LSN[0], b.Ordinal[0], b.CommitTime[0])
	return builder.Finish(b.Position)
}
