package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/plugins/wasm"
	"github.com/leat-etl/leat/state"
)

// A target may change so that the rows which are there do not become what they
// would be if they were written to it as it is now: in a column that becomes text,
// values stand as its type before wrote them. These are the rows of every source
// that is merged into the target, and the others have not changed.

// reshape notes, before a target is changed for s, that its rows are to be loaded
// again if the change alone does not do. That they are waits for the end of the
// delivery, which holds the destination.
func (d *delivery) reshape(ctx context.Context, s *batch.Schema, plan *wasm.DestinationPlan) error {
	if plan.Reload == "" || d.reshaped[plan.Table] != nil {
		return nil
	}
	d.reshaped[plan.Table] = s
	return d.loadAgain(d.chain.sharers(ctx, s.Table, plan.Table), plan.Reload)
}

// loadAgain notes that the rows of tables which are at the destination are to be
// loaded once more, where that is not noted yet.
func (p *Pipeline) loadAgain(tables []batch.TableID, why string) error {
	for _, t := range tables {
		lane, logged := p.lanes[slices.Index(Databases(p.Spec), t.Database)].(*lane)
		o, err := p.store.Object(t)
		switch {
		case errors.Is(err, state.ErrNotFound):
			continue
		case err != nil:
			return err
		case o.State == state.Skipped || o.State == state.Deleted || o.State == state.Inaccessible,
			(o.State == state.Queued || o.State == state.HistoricalLoad) && o.RowsLoaded == 0: // none is there
			continue
		case !logged:
			p.log.Warn("a target has changed, and rows that are there stay as they were", "table", t.String(), "reason", why, fixAttr(fmt.Sprintf("leat objects restart %s %s.%s reads them again", p.Spec.Path, t.Schema, t.Name)))
			continue
		}
		if noted, ok := lane.shapes.get(o.OID); ok && noted.Due != 0 {
			continue
		}
		if err := p.store.ChangeObject(t, func(o *state.Object) { o.Again = why }); err != nil {
			return err
		}
		lane.reconsider()
	}
	return nil
}

// settleReshaped runs the lanes of a run that has caught up once more where rows
// are to be loaded again for a change that another lane made after theirs had
// ended.
func (p *Pipeline) settleReshaped(ctx context.Context, o RunOptions) error {
	var before []batch.TableID
	for {
		objects, err := p.store.Objects()
		if err != nil {
			return err
		}
		left := tablesOf(slices.DeleteFunc(objects, func(o state.Object) bool { return o.Again == "" }))
		if len(left) == 0 || slices.Equal(left, before) { // those that are left cannot be loaded now
			return nil
		}
		before = left
		if err := p.replicate(ctx, o); err != nil {
			return err
		}
	}
}
