package postgres

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// smallWorkMem makes the server stream transactions in progress early.
var smallWorkMem = map[string]string{"logical_decoding_work_mem": "64kB", "max_prepared_transactions": "20"}

var seed = flag.Uint64("seed", uint64(time.Now().UnixNano()), "seed of the random work")

// linesOf prints the rows of groups by table, each with its position, and
// releases them. What is cut where makes no difference to it.
func linesOf(t testing.TB, into map[string][]string, g *Group) {
	t.Helper()
	for _, b := range g.Batches {
		one := &Group{Batches: []*batch.Batch{b}}
		lines := describe(t, one)
		for row, line := range lines {
			lines[row] = fmt.Sprintf("%s %X/%d", line, b.LSN[row], b.Ordinal[row])
		}
		into[b.Schema.Table.Name] = append(into[b.Schema.Table.Name], lines...)
		b.Release()
	}
}

// readTo reads until everything that is committed now has come.
func (f *fixture) readTo(t *testing.T, o StreamOptions) (map[string][]string, StreamStats) {
	t.Helper()
	end, err := f.source.Heartbeat(t.Context(), "end")
	if err != nil {
		t.Fatal(err)
	}
	o.Until = end
	s := f.tap(t, o)
	out := map[string][]string{}
	for {
		if p, ok := s.IdlePosition(); ok && p.LSN >= end {
			break
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		g, err := s.Next(ctx)
		cancel()
		if err == nil {
			linesOf(t, out, g)
			s.Acknowledge(g.Position)
			continue
		}
		if s.ended != nil {
			t.Fatal(err)
		}
	}
	stats := s.Stats()
	s.stop()
	return out, stats
}

// twin makes a second slot at the same place as that of publish.
func (f *fixture) twin(t *testing.T) string {
	t.Helper()
	name := f.database + "_twin"
	f.exec(t, fmt.Sprintf("SELECT pg_copy_logical_replication_slot('%s', '%s')", f.database, name))
	return name
}

// TestStreamedTransactionsAreTheSame sends a random work of several sessions,
// with savepoints, rollbacks and table changes, through a stream that gets
// transactions in progress and one that gets them at their commit: rows,
// order and positions are the same.
func TestStreamedTransactionsAreTheSame(t *testing.T) {
	f := fixtureOn(t, pgserver.Test(t, pgserver.Options{Settings: smallWorkMem}),
		`CREATE TABLE a (id bigint PRIMARY KEY, v text, big text)`, `CREATE TABLE b (id bigint PRIMARY KEY, v text)`, `CREATE TABLE c (id bigint PRIMARY KEY, v text)`)
	start := f.publish(t)
	twin := f.twin(t)
	t.Logf("-seed %d", *seed)
	work(t, f, rand.New(rand.NewPCG(*seed, 1)))

	o := f.options(start)
	o.MaxRows = 700
	whole, _ := f.readTo(t, o)
	o.Slot, o.Streaming, o.SpillDir = twin, true, t.TempDir()+"/spill"
	early, stats := f.readTo(t, o)
	for _, table := range []string{"a", "b", "c"} {
		if len(whole[table]) == 0 && table != "c" || !slices.Equal(whole[table], early[table]) {
			t.Errorf("table %s: %d rows at the commit, %d streamed; first difference %s", table, len(whole[table]), len(early[table]), firstDifference(whole[table], early[table]))
		}
	}
	if stats.Uncommitted != 0 {
		t.Errorf("%d bytes are left of transactions that have ended", stats.Uncommitted)
	}
	if left, err := os.ReadDir(o.SpillDir); err != nil || len(left) > 0 {
		t.Errorf("spill folder: %v, %v", left, err)
	}
	var streamed int
	f.await(t, `SELECT stream_txns FROM pg_stat_replication_slots WHERE slot_name = '`+twin+`'`, &streamed, func() bool { return streamed > 3 })
}

func firstDifference(a, b []string) string {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("in row %d: %q, %q", i, a[i], b[i])
		}
	}
	return "at the end"
}

// await asks the server until reached.
func (f *fixture) await(t *testing.T, sql string, into any, reached func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		if err := f.conn.QueryRow(ctx, sql).Scan(into); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		if reached() {
			return
		}
	}
}

