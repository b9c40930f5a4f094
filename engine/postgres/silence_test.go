package postgres

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/enginetest/faultproxy"
)

// proxied is the fixture's configuration by way of a network that can fail.
func (f *fixture) proxied(t *testing.T) (*faultproxy.Proxy, *Config) {
	t.Helper()
	p, err := faultproxy.Start(f.cfg.address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	cfg := *f.cfg
	cfg.Port, cfg.Silence = uint16(p.Port()), 300*time.Millisecond
	return p, &cfg
}

// TestSilentStream: a stream over which nothing comes ends, an idle one whose
// server answers does not, and the slot can be freed from the process that was
// left behind.
func TestSilentStream(t *testing.T) {
	f := newFixture(t, `CREATE TABLE t (id int PRIMARY KEY)`)
	proxy, cfg := f.proxied(t)
	direct := f.cfg
	f.cfg = cfg
	o := f.options(f.publish(t))
	o.Silence = 400 * time.Millisecond
	stream := f.tap(t, o)
	for range 3 { // idle for longer than that, each time
		ctx, cancel := context.WithTimeout(t.Context(), o.Silence)
		if _, err := stream.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("an idle stream: %v", err)
		}
		cancel()
	}
	f.exec(t, `INSERT INTO t VALUES (1)`)
	expect(t, describe(t, stream.next(t)), "t I 1")
	proxy.Silence()
	f.exec(t, `INSERT INTO t VALUES (2)`)
	_, err := stream.Next(t.Context())
	wantError(t, err, 0, Retry, "receive_timeout")
	if !errors.Is(err, ErrSilent) {
		t.Errorf("the stream ended with %v", err)
	}
	f.cfg = direct
	for freed := false; !freed; {
		if err := f.source.FreeSlot(t.Context(), f.database, stream.PID()); err != nil {
			t.Fatal(err)
		}
		slot, err := f.source.Slot(t.Context(), f.database)
		if err != nil {
			t.Fatal(err)
		}
		freed = !slot.Active
	}
	o.SkipTo = batch.Position{}
	again := f.tap(t, o)
	if err := f.source.FreeSlot(t.Context(), f.database, stream.PID()); err != nil { // not its process any more
		t.Fatal(err)
	}
	var rows []string
	for len(rows) < 2 {
		rows = append(rows, describe(t, again.next(t))...)
	}
	expect(t, rows, "t I 1", "t I 2")
}

// TestSilentSession: a session that gets no answer ends, one that is only idle
// or busy sending does not.
func TestSilentSession(t *testing.T) {
	f := newFixture(t, `CREATE TABLE t AS SELECT n, repeat('x', 100) FROM generate_series(1, 50000) n`)
	proxy, cfg := f.proxied(t)
	source, err := Open(t.Context(), cfg, f.database)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close(context.Background())
	conn := source.conn
	for range 2 {
		var n int
		if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM t`).Scan(&n); err != nil || n != 50000 {
			t.Fatalf("%d rows, %v", n, err)
		}
		idle := time.NewTimer(2 * cfg.Silence)
		<-idle.C
	}
	rows, err := conn.Query(t.Context(), `SELECT * FROM t`)
	if err != nil {
		t.Fatal(err)
	}
	slow := time.NewTimer(2 * cfg.Silence) // the reader is slow, not the server
	for n := 0; rows.Next(); n++ {
		if n == 1 {
			<-slow.C
		}
	}
	if err := rows.Err(); err != nil {
		t.Error(err)
	}
	rows.Close()
	if source.FellSilent() {
		t.Error("an idle session, or one whose rows were read slowly, counts as silent")
	}
	proxy.Silence()
	_, err = source.Slot(t.Context(), "none")
	wantError(t, err, 0, Retry, "receive_timeout")
	if !errors.Is(err, ErrSilent) || !source.FellSilent() {
		t.Errorf("a silent server: %v", err)
	}
	proxy.Cut()
	proxy.Delay(cfg.Silence)
	err = connectError(t, *cfg, f.database)
	if err == nil || !errors.Is(err, ErrSilent) {
		t.Errorf("a server that is too slow: %v", err)
	}
}

// TestPlainConnectionLost: in mode prefer a server without TLS is asked twice,
// and losing the second connection is a matter of the network, not of TLS.
func TestPlainConnectionLost(t *testing.T) {
	f := newFixture(t)
	proxy, cfg := f.proxied(t)
	proxy.CutAfter(8) // the server's answer to the question for TLS is one byte, the question eight
	cfg.Silence = 0
	wantError(t, connectError(t, *cfg, f.database), CodeUnreachable, Retry, "pg_isready", cfg.Password)
}
