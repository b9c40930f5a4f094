// Package desttest runs the SQL destinations natively, against real databases,
// through the same JSON calls that cross the sandbox.
package desttest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	pdk "github.com/leat-etl/leat/pdk/go"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/plugins/capability"
)

// Host answers a destination's host calls from a database. It implements
// pdk.Host.
type Host struct {
	DB capability.SQL
	// Statements collects what the destination executed.
	Statements []string

	ctx     context.Context
	batch   *batch.Batch
	handles uint32
}

// NewHost returns a host for the kit's native calls and makes it the one that
// answers them.
func NewHost(ctx context.Context, db capability.SQL) *Host {
	h := &Host{DB: db, ctx: ctx}
	pdk.SetHost(h)
	return h
}

// Log implements pdk.Host.
func (h *Host) Log(pdk.Level, string) {}

// Call implements pdk.Host.
func (h *Host) Call(function string, request []byte) []byte {
	result, err := h.answer(function, request)
	reply := map[string]any{"ok": result}
	if err != nil {
		var e *capability.Error
		if !errors.As(err, &e) {
			e = &capability.Error{Class: capability.Internal, Message: err.Error()}
		}
		reply = map[string]any{"error": map[string]any{"number": 1, "class": e.Class, "code": e.Code, "message": e.Message, "hint": e.Hint}}
	}
	text, err := json.Marshal(reply)
	if err != nil {
		panic(err)
	}
	return text
}

func (h *Host) answer(function string, request []byte) (any, error) {
	var r struct {
		SQL    string            `json:"sql"`
		Batch  uint32            `json:"batch"`
		Ingest capability.Ingest `json:"ingest"`
	}
	if err := json.Unmarshal(request, &r); err != nil {
		return nil, err
	}
	switch function {
	case "sql_exec":
		h.Statements = append(h.Statements, r.SQL)
		n, err := h.DB.Exec(h.ctx, r.SQL)
		if err != nil {
			err = fmt.Errorf("%w in %s", err, r.SQL)
		}
		return map[string]int64{"affected": n}, err
	case "sql_query":
		return h.DB.Query(h.ctx, r.SQL)
	case "sql_ingest":
		if r.Batch != h.handles || h.batch == nil {
			return nil, fmt.Errorf("no batch has handle %d", r.Batch)
		}
		n, err := h.DB.Ingest(h.ctx, h.batch, r.Ingest)
		return map[string]int64{"rows": n}, err
	case "sql_begin":
		return struct{}{}, h.DB.Begin(h.ctx)
	case "sql_commit":
		return struct{}{}, h.DB.Commit(h.ctx)
	case "sql_rollback":
		return struct{}{}, h.DB.Rollback(h.ctx)
	}
	return nil, fmt.Errorf("no host function %q", function)
}

// Write writes a batch with a destination, as the host would.
func (h *Host) Write(d pdk.Destination, p *pdk.TablePlan, b *batch.Batch) error {
	h.handles++
	h.batch = b
	defer func() { h.batch = nil }()
	w := &pdk.WriteBatch{Handle: h.handles, Rows: b.Len(), Ops: map[string]int{}, Position: b.Position.String()}
	for _, op := range b.Ops {
		w.Ops[string(rune(op))]++
	}
	for col := range b.Schema.Columns {
		for row, op := range b.Ops {
			if op != batch.Delete && op != batch.OldKey && op != batch.Truncate && !b.IsPresent(col, row) {
				w.Absent = append(w.Absent, col)
				break
			}
		}
	}
	return d.Write(p, w)
}

// Plan plans a table with a destination, as the host would.
func (h *Host) Plan(d pdk.Destination, s *batch.Schema) (*pdk.TablePlan, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	var seen pdk.Schema
	if err := json.Unmarshal(text, &seen); err != nil {
		return nil, err
	}
	return d.Plan(&seen)
}
