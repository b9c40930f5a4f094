package wasm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/plugins/capability"
)

// Destination is a loaded destination plugin with its database connection. It
// belongs to one goroutine.
//
// If a call fails in a way that costs the instance, the host rolls the
// database back; the next call starts a new instance, opens it and repeats the
// plans that are used.
type Destination struct {
	module   *module
	services *services
	instance *instance
	open     []byte // the open request, nil before Open
	nextID   uint32
	// nextHandle numbers the batches of Write: a handle is never used twice.
	nextHandle uint32
	held       planBudget
	plans      map[batch.TableID]planBudget // what held has of each table
}

// OpenInput is what a destination opens with. Pipeline is the scope of its
// checkpoints.
type OpenInput struct {
	Pipeline string
}

// Info tells what a destination is: its SQL dialect, and whether rows of one
// key may be merged to the last state before Write. ChangesApart asks for the
// changes of a delivery's tables before its rows. Empties says that a TRUNCATE
// takes the rows of a table back.
type Info struct {
	Driver   string `json:"driver"`
	Compacts bool   `json:"compacts"`
	// Fills: absent cells are filled from earlier rows of the batch.
	Fills        bool `json:"fills"`
	ChangesApart bool `json:"changes_apart"`
	Empties      bool `json:"empties"`
}

// DestinationPlan says how a table lands.
type DestinationPlan struct {
	// Table is the target as it stands in SQL.
	Table   string         `json:"table"`
	Columns []TargetColumn `json:"columns"`
	// Statements are the DDL that the first Write would run.
	Statements []string `json:"statements"`
	// Reload says why rows that are there have to be loaded again, empty if
	// they have not.
	Reload string `json:"reload"`
	// Read selects the live rows with the source's columns in their order.
	Read string `json:"read"`

	id      uint32
	request []byte
	schema  *batch.Schema
}

// TargetColumn is a column of the target table. Source is empty for what the
// destination adds by itself.
type TargetColumn struct {
	Name   string   `json:"name"`
	Type   string   `json:"type"`
	Source string   `json:"source"`
	Losses []string `json:"losses"`
}

// Checkpoint is an entry that the destination keeps beside its rows. In Commit
// a nil Value removes the entry.
type Checkpoint struct {
	Key   string  `json:"key"`
	Value *string `json:"value"`
}

// Destination loads a destination plugin that may use sql, which the caller
// closes after the Destination.
func (h *Host) Destination(ctx context.Context, code []byte, p Plugin, sql capability.SQL) (*Destination, error) {
	m, err := h.load(code, p, destinationExports, p.Grants.names(sql != nil))
	if err != nil {
		return nil, err
	}
	d := &Destination{module: m, services: &services{sql: sql, grants: &m.plugin.Grants}, plans: map[batch.TableID]planBudget{}}
	if d.instance, err = m.start(ctx); err != nil {
		return nil, err
	}
	d.instance.services = d.services
	return d, nil
}

// Stats tells what the plugin has done so far.
func (d *Destination) Stats() Stats { return d.module.counters.stats() }

// Digest is the digest of the module.
func (d *Destination) Digest() string { return d.module.plugin.Digest }

// Open opens the destination; it is called once, before anything else.
func (d *Destination) Open(ctx context.Context, in OpenInput) (Info, error) {
	request, err := json.Marshal(map[string]any{"abi": ABI, "pipeline": in.Pipeline, "config": configOf(d.module)})
	if err != nil {
		return Info{}, fmt.Errorf("encode open request: %w", err)
	}
	var info Info
	if err := d.call(ctx, "open", request, &info); err != nil {
		return Info{}, err
	}
	d.open = request
	return info, nil
}

