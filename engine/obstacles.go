package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/engine/spec"
	"github.com/leat-etl/leat/state"
)

// markObstacles gives tables a Reason that the role cannot publish or, where
// load says that it has to, read.
func markObstacles(ctx context.Context, s *spec.Spec, source *postgres.Source, tables []*postgres.Table, load func(*postgres.Table) bool) error {
	_, publication := names(s, source.Database)
	obstacles, err := source.Obstacles(ctx, publication, tables, load)
	if err != nil {
		return err
	}
	for _, t := range tables {
		if o, ok := obstacles[t.OID]; ok {
			t.Reason, t.Fix = o.Reason, o.Fix
		}
	}
	return nil
}

// listTables returns the tables that are selected. One that the role cannot
// replicate waits alone, with its Reason: the log passes without its changes,
// so that it is loaded again if it was here before.
func (l *lane) listTables(ctx context.Context) ([]*postgres.Table, error) {
	all, err := l.source.Tables(ctx, selection(l.p.Spec))
	if err != nil {
		return nil, err
	}
	err = markObstacles(ctx, l.p.Spec, l.source, all, func(t *postgres.Table) bool {
		return l.p.Spec.Source.LoadHistoricalData && l.stored.known() && l.stored.get(loadKey(t.ID())) == ""
	})
	if err == nil {
		err = l.markLocked(ctx, all)
	}
	if err != nil {
		return nil, err
	}
	for _, t := range all {
		if t.Reason != "" {
			l.shapes.update(t.OID, func(s *shape) { s.Left, s.Due = true, 0 })
		}
	}
	return all, nil
}

// leaveLocked ends the session if tables could not be published because somebody
// has locked them: the next one goes on without them until that is over. A run that
// is to end with everything waits for them.
func (l *lane) leaveLocked(ctx context.Context, tables []*postgres.Table) error {
	if len(l.publication.Locked) == 0 {
		return nil
	}
	for _, t := range tables {
		o, ok := l.publication.Locked[t.OID]
		if !ok {
			continue
		}
		if l.untilCaughtUp {
			l.log.Warn("waiting for a table that is to be published", "table", t.ID().String(), "reason", o.Reason, fixAttr(o.Fix))
		}
		if err := l.p.store.ChangeObject(t.ID(), func(r *state.Object) { r.OID = t.OID }); err != nil { // it is no new one when it comes back
			return err
		}
	}
	if l.untilCaughtUp {
		_, publication := names(l.p.Spec, l.database)
		_, err := l.source.EnsurePublication(ctx, publication, tables, 0)
		return err
	}
	l.locked = l.publication.Locked
	return errAnew
}

// markLocked gives tables a Reason that could not be published and are still locked.
func (l *lane) markLocked(ctx context.Context, tables []*postgres.Table) (err error) {
	if len(l.locked) == 0 {
		return nil
	}
	if l.locked, err = l.source.Locks(ctx, slices.Collect(maps.Keys(l.locked))); err != nil {
		return err
	}
	for _, t := range tables {
		if o, ok := l.locked[t.OID]; ok && t.Reason == "" {
			t.Reason, t.Fix = o.Reason, o.Fix
		}
	}
	return nil
}

// obstacleOf is why a table cannot be replicated and what mends it, empty if it
// can.
func obstacleOf(t *postgres.Table) string {
	if t.Fix == "" {
		return t.Reason
	}
	return t.Reason + ": " + t.Fix
}

// refusals are why tables that are selected cannot be replicated, by OID, for as
// long as the process lives.
type refusals struct {
	said map[uint32]string
	none *refusedError // no selected table can be, nil if one can
}

// sayRefused says why tables cannot be replicated, once each, in the middle of a
// session too.
func (l *lane) sayRefused(all []*postgres.Table) {
	before := l.refused
	l.refused = refusals{said: map[uint32]string{}}
	var refused []*postgres.Table
	for _, t := range all {
		if t.Reason == "" {
			continue
		}
		refused = append(refused, t)
		l.refused.said[t.OID] = t.Reason
		if before.said[t.OID] != t.Reason {
			l.log.Warn("table is not replicated", "table", t.ID().String(), "reason", t.Reason, fixAttr(t.Fix))
		}
	}
	if len(refused) == 0 || len(refused) < len(all) {
		return
	}
	l.refused.none = refusedBy(refused)
	if before.none == nil && !l.untilCaughtUp {
		l.log.Error("no selected table can be replicated: the pipeline waits until one can", fixAttr(l.refused.none.err.Hint))
	}
}

