package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/engine/spec"
	"github.com/leat-etl/leat/state"
)

// A pipeline file that selects nothing any more is most likely mistyped: all tables
// would leave the publications and have to be loaded again. So a run asks first.

// refuseDeselection says that the pipeline file selects no table of the database,
// where it did and the run may not take all of them out. all are those that are
// selected and there.
func (l *lane) refuseDeselection(ctx context.Context, all []*postgres.Table) error {
	if len(all) > 0 || l.mayDeselect {
		return nil
	}
	var followed []batch.TableID
	noted := l.shapes.all()
	for _, one := range noted {
		if !one.Left && !one.Dropped && one.Table != postgres.MessagesTable(l.database) {
			followed = append(followed, one.Table)
		}
	}
	if len(noted) == 0 { // the destination has nothing, or does not answer: see mayRelay
		objects, err := l.p.store.Objects()
		if err != nil {
			return err
		}
		followed = followedOf(objects, l.database)
	}
	names, err := l.source.Names(ctx)
	if err != nil {
		return err
	}
	if refused := deselected(l.p.Spec, l.database, followed, names); refused != nil {
		return refused
	}
	if len(followed) == 0 {
		l.nothing.say(l.log)
	}
	return nil
}

// nothingSelected says once that no table is.
type nothingSelected struct{ said bool }

func (n *nothingSelected) say(log *slog.Logger) {
	if !n.said {
		n.said = true
		log.Warn("no table is selected: nothing is replicated until the pipeline file names one that is there", "fix", "correct include and exclude under [objects]")
	}
}

// followedOf are the objects of a database that are replicated, or about to be.
func followedOf(objects []state.Object, database string) (out []batch.TableID) {
	for _, o := range objects {
		if o.Table.Database == database && slices.Contains([]string{state.Queued, state.HistoricalLoad, state.HistoricalLoadFinished, state.Streaming, state.Paused}, o.State) {
			out = append(out, o.Table)
		}
	}
	return out
}

// deselected is why a run refuses to take all tables of a database out, nil where
// it does not: the file selects none of its names, and followed ones before.
func deselected(s *spec.Spec, database string, followed, names []batch.TableID) *RequestError {
	followed = slices.DeleteFunc(followed, func(id batch.TableID) bool { return selects(s, id) })
	if len(followed) == 0 || slices.ContainsFunc(names, func(id batch.TableID) bool { return selects(s, id) }) {
		return nil
	}
	slices.SortFunc(followed, func(a, b batch.TableID) int { return strings.Compare(a.String(), b.String()) })
	var shown []string
	for _, id := range followed[:min(len(followed), shownRefusals)] {
		shown = append(shown, id.Schema+"."+id.Name)
	}
	if more := len(followed) - len(shown); more > 0 {
		shown = append(shown, fmt.Sprintf("%d more", more))
	}
	hint := "correct include and exclude under [objects]"
	for _, idle := range idlePatterns(s, names) {
		if strings.HasPrefix(idle.Key, "objects.") {
			hint += "; " + idle.String()
		}
	}
	return &RequestError{fmt.Sprintf("the pipeline file selects no table of database %s any more, of which it has replicated %s: each would be loaded again when it comes back", database, strings.Join(shown, ", ")),
		hint + ". If all of them are to be taken out: leat run --deselect-all; their rows stay at the destination"}
}

// Deselected looks for databases of which a run would take out every table, as far
// as the state folder of a pipeline that does not run tells.
func Deselected(ctx context.Context, s *spec.Spec, stateDir string) (out []*RequestError, err error) {
	if s.Queries() {
		return nil, nil // they keep their cursors
	}
	_, objects, err := noted(s, stateDir)
	var running *state.LockedError
	if errors.As(err, &running) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	err = eachSource(ctx, s, func(source *postgres.Source) error {
		names, err := source.Names(ctx)
		if err != nil {
			return err
		}
		if refused := deselected(s, source.Database, followedOf(objects, source.Database), names); refused != nil {
			out = append(out, refused)
		}
		return nil
	})
	return out, err
}
