package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// visiblePatience bounds how long AwaitVisible waits.
const visiblePatience = 30 * time.Second

// AwaitVisible waits until what the transaction xid has changed can be seen. The
// log has a commit before others see it, for a moment where the server is busy, and
// until the standby answers where replication is synchronous: the catalogue would
// say that a table still has the key that is gone. A prepared transaction, which
// the log may have at its PREPARE, is not waited for. It fails, to be tried again,
// after half a minute.
func (s *Source) AwaitVisible(ctx context.Context, xid uint32) error {
	// Transaction numbers of the log have 32 bits, those of a snapshot 64. What a
	// standby has in its log it has replayed.
	sql := fmt.Sprintf(`SELECT NOT pg_catalog.pg_is_in_recovery() AND ((%[1]d - pg_catalog.txid_snapshot_xmax(s)) & 4294967295 < 2147483648
		OR EXISTS (SELECT FROM pg_catalog.txid_snapshot_xip(s) AS x WHERE x & 4294967295 = %[1]d))
		AND NOT EXISTS (SELECT FROM pg_catalog.pg_prepared_xacts WHERE transaction = '%[1]d'::pg_catalog.xid)
		FROM (SELECT pg_catalog.txid_current_snapshot() AS s) AS now`, xid)
	pause := time.Millisecond
	for over := time.Now().Add(visiblePatience); time.Now().Before(over); pause = min(2*pause, 100*time.Millisecond) {
		var running bool
		err := s.do(ctx, func(conn *pgx.Conn) error { return conn.QueryRow(ctx, sql).Scan(&running) })
		if err != nil {
			return wrap("wait for a transaction of", "database "+s.Database, err)
		}
		if !running {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
	return &Error{Op: "wait for", Object: fmt.Sprintf("transaction %d", xid), Class: Retry,
		Err:    errors.New("its commit is in the log, but the server does not show yet what it has done"),
		Causes: []string{"It waits for a synchronous standby that does not answer."},
		Hint:   "SELECT pid, query FROM pg_stat_activity WHERE wait_event = 'SyncRep'; SHOW synchronous_standby_names;"}
}
