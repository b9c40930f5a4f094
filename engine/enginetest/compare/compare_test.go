package compare

import (
	"database/sql"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	_ "github.com/duckdb/duckdb-go/v2"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

func TestMain(m *testing.M) { os.Exit(pgserver.Main(m)) }

const sourceSQL = `
CREATE TABLE items (id bigint, region text, price numeric(12,2), weight float8, placed timestamptz, day date, due time, ok boolean,
	doc jsonb, tags text[], counts int[], raw bytea, ref uuid, code char(5), PRIMARY KEY (region, id));
INSERT INTO items VALUES
	(1, 'eu', 10.50, 0.1, '2025-06-01 12:00:00.25+02', '2025-06-01', '08:00', true, '{"a": [1, null]}', '{a,"b c",NULL}', '{1,2}', '\x00ff41', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'ab'),
	(1, 'us', NULL, 'NaN', '0044-03-15 12:00:00+00 BC', '0044-03-15 BC', NULL, false, 'null', '{}', '{{1,2},{3,NULL}}', '\x', NULL, 'abcde'),
	(2, 'eu', -3, 1e300, 'infinity', '-infinity', '23:59:59.999999', NULL, NULL, NULL, NULL, NULL, NULL, NULL);
CREATE TABLE events (seq int, what text);
INSERT INTO events VALUES (1, 'x'), (1, 'x'), (2, NULL);`

const duckSQL = `
CREATE TABLE items (id BIGINT, region VARCHAR, price DECIMAL(12,2), weight DOUBLE, placed TIMESTAMPTZ, day DATE, due TIME, ok BOOLEAN,
	doc JSON, tags VARCHAR, counts VARCHAR, raw BLOB, ref UUID, code VARCHAR, __leat_marked_deleted BOOLEAN, __leat_loaded_at TIMESTAMPTZ);
INSERT INTO items VALUES
	(1, 'eu', 10.50, 0.1, '2025-06-01 12:00:00.25+02', '2025-06-01', '08:00', true, '{"a": [1, null]}', '["a","b c",null]', '[1,2]', '\x00\xFFA'::BLOB, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'ab   ', false, now()),
	(1, 'us', NULL, 'NaN', '0044-03-15 (BC) 12:00:00+00', '0044-03-15 (BC)', NULL, false, 'null', '[]', '[[1,2],[3,null]]', ''::BLOB, NULL, 'abcde', NULL, now()),
	(2, 'eu', -3, 1e300, 'infinity', '-infinity', '23:59:59.999999', NULL, NULL, NULL, NULL, NULL, NULL, NULL, false, now()),
	(9, 'eu', 1, 1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, true, now());
CREATE TABLE events (seq INTEGER, what VARCHAR);
INSERT INTO events VALUES (2, NULL), (1, 'x'), (1, 'x');`

func duckDB(t *testing.T, script string) *sql.DB {
	t.Helper()
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(1)
	run(t, db, script)
	return db
}

func run(t *testing.T, db *sql.DB, script string) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), script); err != nil {
		t.Fatal(err)
	}
}

func source(t *testing.T, script string) (string, *pgserver.Server) {
	t.Helper()
	s := pgserver.Test(t, pgserver.Options{})
	db := s.Database(t)
	if err := s.Exec(t.Context(), db, script); err != nil {
		t.Fatal(err)
	}
	return s.DSN(db), s
}