// Plan asks how a table lands. It changes nothing at the destination.
func (d *Destination) Plan(ctx context.Context, s *batch.Schema) (*DestinationPlan, error) {
	d.nextID++
	p := &DestinationPlan{id: d.nextID, schema: s}
	var err error
	if p.request, err = json.Marshal(planRequest{ABI: ABI, Kind: "destination", Plan: p.id, Config: configOf(d.module), Schema: s}); err != nil {
		return nil, fmt.Errorf("encode plan request for %s: %w", s.Table, err)
	}
	if err := d.call(ctx, "plan", p.request, p); err != nil {
		return nil, onTable(err, s, batch.Position{})
	}
	d.instance.plans[p.id] = true
	before, now := d.plans[s.Table], planBudget{p.size(), int64(len(p.request))}
	d.held.held, d.held.asked = d.held.held-before.held, d.held.asked-before.asked // this plan replaces it
	delete(d.plans, s.Table)
	if err := d.held.take(d.module, now); err != nil {
		return nil, onTable(err, s, batch.Position{})
	}
	d.plans[s.Table] = now
	return p, nil
}

// size is about how many bytes the plan takes for as long as it is kept.
func (p *DestinationPlan) size() int64 {
	n := len(p.request) + len(p.Table) + len(p.Reload) + len(p.Read)
	texts := slices.Clone(p.Statements)
	for _, c := range p.Columns {
		texts = append(append(texts, c.Name, c.Type, c.Source), c.Losses...)
	}
	for _, t := range texts {
		n += 24 + len(t)
	}
	return int64(n)
}

func onTable(err error, s *batch.Schema, at batch.Position) error {
	var e *Error
	if errors.As(err, &e) {
		e.Table, e.Position = s.Table.String(), at
	}
	return err
}

type writeRequest struct {
	Plan  uint32      `json:"plan"`
	Batch writeHandle `json:"batch"`
}

type writeHandle struct {
	Handle   uint32         `json:"handle"`
	Rows     int            `json:"rows"`
	Ops      map[string]int `json:"ops"`
	Absent   []int          `json:"absent"`
	Position batch.Position `json:"position"`
}

// Write brings a batch into the current transaction. A failure of the database
// is in the error as a *capability.Error.
func (d *Destination) Write(ctx context.Context, p *DestinationPlan, b *batch.Batch) error {
	if b.Schema != p.schema && b.Schema.Fingerprint() != p.schema.Fingerprint() {
		return fmt.Errorf("batch of %s: its plan was made for another schema", b.Schema.Table)
	}
	if err := d.ensure(ctx, p); err != nil {
		return onTable(err, b.Schema, b.Position)
	}
	d.nextHandle++
	d.services.handle, d.services.batch = d.nextHandle, b
	request, err := json.Marshal(writeRequest{p.id, describe(b, d.services.handle)})
	if err != nil {
		return fmt.Errorf("encode write request: %w", err)
	}
	err = d.call(ctx, "write", request, &struct{}{})
	d.services.handle, d.services.batch = 0, nil
	if err != nil {
		return onTable(err, b.Schema, b.Position)
	}
	d.module.counters.rows.Add(uint64(b.Len()))
	return nil
}

// describe tells the guest what SQL it needs for a batch.
func describe(b *batch.Batch, handle uint32) writeHandle {
	h := writeHandle{Handle: handle, Rows: b.Len(), Ops: map[string]int{}, Absent: []int{}, Position: b.Position}
	var counts [256]int
	for _, op := range b.Ops {
		counts[op]++
	}
	for op, n := range counts {
		if n > 0 {
			h.Ops[string(rune(op))] = n
		}
	}
	for col := range b.Present {
		if lacksCell(b, col) {
			h.Absent = append(h.Absent, col)
		}
	}
	return h
}

// lacksCell says whether a column is absent in a row that is more than an
// identity.
func lacksCell(b *batch.Batch, col int) bool {
	if b.Present[col] == nil {
		return false
	}
	for row, op := range b.Ops {
		if op != batch.Delete && op != batch.OldKey && op != batch.Truncate && !b.Present[col].Get(row) {
			return true
		}
	}
	return false
}