// awaitRights is the session of a lane that has not begun and of whose tables none
// may be replicated: it makes nothing at the source. A slot would keep log for
// nobody, and statements that leat check has printed for an administrator to make
// the publications would fail.
func (l *lane) awaitRights(ctx context.Context) error {
	if l.untilCaughtUp {
		fix, err := l.publicationFix(ctx, PublicationName(l.p.Spec, l.database))
		if err != nil {
			return err
		}
		l.refused.none.add(fix)
		return l.refused.none
	}
	l.mu.Lock()
	l.waits = true
	l.mu.Unlock()
	l.progress(func(d *DatabaseProgress) { d.enter("waiting for rights") })
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(l.p.Spec.Source.Heartbeat):
		return errAnew
	}
}

// refusedError says that a run of a database has come to its end without any of
// its tables.
type refusedError struct{ err *postgres.Error }

// Error implements error.
func (e *refusedError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *refusedError) Unwrap() error { return e.err }

// add puts further statements to what would mend it, each line once.
func (e *refusedError) add(fix []string) {
	lines := strings.Split(e.err.Hint, "\n")
	for _, line := range fix {
		if !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	e.err.Hint = strings.Join(lines, "\n")
}

// shownRefusals bounds how many of the tables that a refusedError is about it
// names.
const shownRefusals = 10

func refusedBy(tables []*postgres.Table) *refusedError {
	var said, fixes []string
	for _, t := range tables[:min(len(tables), shownRefusals)] {
		said = append(said, fmt.Sprintf("%s: %s", t.ID(), t.Reason))
		for fix := range strings.SplitSeq(t.Fix, "\n") {
			if fix != "" && !slices.Contains(fixes, fix) {
				fixes = append(fixes, fix)
			}
		}
	}
	if len(tables) > shownRefusals {
		said = append(said, fmt.Sprintf("and %d more: leat objects list shows them", len(tables)-shownRefusals))
	}
	return &refusedError{&postgres.Error{Op: "replicate", Code: postgres.CodePrerequisite, Class: postgres.Stop,
		Err: fmt.Errorf("none of the selected tables can be: %s", strings.Join(said, "; ")), Hint: strings.Join(fixes, "\n")}}
}

// refusal is that error, nil where the run had something to do.
func (l *lane) refusal() error {
	if l.refused.none == nil {
		return nil
	}
	return l.refused.none
}

// sparesRest says whether an error is one of single objects, or of those of one
// database: the others go on, and so does what comes later.
func sparesRest(err error) bool {
	var one *objectError
	var none *refusedError
	return errors.As(err, &one) || errors.As(err, &none)
}

// explainPublication gives a publication that the role may not make or alter the
// statements for all selected tables: those that it may not read yet, too.
func (l *lane) explainPublication(ctx context.Context, name string, err error) error {
	var refused *postgres.Error
	if !errors.As(err, &refused) || refused.SQLState != "42501" {
		return err
	}
	fix, fixErr := l.publicationFix(ctx, name)
	if len(fix) > 0 {
		refused.Hint = strings.Join(fix, "\n")
	}
	return errors.Join(err, fixErr)
}

// publicationFix is what has all selected tables published, nothing where the role
// may do that.
func (l *lane) publicationFix(ctx context.Context, name string) ([]string, error) {
	all, err := l.source.Tables(ctx, selection(l.p.Spec))
	if err != nil {
		return nil, err
	}
	return l.source.PublicationFix(ctx, name, all)
}

// onlyTheirs notes which tables the log is followed for where the publication
// belongs to another role and may hold more.
func (l *lane) onlyTheirs(tables []*postgres.Table) {
	l.followed = nil
	if l.publication == nil || !l.publication.Foreign {
		return
	}
	l.followed = map[uint32]bool{}
	for _, t := range tables {
		l.followed[t.OID] = true
	}
}

// passes says whether changes of a relation are none of the pipeline's, or of a
// table that is to be loaded again from its first row.
func (l *lane) passes(s *batch.Schema) bool {
	noted, _ := l.shapes.get(s.OID)
	return noted.Left || l.followed != nil && !l.followed[s.OID]
}

// known says whether the destination was asked.
func (c *checkpointEntries) known() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.entries != nil
}

// PublicationName is the name of the publication that a pipeline keeps in a
// database.
func PublicationName(s *spec.Spec, database string) string {
	_, publication := names(s, database)
	return publication
}
