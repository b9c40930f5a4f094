package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/engine/spec"
	"github.com/leat-etl/leat/plugins/bundle/trust"
	"github.com/leat-etl/leat/plugins/capability"
	"github.com/leat-etl/leat/plugins/wasm"
	"github.com/leat-etl/leat/state"
)

// The exit codes of leat. `leat help exit-codes` prints them.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitSource      = 3
	exitDestination = 4
	exitPlugin      = 5
	exitState       = 6
	exitDifferent   = 7
	exitGap         = 8
	exitChange      = 9
)

const exitCodeHelp = `0  done
1  a failure that none of the others names
2  wrong usage, a name or statement that is none, or a pipeline file that is not valid
3  the source refuses: connection, prerequisites, rights
4  the destination refuses: locked, full, not writable, rights
5  a plugin is missing, not valid, failed its tests, or broke its contract
6  the state folder is in use, or belongs to another pipeline
7  leat verify or leat explain row found differences
8  the log no longer holds what the destination needs: load again
9  a source table has changed in a way that the pipeline file blocks`

// errUsage marks a mistake in how leat was called.
type errUsage struct{ error }

// errReported ends the program with a code after everything has been said.
type errReported int

func (e errReported) Error() string { return fmt.Sprintf("exit %d", int(e)) }

// exitCode is the one table from an error to the exit code.
func exitCode(err error) int {
	var (
		reported errReported
		usage    errUsage
		file     spec.Errors
		secret   *spec.SecretError
		gap      *engine.GapError
		source   *postgres.Error
		database *capability.Error
		plugin   *wasm.Error
		paused   *engine.PluginFailure
		missing  *engine.PluginError
		distrust *trust.Error
		locked   *state.LockedError
		folder   *state.FolderError
		changed  *engine.ChangedError
		refused  *engine.RequestError
		unsaid   *engine.UnconfirmedError
		change   *engine.SchemaChangeError
		keyed    *engine.WithheldKeyError
	)
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return exitOK
	case errors.As(err, &reported):
		return int(reported)
	case errors.As(err, &missing), errors.As(err, &distrust), errors.As(err, &paused):
		return exitPlugin
	case errors.As(err, &usage), errors.As(err, &file), errors.As(err, &secret), errors.As(err, &changed), errors.As(err, &refused), errors.As(err, &unsaid):
		return exitUsage
	case errors.As(err, &gap), errors.As(err, &source) && source.Class == postgres.Resync:
		return exitGap
	case errors.As(err, &change), errors.As(err, &keyed):
		return exitChange
	case errors.As(err, &locked), errors.As(err, &folder):
		return exitState
	case errors.As(err, &source):
		return exitSource
	case errors.As(err, &database): // before the plugin that passed it on
		return exitDestination
	case errors.As(err, &plugin):
		return exitPlugin
	}
	return exitFailure
}

// report prints an error with its causes and what to do next: of several, such as
// of several databases, each with its own, which is said once where it is the same.
func report(w io.Writer, err error) {
	var reported errReported
	if errors.As(err, &reported) {
		return
	}
	parts := partsOf(err)
	for i, part := range parts {
		fmt.Fprintf(w, "leat: %s\n", part.said)
		if i+1 < len(parts) && slices.Equal(parts[i+1].advice, part.advice) {
			continue
		}
		for _, line := range part.advice {
			fmt.Fprintf(w, "  %s\n", line)
		}
	}
}

// part is one of several errors.
type part struct {
	said   string
	advice []string // lines
}

// partsOf parts what errors.Join has joined.
func partsOf(err error) (out []part) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok && errors.Join(joined.Unwrap()...).Error() == err.Error() {
		for _, one := range joined.Unwrap() {
			for _, p := range partsOf(one) {
				if !slices.ContainsFunc(out, func(o part) bool { return o.said == p.said }) {
					out = append(out, p)
				}
			}
		}
		return out
	}
	p := part{said: err.Error()}
	advise(err, func(what, text string) {
		line := what + ": " + hanging(text, 14)
		if text != "" && !strings.Contains(p.said, text) && !slices.Contains(p.advice, line) {
			p.advice = append(p.advice, line)
		}
	})
	return []part{p}
}

// advise says what an error, and whatever it wraps, has beside its text.
func advise(err error, say func(what, text string)) {
	const toDo = "what to do"
	switch e := err.(type) {
	case *postgres.Error:
		for _, cause := range e.Causes {
			say("possible cause", cause)
		}
		say(toDo, e.Hint)
	case *spec.SecretError:
		say(toDo, e.Hint)
	case *capability.Error:
		say(toDo, e.Hint)
	case *engine.GapError:
		say(toDo, e.Hint)
	case *engine.RequestError:
		say(toDo, e.Hint)
	case syscall.Errno:
		if e == syscall.ENOSPC || e == syscall.EDQUOT {
			say(toDo, engine.NoRoomFix)
		}
	case interface{ Hint() string }:
		say(toDo, e.Hint())
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		if cause := e.Unwrap(); cause != nil {
			advise(cause, say)
		}
	case interface{ Unwrap() []error }:
		for _, cause := range e.Unwrap() {
			advise(cause, say)
		}
	}
}
