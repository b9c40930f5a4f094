package engine

import (
	"fmt"
	"slices"
	"strings"

	"github.com/leat-etl/leat/engine/batch"
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
	return nil
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
	return nil
}
