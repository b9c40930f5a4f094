package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/engine/spec"
	"github.com/leat-etl/leat/state"
)

// How a table is read: as the pipeline file says, unless an operator has decided
// otherwise. That decision is kept in the state folder and wins over the file
// until it is taken back.

// SetCursor is the value of a cursor column from which the next run is to read.
type SetCursor struct {
	// Column may be empty where the table has one cursor.
	Column string `json:"column,omitempty"`
	Value  string `json:"value"`
}

// QueryModes are the query modes that an object may have.
var QueryModes = []string{spec.FullLoad, spec.DeltaTimestamp, spec.IncrementingAppend, spec.ChangeDataCapture, spec.QueryXmin}

// ruleWith is the rule of a table with an operator's decision, nil for none.
func ruleWith(s *spec.Spec, t batch.TableID, r *state.Reading) spec.ObjectRule {
	rule := s.Rule(t.Schema, t.Name)
	if r == nil {
		return rule
	}
	rule.QueryMode, rule.TimestampColumn, rule.IncrementingColumn = r.QueryMode, r.TimestampColumn, r.IncrementingColumn
	if rule.TimestampColumn == "" {
		rule.Delay = 0
	}
	return rule
}

// rulesOf returns the rules by which tables are read. store may be nil: then
// those of the file count.
func rulesOf(s *spec.Spec, store *state.Store) (func(batch.TableID) spec.ObjectRule, error) {
	readings := map[batch.TableID]*state.Reading{}
	if store != nil {
		objects, err := store.Objects()
		if err != nil {
			return nil, err
		}
		for _, o := range objects {
			readings[o.Table] = o.Reading
		}
	}
	return func(t batch.TableID) spec.ObjectRule { return ruleWith(s, t, readings[t]) }, nil
}

// reads notes how a table is to be read from now on. Where that begins its
// ingestion anew, Restart says so.
func (r *ObjectRequest) reads(s *spec.Spec, o *state.Object) error {
	was := ruleWith(s, o.Table, o.Reading)
	is := ruleWith(s, o.Table, r.Reading)
	if r.Reading != nil && !slices.Contains(QueryModes, r.Reading.QueryMode) {
		return &RequestError{fmt.Sprintf("there is no query mode %q", r.Reading.QueryMode), "the modes are " + strings.Join(QueryModes, ", ")}
	}
	for _, f := range s.RuleFaults(&is) {
		return &RequestError{fmt.Sprintf("%s cannot be read so: %s %s", o.Table, f.Key, f.Message), "leat objects set-mode --help tells what each mode needs"}
	}
	o.Reading, o.Position = r.Reading, nil
	query := s.Source.Query
	switch {
	case was.Identity(query) == is.Identity(query):
	case !s.Queries():
		o.Reason, o.Fix = "its next historical load reads by "+is.Identity(""), "leat objects restart loads it at once"
	case o.QueryMode != "" || o.State != state.Queued:
		o.Restart, o.State = true, state.Queued
		o.Reason, o.Fix = "an operator has it read by "+is.Identity("")+": the next run begins anew", ""
	}
	return r.heed(o)
}

// moves notes from which value of its cursor a table is to be read.
func (r *ObjectRequest) moves(s *spec.Spec, o *state.Object) error {
	refuse := func(reason, hint string) error {
		return &RequestError{fmt.Sprintf("%s cannot %s: %s", o.Table, r.Verb, reason), hint}
	}
	const restart = "leat objects restart reads the table from the beginning"
	if !s.Queries() {
		return refuse("it follows the log, whose position is one for all tables: moving it for one would lose changes of it or bring them twice", "leat objects restart loads the table again")
	}
	rule := ruleWith(s, o.Table, o.Reading)
	var columns []string
	for _, c := range []string{rule.IncrementingColumn, rule.TimestampColumn} {
		if c != "" {
			columns = append(columns, c)
		}
	}
	at := r.Cursor
	switch {
	case at == nil || at.Value == "":
		return refuse("no value is given", "name the value of the cursor column from which the next run is to read")
	case len(columns) == 0:
		return refuse(fmt.Sprintf("query_mode %q has no cursor", rule.QueryMode), restart)
	case at.Column == "" && len(columns) > 1:
		return refuse("it has two cursors", "say which with --column: "+strings.Join(columns, " or "))
	case at.Column != "" && !slices.Contains(columns, at.Column):
		return refuse(fmt.Sprintf("%q is not its cursor", at.Column), "its cursor is "+strings.Join(columns, " and "))
	}
	column := at.Column
	if column == "" {
		column = columns[0]
	}
	position := map[string]string{column: at.Value}
	for c, v := range o.Position {
		if c != column {
			position[c] = v
		}
	}
	o.Position, o.State = position, state.Queued
	o.Reason, o.Fix = fmt.Sprintf("the next run reads from %s = %s on", column, at.Value), ""
	return r.heed(o)
}

