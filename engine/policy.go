package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"syscall"
	"time"

	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/plugins/capability"
	"github.com/leat-etl/leat/plugins/wasm"
)

// action is what the engine does about a failure.
type action int

const (
	stop     action = iota // end the pipeline: an operator has to act
	retry                  // try again after a pause, for ever
	setAside               // find the rows that cause it and keep them as failed events
)

// actionFor is the one table from a class of error to what is done about it.
// What it does not know stops the pipeline: going on could lose something.
func actionFor(err error) action {
	var source *postgres.Error
	var database *capability.Error
	var plugin *wasm.Error
	var again *postgres.RestartError
	switch {
	case errors.Is(err, postgres.ErrNeedsText), errors.As(err, &again):
		return retry // the next attempt does another thing
	case noRoom(err):
		return retry // until somebody makes room
	case errors.As(err, &database):
		return map[capability.Class]action{
			capability.Connection: retry,
			capability.Locked:     stop,
			capability.Data:       setAside,
		}[database.Class]
	case errors.As(err, &plugin):
		switch plugin.Kind {
		case wasm.KindTrap, wasm.KindFuel, wasm.KindDeadline, wasm.KindMemory, wasm.KindGuest:
			return setAside
		}
		return stop
	case errors.As(err, &source):
		if source.Class == postgres.Retry {
			return retry
		}
	}
	return stop
}

// NoRoomFix is what to do where a file of Leat's own cannot grow.
const NoRoomFix = "make room on the disk, or in the quota, that the file is on: nothing is lost, and it goes on from here"

func noRoom(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// movesOn says that err ended a run that leaves less to do, so that the next
// one needs no longer pause: rows were delivered or set aside, the destination
// has changed a table and asks for the delivery once more, or the load has to
// look at a table again while the destination keeps its other chunks. With
// pauses that grow, a source whose tables change all the time would fall behind
// for ever: each delivery would meet more changes than the one before.
func movesOn(err error) bool {
	var again *postgres.RestartError
	var advanced *advancedError
	var asked *capability.Error
	return errors.Is(err, errSetAside) || errors.As(err, &again) || errors.As(err, &advanced) ||
		errors.As(err, &asked) && asked.Own && asked.Class == capability.Connection
}

// advancedError is the failure of a run that had brought rows to the
// destination before.
type advancedError struct{ error }

// Unwrap returns the failure.
func (e *advancedError) Unwrap() error { return e.error }

// advancing calls run and marks its failure if rows of the database have
// reached the destination meanwhile.
func (p *Pipeline) advancing(database string, run func() error) error {
	before := p.counted(database).Rows
	err := run()
	if err != nil && p.counted(database).Rows > before {
		return &advancedError{err}
	}
	return err
}

// fixOf is what an operator can do about a failure, where that is known.
func fixOf(err error) string {
	var source *postgres.Error
	var database *capability.Error
	var plugin *PluginFailure
	switch {
	case noRoom(err):
		return NoRoomFix
	case errors.As(err, &plugin):
		return plugin.Hint()
	case errors.As(err, &database):
		return database.Hint
	case errors.As(err, &source):
		return source.Hint
	}
	return ""
}

// fixAttr is what a line of the log says about what to do, nothing where nothing
// is known.
func fixAttr(fix string) slog.Attr {
	if fix == "" {
		return slog.Attr{}
	}
	return slog.String("fix", fix)
}

const (
	firstPause = 250 * time.Millisecond
	lastPause  = 30 * time.Second
	knockPause = 3 * time.Second // where nobody answers: asking costs nothing, and it may be back at any moment
	calm       = time.Minute     // a run longer than this starts the pauses anew
)

// persist calls run until it succeeds, ctx ends, it fails in a way that is not
// worth retrying, or it has done nothing but fail for as long as patience, 0
// for ever. The first failure of a row of them says how long it goes on, and how
// to end it. It is the only back-off loop.
func persist(ctx context.Context, log *slog.Logger, what string, patience time.Duration, run func(context.Context) error) error {
	pause, failing, tries := firstPause, time.Now(), 0
	for said := false; ; said = true {
		tries++
		started := time.Now()
		err := run(ctx)
		if err == nil || ctx.Err() != nil || actionFor(err) != retry {
			return err
		}
		if time.Since(started) > calm || movesOn(err) {
			pause, failing, tries, said = firstPause, time.Now(), 1, false
		}
		if patience > 0 && time.Since(failing) >= patience {
			return fmt.Errorf("%s was given up after %s, as --retry-for has it, and %d attempts, of which the last failed: %w", what, patience, tries, err)
		}
		wait := pause/2 + rand.N(pause)
		log.Warn(what+" failed, trying again", "error", err, "in", wait.Round(time.Millisecond).String(), fixAttr(fixOf(err)))
		if !said {
			until := "until it succeeds or is stopped"
			if patience > 0 {
				until = "for " + patience.String()
			}
			log.Warn("waiting for what "+what+" needs", "tries", until, "to_stop", "Ctrl-C or SIGTERM: nothing is lost, the next run goes on from here; leat run --retry-for sets how long it tries")
		}
		select {
		case <-ctx.Done():
			return ctx.Err() // stopped, as asked for
		case <-time.After(wait):
		}
		pause = min(2*pause, longestPause(err))
	}
}

func longestPause(err error) time.Duration {
	var source *postgres.Error
	var database *capability.Error
	if errors.As(err, &source) && (source.Code == postgres.CodeUnreachable || source.SQLState == "57P03") || errors.As(err, &database) && database.Class == capability.Connection {
		return knockPause
	}
	return lastPause
}