func tables(t *testing.T, d Destination, o Options, sources ...Source) *Result {
	t.Helper()
	r, err := Tables(t.Context(), d, o, sources...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestEqualTables(t *testing.T) {
	dsn, s := source(t, sourceSQL)
	copied := s.Database(t)
	if err := s.Exec(t.Context(), copied, sourceSQL); err != nil {
		t.Fatal(err)
	}
	db := duckDB(t, duckSQL)
	o := Options{IgnorePrefix: "__leat_"}
	marked := Options{IgnorePrefix: "__leat_", DeletedColumn: "__leat_marked_deleted"}
	for _, c := range []struct {
		table string
		d     Destination
		o     Options
	}{
		{"items", DuckDB(db, "items"), marked},
		{"events", DuckDB(db, "events"), o},
		{"items", Postgres(s.DSN(copied), "items"), o},
		{"events", Postgres(s.DSN(copied), "events"), o},
	} {
		r := tables(t, c.d, c.o, Source{DSN: dsn, Table: c.table})
		if !r.Equal() || r.SourceRows != 3 || r.DestinationRows != 3 {
			t.Errorf("%s: %s", c.table, r)
		}
	}
	if err := s.Exec(t.Context(), copied, "UPDATE items SET code = 'x' WHERE region = 'us'"); err != nil {
		t.Fatal(err)
	}
	if r := tables(t, Postgres(s.DSN(copied), "items"), o, Source{DSN: dsn, Table: "items"}); r.Total != 1 {
		t.Errorf("a changed row at PostgreSQL: %s", r)
	}
}

func TestEveryKindOfDifferenceIsFound(t *testing.T) {
	dsn, _ := source(t, sourceSQL)
	for _, c := range []struct {
		table, change string
		want          []Kind
	}{
		{"items", "DELETE FROM items WHERE region = 'us'", []Kind{Missing}},
		{"items", "INSERT INTO items (id, region) VALUES (7, 'eu')", []Kind{Extra}},
		{"items", "INSERT INTO items FROM items WHERE region = 'us'", []Kind{Duplicate}},
		{"items", "UPDATE items SET price = 10.51 WHERE id = 1 AND region = 'eu'", []Kind{Changed}},
		{"items", "UPDATE items SET price = 0 WHERE id = 1 AND region = 'us'", []Kind{Changed}},
		{"items", "UPDATE items SET tags = NULL, code = 'ab' WHERE id = 1 AND region = 'eu'", []Kind{Changed, Changed}},
		{"items", "UPDATE items SET placed = '2025-06-01 12:00:00.250001+02' WHERE id = 1 AND region = 'eu'", []Kind{Changed}},
		{"items", "UPDATE items SET raw = '\\x00\\xFEA'::BLOB WHERE id = 1 AND region = 'eu'", []Kind{Changed}},
		{"items", "UPDATE items SET __leat_marked_deleted = true WHERE region = 'us'", []Kind{Missing}},
		{"items", "UPDATE items SET __leat_marked_deleted = false", []Kind{Extra}},
		{"items", "ALTER TABLE items DROP ref", []Kind{MissingColumn, Changed}},
		{"items", "ALTER TABLE items ADD surplus INTEGER", []Kind{ExtraColumn}},
		{"events", "INSERT INTO events VALUES (1, 'x')", []Kind{Extra}},
		{"events", "UPDATE events SET what = '' WHERE seq = 2", []Kind{Extra, Missing}},
		{"events", "DELETE FROM events WHERE seq = 1", []Kind{Missing, Missing}},
	} {
		db := duckDB(t, duckSQL)
		run(t, db, c.change)
		o := Options{IgnorePrefix: "__leat_"}
		if c.table == "items" {
			o.DeletedColumn = "__leat_marked_deleted"
		}
		r := tables(t, DuckDB(db, c.table), o, Source{DSN: dsn, Table: c.table})
		var got []Kind
		for _, d := range r.Differences {
			got = append(got, d.Kind)
		}
		if !slices.Equal(got, c.want) || r.Total != len(c.want) {
			t.Errorf("after %s: %s", c.change, r)
		}
	}
}

func TestMergedTablesAreComparedByDatabase(t *testing.T) {
	eu, _ := source(t, `CREATE TABLE c (id int PRIMARY KEY, name text); INSERT INTO c VALUES (1, 'a'), (2, 'b')`)
	us, _ := source(t, `CREATE TABLE c (id int PRIMARY KEY, vip boolean); INSERT INTO c VALUES (1, true)`)
	db := duckDB(t, `CREATE TABLE c (id INTEGER, name VARCHAR, vip BOOLEAN, db VARCHAR);
		INSERT INTO c VALUES (1, 'a', NULL, 'eu'), (2, 'b', NULL, 'eu'), (1, NULL, true, 'us')`)
	d := DuckDB(db, "c")
	o := Options{DatabaseColumn: "db"}
	sources := []Source{{DSN: eu, Table: "c", Database: "eu"}, {DSN: us, Table: "c", Database: "us"}}
	if r := tables(t, d, o, sources...); !r.Equal() || r.SourceRows != 3 {
		t.Errorf("equal tables: %s", r)
	}
	run(t, db, "UPDATE c SET db = 'us' WHERE id = 2")
	if r := tables(t, d, o, sources...); r.Total != 2 || r.Differences[0].Kind != Missing || r.Differences[1].Kind != Extra {
		t.Errorf("a row under the wrong database: %s", r)
	}
	run(t, db, "UPDATE c SET db = NULL WHERE id = 2")
	if r := tables(t, d, o, sources...); r.Total != 2 {
		t.Errorf("a row without a database: %s", r)
	}
	if _, err := Tables(t.Context(), d, Options{}, sources...); err == nil {
		t.Error("merged without Options.DatabaseColumn")
	}
}

func TestDifferencesAreBoundedAndCounted(t *testing.T) {
	dsn, _ := source(t, `CREATE TABLE n (id int PRIMARY KEY); INSERT INTO n SELECT generate_series(1, 500)`)
	db := duckDB(t, `CREATE TABLE n (id INTEGER)`)
	r := tables(t, DuckDB(db, "n"), Options{Limit: 3}, Source{DSN: dsn, Table: "n"})
	if r.Total != 500 || len(r.Differences) != 3 {
		t.Errorf("%d differences, %d kept", r.Total, len(r.Differences))
	}
	if !strings.Contains(fmt.Sprint(r), `missing id="1"`) {
		t.Errorf("the report does not name the row: %s", r)
	}
}
