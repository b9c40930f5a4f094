package postgres

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// textTwin makes a slot of test_decoding beside that of publish.
func (f *fixture) textTwin(t *testing.T, o StreamOptions, tables ...string) StreamOptions {
	t.Helper()
	name := f.database + "_text"
	f.exec(t, fmt.Sprintf("SELECT pg_create_logical_replication_slot('%s', 'test_decoding')", name))
	all, err := f.source.Tables(t.Context(), Selection{Include: tables})
	if err != nil {
		t.Fatal(err)
	}
	o.Slot, o.Text, o.SpillDir = name, &TextLog{Tables: all, Columns: f.source.LoggedColumns}, t.TempDir()+"/spill"
	return o
}

var positionOf = regexp.MustCompile(` [0-9A-F]+/\d+$`)

// withoutPositions drops the places from the lines: a slot of test_decoding
// does not know where a commit record starts.
func withoutPositions(rows map[string][]string) map[string][]string {
	for _, lines := range rows {
		for i := range lines {
			lines[i] = positionOf.ReplaceAllString(lines[i], "")
		}
	}
	return rows
}

// TestTextLogIsTheSame sends the same changes through test_decoding and
// pgoutput.
func TestTextLogIsTheSame(t *testing.T) {
	f := newFixture(t, `CREATE TABLE a (id int PRIMARY KEY, v text, big text)`,
		`CREATE TABLE "we ird.""Na:me" ("k ey" text, "[x]: 1" int[], "'q" numeric(8,2), PRIMARY KEY ("k ey"))`,
		`CREATE TYPE "mo]o:d" AS ENUM ('so ''so', 'new-tuple: x[int]:1')`, `CREATE DOMAIN small AS int CHECK (value < 100)`,
		`CREATE TABLE many (id bigint PRIMARY KEY, b bool, m "mo]o:d", ms "mo]o:d"[], d small, bits bit(3), vb varbit, f float8, n numeric, j jsonb, y bytea, ts timestamptz, i interval, c "char", p char(5), o oid)`,
		`CREATE TABLE f (id int PRIMARY KEY, n int, big text)`, `ALTER TABLE f REPLICA IDENTITY FULL`,
		`CREATE TABLE u (x int NOT NULL, y text, EXCLUDE (y WITH =))`, `CREATE UNIQUE INDEX u_x ON u (x)`, `ALTER TABLE u REPLICA IDENTITY USING INDEX u_x`,
		`CREATE TABLE g (id int PRIMARY KEY, v int, twice int GENERATED ALWAYS AS (v * 2) STORED, last text)`,
		`CREATE TABLE p (id int, region text, v text, PRIMARY KEY (id, region)) PARTITION BY LIST (region)`,
		`CREATE TABLE p_eu PARTITION OF p FOR VALUES IN ('eu')`, `CREATE TABLE p_us (v text, region text NOT NULL, id int NOT NULL)`, `ALTER TABLE p ATTACH PARTITION p_us FOR VALUES IN ('us')`,
		`CREATE TABLE unseen (id int PRIMARY KEY)`)
	f.exec(t, `CREATE PUBLICATION leat FOR TABLE ONLY a, ONLY "we ird.""Na:me", ONLY many, ONLY f, ONLY u, ONLY g, p WITH (publish_via_partition_root = true)`)
	var text string
	if err := f.conn.QueryRow(t.Context(), "SELECT lsn::text FROM pg_create_logical_replication_slot($1, 'pgoutput')", f.database).Scan(&text); err != nil {
		t.Fatal(err)
	}
	start, err := batch.ParseLSN(text)
	if err != nil {
		t.Fatal(err)
	}
	o := f.options(start)
	texts := f.textTwin(t, o, "public.a", `public."we ird.""Na:me"`, "public.many", "public.f", "public.u", "public.g", "public.p")
	long := `(SELECT string_agg(md5(n::text), '') FROM generate_series(1, 500) n)`
	f.exec(t, `INSERT INTO a VALUES (1, 'one', NULL), (2, '', `+long+`), (3, E'null\n''quo''ted'' \\ unchanged-toast-datum', 'null')`,
		`UPDATE a SET v = 'two' WHERE id = 2`, `UPDATE a SET id = 20 WHERE id = 2`, `DELETE FROM a WHERE id = 3`,
		`INSERT INTO "we ird.""Na:me" VALUES ('a]: ''b', '{1,NULL}', 1.5), ('c', NULL, NULL)`,
		`UPDATE "we ird.""Na:me" SET "'q" = 2 WHERE "k ey" = 'c'`, `DELETE FROM "we ird.""Na:me" WHERE "k ey" LIKE 'a%'`,
		`INSERT INTO many VALUES (1, true, 'so ''so', '{"so ''so",NULL}', 7, '101', '', 1.1e300, 'NaN', '{"a": "b''c"}', '\x00ff27', '2020-01-01 00:00:00.5+02', '1 mon -2 days', 'x', 'ab', 4294967295)`,
		`INSERT INTO many (id, b) VALUES (2, false)`, `INSERT INTO many (id, m, vb, f, n, j) VALUES (3, 'new-tuple: x[int]:1', '1', '-Infinity', 12345678901234567890.123456789, 'null')`,
		`UPDATE many SET b = NOT b`, `DELETE FROM many WHERE id = 2`,
		`INSERT INTO f VALUES (1, NULL, `+long+`), (2, 2, 'x')`, `UPDATE f SET id = 3 WHERE id = 1`, `UPDATE f SET n = NULL WHERE id = 2`, `DELETE FROM f`,
		`INSERT INTO u VALUES (1, 'a'), (2, NULL)`, `UPDATE u SET x = 5 WHERE x = 1`, `DELETE FROM u WHERE x = 2`,
		`INSERT INTO g (id, v, last) VALUES (1, 1, 'l'), (2, NULL, NULL)`, `UPDATE g SET v = 3`, `DELETE FROM g WHERE id = 2`,
		`INSERT INTO p VALUES (1, 'eu', 'e'), (2, 'us', 'u')`, `UPDATE p SET v = 'changed'`, `DELETE FROM p WHERE id = 2`, `UPDATE p SET region = 'us' WHERE id = 1`,
		`INSERT INTO unseen VALUES (1)`, `BEGIN; INSERT INTO a VALUES (90, 'rolled back', NULL); ROLLBACK`,
		`ALTER TABLE a ADD COLUMN later numeric(6,2)`, `INSERT INTO a VALUES (4, 'wider', NULL, 1.5)`, `ALTER TABLE a DROP COLUMN v`, `INSERT INTO a VALUES (5, NULL, 2)`,
		`ALTER TABLE a ALTER later TYPE text`, `INSERT INTO a VALUES (6, 'x', 'now text')`,
		`DELETE FROM g`, `TRUNCATE a, unseen, g`, `INSERT INTO a VALUES (7, 'after', NULL)`)
	want, _ := f.readTo(t, o)
	got, stats := f.readTo(t, texts)
	withoutPositions(want)
	withoutPositions(got)
	for table := range maps.Keys(want) {
		if !slices.Equal(want[table], got[table]) {
			t.Errorf("table %s by pgoutput\n  %s\nby test_decoding\n  %s", table, strings.Join(want[table], "\n  "), strings.Join(got[table], "\n  "))
		}
	}
	if len(want) != 7 || len(got) != len(want) || stats.Uncommitted != 0 {
		t.Errorf("%d and %d tables, %+v", len(want), len(got), stats)
	}
}

