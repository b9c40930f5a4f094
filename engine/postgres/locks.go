package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

func isLockTimeout(err error) bool {
	var server *pgconn.PgError
	return errors.As(err, &server) && server.Code == "55P03"
}

// Locks are the relations, by OID, that cannot be published or taken out of a
// publication now because somebody has locked them, and who.
func (s *Source) Locks(ctx context.Context, oids []uint32) (out map[uint32]Obstacle, err error) {
	err = s.do(ctx, func(conn *pgx.Conn) error {
		out, err = readLocks(ctx, conn, oids)
		return err
	})
	return out, wrap("read the locks on tables of", "database "+s.Database, err)
}

// readLocks reads the locks against which ALTER PUBLICATION's own, SHARE UPDATE
// EXCLUSIVE, has to wait. A prepared transaction holds its own without a process.
func readLocks(ctx context.Context, conn *pgx.Conn, oids []uint32) (map[uint32]Obstacle, error) {
	rows, err := conn.Query(ctx, `SELECT DISTINCT ON (l.relation) l.relation, `+lockHolder+`
		FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid LEFT JOIN pg_catalog.pg_prepared_xacts p ON l.virtualtransaction = '-1/' || p.transaction
		WHERE l.locktype = 'relation' AND l.granted AND l.relation = ANY($1::oid[]) AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
		AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
		AND l.mode IN ('ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock') ORDER BY 1, a.xact_start`, oids)
	if err != nil {
		return nil, err
	}
	out := map[uint32]Obstacle{}
	var oid uint32
	var h holder
	_, err = pgx.ForEachRow(rows, append([]any{&oid}, h.fields()...), func() error {
		out[oid] = Obstacle{"it is locked by " + h.String(), h.end()}
		return nil
	})
	return out, err
}

// waitShown is how long the making of a slot may wait before it is said for whom.
const waitShown = 2 * time.Second

// sayWaits tells Waits for whose transaction a process of the server waits, until
// stop is called. A slot begins where every transaction is over that was open.
func (s *Source) sayWaits(ctx context.Context, pid uint32) (stop func()) {
	if s.Waits == nil {
		return func() {}
	}
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		said := ""
		tick := time.NewTicker(waitShown)
		defer tick.Stop()
		for {
			select {
			case <-ended:
				if said != "" {
					s.Waits("", "")
				}
				return
			case <-tick.C:
			}
			who, end, err := s.awaited(context.WithoutCancel(ctx), pid)
			if err == nil && who != "" && who != said { // what fails here fails there, too
				said = who
				s.Waits(who, end)
			}
		}
	}()
	return func() {
		close(ended)
		<-done
	}
}

// awaited is for whose transaction a process waits, empty for none, and what ends it.
func (s *Source) awaited(ctx context.Context, pid uint32) (who, end string, err error) {
	err = s.do(ctx, func(conn *pgx.Conn) error {
		var h holder
		err := conn.QueryRow(ctx, `SELECT `+lockHolder+` FROM pg_catalog.pg_locks w
			LEFT JOIN pg_catalog.pg_locks l ON l.locktype = 'transactionid' AND l.granted AND l.transactionid = w.transactionid
			LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid LEFT JOIN pg_catalog.pg_prepared_xacts p ON p.transaction = w.transactionid
			WHERE w.pid = $1 AND NOT w.granted AND w.locktype = 'transactionid'`, pid).Scan(h.fields()...)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		who, end = h.String(), h.end()
		return err
	})
	return who, end, err
}

// holder is whose transaction others wait for.
type holder struct {
	pid             int
	role, gid, when string
}

// lockHolder are the columns of a holder; a is pg_stat_activity and p
// pg_prepared_xacts.
const lockHolder = `coalesce(a.pid, 0), coalesce(a.usename, p.owner, '')::text, coalesce(p.gid, ''), coalesce(to_char(coalesce(a.xact_start, p.prepared), 'YYYY-MM-DD HH24:MI:SSOF'), '')`

func (h *holder) fields() []any { return []any{&h.pid, &h.role, &h.gid, &h.when} }

// String names it.
func (h *holder) String() string {
	var out strings.Builder
	if h.gid != "" {
		fmt.Fprintf(&out, "the prepared transaction %s", quoteLiteral(h.gid))
	} else {
		fmt.Fprintf(&out, "process %d", h.pid)
	}
	if h.role != "" {
		fmt.Fprintf(&out, " of role %s", quoteIdent(h.role))
	}
	if h.when != "" {
		fmt.Fprintf(&out, ", in a transaction since %s", h.when)
	}
	return out.String()
}

// end is the statement that ends it.
func (h *holder) end() string {
	if h.gid != "" {
		return fmt.Sprintf("ROLLBACK PREPARED %s; -- or COMMIT PREPARED", quoteLiteral(h.gid))
	}
	return fmt.Sprintf("SELECT pg_terminate_backend(%d); -- unless it ends by itself", h.pid)
}