// ask has the source say of each table whether it can be read as is asked for. A
// table of a source that does not answer is noted all the same: its next run finds
// out, and leaves the table out if it must.
func (r *ObjectRequest) ask(ctx context.Context, store *state.Store, s *spec.Spec) error {
	if r.Reading == nil && r.Cursor == nil {
		return nil
	}
	objects, err := store.Objects()
	if err != nil {
		return err
	}
	chosen, err := r.choose(s, objects)
	if err != nil {
		return err
	}
	r.answers = map[batch.TableID]error{}
	cfg, err := SourceConfig(s)
	for _, database := range Databases(s) {
		tables := map[batch.TableID]state.Object{}
		for _, o := range chosen {
			if o.Table.Database == database {
				tables[o.Table] = o
			}
		}
		if len(tables) == 0 {
			continue
		}
		silent := err
		if silent == nil {
			silent = withSource(ctx, cfg, database, func(source *postgres.Source) error { return r.askSource(ctx, s, source, tables) })
		}
		if silent != nil {
			for t := range tables {
				r.answers[t] = silent
			}
		}
	}
	return ctx.Err()
}

// askSource asks about tables of one database.
func (r *ObjectRequest) askSource(ctx context.Context, s *spec.Spec, source *postgres.Source, tables map[batch.TableID]state.Object) error {
	ruleOf := func(t batch.TableID) spec.ObjectRule { return ruleWith(s, t, tables[t].Reading) }
	found, failed, err := readable(ctx, s, source, ruleOf)
	if err != nil {
		return err
	}
	for _, f := range failed {
		r.answers[f.table] = f.err
	}
	for _, q := range found {
		if _, asked := tables[q.ID()]; !asked || r.Cursor == nil {
			continue
		}
		cursors, err := cursorsOf(source, q, ruleOf(q.ID()))
		if err != nil {
			return err
		}
		for _, c := range cursors {
			if r.Cursor.Column != "" && r.Cursor.Column != c.Column {
				continue
			}
			if _, err := source.CursorValue(ctx, c, r.Cursor.Value); err != nil {
				r.answers[q.ID()] = err
			}
		}
	}
	return nil
}

// readable are the tables of a database that can be read by the columns that their
// rules name. What is wrong with the others comes back beside the error.
func readable(ctx context.Context, s *spec.Spec, source *postgres.Source, ruleOf func(batch.TableID) spec.ObjectRule) (out []*postgres.Queryable, failed []*objectError, err error) {
	if s.Queries() {
		source.ByQuery = true
		out, _, failed, err = queryables(ctx, s, source, ruleOf)
		return out, failed, err
	}
	tables, err := source.Tables(ctx, selection(s))
	if err != nil {
		return nil, nil, err
	}
	for _, t := range tables {
		q, err := t.Queryable(false, nil)
		if err == nil {
			_, err = cursorsOf(source, q, ruleOf(t.ID()))
		}
		if err != nil {
			failed = append(failed, &objectError{t.ID(), err})
			continue
		}
		out = append(out, q)
	}
	return out, failed, nil
}

// heed refuses what the source has refused, and says of an object that the source
// could not be asked.
func (r *ObjectRequest) heed(o *state.Object) error {
	err := r.answers[o.Table]
	var said *postgres.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &said) && said.Class == postgres.Object:
		return &RequestError{fmt.Sprintf("%s cannot be read so: %s", o.Table, causeOf(err)), said.Hint}
	}
	o.Reason = strings.TrimPrefix(fmt.Sprintf("%s; the source could not be asked whether it can be read so: %v", o.Reason, err), "; ")
	return nil
}
