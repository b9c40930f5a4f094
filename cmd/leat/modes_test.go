package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
	"github.com/leat-etl/leat/state"
)

// queried are tables of one shape, each with the query mode that its name
// stands for.
var queried = []struct{ table, rule string }{
	{"whole", `query_mode = "full_load"`},
	{"stamped", "query_mode = \"delta_timestamp\"\ntimestamp_column = \"at\""},
	{"counted", "query_mode = \"incrementing_append_only\"\nincrementing_column = \"id\""},
	{"either", "query_mode = \"change_data_capture\"\ntimestamp_column = \"at\"\nincrementing_column = \"id\""},
	{"written", `query_mode = "xmin"`},
}

// queriedSite is a site with these tables, of which the pipeline reads some.
func queriedSite(t *testing.T, tables ...string) *site {
	t.Helper()
	// A transaction that is open anywhere on the server, autovacuum's too, has rows read once more.
	s := newSite(t, pgserver.Test(t, pgserver.Options{Settings: map[string]string{"autovacuum": "off"}}))
	for _, name := range tables {
		s.exec(
			fmt.Sprintf("CREATE TABLE %s (id integer PRIMARY KEY, v text, at timestamptz NOT NULL)", name),
			fmt.Sprintf("INSERT INTO %s VALUES (1, 'a', '2024-01-01'), (2, 'b', '2024-01-02'), (3, 'c', '2024-01-03')", name),
			fmt.Sprintf("GRANT SELECT ON %s TO %s", name, s.role))
	}
	return s
}

// rows are those of a table of the destination that are not marked as deleted.
func (s *site) rows(table string) string {
	s.t.Helper()
	r := s.leat("query", s.file, "SELECT string_agg(id || v, ' ' ORDER BY id) AS r FROM "+table+" WHERE NOT __leat_marked_deleted")
	s.expect(r, exitOK)
	return strings.TrimSpace(strings.TrimPrefix(r.out, "R\n"))
}

func (s *site) expectRows(table, want string) {
	s.t.Helper()
	if got := s.rows(table); got != want {
		s.t.Errorf("%s has %q, want %q", table, got, want)
	}
}

// changeQueried changes, inserts and deletes a row.
func (s *site) changeQueried(tables ...string) {
	s.t.Helper()
	for _, table := range tables {
		s.exec(fmt.Sprintf("UPDATE %[1]s SET v = 'A', at = '2024-01-04' WHERE id = 1; INSERT INTO %[1]s VALUES (4, 'd', '2024-01-04'); DELETE FROM %[1]s WHERE id = 2", table))
	}
}

// after is what a query mode captures of changeQueried.
var after = map[string]string{
	"whole": "1A 3c 4d", "stamped": "1A 2b 3c 4d", "counted": "1a 2b 3c 4d", "either": "1A 2b 3c 4d", "written": "1A 2b 3c 4d",
}

// TestTableMode reads tables with every query mode, run after run, one of them
// when it is told to, and finds what it has promised.
func TestTableMode(t *testing.T) {
	var names, rules []string
	for _, q := range queried {
		names, rules = append(names, q.table), append(rules, fmt.Sprintf("[objects.\"public.%s\"]\n%s", q.table, q.rule))
	}
	s := queriedSite(t, names...)
	s.extra = "[objects]\ninclude = [\"public.whole\", \"public.stamped\", \"public.counted\", \"public.either\", \"public.written\"]\n" + strings.Join(rules, "\n") + "\n"
	s.write()
	s.edit(`heartbeat = "1s"`, "mode = \"table\"\nfrequency = \"6h\"")
	s.expect(s.leat("check", s.file), exitOK)
	s.expect(s.leat("plan", s.file), exitOK, "full_load", "delta_timestamp", "incrementing_append_only", "change_data_capture", "xmin")
	s.expect(s.run(), exitOK)
	for _, q := range queried {
		s.expectRows(q.table, "1a 2b 3c")
	}
	s.changeQueried(names...)
	s.expect(s.run(), exitOK)
	for _, q := range queried {
		s.expectRows(q.table, after[q.table])
	}
	for _, name := range names {
		s.exec(fmt.Sprintf("INSERT INTO %s VALUES (5, 'e', '2024-01-05')", name))
	}
	s.expect(s.leat("objects", "run-now", s.file, "public.either"), exitOK)
	for _, q := range queried {
		want := after[q.table]
		if q.table == "either" {
			want += " 5e"
		}
		s.expectRows(q.table, want)
	}
	s.expect(s.leat("status", s.file), exitOK, "is not running", "next run due")
	for _, o := range decode[[]state.Object](s, s.leat("--json", "objects", "list", s.file)) {
		if o.QueryMode == "" || o.State == state.FailedState {
			t.Errorf("objects list: %+v", o)
		}
	}
	s.expect(s.leat("objects", "run-now", s.file), exitOK)
	for _, q := range queried {
		s.expectRows(q.table, after[q.table]+" 5e")
	}
	s.expect(s.leat("verify", s.file), exitOK, "differing as the query mode allows", "the destination has what the query modes promise")
}

