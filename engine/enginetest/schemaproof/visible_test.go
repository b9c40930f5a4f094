//go:build duckdb_arrow

package schemaproof

import (
	"testing"
	"time"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// TestChangeThatIsNotVisibleYet takes the key of a table away and writes two equal
// rows in a transaction that the log has before others see it: it waits for a
// synchronous standby.
func TestChangeThatIsNotVisibleYet(t *testing.T) {
	t.Parallel()
	server := pgserver.Own(t, pgserver.Options{Settings: map[string]string{"synchronous_standby_names": "nobody", "synchronous_commit": "local"}})
	database := server.Database(t)
	exec(t, server, database, `CREATE TABLE o (id int NOT NULL, v text); CREATE UNIQUE INDEX o_id ON o (id); ALTER TABLE o REPLICA IDENTITY USING INDEX o_id; INSERT INTO o VALUES (1, 'one'), (2, 'two')`)
	p := newPipeline(t, server, "duckdb", database)
	r := p.start(t)
	r.catchUp(t)
	hidden := make(chan error, 1)
	go func() {
		hidden <- server.Exec(t.Context(), database, `BEGIN; SET LOCAL synchronous_commit = on; ALTER TABLE o REPLICA IDENTITY FULL; DROP INDEX o_id; INSERT INTO o VALUES (2, 'twin'); UPDATE o SET v = 'whole' WHERE v = 'two'; COMMIT`)
	}()
	waits := `SELECT 1 / count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'`
	for patience := time.Now().Add(time.Minute); server.Exec(t.Context(), database, waits) != nil; {
		if time.Now().After(patience) {
			t.Fatal("the transaction does not wait")
		}
	}
	time.Sleep(2 * time.Second) // the log has it
	select {
	case err := <-hidden:
		t.Fatalf("the transaction has ended: %v", err)
	default:
	}
	exec(t, server, database, `ALTER SYSTEM SET synchronous_standby_names = ''`, `SELECT pg_reload_conf()`)
	if err := <-hidden; err != nil {
		t.Fatal(err)
	}
	r.catchUp(t)
	r.stop(t) // the next session would look at the catalogue again
	p.equal(t, "o")
}
