//go:build duckdb_arrow

package schemaproof

import (
	"testing"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// takenNames are ways in which a table gets the name of another one, with rows
// of both around it. The tables swapped have other columns and other keys.
var takenNames = [][]string{
	{`BEGIN; ALTER TABLE a RENAME TO c; ALTER TABLE b RENAME TO a; ALTER TABLE c RENAME TO b; COMMIT`},
	{`ALTER TABLE a RENAME TO c`, `INSERT INTO c (id, v) VALUES (501, 1)`, `ALTER TABLE b RENAME TO a`, `INSERT INTO a (id, v) VALUES (502, 2)`, `ALTER TABLE c RENAME TO b`},
	{`BEGIN; ALTER TABLE a RENAME TO c; ALTER TABLE b RENAME TO a; ALTER TABLE c RENAME TO b; COMMIT`, `INSERT INTO a (id, v) VALUES (503, 3)`,
		`BEGIN; ALTER TABLE a RENAME TO c; ALTER TABLE b RENAME TO a; ALTER TABLE c RENAME TO b; COMMIT`},
	{`BEGIN; ALTER TABLE logs RENAME TO logs_old; CREATE TABLE logs (LIKE logs_old INCLUDING ALL); INSERT INTO logs VALUES (7, 7); COMMIT`},
	{`DROP TABLE logs_old`, `ALTER TABLE logs RENAME TO logs_old`, `UPDATE logs_old SET v = 70`, `CREATE TABLE logs (v int, id int PRIMARY KEY)`},
	{`BEGIN; DROP TABLE b; ALTER TABLE a RENAME TO b; CREATE TABLE a (id bigint PRIMARY KEY, v int); COMMIT`, `INSERT INTO a VALUES (504, 4)`},
}

// TestNamesTaken lets tables take the names of others, while pipelines run and
// while they do not: under each name there are the rows of its table alone.
func TestNamesTaken(t *testing.T) {
	for _, capture := range []string{"ddl_capture = false", "ddl_capture = true"} {
		t.Run(capture, func(t *testing.T) {
			t.Parallel()
			server := pgserver.Test(t, pgserver.Options{})
			database := server.Database(t)
			exec(t, server, database,
				`CREATE TABLE a (id int PRIMARY KEY, v int); INSERT INTO a SELECT n, n FROM generate_series(1, 9) n`,
				`CREATE TABLE b (k text DEFAULT 'k', v bigint, id bigint PRIMARY KEY); INSERT INTO b SELECT 'b', n, n FROM generate_series(5, 15) n`,
				`CREATE TABLE logs (id int PRIMARY KEY, v int); INSERT INTO logs SELECT n, n FROM generate_series(1, 5) n`,
				`CREATE TABLE last (n int)`)
			both := []*pipeline{newPipeline(t, server, "duckdb", database), newPipeline(t, server, "postgres", database)}
			for _, p := range both {
				p.source = capture + "\nheartbeat = \"1s\""
			}
			catchUp(t, both...)
			for i, statements := range takenNames {
				var run []*running
				if i%2 == 0 {
					for _, p := range both {
						run = append(run, p.start(t))
					}
				}
				exec(t, server, database, `UPDATE a SET v = v + 100 WHERE id IN (1, 6); DELETE FROM b WHERE id = 7`)
				exec(t, server, database, statements...)
				for _, r := range run {
					r.catchUp(t)
				}
				exec(t, server, database, `UPDATE a SET v = v + 100 WHERE id IN (2, 8); DELETE FROM b WHERE id = 8; INSERT INTO last VALUES (1)`)
				for _, r := range run {
					r.catchUp(t)
					r.stop(t)
				}
				catchUp(t, both...)
				for _, p := range both {
					for _, table := range []string{"a", "b", "logs"} {
						p.equal(t, table, "k") // which the table of old had
					}
					p.verify(t)
				}
				if t.Failed() {
					t.Fatalf("after %q", statements)
				}
			}
			// One is renamed, and no row of it follows.
			exec(t, server, database, `ALTER TABLE logs RENAME TO quiet`)
			catchUp(t, both...)
			for _, p := range both {
				p.equal(t, "quiet")
			}
		})
	}
}
