package capability

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// longStatement is how long a statement runs before it is watched, and how
// often it is looked at then.
const longStatement = 2 * time.Second

// Tell implements SQL.
func (p *postgres) Tell(tell func(doing string)) { p.tell = tell }

// watch tells what the statement that runs now is doing, once it takes long,
// until the function it returns is called. It asks over a connection of its own:
// that of the statement is busy. Where that fails nothing is told.
func (p *postgres) watch(ctx context.Context) (done func()) {
	if p.tell == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	ended, pid := make(chan struct{}), p.conn.PID()
	timer := time.AfterFunc(longStatement, func() {
		defer close(ended)
		p.observe(ctx, pid)
	})
	return func() {
		cancel()
		if !timer.Stop() {
			<-ended
		}
	}
}

// observe tells what another session is doing until ctx ends.
func (p *postgres) observe(ctx context.Context, pid uint32) {
	conn, err := pgconn.ConnectConfig(ctx, p.config)
	if err != nil {
		return
	}
	defer conn.Close(context.WithoutCancel(ctx))
	defer p.tell("")
	for {
		results, err := conn.Exec(ctx, fmt.Sprintf(doing, pid)).ReadAll()
		if err != nil {
			return
		}
		for _, r := range results {
			for _, row := range r.Rows {
				p.tell(string(row[0]))
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(longStatement):
		}
	}
}

// doing is what a session does that builds an index or waits for another
// session; nothing of any other.
const doing = `SELECT pg_catalog.format('%%s: %%s%%s', p.relid::pg_catalog.regclass, p.phase,
	CASE WHEN p.tuples_total > 0 THEN ', ' || 100 * p.tuples_done / p.tuples_total || ' %%' WHEN p.blocks_total > 0 THEN ', ' || 100 * p.blocks_done / p.blocks_total || ' %%' END)
FROM pg_catalog.pg_stat_progress_create_index p WHERE p.pid = %[1]d
UNION ALL SELECT 'waits for a lock that session ' || pg_catalog.array_to_string(pg_catalog.pg_blocking_pids(%[1]d), ', ') || ' of the database has' WHERE pg_catalog.pg_blocking_pids(%[1]d) <> '{}'
UNION ALL SELECT '' LIMIT 1`
