package postgres

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// workload is a slot with changes in it.
type workload struct {
	server   *pgserver.Server
	database string
	types    *TypeMap
	start    uint64
	last     uint64 // a commit at or after the last one
	changes  int
}

const benchRows = 100_000

var benchTables = map[string]string{
	"accounts": `CREATE TABLE t (aid int PRIMARY KEY, bid int, filler text);
		SELECT pg_create_logical_replication_slot('%[1]s', 'pgoutput');
		INSERT INTO t SELECT n, n / 1000, repeat('x', 84) FROM generate_series(1, %[2]d) n`,
	"orders": `CREATE TABLE t (id bigint PRIMARY KEY, customer int, item int, ordered timestamptz, shipped timestamptz, total numeric(12,2),
			status text, country text, attributes jsonb, tags text[], paid bool, ref uuid);
		SELECT pg_create_logical_replication_slot('%[1]s', 'pgoutput');
		INSERT INTO t SELECT n, n %% 10000, n %% 777, '2024-01-01'::timestamptz + n * interval '1.7 s', '2024-02-01'::timestamptz + n * interval '1.3 s', n * 1.37,
			'shipped', 'DE', jsonb_build_object('a', n, 'text', repeat('lorem ipsum ', 12), 'list', jsonb_build_array(1, 2, 3)), ARRAY['new', 'x' || n], n %% 2 = 0, md5(n::text)::uuid
			FROM generate_series(1, %[2]d) n`,
}

func newWorkload(b *testing.B, table string) *workload {
	b.Helper()
	server := pgserver.Test(b, pgserver.Options{})
	w := &workload{server: server, database: server.Database(b), changes: benchRows}
	conn := session(b, server, w.database)
	mustExec(b, conn, "CREATE PUBLICATION leat FOR ALL TABLES")
	if _, err := conn.PgConn().Exec(b.Context(), "SELECT 1").ReadAll(); err != nil {
		b.Fatal(err)
	}
	for i, sql := range bytes.Split([]byte(fmt.Sprintf(benchTables[table], w.database, benchRows)), []byte(";")) {
		if _, err := conn.Exec(b.Context(), string(sql), pgx.QueryExecModeSimpleProtocol); err != nil {
			b.Fatalf("statement %d: %v", i, err)
		}
	}
	var end string
	if err := conn.QueryRow(b.Context(), "SELECT pg_current_wal_lsn()::text").Scan(&end); err != nil {
		b.Fatal(err)
	}
	var err error
	if w.last, err = batch.ParseLSN(end); err != nil {
		b.Fatal(err)
	}
	if w.types, err = loadTypes(b.Context(), conn); err != nil {
		b.Fatal(err)
	}
	return w
}

func (w *workload) open(b *testing.B, binary bool) *Stream {
	b.Helper()
	cfg, err := pgconn.ParseConfig(w.server.SocketDSN(w.database))
	if err != nil {
		b.Fatal(err)
	}
	s, err := OpenStream(b.Context(), cfg, StreamOptions{
		Slot: w.database, Publications: []string{"leat"}, Binary: binary, Database: w.database,
		MaxBytes: 16 << 20, MaxRows: 50_000, Types: func() *TypeMap { return w.types },
	})
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// receive reads the log with the stream's connection code alone, up to the
// commit of the workload, and hands the messages to keep.
func (w *workload) receive(b *testing.B, binaryValues bool, keep func(message []byte)) {
	b.Helper()
	s := w.open(b, binaryValues)
	defer s.Close()
	changes := 0
	for {
		if err := s.wire.fill(); err != nil {
			b.Fatal(err)
		}
		for {
			kind, body, ok, err := s.wire.next()
			if err != nil {
				b.Fatal(err)
			}
			if !ok {
				break
			}
			if kind != 'd' || body[0] != 'w' {
				continue
			}
			m := body[25:]
			keep(m)
			if m[0] == 'I' {
				changes++
			}
			if m[0] == 'C' && changes == w.changes {
				return
			}
			if m[0] == 'C' && binary.BigEndian.Uint64(m[10:]) > w.last {
				b.Fatalf("%d changes, want %d", changes, w.changes)
			}
		}
	}
}

// stream reads the same through Run and Next.
func (w *workload) stream(b *testing.B, binary bool) {
	b.Helper()
	s := w.open(b, binary)
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	for rows := 0; rows < w.changes; {
		g, err := s.Next(ctx)
		if err != nil {
			b.Fatal(err)
		}
		for _, out := range g.Batches {
			rows += out.Len()
			out.Release()
		}
	}
	cancel()
	<-done
}

// BenchmarkDecodeTrace decodes recorded messages.
func BenchmarkDecodeTrace(b *testing.B) {
	for _, table := range []string{"accounts", "orders"} {
		w := newWorkload(b, table)
		for _, binary := range []bool{false, true} {
			var trace [][]byte
			w.receive(b, binary, func(m []byte) { trace = append(trace, bytes.Clone(m)) })
			b.Run(fmt.Sprintf("%s/binary=%v", table, binary), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					d := newPgoutput(relationSource{binary: binary, types: func() *TypeMap { return w.types }}, 1, batch.Position{})
					for _, m := range trace {
						if _, err := d.decode(b.Context(), m); err != nil {
							b.Fatal(err)
						}
						if d.group.rows == 50_000 {
							release(d.cut())
						}
					}
					release(d.cut())
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*w.changes), "ns/change")
			})
		}
	}
}

func release(g *Group) {
	for _, b := range g.Batches {
		b.Release()
	}
}

// BenchmarkStream compares receiving and decoding with receiving alone, run
// by turns: the rates of the best turns, and the CPU time of this process,
// which other work on the machine disturbs less.
func BenchmarkStream(b *testing.B) {
	for _, table := range []string{"accounts", "orders"} {
		w := newWorkload(b, table)
		for _, binary := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/binary=%v", table, binary), func(b *testing.B) {
				bare, full := cost{wall: math.MaxInt64, cpu: math.MaxInt64}, cost{wall: math.MaxInt64, cpu: math.MaxInt64}
				for b.Loop() {
					bare.best(func() { w.receive(b, binary, func([]byte) {}) })
					full.best(func() { w.stream(b, binary) })
				}
				b.ReportMetric(float64(w.changes)/bare.wall.Seconds(), "bare/s")
				b.ReportMetric(float64(w.changes)/full.wall.Seconds(), "stream/s")
				b.ReportMetric(bare.wall.Seconds()/full.wall.Seconds(), "ratio")
				b.ReportMetric(float64(bare.cpu.Nanoseconds())/float64(w.changes), "bare-cpu-ns/change")
				b.ReportMetric(float64(full.cpu.Nanoseconds())/float64(w.changes), "stream-cpu-ns/change")
			})
		}
	}
}

// cost is the least that some work took.
type cost struct{ wall, cpu time.Duration }

func (c *cost) best(work func()) {
	start, before := time.Now(), cpuTime()
	work()
	c.wall = min(c.wall, time.Since(start))
	c.cpu = min(c.cpu, cpuTime()-before)
}

// cpuTime is what this process has used, in user and system mode.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
