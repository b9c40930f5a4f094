package postgres

import (
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// TestOpenTransactions sees the transactions of others in the database, and
// none of the connections that are only just being made, to whatever database.
func TestOpenTransactions(t *testing.T) {
	server := pgserver.Test(t, pgserver.Options{Settings: map[string]string{"autovacuum": "off", "max_prepared_transactions": "2"}})
	f := fixtureOn(t, server, `CREATE TABLE t (id int)`)
	elsewhere := fixtureOn(t, server).conn.Config()
	session, err := f.source.OpenSession(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close(t.Context())
	var connecting sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		connecting.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				conn, err := pgx.ConnectConfig(t.Context(), elsewhere)
				if err != nil {
					t.Errorf("connect: %v", err)
					return
				}
				conn.Close(t.Context())
			}
		})
	}
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
		open, err := session.OpenTransactions(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(open) > 0 {
			t.Errorf("while others connect to another database: %v", open)
			break
		}
	}
	close(stop)
	connecting.Wait()
	f.exec(t, `BEGIN`, `INSERT INTO t VALUES (1)`)
	before, err := session.OpenTransactions(t.Context())
	if err != nil || len(before) != 1 || IsPrepared(before[0]) {
		t.Fatalf("with one open: %v, %v", before, err)
	}
	f.exec(t, `PREPARE TRANSACTION 'open'`)
	if open, err := session.OpenTransactions(t.Context()); err != nil || len(open) != 1 || open[0] != before[0] && !IsPrepared(open[0]) {
		t.Errorf("with one prepared: %v, %v", open, err)
	}
	f.exec(t, `ROLLBACK PREPARED 'open'`)
}
