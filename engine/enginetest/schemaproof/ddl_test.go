//go:build duckdb_arrow

package schemaproof

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// journal collects what is logged.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (j *journal) Write(text []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(text)
}

// take returns what was logged since the last time.
func (j *journal) take() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	defer j.text.Reset()
	return j.text.String()
}

func (p *pipeline) planDDL(ctx context.Context, ddl string) (plan *engine.DDLPlan, err error) {
	err = p.with(ctx, func(ctx context.Context, e *engine.Pipeline) error {
		plan, err = e.PlanDDL(ctx, ddl)
		return err
	})
	return plan, err
}

// onlyDDL leaves out of a step what changes rows.
func onlyDDL(step string) string {
	list := slices.DeleteFunc(strings.Split(step, ";"), func(one string) bool {
		one = strings.TrimSpace(one)
		return !strings.HasPrefix(one, "ALTER") && !strings.HasPrefix(one, "CREATE") && !strings.HasPrefix(one, "DROP")
	})
	return strings.Join(list, ";")
}

// TestPlanSaysWhatComes plans each change of TestEveryChange before it is
// made, makes it, and compares: the tables that were loaded again, and that
// the destination has nothing left to do for what the plan had as statements.
func TestPlanSaysWhatComes(t *testing.T) {
	t.Parallel()
	server := pgserver.Test(t, pgserver.Options{})
	database := server.Database(t)
	for _, c := range changes {
		exec(t, server, database, c.create)
	}
	logged := new(journal)
	p := newPipeline(t, server, "postgres", database)
	p.log = slog.New(slog.NewTextHandler(logged, &slog.HandlerOptions{Level: slog.LevelWarn}))
	catchUp(t, p)
	for _, c := range changes {
		for i, step := range c.steps {
			name := fmt.Sprintf("%s, step %d", c.table, i+1)
			ddl := onlyDDL(step)
			var plan *engine.DDLPlan
			if ddl != "" {
				var err error
				if plan, err = p.planDDL(t.Context(), ddl); err != nil {
					t.Errorf("%s: %v", name, err)
					continue
				}
				if plan.Stops {
					t.Errorf("%s: the plan says that the pipeline stops: %+v", name, plan)
				}
			}
			exec(t, server, database, step)
			logged.take()
			catchUp(t, p)
			text := logged.take()
			again := strings.Contains(text, "loading a table again")
			planned := plan != nil && slices.ContainsFunc(plan.Tables, func(t engine.ChangedTable) bool { return t.Reload != "" })
			if again != planned && ddl != "" {
				t.Errorf("%s: loaded again: planned %v, was %v\n%s\n%+v", name, planned, again, text, plan)
			}
		}
	}
}

