package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/leat-etl/leat/engine/batch"
)

// read hands the rows of chunks, as text, to add, and returns the batches'
// sizes.
func (f *fixture) read(t *testing.T, snapshot *Snapshot, table *Table, chunks []Chunk, limit Limit, add func(row string)) (sizes []int) {
	t.Helper()
	reader, err := snapshot.Join(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close(context.Background())
	for _, chunk := range chunks {
		emitted := 0
		rows, _, err := reader.ReadChunk(t.Context(), table, chunk, limit, func(b *batch.Batch, failed []RawFailure) error {
			defer b.Release()
			if len(failed) > 0 {
				return &failed[0]
			}
			if b.Position.LSN != snapshot.LSN || b.Ops[0] != batch.Read {
				return fmt.Errorf("batch at %s", b.Position)
			}
			for i := range b.Len() {
				var cells []string
				for c := range table.Schema.Columns {
					cells = append(cells, b.Rows.Column(c).ValueStr(i))
				}
				add(strings.Join(cells, "|"))
			}
			emitted += b.Len()
			sizes = append(sizes, b.Len())
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if int(rows) != emitted {
			t.Errorf("chunk %d: %d rows counted, %d emitted", chunk.Seq, rows, emitted)
		}
	}
	return sizes
}

// readAll plans small chunks and counts how often each row is read.
func (f *fixture) readAll(t *testing.T, snapshot *Snapshot, table *Table) (map[string]int, []Chunk) {
	t.Helper()
	chunks := f.plan(t, table)
	rows := make(map[string]int)
	f.read(t, snapshot, table, chunks, Limit{Rows: 100, Bytes: 1 << 20}, func(row string) { rows[row]++ })
	return rows, chunks
}

func (f *fixture) plan(t *testing.T, table *Table) []Chunk {
	t.Helper()
	chunks, err := f.source.PlanChunks(t.Context(), table, 32<<10)
	if err != nil {
		t.Fatal(err)
	}
	return chunks
}

func (f *fixture) takeSnapshot(t *testing.T) *Snapshot {
	t.Helper()
	snapshot, err := f.source.TakeSnapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { snapshot.Close(context.Background()) })
	return snapshot
}

// rowsOf returns the table as conn sees it, in the form of read.
func rowsOf(t *testing.T, conn *pgx.Conn, query string) map[string]int {
	t.Helper()
	rows, err := conn.Query(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]int)
	var row string
	if _, err := pgx.ForEachRow(rows, []any{&row}, func() error { out[row]++; return nil }); err != nil {
		t.Fatal(err)
	}
	return out
}

func differ(t *testing.T, got, want map[string]int) {
	t.Helper()
	shown := 0
	for row, n := range want {
		if got[row] != n && shown < 10 {
			t.Errorf("row %.80s: read %d times, want %d", row, got[row], n)
			shown++
		}
	}
	for row, n := range got {
		if want[row] == 0 && shown < 10 {
			t.Errorf("row %.80s: read %d times, not in the table", row, n)
			shown++
		}
	}
}

func TestChunksUnderConcurrentUpdates(t *testing.T) {
	f := newFixture(t, `CREATE TABLE t (id int PRIMARY KEY, v text)`, `INSERT INTO t SELECT i, repeat('x', 100) FROM generate_series(1, 20000) i`)
	table := f.table(t, "t")
	snapshot := f.takeSnapshot(t)
	want := rowsOf(t, f.conn, `SELECT concat_ws('|', id, v) FROM t`)

	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	writer := f.connect(t)
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			id := random.IntN(20000)
			_, err := writer.Exec(context.Background(), fmt.Sprintf(`UPDATE t SET v = v || 'y' WHERE id BETWEEN %d AND %[1]d + 50; DELETE FROM t WHERE id = %[1]d; INSERT INTO t SELECT 20000 + %[1]d ON CONFLICT DO NOTHING`, id))
			if err != nil {
				done <- err
				return
			}
		}
	}()
	got, chunks := f.readAll(t, snapshot, table)
	close(stop)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if len(chunks) < 20 {
		t.Errorf("only %d chunks", len(chunks))
	}
	differ(t, got, want)
}

// TestOldServersReadByRowNumber goes the way of servers that cannot scan a
// range of ctid.
func TestOldServersReadByRowNumber(t *testing.T) {
	f := newFixture(t, `CREATE TABLE t (id int)`, `INSERT INTO t SELECT generate_series(1, 3000)`, `CREATE TABLE empty (id int)`)
	snapshot := f.takeSnapshot(t)
	f.source.Version = 130000
	got, chunks := f.readAll(t, snapshot, f.table(t, "t"))
	differ(t, got, rowsOf(t, f.conn, `SELECT id::text FROM t`))
	if len(chunks) < 3 {
		t.Errorf("only %d chunks", len(chunks))
	}
	if got, _ := f.readAll(t, snapshot, f.table(t, "empty")); len(got) != 0 {
		t.Errorf("empty table: %v", got)
	}
}

