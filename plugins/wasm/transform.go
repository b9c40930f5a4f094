package wasm

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/plugins/kernel"
)

// Transform is a loaded transform plugin. It is safe for concurrent use: each
// call takes an instance from the pool or makes one.
type Transform struct {
	module *module

	mu     sync.Mutex
	idle   []*instance
	closed bool
	plans  map[string]*Plan // by request without number
	held   planBudget
	nextID uint32
	known  *planMemory
}

// RowError says that a row could not be processed and why.
type RowError struct {
	Row     int
	Message string
}

// Result is what Process makes of a batch: a batch for each output that has
// rows, and the input rows that failed, in order.
type Result struct {
	Batches []*batch.Batch
	Failed  []RowError
}

// Transform loads a transform plugin. It instantiates the module once to see
// that it works, unless it is known from another run that it does and that the
// host carries out its plans without it.
func (h *Host) Transform(ctx context.Context, code []byte, p Plugin) (*Transform, error) {
	grants := p.Grants.names(false)
	m, err := h.load(code, p, transformExports, grants)
	if err != nil {
		return nil, err
	}
	t := &Transform{module: m, plans: map[string]*Plan{}, known: m.remember(len(grants) > 0)}
	if t.known.spares() {
		return t, nil
	}
	in, err := m.start(ctx)
	if err != nil {
		return nil, err
	}
	t.put(ctx, in)
	return t, nil
}

// Stats tells what the plugin has done so far.
func (t *Transform) Stats() Stats { return t.module.counters.stats() }

// Digest is the digest of the module.
func (t *Transform) Digest() string { return t.module.plugin.Digest }

// Close ends the idle instances; instances in use end with their call.
func (t *Transform) Close(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for _, in := range t.idle {
		in.close(ctx)
	}
	t.idle = nil
	return nil
}

func (t *Transform) get(ctx context.Context) (*instance, error) {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return nil, fmt.Errorf("plugin %s is closed", t.module.plugin.Name)
	}
	if n := len(t.idle); n > 0 {
		in := t.idle[n-1]
		t.idle = t.idle[:n-1]
		t.mu.Unlock()
		return in, nil
	}
	t.mu.Unlock()
	return t.module.start(ctx)
}

// put gives an instance back that is fit for another call.
func (t *Transform) put(ctx context.Context, in *instance) {
	recycle := in.account()
	t.mu.Lock()
	defer t.mu.Unlock()
	if recycle || t.closed {
		in.close(ctx)
		return
	}
	t.idle = append(t.idle, in)
}

// with runs f on an instance and discards the instance if f fails.
func (t *Transform) with(ctx context.Context, f func(*instance) error) error {
	in, err := t.get(ctx)
	if err != nil {
		return err
	}
	in.services = &services{grants: &t.module.plugin.Grants}
	if err := f(in); err != nil {
		in.close(ctx)
		return err
	}
	t.put(ctx, in)
	return nil
}

