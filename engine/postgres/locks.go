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

// attend stands by conn while the server makes a slot over it, until leave is
// called, which returns how that failed if it did: see standBy.
func (s *Source) attend(ctx context.Context, conn *pgconn.PgConn, slot string) (leave func() error) {
	ended, failed := make(chan struct{}), make(chan error, 1)
	go func() { failed <- s.standBy(context.WithoutCancel(ctx), conn, slot, ended) }()
	return func() error {
		close(ended)
		return <-failed
	}
}

// standBy tells Waits for whose transaction the server waits to make a slot, which
// begins where every transaction is over that was open. It closes conn, over which
// nothing comes meanwhile, once the server has not been seen at work on the slot
// for longer than it may be silent: its answer is lost.
func (s *Source) standBy(ctx context.Context, conn *pgconn.PgConn, slot string, ended <-chan struct{}) error {
	said, seen, limit, pause := "", time.Now(), s.cfg.Silence, waitShown
	defer func() {
		if said != "" {
			s.Waits("", "")
		}
	}()
	if limit > 0 {
		pause = min(pause, limit)
	}
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return nil
		case <-tick.C:
		}
		if s.Waits != nil {
			who, end, err := s.awaited(ctx, conn.PID())
			if err == nil && who != "" && who != said { // what fails here fails there, too
				said = who
				s.Waits(who, end)
			}
		}
		if limit <= 0 {
			continue
		}
		made, err := s.Slot(ctx, slot)
		if err == nil && made != nil && made.ActivePID == int(conn.PID()) && made.ConfirmedFlushLSN == 0 {
			seen = time.Now()
		} else if time.Since(seen) > limit {
			s.cfg.noteSilence()
			conn.Conn().Close()
			return silentError(limit)
		}
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
