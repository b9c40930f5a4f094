package engine_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
	"github.com/leat-etl/leat/state"
)

// quiet makes a source in which nobody else has a transaction open: rows that
// such a one might have written are looked at again.
func quiet(t *testing.T, statements ...string) *polled {
	t.Helper()
	return polledOn(t, pgserver.Test(t, pgserver.Options{Settings: map[string]string{"autovacuum": "off"}}), statements...)
}

// asks asks something of an object that has to be agreed to, and says what
// comes of it.
func (p *polled) asks(r engine.ObjectRequest) state.Object {
	p.t.Helper()
	var unsaid *engine.UnconfirmedError
	if _, err := p.ChangeObjects(p.t.Context(), r); !errors.As(err, &unsaid) || unsaid.Hint() == "" {
		p.t.Errorf("%s without consent: %v", r.Verb, err)
	}
	r.Confirmed = true
	changed, err := p.ChangeObjects(p.t.Context(), r)
	if err != nil || len(changed) != 1 {
		p.t.Fatalf("%s: %v, %v", r.Verb, changed, err)
	}
	return changed[0]
}

// refuses expects that something cannot be done, for a reason and with a hint
// that have these words.
func (p *polled) refuses(r engine.ObjectRequest, reason, hint string) {
	p.t.Helper()
	r.Confirmed = true
	var refusal *engine.RequestError
	if _, err := p.ChangeObjects(p.t.Context(), r); !errors.As(err, &refusal) || !strings.Contains(refusal.Reason, reason) || !strings.Contains(refusal.Hint, hint) {
		p.t.Errorf("%s: %+v, want %q and %q", r.Verb, err, reason, hint)
	}
}

// TestSetMode has a table read otherwise than the pipeline file says, until that
// is taken back.
func TestSetMode(t *testing.T) {
	p := quiet(t, `CREATE TABLE a (id int PRIMARY KEY, v text)`, `INSERT INTO a VALUES (1, 'x'), (2, 'x')`).open(tableMode, fullLoad)
	p.mustRun()
	if o := p.object("a"); o.State != state.Finished { // a run that nothing follows has read all of it
		t.Errorf("after a full load: %+v", o)
	}
	mode := func(r *state.Reading) engine.ObjectRequest {
		return engine.ObjectRequest{Verb: engine.SetMode, Tables: []string{"public.a"}, Reading: r}
	}
	p.refuses(mode(&state.Reading{QueryMode: "incrementing_append_only"}), "incrementing_column is missing", "set-mode --help")
	p.refuses(mode(&state.Reading{QueryMode: "xmin", TimestampColumn: "v"}), "timestamp_column has no meaning", "set-mode --help")
	p.refuses(mode(&state.Reading{QueryMode: "sometimes"}), "no query mode", "full_load")
	before := p.object("a")
	p.refuses(mode(&state.Reading{QueryMode: "incrementing_append_only", IncrementingColumn: "ID"}), `column "ID", which does not exist`, "Its columns are id, v")
	p.refuses(mode(&state.Reading{QueryMode: "delta_timestamp", TimestampColumn: "v"}), "want a timestamp or a date", "of such a type")
	if o := p.object("a"); !reflect.DeepEqual(o, before) {
		t.Errorf("the object becomes %+v, was %+v", o, before)
	}
	byID := &state.Reading{QueryMode: "incrementing_append_only", IncrementingColumn: "id"}
	if o := p.asks(mode(byID)); !o.Restart || o.State != state.Queued || !strings.Contains(o.Reason, "incrementing_column=id") {
		t.Errorf("the object becomes %+v", o)
	}
	p.exec(`DELETE FROM a WHERE id = 1`)
	p.mustRun()
	p.expect("2x") // read from the beginning
	if o := p.object("a"); o.State != state.Active || o.QueryMode != "incrementing_append_only incrementing_column=id" || o.Restart {
		t.Errorf("the object %+v", o)
	}
	p.exec(`INSERT INTO a VALUES (3, 'new')`)
	p.mustRun()
	p.exec(`UPDATE a SET v = 'unseen' WHERE id = 2`, `INSERT INTO a VALUES (4, 'newer')`)
	p.open(tableMode, fullLoad) // the decision outlives the process
	p.mustRun()
	p.expect("2x 3new 4newer")
	if planned, err := p.Plan(t.Context()); err != nil || !planned[0].Decided || planned[0].QueryMode != "incrementing_append_only incrementing_column=id" || planned[0].RestartFrom != "" {
		t.Errorf("plan: %+v, %v", planned, err)
	}
	p.verify()
	if o := p.asks(mode(nil)); o.Reading != nil || !o.Restart {
		t.Errorf("the object becomes %+v", o)
	}
	p.mustRun()
	p.expect("2unseen 3new 4newer")
	p.verify()
}

// TestSetModeOfALoad decides in which order a table is loaded that follows the
// log.
func TestSetModeOfALoad(t *testing.T) {
	p := quiet(t, `CREATE TABLE a (id int PRIMARY KEY, v text)`, `INSERT INTO a SELECT n, 'x' FROM generate_series(1, 2000) n`).open("", "")
	p.mustRun()
	p.refuses(engine.ObjectRequest{Verb: engine.SetMode, Tables: []string{"a"}, Reading: &state.Reading{QueryMode: "incrementing_append_only", IncrementingColumn: "n"}}, "does not exist", "id, v")
	changed, err := p.ChangeObjects(t.Context(), engine.ObjectRequest{Verb: engine.SetMode, Tables: []string{"a"}, Reading: &state.Reading{QueryMode: "incrementing_append_only", IncrementingColumn: "id"}})
	if err != nil || changed[0].Restart || !strings.Contains(changed[0].Fix, "restart") {
		t.Fatalf("%+v, %v", changed, err)
	}
	if planned, err := p.Plan(t.Context()); err != nil || !planned[0].Decided || !strings.Contains(planned[0].QueryMode, "incrementing_column=id") {
		t.Errorf("plan: %+v, %v", planned, err)
	}
	p.change(engine.RestartObjects, "a")
	p.mustRun()
	p.verify()
	p.refuses(engine.ObjectRequest{Verb: engine.SetPosition, Tables: []string{"a"}, Cursor: &engine.SetCursor{Value: "7"}}, "it follows the log", "leat objects restart")
}

