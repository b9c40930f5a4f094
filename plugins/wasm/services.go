package wasm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/tetratelabs/wazero/api"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/plugins/capability"
)

// services are what host functions work on while an instance runs a call.
type services struct {
	sql    capability.SQL
	grants *Grants
	// inTransaction follows begin, commit and rollback.
	inTransaction bool
	// handle names batch while leat_write runs; 0 names none.
	handle uint32
	batch  *batch.Batch
	// reply waits to be fetched by the guest, as does what a kernel has computed.
	reply    []byte
	computed *computed
	// failures are the errors of this call; a guest refers to them by number,
	// from 1, and so cannot invent one.
	failures []error
}

// jsonFunc answers one JSON host function.
type jsonFunc func(ctx context.Context, s *services, request []byte) (any, error)

var sqlFunctions = map[string]jsonFunc{
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

// hostFunctions are the JSON functions by name, <capability>_<what>.
var hostFunctions = func() map[string]jsonFunc {
	all := maps.Clone(sqlFunctions)
	maps.Copy(all, grantedFunctions)
	all["clock_now"], all["random_fill"] = nil, nil // no JSON, see defineImports
	return all
}()

func capabilityOf(name string) string {
	capability, _, _ := strings.Cut(name, "_")
	return capability
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
	maxOutside  = 10 // deadlines that a call may wait for http, kv and blob
)

// jsonFunction wraps a host function that answers with JSON: it returns the
// length of the reply, which the guest then fetches.
func jsonFunction(name string, f jsonFunc) api.GoModuleFunc {
	return func(ctx context.Context, guest api.Module, stack []uint64) {
		c := callOf(ctx)
		request := c.admit(name, guest, stack)
		if capabilityOf(name) != "sql" && c.outside > maxOutside*c.instance.module.plugin.Limits.Deadline {
			panic(errDeadline) // what it asks of others takes too long
		}
		began := time.Now()
		defer func() { c.outside += time.Since(began) }()
		s := c.instance.services
		answer, err := f(c.ctx, s, request)
		s.reply = s.encode(answer, err)
		stack[0] = uint64(len(s.reply))
	}
}

// admit counts a request of a host function and copies it out of the guest.
func (c *call) admit(name string, guest api.Module, stack []uint64) []byte {
	if c == nil || c.instance.services == nil {
		panic(&contractError{name + " was called where it is not granted"})
	}
	if c.requests++; c.requests > maxRequests || len(c.instance.services.failures) >= maxFailures {
		panic(&contractError{fmt.Sprintf("%s: the call made %d requests of which %d failed; the most are %d and %d", name, c.requests, len(c.instance.services.failures), maxRequests, maxFailures)})
	}
	request, ok := guest.Memory().Read(uint32(stack[0]), uint32(stack[1]))
	if !ok {
		panic(&contractError{name + ": the request is outside memory"})
	}
	return bytes.Clone(request)
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

// Bounds on what a plugin logs: lines of one call, and of all its calls in a
// minute.
const (
	logLines       = 100
	logLinesMinute = 1000
)

// logBudget counts the lines of a module.
type logBudget struct {
	mu      sync.Mutex
	began   time.Time
	lines   int
	dropped int
}

// take says whether a line may be logged now, and how many were dropped in the
// minute that has just ended.
func (b *logBudget) take(now time.Time) (ok bool, dropped int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now.Sub(b.began) >= time.Minute {
		dropped, b.began, b.lines, b.dropped = b.dropped, now, 0, 0
	}
	if b.lines++; b.lines > logLinesMinute {
		b.dropped++
		return false, 0
	}
	return true, dropped
}

// oneLine makes of a guest's text a line that cannot pass for several, nor move
// the cursor of a terminal.
func oneLine(text []byte) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.TrimSpace(strings.ToValidUTF8(string(text), "?")))
}

// hostLog passes a line of the guest to the log.
func hostLog(ctx context.Context, guest api.Module, stack []uint64) {
	c := callOf(ctx)
	if c == nil {
		return
	}
	log := c.instance.module.host.log
	p := &c.instance.module.plugin
	if c.lines++; c.lines > logLines {
		return
	}
	ok, dropped := c.instance.module.logs.take(time.Now())
	if dropped > 0 {
		log.Warn("lines of a plugin were not logged", "plugin", p.Name, "version", p.Version, "lines", dropped, "most in a minute", logLinesMinute)
	}
	if !ok {
		return
	}
	line, ok := guest.Memory().Read(uint32(stack[1]), min(uint32(stack[2]), textBound))
	if !ok {
		panic(&contractError{"log: the line is outside memory"})
	}
	levels := [...]slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError}
	level := levels[min(uint32(stack[0]), uint32(len(levels)-1))]
	log.LogAttrs(c.ctx, level, oneLine(line), slog.String("plugin", p.Name), slog.String("version", p.Version))
}