// work runs interleaved transactions of four sessions, most of them beyond
// what the server decodes in memory.
func work(t *testing.T, f *fixture, r *rand.Rand) {
	t.Helper()
	type session struct {
		conn       *pgx.Conn
		open       bool
		savepoints int
	}
	sessions := make([]session, 4)
	for i := range sessions {
		sessions[i].conn = f.connect(t)
	}
	next := 0
	do := func(s *session, sql string) {
		t.Helper()
		if _, err := s.conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	for range 220 {
		i := r.IntN(len(sessions))
		s := &sessions[i]
		if !s.open {
			do(s, "BEGIN")
			s.open, s.savepoints = true, 0
		}
		table := []string{"a", "b"}[r.IntN(2)]
		switch n := r.IntN(20); {
		case n < 9:
			rows := 1 + r.IntN(700)
			do(s, fmt.Sprintf("INSERT INTO %s (id, v) SELECT n, 's%d ' || repeat('x', 60) FROM generate_series(%d, %d) n", table, i, next, next+rows-1))
			next += rows
		case n < 11:
			do(s, fmt.Sprintf("UPDATE %s SET v = v || 'u' WHERE id %% 4 = %d AND id >= %d AND v LIKE 's%d%%'", table, i, next-2000, i))
		case n < 12:
			do(s, fmt.Sprintf("DELETE FROM %s WHERE id %% 20 = %d AND v LIKE 's%d%%'", table, i, i))
		case n < 15:
			do(s, fmt.Sprintf("SAVEPOINT s%d", s.savepoints))
			s.savepoints++
		case n < 17:
			if s.savepoints > 0 {
				s.savepoints = r.IntN(s.savepoints)
				do(s, fmt.Sprintf("ROLLBACK TO s%d", s.savepoints))
				if s.savepoints == 0 {
					do(s, "RELEASE s0")
				}
			}
		case n < 18 && i == 0:
			// Only one session touches c, so that no other waits for its lock.
			do(s, fmt.Sprintf("INSERT INTO c (id, v) SELECT n, repeat('c', 80) FROM generate_series(%d, %d) n", next, next+400))
			do(s, fmt.Sprintf("SAVEPOINT ddl; ALTER TABLE c ADD COLUMN gone%d int; INSERT INTO c (id, v) SELECT n, repeat('d', 80) FROM generate_series(%d, %d) n", next, next+401, next+900))
			if r.IntN(2) == 0 {
				do(s, "ROLLBACK TO ddl")
			}
			do(s, fmt.Sprintf("INSERT INTO c (id, v) SELECT n, repeat('e', 80) FROM generate_series(%d, %d) n", next+901, next+1300))
			next += 1301
		default:
			do(s, []string{"COMMIT", "COMMIT", "ROLLBACK"}[r.IntN(3)])
			s.open = false
		}
	}
	for i := range sessions {
		if sessions[i].open {
			do(&sessions[i], "COMMIT")
		}
	}
}

// TestPreparedTransactions keeps what is prepared until its COMMIT PREPARED,
// over a restart of the reader, with and without two-phase decoding.
func TestPreparedTransactions(t *testing.T) {
	server := pgserver.Test(t, pgserver.Options{Settings: smallWorkMem})
	modes := []bool{false}
	if server.Major() >= 15 { // earlier ones cannot send them
		modes = append(modes, true)
	}
	for _, twoPhase := range modes {
		for _, rows := range []int{3, 3000} { // the large ones are streamed as well
			t.Run(fmt.Sprintf("two_phase=%v rows=%d", twoPhase, rows), func(t *testing.T) {
				f := fixtureOn(t, server, `CREATE TABLE a (id int PRIMARY KEY, v text)`, `CREATE TABLE b (id int PRIMARY KEY)`)
				o := f.options(f.publish(t))
				o.Streaming, o.TwoPhase, o.SpillDir = true, twoPhase, t.TempDir()+"/spill"
				insert := func(from int) string {
					return fmt.Sprintf(`INSERT INTO a SELECT n, repeat('x', 60) FROM generate_series(%d, %d) n`, from, from+rows-1)
				}
				prefix := f.database
				s := f.tap(t, o)
				f.exec(t, `BEGIN; `+insert(0)+`; PREPARE TRANSACTION '`+prefix+`kept'`,
					`BEGIN; `+insert(10_000)+`; PREPARE TRANSACTION '`+prefix+`dropped'`,
					`INSERT INTO b VALUES (1)`)
				g := s.next(t)
				expect(t, describe(t, g), "b I 1")
				s.Acknowledge(g.Position)
				if uncommitted := s.Stats().Uncommitted; (uncommitted > 0) != twoPhase && rows == 3 {
					t.Errorf("%d bytes of uncommitted transactions", uncommitted)
				}
				s.stop()

				// The reader starts anew with what the destination has.
				var confirmed string
				if err := f.conn.QueryRow(t.Context(), `SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = $1`, f.database).Scan(&confirmed); err != nil {
					t.Fatal(err)
				}
				lsn, err := batch.ParseLSN(confirmed)
				if err != nil {
					t.Fatal(err)
				}
				if twoPhase && lsn >= g.Position.LSN {
					t.Errorf("the slot was let past what is prepared: %s, %s", confirmed, g.Position)
				}
				o.Start, o.SkipTo = lsn, g.Position
				s = f.tap(t, o)
				f.exec(t, `ROLLBACK PREPARED '`+prefix+`dropped'`, `INSERT INTO b VALUES (2)`, `COMMIT PREPARED '`+prefix+`kept'`, `INSERT INTO b VALUES (3)`)
				got := map[string][]string{}
				var last *Group
				for len(got["b"]) < 2 {
					last = s.next(t)
					linesOf(t, got, last)
				}
				if len(got["a"]) != rows || !strings.HasPrefix(got["a"][0], "a I 0 ") || len(got["b"]) != 2 {
					t.Errorf("%d rows of a, the first %q; b %q", len(got["a"]), slices.Concat(got["a"], []string{""})[0], got["b"])
				}
				s.Acknowledge(last.Position)
				if stats := s.Stats(); stats.Uncommitted != 0 || stats.Acknowledged < last.Position.LSN {
					t.Errorf("at the end %+v after %s", stats, last.Position)
				}
			})
		}
	}
}