func TestChunksOfPartitionedTable(t *testing.T) {
	f := newFixture(t, `CREATE TABLE parts (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)`,
		`CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (5000)`,
		`CREATE TABLE parts_2 (v text, gone int, id int NOT NULL)`, `ALTER TABLE parts_2 DROP COLUMN gone`,
		`ALTER TABLE parts ATTACH PARTITION parts_2 DEFAULT`,
		`CREATE TABLE parent (id int)`, `CREATE TABLE child () INHERITS (parent)`, `INSERT INTO child VALUES (1)`,
		`INSERT INTO parts SELECT i, 'v' || i FROM generate_series(1, 10000) i`)
	snapshot := f.takeSnapshot(t)
	got, _ := f.readAll(t, snapshot, f.table(t, "parts"))
	differ(t, got, rowsOf(t, f.conn, `SELECT concat_ws('|', id, v) FROM parts`))
	if got, _ := f.readAll(t, snapshot, f.table(t, "parent")); len(got) != 0 {
		t.Errorf("the parent was read with its child: %v", got)
	}
}

func TestBatchesAreCut(t *testing.T) {
	f := newFixture(t, `CREATE TABLE t (id int PRIMARY KEY, v text)`,
		`INSERT INTO t SELECT i, CASE WHEN i = 50 THEN repeat('x', 100000) ELSE 'small' END FROM generate_series(1, 100) i`)
	whole := func(limit Limit) []int {
		chunks, err := f.source.PlanChunks(t.Context(), f.table(t, "t"), 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		return f.read(t, f.takeSnapshot(t), f.table(t, "t"), chunks, limit, func(string) {})
	}
	if got := fmt.Sprint(whole(Limit{Rows: 30, Bytes: 1 << 30})); got != "[30 30 30 10]" {
		t.Errorf("by rows: %s", got)
	}
	if got := fmt.Sprint(whole(Limit{Rows: 1000, Bytes: 10000})); got != "[49 1 50]" {
		t.Errorf("by bytes: %s", got)
	}
}

func TestEmitErrorComesBack(t *testing.T) {
	f := newFixture(t, `CREATE TABLE t (id int PRIMARY KEY)`, `INSERT INTO t SELECT generate_series(1, 100)`)
	reader, err := f.takeSnapshot(t).Join(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close(context.Background())
	table, full := f.table(t, "t"), errors.New("destination is full")
	for _, rows := range []int{1000, 10} { // at the end of the data, and inside, which costs the connection
		_, _, err = reader.ReadChunk(t.Context(), table, f.plan(t, table)[0], Limit{Rows: rows, Bytes: 1 << 20}, func(b *batch.Batch, _ []RawFailure) error {
			b.Release()
			return full
		})
		if err != full {
			t.Errorf("error %v", err)
		}
	}
	if !reader.Closed() {
		t.Error("the reader is in the middle of a COPY")
	}
}

// TestResumeReadsNewPartitions moves a row into a partition that is younger
// than the plan.
func TestResumeReadsNewPartitions(t *testing.T) {
	f := newFixture(t, `CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY RANGE (id)`,
		`CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (100)`, `INSERT INTO parts VALUES (1), (2)`)
	table := f.table(t, "parts")
	first := f.takeSnapshot(t)
	ledger := []LedgerEntry{{Chunk: f.plan(t, table)[0], ReadIn: first.Visible}}
	f.exec(t, `CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (100) TO (200)`, `UPDATE parts SET id = 101 WHERE id = 1`)
	second := f.takeSnapshot(t)
	chunks, err := f.table(t, "parts").ResumeChunks(ledger, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if len(chunks) != 2 || chunks[0].Seq == chunks[1].Seq || chunks[0].CatchUp == "" || chunks[1].CatchUp != "" {
		t.Errorf("chunks %+v", chunks)
	}
	got := make(map[string]int)
	f.read(t, second, table, chunks, Limit{Rows: 10, Bytes: 1 << 20}, func(row string) { got[row]++ })
	differ(t, got, map[string]int{"101": 1})
}

// TestTypesTravelAsText reads types whose binary form the decoder leaves to
// the server.
func TestTypesTravelAsText(t *testing.T) {
	f := newFixture(t, `CREATE TABLE t (id int PRIMARY KEY, x xml, acl aclitem, snap txid_snapshot, q tsquery)`,
		`INSERT INTO t VALUES (1, '<a/>', 'postgres=r/postgres', '10:20:15', 'a & !b')`)
	got, _ := f.readAll(t, f.takeSnapshot(t), f.table(t, "t"))
	differ(t, got, map[string]int{"1|<a/>|postgres=r/postgres|10:20:15|'a' & !'b'": 1})
}

func TestResumeFindsMovedRow(t *testing.T) {
	f := newFixture(t, `CREATE TABLE t (id int PRIMARY KEY, v text) WITH (autovacuum_enabled = off)`,
		`INSERT INTO t SELECT i, repeat('x', 200) FROM generate_series(1, 2000) i`,
		`DELETE FROM t WHERE id <= 200`, `VACUUM (TRUNCATE off) t`) // room in the first blocks
	table := f.table(t, "t")
	first := f.takeSnapshot(t)
	chunks := f.plan(t, table)
	copied := make(map[string]string) // by key, as a destination keeps them
	add := func(row string) {
		key, _, _ := strings.Cut(row, "|")
		copied[key] = row
	}
	half := len(chunks) / 2
	f.read(t, first, table, chunks[:half], Limit{Rows: 1000, Bytes: 1 << 20}, add)
	first.Close(t.Context())

	// The crash. Two rows of the unread half move into the read half, one of
	// them in a sub-transaction. A new session starts from the free space map.
	mover := f.connect(t)
	for _, sql := range []string{`UPDATE t SET v = repeat('m', 1500) WHERE id = 1500`,
		`DO $$ BEGIN BEGIN UPDATE t SET v = repeat('s', 1500) WHERE id = 1501; EXCEPTION WHEN division_by_zero THEN NULL; END; END $$`} {
		if _, err := mover.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	var block int
	if err := f.conn.QueryRow(t.Context(), `SELECT max(split_part(trim('(' FROM ctid::text), ',', 1)::int) FROM t WHERE id IN (1500, 1501)`).Scan(&block); err != nil {
		t.Fatal(err)
	}
	if uint32(block) >= chunks[half-1].ToBlock {
		t.Fatalf("the rows moved to block %d, not into the read half", block)
	}

	var ledger []LedgerEntry
	for i, c := range chunks {
		entry := LedgerEntry{Chunk: c}
		if i < half {
			entry.ReadIn = first.Visible
		}
		ledger = append(ledger, entry)
	}
	second := f.takeSnapshot(t)
	resumed, err := f.table(t, "t").ResumeChunks(ledger, 32<<10)
	if err != nil {
		t.Fatal(err)
	}
	again := 0
	for _, c := range resumed {
		f.read(t, second, table, []Chunk{c}, Limit{Rows: 1000, Bytes: 1 << 20}, func(row string) {
			if c.CatchUp != "" {
				again++
			}
			add(row)
		})
	}
	if again != 2 {
		t.Errorf("%d rows were read again, want the two that moved", again)
	}
	want := rowsOf(t, f.conn, `SELECT concat_ws('|', id, v) FROM t`)
	got := make(map[string]int)
	for _, row := range copied {
		got[row]++
	}
	differ(t, got, want)
}

// TestCatchUpSeesSubtransactions commits a sub-transaction's row after the
// snapshot in which its chunk was read: the snapshot's text names only its
// parent.
func TestCatchUpSeesSubtransactions(t *testing.T) {
	f := newFixture(t, `CREATE TABLE t (id int PRIMARY KEY)`, `INSERT INTO t VALUES (1)`)
	table := f.table(t, "t")
	running := f.connect(t)
	if _, err := running.Exec(t.Context(), `BEGIN; SELECT pg_current_xact_id(); SAVEPOINT a; INSERT INTO t VALUES (2)`); err != nil {
		t.Fatal(err)
	}
	f.exec(t, `INSERT INTO t VALUES (3)`)
	first := f.takeSnapshot(t)
	if _, err := running.Exec(t.Context(), `COMMIT`); err != nil {
		t.Fatal(err)
	}
	chunks := f.plan(t, table)
	chunks[0].CatchUp = first.Visible
	got := make(map[string]int)
	f.read(t, f.takeSnapshot(t), table, chunks, Limit{Rows: 10, Bytes: 1 << 20}, func(row string) { got[row]++ })
	if got["2"] != 1 || got["1"] != 0 {
		t.Errorf("caught up %v", got)
	}
}

// TestNewerThan checks the arithmetic across the wrap of xmin, in the server.
func TestNewerThan(t *testing.T) {
	f := newFixture(t)
	const e = 1 << 32
	for _, c := range []struct {
		before, now uint64
		xmin        uint32
		want        bool
	}{
		{1000, 2000, 999, false}, {1000, 2000, 1000, true}, {1000, 2000, 1999, true}, {1000, 2000, 2000, false},
		{1000, 2000, 2, false}, {3, 2000, 2, false}, {1000, 2000, 4294967000, false},
		{e - 50, e + 50, e - 51, false}, {e - 50, e + 50, e - 1, true}, {e - 50, e + 50, 3, true}, {e - 50, e + 50, 50, false},
		{5*e + 10, 5*e + 20, 9, false}, {5*e + 10, 5*e + 20, 15, true}, {5*e + 10, 5*e + 20, 25, false},
		{5 * e, 6 * e, 77, true}, // too far apart to tell
	} {
		sql := fmt.Sprintf(`SELECT true %s FROM (SELECT '%d'::xid AS xmin) r`, newerThan(visible{xmin: c.before}, visible{xmax: c.now}), c.xmin)
		var got bool
		if err := f.conn.QueryRow(t.Context(), sql).Scan(&got); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		if got != c.want {
			t.Errorf("xmin %d newer than %d at %d: %v", c.xmin, c.before, c.now, got)
		}
	}
}

func TestRewriteIsNoticed(t *testing.T) {
	for name, ddl := range map[string]string{
		"vacuum full":  `VACUUM FULL t`,
		"truncate":     `TRUNCATE t`,
		"drop column":  `ALTER TABLE t DROP COLUMN v`,
		"change type":  `ALTER TABLE t ALTER v TYPE varchar(300)`,
		"rename table": `ALTER TABLE t RENAME TO u`,
		"recreate":     `DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, v text)`,
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, `CREATE TABLE t (id int PRIMARY KEY, v text)`, `INSERT INTO t SELECT i, repeat('x', 200) FROM generate_series(1, 1000) i`)
			table := f.table(t, "t")
			chunks := f.plan(t, table)
			snapshot := f.takeSnapshot(t)
			reader, err := snapshot.Join(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer reader.Close(context.Background())
			discard := func(b *batch.Batch, _ []RawFailure) error { b.Release(); return nil }
			if _, _, err := reader.ReadChunk(t.Context(), table, chunks[0], Limit{Rows: 100, Bytes: 1 << 20}, discard); err != nil {
				t.Fatal(err)
			}
			f.exec(t, ddl) // does not wait for the load
			var restart *RestartError
			if _, _, err := reader.ReadChunk(t.Context(), table, chunks[1], Limit{Rows: 100, Bytes: 1 << 20}, discard); !errors.As(err, &restart) {
				t.Errorf("reading on: %v", err)
			}
			if reader.Closed() {
				t.Error("the reader is lost")
			}
			if name == "rename table" {
				return // a load may resume under the new name
			}
			if name == "drop column" {
				return // which the catalogue tells, and whoever reads next
			}
			restart = nil
			_, err = f.table(t, "t").ResumeChunks([]LedgerEntry{{Chunk: chunks[0], ReadIn: snapshot.Visible}}, 1<<20)
			if !errors.As(err, &restart) {
				t.Errorf("resuming: %v", err)
			}
		})
	}
}

func TestLostSnapshotIsRetried(t *testing.T) {
	f := newFixture(t, `CREATE TABLE t (id int PRIMARY KEY)`)
	snapshot := f.takeSnapshot(t)
	reader, err := snapshot.Join(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close(context.Background())
	snapshot.Close(t.Context())
	table := f.table(t, "t")
	_, _, err = reader.ReadChunk(t.Context(), table, f.plan(t, table)[0], Limit{Rows: 1, Bytes: 1}, nil)
	if Classify(err).Class != Retry {
		t.Errorf("class %s: %v", Classify(err).Class, err)
	}
	if Classify(snapshot.Check(t.Context())).Class != Retry {
		t.Errorf("check: %v", snapshot.Check(t.Context()))
	}
}

func TestHiddenRowsAreAnError(t *testing.T) {
	f := newFixture(t, `CREATE TABLE t (id int PRIMARY KEY)`, `INSERT INTO t VALUES (1), (2)`, `ALTER TABLE t ENABLE ROW LEVEL SECURITY`,
		`CREATE POLICY odd ON t USING (id % 2 = 1)`)
	cfg := f.role(t, "")
	f.exec(t, `GRANT SELECT ON t TO `+quoteIdent(cfg.User))
	source, err := Open(t.Context(), cfg, f.database)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close(t.Context())
	snapshot, err := source.TakeSnapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer snapshot.Close(t.Context())
	reader, err := snapshot.Join(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close(context.Background())
	table := f.table(t, "t")
	_, _, err = reader.ReadChunk(t.Context(), table, f.plan(t, table)[0], Limit{Rows: 10, Bytes: 1 << 20}, nil)
	if e := Classify(err); e.Class != Object || !strings.Contains(e.Hint, "BYPASSRLS") {
		t.Errorf("%v, hint %q", err, e.Hint)
	}
}
