package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/spec"
	"github.com/leat-etl/leat/plugins/bundle/strict"
	"github.com/leat-etl/leat/state"
)

// The verbs of an ObjectRequest.
const (
	SkipObjects    = "skip"
	IncludeObjects = "include"
	PauseObjects   = "pause"
	ResumeObjects  = "resume"
	RestartObjects = "restart"
	SetMode        = "set-mode"
	SetPosition    = "set-position"
)

// What an operator's choice makes of an object.
const (
	skippedByChoice = "an operator skips it; its rows stay at the destination"
	pausedByChoice  = "an operator pauses it: its changes wait"
	resumesInOrder  = "leat objects resume delivers them in order"
)

// ObjectRequest is what an operator asks of some objects. It is noted in the
// state folder, where the lanes find it: those of a running pipeline at once,
// those of a stopped one when they start.
type ObjectRequest struct {
	Verb string `json:"verb"`
	// Tables are names, schema.table or database.schema.table, or patterns.
	Tables []string `json:"tables"`
	// Confirmed says that the operator agrees to ingestion that starts anew, or
	// from another place.
	Confirmed bool `json:"confirmed"`
	// Reading is what set-mode asks for, nil for what the pipeline file says.
	Reading *state.Reading `json:"reading,omitempty"`
	// Cursor is what set-position asks for.
	Cursor *SetCursor `json:"cursor,omitempty"`

	answers map[batch.TableID]error // see ask
}

// ChangeObjects does what is asked for, as soon as the running lanes get to
// it, and returns the objects as they are noted.
func (p *Pipeline) ChangeObjects(ctx context.Context, r ObjectRequest) ([]state.Object, error) {
	out, err := NoteObjects(ctx, p.store, p.Spec, r)
	if err == nil {
		for _, l := range p.lanes {
			l.reconsider()
		}
	}
	return out, err
}

// NoteObjects notes in the state folder of a pipeline that does not run what
// it is to do when it starts.
func NoteObjects(ctx context.Context, store *state.Store, s *spec.Spec, r ObjectRequest) (changed []state.Object, err error) {
	if err := r.ask(ctx, store, s); err != nil {
		return nil, err
	}
	err = store.Update(func(tx *state.Tx) error {
		objects, err := tx.Objects()
		if err != nil {
			return err
		}
		chosen, err := r.choose(s, objects)
		if err != nil {
			return err
		}
		if r.startsAnew(chosen) && !r.Confirmed {
			return &UnconfirmedError{r.Verb, tablesOf(chosen)}
		}
		for i := range chosen {
			if err := tx.ChangeObject(chosen[i].Table, func(o *state.Object) { *o = chosen[i] }); err != nil {
				return err
			}
		}
		changed = chosen
		return nil
	})
	return changed, err
}

// startsAnew says whether rows are read again that the destination has, or left
// out that it lacks.
func (r *ObjectRequest) startsAnew(chosen []state.Object) bool {
	switch r.Verb {
	case RestartObjects, SetPosition:
		return true
	case SetMode:
		return slices.ContainsFunc(chosen, func(o state.Object) bool { return o.Restart })
	}
	return false
}

// apply changes the record of one object.
func (r *ObjectRequest) apply(s *spec.Spec, o *state.Object) error {
	refuse := func(reason, hint string) error {
		return &RequestError{fmt.Sprintf("%s cannot %s: %s", o.Table, r.Verb, reason), hint}
	}
	switch {
	case !slices.Contains(Databases(s), o.Table.Database):
		return refuse("its database is not in the pipeline file", "add it to databases under [source]")
	case !selects(s, o.Table):
		return refuse("the pipeline file does not select it", "include it under [objects]: it is then loaded again")
	case o.State == state.Deleted:
		return refuse("the source has the table no more", "a table that is created under the name joins by itself, or by leat objects include if include_new_tables is off")
	case o.State == state.Inaccessible:
		return refuse(o.Reason, cmp.Or(o.Fix, "leat objects list shows the objects that can be replicated"))
	}
	switch r.Verb {
	case SkipObjects:
		o.Choice = state.Skip
		o.State, o.Reason, o.Fix = state.Skipped, skippedByChoice, "leat objects include loads it again"
	case IncludeObjects:
		if o.Choice == state.Include || o.Choice == "" && o.State != state.Skipped {
			return nil // it is one already
		}
		if o.Choice == state.Pause {
			return refuse("it is paused", "leat objects resume delivers what waits")
		}
		o.Choice, o.State, o.Reason, o.Fix = state.Include, state.Queued, "", ""
	case PauseObjects:
		if o.State == state.Skipped {
			return refuse("it is skipped", "leat objects include takes it in")
		}
		o.Choice, o.State, o.Reason, o.Fix = state.Pause, state.Paused, pausedByChoice, resumesInOrder
	case ResumeObjects:
		if pausedByPlugin(o) {
			tryPluginAgain(o)
			return nil
		}
		if o.Choice != state.Pause {
			return refuse("it is not paused", "leat objects list shows the states")
		}
		o.Choice, o.State, o.Reason, o.Fix = state.Include, state.Queued, "what has waited of it is delivered", ""
	case RestartObjects:
		switch o.Choice {
		case state.Skip:
			return refuse("it is skipped", "leat objects include loads it")
		case state.Pause:
			return refuse("it is paused", "leat objects resume first")
		}
		o.Restart, o.State, o.Reason, o.Fix = true, state.Queued, "an operator restarts its historical load", ""
	case SetMode:
		return r.reads(s, o)
	case SetPosition:
		return r.moves(s, o)
	default:
		return &RequestError{fmt.Sprintf("there is no verb %q for objects", r.Verb), "leat objects --help lists them"}
	}
	return nil
}

