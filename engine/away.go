package engine

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/state"
)

// awayError is the failure of one of several databases that takes no connection,
// was dropped, or may not be connected to, although it was there before: it is tried
// again, and the others go on.
type awayError struct{ err *postgres.Error }

// Error implements error.
func (e *awayError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *awayError) Unwrap() error { return e.err }

// noConnection is the answer of a server that has no such database, or lets nobody
// in there; nil if err is something else.
func noConnection(err error) *postgres.Error {
	var refused *postgres.Error
	if errors.As(err, &refused) && refused.Code == postgres.CodeNoDatabase {
		return refused
	}
	return nil
}

// away makes an awayError of one. A database that never was there is more likely
// mistyped, which ends the run.
func (p *Pipeline) away(database string, err error) error {
	refused := noConnection(err)
	if len(p.lanes) == 1 || refused == nil {
		return err
	}
	objects, storeErr := p.store.Objects()
	if storeErr != nil || !slices.ContainsFunc(objects, func(o state.Object) bool { return o.Table.Database == database }) {
		return errors.Join(err, storeErr)
	}
	away := *refused
	away.Class = postgres.Retry
	away.Hint = strings.TrimPrefix(fmt.Sprintf("%s\n-- or take %q out of databases in %s: its rows stay at the destination", away.Hint, database, p.Spec.Path), "\n")
	return &awayError{&away}
}
