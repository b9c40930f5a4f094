package typesproof

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// oddTables are tables whose names and columns need quotes everywhere.
var oddTables = []struct {
	schema, table string
	columns       []string
}{
	{"public", `we"ird.table; name`, []string{"select", `q"uote`, "with.dot", "with space", "größe東京🚰", "semi;colon", `back\slash`, "per%cent", "Upper", "$1"}},
	{`My "own".Schema`, strings.Repeat("t", 63), []string{strings.Repeat("c", 63), strings.Repeat("ö", 31), "new\nline", "tab\tbed", "'single'", "{brace}", "--", "/*"}},
	{"public", "case", []string{"same", "Same", "SAME", "__leat_op", "op", "rowid"}},
	{"public", "__leat", []string{"main", "temp", "pg_temp"}},
}

// TestOddNamesTravel replicates tables whose identifiers hold quotes, dots,
// spaces, line ends, unicode and 63 bytes.
func TestOddNamesTravel(t *testing.T) {
	server := pgserver.Test(t, pgserver.Options{})
	database := server.Database(t)
	source := connect(t, server.DSN(database))
	run(t, source, `CREATE SCHEMA "My ""own"".Schema"`)
	for _, o := range oddTables {
		run(t, source, createOdd(o.schema, o.table, o.columns), insertOdd(o.schema, o.table, o.columns, 1, 4))
	}
	pipelines := []*pipeline{
		newPipeline(t, server, database, way{name: "names-duckdb", destination: "duckdb", format: "text"}),
		newPipeline(t, server, database, way{name: "names-postgres", destination: "postgres", format: "binary"}),
		newPipeline(t, server, database, way{name: "names-lines", destination: "postgres", format: "text", decoder: "test_decoding"}),
		newPipeline(t, server, database, way{name: "names-mask", destination: "postgres", format: "auto", transform: arrayToVarchar}),
	}
	catchUp(t, pipelines...)
	for _, o := range oddTables {
		name, first := pgx.Identifier{o.schema, o.table}.Sanitize(), pgx.Identifier{o.columns[0]}.Sanitize()
		run(t, source, insertOdd(o.schema, o.table, o.columns, 5, 8),
			fmt.Sprintf("UPDATE %s SET %s = 'changed' WHERE \"the \"\"key\" IN ('2', '6')", name, first),
			fmt.Sprintf("UPDATE %s SET \"the \"\"key\" = 'moved' WHERE \"the \"\"key\" = '3'", name),
			fmt.Sprintf("DELETE FROM %s WHERE \"the \"\"key\" IN ('4', '8')", name))
	}
	catchUp(t, pipelines...)
	for _, p := range pipelines {
		t.Run(p.name, func(t *testing.T) {
			for _, o := range oddTables {
				p.compareOdd(t, source, o.schema, o.table, o.columns)
			}
			if v := p.verify(t); !v.Equal() {
				t.Errorf("leat verify: %+v", v.Tables)
			}
		})
	}
}

func createOdd(schema, table string, columns []string) string {
	lines := []string{`"the ""key" text PRIMARY KEY`}
	for _, c := range columns {
		lines = append(lines, pgx.Identifier{c}.Sanitize()+" text")
	}
	return fmt.Sprintf("CREATE TABLE %s (%s)", pgx.Identifier{schema, table}.Sanitize(), strings.Join(lines, ", "))
}

// insertOdd fills every column with its own name, so that a mix-up shows.
func insertOdd(schema, table string, columns []string, from, to int) string {
	cells := []string{"i::text"}
	for _, c := range columns {
		cells = append(cells, literal(c)+" || i")
	}
	return fmt.Sprintf("INSERT INTO %s SELECT %s FROM generate_series(%d, %d) i", pgx.Identifier{schema, table}.Sanitize(), strings.Join(cells, ", "), from, to)
}

func (p *pipeline) compareOdd(t *testing.T, source *pgx.Conn, schema, table string, columns []string) {
	t.Helper()
	target, plan := p.plan(t, schema, table)
	here, there := []string{`"the ""key"`}, []string{`"the ""key"`}
	for i, c := range columns {
		here = append(here, fmt.Sprintf("%s AS c%d", pgx.Identifier{c}.Sanitize(), i))
		there = append(there, fmt.Sprintf("%s AS c%d", pgx.Identifier{plan[c].Name}.Sanitize(), i))
	}
	want := readPostgres(t, source, fmt.Sprintf("SELECT %s FROM %s", strings.Join(here, ", "), pgx.Identifier{schema, table}.Sanitize()))
	query := fmt.Sprintf("SELECT %s FROM %s WHERE NOT __leat_marked_deleted", strings.Join(there, ", "), target)
	var got cells
	if p.destination == "duckdb" {
		got = p.readDuck(t, query)
	} else {
		got = readPostgres(t, connect(t, p.server.DSN(p.target)), query)
	}
	if len(got) != len(want) || len(want) != 6 {
		t.Errorf("%s.%s: %d rows at the destination, %d at the source, want 6", schema, table, len(got), len(want))
	}
	for key, row := range want {
		for i, c := range columns {
			name := fmt.Sprintf("c%d", i)
			if g := got[key][name]; g == nil || *g != *row[name] {
				t.Errorf("%s.%s, row %s, column %q: %q is not at the destination", schema, table, key, c, *row[name])
			}
		}
	}
}
