package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/engine/spec"
	"github.com/leat-etl/leat/state"
)

// Columns that are added to a table can be withheld: they enter no plugin and
// no destination until a rule of the pipeline file claims them. Which are new
// is told by their numbers in pg_attribute, which only grow: those beyond the
// last that the destination was given when the table first came (the baseline
// of its shape). The log is decoded with all columns, and numbered so; what is
// withheld is left out before a batch meets anything else.

// withholds says whether a column of a table is kept back. baseline 0 is that
// of a table whose columns are all known.
func withholds(s *spec.Spec, t batch.TableID, c *batch.Column, baseline int) bool {
	if baseline == 0 || c.ID <= baseline || policyOf(&s.SchemaChanges, columnAdded) != withhold {
		return false
	}
	rule := s.Rule(t.Schema, t.Name)
	return !rule.Claims(c.Name)
}

// withhold is the policy for new columns that does so.
const withhold = "withhold"

// WithheldKeyError says that a column identifies rows and so cannot be
// withheld.
type WithheldKeyError struct {
	Table  batch.TableID
	Column string
}

// Error implements error.
func (e *WithheldKeyError) Error() string {
	return fmt.Sprintf("column %s of %s is withheld, but identifies rows now", e.Column, e.Table)
}

// Hint is what an operator can do.
func (e *WithheldKeyError) Hint() string {
	return fmt.Sprintf("claim it: [objects.%q] claim = [%q]; or change the key back", e.Table.Schema+"."+e.Table.Name, e.Column)
}

// projection is a schema without what is withheld.
type projection struct {
	schema   *batch.Schema
	columns  []int // of the full schema
	withheld []string
}

// project leaves out what is withheld. Without that it is the schema itself.
func project(spec *spec.Spec, s *batch.Schema, baseline int) (projection, error) {
	var p projection
	for i := range s.Columns {
		c := &s.Columns[i]
		if !withholds(spec, s.Table, c, baseline) {
			p.columns = append(p.columns, i)
			continue
		}
		if c.Key > 0 {
			return p, &WithheldKeyError{s.Table, c.Name}
		}
		p.withheld = append(p.withheld, c.Name)
	}
	p.schema = s
	if len(p.withheld) > 0 {
		p.schema = &batch.Schema{Table: s.Table, OID: s.OID, Version: s.Version}
		for _, i := range p.columns {
			p.schema.Columns = append(p.schema.Columns, s.Columns[i])
		}
	}
	return p, nil
}

// lastColumn is the highest number of a schema's columns.
func lastColumn(s *batch.Schema) int {
	last := 0
	for _, c := range s.Columns {
		last = max(last, c.ID)
	}
	return last
}

// visible has the projections of a session, so that the batches of one version
// share a schema. It is safe for concurrent use.
type visible struct {
	mu        sync.Mutex
	byVersion map[[2]uint64]projection
}

// reset forgets them: a session begins.
func (v *visible) reset() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.byVersion = map[[2]uint64]projection{}
}

// visibleOf returns the projection of a numbered schema. What it withholds is
// said once.
func (l *lane) visibleOf(s *batch.Schema) (projection, error) {
	if policyOf(&l.p.Spec.SchemaChanges, columnAdded) != withhold {
		return projection{schema: s}, nil
	}
	l.visible.mu.Lock()
	defer l.visible.mu.Unlock()
	key := [2]uint64{uint64(s.OID), s.Version}
	if known, ok := l.visible.byVersion[key]; ok {
		return known, nil
	}
	noted, _ := l.shapes.get(s.OID)
	p, err := project(l.p.Spec, s, noted.Baseline)
	if err != nil {
		return p, err
	}
	if len(p.withheld) > 0 {
		l.log.Warn("new columns are withheld until a rule claims them", "table", s.Table.String(), "columns", strings.Join(p.withheld, ", "))
	}
	l.visible.byVersion[key] = p
	return p, nil
}

// withhold leaves out of a batch what is withheld. It takes over the reference.
func (l *lane) withhold(b *batch.Batch) (*batch.Batch, error) {
	p, err := l.visibleOf(b.Schema)
	if err != nil || len(p.withheld) == 0 {
		return b, err
	}
	return batch.Project(b, p.schema, p.columns), nil
}

// showVisible leaves out of a table what is withheld, says so, and lets the
// table be loaded again if something is not any more: the rows that are at the
// destination lack it.
func (l *lane) showVisible(ctx context.Context, t *postgres.Table) error {
	if noted, ok := l.shapes.get(t.OID); ok && noted.Baseline == 0 { // of an older release
		before, err := l.previous(t.OID)
		if err != nil {
			return err
		}
		if before != nil && len(before.Columns) > 0 {
			l.shapes.update(t.OID, func(s *shape) { s.Baseline = lastColumn(before) })
		}
	}
	p, err := l.visibleOf(t.Schema)
	if err != nil {
		return err
	}
	if err := l.reloadClaimed(ctx, t); err != nil {
		return err
	}
	t.Schema = p.schema
	return nil
}

