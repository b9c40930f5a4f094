package engine_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/engine/postgres"
)

func TestSQLMode(t *testing.T) {
	p := newPolled(t, `CREATE TABLE t (id int PRIMARY KEY, v text, at timestamptz NOT NULL DEFAULT '2024-01-01')`, `INSERT INTO t VALUES (1, 'x'), (2, 'y')`)
	p.open(`mode = "sql"
query = '''
WITH c AS (SELECT id, upper(v) AS v, at FROM t) -- a comment
SELECT * FROM c; '''
query_name = "a"`, `[objects."public.a"]
query_mode = "delta_timestamp"
timestamp_column = "at"
key = ["id"]
detect_deletes = true`)
	p.mustRun()
	p.expect("1X 2Y")
	p.exec(`UPDATE t SET v = 'z', at = '2024-01-02' WHERE id = 1`, `DELETE FROM t WHERE id = 2`, `INSERT INTO t VALUES (3, 'same')`)
	p.mustRun()
	p.expect("1Z 3SAME")
	p.verify()
}

// TestSQLModeRefuses lets the server say what is no query, and where.
func TestSQLModeRefuses(t *testing.T) {
	p := newPolled(t, `CREATE TABLE t (id int PRIMARY KEY)`)
	for _, c := range []struct{ query, want string }{
		{`"""\nSELECT id,\n  nonsense FROM t"""`, `test.toml:11:3: key "source.query": ERROR: column "nonsense" does not exist`},
		{`"SELECT \u0069d FRM t"`, `test.toml:9:29: key "source.query": ERROR: syntax error`},
		{`"DELETE FROM t RETURNING id"`, `key "source.query"`},
		{`"WITH d AS (DELETE FROM t RETURNING id) SELECT * FROM d"`, `key "source.query"`},
		{`"SELECT 1 AS a; SELECT 2 AS a"`, `multiple commands`},
		{`"SELECT 1 AS a) TO PROGRAM 'true' --"`, `syntax error`},
		{`"SELECT id INTO u FROM t"`, `key "source.query"`},
		{`"SELECT $1::int AS a"`, `parameters`},
		{`"SELECT 1, 2"`, `name it with AS`},
		{`"SELECT id FROM t FOR UPDATE"`, `key "source.query"`},
	} {
		s, err := p.parse("mode = \"sql\"\nquery = "+strings.ReplaceAll(c.query, `\n`, "\n"), "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := engine.Check(t.Context(), s, engine.CheckOptions{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.query, err, c.want)
		}
	}
	if got, err := p.parse(`mode = "sql"
query = "SELECT id FROM t"`, `[objects."public.query"]
query_mode = "incrementing_append_only"
incrementing_column = "idd"`); err != nil {
		t.Error(err)
	} else if _, err := engine.Check(t.Context(), got, engine.CheckOptions{}); err == nil || !strings.Contains(err.Error(), `"idd", which does not exist`) {
		t.Errorf("a missing cursor: %v", err)
	}
}