// choose returns the objects that the request is about, with what it makes of
// them. Each name must stand for one at least; one that a pattern found, or a
// name that is in several databases, and that cannot have what is asked for is
// left out if there are others.
func (r *ObjectRequest) choose(s *spec.Spec, objects []state.Object) (out []state.Object, err error) {
	seen := map[batch.TableID]bool{}
	var refused error
	for _, name := range r.Tables {
		found, taken := false, false
		for _, o := range objects {
			if !named(name, o.Table) {
				continue
			}
			found = true
			if seen[o.Table] {
				taken = true
				continue
			}
			seen[o.Table] = true
			if err := r.apply(s, &o); err != nil {
				refused = err
				continue
			}
			taken = true
			out = append(out, o)
		}
		if !found {
			return nil, unknownTable(name, tablesOf(objects))
		}
		if !taken && !strings.ContainsAny(name, "*?") {
			return nil, refused
		}
	}
	if len(out) == 0 {
		return nil, refused
	}
	return out, nil
}

// named says whether a table is meant by its name, from the right, or by a
// pattern schema.table.
func named(name string, t batch.TableID) bool {
	if strings.HasSuffix("."+t.String(), "."+name) {
		return true
	}
	if rest, ok := strings.CutPrefix(name, t.Database+"."); ok {
		if p, err := spec.ParsePattern(rest); err == nil && p.Match(t.Schema, t.Name) {
			return true
		}
	}
	p, err := spec.ParsePattern(name)
	return err == nil && p.Match(t.Schema, t.Name)
}

func tablesOf(objects []state.Object) []batch.TableID {
	out := make([]batch.TableID, len(objects))
	for i, o := range objects {
		out[i] = o.Table
	}
	return out
}

func unknownTable(name string, tables []batch.TableID) error {
	known := make([]string, 0, 2*len(tables))
	for _, t := range tables {
		known = append(known, t.Schema+"."+t.Name, t.String())
	}
	reason := fmt.Sprintf("table %q is not one of the pipeline's", name)
	if near := strict.Nearest(name, known); near != "" {
		reason += fmt.Sprintf(": did you mean %q?", near)
	}
	return &RequestError{reason, "leat objects list shows its tables; name one as schema.table, or several by a pattern such as public.*; which the pipeline may have stands under [objects] in its file"}
}

// RequestError says why what an operator asked for cannot be done.
type RequestError struct {
	Reason string `json:"reason"`
	Hint   string `json:"hint"`
}

// Error implements error.
func (e *RequestError) Error() string { return e.Reason }

// UnconfirmedError says that a request has rows read again that the
// destination has, which has not been agreed to.
type UnconfirmedError struct {
	Verb   string          `json:"verb"`
	Tables []batch.TableID `json:"tables"`
}

// Error implements error.
func (e *UnconfirmedError) Error() string {
	names := make([]string, len(e.Tables))
	for i, t := range e.Tables {
		names[i] = t.String()
	}
	if e.Verb == SetPosition {
		return "set-position moves the cursor of " + strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s starts the ingestion anew of %s", e.Verb, strings.Join(names, ", "))
}

// Hint is what an operator can do.
func (e *UnconfirmedError) Hint() string {
	if e.Verb == SetPosition {
		return "what lies before the value and has not been read is left out, what lies behind it comes again and doubles the rows of a table without a key: repeat with --yes if that is meant"
	}
	return "the rows at the destination are taken back as by a TRUNCATE and come again, other tables go on: repeat with --yes if that is meant"
}
