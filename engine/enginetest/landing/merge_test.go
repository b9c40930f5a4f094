package landing

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/plugins/capability"
)

// mergedTypes are two types of a column, the type that holds both at each
// destination, and a value of each source.
var mergedTypes = []struct{ eu, us, duckdb, postgres, euValue, usValue string }{
	{"int", "bigint", "BIGINT", "bigint", "2147483647", "9223372036854775807"},
	{"smallint", "int", "INTEGER", "integer", "-32768", "-2147483648"},
	{"numeric", "float8", "VARCHAR", "text", "1234567890.123456789012345678901234567890", "'NaN'"},
	{"numeric(10,2)", "real", "VARCHAR", "text", "12345678.91", "1.1"},
	{"date", "timestamp", "TIMESTAMP", "timestamp without time zone", "'infinity'", "'0044-03-15 12:00:00.123456 BC'"},
	{"varchar(100)", "varchar(500)", "VARCHAR", "character varying(500)", "repeat('a', 100)", "repeat('ü', 500)"},
	{"varchar(100)", "text", "VARCHAR", "text", "'a'", "repeat('long', 200)"},
	{"numeric(10,2)", "numeric(12,4)", "DECIMAL(12,4)", "numeric(12,4)", "99999999.99", "99999999.9999"},
	{"int", "numeric(12,2)", "DECIMAL(12,2)", "numeric(12,2)", "2147483647", "9999999999.99"},
	{"bigint", "numeric", "VARCHAR", "numeric", "9223372036854775807", "1e100"},
	{"numeric(38,0)", "numeric(76,70)", "VARCHAR", "numeric", "repeat('9', 38)::numeric", "0.1"},
	{"timestamp", "timestamptz", "VARCHAR", "text", "'-infinity'", "'2024-02-29 23:59:59.999999+00'"},
	{"mood", "text", "VARCHAR", "text", "'sad'", "'glad'"},
	{"int[]", "int", "VARCHAR", "text", "'{1,NULL,3}'", "4"},
	{"real", "float8", "DOUBLE", "double precision", "'-Infinity'", "1e300"},
	{"bool", "int", "VARCHAR", "text", "true", "1"},
	{"uuid", "text", "VARCHAR", "text", "'00000000-0000-0000-0000-00000000000a'", "'no uuid'"},
	{"jsonb", "json", "VARCHAR", "text", `'{"a": 1}'`, `'{"a" : 1}'`},
}

// TestMergedTypes merges tables whose columns have two types: the common one
// holds every value of both, NaN and infinity included.
func TestMergedTypes(t *testing.T) {
	into(t, 2, func(s *site) {
		s.every(`CREATE TYPE mood AS ENUM ('sad')`)
		for i, c := range mergedTypes {
			for j, side := range []struct{ typ, value string }{{c.eu, c.euValue}, {c.us, c.usValue}} {
				s.exec(j, fmt.Sprintf(`CREATE TABLE t%d (id int PRIMARY KEY, v %s)`, i, side.typ), fmt.Sprintf(`INSERT INTO t%d VALUES (1, %s), (2, NULL)`, i, side.value))
			}
		}
		p, _ := s.open()
		s.pass(p)
		for i := range mergedTypes {
			s.every(fmt.Sprintf(`INSERT INTO t%d SELECT 3, v FROM t%[1]d WHERE id = 1`, i), fmt.Sprintf(`UPDATE t%d SET id = 4 WHERE id = 1`, i))
		}
		s.pass(p)
		s.equal(p)
		planned, err := p.Plan(t.Context())
		if err != nil {
			s.Fatal(err)
		}
		types := map[string]string{}
		for _, table := range planned {
			types[table.Source.Name] = table.Targets[0].Columns[1].Type
		}
		for i, c := range mergedTypes {
			want := map[string]string{"duckdb": c.duckdb, "postgres": c.postgres}[s.plugin]
			if got := types[fmt.Sprintf("t%d", i)]; got != want {
				s.Errorf("%s and %s become %s, want %s", c.eu, c.us, got, want)
			}
		}
	})
}

