package engine

import (
	"context"
	"slices"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/engine/spec"
	"github.com/leat-etl/leat/state"
)

// What is noted of tables that were replicated, and are none of the pipeline's by
// now, so that nobody takes them for followed.

// Why a table is no longer followed. Its rows at the destination stay.
const (
	unselected = "the pipeline file does not select it any more; its rows stay at the destination"
	vanished   = "the source has no table of this name any more; its rows stay at the destination"
	elsewhere  = "its database is no longer in the pipeline file; its rows stay at the destination"
	givenUp    = "leat drop has given the pipeline up: its rows stay at the destination, and no change follows"
	halfLoaded = "leat drop has given the pipeline up before all of its rows were loaded: no more follow"
)

// noteAbsent says of the objects of a database that are not listed, those that are
// selected and there, what has become of them.
func (p *Pipeline) noteAbsent(ctx context.Context, source *postgres.Source, listed map[batch.TableID]bool, records map[batch.TableID]state.Object) error {
	var absent, selected []batch.TableID
	for id, record := range records {
		if id.Database != source.Database || listed[id] || record.State == state.Deleted || id == postgres.MessagesTable(source.Database) {
			continue
		}
		absent = append(absent, id)
		if selects(p.Spec, id) {
			selected = append(selected, id)
		}
	}
	if len(absent) == 0 {
		return nil
	}
	parts, err := source.Parts(ctx, absent)
	if err != nil {
		return err
	}
	return p.store.Update(func(tx *state.Tx) error {
		for _, id := range absent {
			part, there := parts[id]
			if err := tx.ChangeObject(id, func(o *state.Object) {
				switch waits := o.State == state.Paused; {
				case part.Why != "" && (slices.Contains(selected, id) || listed[part.Root]):
					o.State, o.Reason, o.Fix = state.Inaccessible, part.Why, ""
				case !slices.Contains(selected, id):
					if o.Choice != state.Skip {
						o.State, o.Reason, o.Fix = state.Skipped, unselected, "include it under [objects]: it is loaded again"
					}
				case !there && !waits:
					o.State, o.Reason, o.Fix = state.Deleted, vanished, ""
				}
			}); err != nil {
				return err
			}
		}
		return nil
	})
}

// selects says whether the pipeline file selects tables of a name.
func selects(s *spec.Spec, id batch.TableID) bool {
	if s.Source.Mode == spec.ModeSQL {
		return id.Name == s.Source.QueryName
	}
	return s.Objects.Selection().Match(id.Schema, id.Name)
}

// noteElsewhere says of the objects of databases that have left the pipeline file
// that nothing follows.
func (p *Pipeline) noteElsewhere() error {
	return p.store.Update(func(tx *state.Tx) error {
		objects, err := tx.Objects()
		for _, o := range objects {
			if err == nil && !slices.Contains(Databases(p.Spec), o.Table.Database) {
				err = tx.ChangeObject(o.Table, func(o *state.Object) {
					if !slices.Contains([]string{state.Skipped, state.Finished, state.Deleted}, o.State) {
						o.State, o.Reason, o.Fix = state.Skipped, elsewhere, ""
					}
				})
			}
		}
		return err
	})
}

// giveUp notes that the pipeline is given up in a database.
func giveUp(tx *state.Tx, s *spec.Spec, database string) error {
	if err := tx.PutSource(state.Source{Database: database}); err != nil {
		return err
	}
	objects, err := tx.Objects()
	for _, o := range objects {
		if err == nil && o.Table.Database == database {
			err = tx.ChangeObject(o.Table, func(o *state.Object) {
				switch o.State {
				case state.Skipped, state.Inaccessible, state.Deleted:
				case state.Queued, state.HistoricalLoad:
					o.State, o.Reason, o.Fix = state.Finished, halfLoaded, loadsAgain(s)
				default:
					o.State, o.Reason, o.Fix = state.Finished, givenUp, loadsAgain(s)
				}
			})
		}
	}
	return err
}

// loadsAgain is how a pipeline begins again that was given up.
func loadsAgain(s *spec.Spec) string {
	return "leat run " + s.Path + " --resync loads every table again beside the rows that are there; where the destination was emptied, leat run begins anew"
}
