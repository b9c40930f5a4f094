//go:build duckdb_arrow

package schemaproof

import (
	"context"
	"strings"
	"testing"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
	"github.com/leat-etl/leat/state"
)

// TestHeldChange lets a table that has changed wait with its data while the
// others go on, and applies everything in order once it is resumed.
func TestHeldChange(t *testing.T) {
	t.Parallel()
	server := pgserver.Test(t, pgserver.Options{})
	database := server.Database(t)
	exec(t, server, database, `CREATE TABLE held (id int PRIMARY KEY, a text, b int); INSERT INTO held SELECT n, 'a' || n, n FROM generate_series(1, 9) n;
		CREATE TABLE free (id int PRIMARY KEY); INSERT INTO free VALUES (1)`)
	both := []*pipeline{newPipeline(t, server, "duckdb", database), newPipeline(t, server, "postgres", database)}
	for _, p := range both {
		p.extra = "[schema_changes]\ncolumn_renamed = \"hold\""
	}
	both[1].source = "ddl_capture = true"
	catchUp(t, both...)
	exec(t, server, database, `UPDATE held SET b = 10 WHERE id = 1`, `ALTER TABLE held RENAME a TO x; UPDATE held SET x = 'after' WHERE id = 2; INSERT INTO held VALUES (10, 'ten', 10); INSERT INTO free VALUES (2)`,
		`ALTER TABLE held ADD c int DEFAULT 5; DELETE FROM held WHERE id = 3; UPDATE held SET id = 100 WHERE id = 4; INSERT INTO free VALUES (3)`)
	catchUp(t, both...)
	exec(t, server, database, `ALTER TABLE held RENAME x TO y; INSERT INTO held VALUES (11, 'eleven', 11, 11); INSERT INTO free VALUES (4)`)
	catchUp(t, both...) // it goes on waiting
	for _, p := range both {
		p.equal(t, "free")
		err := p.with(t.Context(), func(_ context.Context, e *engine.Pipeline) error {
			objects, err := e.Objects()
			for _, o := range objects {
				if o.Table.Name == "held" && (o.State != state.Paused || !strings.Contains(o.Reason, "renamed to x") || !strings.Contains(o.Fix, "leat objects resume")) {
					t.Errorf("%s: %+v", p.destination, o)
				}
			}
			if err != nil {
				return err
			}
			_, err = e.ChangeObjects(t.Context(), engine.ObjectRequest{Verb: engine.ResumeObjects, Tables: []string{"public.held"}})
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	catchUp(t, both...)
	for _, p := range both {
		p.equal(t, "held")
		p.verify(t)
	}
	// The next one is held again.
	exec(t, server, database, `ALTER TABLE held RENAME y TO z; INSERT INTO held VALUES (12, 'twelve', 12, 12)`)
	catchUp(t, both...)
	for _, p := range both {
		err := p.with(t.Context(), func(_ context.Context, e *engine.Pipeline) error {
			objects, err := e.Objects()
			if err == nil && objects[1].State != state.Paused {
				t.Errorf("%s: %+v", p.destination, objects[1])
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}
