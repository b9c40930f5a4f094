package postgres

import (
	"slices"
	"strings"
	"testing"
)

func TestPatternMatches(t *testing.T) {
	for _, c := range []struct {
		pattern, schema, table string
		want                   bool
	}{
		{"*", "any", "thing", true},
		{"orders", "public", "orders", true},
		{"orders", "other", "orders", false},
		{"public.*", "public", "a.b", true},
		{"public.audit_*", "public", "audit_", true},
		{"public.audit_*", "public", "audi", false},
		{"public.*_*_x", "public", "a_b_c_x", true},
		{"public.a?c", "public", "aéc", true},
		{"public.a?c", "public", "ac", false},
		{`"a.b"."c""d"`, "a.b", `c"d`, true},
		{`public."*"`, "public", "x", false},
		{`public."*"`, "public", "*", true},
		{"public.Orders", "public", "orders", false},
		{"*.t", "s", "t", true},
	} {
		s, err := Selection{Include: []string{c.pattern}}.parse()
		if err != nil {
			t.Fatal(err)
		}
		if got := s.matches(c.schema, c.table); got != c.want {
			t.Errorf("%s matches %s.%s: %v", c.pattern, c.schema, c.table, got)
		}
	}
	for _, bad := range []string{"", "a.b.c", `"a.b`, "a.", ".b"} {
		if _, err := (Selection{Exclude: []string{bad}}).parse(); err == nil {
			t.Errorf("pattern %q is accepted", bad)
		}
	}
}

func TestTables(t *testing.T) {
	f := newFixture(t,
		`CREATE SCHEMA "odd.schema"`,
		`CREATE TABLE "odd.schema"."t""1" ("The Key" int PRIMARY KEY, "a.b" text)`,
		`CREATE TABLE pair (v text, b int, a int, PRIMARY KEY (a, b))`,
		`CREATE TABLE byindex (id int NOT NULL, code text NOT NULL)`,
		`CREATE UNIQUE INDEX byindex_code ON byindex (code) INCLUDE (id)`,
		`ALTER TABLE byindex REPLICA IDENTITY USING INDEX byindex_code`,
		`CREATE TABLE whole (a int, b text)`, `ALTER TABLE whole REPLICA IDENTITY FULL`,
		`CREATE TABLE swap (a int PRIMARY KEY DEFERRABLE)`, `ALTER TABLE swap REPLICA IDENTITY FULL`,
		`CREATE TABLE mixed (id int) PARTITION BY LIST (id)`, `ALTER TABLE mixed REPLICA IDENTITY FULL`,
		`CREATE TABLE mixed_1 PARTITION OF mixed (id NOT NULL UNIQUE) DEFAULT`, `ALTER TABLE mixed_1 REPLICA IDENTITY USING INDEX mixed_1_id_key`,
		`CREATE TABLE nothing (a int PRIMARY KEY)`, `ALTER TABLE nothing REPLICA IDENTITY NOTHING`,
		`CREATE TABLE keyless (a int)`,
		`CREATE TABLE late (a int PRIMARY KEY DEFERRABLE)`,
		`CREATE TABLE made (a int PRIMARY KEY, twice int GENERATED ALWAYS AS (a * 2) STORED, b int)`,
		`CREATE TABLE dropped (a int PRIMARY KEY, gone int, b int)`, `ALTER TABLE dropped DROP COLUMN gone`,
		`CREATE UNLOGGED TABLE quick (a int PRIMARY KEY)`,
		`CREATE VIEW seen AS SELECT * FROM pair`, `CREATE MATERIALIZED VIEW kept AS SELECT 1 AS a`,
		`CREATE TABLE parts (id int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at)`,
		`CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2020-01-01') TO ('2021-01-01')`,
		`CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM ('2021-01-01') TO ('2022-01-01') PARTITION BY LIST (id)`,
		`CREATE TABLE parts_2a PARTITION OF parts_2 DEFAULT`,
		`CREATE TABLE loose (id int) PARTITION BY LIST (id)`, `ALTER TABLE loose REPLICA IDENTITY FULL`,
		`CREATE TABLE loose_1 PARTITION OF loose DEFAULT`, // its identity is still the default
		`CREATE TYPE mood AS ENUM ('sad', 'ok')`,
	)
	got := make(map[string]*Table)
	for _, table := range f.tables(t, "*") {
		got[table.ID().Schema+"."+table.ID().Name] = table
	}
	made, skipped := "a:1 b:0", []string{"twice"}
	if f.source.Version >= generatedVersion {
		made, skipped = "a:1 twice:0 b:0", nil
	}
	for _, c := range []struct {
		name    string
		columns string // with the place in the key
		keyless bool
		reason  string
	}{
		{`odd.schema.t"1`, "The Key:1 a.b:0", false, ""},
		{"public.pair", "v:0 b:2 a:1", false, ""},
		{"public.byindex", "id:0 code:1", false, ""},
		{"public.whole", "a:0 b:0", false, ""},
		{"public.swap", "a:0", false, ""},
		{"public.mixed", "id:0", true, ""},
		{"public.nothing", "a:1", true, ""},
		{"public.keyless", "a:0", true, ""},
		{"public.late", "a:1", true, ""},
		{"public.made", made, false, ""},
		{"public.dropped", "a:1 b:0", false, ""},
		{"public.quick", "a:1", false, "unlogged"},
		{"public.seen", "v:0 b:0 a:0", true, "view"},
		{"public.kept", "a:0", true, "materialized view"},
		{"public.parts", "id:1 at:2", false, ""},
		{"public.loose", "id:0", true, ""},
	} {
		table := got[c.name]
		if table == nil {
			t.Errorf("%s is not listed", c.name)
			continue
		}
		delete(got, c.name)
		var columns []string
		for _, col := range table.Schema.Columns {
			columns = append(columns, col.Name+":"+string(rune('0'+col.Key)))
		}
		if s := strings.Join(columns, " "); s != c.columns {
			t.Errorf("%s: columns %s, want %s", c.name, s, c.columns)
		}
		if table.Keyless != c.keyless {
			t.Errorf("%s: keyless %v", c.name, table.Keyless)
		}
		if (table.Reason == "") != (c.reason == "") || !strings.Contains(table.Reason, c.reason) {
			t.Errorf("%s: reason %q, want %q", c.name, table.Reason, c.reason)
		}
	}
	for name := range got {
		t.Errorf("%s is listed", name)
	}
	if got := f.table(t, "made").Skipped; !slices.Equal(got, skipped) {
		t.Errorf("skipped columns %q, want %q", got, skipped)
	}
	if parts := f.table(t, "parts"); len(parts.Leaves) != 2 || parts.Kind != PartitionedTable {
		t.Errorf("parts: %s with leaves %v", parts.Kind, parts.Leaves)
	}
	if out, err := f.source.Tables(t.Context(), Selection{Include: []string{"*"}, Exclude: []string{"public.*"}}); err != nil || len(out) != 1 {
		t.Errorf("without public: %d tables, %v", len(out), err)
	}
}