// TestXminMode reads what transactions wrote, and finds deletes if it is to
// compare the keys.
func TestXminMode(t *testing.T) {
	s := queriedSite(t, "written", "compared")
	s.extra = "[objects]\ninclude = [\"public.written\", \"public.compared\"]\n[objects.\"public.compared\"]\ndetect_deletes = true\n"
	s.write()
	s.edit(`heartbeat = "1s"`, `mode = "xmin"`)
	s.expect(s.run(), exitOK)
	s.changeQueried("written", "compared")
	s.expect(s.run(), exitOK)
	s.expectRows("written", after["written"])
	s.expectRows("compared", "1A 3c 4d")
	s.exec("INSERT INTO written VALUES (5, 'e', '2024-01-05')")
	s.expect(s.leat("objects", "run-now", s.file, "public.written"), exitOK)
	s.expectRows("written", after["written"]+" 5e")
	s.expect(s.leat("status", s.file), exitOK, "next run due")
	s.expect(s.leat("verify", s.file), exitOK, "differing as the query mode allows", "the destination has what the query modes promise")
}

// TestSQLMode reads a query of the user's with every query mode that a query
// can have.
func TestSQLMode(t *testing.T) {
	s := queriedSite(t, "entries")
	plain := s.extra
	for _, q := range queried[:4] {
		t.Run(q.table, func(t *testing.T) {
			s := *s
			s.t, s.dir = t, t.TempDir()
			s.config = fmt.Sprintf("path = %q", s.dir+"/warehouse.duckdb")
			s.exec("TRUNCATE entries; INSERT INTO entries VALUES (1, 'a', '2024-01-01'), (2, 'b', '2024-01-02'), (3, 'c', '2024-01-03')")
			s.extra = fmt.Sprintf("%s[objects.\"public.%s\"]\nkey = [\"id\"]\n%s\n", plain, q.table, q.rule)
			s.write()
			s.edit(`heartbeat = "1s"`, fmt.Sprintf("mode = \"sql\"\nquery = \"SELECT id, v, at FROM entries\"\nquery_name = %q", q.table))
			s.expect(s.run(), exitOK)
			s.expectRows(q.table, "1a 2b 3c")
			s.changeQueried("entries")
			s.expect(s.run(), exitOK)
			s.expectRows(q.table, after[q.table])
			s.exec("INSERT INTO entries VALUES (5, 'e', '2024-01-05')")
			s.expect(s.leat("objects", "run-now", s.file), exitOK)
			s.expectRows(q.table, after[q.table]+" 5e")
			s.expect(s.leat("status", s.file), exitOK, "is not running")
			proven := "differing as the query mode allows"
			if q.table == "whole" {
				proven = "source and destination are equal"
			}
			s.expect(s.leat("verify", s.file), exitOK, proven)
		})
	}
}

