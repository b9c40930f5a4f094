//go:build duckdb_arrow

package schemaproof

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
	"github.com/leat-etl/leat/state"
)

// TestBlockedChange ends the pipeline before the first row of each change that
// its file blocks, and goes on once the file applies it.
func TestBlockedChange(t *testing.T) {
	t.Parallel()
	server := pgserver.Test(t, pgserver.Options{})
	database := server.Database(t)
	exec(t, server, database, `CREATE TABLE o (id int PRIMARY KEY, a text, b text); INSERT INTO o SELECT n, 'a', 'b' FROM generate_series(1, 9) n; CREATE TABLE gone (id int PRIMARY KEY); INSERT INTO gone VALUES (1)`)
	p := newPipeline(t, server, "duckdb", database)
	catchUp(t, p)
	for _, c := range []struct{ kind, sql string }{
		{"column_added", `ALTER TABLE o ADD c int; INSERT INTO o VALUES (10, 'a', 'b', 1)`},
		{"column_dropped", `ALTER TABLE o DROP b; INSERT INTO o VALUES (11, 'a', 1)`},
		{"column_renamed", `ALTER TABLE o RENAME a TO x; INSERT INTO o VALUES (12, 'a', 1)`},
		{"column_retyped", `ALTER TABLE o ALTER c TYPE text; INSERT INTO o VALUES (13, 'a', '1')`},
		{"key_changed", `UPDATE o SET x = 'x' || id; ALTER TABLE o DROP CONSTRAINT o_pkey; ALTER TABLE o ADD PRIMARY KEY (x); INSERT INTO o VALUES (14, 'a', '1')`},
		{"table_renamed", `ALTER TABLE o RENAME TO p; INSERT INTO p VALUES (15, 'b', '1')`},
		{"table_dropped", `DROP TABLE gone`},
	} {
		p.extra = fmt.Sprintf("[schema_changes]\n%s = \"block\"", c.kind)
		exec(t, server, database, c.sql)
		var blocked *engine.SchemaChangeError
		if err := p.catchUp(t.Context()); !errors.As(err, &blocked) || blocked.Change.Kind != c.kind || blocked.Hint() == "" {
			t.Errorf("%s: the run ended with %v", c.kind, err)
		}
		p.extra = "[schema_changes]\ndefault = \"block\"\n" + c.kind + " = \"apply\""
		catchUp(t, p)
		p.extra = ""
	}
	p.equal(t, "p", "b")
	err := p.with(t.Context(), func(_ context.Context, e *engine.Pipeline) error {
		objects, err := e.Objects()
		found := false
		for _, o := range objects {
			found = found || o.Table.Name == "gone" && o.State == state.Deleted && o.Reason != ""
		}
		if !found {
			t.Errorf("the dropped table is not DELETED: %+v", objects)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestMergedTablesChangeApart changes the tables of one of two databases.
func TestMergedTablesChangeApart(t *testing.T) {
	t.Parallel()
	server := pgserver.Test(t, pgserver.Options{})
	eu, us := server.Database(t), server.Database(t)
	for _, database := range []string{eu, us} {
		exec(t, server, database, `CREATE TABLE o (id int PRIMARY KEY, a text, b text, n int); INSERT INTO o SELECT n, 'a' || n, 'b' || n, n FROM generate_series(1, 9) n`)
	}
	both := []*pipeline{newPipeline(t, server, "duckdb", eu, us), newPipeline(t, server, "postgres", eu, us)}
	catchUp(t, both...)
	for i, step := range []struct{ database, sql string }{
		{eu, `UPDATE o SET a = 'before' WHERE id = 1; ALTER TABLE o RENAME a TO x; UPDATE o SET x = 'after' WHERE id = 2; INSERT INTO o VALUES (10, 'x', 'b', 1)`},
		{us, `INSERT INTO o VALUES (10, 'a', 'b', 1); ALTER TABLE o ADD d int DEFAULT 7; UPDATE o SET d = 8 WHERE id = 2`},
		{eu, `ALTER TABLE o DROP b; ALTER TABLE o ADD d int DEFAULT 9; INSERT INTO o VALUES (11, 'x', 1)`},
		{us, `ALTER TABLE o ALTER n TYPE text USING 'no. ' || n; INSERT INTO o (id, n) VALUES (11, 'eleven')`},
		{eu, `ALTER TABLE o RENAME x TO a; UPDATE o SET a = 'again' WHERE id = 3`},
	} {
		exec(t, server, step.database, step.sql)
		catchUp(t, both...)
		for _, p := range both {
			kept := []string{"x"} // the last step leaves it behind
			if i < 4 {
				kept = nil
			}
			p.equal(t, "o", kept...)
		}
	}
	for _, p := range both {
		p.verify(t)
	}
}

// TestDefaultsOfConvertedColumns adds columns with defaults that a transform
// gives another form: unchanged rows get them in that form.
func TestDefaultsOfConvertedColumns(t *testing.T) {
	t.Parallel()
	server := pgserver.Test(t, pgserver.Options{})
	database := server.Database(t)
	exec(t, server, database, `CREATE TABLE o (id int PRIMARY KEY, v text); INSERT INTO o SELECT n, 'v' || n FROM generate_series(1, 9) n`)
	both := []*pipeline{newPipeline(t, server, "duckdb", database), newPipeline(t, server, "postgres", database)}
	for _, p := range both {
		p.extra = "[[transforms]]\nplugin = \"array-to-varchar\"\n[[transforms]]\nplugin = \"convert\"\nconfig = { readable = [\"ranges\", \"intervals\"] }\n"
	}
	catchUp(t, both...)
	for _, sql := range []string{
		`UPDATE o SET v = 'before' WHERE id = 1; ALTER TABLE o ADD list int[] NOT NULL DEFAULT '{1,NULL}'; INSERT INTO o VALUES (10, 'new')`,
		`ALTER TABLE o ADD span int4range DEFAULT '[1,5)', ADD takes interval DEFAULT '1 day', ADD plain int DEFAULT 7; UPDATE o SET span = NULL WHERE id = 2`,
	} {
		exec(t, server, database, sql)
		catchUp(t, both...)
		for _, p := range both {
			p.verify(t)
		}
	}
}
