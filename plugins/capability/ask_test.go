package capability

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
)

// askFixture is the table and the sequence that statements try to change.
const askFixture = `CREATE TABLE t (a integer); CREATE SEQUENCE s; INSERT INTO t VALUES (1), (2)`

// ask returns how many rows a question has.
func ask(t *testing.T, db SQL, sql string) (rows int64, err error) {
	t.Helper()
	return rows, db.Ask(t.Context(), sql, func(r arrow.RecordBatch) error { rows += r.NumRows(); return nil })
}

// refuses checks that statements are refused and change nothing.
func refuses(t *testing.T, db SQL, statements []string) {
	t.Helper()
	for _, sql := range statements {
		_, err := ask(t, db, sql)
		var refused *Error
		if !errors.As(err, &refused) {
			t.Errorf("%s: %v", sql, err)
		}
		if rows, err := ask(t, db, "SELECT a FROM t"); rows != 2 || err != nil {
			t.Fatalf("%s left %d rows, %v", sql, rows, err)
		}
	}
	if found, err := db.Query(t.Context(), "SELECT nextval('s') = 1"); err != nil || !strings.HasPrefix(*found.Rows[0][0], "t") {
		t.Errorf("the sequence has moved: %v", err)
	}
}

func TestAskDuckDB(t *testing.T) {
	dir := t.TempDir()
	db, err := OpenDuckDB(t.Context(), DuckDBOptions{Path: filepath.Join(dir, "a.duckdb")})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(t.Context(), askFixture); err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{"SELECT a FROM t", "FROM t;", "-- a remark\nSELECT a FROM t", "(SELECT a FROM t)", "VALUES (1), (2)", "WITH x AS (FROM t) SELECT * FROM x"} {
		if rows, err := ask(t, db, sql); rows != 2 || err != nil {
			t.Errorf("%s: %d rows, %v", sql, rows, err)
		}
	}
	for _, sql := range []string{"DESCRIBE t", "SHOW TABLES", "SUMMARIZE t", "PRAGMA table_info('t')", "EXPLAIN SELECT a FROM t", "EXPLAIN ANALYZE SELECT a FROM t", "explain (FORMAT json) SELECT a FROM t"} {
		if rows, err := ask(t, db, sql); rows == 0 || err != nil {
			t.Errorf("%s: %d rows, %v", sql, rows, err)
		}
	}
	out := filepath.Join(dir, "out.csv")
	refuses(t, db, []string{
		"DELETE FROM t", "DELETE FROM t RETURNING a", "UPDATE t SET a = 3", "INSERT INTO t VALUES (3)", "DROP TABLE t", "ALTER TABLE t ADD COLUMN b integer",
		"CREATE TABLE u (a integer)", "CREATE TEMP TABLE u (a integer)", "TRUNCATE t", "SELECT 1; DELETE FROM t", "DELETE FROM t; SELECT 1",
		"COPY t TO '" + out + "'", "COPY (SELECT 1) TO '" + out + "'", "EXPORT DATABASE '" + out + "'", "EXPLAIN ANALYZE COPY t TO '" + out + "'",
		"EXPLAIN (ANALYZE) COPY t TO '" + out + "'", "/* a */ EXPLAIN ANALYZE COPY t TO '" + out + "'", "EXPLAIN ANALYZE DELETE FROM t",
		"ATTACH '" + out + "' AS u", "DETACH a", "USE memory", "INSTALL httpfs", "LOAD httpfs", "SET threads = 1", "SET GLOBAL memory_limit = '1GB'", "RESET threads",
		"PRAGMA memory_limit = '1GB'", "PRAGMA force_checkpoint", "CHECKPOINT", "VACUUM", "SELECT nextval('s')", "BEGIN", "COMMIT", "PREPARE p AS DELETE FROM t", "CALL force_checkpoint()",
	})
	if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file was written: %v", err)
	}
}

func TestAskPostgres(t *testing.T) {
	db := openTestPostgres(t)
	if _, err := db.Exec(t.Context(), askFixture+`; CREATE FUNCTION clear() RETURNS integer LANGUAGE sql AS 'DELETE FROM t; SELECT 1'`); err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{"SELECT a FROM t", "TABLE t;", "VALUES (1), (2)", "WITH x AS (TABLE t) SELECT * FROM x"} {
		if rows, err := ask(t, db, sql); rows != 2 || err != nil {
			t.Errorf("%s: %d rows, %v", sql, rows, err)
		}
	}
	for _, sql := range []string{"SHOW server_version", "EXPLAIN DELETE FROM t", "EXPLAIN ANALYZE SELECT a FROM t"} {
		if rows, err := ask(t, db, sql); rows == 0 || err != nil {
			t.Errorf("%s: %d rows, %v", sql, rows, err)
		}
	}
	out := filepath.Join(t.TempDir(), "out.csv")
	refuses(t, db, []string{
		"DELETE FROM t", "DELETE FROM t RETURNING a", "WITH gone AS (DELETE FROM t RETURNING a) SELECT * FROM gone", "UPDATE t SET a = 3", "INSERT INTO t VALUES (3)", "DROP TABLE t",
		"CREATE TABLE u (a integer)", "SELECT a INTO u FROM t", "TRUNCATE t", "SELECT 1; DELETE FROM t", "COMMIT; DELETE FROM t", "COPY t TO '" + out + "'", "COPY t TO PROGRAM 'cat > " + out + "'", "COPY t TO STDOUT",
		"DO $$ BEGIN DELETE FROM t; END $$", "SELECT clear()", "SELECT set_config('transaction_read_only', 'off', true), clear()", "SELECT nextval('s')",
		"EXPLAIN ANALYZE DELETE FROM t", "SET TRANSACTION READ WRITE", "COMMIT", "NOTIFY x", "VACUUM", "CALL nothing()", "LISTEN x", "LOCK TABLE t",
	})
	if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file was written: %v", err)
	}
}

// TestReaderOfDuckDB opens a file without the right to change it.
func TestReaderOfDuckDB(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.duckdb")
	config := []byte(`{"path": "` + path + `"}`)
	if _, err := OpenReader(t.Context(), "duckdb", config); err == nil {
		t.Error("a file that is missing was opened")
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file was made: %v", err)
	}
	db, err := OpenSQL(t.Context(), "duckdb", config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(t.Context(), askFixture); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if db, err = OpenReader(t.Context(), "duckdb", config); err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if rows, err := ask(t, db, "SELECT a FROM t"); rows != 2 || err != nil {
		t.Errorf("%d rows, %v", rows, err)
	}
	if _, err := db.Exec(t.Context(), "DELETE FROM t"); err == nil {
		t.Error("a reader has changed the file")
	}
}