// reloadClaimed looks for columns that the log has brought while they were
// withheld.
func (l *lane) reloadClaimed(ctx context.Context, t *postgres.Table) error {
	noted, ok := l.shapes.get(t.OID)
	if !ok {
		return nil
	}
	before, err := l.previous(t.OID)
	if err != nil || before == nil {
		return err
	}
	shown := l.shown(before, noted.Baseline)
	given := strings.Split(noted.Claimed, ",")
	for _, id := range strings.Split(shown, ",") {
		if id == "" || slices.Contains(given, id) {
			continue
		}
		system, err := l.source.System(ctx)
		if err != nil {
			return err
		}
		l.shapes.update(t.OID, func(s *shape) {
			s.Due, s.Why, s.Claimed = max(s.Due, system.LSN), "a column that was withheld is claimed", shown
		})
		return nil
	}
	l.shapes.update(t.OID, func(s *shape) { s.Claimed = shown })
	return nil
}

// shown are the numbers of the columns beyond the baseline that are not
// withheld.
func (l *lane) shown(s *batch.Schema, baseline int) string {
	var out []string
	for i := range s.Columns {
		if c := &s.Columns[i]; baseline > 0 && c.ID > baseline && !withholds(l.p.Spec, s.Table, c, baseline) {
			out = append(out, strconv.Itoa(c.ID))
		}
	}
	return strings.Join(out, ",")
}

// given notes in a shape what a delivery brings the destination.
func (l *lane) given(noted *shape, s *batch.Schema) {
	switch {
	case noted.Baseline == 0, policyOf(&l.p.Spec.SchemaChanges, columnAdded) != withhold:
		noted.Baseline, noted.Claimed = max(noted.Baseline, lastColumn(s)), ""
	default:
		noted.Claimed = l.shown(s, noted.Baseline)
	}
}

// noteWithheld lets leat objects list name what is withheld of a table as the
// catalogue has it.
func (l *lane) noteWithheld(t *postgres.Table, baseline int) error {
	p, err := project(l.p.Spec, t.Schema, baseline)
	var keyed *WithheldKeyError
	if errors.As(err, &keyed) { // the log tells when
		return nil
	}
	_, err = l.p.store.Object(t.ID())
	if errors.Is(err, state.ErrNotFound) { // not loaded yet
		return nil
	}
	if err != nil {
		return err
	}
	return l.p.store.ChangeObject(t.ID(), func(o *state.Object) { o.Withheld = p.withheld })
}

// claimedLate names a column that the destination is given from now on
// although the log has brought it before: it was withheld under another name.
func (l *lane) claimedLate(before, after *batch.Schema) (string, error) {
	if policyOf(&l.p.Spec.SchemaChanges, columnAdded) != withhold {
		return "", nil
	}
	full, err := l.p.store.Schema(before.Table, before.Version)
	if errors.Is(err, state.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	for i := range after.Columns {
		c := &after.Columns[i]
		if counterpart(before, c) < 0 && full.ColumnID(c.ID) >= 0 {
			return c.Name, nil
		}
	}
	return "", nil
}

// shapeNow is the shape of a table that is loaded as it is now.
func (l *lane) shapeNow(t *postgres.Table) shape {
	now := l.shapeOf(t)
	if noted, ok := l.shapes.get(t.OID); ok {
		now.Baseline, now.Claimed = noted.Baseline, noted.Claimed
	}
	l.given(&now, t.Schema)
	return now
}

// showVisible gives the tables of a database, for whoever reads them beside its
// lane, the versions that they would have in the log, and leaves out of them
// what the pipeline withholds. It returns the names.
func (p *Pipeline) showVisible(ctx context.Context, database string, tables []*postgres.Table) (map[batch.TableID][]string, error) {
	out := map[batch.TableID][]string{}
	withholds := policyOf(&p.Spec.SchemaChanges, columnAdded) == withhold
	known, _, err := p.knownShapes(ctx, database)
	if err != nil {
		return nil, err
	}
	for _, t := range tables {
		noted, _ := known.get(t.OID)
		if t.Schema.Version, _, err = p.store.SchemaVersion(t.Schema, noted.Version); err != nil {
			return nil, err
		}
		if !withholds {
			continue
		}
		visible, err := project(p.Spec, t.Schema, noted.Baseline)
		if err != nil {
			return nil, err
		}
		t.Schema, out[t.ID()] = visible.schema, visible.withheld
	}
	return out, nil
}

// knownShapes reads what the destination has of the tables of a database, and
// the whole checkpoint.
func (p *Pipeline) knownShapes(ctx context.Context, database string) (*shapes, *checkpointEntries, error) {
	known, stored := new(shapes), new(checkpointEntries)
	if err := stored.read(ctx, p.applier); err != nil {
		return nil, nil, err
	}
	return known, stored, known.read(stored, database)
}
