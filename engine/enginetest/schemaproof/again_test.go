//go:build duckdb_arrow

package schemaproof

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/leat-etl/leat/engine/enginetest/compare"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// kept takes no part in columns that the destination keeps.
var kept = compare.Options{Kept: true, Limit: 5}

// rows are what a query of the destination returns, as text, one row a line.
// Its tables are called by their bare names.
func (p *pipeline) rows(t *testing.T, query string) []string {
	t.Helper()
	var out []string
	if p.destination == "postgres" {
		conn, err := pgx.Connect(t.Context(), p.server.DSN(p.target))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.Background())
		rows, err := conn.Query(t.Context(), query)
		if err == nil {
			out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
				values, err := row.Values()
				return line(values), err
			})
		}
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	db, err := sql.Open("duckdb", p.target+"?access_mode=READ_ONLY")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		out = append(out, line(values))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

func line(values []any) string {
	cells := make([]string, len(values))
	for i, v := range values {
		cells[i] = fmt.Sprint(v)
	}
	return strings.Join(cells, " ")
}

// TestMadeAgain drops tables and makes others under their names, with their
// columns at other places and of other types. Rows of the old ones, which are
// marked as deleted, keep each value under its column's name.
func TestMadeAgain(t *testing.T) {
	t.Parallel()
	server := pgserver.Test(t, pgserver.Options{})
	database := server.Database(t)
	exec(t, server, database,
		`CREATE TABLE again (id int PRIMARY KEY, a text, n int, lost int, kept text DEFAULT 'k'); INSERT INTO again SELECT n, 'a' || n, n * 10, n * 100, 'k' || n FROM generate_series(1, 3) n`,
		`CREATE TABLE rekeyed (id int PRIMARY KEY, code text, v int); INSERT INTO rekeyed VALUES (1, NULL, 10), (2, 'two', 20), (3, 'two', 30)`)
	both := []*pipeline{newPipeline(t, server, "duckdb", database), newPipeline(t, server, "postgres", database)}
	catchUp(t, both...)
	exec(t, server, database,
		`UPDATE again SET a = 'last' WHERE id = 3; DROP TABLE again; CREATE TABLE again (kept text, n text, id bigint PRIMARY KEY, fresh date, a text); INSERT INTO again VALUES ('K', 'N', 10000000000, '2020-02-02', 'A'), ('K2', 'N2', 2, NULL, 'A2')`,
		`DROP TABLE rekeyed; CREATE TABLE rekeyed (code text PRIMARY KEY, v int, id int); INSERT INTO rekeyed VALUES ('two', 2, 1), ('one', 1, 2)`)
	catchUp(t, both...)
	for _, p := range both {
		p.equal(t, "again", "lost")
		p.equal(t, "rekeyed")
		p.verify(t)
		old := p.rows(t, `SELECT id, a, n, lost, kept FROM again WHERE __leat_marked_deleted AND id <> 2 ORDER BY id`)
		if want := []string{"1 a1 10 100 k1", "3 last 30 300 k3"}; !slices.Equal(old, want) {
			t.Errorf("%s: the rows of the old table are %q, want %q", p.destination, old, want)
		}
	}
	// What the new table does next is its own.
	exec(t, server, database, `ALTER TABLE again ADD lost int DEFAULT 5; ALTER TABLE again DROP a; ALTER TABLE again ADD a text DEFAULT 'again'; UPDATE again SET lost = 6 WHERE id = 2`,
		`ALTER TABLE rekeyed RENAME v TO w; UPDATE rekeyed SET w = 3 WHERE code = 'two'; DELETE FROM rekeyed WHERE code = 'one'`)
	catchUp(t, both...)
	for _, p := range both {
		p.equalBut(t, "again", kept)
		p.equal(t, "rekeyed")
		p.verify(t)
	}
	// And once more, where the destination has columns of two tables before it.
	exec(t, server, database, `DROP TABLE again; CREATE TABLE again (a int, lost text, id int PRIMARY KEY); INSERT INTO again VALUES (1, 'one', 1)`)
	catchUp(t, both...)
	exec(t, server, database, `ALTER TABLE again DROP lost; ALTER TABLE again ADD lost date DEFAULT '2021-01-01'; ALTER TABLE again ADD n int DEFAULT 8; INSERT INTO again VALUES (2, 2)`)
	catchUp(t, both...)
	for _, p := range both {
		p.equalBut(t, "again", kept)
		p.verify(t)
		old := p.rows(t, `SELECT __leat_marked_deleted, count(*) FROM again GROUP BY 1 ORDER BY 1`)
		if want := []string{"false 2", "true 2"}; !slices.Equal(old, want) {
			t.Errorf("%s: rows that live and that do not: %q, want %q", p.destination, old, want)
		}
	}
}