// TestTextLogOfLargeTransactions sends a random work of several sessions
// through test_decoding and pgoutput.
func TestTextLogOfLargeTransactions(t *testing.T) {
	f := fixtureOn(t, pgserver.Test(t, pgserver.Options{Settings: smallWorkMem}),
		`CREATE TABLE a (id bigint PRIMARY KEY, v text, big text)`, `CREATE TABLE b (id bigint PRIMARY KEY, v text)`, `CREATE TABLE c (id bigint PRIMARY KEY, v text)`)
	o := f.options(f.publish(t))
	o.MaxRows = 700
	texts := f.textTwin(t, o, "public.*")
	t.Logf("-seed %d", *seed)
	work(t, f, rand.New(rand.NewPCG(*seed, 2)))
	want, _ := f.readTo(t, o)
	got, _ := f.readTo(t, texts)
	withoutPositions(want)
	withoutPositions(got)
	delete(want, "c") // columns that were never committed differ by what the catalogue knows of them
	delete(got, "c")
	for table := range want {
		if !slices.Equal(want[table], got[table]) {
			t.Errorf("table %s: first difference %s", table, firstDifference(want[table], got[table]))
		}
	}
	if len(want) != 2 || len(got) != 2 {
		t.Errorf("%d and %d tables", len(want), len(got))
	}
}

// FuzzTextChange parses a line: what it takes apart is of the line.
func FuzzTextChange(f *testing.F) {
	for _, line := range []string{
		`table public.t: INSERT: id[integer]:1 v[text]:'it''s'`,
		`table "s.c"."t""x": UPDATE: old-key: id[integer]:1 new-tuple: id[integer]:2 v["a]"."b"[]]:unchanged-toast-datum b[bit]:B'101' x[boolean]:true`,
		`table a.b: DELETE: (no-tuple-data)`, `table a.b: DELETE: id[integer]:2`, `table a.b, c.d: TRUNCATE: restart_seqs cascade`,
	} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		var c textChange
		if c.parse(line) != nil {
			return
		}
		size := 0
		for _, col := range slices.Concat(c.old, c.row) {
			size += len(col.name) + len(col.typeName) + len(col.value) + 3
			if col.tag != cellText && col.value != nil {
				t.Errorf("column %q has no value and %q", col.name, col.value)
			}
		}
		if size > len(line) || c.kind != 'T' && len(c.tables) != 1 {
			t.Errorf("%d bytes of columns and %d tables out of %q", size, len(c.tables), line)
		}
		d := &testDecoding{to: newPgoutput(relationSource{types: func() *TypeMap { return nil }}, 1, batch.Position{}), published: tablesByLeaf(nil)}
		if err := d.decode(context.Background(), 1, line); err != nil {
			t.Errorf("a table that is not replicated: %v", err)
		}
	})
}