// TestMergedKeys merges tables with equal keys, with keys of other columns,
// without a key, and one that is empty.
func TestMergedKeys(t *testing.T) {
	into(t, 2, func(s *site) {
		s.every(`CREATE TABLE same (id int PRIMARY KEY, v text)`, `INSERT INTO same VALUES (1, current_database())`,
			`CREATE TABLE hollow (id int PRIMARY KEY, v text)`)
		s.exec(0, `CREATE TABLE wider (id int PRIMARY KEY, only_eu text)`, `INSERT INTO wider VALUES (1, 'x'), (2, 'y')`,
			`CREATE TABLE mixed (id int PRIMARY KEY, v text)`, `INSERT INTO mixed VALUES (1, 'a'), (2, 'b')`, `INSERT INTO hollow VALUES (1, 'full')`)
		s.exec(1, `CREATE TABLE wider (id int, state text, only_us int, PRIMARY KEY (id, state))`, `INSERT INTO wider VALUES (1, 'CA', 1), (1, 'NY', 2)`,
			`CREATE TABLE mixed (id int, v text)`, `ALTER TABLE mixed REPLICA IDENTITY FULL`, `INSERT INTO mixed VALUES (1, 'a'), (1, 'a'), (NULL, NULL)`)
		p, _ := s.open()
		s.pass(p)
		s.equal(p)
		s.every(`UPDATE same SET v = v || '!'`)
		s.exec(0, `UPDATE wider SET only_eu = 'z' WHERE id = 1`, `UPDATE wider SET id = 3 WHERE id = 2`, `UPDATE mixed SET v = 'c' WHERE id = 1`, `DELETE FROM mixed WHERE id = 2`, `INSERT INTO mixed VALUES (5, 'e')`)
		s.exec(1, `DELETE FROM wider WHERE state = 'CA'`, `INSERT INTO wider VALUES (2, 'CA', 3)`,
			`DELETE FROM mixed WHERE ctid = '(0,1)'`, `UPDATE mixed SET v = 'z' WHERE id IS NULL`, `INSERT INTO mixed VALUES (1, 'a'), (5, 'e')`)
		s.pass(p)
		s.equal(p)
		eu, us := s.databases[0], s.databases[1]
		s.want(p, `SELECT id, v, __leat_database_name FROM mixed WHERE NOT __leat_marked_deleted ORDER BY __leat_database_name, id, v`,
			"1 c "+eu, "5 e "+eu, "1 a "+us, "1 a "+us, "5 e "+us, "NULL z "+us)
		s.want(p, `SELECT id, state, only_eu, only_us FROM wider WHERE NOT __leat_marked_deleted ORDER BY id, state, only_us`,
			"1 NY NULL 2", "1 NULL z NULL", "2 CA NULL 3", "3 NULL y NULL")
		// The table without a key gets one: its rows go on under it.
		s.exec(1, `DELETE FROM mixed WHERE ctid = (SELECT min(ctid) FROM mixed WHERE id = 1)`, `UPDATE mixed SET id = 7 WHERE id IS NULL`)
		s.pass(p)
		s.exec(1, `ALTER TABLE mixed ADD PRIMARY KEY (id)`, `ALTER TABLE mixed REPLICA IDENTITY DEFAULT`)
		s.pass(p)
		s.exec(1, `UPDATE mixed SET v = 'keyed' WHERE id IN (1, 5)`, `DELETE FROM mixed WHERE id = 7`)
		s.exec(0, `UPDATE mixed SET v = 'still' WHERE id = 1`, `TRUNCATE hollow`)
		s.pass(p)
		s.equal(p)
	})
}

// TestMergedSourcesChange has sources that lose and rename columns, vanish, and
// come later with a wider type; what was merged is kept.
func TestMergedSourcesChange(t *testing.T) {
	into(t, 2, func(s *site) {
		s.every(`CREATE TABLE a (id int PRIMARY KEY, dropped int, v text)`, `INSERT INTO a VALUES (1, 10, 'one')`)
		s.exec(0, `CREATE TABLE gone (id int PRIMARY KEY, v int)`, `INSERT INTO gone VALUES (1, 1)`, `CREATE TABLE late (id int PRIMARY KEY, v int)`, `INSERT INTO late VALUES (1, 1)`)
		s.exec(1, `CREATE TABLE gone (id int, state text, v bigint, extra text, PRIMARY KEY (id, state))`, `INSERT INTO gone VALUES (1, 'CA', 1, 'x'), (1, 'NY', 2, 'y')`)
		p, closed := s.open()
		s.pass(p)
		s.equal(p)
		s.exec(0, `ALTER TABLE a DROP COLUMN dropped`, `INSERT INTO a VALUES (2, 'two')`, `ALTER TABLE a RENAME COLUMN v TO w`, `INSERT INTO a VALUES (3, 'three')`)
		s.exec(1, `INSERT INTO a VALUES (2, 20, 'zwei')`, `DROP TABLE gone`, `CREATE TABLE late (id bigint PRIMARY KEY, v numeric(12,2), more text)`, `INSERT INTO late VALUES (9999999999, 1.5, 'm')`)
		s.pass(p)
		closed()
		s.exec(0, `UPDATE gone SET v = 2`, `INSERT INTO gone VALUES (2, 3)`, `UPDATE late SET v = 5`)
		s.exec(1, `INSERT INTO late VALUES (1, 2.25, NULL)`)
		p, _ = s.open()
		s.pass(p)
		eu, us := s.databases[0], s.databases[1]
		s.want(p, `SELECT id, dropped, __leat_database_name FROM a WHERE id > 1 ORDER BY __leat_database_name, id`, "2 NULL "+eu, "3 NULL "+eu, "2 20 "+us)
		s.want(p, `SELECT id, v, w FROM a WHERE id = 3`, "3 NULL three")
		s.want(p, `SELECT id, v, state, extra FROM gone ORDER BY __leat_database_name, id, v`, "1 2 NULL NULL", "2 3 NULL NULL", "1 1 CA x", "1 2 NY y")
		s.want(p, `SELECT id, v, more FROM late ORDER BY __leat_database_name, id`, "1 5.00 NULL", "1 2.25 NULL", "9999999999 1.50 m")
		v, err := p.Verify(t.Context(), nil, nil)
		if err != nil {
			s.Fatal(err)
		}
		for _, table := range v.Tables {
			if strings.Contains(table.Target, "late") && table.Different > 0 {
				s.Errorf("late: %+v", table)
			}
		}
	})
}

