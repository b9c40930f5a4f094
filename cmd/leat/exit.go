package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

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

// report prints an error with its causes and what to do next.
func report(w io.Writer, err error) {
	var reported errReported
	if errors.As(err, &reported) {
		return
	}
	fmt.Fprintf(w, "leat: %v\n", err)
	var source *postgres.Error
	if errors.As(err, &source) {
		for _, cause := range source.Causes {
			fmt.Fprintf(w, "  possible cause: %s\n", cause)
		}
		if source.Hint != "" {
			fmt.Fprintf(w, "  what to do: %s\n", strings.ReplaceAll(source.Hint, "\n", "\n              "))
		}
	}
	var secret *spec.SecretError
	if errors.As(err, &secret) {
		fmt.Fprintf(w, "  what to do: %s\n", secret.Hint)
	}
	var database *capability.Error
	if errors.As(err, &database) && database.Hint != "" && !strings.Contains(err.Error(), database.Hint) {
		fmt.Fprintf(w, "  what to do: %s\n", database.Hint)
	}
	var paused *engine.PluginFailure
	if errors.As(err, &paused) {
		fmt.Fprintf(w, "  what to do: %s\n", paused.Hint())
	}
	var change *engine.SchemaChangeError
	if errors.As(err, &change) {
		fmt.Fprintf(w, "  what to do: %s\n", change.Hint())
	}
	var keyed *engine.WithheldKeyError
	if errors.As(err, &keyed) {
		fmt.Fprintf(w, "  what to do: %s\n", keyed.Hint())
	}
	var gap *engine.GapError
	if errors.As(err, &gap) && gap.Hint != "" {
		fmt.Fprintf(w, "  what to do: %s\n", gap.Hint)
	}
	var changed *engine.ChangedError
	if errors.As(err, &changed) {
		fmt.Fprintf(w, "  what to do: %s\n", changed.Hint())
	}
	var unsaid *engine.UnconfirmedError
	if errors.As(err, &unsaid) {
		fmt.Fprintf(w, "  what to do: %s\n", unsaid.Hint())
	}
	var refused *engine.RequestError
	if errors.As(err, &refused) && refused.Hint != "" {
		fmt.Fprintf(w, "  what to do: %s\n", refused.Hint)
	}
}