// TestCursorsThatFail has tables whose cursor is missing, of a wrong type or
// NULL in some rows, beside a table that goes on.
func TestCursorsThatFail(t *testing.T) {
	s := queriedSite(t, "good", "missing", "wrong", "empty")
	s.exec("ALTER TABLE empty ALTER at DROP NOT NULL; UPDATE empty SET at = NULL WHERE id = 2")
	rule := func(table, lines string) string { return fmt.Sprintf("[objects.\"public.%s\"]\n%s\n", table, lines) }
	s.extra = "[objects]\ninclude = [\"public.good\", \"public.missing\", \"public.wrong\", \"public.empty\"]\n" +
		rule("good", queried[1].rule) + rule("empty", queried[1].rule) +
		rule("missing", "query_mode = \"incrementing_append_only\"\nincrementing_column = \"idd\"") +
		rule("wrong", "query_mode = \"delta_timestamp\"\ntimestamp_column = \"v\"")
	s.write()
	s.edit(`heartbeat = "1s"`, `mode = "table"`)
	s.expect(s.leat("check", s.file), exitSource, `incrementing_column names column "idd", which does not exist`, "timestamp_column names column \"v\" of type text", "may be NULL")
	s.expect(s.run(), exitSource, `"idd", which does not exist`)
	s.expectRows("good", "1a 2b 3c")
	s.expectRows("empty", "1a 3c")
	s.expect(s.leat("verify", s.file), exitSource, `public.missing is not compared: `, `"idd", which does not exist`, "what was compared is equal")
	for _, o := range decode[[]state.Object](s, s.leat("--json", "objects", "list", s.file)) {
		failed := o.Table.Name == "missing" || o.Table.Name == "wrong"
		if failed != (o.State == state.FailedState) || failed && (o.Reason == "" || o.Fix == "") {
			t.Errorf("%s: %+v", o.Table, o)
		}
		if o.Table.Name == "empty" && o.NullCursors != 1 {
			t.Errorf("empty has %d rows without a cursor, want 1", o.NullCursors)
		}
	}
}

// TestLoadInTheOrderOfAQueryMode lets the objects' query modes choose how the
// historical load of a pipeline that follows the log reads them.
func TestLoadInTheOrderOfAQueryMode(t *testing.T) {
	s := queriedSite(t, "stamped", "counted")
	s.exec("UPDATE stamped SET at = '2024-01-09' WHERE id = 1", "INSERT INTO counted SELECT i, 'x', '2024-01-01' FROM generate_series(4, 5000) i",
		fmt.Sprintf("ALTER TABLE stamped OWNER TO %[1]s; ALTER TABLE counted OWNER TO %[1]s", s.role))
	s.extra = "chunk_bytes = \"64kB\"\n[objects]\ninclude = [\"public.stamped\", \"public.counted\"]\n[objects.\"public.counted\"]\nquery_mode = \"incrementing_append_only\"\nincrementing_column = \"id\"\n"
	s.write()
	stamped := s.extra + "[objects.\"public.stamped\"]\nquery_mode = \"delta_timestamp\"\ntimestamp_column = \"at\"\n"
	s.edit(s.extra, strings.ReplaceAll(stamped, `= "at"`, `= "ad"`))
	s.expect(s.leat("check", s.file), exitOK, "load order", `timestamp_column names column "ad", which does not exist`)
	s.expect(s.run(), exitOK, `in the order of its blocks, not in that of its query mode`, `"ad\", which does not exist`) // the others go on
	s.edit(`= "ad"`, `= "at"`)
	s.expect(s.leat("objects", "restart", s.file, "public.stamped", "--yes"), exitOK)
	s.expect(s.run(), exitOK)
	s.exec("UPDATE stamped SET v = 'A'", "DELETE FROM counted WHERE id % 2 = 0") // the log has what no cursor would show
	s.mended()
	s.expectRows("stamped", "1A 2A 3A")
	s.expect(s.leat("query", s.file, "SELECT count(*) AS n FROM counted WHERE NOT __leat_marked_deleted"), exitOK, "N\n2500")
}