// TestNamesApart keeps tables apart by a template of their names, and refuses
// two tables on one name before the second has a row.
func TestNamesApart(t *testing.T) {
	into(t, 2, func(s *site) {
		long := strings.Repeat("long", 15)
		s.every(`CREATE SCHEMA sales`, `CREATE TABLE orders (id int PRIMARY KEY)`, `CREATE TABLE sales.orders (id int PRIMARY KEY)`, `INSERT INTO orders VALUES (1)`, `INSERT INTO sales.orders VALUES (2)`,
			fmt.Sprintf(`CREATE TABLE %sa (id int PRIMARY KEY)`, long), fmt.Sprintf(`CREATE TABLE %sb (id int PRIMARY KEY)`, long), fmt.Sprintf(`INSERT INTO %sb VALUES (3)`, long))
		s.source = `table_name = "{table}"`
		p, closed := s.open()
		refused := func(p *engine.Pipeline) {
			s.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, planned := p.Plan(ctx)
			for _, err := range []error{planned, p.Run(ctx, engine.RunOptions{UntilCaughtUp: true})} {
				var e *capability.Error
				if !errors.As(err, &e) || e.Class != capability.Schema || !strings.Contains(e.Message, s.databases[0]+".public.") || !strings.Contains(e.Message, s.databases[1]+".public.") || !strings.Contains(e.Hint, "table_name") {
					s.Errorf("two tables of one name: %v", err)
				}
			}
		}
		refused(p)
		closed()
		s.source = `table_name = "{table}@{database}"`
		s.dir = t.TempDir()
		s.every(`DO $$ BEGIN
			FOR i IN 1..100 LOOP -- the server may not have noticed yet that the run has ended
				EXIT WHEN NOT EXISTS (SELECT 1 FROM pg_replication_slots WHERE database = current_database() AND active);
				PERFORM pg_sleep(0.1);
			END LOOP;
			PERFORM pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database(); END $$`)
		if s.plugin == "postgres" {
			s.warehouse = s.server.Database(t)
		}
		p, _ = s.open()
		s.pass(p)
		s.equal(p)
		s.want(p, fmt.Sprintf(`SELECT id FROM "orders@%s"`, s.databases[1]), "1")
		s.want(p, fmt.Sprintf(`SELECT id FROM sales."orders@%s"`, s.databases[0]), "2")
	})
}

