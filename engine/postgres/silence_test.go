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

// free takes the slot back from a process of the server, which may hold it.
func (f *fixture) free(t *testing.T, pid uint32) {
	t.Helper()
	for held := true; held; {
		if err := f.source.FreeSlot(t.Context(), f.database, pid); err != nil {
			t.Fatal(err)
		}
		slot, err := f.source.Slot(t.Context(), f.database)
		if err != nil {
			t.Fatal(err)
		}
		held = slot.Active
	}
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
	var pid uint32
	o.Process = func(p uint32) { pid = p }
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
	f.free(t, pid)
	o.SkipTo = batch.Position{}
	again := f.tap(t, o)
	if err := f.source.FreeSlot(t.Context(), f.database, pid); err != nil { // not its process any more
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

// TestSilenceAtAnyPlace lets the network fall silent after so many bytes, then after
// more, until each thing that is asked over a connection of its own comes about:
// none waits for ever.
func TestSilenceAtAnyPlace(t *testing.T) {
	f := newFixture(t, `CREATE TABLE t (id int PRIMARY KEY)`)
	o := f.options(f.publish(t))
	proxy, cfg := f.proxied(t)
	cfg.Silence = 200 * time.Millisecond
	o.Silence = cfg.Silence
	close := func(conn interface{ Close(context.Context) error }, err error) error {
		if err != nil {
			return err
		}
		return conn.Close(context.Background())
	}
	for name, ask := range map[string]func(*Source) error{
		"session": func(s *Source) error { return close(s.OpenSession(t.Context())) },
		"slot": func(s *Source) error {
			defer f.source.DropSlot(context.Background(), f.database+"_2")
			return close(s.CreateSlot(t.Context(), f.database+"_2", false))
		},
		"snapshot": func(s *Source) error { return close(s.ExactSnapshot(t.Context())) },
		"timeline": func(s *Source) error { _, err := s.ReplayTimeline(t.Context()); return err },
		"stream": func(s *Source) error {
			replication, err := s.ReplicationConfig()
			if err != nil {
				t.Fatal(err)
			}
			var pid uint32
			o.Process = func(p uint32) { pid = p }
			stream, err := OpenStream(t.Context(), replication, o)
			if err != nil && pid != 0 {
				f.free(t, pid)
			}
			if err != nil {
				return err
			}
			stream.Close() // the network may have fallen silent when it was open
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			silent := 0
			for bytes := int64(8); ; bytes += 80 { // the question for TLS is eight
				direct := *cfg
				direct.Port = f.cfg.Port
				source, err := Open(t.Context(), &direct, f.database)
				if err != nil {
					t.Fatal(err)
				}
				source.cfg.Port = cfg.Port // of the connections to come
				proxy.SilenceAfter(bytes)
				err = ask(source)
				source.Close(context.Background())
				proxy.Cut()
				if err == nil {
					break
				}
				if !errors.Is(err, ErrSilent) && !source.FellSilent() || Classify(err).Class != Retry {
					t.Fatalf("silent after %d bytes: %v", bytes, err)
				}
				silent++
			}
			if silent < 5 {
				t.Errorf("it came about when there had been %d silences", silent)
			}
		})
	}
}

// TestSilentSlot: the making of a slot waits for an open transaction for longer
// than the server may be silent elsewhere, and does not wait for an answer that is
// lost.
func TestSilentSlot(t *testing.T) {
	f := newFixture(t, `CREATE TABLE t (id int PRIMARY KEY)`)
	proxy, cfg := f.proxied(t)
	source, err := Open(t.Context(), cfg, f.database)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close(context.Background())
	for _, silence := range []bool{false, true} {
		f.exec(t, `BEGIN`, `INSERT INTO t SELECT count(*) FROM t`)
		made := make(chan error, 1)
		go func() {
			snapshot, err := source.CreateSlot(context.Background(), f.database, false)
			if err == nil {
				err = snapshot.Close(context.Background())
			}
			made <- err
		}()
		waited := time.NewTimer(4 * cfg.Silence)
		select {
		case err := <-made:
			t.Fatalf("the slot did not wait for the transaction: %v", err)
		case <-waited.C:
		}
		if silence {
			proxy.Silence()
		}
		f.exec(t, `COMMIT`)
		if err := <-made; silence != errors.Is(err, ErrSilent) || err != nil && Classify(err).Class != Retry {
			t.Errorf("silence %v: %v", silence, err)
		}
		for err := f.source.DropSlot(t.Context(), f.database); err != nil; err = f.source.DropSlot(t.Context(), f.database) {
			if Classify(err).SQLState != "55006" { // the process that was ended still has it
				t.Fatal(err)
			}
		}
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
