//go:build duckdb_arrow

package schemaproof

import (
	"context"
	"slices"
	"testing"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// TestGeneratedColumns replicates them where the server publishes them, and
// says elsewhere that it does not.
func TestGeneratedColumns(t *testing.T) {
	t.Parallel()
	server := pgserver.Test(t, pgserver.Options{})
	database := server.Database(t)
	exec(t, server, database, `CREATE TABLE g (id int PRIMARY KEY, n int, twice int GENERATED ALWAYS AS (n * 2) STORED, big text GENERATED ALWAYS AS (repeat('x', n * 1000)) STORED);
		ALTER TABLE g ALTER big SET STORAGE EXTERNAL; INSERT INTO g SELECT n, n FROM generate_series(1, 9) n;
		CREATE TABLE whole (n int, twice int GENERATED ALWAYS AS (n * 2) STORED); ALTER TABLE whole REPLICA IDENTITY FULL; INSERT INTO whole SELECT generate_series(1, 9)`)
	both := []*pipeline{newPipeline(t, server, "duckdb", database), newPipeline(t, server, "postgres", database)}
	catchUp(t, both...)
	exec(t, server, database, `UPDATE g SET n = 20 WHERE id = 1; UPDATE g SET id = 100 WHERE id = 2; INSERT INTO g VALUES (30, 30); DELETE FROM g WHERE id = 3`,
		`UPDATE whole SET n = 50 WHERE n = 5; DELETE FROM whole WHERE n = 6; INSERT INTO whole VALUES (60)`,
		`ALTER TABLE g ADD half int GENERATED ALWAYS AS (n / 2) STORED; UPDATE g SET n = 40 WHERE id = 4`)
	catchUp(t, both...)
	if server.Major() >= 18 {
		exec(t, server, database, `ALTER TABLE g ADD never int GENERATED ALWAYS AS (n) VIRTUAL; ALTER TABLE g ALTER COLUMN twice SET EXPRESSION AS (n * 3); UPDATE g SET n = 5 WHERE id = 5`,
			`ALTER TABLE g ALTER COLUMN half DROP EXPRESSION; UPDATE g SET half = -1 WHERE id = 6`)
		catchUp(t, both...)
	}
	skipped := map[bool][]string{true: {"never"}, false: {"twice", "big", "half"}}[server.Major() >= 18]
	for _, p := range both {
		p.equal(t, "g", skipped...)
		if server.Major() >= 18 {
			p.equal(t, "whole")
		}
		p.verify(t)
		err := p.with(t.Context(), func(ctx context.Context, e *engine.Pipeline) error {
			planned, err := e.Plan(ctx)
			if err == nil && !slices.Equal(planned[0].Skipped, skipped) {
				t.Errorf("%s: plan says that %q are skipped, want %q", p.destination, planned[0].Skipped, skipped)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	if server.Major() >= 18 {
		t.Run("come later", func(t *testing.T) { generatedColumnsComeLater(t, server) })
	}
}

// generatedColumnsComeLater replicates them from a publication of an earlier
// release, which has not had them.
func generatedColumnsComeLater(t *testing.T, server *pgserver.Server) {
	database := server.Database(t)
	exec(t, server, database, `CREATE TABLE g (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED, v text); INSERT INTO g (id, v) SELECT n, 'v' FROM generate_series(1, 9) n`)
	p := newPipeline(t, server, "duckdb", database)
	catchUp(t, p)
	name := ask(t, server, database, `SELECT pubname::text FROM pg_publication WHERE NOT pubname LIKE '%keyless'`)
	exec(t, server, database, `ALTER PUBLICATION `+name+` SET (publish_generated_columns = none); UPDATE g SET v = 'without' WHERE id = 1`)
	catchUp(t, p)
	exec(t, server, database, `INSERT INTO g (id, v) VALUES (10, 'with')`)
	catchUp(t, p)
	p.equal(t, "g")
	p.verify(t)
}
