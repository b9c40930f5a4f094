//go:build duckdb_arrow

package schemaproof

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/engine/enginetest/compare"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/state"
)

// captured are two pipelines of one database whose changes are captured, with
// what they log.
func captured(t *testing.T, server *pgserver.Server, database string) (both []*pipeline, logs []*said) {
	for _, destination := range []string{"duckdb", "postgres"} {
		p, log := newPipeline(t, server, destination, database), new(said)
		p.log = slog.New(slog.NewTextHandler(log, nil))
		p.source = "ddl_capture = true\nheartbeat = \"24h\"" // nothing else looks at the catalogue
		both, logs = append(both, p), append(logs, log)
	}
	return both, logs
}

// columns are those of a table at the destination, without Leat's own.
func (p *pipeline) columns(t *testing.T, table string) string {
	t.Helper()
	const list = `SELECT coalesce(string_agg(column_name || ' ' || lower(data_type), ', ' ORDER BY ordinal_position), '') FROM information_schema.columns
		WHERE table_name = $1 AND column_name NOT LIKE '\_\_leat%' ESCAPE '\'`
	var out string
	var err error
	if p.destination == "postgres" {
		conn, failed := pgx.Connect(t.Context(), p.server.DSN(p.target))
		if failed != nil {
			t.Fatal(failed)
		}
		defer conn.Close(context.Background())
		err = conn.QueryRow(t.Context(), list, table).Scan(&out)
	} else {
		db, failed := sql.Open("duckdb", p.target+"?access_mode=READ_ONLY")
		if failed != nil {
			t.Fatal(failed)
		}
		defer db.Close()
		err = db.QueryRow(list, table).Scan(&out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(out, "varchar", "text")
}

// TestCapturedChanges tells the changes of tables by event triggers: without a
// row after them, several in one transaction and among its rows, while the
// catalogue is ahead of all of it. Nothing has to be guessed, so nothing is
// loaded again.
func TestCapturedChanges(t *testing.T) {
	t.Parallel()
	server := pgserver.Test(t, pgserver.Options{Settings: map[string]string{"logical_decoding_work_mem": "64kB"}})
	database := server.Database(t)
	exec(t, server, database, `CREATE TABLE told (id int PRIMARY KEY, a text, b int); INSERT INTO told SELECT n, 'a' || n, n FROM generate_series(1, 9) n;
		CREATE TABLE among (id int PRIMARY KEY, a text, b text); INSERT INTO among SELECT n, 'a' || n, 'b' || n FROM generate_series(1, 9) n;
		CREATE TABLE large (id int PRIMARY KEY, v text);
		CREATE TABLE family (id int PRIMARY KEY); CREATE TABLE child (v text, PRIMARY KEY (id)) INHERITS (family); INSERT INTO child VALUES (1, 'c')`)
	both, logs := captured(t, server, database)
	catchUp(t, both...)
	for _, log := range logs {
		log.take()
	}
	exec(t, server, database,
		`ALTER TABLE told ADD c varchar(9) DEFAULT 'seven'; ALTER TABLE told ALTER c TYPE text; ALTER TABLE told RENAME c TO d; ALTER TABLE told DROP b`,
		`INSERT INTO among VALUES (10, 'ten', 'ten'); ALTER TABLE among RENAME a TO x; INSERT INTO among VALUES (11, 'eleven', 'x'); ALTER TABLE among RENAME b TO a;
		 INSERT INTO among VALUES (12, 'x', 'a was b'); ALTER TABLE among DROP x; ALTER TABLE among ADD x text DEFAULT 'fresh'; UPDATE among SET x = 'set' WHERE id = 1;
		 ALTER TABLE among RENAME x TO y; ALTER TABLE among ADD z int DEFAULT 3; INSERT INTO among VALUES (13, 'a', 'y', 4); ALTER TABLE among DROP z`,
		`INSERT INTO large SELECT n, repeat('x', 100) FROM generate_series(1, 2000) n; ALTER TABLE large ADD n int DEFAULT 1; INSERT INTO large SELECT n, repeat('y', 100), n FROM generate_series(2001, 4000) n;
		 ALTER TABLE large RENAME v TO w; DO $$ BEGIN ALTER TABLE large DROP n; RAISE EXCEPTION 'no'; EXCEPTION WHEN raise_exception THEN NULL; END $$; UPDATE large SET n = 2 WHERE id = 1; ALTER TABLE large ADD last text`,
		`ALTER TABLE family ADD f int DEFAULT 4`,
		`ALTER TABLE among DROP y; ALTER TABLE among ADD y text`)
	catchUp(t, both...)
	for _, p := range both {
		for table, want := range map[string]string{"told": "id integer, a text, b integer, d text", "child": "id integer, v text, f integer", "family": "id integer, f integer"} {
			if is := p.columns(t, table); is != want {
				t.Errorf("%s: %s has %s, want %s", p.destination, table, is, want)
			}
		}
		for _, table := range []string{"told", "among", "large", "child"} {
			p.equalBut(t, table, compare.Options{Kept: true})
		}
		p.verify(t)
	}
	for i, log := range logs {
		text := log.take()
		if strings.Contains(text, "loading a table again") || strings.Contains(text, "not captured") || !strings.Contains(text, "public.among was renamed to x") {
			t.Errorf("%s said:\n%s", both[i].destination, text)
		}
	}
}

// TestCapturedOfMergedSources adds columns to tables that are merged, in one
// database and then in the other. Rows that are there get the value, each only
// from its own database, although no row follows.
func TestCapturedOfMergedSources(t *testing.T) {
	t.Parallel()
	server := pgserver.Test(t, pgserver.Options{})
	eu, us := server.Database(t), server.Database(t)
	for _, database := range []string{eu, us} {
		exec(t, server, database, `CREATE TABLE items (id int PRIMARY KEY, v text); INSERT INTO items SELECT n, 'v' || n FROM generate_series(1, 5) n`)
	}
	both := []*pipeline{newPipeline(t, server, "duckdb", eu, us), newPipeline(t, server, "postgres", eu, us)}
	for _, p := range both {
		p.source = "ddl_capture = true\nheartbeat = \"24h\""
	}
	catchUp(t, both...)
	for _, step := range []struct{ database, sql string }{
		{eu, `ALTER TABLE items ADD n int DEFAULT 7`},
		{us, `UPDATE items SET v = 'before' WHERE id = 1; ALTER TABLE items ADD n int DEFAULT 8; ALTER TABLE items ADD m text DEFAULT 'm'`},
		{eu, `ALTER TABLE items ADD m text DEFAULT 'of eu'; ALTER TABLE items RENAME v TO w`},
		{us, `ALTER TABLE items RENAME v TO w; UPDATE items SET n = 9 WHERE id = 2`},
	} {
		exec(t, server, step.database, step.sql)
		catchUp(t, both...)
		for _, p := range both {
			p.verify(t)
		}
	}
	for _, p := range both {
		p.equalBut(t, "items", compare.Options{Kept: true})
	}
}

// TestMergedColumnGetsATakenName gives a column the name of one that has another
// type in the other database, and then another type itself.
func TestMergedColumnGetsATakenName(t *testing.T) {
	t.Parallel()
	server := pgserver.Test(t, pgserver.Options{})
	eu, us := server.Database(t), server.Database(t)
	for _, database := range []string{eu, us} {
		exec(t, server, database, `CREATE TABLE t (id int PRIMARY KEY, a text, d date, v int); INSERT INTO t SELECT n, 'a' || n, '2024-02-29', 1 FROM generate_series(1, 9) n`)
	}
	both := []*pipeline{newPipeline(t, server, "duckdb", eu, us), newPipeline(t, server, "postgres", eu, us)}
	catchUp(t, both...)
	for _, step := range []struct{ database, sql string }{
		{us, `ALTER TABLE t ADD x bigint DEFAULT 8, ADD y numeric(8,2) DEFAULT 0.5`},
		{eu, `ALTER TABLE t RENAME a TO x; ALTER TABLE t RENAME d TO y`},
		{eu, `UPDATE t SET v = 3 WHERE id = 3; ALTER TABLE t DROP x; ALTER TABLE t RENAME v TO x`},
	} {
		exec(t, server, step.database, step.sql, `UPDATE t SET id = id + 10 WHERE id = 1`, `INSERT INTO t (id) VALUES (0)`, `DELETE FROM t WHERE id = 0`)
		catchUp(t, both...)
		for _, p := range both {
			p.verify(t)
		}
	}
}

// TestChangesThatWait changes tables in transactions that stay open, prepared
// ones among them: what they lock holds nothing up, neither the start of a
// pipeline nor other tables, and comes in its place once they commit.
func TestChangesThatWait(t *testing.T) {
	t.Parallel()
	server := pgserver.Test(t, pgserver.Options{Settings: map[string]string{"max_prepared_transactions": "10", "logical_decoding_work_mem": "64kB"}})
	sources := []string{"ddl_capture = true", ""}
	if server.Major() >= 15 { // before, no walsender sends what is prepared
		sources = append(sources, "ddl_capture = true\ntwo_phase = true")
	}
	for _, source := range sources {
		t.Run(source, func(t *testing.T) {
			database := server.Database(t)
			exec(t, server, database, `CREATE TABLE stays (id int PRIMARY KEY, v text); INSERT INTO stays VALUES (1, 'one')`)
			for _, table := range []string{"altered", "kept", "undone"} {
				exec(t, server, database, fmt.Sprintf(`CREATE TABLE %s (id int PRIMARY KEY, v text); INSERT INTO %[1]s SELECT n, 'v' || n FROM generate_series(1, 100) n`, table))
			}
			both := []*pipeline{newPipeline(t, server, "duckdb", database), newPipeline(t, server, "postgres", database)}
			for _, p := range both {
				p.source = source
			}
			catchUp(t, both...)
			conn, err := pgx.Connect(t.Context(), server.DSN(database))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close(context.Background())
			do := func(sql string) {
				t.Helper()
				if _, err := conn.Exec(t.Context(), sql); err != nil {
					t.Fatalf("%s: %v", sql, err)
				}
			}
			change := func(table string) string {
				return fmt.Sprintf(`BEGIN; UPDATE %[1]s SET v = 'before' WHERE id <= 10; ALTER TABLE %[1]s ADD n int DEFAULT 7; INSERT INTO %[1]s SELECT g, repeat('x', 100), g FROM generate_series(1001, 2000) g;
					ALTER TABLE %[1]s RENAME v TO w; UPDATE %[1]s SET n = 8 WHERE id = 1`, table)
			}
			prepared := func(table string) string { return "'" + database + "_" + table + "'" }
			for _, table := range []string{"kept", "undone"} {
				do(change(table))
				do(`PREPARE TRANSACTION ` + prepared(table))
			}
			do(change("altered"))
			exec(t, server, database, `INSERT INTO stays VALUES (2, 'two')`)
			catchUp(t, both...) // begins while all three are locked
			for _, p := range both {
				p.equal(t, "stays")
			}
			do(`COMMIT`)
			do(`COMMIT PREPARED ` + prepared("kept"))
			do(`ROLLBACK PREPARED ` + prepared("undone"))
			exec(t, server, database, `UPDATE undone SET v = 'after' WHERE id = 1`)
			catchUp(t, both...)
			for _, p := range both {
				for _, table := range []string{"stays", "altered", "kept", "undone"} {
					p.equal(t, table)
				}
				p.verify(t)
			}
		})
	}
}

// TestCapturedWhileRunning lets tables come, go and get another name while the
// pipelines run and never look at the catalogue by themselves; holds one before
// its change, although no row follows; and meets messages that others write.
func TestCapturedWhileRunning(t *testing.T) {
	t.Parallel()
	server := pgserver.Test(t, pgserver.Options{})
	database := server.Database(t)
	exec(t, server, database, `CREATE TABLE stays (id int PRIMARY KEY, v text); INSERT INTO stays VALUES (1, 'one'); CREATE TABLE held (id int PRIMARY KEY, v text); INSERT INTO held VALUES (1, 'one')`)
	both, logs := captured(t, server, database)
	var run []*running
	for _, p := range both {
		p.extra = "[schema_changes]\ncolumn_renamed = \"hold\""
		run = append(run, p.start(t))
	}
	stands := func(table, want string) {
		t.Helper()
		for i, r := range run {
			is := ""
			for patience := time.Now().Add(time.Minute); is != want && time.Now().Before(patience); {
				objects, err := r.Objects()
				if err != nil {
					t.Fatal(err)
				}
				for _, o := range objects {
					if o.Table.Name == table {
						is = string(o.State)
					}
				}
			}
			if is != want {
				t.Errorf("%s: %s is %q, want %q\n%s", both[i].destination, table, is, want, logs[i].take())
			}
		}
	}
	stands("held", string(state.Streaming))
	exec(t, server, database, `CREATE TABLE comes (id int PRIMARY KEY); INSERT INTO comes VALUES (1)`)
	stands("comes", string(state.Streaming))
	exec(t, server, database, `DROP TABLE comes`)
	stands("comes", string(state.Deleted))
	exec(t, server, database, `ALTER TABLE held RENAME v TO w`)
	stands("held", string(state.Paused))
	exec(t, server, database, `ALTER TABLE held ADD n int DEFAULT 5`)
	for _, r := range run {
		r.catchUp(t)
		if _, err := r.ChangeObjects(t.Context(), engine.ObjectRequest{Verb: engine.ResumeObjects, Tables: []string{"public.held"}}); err != nil {
			t.Fatal(err)
		}
	}
	stands("held", string(state.Streaming))
	// Whoever may connect may write messages.
	stranger := "stranger_" + database
	exec(t, server, database, `CREATE ROLE `+stranger, `GRANT `+stranger+` TO CURRENT_USER`)
	for _, content := range []string{`''`, `'{}'`, `repeat('x', 100000)`, `decode(repeat('00', 32), 'hex') || convert_to('{"v":1,"xid":' || txid_current() || ',"oid":' || 'stays'::regclass::oid || ',"schema":"public","name":"stays","kind":"r","identity":"d","columns":[]}', 'UTF8')`} {
		exec(t, server, database, `SET ROLE `+stranger+`; SELECT pg_logical_emit_message(true, 'leat.ddl', `+content+`); SELECT pg_logical_emit_message(false, 'leat.ddl', `+content+`); RESET ROLE`)
	}
	exec(t, server, database, `INSERT INTO stays VALUES (2, 'two')`)
	for i, r := range run {
		r.catchUp(t)
		r.stop(t)
		both[i].equal(t, "stays")
		both[i].equal(t, "held")
		if is := both[i].columns(t, "held"); is != "id integer, w text, n integer" {
			t.Errorf("%s: held has %s", both[i].destination, is)
		}
		if text := logs[i].take(); strings.Count(text, "is passed over") != 1 {
			t.Errorf("%s said:\n%s", both[i].destination, text)
		}
	}
	exec(t, server, database, `DROP ROLE `+stranger)
}

// TestTriggersHarmNobody makes changes as a role without rights, with functions
// of its own before those of PostgreSQL, and while the triggers are broken: the
// statements go through, and what was not captured comes all the same.
func TestTriggersHarmNobody(t *testing.T) {
	t.Parallel()
	server := pgserver.Test(t, pgserver.Options{})
	database := server.Database(t)
	plain := "plain_" + database
	exec(t, server, database, `CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'one')`, `CREATE ROLE `+plain, `GRANT CREATE ON DATABASE `+database+` TO `+plain, `GRANT ALL ON SCHEMA public TO `+plain,
		`ALTER TABLE t OWNER TO `+plain)
	both, _ := captured(t, server, database)
	catchUp(t, both...)
	var conns [2]*pgx.Conn
	for i := range conns {
		var err error
		if conns[i], err = pgx.Connect(t.Context(), server.DSN(database)); err != nil {
			t.Fatal(err)
		}
		defer conns[i].Close(context.Background())
	}
	const slot = "peek"
	do := func(sql string) (messages int) {
		t.Helper()
		if _, err := conns[0].Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		if err := conns[1].QueryRow(t.Context(), `SELECT count(*) FROM pg_logical_slot_get_changes('`+slot+`', NULL, NULL) WHERE data LIKE 'message:%prefix: leat.ddl%'`).Scan(&messages); err != nil {
			t.Fatal(err)
		}
		return messages
	}
	do(`RESET ROLE; SELECT pg_create_logical_replication_slot('` + slot + `', 'test_decoding')`)
	defer func() { exec(t, server, database, `SELECT pg_drop_replication_slot('`+slot+`')`) }()
	evil := fmt.Sprintf(`SET ROLE %s; CREATE SCHEMA evil; CREATE FUNCTION evil.sha256(bytea) RETURNS bytea LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''as %%'', current_user; END';
		CREATE FUNCTION evil.txid_current() RETURNS bigint LANGUAGE sql AS 'SELECT 1/0::bigint'; SET search_path = evil, pg_catalog, public`, plain)
	do(evil)
	for _, c := range []struct {
		sql  string
		want int
	}{
		{`ALTER TABLE public.t ADD a int DEFAULT 1; RESET search_path`, 1},
		{`CREATE TEMP TABLE gone (id int PRIMARY KEY); ALTER TABLE gone ADD v text; DROP TABLE gone`, 0},
		{`CREATE TABLE made (id int PRIMARY KEY); DROP TABLE made`, 2},
		{`RESET ROLE; SET session_replication_role = replica; ALTER TABLE t ADD b int DEFAULT 2; RESET session_replication_role`, 1},
		{`CREATE DOMAIN d AS int; ALTER TABLE t ADD c d; DROP DOMAIN d CASCADE`, 2},
		{`CREATE TYPE pair AS (x int); ALTER TABLE t ADD p pair; ALTER TYPE pair ADD ATTRIBUTE y int`, 2},
		{`CREATE VIEW seen AS SELECT id FROM t; CREATE INDEX t_v ON t (v); DROP VIEW seen; DROP INDEX t_v`, 0},
		{`CREATE SCHEMA old; CREATE TABLE old.o (id int PRIMARY KEY); ALTER SCHEMA old RENAME TO young; DROP SCHEMA young CASCADE`, 3},
		{`CREATE OR REPLACE FUNCTION leat_ddl.key() RETURNS oid LANGUAGE sql IMMUTABLE AS 'SELECT 1::oid'; ALTER TABLE t ADD e int DEFAULT 3; INSERT INTO t (id) VALUES (2)`, 0},
	} {
		if messages := do(c.sql); messages != c.want {
			t.Errorf("%s: %d messages, want %d", c.sql, messages, c.want)
		}
	}
	catchUp(t, both...)
	for _, p := range both {
		p.equalBut(t, "t", compare.Options{Kept: true})
	}
	exec(t, server, database, `REASSIGN OWNED BY `+plain+` TO CURRENT_USER; DROP OWNED BY `+plain, `DROP ROLE `+plain)
}

// TestCaptureInAForeignSchema does not install anything where another role could
// change it.
func TestCaptureInAForeignSchema(t *testing.T) {
	t.Parallel()
	server := pgserver.Test(t, pgserver.Options{})
	database := server.Database(t)
	squatter := "squatter_" + database
	exec(t, server, database, `CREATE TABLE t (id int PRIMARY KEY)`, `CREATE ROLE `+squatter, `CREATE SCHEMA leat_ddl AUTHORIZATION `+squatter)
	both, logs := captured(t, server, database)
	catchUp(t, both[1])
	exec(t, server, database, `ALTER TABLE t ADD v text; INSERT INTO t VALUES (1, 'one')`)
	catchUp(t, both[1])
	both[1].equal(t, "t")
	if text := logs[1].take(); !strings.Contains(text, "belongs to another role") {
		t.Errorf("said:\n%s", text)
	}
	exec(t, server, database, `DROP SCHEMA leat_ddl`, `DROP ROLE `+squatter)
	catchUp(t, both[1]) // now it may
	exec(t, server, database, postgres.CaptureRemovalSQL)
	if err := server.Exec(t.Context(), database, `SELECT leat_ddl.key()`); err == nil {
		t.Error("something is left of the triggers")
	}
	exec(t, server, database, `ALTER TABLE t ADD w text; INSERT INTO t VALUES (2, 'two', 'w')`)
	catchUp(t, both[1])
	both[1].equal(t, "t")
	exec(t, server, database, `SELECT leat_ddl.key()`) // they are there again
}