// TestPlanOfDDL tries what a migration may hold, without touching the tables.
func TestPlanOfDDL(t *testing.T) {
	t.Parallel()
	server := pgserver.Test(t, pgserver.Options{})
	database := server.Database(t)
	exec(t, server, database, `CREATE TABLE other (id int PRIMARY KEY);
		CREATE TABLE o (id int CONSTRAINT odd_key PRIMARY KEY, gone int, a text, email text, r int CONSTRAINT fk REFERENCES other); ALTER TABLE o DROP gone;
		INSERT INTO other VALUES (1); INSERT INTO o SELECT n, 'a', 'b', 1 FROM generate_series(1, 9) n;
		CREATE TABLE parted (id int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at); CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
		CREATE TABLE byindex (id int NOT NULL, v text); CREATE UNIQUE INDEX byindex_id ON byindex (id); ALTER TABLE byindex REPLICA IDENTITY USING INDEX byindex_id;
		CREATE SCHEMA hidden; CREATE TABLE hidden.h (id int PRIMARY KEY)`)
	p := newPipeline(t, server, "duckdb", database)
	p.extra = "[[transforms]]\nplugin = \"mask\"\ntables = [\"public.o\"]\nconfig = { columns = [\"email\"] }\n[objects]\nexclude = [\"hidden.*\"]\n[schema_changes]\nkey_changed = \"block\""
	catchUp(t, p)
	before := catalogueOf(t, server, database)
	err := p.with(t.Context(), func(ctx context.Context, e *engine.Pipeline) error {
		planDDLs(t, ctx, e)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if after := catalogueOf(t, server, database); after != before {
		t.Errorf("planning has left something behind:\n%s\nbefore:\n%s", after, before)
	}
}

// planDDLs plans with one pipeline: no plan changes what the next one finds.
func planDDLs(t *testing.T, ctx context.Context, p *engine.Pipeline) {
	for _, c := range []struct {
		ddl     string
		changes []string // kinds
		reload  string
		stops   bool
		says    string // in warnings, notes or statements
	}{
		{`ALTER TABLE o ADD note text DEFAULT 'it''s; new' /* ; */ -- ;`, []string{"column_added"}, "", false, `ADD COLUMN "note"`},
		{`ALTER TABLE public.o ADD at timestamptz DEFAULT clock_timestamp()`, []string{"column_added"}, "rewrites", false, ""},
		{`ALTER TABLE o ADD s int REFERENCES other (id) ON DELETE SET NULL NOT NULL DEFAULT 1, ADD CONSTRAINT two FOREIGN KEY (r) REFERENCES other MATCH FULL ON UPDATE CASCADE, ADD b int`, []string{"column_added", "column_added"}, "", false, ""},
		{`ALTER TABLE o ADD FOREIGN KEY (r) REFERENCES other`, nil, "", false, ""},
		{`ALTER TABLE o DROP CONSTRAINT fk`, nil, "", false, ""},
		{`ALTER TABLE o RENAME COLUMN a TO b; ALTER TABLE o DROP COLUMN b`, []string{"column_dropped"}, "", false, ""},
		{`ALTER TABLE o RENAME email TO mail`, []string{"column_renamed"}, "", true, `mask@0.1.0: plan`},
		{`ALTER TABLE o ALTER r TYPE bigint`, []string{"column_retyped"}, "rewrites", false, "BIGINT"},
		{`ALTER TABLE o ALTER r TYPE int USING r * 2`, nil, "rewrites", false, ""},
		{`ALTER TABLE o ADD amount numeric(10,2)`, []string{"column_added"}, "", false, "NaN"},
		{`ALTER TABLE o DROP CONSTRAINT odd_key`, []string{"key_changed"}, "", true, "UPDATE and DELETE fail at the source"},
		{`ALTER TABLE o DROP CONSTRAINT odd_key, ADD PRIMARY KEY (id, r)`, []string{"key_changed"}, "", true, ""},
		{`ALTER TABLE o RENAME TO p; ALTER TABLE p ADD x int`, []string{"table_renamed", "column_added"}, "another name", false, `"p"`},
		{`ALTER TABLE o SET SCHEMA hidden`, []string{"table_renamed"}, "", false, "does not select it"},
		{`DROP TABLE IF EXISTS nothing, o CASCADE`, []string{"table_dropped"}, "", false, "rows stay"},
		{`CREATE TABLE IF NOT EXISTS fresh (id int PRIMARY KEY, o int REFERENCES o (id), CONSTRAINT f FOREIGN KEY (o) REFERENCES o (id))`, nil, "", false, "CREATE TABLE"},
		{`CREATE TYPE mood AS ENUM ('so'); ALTER TABLE o ADD m mood`, []string{"column_added"}, "", false, ""},
		{`ALTER TABLE parted ADD n int DEFAULT 4`, []string{"column_added"}, "", false, ""},
		{`DROP INDEX CONCURRENTLY byindex_id`, []string{"key_changed"}, "", true, "UPDATE and DELETE fail"},
		{`CREATE UNIQUE INDEX CONCURRENTLY i2 ON ONLY public.byindex (id)`, nil, "", false, ""},
		{`ALTER TABLE byindex REPLICA IDENTITY FULL`, []string{"key_changed"}, "", true, ""},
		{`ALTER TABLE hidden.h ADD x int; GRANT SELECT ON o TO PUBLIC; COMMENT ON TABLE o IS 'it'`, nil, "", false, "does not select"},
	} {
		plan, err := p.PlanDDL(ctx, c.ddl)
		if err != nil {
			t.Errorf("%s: %v", c.ddl, err)
			continue
		}
		var kinds []string
		reload, text := "", fmt.Sprintf("%+v", *plan)
		for _, table := range plan.Tables {
			for _, change := range table.Changes {
				kinds = append(kinds, change.Kind)
			}
			reload += table.Reload
		}
		if !slices.Equal(kinds, c.changes) || (c.reload == "") != (reload == "") || !strings.Contains(reload, c.reload) || plan.Stops != c.stops || !strings.Contains(text, c.says) {
			t.Errorf("%s: %+v", c.ddl, *plan)
		}
	}
	for ddl, says := range map[string]string{
		"":                              "empty",
		"DELETE FROM o":                 "nothing else",
		"ALTER TABLE o DROP nothing":    "does not exist",
		"ALTER TABLE nothing ADD x int": "no table",
		"ALTER TABLE o ADD x int 'open": "does not end",
		"CREATE TABLE c AS TABLE o":     "not tried",
		"ALTER TABLE o SET UNLOGGED":    "cannot be tried",
	} {
		_, err := p.PlanDDL(ctx, ddl)
		var refused *engine.RequestError
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", ddl, err)
		}
	}
}

// TestPlanOfHeldChanges says of changes that are to be held whether the table
// can wait: one that is renamed or dropped with them cannot, nor one that was
// never loaded.
func TestPlanOfHeldChanges(t *testing.T) {
	t.Parallel()
	server := pgserver.Test(t, pgserver.Options{})
	database := server.Database(t)
	exec(t, server, database, `CREATE TABLE o (id int PRIMARY KEY, a text)`)
	p := newPipeline(t, server, "duckdb", database)
	p.extra = "[schema_changes]\ndefault = \"hold\""
	catchUp(t, p)
	exec(t, server, database, `CREATE TABLE late (id int PRIMARY KEY, a text)`)
	for ddl, want := range map[string]string{
		`ALTER TABLE o RENAME a TO b`:                        "hold",
		`ALTER TABLE o RENAME TO n; ALTER TABLE n ADD x int`: "block block",
		`DROP TABLE o`:                   "block",
		`ALTER TABLE late RENAME a TO b`: "block",
	} {
		plan, err := p.planDDL(t.Context(), ddl)
		if err != nil {
			t.Fatal(err)
		}
		var policies []string
		for _, c := range plan.Tables[0].Changes {
			policies = append(policies, c.Policy)
		}
		if got := strings.Join(policies, " "); got != want || plan.Stops != (want != "hold") {
			t.Errorf("%s: %q, stops %v; want %q", ddl, got, plan.Stops, want)
		}
	}
}

// catalogueOf is all relations and types of a database.
func catalogueOf(t *testing.T, server *pgserver.Server, database string) string {
	t.Helper()
	return ask(t, server, database, `SELECT string_agg(relname || relfilenode, ',' ORDER BY c.oid) || (SELECT count(*) FROM pg_type) FROM pg_class c WHERE relnamespace::regnamespace::text NOT IN ('pg_catalog', 'pg_toast')`)
}

// ask returns the only value of a query.
func ask(t *testing.T, server *pgserver.Server, database, query string) (text string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), server.DSN(database))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if err := conn.QueryRow(t.Context(), query).Scan(&text); err != nil {
		t.Fatal(err)
	}
	return text
}