func TestTableSizeCountsTOAST(t *testing.T) {
	f := newFixture(t, `CREATE TABLE wide (id int PRIMARY KEY, doc text)`,
		`ALTER TABLE wide ALTER doc SET STORAGE EXTERNAL`,
		`INSERT INTO wide SELECT i, repeat('x', 20000) FROM generate_series(1, 200) i`, `ANALYZE wide`)
	wide := f.table(t, "wide")
	if wide.Pages > 10 || wide.Bytes < 200*20000 || wide.Rows != 200 {
		t.Errorf("%d pages, %d bytes, %d rows", wide.Pages, wide.Bytes, wide.Rows)
	}
}

func TestTableByOIDFollowsDDL(t *testing.T) {
	f := newFixture(t, `CREATE TABLE t (id int PRIMARY KEY)`)
	oid := f.table(t, "t").OID
	f.exec(t, `CREATE TYPE colour AS ENUM ('red')`, `ALTER TABLE t ADD c colour`)
	table, err := f.source.TableByOID(t.Context(), oid)
	if err != nil {
		t.Fatal(err)
	}
	schema := table.Schema
	if len(schema.Columns) != 2 || schema.Columns[1].PG.Name != "public.colour" {
		t.Errorf("columns %+v", schema.Columns)
	}
	f.exec(t, `DROP TABLE t`)
	_, err = f.source.TableByOID(t.Context(), oid)
	if e := Classify(err); e.Class != Object {
		t.Errorf("dropped table: class %q, %v", e.Class, err)
	}
}

func TestSourceConnectsAgain(t *testing.T) {
	f := newFixture(t, `CREATE TABLE t (id int PRIMARY KEY)`)
	f.exec(t, `SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
	if _, err := f.source.Tables(t.Context(), Selection{Include: []string{"*"}}); Classify(err).Class != Retry {
		t.Fatalf("terminated session: %v", err)
	}
	f.table(t, "t")
}

// TestTablesAtOneMoment reads tables while they are dropped and made: each comes
// whole or not at all, or its columns in the log would be taken for others.
func TestTablesAtOneMoment(t *testing.T) {
	f := newFixture(t)
	done := make(chan error, 1)
	go func() {
		for n := range 1000 {
			if _, err := f.conn.Exec(t.Context(), []string{`CREATE TABLE comes (id int, v text)`, `DROP TABLE comes`}[n%2]); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	seen := 0
	for running := true; running; {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			running = false
		default:
		}
		tables, err := f.source.Tables(t.Context(), Selection{Include: []string{"*"}})
		if err != nil {
			t.Fatal(err)
		}
		for _, table := range tables {
			if seen++; len(table.Schema.Columns) != 2 {
				t.Fatalf("%s has the columns %v", table.ID(), table.Schema.Columns)
			}
		}
	}
	if seen == 0 {
		t.Error("the table was never seen")
	}
}
