package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// tap is a stream of a fixture's database with its Run under way.
type tap struct {
	*Stream
	stop func() error
}

// publish makes a publication for all tables and a slot, both called leat.
func (f *fixture) publish(t testing.TB) (start uint64) {
	t.Helper()
	if _, err := f.conn.Exec(t.Context(), "CREATE PUBLICATION leat FOR ALL TABLES"); err != nil {
		t.Fatal(err)
	}
	var text string
	if err := f.conn.QueryRow(t.Context(), "SELECT lsn::text FROM pg_create_logical_replication_slot($1, 'pgoutput')", f.database).Scan(&text); err != nil {
		t.Fatal(err)
	}
	start, err := batch.ParseLSN(text)
	if err != nil {
		t.Fatal(err)
	}
	return start
}

// options are those of a stream of the fixture's slot.
func (f *fixture) options(start uint64) StreamOptions {
	return StreamOptions{
		Slot: f.database, Publications: []string{"leat"}, Start: start, SkipTo: batch.Position{LSN: start},
		StatusInterval: 50 * time.Millisecond, Database: f.database,
		Tables: f.source.TableByOID, Types: f.source.Types,
	}
}

func (f *fixture) tap(t testing.TB, o StreamOptions) *tap {
	t.Helper()
	cfg, err := f.cfg.ReplicationConfig(f.database)
	if err != nil {
		t.Fatal(err)
	}
	s, err := OpenStream(t.Context(), cfg, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	var result error
	stopped := false
	stop := func() error {
		if !stopped {
			cancel()
			stopped, result = true, <-done
		}
		return result
	}
	t.Cleanup(func() { stop() })
	return &tap{s, stop}
}

// next returns the next group within a time that no working stream needs.
func (s *tap) next(t testing.TB) *Group {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	g, err := s.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// describe prints the rows of groups, an absent cell as -.
func describe(t testing.TB, groups ...*Group) []string {
	t.Helper()
	var out []string
	for _, g := range groups {
		for _, b := range g.Batches {
			for row := range b.Len() {
				line := b.Schema.Table.Name + " " + string(rune(b.Ops[row]))
				for col := range b.Schema.Columns {
					switch text := canonical(t, b, col, row); {
					case !b.IsPresent(col, row):
						line += " -"
					case text == nil:
						line += " null"
					case len(*text) > 20:
						line += fmt.Sprintf(" %s..%d", (*text)[:3], len(*text))
					default:
						line += " " + *text
					}
				}
				out = append(out, line)
			}
		}
		for i := range g.Failed {
			out = append(out, "failed "+g.Failed[i].Op.String()+" "+g.Failed[i].Schema.Columns[g.Failed[i].Column].Name)
		}
	}
	return out
}

func expect(t testing.TB, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func TestStreamHandsOutWhatWasCommitted(t *testing.T) {
	for _, binary := range []bool{false, true} {
		t.Run(fmt.Sprintf("binary=%v", binary), func(t *testing.T) {
			f := newFixture(t, `CREATE TABLE a (id int PRIMARY KEY, v text, big text)`,
				`CREATE TABLE f (id int PRIMARY KEY, big text)`, `ALTER TABLE f REPLICA IDENTITY FULL`,
				`CREATE TABLE k (x int, y text)`, `ALTER TABLE k REPLICA IDENTITY FULL`)
			o := f.options(f.publish(t))
			o.Binary = binary
			// A linger longer than the test, ended by the last row's size,
			// makes one group of it all.
			o.Linger, o.MaxRows = time.Hour, 22
			s := f.tap(t, o)
			long := `(SELECT string_agg(md5(n::text), '') FROM generate_series(1, 500) n)`
			f.exec(t,
				`INSERT INTO a VALUES (1, 'one', NULL), (2, '', `+long+`)`,
				`BEGIN; INSERT INTO a VALUES (90, 'rolled back', NULL); ROLLBACK`,
				`BEGIN; INSERT INTO a VALUES (3, 'kept', NULL); SAVEPOINT s; INSERT INTO a VALUES (91, 'gone', NULL); ROLLBACK TO s; INSERT INTO a VALUES (4, 'too', NULL); COMMIT`,
				`UPDATE a SET v = 'two' WHERE id = 2`,
				`UPDATE a SET id = 20 WHERE id = 2`,
				`UPDATE a SET id = id WHERE id = 1`,
				`DELETE FROM a WHERE id = 3`,
				`INSERT INTO f VALUES (1, `+long+`)`,
				`UPDATE f SET id = 1 WHERE id = 1`,
				`UPDATE f SET id = 2 WHERE id = 1`,
				`DELETE FROM f`,
				`INSERT INTO k VALUES (1, 'a'), (1, 'a')`,
				`UPDATE k SET y = 'b' WHERE ctid = '(0,1)'`,
				`UPDATE k SET y = 'a' WHERE y = 'a'`,
				`DELETE FROM k WHERE y = 'b'`,
				`TRUNCATE a, k`,
				`INSERT INTO a VALUES (1, 'again', NULL)`,
				`ALTER TABLE a ADD COLUMN n numeric(6,2) DEFAULT 1.5`,
				`INSERT INTO a VALUES (2, 'wider', NULL)`,
				`INSERT INTO a VALUES (3, 'x', NULL), (4, 'x', NULL)`)
			g := s.next(t)
			expect(t, describe(t, g),
				"a I 1 one null", "a I 2  c4c..16000", "a I 3 kept null", "a I 4 too null",
				"a U 2 two -", "a K 2 - -", "a U 20 two -", "a U 1 one null", "a D 3 - -",
				"f I 1 c4c..16000", "f U 1 c4c..16000", "f K 1 -", "f U 2 c4c..16000", "f D 2 c4c..16000",
				"k I 1 a", "k I 1 a", "k K 1 a", "k U 1 b", "k K 1 a", "k U 1 a", "k D 1 b",
				"a T - - -", "k T - -", "a I 1 again null",
				"a I 2 wider null 1.50", "a I 3 x null 1.50", "a I 4 x null 1.50")
			if !g.Complete || g.Position.Ordinal != batch.EndOfTransaction || g.LastCommitTime == 0 || g.ReceivedBytes < 48000 {
				t.Errorf("group %+v", g)
			}
			for _, b := range g.Batches {
				if b.Position != g.Position {
					t.Errorf("batch of %s reaches %s, group %s", b.Schema.Table, b.Position, g.Position)
				}
			}
			if err := s.stop(); !errors.Is(err, context.Canceled) {
				t.Errorf("Run returned %v", err)
			}
		})
	}
}

func TestGroupsOfAWaitingConsumerEndAtEachCommit(t *testing.T) {
	f := newFixture(t, `CREATE TABLE a (id int PRIMARY KEY)`)
	s := f.tap(t, f.options(f.publish(t)))
	for i := range 3 {
		f.exec(t, fmt.Sprintf(`INSERT INTO a VALUES (%d), (-%d)`, i, i+1))
		g := s.next(t)
		expect(t, describe(t, g), fmt.Sprintf("a I %d", i), fmt.Sprintf("a I -%d", i+1))
		if g.Batches[0].Ordinal[0] != 1 || g.Batches[0].Ordinal[1] != 2 || g.Batches[0].LSN[0] != g.Position.LSN {
			t.Errorf("positions %v %v of group %s", g.Batches[0].LSN, g.Batches[0].Ordinal, g.Position)
		}
	}
}

func TestLargeTransactionComesInParts(t *testing.T) {
	f := newFixture(t, `CREATE TABLE a (id int PRIMARY KEY, v text)`)
	start := f.publish(t)
	o := f.options(start)
	o.MaxRows = 1000
	s := f.tap(t, o)
	f.exec(t, `INSERT INTO a VALUES (0, 'small')`,
		`INSERT INTO a SELECT n, repeat('x', 50) FROM generate_series(1, 10500) n`)
	var rows, parts int
	var middle batch.Position
	for {
		g := s.next(t)
		for _, b := range g.Batches {
			if b.Len() > 2*o.MaxRows {
				t.Errorf("batch of %d rows", b.Len())
			}
			rows += b.Len()
			b.Release()
		}
		parts++
		if g.Complete && rows == 10501 {
			break
		}
		if !g.Complete && middle.IsZero() {
			middle = g.Position
		}
		s.Acknowledge(g.Position)
	}
	if parts < 5 || middle.Ordinal == 0 {
		t.Fatalf("%d parts, first cut at %s", parts, middle)
	}
	if got := s.Stats().Acknowledged; got > middle.LSN {
		t.Errorf("acknowledged %s inside the transaction of %s", batch.FormatLSN(got), middle)
	}
	s.stop()

	// What was durable in the middle is not handed out again.
	o.SkipTo = middle
	s = f.tap(t, o)
	again := 0
	for {
		g := s.next(t)
		for _, b := range g.Batches {
			for i := range b.Len() {
				if at := (batch.Position{LSN: b.LSN[i], Ordinal: b.Ordinal[i]}); at.Compare(middle) <= 0 {
					t.Fatalf("row at %s after skipping to %s", at, middle)
				}
			}
			again += b.Len()
		}
		if g.Complete {
			break
		}
	}
	if want := 10500 - int(middle.Ordinal); again != want {
		t.Errorf("%d rows after %s, want %d", again, middle, want)
	}
}

func TestAcknowledgedChangesDoNotComeAgain(t *testing.T) {
	f := newFixture(t, `CREATE TABLE a (id int PRIMARY KEY)`)
	o := f.options(f.publish(t))
	s := f.tap(t, o)
	f.exec(t, `INSERT INTO a VALUES (1)`)
	g := s.next(t)
	s.Acknowledge(g.Position)
	s.stop() // the last status update goes out before the slot is left
	var confirmed string
	if err := f.conn.QueryRow(t.Context(), `SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = $1 AND NOT active`, f.database).Scan(&confirmed); err != nil {
		t.Fatal(err)
	}
	if lsn, err := batch.ParseLSN(confirmed); err != nil || lsn <= g.Position.LSN {
		t.Errorf("slot confirmed %s after %s (%v)", confirmed, g.Position, err)
	}
	f.exec(t, `INSERT INTO a VALUES (2)`)
	expect(t, describe(t, f.tap(t, o).next(t)), "a I 2")
}

func TestIdleSlotMovesOn(t *testing.T) {
	f := newFixture(t, `CREATE TABLE a (id int PRIMARY KEY)`)
	s := f.tap(t, f.options(f.publish(t)))
	f.exec(t, `INSERT INTO a VALUES (1)`)
	g := s.next(t)
	if p, ok := s.IdlePosition(); ok {
		t.Fatalf("idle at %s with a group that is not durable", p)
	}
	s.Acknowledge(g.Position)
	end, err := f.source.Heartbeat(t.Context(), "beat")
	if err != nil {
		t.Fatal(err)
	}
	for {
		p, ok := s.IdlePosition()
		if ok && p.LSN >= end {
			if p.Ordinal != 0 || p.Compare(g.Position) <= 0 {
				t.Errorf("idle position %s after %s", p, g.Position)
			}
			s.Acknowledge(p)
			if got := s.Stats().Acknowledged; got != p.LSN {
				t.Errorf("acknowledged %s, want %s", batch.FormatLSN(got), p)
			}
			break
		}
		if err := t.Context().Err(); err != nil {
			t.Fatal(err)
		}
		s.await(t.Context(), 5*time.Millisecond)
	}
	f.exec(t, `INSERT INTO a VALUES (2)`)
	expect(t, describe(t, s.next(t)), "a I 2")
}

func TestBlockedConsumerKeepsTheConnection(t *testing.T) {
	server := pgserver.Own(t, pgserver.Options{Settings: map[string]string{"wal_sender_timeout": "2s"}})
	f := fixtureOn(t, server, `CREATE TABLE a (id int PRIMARY KEY, v text)`)
	o := f.options(f.publish(t))
	o.StatusInterval, o.MaxRows = 200*time.Millisecond, 100
	s := f.tap(t, o)
	f.exec(t, `INSERT INTO a SELECT n, repeat('x', 1000) FROM generate_series(1, 20000) n`)
	var sender int32
	if err := f.conn.QueryRow(t.Context(), `SELECT pid FROM pg_stat_replication`).Scan(&sender); err != nil {
		t.Fatal(err)
	}
	// Nobody takes a group while the server's clock passes its limit twice.
	f.exec(t, `SELECT pg_sleep(4.5)`)
	var still int32
	if err := f.conn.QueryRow(t.Context(), `SELECT pid FROM pg_stat_replication`).Scan(&still); err != nil || still != sender {
		t.Fatalf("walsender %d became %d: %v", sender, still, err)
	}
	if got := s.Stats().Messages; got > 5000 {
		t.Errorf("%d messages were read although nobody took them", got)
	}
	for rows := 0; rows < 20000; {
		for _, b := range s.next(t).Batches {
			rows += b.Len()
		}
	}
}

func TestRowThatCannotBeRepresentedFailsAlone(t *testing.T) {
	for _, binary := range []bool{false, true} {
		f := newFixture(t, `CREATE TABLE a (id int PRIMARY KEY, at timestamp)`)
		o := f.options(f.publish(t))
		o.Binary = binary
		s := f.tap(t, o)
		f.exec(t, `BEGIN; INSERT INTO a VALUES (1, '294276-01-01'), (2, 'infinity'); UPDATE a SET id = 3, at = '294276-01-01' WHERE id = 2; DELETE FROM a WHERE id = 1; COMMIT`)
		g := s.next(t)
		expect(t, describe(t, g), "a I 2 infinity", "a D 1 -", "failed insert at", "failed update at")
		if f := g.Failed[1]; f.Position.Ordinal != 3 || len(f.Old) == 0 || len(f.New) == 0 || !errors.Is(&f, errRange) {
			t.Errorf("failure %+v", f)
		}
	}
}

func TestBinaryStreamAsksForTextWhereItMust(t *testing.T) {
	f := newFixture(t, `CREATE TABLE a (id int PRIMARY KEY, price money)`, `CREATE TABLE b (id int PRIMARY KEY, at timestamptz, n numeric(8,2))`)
	o := f.options(f.publish(t))
	o.Binary = true
	s := f.tap(t, o)
	f.exec(t, `INSERT INTO a VALUES (1, 5)`)
	if _, err := s.Next(t.Context()); !errors.Is(err, ErrNeedsText) {
		t.Errorf("Next returned %v", err)
	}
	types, a, b := f.source.Types(), f.table(t, "public.a").Schema, f.table(t, "public.b").Schema
	if types.PreferBinary([]*batch.Schema{a, b}, 150000) || !types.PreferBinary([]*batch.Schema{b}, 150000) || types.PreferBinary([]*batch.Schema{b}, 130000) {
		t.Error("PreferBinary is wrong")
	}
}

func TestErrorsOfTheServerComeThrough(t *testing.T) {
	f := newFixture(t, `CREATE TABLE a (id int PRIMARY KEY)`)
	o := f.options(f.publish(t))
	missing := o
	missing.Slot = "no_such_slot"
	cfg, err := f.cfg.ReplicationConfig(f.database)
	if err != nil {
		t.Fatal(err)
	}
	var pg *pgconn.PgError
	if _, err := OpenStream(t.Context(), cfg, missing); !errors.As(err, &pg) || pg.Code != "42704" {
		t.Errorf("missing slot: %v", err)
	}
	wrong := o
	wrong.Timeline = 77
	var timeline *TimelineError
	if _, err := OpenStream(t.Context(), cfg, wrong); !errors.As(err, &timeline) || timeline.Got != 1 {
		t.Errorf("wrong timeline: %v", err)
	}
	s := f.tap(t, o)
	f.exec(t, `INSERT INTO a VALUES (1)`)
	s.next(t)
	f.exec(t, `SELECT pg_terminate_backend(pid) FROM pg_stat_replication WHERE pid = (SELECT active_pid FROM pg_replication_slots WHERE slot_name = '`+f.database+`')`)
	if _, err := s.Next(t.Context()); !errors.As(err, &pg) || pg.Code != "57P01" {
		t.Errorf("terminated walsender: %v", err)
	}
}

func TestEveryTypeStreams(t *testing.T) {
	for _, binary := range []bool{false, true} {
		f := newFixture(t)
		start := f.publish(t)
		schema, _, want := loadCases(t, session(t, f.server, f.database))
		o := f.options(start)
		o.Binary, o.Linger, o.MaxRows = binary, time.Second, 1<<20
		if binary {
			f.exec(t, "CREATE TABLE copied AS TABLE cases", "TRUNCATE cases")
			for i, c := range typeCases {
				if unsafeInBinary[c.typ] {
					f.exec(t, fmt.Sprintf("ALTER TABLE cases DROP COLUMN c%d", i), fmt.Sprintf("ALTER TABLE copied DROP COLUMN c%d", i))
				}
			}
			// What the log has of the columns that went is not part of this.
			f.exec(t, "SELECT pg_replication_slot_advance('"+f.database+"', pg_current_wal_lsn())", "INSERT INTO cases TABLE copied")
		}
		g := f.tap(t, o).next(t)
		b := g.Batches[len(g.Batches)-1]
		if len(g.Failed) > 0 || b.Len() != len(want) {
			t.Fatalf("binary %v: %d rows, want %d, failures %v", binary, b.Len(), len(want), g.Failed)
		}
		for i, c := range typeCases {
			col := b.Schema.Column(schema.Columns[i].Name)
			if col < 0 {
				continue
			}
			for row := range want {
				compareCell(t, c.typ, row, canonical(t, b, col, row), want[row][i])
			}
		}
	}
}

func TestKeyOfTheStreamIsTheCatalogues(t *testing.T) {
	f := newFixture(t,
		`CREATE TABLE swapped (a int, b int, PRIMARY KEY (b, a))`,
		`CREATE TABLE whole (a int, b int, c int PRIMARY KEY)`, `ALTER TABLE whole REPLICA IDENTITY FULL`,
		`CREATE TABLE other (a int PRIMARY KEY, b int NOT NULL UNIQUE)`, `ALTER TABLE other REPLICA IDENTITY USING INDEX other_b_key`,
		`CREATE TABLE bag (a int, b int)`, `ALTER TABLE bag REPLICA IDENTITY FULL`,
		`CREATE TABLE gone (a int, b int PRIMARY KEY)`)
	s := f.tap(t, f.options(f.publish(t)))
	for _, c := range []struct {
		table, values string
		key           []int
	}{{"swapped", "1, 2", []int{1, 0}}, {"whole", "1, 2, 3", []int{2}}, {"other", "1, 2", []int{1}}, {"bag", "1, 2", nil}} {
		f.exec(t, "INSERT INTO "+c.table+" VALUES ("+c.values+")")
		schema := s.next(t).Batches[0].Schema
		if !slices.Equal(schema.Key(), c.key) || schema.Fingerprint() != f.table(t, "public."+c.table).Schema.Fingerprint() {
			t.Errorf("%s: key %v, want %v and the catalogue's shape", c.table, schema.Key(), c.key)
		}
	}
	f.exec(t, "BEGIN; INSERT INTO gone VALUES (1, 2); DROP TABLE gone; COMMIT")
	if key := s.next(t).Batches[0].Schema.Key(); !slices.Equal(key, []int{1}) {
		t.Errorf("dropped table: key %v", key)
	}
}

func TestStreamHandsOutAtOnceWhatReachesUntil(t *testing.T) {
	f := newFixture(t, `CREATE TABLE a (id int PRIMARY KEY)`)
	o := f.options(f.publish(t))
	f.exec(t, `INSERT INTO a VALUES (1)`, `INSERT INTO a VALUES (2)`)
	conn := f.connect(t)
	var end string
	if err := conn.QueryRow(t.Context(), "SELECT pg_current_wal_insert_lsn()::text").Scan(&end); err != nil {
		t.Fatal(err)
	}
	var err error
	if o.Until, err = batch.ParseLSN(end); err != nil {
		t.Fatal(err)
	}
	o.Linger = time.Hour // longer than the test
	s := f.tap(t, o)
	f.exec(t, `INSERT INTO a VALUES (3)`) // commits behind Until
	var rows []string
	for len(rows) < 2 {
		rows = append(rows, describe(t, s.next(t))...)
	}
	expect(t, rows[:2], "a I 1", "a I 2")
	if err := s.stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("Run ended with %v", err)
	}
}
