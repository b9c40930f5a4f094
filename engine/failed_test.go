package engine_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/engine/enginetest/compare"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
	"github.com/leat-etl/leat/engine/spec"
	"github.com/leat-etl/leat/state"
)

// refusing is a pipeline into PostgreSQL, whose constraints refuse rows until
// the test takes them away.
type refusing struct {
	*engine.Pipeline
	t                *testing.T
	server           *pgserver.Server
	database, target string
}

func newRefusing(t *testing.T, tables ...string) *refusing {
	t.Helper()
	server := pgserver.Test(t, pgserver.Options{})
	r := &refusing{t: t, server: server, database: server.Database(t), target: server.Database(t)}
	r.source(tables...)
	t.Setenv("LEAT_TEST_PASSWORD", server.Password())
	s, err := spec.Parse(filepath.Join(t.TempDir(), "test.toml"), fmt.Appendf(nil, `name = "test"
[source]
host = %[1]q
port = %[2]d
user = %[3]q
password = { env = "LEAT_TEST_PASSWORD" }
database = %[4]q
[destination]
plugin = "postgres"
config = { host = %[1]q, port = %[2]d, user = %[3]q, password = { env = "LEAT_TEST_PASSWORD" }, database = %[5]q, deletes = "hard" }
`, server.Host(), server.Port(), server.User(), r.database, r.target))
	if err != nil {
		t.Fatal(err)
	}
	if r.Pipeline, err = engine.Open(t.Context(), s, engine.Options{CacheDir: cacheDir}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *refusing) source(sql ...string) {
	r.t.Helper()
	if err := r.server.Exec(r.t.Context(), r.database, sql...); err != nil {
		r.t.Fatal(err)
	}
}

func (r *refusing) destination(sql ...string) {
	r.t.Helper()
	if err := r.server.Exec(r.t.Context(), r.target, sql...); err != nil {
		r.t.Fatal(err)
	}
}

func (r *refusing) catchUp() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	if err := r.Run(ctx, engine.RunOptions{UntilCaughtUp: true}); err != nil {
		r.t.Fatal(err)
	}
}

// events are the failed ones that nothing but themselves keeps.
func (r *refusing) causes() (ids []string) {
	r.t.Helper()
	for f, err := range r.FailedEvents(state.FailedFilter{Cause: true}) {
		if err != nil {
			r.t.Fatal(err)
		}
		ids = append(ids, f.ID)
	}
	return ids
}

// replay expects that all, or the named events with their company, go through.
func (r *refusing) replay(ids ...string) {
	r.t.Helper()
	if out, err := r.Replay(r.t.Context(), ids); err != nil || len(out.Failed) > 0 {
		r.t.Errorf("replay: %+v, %v", out, err)
	}
	if n, err := r.FailedCount(); err != nil || n != 0 {
		r.t.Errorf("%d failed events are left, %v", n, err)
	}
}

// equal compares a table of the destination with the source's.
func (r *refusing) equal(table string) {
	r.t.Helper()
	result, err := compare.Tables(r.t.Context(), compare.Postgres(r.server.DSN(r.target), "public."+table), compare.Options{IgnorePrefix: "__leat_"},
		compare.Source{DSN: r.server.DSN(r.database), Table: table})
	if err != nil {
		r.t.Fatal(err)
	}
	if !result.Equal() {
		r.t.Error(result)
	}
}

// TestReplayFollowsMovedRows: a row is refused, changed and moved to a key
// whose own earlier row was refused as well. No part may overtake another.
func TestReplayFollowsMovedRows(t *testing.T) {
	r := newRefusing(t, `CREATE TABLE a (id int PRIMARY KEY, v text, kept text)`, `ALTER TABLE a ALTER kept SET STORAGE EXTERNAL`)
	r.catchUp()
	r.destination(`ALTER TABLE a ADD CONSTRAINT no CHECK (v <> 'bad')`)
	r.source(`INSERT INTO a VALUES (20, 'bad', 'of the first')`)
	r.catchUp()
	r.source(`INSERT INTO a VALUES (10, 'bad', repeat('of the second ', 1000))`)
	r.catchUp()
	r.source(`UPDATE a SET v = 'good' WHERE id = 10`, `DELETE FROM a WHERE id = 20`, `UPDATE a SET id = 20 WHERE id = 10`, `UPDATE a SET v = 'better' WHERE id = 20`,
		`INSERT INTO a VALUES (10, 'good', 'of the third')`)
	r.catchUp()
	if causes := r.causes(); len(causes) != 2 {
		t.Fatalf("the causes are %v", causes)
	}
	r.destination(`ALTER TABLE a DROP CONSTRAINT no`)
	r.replay(r.causes()[1:]...)
	r.equal("a")
}

