package typesproof

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// sample is a table of the source with its rows of extremes. Row k has the
// k-th value of each column; where a column has fewer it starts again.
type sample struct {
	name    string
	names   []string
	columns []column
}

// IDs tell how a row travels: as it is by the load, inserted, or an empty row
// that is updated.
const (
	inserted = 1000
	updated  = 2000
	empty    = 999 // the row of NULLs
)

func newSample(name string, list []column, keep func(column) bool) *sample {
	s := &sample{name: name}
	s.names, s.columns = named(list, keep)
	return s
}

func (s *sample) depth() int {
	n := 0
	for _, c := range s.columns {
		n = max(n, len(c.values))
	}
	return n
}

func (s *sample) create() string {
	lines := []string{"id integer PRIMARY KEY"}
	for i, c := range s.columns {
		lines = append(lines, s.names[i]+" "+c.typ)
	}
	return fmt.Sprintf("CREATE TABLE %s (%s)", s.name, strings.Join(lines, ", "))
}

func (s *sample) insert(from int) []string {
	var out []string
	for k := range s.depth() {
		out = append(out, fmt.Sprintf("INSERT INTO %s VALUES (%d, %s)", s.name, from+k, strings.Join(s.literals(k), ", ")))
	}
	return out
}

func (s *sample) literals(k int) []string {
	out := make([]string, len(s.columns))
	for i, c := range s.columns {
		out[i] = literal(c.values[k%len(c.values)])
	}
	return out
}

// history are the rows that exist before the pipelines.
func (s *sample) history() []string {
	out := append([]string{s.create()}, s.insert(0)...)
	return append(out, fmt.Sprintf("INSERT INTO %s (id) SELECT %d + i FROM generate_series(0, %d) i UNION ALL SELECT %d", s.name, updated, s.depth()-1, empty))
}

// changes are what the log brings.
func (s *sample) changes() []string {
	out := s.insert(inserted)
	for k := range s.depth() {
		var set []string
		for i, l := range s.literals(k) {
			set = append(set, s.names[i]+" = "+l)
		}
		out = append(out, fmt.Sprintf("UPDATE %s SET %s WHERE id = %d", s.name, strings.Join(set, ", "), updated+k))
	}
	return append(out, fmt.Sprintf("INSERT INTO %s (id) VALUES (%d)", s.name, inserted+empty))
}

// run executes statements at the source.
func run(t *testing.T, conn *pgx.Conn, statements ...string) {
	t.Helper()
	for _, sql := range statements {
		if _, err := conn.PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
			t.Fatalf("%.300s: %v", sql, err)
		}
	}
}

// cells are the text of a table's rows by id and column; nil is NULL.
type cells map[string]map[string]*string

// connect opens a session that prints values as the source session of the
// engine does, and so as the tests expect them.
func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"timezone": "UTC", "datestyle": "ISO", "intervalstyle": "postgres", "extra_float_digits": "3", "bytea_output": "hex"} {
		cfg.RuntimeParams[name] = value
	}
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// readPostgres takes a result, whose first column is the key, as PostgreSQL's
// output functions print it.
func readPostgres(t *testing.T, conn *pgx.Conn, sql string) cells {
	t.Helper()
	result := conn.PgConn().ExecParams(t.Context(), sql, nil, nil, nil, nil)
	var names []string
	for _, f := range result.FieldDescriptions() {
		names = append(names, f.Name)
	}
	out := cells{}
	for result.NextRow() {
		row := map[string]*string{}
		for i, v := range result.Values() {
			if v != nil {
				text := string(v)
				row[names[i]] = &text
			}
		}
		out[string(result.Values()[0])] = row
	}
	if _, err := result.Close(); err != nil {
		t.Fatalf("%.300s: %v", sql, err)
	}
	return out
}
