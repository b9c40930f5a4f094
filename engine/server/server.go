// Package server gives other processes a way to a running pipeline: a control
// socket for leat's own verbs, and Prometheus metrics.
//
// The control socket is a Unix socket that only the user who runs the engine
// can open. It speaks HTTP with JSON; results of any size are JSON lines, the
// last of which holds an error if one ended it.
package server

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/state"
)

// Listen opens the control socket of a state folder and returns its path. A
// path too long for a socket moves to the folder for temporary files.
func Listen(stateDir string) (net.Listener, string, error) {
	path, err := filepath.Abs(filepath.Join(stateDir, "control.sock"))
	if err != nil {
		return nil, "", err
	}
	if len(path) > 100 { // sun_path holds 104 to 108 bytes
		dir, err := os.MkdirTemp("", "leat-")
		if err != nil {
			return nil, "", fmt.Errorf("make folder for control socket: %w", err)
		}
		path = filepath.Join(dir, "control.sock")
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, "", fmt.Errorf("remove stale control socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, "", fmt.Errorf("open control socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, "", errors.Join(fmt.Errorf("protect control socket: %w", err), l.Close())
	}
	return l, path, nil
}

// Serve answers on l until ctx ends, then finishes what it is answering.
func Serve(ctx context.Context, l net.Listener, h http.Handler) error {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		stopped <- s.Shutdown(end)
	})
	err := s.Serve(l)
	if !stop() {
		err = errors.Join(err, <-stopped)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Control returns the handler of the control socket.
func Control(p *engine.Pipeline) http.Handler {
	c := &control{p}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", c.status)
	mux.HandleFunc("GET /objects", c.objects)
	mux.HandleFunc("GET /failed", c.failed)
	mux.HandleFunc("POST /failed/replay", c.settle(p.Replay))
	mux.HandleFunc("POST /failed/skip", c.settle(p.Skip))
	mux.HandleFunc("POST /failed/capsule", c.capsule)
	mux.HandleFunc("POST /objects", c.changeObjects)
	mux.HandleFunc("POST /objects/run-now", c.runNow)
	mux.HandleFunc("POST /plugins/promote", c.promote)
	mux.HandleFunc("POST /query", c.query)
	mux.HandleFunc("POST /verify", c.verify)
	mux.HandleFunc("POST /explain/row", c.explainRow)
	mux.HandleFunc("POST /plan", c.plan)
	mux.HandleFunc("POST /plan/ddl", c.planDDL)
	return mux
}

type control struct{ p *engine.Pipeline }

func (c *control) status(w http.ResponseWriter, _ *http.Request) {
	s, err := c.p.FullStatus()
	answer(w, s, err)
}

func (c *control) objects(w http.ResponseWriter, _ *http.Request) {
	objects, err := c.p.Objects()
	answer(w, objects, err)
}

func (c *control) failed(w http.ResponseWriter, r *http.Request) {
	lines := newLines(w)
	for f, err := range c.p.FailedEvents(state.FailedFilter{WithPayload: r.URL.Query().Has("payload")}) {
		if err != nil {
			lines.end(err)
			return
		}
		if lines.write(FailedEvent{f, f.Payload}) != nil {
			return
		}
	}
	lines.end(nil)
}

// FailedEvent is a failed event with its payload on the wire.
type FailedEvent struct {
	state.Failed
	Payload []byte `json:"payload,omitempty"`
}

type selection struct {
	IDs []string `json:"ids"`
}

func (c *control) settle(do func(context.Context, []string) (*engine.ReplayResult, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var s selection
		if err := json.NewDecoder(r.Body).Decode(&s); err != nil {
			answer(w, nil, err)
			return
		}
		result, err := do(r.Context(), s.IDs)
		answer(w, result, err)
	}
}

type statement struct {
	SQL string `json:"sql"`
}

func (c *control) query(w http.ResponseWriter, r *http.Request) {
	var s statement
	if err := json.NewDecoder(r.Body).Decode(&s); err != nil {
		answer(w, nil, err)
		return
	}
	lines := newLines(w)
	lines.end(c.p.Query(r.Context(), s.SQL, func(rows engine.Rows) error { return lines.write(rows) }))
}

func (c *control) verify(w http.ResponseWriter, r *http.Request) {
	lines := newLines(w)
	v, err := c.p.Verify(r.Context(), nil, c.p.CatchUp)
	if v != nil {
		err = cmp.Or(lines.write(v), err)
	}
	lines.end(err)
}

func (c *control) plan(w http.ResponseWriter, r *http.Request) {
	tables, err := c.p.Plan(r.Context())
	answer(w, tables, err)
}

func (c *control) planDDL(w http.ResponseWriter, r *http.Request) {
	var s statement
	var plan *engine.DDLPlan
	err := json.NewDecoder(r.Body).Decode(&s)
	if err == nil {
		plan, err = c.p.PlanDDL(r.Context(), s.SQL)
	}
	answer(w, plan, err)
}

func answer(w http.ResponseWriter, v any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(http.StatusUnprocessableEntity)
		v = failureOf(err)
	}
	_ = json.NewEncoder(w).Encode(v) // a client that went away needs no answer
}

// lines is a response of JSON lines, flushed one by one.
type lines struct {
	w       http.ResponseWriter
	encoder *json.Encoder
}

func newLines(w http.ResponseWriter) *lines {
	w.Header().Set("Content-Type", "application/jsonl")
	return &lines{w, json.NewEncoder(w)}
}

func (l *lines) write(v any) error {
	err := l.encoder.Encode(v)
	if f, ok := l.w.(http.Flusher); ok {
		f.Flush()
	}
	return err
}

// end writes the last line: an error, or an empty object.
func (l *lines) end(err error) {
	if err != nil {
		_ = l.write(failureOf(err)) // a client that went away needs no answer
		return
	}
	_ = l.write(struct{}{})
}