// Commit stores or removes the entries in the current transaction and commits
// it.
func (d *Destination) Commit(ctx context.Context, entries []Checkpoint) error {
	if entries == nil {
		entries = []Checkpoint{}
	}
	request, err := json.Marshal(map[string]any{"entries": entries})
	if err != nil {
		return fmt.Errorf("encode checkpoint: %w", err)
	}
	return d.call(ctx, "commit", request, &struct{}{})
}

// Checkpoint reads back the entries that the destination has durably stored.
func (d *Destination) Checkpoint(ctx context.Context) ([]Checkpoint, error) {
	var r struct {
		Entries []Checkpoint `json:"entries"`
	}
	err := d.call(ctx, "checkpoint", []byte("{}"), &r)
	return r.Entries, err
}

// Rollback takes back what was written since the last Commit.
func (d *Destination) Rollback(ctx context.Context) error {
	return d.call(ctx, "rollback", []byte("{}"), &struct{}{})
}

// Close closes the plugin. What was not committed is taken back.
func (d *Destination) Close(ctx context.Context) error {
	var err error
	if d.instance != nil {
		if d.open != nil {
			err = d.call(ctx, "close", []byte("{}"), &struct{}{})
		}
		if d.instance != nil {
			d.instance.close(ctx)
			d.instance = nil
		}
	}
	return errors.Join(err, d.abandon(ctx))
}

// abandon rolls back what the guest has left open.
func (d *Destination) abandon(ctx context.Context) error {
	if !d.services.inTransaction {
		return nil
	}
	d.services.inTransaction = false
	return d.services.sql.Rollback(ctx)
}

// revive makes a new instance after one was lost.
func (d *Destination) revive(ctx context.Context) error {
	if d.instance != nil {
		return nil
	}
	in, err := d.module.start(ctx)
	if err != nil {
		return err
	}
	in.services = d.services
	d.instance = in
	if d.open == nil {
		return nil
	}
	return d.exchange(ctx, "open", d.open, &Info{})
}

// ensure makes sure that the current instance has made the plan.
func (d *Destination) ensure(ctx context.Context, p *DestinationPlan) error {
	if err := d.revive(ctx); err != nil {
		return err
	}
	if d.instance.plans[p.id] {
		return nil
	}
	if err := d.exchange(ctx, "plan", p.request, &DestinationPlan{}); err != nil {
		return err
	}
	d.instance.plans[p.id] = true
	return nil
}

// call runs one operation, on a new instance if the last one was lost.
func (d *Destination) call(ctx context.Context, op string, request []byte, out any) error {
	if err := d.revive(ctx); err != nil {
		return err
	}
	return d.exchange(ctx, op, request, out)
}

// exchange runs one operation on the current instance and discards the
// instance if it cannot be trusted afterwards.
func (d *Destination) exchange(ctx context.Context, op string, request []byte, out any) error {
	d.services.failures, d.services.reply = nil, nil
	in := d.instance
	text, err := in.callJSON(ctx, op, "leat_"+op, request)
	if err != nil {
		return d.lose(ctx, ofDestination(err))
	}
	said, err := decodeReply(text, out)
	if err != nil {
		return d.lose(ctx, ofDestination(d.module.failure(op, KindContract, "%v", err)))
	}
	if said == nil {
		if in.account() && !d.services.inTransaction && op == "commit" {
			in.close(ctx)
			d.instance = nil
		}
		return nil
	}
	failure := d.module.failure(op, KindGuest, "%s", said.Message)
	switch {
	case said.Cause > 0 && said.Cause <= len(d.services.failures):
		failure.cause = d.services.failures[said.Cause-1]
	case said.Class != "":
		failure.cause = &capability.Error{Class: said.Class, Message: said.Message, Own: true}
	}
	return ofDestination(failure)
}

func ofDestination(err error) error {
	var e *Error
	if errors.As(err, &e) {
		e.destination = true
	}
	return err
}

// lose discards the instance and rolls back its transaction.
func (d *Destination) lose(ctx context.Context, err error) error {
	d.instance.close(ctx)
	d.instance = nil
	if e := d.abandon(ctx); e != nil {
		return errors.Join(err, fmt.Errorf("roll back after it: %w", e))
	}
	return err
}