// Plan asks the plugin what becomes of a table. Equal inputs share one Plan.
func (t *Transform) Plan(ctx context.Context, in PlanInput) (*Plan, error) {
	fail := func(err error) (*Plan, error) {
		var e *Error
		if errors.As(err, &e) {
			e.Table = in.Schema.Table.String()
		}
		return nil, err
	}
	request := planRequest{ABI: ABI, Kind: "transform", Config: configOf(t.module), Schema: withoutValues(in.Schema), Databases: in.Databases, Kernels: kernel.Names(), Features: features}
	for _, peer := range in.Peers {
		request.Peers = append(request.Peers, withoutValues(peer))
	}
	key, err := json.Marshal(request)
	if err != nil {
		return nil, fmt.Errorf("encode plan request for %s: %w", in.Schema.Table, err)
	}
	t.mu.Lock()
	p := t.plans[string(key)]
	t.nextID++
	request.Plan = t.nextID
	t.mu.Unlock()
	if p != nil {
		return p, nil
	}
	if p = t.recall(key, request, in.Schema); p == nil {
		if p, err = t.ask(ctx, key, request, in.Schema); err != nil {
			return fail(err)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.held.take(t.module, planBudget{p.size(), int64(len(key))}); err != nil {
		return fail(err)
	}
	t.plans[string(key)] = p
	return p, nil
}

// recall makes a plan of what the plugin answered in another run, nil if that
// is not known or would be refused now: then the plugin is asked.
func (t *Transform) recall(key []byte, r planRequest, s *batch.Schema) *Plan {
	text := t.known.reply(key)
	if text == nil {
		return nil
	}
	request, err := json.Marshal(r)
	if err != nil {
		return nil
	}
	p, refused, err := t.module.readPlan(text, s)
	if err != nil || refused != nil {
		return nil
	}
	p.id, p.request, p.reply = r.Plan, request, text
	return p
}

// ask has an instance plan. A reply that came without a word to the host is
// kept for other runs.
func (t *Transform) ask(ctx context.Context, key []byte, r planRequest, s *batch.Schema) (p *Plan, err error) {
	var refused error
	silent := false
	if err := t.with(ctx, func(i *instance) error {
		before := i.spoken
		p, refused, err = i.plan(ctx, r, s)
		silent = i.spoken == before
		return err
	}); err != nil {
		return nil, err
	}
	if refused != nil {
		return nil, refused
	}
	if silent {
		if err := t.known.add(key, p); err != nil {
			t.module.host.log.Debug("plan not kept", "error", err)
		}
	}
	return p, nil
}

func configOf(m *module) json.RawMessage {
	if len(m.plugin.Config) == 0 {
		return json.RawMessage("{}")
	}
	return m.plugin.Config
}

// plan asks one instance. refused is the plugin's own error; after err the
// instance is not to be used.
func (in *instance) plan(ctx context.Context, r planRequest, s *batch.Schema) (p *Plan, refused, err error) {
	request, err := json.Marshal(r)
	if err != nil {
		return nil, nil, err
	}
	text, err := in.callJSON(ctx, "plan", "leat_plan", request)
	if err != nil {
		return nil, nil, err
	}
	if p, refused, err = in.module.readPlan(text, s); p == nil {
		return nil, refused, err
	}
	p.id, p.request, p.reply = r.Plan, request, text
	in.plans[p.id] = true
	return p, nil, nil
}

// readPlan checks the reply to a plan request; refused is as for plan.
func (m *module) readPlan(text []byte, s *batch.Schema) (p *Plan, refused, err error) {
	var reply planReply
	said, err := decodeReply(text, &reply)
	if err != nil {
		return nil, nil, m.failure("plan", KindContract, "%v", err)
	}
	if said != nil {
		return nil, m.failure("plan", KindGuest, "%s", said.Message), nil
	}
	if p, err = buildPlan(&reply, s, &m.plugin); err != nil {
		return nil, nil, m.failure("plan", KindContract, "%v", err)
	}
	return p, nil, nil
}

// Process carries out a plan on a batch. b keeps its own reference; the
// caller releases the result's batches. Rows that fail are in the result, not
// in the error.
func (t *Transform) Process(ctx context.Context, p *Plan, b *batch.Batch) (Result, error) {
	out, err := t.process(ctx, p, b)
	if err != nil {
		var e *Error
		if errors.As(err, &e) {
			e.Table, e.Position = b.Schema.Table.String(), b.Position
		}
		return Result{}, err
	}
	n := &t.module.counters
	n.rows.Add(uint64(b.Len()))
	n.rowsFailed.Add(uint64(len(out.Failed)))
	for _, made := range out.Batches {
		n.rowsOut.Add(uint64(made.Len()))
	}
	return out, nil
}

func (t *Transform) process(ctx context.Context, p *Plan, b *batch.Batch) (Result, error) {
	if err := p.accepts(b); err != nil {
		return Result{}, err
	}
	if b.IsTruncate() {
		var out Result
		for _, s := range p.Outputs {
			out.Batches = append(out.Batches, truncate(s, b))
		}
		return out, nil
	}
	if len(p.Outputs) == 0 || b.Len() == 0 {
		return Result{}, nil
	}
	r := &result{rows: b.Len()}
	if !p.Native {
		var refused error
		if err := t.with(ctx, func(in *instance) (err error) {
			r, refused, err = in.process(ctx, p, b)
			return err
		}); err != nil {
			return Result{}, err
		}
		if refused != nil {
			return Result{}, refused
		}
	}
	r.allowance = t.module.plugin.Limits.allowance(b)
	if err := t.runKernels(p, b, r); err != nil {
		return Result{}, err
	}
	defer r.releaseKernels()
	return t.assemble(p, b, r)
}

// assemble merges what the guest computed with what the host keeps.
func (t *Transform) assemble(p *Plan, b *batch.Batch, r *result) (out Result, err error) {
	defer func() {
		if err != nil {
			for _, done := range out.Batches {
				done.Release()
			}
			out = Result{}
		}
	}()
	if len(r.failed) > 0 {
		r.failPairs(b.Ops)
	}
	for row, message := range r.failed {
		out.Failed = append(out.Failed, RowError{row, message})
	}
	slices.SortFunc(out.Failed, func(a, b RowError) int { return cmp.Compare(a.Row, b.Row) })
	for o := range p.Outputs {
		c := &choice{}
		if p.wheres[o] >= 0 || !r.isIdentity(b.Len(), len(p.Outputs)) {
			if c, err = p.choose(o, b.Ops, r); err != nil {
				return out, t.module.failure("process", KindContract, "%v", err)
			}
			if len(c.in) == 0 {
				continue
			}
		}
		made, err := p.apply(o, b, r, c)
		if err != nil {
			return out, t.module.failure("process", kindOf(err), "%v", err)
		}
		t.module.counters.rowsChanged.Add(uint64(p.countChanged(o, made, b, c)))
		out.Batches = append(out.Batches, made)
	}
	return out, nil
}

// accepts makes sure that the batch has the shape that the plan was made for.
func (p *Plan) accepts(b *batch.Batch) error {
	if b.Schema == p.input {
		return nil
	}
	if len(b.Schema.Columns) != len(p.input.Columns) {
		return fmt.Errorf("batch of %s has %d columns, its plan was made for %d", b.Schema.Table, len(b.Schema.Columns), len(p.input.Columns))
	}
	for i := range b.Schema.Columns {
		got, want := &b.Schema.Columns[i], &p.input.Columns[i]
		if got.Name != want.Name || !arrow.TypeEqual(got.Type, want.Type) {
			return fmt.Errorf("batch of %s: column %d is %q %s, its plan was made for %q %s", b.Schema.Table, i, got.Name, got.Type, want.Name, want.Type)
		}
	}
	return nil
}

// process runs leat_process in one instance. refused is the plugin's own
// error; after err the instance is not to be used.
func (in *instance) process(ctx context.Context, p *Plan, b *batch.Batch) (r *result, refused, err error) {
	if b.Len() > maxRows {
		return nil, nil, fmt.Errorf("batch of %s has %d rows, plugins take at most %d", b.Schema.Table, b.Len(), maxRows)
	}
	if err := in.ensurePlan(ctx, p); err != nil {
		return nil, nil, err
	}
	var measure layout
	measure.writeBatch(p, b)
	if measure.end > in.module.plugin.Limits.MemoryBytes {
		return nil, nil, in.module.failure("process", KindMemory, "the columns that it needs take %d bytes, its memory is limited to %d", measure.end, in.module.plugin.Limits.MemoryBytes)
	}
	at, err := in.alloc(ctx, "process", int(measure.end))
	if err != nil {
		return nil, nil, err
	}
	write := layout{buf: in.bytes()[at : uint64(at)+measure.end], base: at}
	write.writeBatch(p, b)
	returned, err := in.call(ctx, "process", "leat_process", uint64(at))
	if err != nil {
		return nil, nil, err
	}
	shape := resultShape{inputRows: b.Len(), computed: p.computed, filters: p.filters, outputs: len(p.Outputs)}
	if p.hostRoutes() {
		shape.outputs = 1 // the guest does not route
	}
	r, reply, err := readResult(in.bytes(), uint32(returned), shape)
	if err != nil {
		return nil, nil, in.module.failure("process", KindContract, "%v", err)
	}
	if reply == nil {
		in.module.counters.bytesIn.Add(measure.end)
		in.module.counters.bytesOut.Add(r.copied)
		return r, nil, nil
	}
	said, err := decodeReply(reply, nil)
	if err != nil || said == nil {
		return nil, nil, in.module.failure("process", KindContract, "the error of the call cannot be read: %v", err)
	}
	return nil, in.module.failure("process", KindGuest, "%s", said.Message), nil
}
