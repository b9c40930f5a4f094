package engine_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/state"
)

// TestDestinationRefusesATable has a table with a column that the destination
// keeps for itself: it is paused, and the others are loaded and followed. When the
// column has another name every row is there.
func TestDestinationRefusesATable(t *testing.T) {
	p := newPolled(t, `CREATE TABLE a (id int PRIMARY KEY, v text)`, `CREATE TABLE b (id int PRIMARY KEY, __leat_op_type text)`, `CREATE TABLE c (id int PRIMARY KEY, v text)`,
		`INSERT INTO a SELECT n, 'loaded' FROM generate_series(1, 300) n`, `INSERT INTO b SELECT n, 'loaded' FROM generate_series(1, 300) n`, `INSERT INTO c SELECT n, 'loaded' FROM generate_series(1, 300) n`)
	p.open("", "")
	planned, err := p.Plan(t.Context())
	if err != nil || len(planned) != 3 {
		t.Fatalf("planned %+v, %v", planned, err)
	}
	for _, planned := range planned {
		if refused := planned.Source.Name == "b"; refused != strings.Contains(planned.Reason, "__leat_op_type") || refused == (len(planned.Targets) == 1) {
			t.Errorf("planned %+v", planned)
		}
	}
	for id := range 2 {
		err := p.run(engine.RunOptions{})
		var failure *engine.PluginFailure
		if !errors.As(err, &failure) || failure.Table.Name != "b" || !strings.Contains(err.Error(), `column "__leat_op_type"`) {
			t.Fatalf("the run ended with %v, want the refusal of table b", err)
		}
		if o := p.object("b"); o.State != state.Paused || !strings.Contains(o.Reason, "metadata_prefix") || !strings.Contains(o.Fix, "mend the table") {
			t.Errorf("the table is noted as %+v", o)
		}
		if got := p.ask(`SELECT (SELECT count(*) FROM a) + (SELECT count(*) FROM c)`); got != []string{"600", "601"}[id] {
			t.Errorf("%s rows of the other tables are there", got)
		}
		if v, err := p.Verify(t.Context(), nil, nil); err != nil || len(v.Tables) != 2 || !slices.ContainsFunc(v.LeftOut, func(l engine.LeftOut) bool {
			return l.Table.Name == "b" && strings.Contains(l.Reason, "__leat_op_type")
		}) {
			t.Errorf("verify: %+v, %v", v, err)
		}
		p.exec(`INSERT INTO a SELECT count(*) + 1, 'followed' FROM a`, `DELETE FROM b WHERE id = (SELECT min(id) FROM b)`)
	}
	p.exec(`ALTER TABLE b RENAME __leat_op_type TO v`, `INSERT INTO b VALUES (301, 'last')`)
	p.open("", "")
	p.mustRun()
	if got := p.ask(`SELECT count(*) || min(v) || max(v) FROM b WHERE NOT __leat_marked_deleted`); got != "299lastloaded" {
		t.Errorf("table b holds %s", got)
	}
	p.verify()
}

// TestTargetIsNotThere: while the pipeline runs somebody takes away what one
// table lands in. Its changes wait, the others go on, and once it is back, as it
// was, they arrive in order.
func TestTargetIsNotThere(t *testing.T) {
	p := newPolled(t, `CREATE TABLE a (id int PRIMARY KEY, v text)`, `CREATE TABLE b (id int PRIMARY KEY, v text)`,
		`INSERT INTO a SELECT n, 'loaded' FROM generate_series(1, 300) n`, `INSERT INTO b SELECT n, 'loaded' FROM generate_series(1, 300) n`).toPostgres()
	p.open(`heartbeat = "1s"`, "")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	stop := p.started(ctx)
	p.arrives(ctx, `SELECT (SELECT count(*) FROM a) + (SELECT count(*) FROM b)`, "600")
	target := func(sql string) {
		t.Helper()
		if err := p.server.Exec(ctx, p.target, sql); err != nil {
			t.Fatal(err)
		}
	}
	target(`ALTER TABLE b RENAME TO away`)
	p.exec(`BEGIN; INSERT INTO a VALUES (400, 'with it'); INSERT INTO b VALUES (301, 'with it'); UPDATE b SET id = 302, v = 'moved' WHERE id = 1; COMMIT`,
		`DELETE FROM b WHERE id = 2`, `INSERT INTO a VALUES (401, 'after it')`)
	p.arrives(ctx, `SELECT v FROM a WHERE id = 401`, "after it")
	p.stands(ctx, "b", state.Paused)
	p.change(engine.ResumeObjects, "public.b")
	p.exec(`UPDATE a SET v = 'goes on' WHERE id = 1`, `UPDATE b SET v = 'meanwhile' WHERE id = 3`)
	p.arrives(ctx, `SELECT v FROM a WHERE id = 1`, "goes on")
	p.stands(ctx, "b", state.Paused)
	target(`ALTER TABLE away RENAME TO b`)
	p.change(engine.ResumeObjects, "public.b")
	p.arrives(ctx, `SELECT count(*) || min(v) FILTER (WHERE id = 3) FROM b WHERE NOT __leat_marked_deleted`, "300meanwhile")
	target(`DROP TABLE b`)
	p.exec(`INSERT INTO b VALUES (500, 'after the drop')`, `UPDATE a SET v = 'still' WHERE id = 1`)
	p.arrives(ctx, `SELECT v FROM a WHERE id = 1`, "still")
	p.stands(ctx, "b", state.Paused)
	p.change(engine.ResumeObjects, "public.b")
	p.exec(`UPDATE a SET v = 'and on' WHERE id = 1`)
	p.arrives(ctx, `SELECT v FROM a WHERE id = 1`, "and on")
	waitFor(t, ctx, "the reason", func() bool { return strings.Contains(p.object("b").Reason, "leat objects restart") })
	p.change(engine.RestartObjects, "public.b")
	p.arrives(ctx, `SELECT count(*) FROM b WHERE NOT __leat_marked_deleted`, "301")
	stop()
	p.mustRun()
	p.verify()
}
