package engine_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/state"
)

// TestWALBudgetPausesTheDearestTable lets the table wait that most of the log is
// of, and no other.
func TestWALBudgetPausesTheDearestTable(t *testing.T) {
	p := newPolled(t, `CREATE TABLE a (id int PRIMARY KEY, v text)`, `CREATE TABLE busy (id int PRIMARY KEY, v text)`, `INSERT INTO a VALUES (1, 'x')`)
	p.open(`heartbeat = "1s"`+"\nwal_budget = \"8MB\"\nwal_budget_action = \"pause_object\"", "")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	stop := p.started(ctx)
	p.stands(ctx, "a", state.Streaming)
	p.stands(ctx, "busy", state.Streaming)
	// The slot keeps log until the server next notes its running transactions, which
	// may be before anybody looks.
	p.exec(`INSERT INTO a SELECT n, 'x' FROM generate_series(2, 100) n`)
	rows := 0
	for p.object("busy").State != state.Paused {
		p.exec(fmt.Sprintf(`INSERT INTO busy SELECT n, repeat('x', 1000) FROM generate_series(%d, %d) n`, rows+1, rows+20_000))
		rows += 20_000
		select {
		case <-ctx.Done():
			t.Fatal("no table was paused")
		case <-time.After(time.Second):
		}
	}
	if o := p.object("busy"); !strings.Contains(o.Reason, "wal_budget") || !strings.Contains(o.Fix, "leat objects resume") {
		t.Errorf("the table is paused with %+v", o)
	}
	p.exec(`UPDATE a SET v = 'y'`)
	p.arrives(ctx, `SELECT count(*) FROM a WHERE v = 'y'`, "100")
	if o := p.object("a"); o.State != state.Streaming {
		t.Errorf("the other table is %+v", o)
	}
	p.change(engine.ResumeObjects, "busy")
	p.exec(`INSERT INTO busy VALUES (0, 'last')`)
	p.arrives(ctx, `SELECT concat(count(*), max(v) FILTER (WHERE id = 0)) FROM busy`, fmt.Sprintf("%dlast", rows+1))
	stop()
	p.verify()
}