// TestMergedKeysDiffer merges tables of which one has a column beside its key
// that is in the key of the other: changes find the rows of their own database,
// in every load mode, and the keys may become equal and differ again.
func TestMergedKeysDiffer(t *testing.T) {
	for _, mode := range []string{"merge", "history", "append"} {
		t.Run(mode, func(t *testing.T) {
			into(t, 2, func(s *site) {
				s.config = fmt.Sprintf("load_mode = %q", mode)
				s.exec(0, `CREATE TABLE a (id int PRIMARY KEY, part int, v text)`, `INSERT INTO a SELECT n, n % 3, 'eu' FROM generate_series(1, 9) n`, `INSERT INTO a VALUES (10, NULL, 'null')`)
				s.exec(1, `CREATE TABLE a (id int, part int, v text, PRIMARY KEY (part, id))`, `INSERT INTO a SELECT n % 3, n, 'us' FROM generate_series(1, 9) n`)
				s.every(`CREATE TABLE moves (id int PRIMARY KEY, code int NOT NULL, v text)`, `INSERT INTO moves SELECT n, n + 100, 'v' || n FROM generate_series(1, 9) n`)
				p, closed := s.open()
				s.pass(p)
				s.equal(p)
				work := []string{`UPDATE a SET part = part + 10 WHERE id = 1`, `UPDATE a SET v = 'changed' WHERE id = 2`, `DELETE FROM a WHERE id = 0 OR id = 3`, `INSERT INTO a VALUES (3, 77, 'again')`,
					`UPDATE a SET id = id + 20 WHERE part = 2`, `BEGIN; DELETE FROM a WHERE id = 2; INSERT INTO a VALUES (2, 5, 'b'); UPDATE a SET part = 6 WHERE id = 2 AND part = 5; COMMIT`}
				s.every(work...)
				s.pass(p)
				s.equal(p)
				if mode == "append" {
					return // whose events are of the key of their time
				}
				// The key changes in one database, and later in the other.
				s.every(`UPDATE moves SET v = 'before' WHERE id = 1`)
				rekey := []string{`BEGIN; ALTER TABLE moves DROP CONSTRAINT moves_pkey; ALTER TABLE moves ADD PRIMARY KEY (code); UPDATE moves SET id = 1 WHERE code < 104; DELETE FROM moves WHERE code = 105; COMMIT`, `UPDATE moves SET code = 900 WHERE code = 106`}
				s.exec(0, rekey...)
				s.exec(1, `DELETE FROM moves WHERE id = 4`, `UPDATE moves SET code = 101 WHERE id < 4`)
				s.pass(p)
				s.equal(p)
				closed()
				p, _ = s.open()
				s.exec(1, `UPDATE moves SET code = 1000 + id`, `BEGIN; ALTER TABLE moves DROP CONSTRAINT moves_pkey; ALTER TABLE moves ADD PRIMARY KEY (code); UPDATE moves SET id = 5; COMMIT`)
				s.exec(0, `INSERT INTO moves VALUES (1, 105, 'back')`)
				s.every(work...)
				s.pass(p)
				s.equal(p)
				s.every(`UPDATE moves SET v = 'last', code = -code`, `TRUNCATE a`, `INSERT INTO a VALUES (1, 1, 'anew')`)
				s.pass(p)
				s.equal(p)
			})
		})
	}
}

// TestMergedTypesWidenLater has sources whose rows are there before another source
// makes the type of a column a wider one: they read as if it had been from the
// start, and not as the destination writes the narrower type.
func TestMergedTypesWidenLater(t *testing.T) {
	into(t, 3, func(s *site) {
		types := [][3]string{{"int", "numeric(8,2)", "text"}, {"timestamptz", "timestamptz", "text"}, {"real", "float8", "text"}, {"date", "timestamp", "timestamp"}, {"bool", "bool", "text"}, {"bytea", "bytea", "text"}, {"interval", "interval", "text"}, {"int", "bigint", "numeric(20,3)"}}
		values := map[string]string{"int": "8", "bigint": "8", "numeric(8,2)": "8.5", "numeric(20,3)": "8.125", "text": "'8'", "timestamptz": "'2024-02-29 12:00:00+00'", "real": "1.1", "float8": "1.1", "date": "'2024-02-29'",
			"timestamp": "'2024-02-29 12:00:00'", "bool": "true", "bytea": `'\x00ff'`, "interval": "'1 mon 2 days 03:04:05'"}
		make := func(database int) {
			for i, of := range types {
				s.exec(database, fmt.Sprintf(`CREATE TABLE t%d (id int PRIMARY KEY, v %s)`, i, of[database]), fmt.Sprintf(`INSERT INTO t%d VALUES (1, %s), (2, NULL)`, i, values[of[database]]))
			}
		}
		make(0)
		p, closed := s.open()
		s.pass(p)
		s.equal(p)
		make(1)
		s.pass(p)
		s.equal(p)
		closed()
		make(2)
		p, closed = s.open()
		s.pass(p)
		s.equal(p)
		for i := range types {
			s.every(fmt.Sprintf(`INSERT INTO t%d SELECT 3, v FROM t%[1]d WHERE id = 1`, i))
		}
		s.pass(p)
		s.equal(p)
		closed()
		// One leaves the pipeline, and its rows stay.
		s.databases = s.databases[:2]
		s.exec(1, `ALTER TABLE t7 ALTER v TYPE text`)
		p, _ = s.open()
		s.pass(p)
		s.want(p, `SELECT v FROM t7 WHERE id = 1 AND __leat_database_name = '`+s.databases[0]+`'`, "8")
	})
}
