package pdk

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
)

// reply is the JSON envelope of every answer to the host.
type reply struct {
	OK    any         `json:"ok,omitempty"`
	Error *replyError `json:"error,omitempty"`
}

type replyError struct {
	Message string `json:"message"`
	// Cause is the number of the capability error behind this one.
	Cause int `json:"cause,omitempty"`
	// Class is that of an SQLError of the plugin's own.
	Class Class `json:"class,omitempty"`
}

// encode wraps the result of a call for the host.
func encode(result any, err error) []byte {
	r := reply{OK: result}
	if err != nil {
		r = reply{Error: describe(err)}
	} else if result == nil {
		r.OK = struct{}{}
	}
	text, err := json.Marshal(r)
	if err != nil {
		text, _ = json.Marshal(reply{Error: &replyError{Message: "encode answer: " + err.Error()}})
	}
	return text
}

func describe(err error) *replyError {
	e := &replyError{Message: err.Error()}
	var s *SQLError
	if errors.As(err, &s) {
		e.Cause = s.number
		if s.number == 0 {
			e.Class = s.Class
		}
	}
	return e
}

// answer runs f, which may panic, on a request.
func answer[T any](request []byte, f func(*T) (any, error)) []byte {
	return encode(func() (result any, err error) {
		defer recovered(&err)
		var r T
		if err := json.Unmarshal(request, &r); err != nil {
			return nil, fmt.Errorf("decode request: %w", err)
		}
		return f(&r)
	}())
}

// recovered turns a panic into an error that tells where it happened.
func recovered(err *error) {
	if v := recover(); v != nil {
		*err = fmt.Errorf("panic: %v%s", v, panicSite())
	}
}

// panicSite is the innermost frame outside this package and the runtime.
func panicSite() string {
	var pcs [48]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	for {
		f, more := frames.Next()
		if f.File != "" && !strings.HasPrefix(f.Function, "runtime.") && !strings.HasPrefix(f.Function, "github.com/leat-etl/leat/pdk/go.") {
			return " [" + f.File[strings.LastIndexByte(f.File, '/')+1:] + ":" + strconv.Itoa(f.Line) + "]"
		}
		if !more {
			return ""
		}
	}
}