// TestRefusedOnceIsSetAsideOnce: a table without a key has as many rows as were
// inserted, also where some were refused in a delivery that was made again.
func TestRefusedOnceIsSetAsideOnce(t *testing.T) {
	r := newRefusing(t, `CREATE TABLE a (v text)`, `INSERT INTO a VALUES ('good')`)
	r.catchUp()
	r.destination(`ALTER TABLE a ADD CONSTRAINT no CHECK (v NOT LIKE 'bad%')`)
	r.source(`INSERT INTO a VALUES ('bad'), ('good'), ('bad'), ('bad2'), ('good')`)
	r.catchUp()
	if n, err := r.FailedCount(); err != nil || n != 3 {
		t.Errorf("%d failed events, %v; want 3", n, err)
	}
	r.destination(`ALTER TABLE a DROP CONSTRAINT no`)
	r.replay()
	r.equal("a")
}

// TestKeyChangesOverFailedEvents gives a table another key while rows of it are
// set aside. Which row a change is of can then not be told from its key, and what
// is at the destination may not fit the key: nothing old may come after all.
func TestKeyChangesOverFailedEvents(t *testing.T) {
	for name, steps := range map[string][]string{
		"another column": {`UPDATE a SET v = 'bad' WHERE id = 1`, ``, `ALTER TABLE a DROP CONSTRAINT a_pkey, ADD PRIMARY KEY (other); UPDATE a SET v = 'better' WHERE other = 101`},
		"retyped":        {`UPDATE a SET v = 'bad' WHERE id = 1`, ``, `ALTER TABLE a ALTER id TYPE bigint; UPDATE a SET v = 'better' WHERE id = 1`},
		"retyped, quiet": {`UPDATE a SET v = 'bad' WHERE id = 1`, ``, `UPDATE a SET v = 'better' WHERE id = 1; DELETE FROM a WHERE id = 2; ALTER TABLE a ALTER id TYPE bigint`},
		"in one piece":   {`UPDATE a SET v = 'bad' WHERE id = 1`, `ALTER TABLE a DROP CONSTRAINT a_pkey, ADD PRIMARY KEY (other); UPDATE a SET v = 'better' WHERE other = 101`},
		"one transaction": {`UPDATE a SET v = 'bad' WHERE id = 1; ALTER TABLE a DROP CONSTRAINT a_pkey, ADD PRIMARY KEY (other);
			UPDATE a SET v = 'better' WHERE other = 101; DELETE FROM a WHERE other = 102`},
		"not unique": {`UPDATE a SET v = 'bad', other = 103 WHERE id = 1`, `UPDATE a SET other = 101 WHERE id = 2`, ``,
			`ALTER TABLE a DROP CONSTRAINT a_pkey, ADD PRIMARY KEY (other); UPDATE a SET v = 'better' WHERE other = 103; UPDATE a SET v = 'mine' WHERE other = 101`},
		"shrinks": {`ALTER TABLE a DROP CONSTRAINT a_pkey, ADD PRIMARY KEY (id, other)`, `UPDATE a SET v = 'bad' WHERE id = 1`, ``,
			`ALTER TABLE a DROP CONSTRAINT a_pkey, ADD PRIMARY KEY (other); UPDATE a SET v = 'better' WHERE other = 101`},
		"gone": {`UPDATE a SET v = 'bad' WHERE id = 1`, ``, `ALTER TABLE a DROP CONSTRAINT a_pkey; ALTER TABLE a REPLICA IDENTITY FULL; UPDATE a SET v = 'better' WHERE id = 1`},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRefusing(t, `CREATE TABLE a (id int PRIMARY KEY, other int NOT NULL, v text)`, `INSERT INTO a VALUES (1, 101, 'good'), (2, 102, 'good')`)
			r.catchUp()
			r.destination(`ALTER TABLE a ADD CONSTRAINT no CHECK (v <> 'bad')`)
			for _, step := range steps {
				if step == "" {
					r.catchUp()
					if n := len(r.causes()); n != 1 {
						t.Fatalf("%d rows are set aside, want 1", n)
					}
					continue
				}
				r.source(step)
			}
			r.catchUp()
			r.catchUp()
			r.equal("a")
			r.destination(`ALTER TABLE a DROP CONSTRAINT no`)
			r.replay()
			r.equal("a")
		})
	}
}
