package wasm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/tetratelabs/wazero/api"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/plugins/capability"
)

// services are what host functions work on while an instance of a destination
// runs a call.
type services struct {
	sql capability.SQL
	// inTransaction follows begin, commit and rollback.
	inTransaction bool
	// handle names batch while leat_write runs; 0 names none.
	handle uint32
	batch  *batch.Batch
	// reply waits to be fetched by the guest.
	reply []byte
	// failures are the errors of this call; a guest refers to them by number,
	// from 1, and so cannot invent one.
	failures []error
}

// sqlFunction answers one JSON host function.
type sqlFunction func(ctx context.Context, s *services, request []byte) (any, error)

var sqlFunctions = map[string]sqlFunction{
	"sql_exec": func(ctx context.Context, s *services, request []byte) (any, error) {
		var r struct {
			SQL string `json:"sql"`
		}
		if err := decodeRequest(request, &r); err != nil {
			return nil, err
		}
		n, err := s.sql.Exec(ctx, r.SQL)
		return map[string]int64{"affected": n}, err
	},
	"sql_query": func(ctx context.Context, s *services, request []byte) (any, error) {
		var r struct {
			SQL string `json:"sql"`
		}
		if err := decodeRequest(request, &r); err != nil {
			return nil, err
		}
		return s.sql.Query(ctx, r.SQL)
	},
	"sql_ingest": ingest,
	"sql_begin": func(ctx context.Context, s *services, _ []byte) (any, error) {
		err := s.sql.Begin(ctx)
		s.inTransaction = s.inTransaction || err == nil
		return nil, err
	},
	"sql_commit": func(ctx context.Context, s *services, _ []byte) (any, error) {
		err := s.sql.Commit(ctx)
		s.inTransaction = s.inTransaction && err != nil
		return nil, err
	},
	"sql_rollback": func(ctx context.Context, s *services, _ []byte) (any, error) {
		if !s.inTransaction {
			return nil, nil
		}
		err := s.sql.Rollback(ctx)
		s.inTransaction = false
		return nil, err
	},
}

func decodeRequest(text []byte, out any) error {
	if err := decodeStrict(text, out); err != nil {
		return &capability.Error{Class: capability.Internal, Message: "decode the plugin's request: " + err.Error()}
	}
	return nil
}

func ingest(ctx context.Context, s *services, request []byte) (any, error) {
	var r struct {
		Batch  uint32            `json:"batch"`
		Ingest capability.Ingest `json:"ingest"`
	}
	if err := decodeRequest(request, &r); err != nil {
		return nil, err
	}
	if r.Batch == 0 || r.Batch != s.handle {
		return nil, &capability.Error{Class: capability.Internal, Message: fmt.Sprintf("batch handle %d is not that of the current write", r.Batch)}
	}
	for _, c := range r.Ingest.Columns {
		if (c.From == capability.FromColumn || c.From == capability.FromAbsent) && (c.Column < 0 || c.Column >= len(s.batch.Schema.Columns)) {
			return nil, &capability.Error{Class: capability.Internal, Message: fmt.Sprintf("ingest column %q comes from column %d of %d", c.Name, c.Column, len(s.batch.Schema.Columns))}
		}
	}
	n, err := s.sql.Ingest(ctx, s.batch, r.Ingest)
	return map[string]int64{"rows": n}, err
}

// Bounds on one guest call: the deadline does not count the time in host
// functions, and failures are kept until the call ends.
const (
	maxRequests = 100_000
	maxFailures = 1000
)

// jsonFunction wraps a host function that answers with JSON: it returns the
// length of the reply, which the guest then fetches.
func jsonFunction(name string, f sqlFunction) api.GoModuleFunc {
	return func(ctx context.Context, guest api.Module, stack []uint64) {
		c := callOf(ctx)
		if c == nil || c.instance.services == nil {
			panic(&contractError{name + " was called where it is not granted"})
		}
		if c.requests++; c.requests > maxRequests || len(c.instance.services.failures) >= maxFailures {
			panic(&contractError{fmt.Sprintf("%s: the call made %d requests of which %d failed; the most are %d and %d", name, c.requests, len(c.instance.services.failures), maxRequests, maxFailures)})
		}
		began := time.Now()
		defer func() { c.outside += time.Since(began) }()
		request, ok := guest.Memory().Read(uint32(stack[0]), uint32(stack[1]))
		if !ok {
			panic(&contractError{name + ": the request is outside memory"})
		}
		s := c.instance.services
		answer, err := f(c.ctx, s, append([]byte(nil), request...))
		s.reply = s.encode(answer, err)
		stack[0] = uint64(len(s.reply))
	}
}

// encode writes the reply of a host function and keeps its error by number.
func (s *services) encode(answer any, err error) []byte {
	if err == nil {
		if answer == nil {
			answer = struct{}{}
		}
		text, err := json.Marshal(map[string]any{"ok": answer})
		if err == nil {
			return text
		}
		return s.encode(nil, err)
	}
	var e *capability.Error
	if !errors.As(err, &e) {
		e = &capability.Error{Class: capability.Internal, Message: err.Error()}
	}
	s.failures = append(s.failures, err)
	text, _ := json.Marshal(map[string]any{"error": struct {
		*capability.Error
		Number int `json:"number"`
	}{e, len(s.failures)}}) // strings and a number always encode
	return text
}

// hostReply copies the waiting reply into the guest.
func hostReply(ctx context.Context, guest api.Module, stack []uint64) {
	c := callOf(ctx)
	if c == nil || c.instance.services == nil {
		panic(&contractError{"reply was called without a reply waiting"})
	}
	s := c.instance.services
	if uint32(stack[1]) != uint32(len(s.reply)) || !guest.Memory().Write(uint32(stack[0]), s.reply) {
		panic(&contractError{fmt.Sprintf("reply: %d bytes at %d do not fit the reply of %d bytes", uint32(stack[1]), uint32(stack[0]), len(s.reply))})
	}
	s.reply = nil
}

// logLines bounds the lines of one call.
const logLines = 100

// hostLog passes a line of the guest to the log.
func hostLog(ctx context.Context, guest api.Module, stack []uint64) {
	c := callOf(ctx)
	if c == nil {
		return
	}
	if c.lines++; c.lines > logLines {
		return
	}
	line, ok := guest.Memory().Read(uint32(stack[1]), min(uint32(stack[2]), textBound))
	if !ok {
		panic(&contractError{"log: the line is outside memory"})
	}
	levels := [...]slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError}
	p := &c.instance.module.plugin
	level := levels[min(uint32(stack[0]), uint32(len(levels)-1))]
	c.instance.module.host.log.LogAttrs(c.ctx, level, strings.ToValidUTF8(string(line), "?"), slog.String("plugin", p.Name), slog.String("version", p.Version))
}
