package engine_test

import (
	"context"
	"testing"
	"time"

	"github.com/leat-etl/leat/engine"
)

// TestColumnClaimedInALoad stops a load in the middle and claims a column that it
// was without: what it has read is read again.
func TestColumnClaimedInALoad(t *testing.T) {
	p := newPolled(t, `CREATE TABLE a (id int PRIMARY KEY, v text)`, `INSERT INTO a SELECT n, repeat('x', 100) FROM generate_series(1, 200000) n`).toPostgres()
	withhold := "[schema_changes]\ncolumn_added = \"withhold\""
	p.open(`heartbeat = "1s"`, withhold)
	p.mustRun()
	p.exec(`ALTER TABLE a ADD w int DEFAULT 2`, `UPDATE a SET w = id`)
	p.mustRun()
	p.change(engine.RestartObjects, "public.a")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	stop := p.started(ctx)
	waitFor(t, ctx, "the load to be under way", func() bool { n := p.object("a").RowsLoaded; return n > 0 && n < 200_000 })
	stop()
	if n := p.object("a").RowsLoaded; n == 200_000 {
		t.Fatal("the load has ended: the test proves nothing")
	}
	p.open(`heartbeat = "1s"`, withhold+"\n[objects.\"public.a\"]\nclaim = [\"w\"]")
	p.mustRun()
	p.verify()
}
