//go:build duckdb_arrow

package schemaproof

import (
	"context"
	"flag"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/leat-etl/leat/engine/enginetest/compare"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
	"github.com/leat-etl/leat/engine/enginetest/workload"
)

var seed = flag.Int64("seed", time.Now().UnixNano()%1_000_000, "seed of the random work")

// TestRandomWork alters tables at random between and inside transactions that
// change their rows, of one database and of two whose tables are merged.
func TestRandomWork(t *testing.T) {
	for _, merged := range []bool{false, true} {
		t.Run(map[bool]string{true: "merged", false: "alone"}[merged], func(t *testing.T) {
			t.Parallel()
			t.Logf("repeat with -args -seed %d", *seed)
			server := pgserver.Test(t, pgserver.Options{})
			var databases []string
			var work []func(steps int)
			for i := range map[bool]int{true: 2, false: 1}[merged] {
				database := server.Database(t)
				databases = append(databases, database)
				work = append(work, worker(t, server.DSN(database), *seed+int64(i), !merged))
			}
			both := []*pipeline{newPipeline(t, server, "duckdb", databases...), newPipeline(t, server, "postgres", databases...)}
			both[map[bool]int{true: 0, false: 1}[merged]].source = "ddl_capture = true"
			for range 5 {
				for _, w := range work {
					w(15)
				}
				catchUp(t, both...)
				for _, p := range both {
					for _, table := range workload.Tables {
						p.equalBut(t, table, compare.Options{Kept: true, Limit: 5})
					}
				}
				if t.Failed() {
					break
				}
			}
			for _, p := range both {
				p.verify(t)
			}
		})
	}
}

// worker makes the tables of a database and returns what changes them, their
// keys too if keys says so.
func worker(t *testing.T, dsn string, seed int64, keys bool) func(steps int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	w := workload.New(seed, workload.Options{FlatArrays: true, Alters: 60, Rows: 60, Keys: keys})
	if err := w.Create(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(w.Log())
		}
	})
	return func(steps int) {
		t.Helper()
		if err := w.Run(t.Context(), conn, steps); err != nil {
			t.Fatalf("%v\n%s", err, w.Log())
		}
		if err := w.Touch(t.Context(), conn); err != nil {
			t.Fatal(err)
		}
	}
}