// TestSetPosition moves a cursor back and forward.
func TestSetPosition(t *testing.T) {
	p := quiet(t, `CREATE TABLE a (id int PRIMARY KEY, v text)`, `INSERT INTO a SELECT n, 'x' FROM generate_series(1, 5) n`,
		`CREATE TABLE b (id int PRIMARY KEY, v text)`, `INSERT INTO b VALUES (1, 'x')`).open(tableMode, incrementing)
	p.mustRun()
	at := func(value, column string) engine.ObjectRequest {
		return engine.ObjectRequest{Verb: engine.SetPosition, Tables: []string{"public.a"}, Cursor: &engine.SetCursor{Column: column, Value: value}}
	}
	p.refuses(at("1", "v"), "not its cursor", "id")
	p.refuses(at("", ""), "no value", "cursor column")
	p.exec(`UPDATE a SET v = 'again'`)
	p.mustRun()
	p.expect("1x 2x 3x 4x 5again") // the last value is looked at once more
	if o := p.asks(at("3", "")); o.State != state.Queued || !strings.Contains(o.Reason, "id = 3") {
		t.Errorf("the object becomes %+v", o)
	}
	p.mustRun()
	p.expect("1x 2x 3again 4again 5again")
	p.mustRun()
	if o := p.object("a"); o.State != state.Active || o.Position != nil || o.Reason != "" {
		t.Errorf("the object %+v", o)
	}

	p.asks(at("100", "id"))
	p.exec(`INSERT INTO a VALUES (50, 'left out'), (100, 'at'), (101, 'behind')`, `INSERT INTO b VALUES (2, 'y')`)
	p.mustRun()
	p.expect("1x 2x 3again 4again 5again 100at 101behind")

	before := p.object("a")
	p.refuses(at("seven", ""), `"seven" is no value of type int4`, "set-position")
	if o := p.object("a"); !reflect.DeepEqual(o, before) {
		t.Errorf("the object becomes %+v, was %+v", o, before)
	}
	t.Setenv("LEAT_TEST_PASSWORD", "wrong") // now nobody can say so before the next run
	if o := p.asks(at("seven", "")); !strings.Contains(o.Reason, "could not be asked") {
		t.Errorf("the object becomes %+v", o)
	}
	t.Setenv("LEAT_TEST_PASSWORD", p.server.Password())
	p.exec(`INSERT INTO b VALUES (3, 'z')`)
	if err := p.run(engine.RunOptions{}); err == nil || !strings.Contains(err.Error(), `"seven" is no value of type int4`) {
		t.Errorf("a value of another type: %v", err)
	}
	if o := p.object("a"); o.State != state.FailedState || !strings.Contains(o.Fix, "set-position") {
		t.Errorf("the object %+v", o)
	}
	if got := p.ask(`SELECT string_agg(v, ' ' ORDER BY id) FROM b`); got != "x y z" {
		t.Errorf("meanwhile the other table has %q", got)
	}
	p.asks(at("101", ""))
	p.exec(`INSERT INTO a VALUES (102, 'on')`)
	p.mustRun()
	p.expect("1x 2x 3again 4again 5again 100at 101behind 102on")
	p.open(tableMode, fullLoad)
	p.refuses(at("1", ""), "has no cursor", "leat objects restart")
}

// TestSetPositionOfTwoCursors names the one that is meant.
func TestSetPositionOfTwoCursors(t *testing.T) {
	p := quiet(t, `CREATE TABLE a (id int PRIMARY KEY, v text, at timestamptz)`,
		`INSERT INTO a SELECT n, 'x', '2024-01-01'::timestamptz + n * interval '1s' FROM generate_series(1, 3) n`).open(tableMode, capture)
	p.mustRun()
	r := engine.ObjectRequest{Verb: engine.SetPosition, Tables: []string{"a"}, Cursor: &engine.SetCursor{Value: "2024-01-01 00:00:02Z"}}
	p.refuses(r, "two cursors", "--column: id or at")
	p.exec(`UPDATE a SET v = 'silent'`)
	r.Cursor.Column = "at"
	p.asks(r)
	p.mustRun()
	p.expect("1x 2silent 3silent")
}

// TestCloseStopsRun closes a pipeline that runs.
func TestCloseStopsRun(t *testing.T) {
	p := quiet(t, `CREATE TABLE a (id int PRIMARY KEY, v text)`, `INSERT INTO a VALUES (1, 'x')`).open("", "")
	ended := make(chan error, 1)
	go func() { ended <- p.Run(t.Context(), engine.RunOptions{}) }()
	p.stands(t.Context(), "a", state.Streaming)
	if err := p.Run(t.Context(), engine.RunOptions{}); err == nil || !strings.Contains(err.Error(), "runs already") {
		t.Errorf("a second run beside it: %v", err)
	}
	pipeline := p.Pipeline
	p.close()
	if err := <-ended; err != nil {
		t.Errorf("the run ended with %v", err)
	}
	if err := pipeline.Run(t.Context(), engine.RunOptions{}); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("a run of a closed pipeline: %v", err)
	}
}