// TestChecksOfQueryModes looks at cursor columns that are missing, of a wrong
// type, without index and nullable.
func TestChecksOfQueryModes(t *testing.T) {
	p := newPolled(t, `CREATE TABLE a (id int, v text, at timestamp, seq bigserial)`, `ALTER SEQUENCE a_seq_seq CACHE 50`,
		`CREATE TABLE b (id int PRIMARY KEY, at timestamptz NOT NULL)`, `CREATE INDEX ON b (at)`, `CREATE VIEW w AS SELECT * FROM b`)
	report := func(objects string) string {
		t.Helper()
		s, err := p.parse(tableMode, objects)
		if err != nil {
			t.Fatal(err)
		}
		r, err := engine.Check(t.Context(), s, engine.CheckOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, i := range r.Items {
			if i.Outcome != postgres.OK && i.Name != "default privileges" && i.Name != "TLS" {
				lines = append(lines, strings.Join([]string{string(i.Outcome), i.Object[strings.Index(i.Object, ".")+1:], i.Found, i.Fix}, "|"))
			}
		}
		return strings.Join(lines, "\n")
	}
	for _, c := range []struct{ objects, want string }{
		{delta, `warn|public.a.at|no index starts with it|CREATE INDEX CONCURRENTLY ON "public"."a" ("at");`},
		{delta, `warn|public.a.at|may be NULL|ALTER TABLE "public"."a" ALTER COLUMN "at" SET NOT NULL;`},
		{delta, `fail|public.w|rows that share the last value`},
		{"[objects.\"public.a\"]\nquery_mode = \"delta_timestamp\"\ntimestamp_column = \"v\"", `fail|public.a|timestamp_column names column "v" of type text: want a timestamp or a date`},
		{"[objects.\"public.a\"]\nquery_mode = \"delta_timestamp\"\ntimestamp_column = \"At\"", `fail|public.a|timestamp_column names column "At", which does not exist|Its columns are id, v, at, seq.`},
		{"[objects.\"public.a\"]\nquery_mode = \"incrementing_append_only\"\nincrementing_column = \"seq\"", `its sequence gives 50 values to a session at once`},
		{"[objects.\"public.nothing\"]\nquery_mode = \"xmin\"", `test.toml:9:10: objects: "public.nothing" names no table`},
		{"[objects.\"public.w\"]\nquery_mode = \"xmin\"", `fail|public.w|a view has no xmin`},
	} {
		if got := report(c.objects); !strings.Contains(got, c.want) {
			t.Errorf("%s: got\n%s\nwant %s", c.objects, got, c.want)
		}
	}
	if got := report("[objects]\ninclude = [\"public.b\"]\n" + delta); got != "" {
		t.Errorf("a good table: %s", got)
	}
	// At run time the other tables go on.
	p.exec(`INSERT INTO b VALUES (1, '2024-01-01')`)
	p.open(tableMode, "[objects.\"public.w\"]\nquery_mode = \"xmin\"\n"+delta)
	if err := p.run(engine.RunOptions{}); err == nil || !strings.Contains(err.Error(), "has no xmin") {
		t.Errorf("got %v", err)
	}
	if o := p.object("w"); o.State != "FAILED" || o.Reason == "" || o.Fix == "" {
		t.Errorf("object %+v", o)
	}
	if got := p.ask(`SELECT count(*) FROM b`); got != "1" {
		t.Errorf("b has %s rows", got)
	}
}

// TestChangedQueryMode restarts what is read in another way, when told to.
func TestChangedQueryMode(t *testing.T) {
	p := newPolled(t, `CREATE TABLE a (id int NOT NULL, v text, at timestamptz)`, `INSERT INTO a VALUES (1, 'x', '2024-01-01'), (2, 'y', '2024-01-02')`)
	p.open(tableMode, incrementing)
	p.mustRun()
	p.open(tableMode, delta)
	var changed *engine.ChangedError
	if err := p.run(engine.RunOptions{}); !errors.As(err, &changed) || len(changed.Changes) != 1 || !strings.Contains(changed.Hint(), "--restart-changed") {
		t.Fatalf("got %v", err)
	}
	tables, err := p.Plan(t.Context())
	if err != nil || !strings.Contains(tables[0].RestartFrom, "incrementing_append_only") || !strings.Contains(tables[0].QueryMode, "delta_timestamp") {
		t.Errorf("plan %+v, %v", tables, err)
	}
	if err := p.run(engine.RunOptions{RestartChanged: true}); err != nil {
		t.Fatal(err)
	}
	p.expect("1x 2y")
	// To the log and back: the slot comes and goes.
	p.exec(`ALTER TABLE a ADD PRIMARY KEY (id)`)
	p.open("", "")
	if err := p.run(engine.RunOptions{}); !errors.As(err, &changed) {
		t.Fatalf("got %v", err)
	}
	if err := p.run(engine.RunOptions{RestartChanged: true}); err != nil {
		t.Fatal(err)
	}
	p.exec(`UPDATE a SET v = 'z' WHERE id = 2`)
	p.mustRun()
	p.expect("1x 2z")
	p.open(xminMode, "")
	if err := p.run(engine.RunOptions{RestartChanged: true}); err != nil {
		t.Fatal(err)
	}
	p.exec(`UPDATE a SET v = 'w' WHERE id = 1`)
	p.mustRun()
	p.expect("1w 2z")
	p.exec(`DO $$ BEGIN IF EXISTS (SELECT FROM pg_replication_slots WHERE database = current_database()) THEN RAISE 'the slot is still there'; END IF; END $$`)
	// And to the log once more: rows that went meanwhile go, and so do tables.
	p.exec(`DELETE FROM a WHERE id = 2`, `CREATE TABLE b (id int PRIMARY KEY)`, `INSERT INTO b VALUES (1), (2)`)
	p.mustRun()
	p.exec(`DROP TABLE b`, `CREATE TABLE b (id int PRIMARY KEY)`, `INSERT INTO b VALUES (3)`)
	p.open("", "")
	if err := p.run(engine.RunOptions{RestartChanged: true}); err != nil {
		t.Fatal(err)
	}
	p.exec(`UPDATE a SET v = 'again'`, `INSERT INTO a VALUES (3, 'new')`, `INSERT INTO b VALUES (4)`)
	p.mustRun()
	p.expect("1again 3new")
	if got := p.ask(`SELECT string_agg(id, ' ' ORDER BY id) FROM b WHERE NOT __leat_marked_deleted`); got != "3 4" {
		t.Errorf("table b has %s", got)
	}
	p.verify()
}
