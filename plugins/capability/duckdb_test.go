//go:build duckdb_arrow

package capability

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/leat-etl/leat/engine/batch"
)

var duckDialect = dialect{name: "duckdb", types: []string{
	"BOOLEAN", "SMALLINT", "INTEGER", "BIGINT", "UINTEGER", "FLOAT", "DOUBLE", "VARCHAR", "BLOB", "DATE", "TIME", "TIMESTAMP",
	"TIMESTAMPTZ", "UUID", "DECIMAL(12,2)", "DECIMAL(38,10)", "VARCHAR", "JSON",
}}

func openTestDuckDB(t testing.TB) SQL {
	t.Helper()
	db, err := OpenDuckDB(t.Context(), DuckDBOptions{Path: filepath.Join(t.TempDir(), "test.duckdb"), MemoryLimit: "1GB", Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func TestDuckDBConforms(t *testing.T) {
	for _, f := range failures(t.Context(), openTestDuckDB(t), duckDialect) {
		t.Error(f)
	}
}

// TestInParts reads rows that are large only where nobody expects it: a part is
// given up where it is too large, and what it has read does not come again.
func TestInParts(t *testing.T) {
	const rows, large, most = 100_000, 20 << 20, math.MaxInt32
	next, widest := int64(0), int64(0)
	err := inParts(func(from, want int64) (n, size int64, err error) {
		if from != next {
			t.Fatalf("reads from %d, want %d", from, next)
		}
		for ; n < want && next < rows; n++ {
			add := int64(10)
			if next >= 50_000 && next < 50_500 {
				add = large
			}
			if size+add > most {
				return n, size, errors.New("Arrow Appender: The maximum total string size for regular string buffers is 2147483647 but the offset of 2784000005 exceeds this.")
			}
			size += add
			next++
		}
		widest = max(widest, n)
		return n, size, nil
	})
	if err != nil || next != rows || widest != readPart {
		t.Errorf("%d rows, the widest part has %d: %v", next, widest, err)
	}
	failed := errors.New("gone")
	if err := inParts(func(int64, int64) (int64, int64, error) { return 0, 0, failed }); !errors.Is(err, failed) {
		t.Errorf("another failure became %v", err)
	}
	if err := inParts(func(int64, int64) (int64, int64, error) {
		return 0, 0, &Error{Message: "failed to allocate data", Code: "Out of Memory Error"}
	}); err == nil {
		t.Error("one row that is too large is no failure")
	}
}

// holdDatabase is the environment variable that makes this test binary a
// process which holds a DuckDB file until its standard input ends.
const holdDatabase = "LEAT_TEST_HOLD_DUCKDB"

func TestLockedNamesTheHolder(t *testing.T) {
	if path := os.Getenv(holdDatabase); path != "" {
		db, err := OpenDuckDB(t.Context(), DuckDBOptions{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		fmt.Println("held")
		if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
			t.Fatal(err)
		}
		return
	}
	path := filepath.Join(t.TempDir(), "held.duckdb")
	holder := exec.Command(os.Args[0], "-test.run=^TestLockedNamesTheHolder$")
	holder.Env = append(os.Environ(), holdDatabase+"="+path)
	stdin, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		stdin.Close()
		if err := holder.Wait(); err != nil {
			t.Errorf("the holder: %v", err)
		}
	}()
	out := bufio.NewReader(stdout)
	if line, err := out.ReadString('\n'); err != nil || line != "held\n" {
		t.Fatalf("the holder said %q: %v", line, err)
	}
	_, err = OpenDuckDB(t.Context(), DuckDBOptions{Path: path})
	if classOf(err) != Locked || !strings.Contains(err.Error(), fmt.Sprintf("PID %d", holder.Process.Pid)) {
		t.Errorf("error %v, want class locked and the holder's PID %d", err, holder.Process.Pid)
	}
	stdin.Close()
	if _, err := io.Copy(io.Discard, out); err != nil {
		t.Fatal(err)
	}
}

func TestOpenDuckDBClasses(t *testing.T) {
	for path, want := range map[string]Class{
		filepath.Join(t.TempDir(), "no", "such", "folder.duckdb"): Schema,
		"/proc/leat.duckdb": Schema,
		"a?b.duckdb":        Schema,
	} {
		if _, err := OpenDuckDB(t.Context(), DuckDBOptions{Path: path}); classOf(err) != want {
			t.Errorf("open %q: %v, want class %s", path, err, want)
		}
	}
	path := filepath.Join(t.TempDir(), "read.duckdb")
	db, err := OpenDuckDB(t.Context(), DuckDBOptions{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	db.Close()
	if db, err = OpenDuckDB(t.Context(), DuckDBOptions{Path: path, ReadOnly: true}); err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(t.Context(), "CREATE TABLE t (a integer)"); classOf(err) != Permission {
		t.Errorf("write to a read-only database: %v", err)
	}
}

func TestTwoConnectionsOfOneProcessShareAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shared.duckdb")
	var db [2]SQL
	for i := range db {
		var err error
		if db[i], err = OpenDuckDB(t.Context(), DuckDBOptions{Path: path, MemoryLimit: fmt.Sprintf("%dMB", 500+i)}); err != nil {
			t.Fatal(err)
		}
		defer db[i].Close()
	}
	b := changes()
	defer b.Release()
	columns := []IngestColumn{{Name: "id", Type: "bigint", From: FromColumn}}
	for i, table := range []string{"one", "two"} {
		if err := create(t.Context(), db[i], table, columns); err != nil {
			t.Fatal(err)
		}
	}
	for i, table := range []string{"one", "two"} {
		if err := db[i].Begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := db[i].Ingest(t.Context(), b, Ingest{Table: table, Columns: columns}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range db {
		if err := db[i].Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := count(t.Context(), db[0], "two"); err != nil || n != "5" {
		t.Errorf("the first connection sees %s rows of the second (%v)", n, err)
	}
}

// TestCheckpointWaitsForOthers: DuckDB refuses a CHECKPOINT while another
// connection writes, if only to a temporary table.
func TestCheckpointWaitsForOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shared.duckdb")
	var db [2]SQL
	for i := range db {
		var err error
		if db[i], err = OpenDuckDB(t.Context(), DuckDBOptions{Path: path}); err != nil {
			t.Fatal(err)
		}
		defer db[i].Close()
	}
	if err := db[0].Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := db[0].Exec(t.Context(), "CREATE TABLE t AS SELECT 1 AS n"); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := db[1].Exec(t.Context(), "CHECKPOINT")
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("CHECKPOINT did not wait: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	if err := db[0].Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// texts is a batch of one text column.
func texts(values ...string) *batch.Batch {
	b := batch.NewBuilder(&batch.Schema{Columns: []batch.Column{{Name: "v", Type: arrow.BinaryTypes.String}}})
	for _, v := range values {
		b.Column(0).AppendBytes([]byte(v))
		b.EndRow(batch.Insert, 1, 1, 1)
	}
	return b.Finish(batch.Position{})
}

func TestArrayLiteralsBecomeLists(t *testing.T) {
	db := openTestDuckDB(t)
	for _, c := range []struct{ typ, in, want string }{
		{"INTEGER[]", `{1,NULL,-3}`, `[1, NULL, -3]`},
		{"INTEGER[]", `{}`, `[]`},
		{"VARCHAR[]", `{a,"NULL",NULL,"x,y","q\"\\"}`, `[a, 'NULL', NULL, 'x,y', 'q"\\']`},
		{"BOOLEAN[]", `{t,f}`, `[true, false]`},
		{"DOUBLE[]", `{NaN,Infinity,1e+300}`, `[nan, inf, 1e+300]`},
		{"DECIMAL(5,2)[]", `{1.5,-2.25}`, `[1.50, -2.25]`},
		{"UUID[]", `{00112233-4455-6677-8899-aabbccddeeff}`, `[00112233-4455-6677-8899-aabbccddeeff]`},
		{"BLOB[]", `{"\\x00ff"}`, `[\x00\xFF]`},
		{"DATE[]", `{2024-02-29,infinity}`, `[2024-02-29, infinity]`},
		{"TIMESTAMP[]", `{"2024-02-29 01:02:03.5","0001-01-01 00:00:00 BC"}`, `['2024-02-29 01:02:03.5', '0001-01-01 (BC) 00:00:00']`},
		{"TIMESTAMP[]", `{"294247-01-10 04:00:54.775806",-infinity}`, `['294247-01-10 04:00:54.775806', -infinity]`},
		{"TIMESTAMPTZ[]", `{"2024-02-29 01:02:03+05:30"}`, `['2024-02-28 19:32:03+00']`},
		{"TIME[]", `{01:02:03.000004}`, `['01:02:03.000004']`},
	} {
		columns := []IngestColumn{{Name: "v", Type: c.typ, From: FromColumn}}
		if err := create(t.Context(), db, "lists", columns); err != nil {
			t.Fatal(err)
		}
		b := texts(c.in)
		_, err := db.Ingest(t.Context(), b, Ingest{Table: "lists", Columns: columns})
		b.Release()
		if err != nil {
			t.Errorf("%s from %s: %v", c.typ, c.in, err)
			continue
		}
		rows, err := db.Query(t.Context(), "SELECT v FROM lists")
		if err != nil {
			t.Fatal(err)
		}
		if got := *rows.Rows[0][0]; got != c.want {
			t.Errorf("%s from %s: %s, want %s", c.typ, c.in, got, c.want)
		}
	}
}

func TestInexactConversionsFail(t *testing.T) {
	db := openTestDuckDB(t)
	for _, c := range []struct {
		typ, in string
		lossy   []string
		want    Class
	}{
		{"INTEGER[]", `{{1},{2}}`, nil, Data},
		{"INTEGER[]", `[2:3]={1,2}`, nil, Data},
		{"INTEGER[]", `{1.5}`, nil, Data},
		{"INTEGER[]", `{1,`, nil, Data},
		{"TIMESTAMP[]", `{"294276-12-31 23:59:59.999999"}`, nil, Data},
		{"TIMESTAMP[]", `{"294247-01-10 04:00:54.775807"}`, nil, Data}, // would be infinity
		{"TIMESTAMPTZ[]", `{"294247-01-10 04:00:54.775806-01"}`, nil, Data},
		{"SMALLINT", `40000`, nil, Data},
		{"DECIMAL(5,2)", `1.234`, nil, Data},
		{"DECIMAL(5,2)", `1000`, nil, Data},
		{"DECIMAL(5,2)", `NaN`, nil, Data},
		{"DECIMAL(5,2)", `NaN`, []string{"nan_to_null"}, ""},
		{"DECIMAL(5,2)", `1.230`, nil, ""},
		{"INTERVAL", `1 day`, nil, Schema},
	} {
		columns := []IngestColumn{{Name: "v", Type: c.typ, From: FromColumn, Lossy: c.lossy}}
		if err := create(t.Context(), db, "inexact", columns); err != nil {
			t.Fatal(err)
		}
		b := texts(c.in)
		_, err := db.Ingest(t.Context(), b, Ingest{Table: "inexact", Columns: columns})
		b.Release()
		if classOf(err) != c.want {
			t.Errorf("%q as %s: %v, want class %q", c.in, c.typ, err, c.want)
		}
		if err != nil && c.in != "NaN" && strings.Contains(err.Error(), c.in) {
			t.Errorf("%q as %s: the error shows the value: %v", c.in, c.typ, err)
		}
	}
}

func TestDecimalNaN(t *testing.T) {
	db := openTestDuckDB(t)
	b := batch.NewBuilder(&batch.Schema{Columns: []batch.Column{{Name: "v", Type: decimalType(12, 2)}}})
	nan := make([]byte, 16)
	nan[15] = 0x80
	b.Column(0).AppendFixed(nan)
	b.EndRow(batch.Insert, 1, 1, 1)
	rows := b.Finish(batch.Position{})
	defer rows.Release()
	for _, c := range []struct {
		typ, want string
		lossy     []string
		class     Class
	}{
		{"DECIMAL(12,2)", "", nil, Data},
		{"DECIMAL(12,2)", "NULL!", []string{"nan_to_null"}, ""},
		{"VARCHAR", "NaN", nil, ""},
	} {
		columns := []IngestColumn{{Name: "v", Type: c.typ, From: FromColumn, Lossy: c.lossy}}
		if err := create(t.Context(), db, "nans", columns); err != nil {
			t.Fatal(err)
		}
		_, err := db.Ingest(t.Context(), rows, Ingest{Table: "nans", Columns: columns})
		if classOf(err) != c.class {
			t.Errorf("NaN as %s: %v", c.typ, err)
		}
		if err != nil {
			continue
		}
		if got, err := readCells(t.Context(), db, "SELECT v FROM nans"); err != nil || got[0][0] != c.want {
			t.Errorf("NaN as %s: %q (%v), want %q", c.typ, got, err, c.want)
		}
	}
}

func BenchmarkDuckDBIngest(b *testing.B)      { benchmarkIngest(b, openTestDuckDB(b), false) }
func BenchmarkDuckDBIngestStage(b *testing.B) { benchmarkIngest(b, openTestDuckDB(b), true) }

// BenchmarkDuckDBInsertSelect is the yardstick of BenchmarkDuckDBIngest: the
// same rows from one of DuckDB's own tables.
func BenchmarkDuckDBInsertSelect(b *testing.B) {
	db := openTestDuckDB(b)
	rows := accounts(0, benchRows)
	defer rows.Release()
	columns := columnsOf(rows.Schema, accountTypes)
	if err := create(b.Context(), db, "bench", columns); err != nil {
		b.Fatal(err)
	}
	if _, err := db.Ingest(b.Context(), rows, Ingest{Table: "source", Temporary: true, Columns: columns}); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		b.StopTimer()
		if _, err := db.Exec(b.Context(), "DELETE FROM bench"); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if _, err := db.Exec(b.Context(), "INSERT INTO bench SELECT * FROM source"); err != nil {
			b.Fatal(err)
		}
	}
	rate(b, benchRows)
}

func TestExhaustedMemoryIsAResource(t *testing.T) {
	db := openTestDuckDB(t)
	_, err := db.Exec(t.Context(), "SET memory_limit = '20MB'; SET max_temp_directory_size = '0KB'; CREATE TABLE big AS SELECT range AS a, range::VARCHAR AS b FROM range(20000000) ORDER BY b")
	if classOf(err) != Resource {
		t.Errorf("%v, want class resource", err)
	}
}

// TestDuckDBReachesItsOwnFileOnly: a plugin's SQL and a question are all that a
// DuckDB of Leat runs, and its SQL can read and write files.
func TestDuckDBReachesItsOwnFileOnly(t *testing.T) {
	dir := t.TempDir()
	secret, out := filepath.Join(dir, "secret.csv"), filepath.Join(dir, "out")
	if err := os.WriteFile(secret, []byte("a\n1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	options := DuckDBOptions{Path: filepath.Join(dir, "own.duckdb"), MemoryLimit: "100MB", Threads: 1, TempDir: filepath.Join(dir, "spill")}
	db, err := OpenDuckDB(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, sql := range []string{
		"CREATE TABLE stolen AS SELECT * FROM read_text('" + secret + "')", "CREATE TABLE stolen AS FROM '" + secret + "'", "CREATE TABLE stolen AS FROM glob('" + dir + "/*')", "COPY (SELECT 1) TO '" + out + "'",
		"ATTACH '" + out + "'", "EXPORT DATABASE '" + out + "'", "SET log_query_path = '" + out + "'",
		"SET enable_external_access = true", "RESET enable_external_access", "SET temp_directory = '" + out + "'", "SET allowed_directories = ['" + dir + "']", "SET allowed_paths = ['" + secret + "']",
		"SET secret_directory = '" + out + "'; CREATE PERSISTENT SECRET s (TYPE http, BEARER_TOKEN 'x')", "INSTALL httpfs", "LOAD '" + out + "'",
	} {
		if _, err := db.Exec(t.Context(), sql); err == nil {
			t.Errorf("%s: it ran", sql)
		} else if strings.Contains(err.Error(), "disabled by configuration") && !strings.Contains(hintOf(err), "no other") {
			t.Errorf("%s: %v, with the hint %q", sql, err, hintOf(err))
		}
	}
	if rows, err := ask(t, db, "SELECT * FROM read_text('"+secret+"')"); classOf(err) != Question {
		t.Errorf("a question read %d rows of a file, %v", rows, err)
	}
	if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file was written: %v", err)
	}
	// Its own work goes on: a second connection, more than its memory holds,
	// writing its file.
	other, err := OpenDuckDB(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for _, sql := range []string{"CREATE TABLE t AS SELECT range AS i, repeat('x', 300) || range AS s FROM range(1000000)", "CREATE TEMP TABLE u AS FROM t ORDER BY s DESC", "CHECKPOINT"} {
		if _, err := other.Exec(t.Context(), sql); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

func hintOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Hint
	}
	return ""
}
