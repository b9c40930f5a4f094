package capability

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// longStatement is how long a statement runs before it is watched, and how
// often it is looked at then.
const longStatement = 2 * time.Second

// noSign is how long a statement may run without any sign that its answer will
// come: nothing moves over its connection, and the server is not seen at work on it.
const noSign = 2 * time.Minute

// movement counts what goes over connections, both ways.
type movement struct{ bytes atomic.Int64 }

// through lets a configuration's connections be counted.
func (m *movement) through(config *pgconn.Config) {
	dial := config.DialFunc
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &countedConn{conn, m}, nil
	}
}

type countedConn struct {
	net.Conn
	moved *movement
}

// Read implements net.Conn.
func (c *countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.moved.bytes.Add(int64(n))
	return n, err
}

// Write implements net.Conn.
func (c *countedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.moved.bytes.Add(int64(n))
	return n, err
}

// Tell implements SQL.
func (p *postgres) Tell(tell func(doing string)) { p.tell = tell }

// watch looks after the statement that runs now, once it takes long, until the
// function it returns is called.
func (p *postgres) watch(ctx context.Context) (done func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	timer := time.AfterFunc(longStatement, func() {
		defer close(ended)
		p.observe(ctx)
	})
	return func() {
		cancel()
		if !timer.Stop() {
			<-ended
		}
	}
}

// observe tells what the statement is doing until ctx ends, and closes its
// connection when there has been no sign of it for too long: something on the way
// forwards no longer and has closed nothing, and the answer would be waited for
// without end.
func (p *postgres) observe(ctx context.Context) {
	w := observer{config: p.config, pid: p.conn.PID()}
	defer w.close(context.WithoutCancel(ctx))
	if p.tell != nil {
		defer p.tell("")
	}
	sign, moved := time.Now(), p.moved.bytes.Load()
	for {
		doing, seen := w.look(ctx)
		switch now := p.moved.bytes.Load(); {
		case ctx.Err() != nil || w.cannot:
			return
		case seen || now != moved:
			sign, moved = time.Now(), now
		case time.Since(sign) > p.noSign:
			p.silent.Store(true)
			w.end(ctx)
			p.conn.Conn().Close()
			return
		}
		if p.tell != nil && doing != nil {
			p.tell(*doing)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(longStatement):
		}
	}
}

// observer asks over a connection of its own, as that of the statement is busy,
// what the session pid is doing.
type observer struct {
	config *pgconn.Config
	pid    uint32
	conn   *pgconn.PgConn
	found  bool // the session has been seen: pid is no number of a pooler's
	cannot bool // the server is too old to be asked
}

// look returns what the session does, nil where that cannot be told, and whether
// it may be at work: also where the server does not say.
func (w *observer) look(ctx context.Context) (doing *string, seen bool) {
	ctx, cancel := context.WithTimeout(ctx, 5*longStatement)
	defer cancel()
	var server *pgconn.PgError
	if w.conn == nil || w.conn.IsClosed() {
		conn, err := pgconn.ConnectConfig(ctx, w.config)
		if err != nil {
			return nil, errors.As(err, &server)
		}
		w.conn = conn
	}
	results, err := w.conn.Exec(ctx, fmt.Sprintf(activity, w.pid)).ReadAll()
	if errors.As(err, &server) {
		w.cannot = strings.HasPrefix(server.Code, "42")
		return nil, true
	}
	if err != nil {
		return nil, false
	}
	text, state := string(results[0].Rows[0][0]), string(results[1].Rows[0][0])
	w.found = w.found || state != ""
	return &text, !w.found || state == "works"
}

// end ends the session: it does not know that nobody reads its answer, and holds
// its locks.
func (w *observer) end(ctx context.Context) {
	if w.found && w.conn != nil && !w.conn.IsClosed() {
		ctx, cancel := context.WithTimeout(ctx, 5*longStatement)
		defer cancel()
		_, _ = w.conn.Exec(ctx, fmt.Sprintf("SELECT pg_catalog.pg_terminate_backend(%d)", w.pid)).ReadAll() // the server may see by itself
	}
}

func (w *observer) close(ctx context.Context) {
	if w.conn != nil {
		_ = w.conn.Close(ctx) // only read from
	}
}

// activity asks what a session does that builds an index or waits for another
// session, nothing of any other, and then whether it works, waits for us, or is not
// there.
const activity = `SELECT pg_catalog.format('%%s: %%s%%s', p.relid::pg_catalog.regclass, p.phase,
	CASE WHEN p.tuples_total > 0 THEN ', ' || 100 * p.tuples_done / p.tuples_total || ' %%' WHEN p.blocks_total > 0 THEN ', ' || 100 * p.blocks_done / p.blocks_total || ' %%' END)
FROM pg_catalog.pg_stat_progress_create_index p WHERE p.pid = %[1]d
UNION ALL SELECT 'waits for a lock that session ' || pg_catalog.array_to_string(pg_catalog.pg_blocking_pids(%[1]d), ', ') || ' of the database has' WHERE pg_catalog.pg_blocking_pids(%[1]d) <> '{}'
UNION ALL SELECT '' LIMIT 1;
SELECT coalesce((SELECT CASE WHEN state = 'active' AND wait_event IS DISTINCT FROM 'ClientRead' AND wait_event IS DISTINCT FROM 'ClientWrite' THEN 'works' ELSE 'waits' END
	FROM pg_catalog.pg_stat_activity WHERE pid = %[1]d AND usename = current_user AND application_name = current_setting('application_name')), '')`
