package engine_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
	"github.com/leat-etl/leat/state"
)

// TestWALBudgetPausesTheDearestTable lets the table wait that most of the log is
// of, and no other.
func TestWALBudgetPausesTheDearestTable(t *testing.T) {
	// The log of a server is that of all its databases: the source has one to itself.
	warehouse := pgserver.Test(t, pgserver.Options{})
	p := polledOn(t, pgserver.Own(t, pgserver.Options{}), `CREATE TABLE a (id int PRIMARY KEY, v text)`, `CREATE TABLE busy (id int PRIMARY KEY, v text)`, `INSERT INTO a VALUES (1, 'x')`).toPostgresOn(warehouse)
	p.open(`heartbeat = "1s"`+"\nwal_budget = \"8MB\"\nwal_budget_action = \"pause_object\"", "")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	stop := p.started(ctx)
	p.stands(ctx, "a", state.Streaming)
	p.stands(ctx, "busy", state.Streaming)
	p.exec(`INSERT INTO a SELECT n, 'x' FROM generate_series(2, 100) n`, `INSERT INTO busy VALUES (1, 'first')`)
	p.arrives(ctx, `SELECT v FROM busy`, "first")
	// A long transaction at the source keeps log, too, and no pause lets that go.
	open, err := pgx.Connect(ctx, p.server.DSN(p.database))
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close(context.Background())
	if _, err := open.Exec(ctx, `BEGIN; CREATE TABLE unborn (id int); SELECT pg_logical_emit_message(true, 'other', 'open')`); err != nil {
		t.Fatal(err)
	}
	for n := 101; p.Status().Databases[0].RetainedWAL <= 8<<20; n++ {
		p.exec(`DO $$BEGIN PERFORM pg_logical_emit_message(false, 'other', repeat('x', 1000)) FROM generate_series(1, 2000); END$$`,
			fmt.Sprintf(`INSERT INTO a VALUES (%d, 'beside it')`, n))
		p.arrives(ctx, `SELECT max(id) FROM a`, strconv.Itoa(n))
	}
	if o := p.object("busy"); o.State != state.Streaming {
		t.Errorf("for an open transaction a table is %+v", o)
	}
	if _, err := open.Exec(ctx, `ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	// The destination takes nothing for a while.
	lock, err := pgx.Connect(ctx, warehouse.DSN(p.target))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close(context.Background())
	if _, err := lock.Exec(ctx, `BEGIN; LOCK TABLE busy`); err != nil {
		t.Fatal(err)
	}
	for _, half := range []string{"2, 10000", "10001, 20000"} {
		p.exec(`INSERT INTO busy SELECT n, repeat('x', 1000) FROM generate_series(` + half + `) n`)
	}
	p.stands(ctx, "busy", state.Paused)
	if o := p.object("busy"); !strings.Contains(o.Reason, "wal_budget") || !strings.Contains(o.Fix, "leat objects resume") {
		t.Errorf("the table is paused with %+v", o)
	}
	if _, err := lock.Exec(ctx, `ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	p.exec(`UPDATE a SET v = 'y' WHERE id <= 100`)
	p.arrives(ctx, `SELECT count(*) FROM a WHERE v = 'y'`, "100")
	if o := p.object("a"); o.State != state.Streaming {
		t.Errorf("the other table is %+v", o)
	}
	p.change(engine.ResumeObjects, "busy")
	p.exec(`INSERT INTO busy VALUES (0, 'last')`)
	p.arrives(ctx, `SELECT concat(count(*), max(v) FILTER (WHERE id = 0)) FROM busy`, "20001last")
	stop()
	p.verify()
}
