//go:build duckdb_arrow

package schemaproof

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// TestWithheldColumns adds columns that nothing but the source may see, and
// claims them one after the other.
func TestWithheldColumns(t *testing.T) {
	t.Parallel()
	server := pgserver.Test(t, pgserver.Options{})
	database := server.Database(t)
	exec(t, server, database, `CREATE TABLE o (id int PRIMARY KEY, v text); INSERT INTO o SELECT n, 'v' || n FROM generate_series(1, 9) n`)
	both := []*pipeline{newPipeline(t, server, "duckdb", database), newPipeline(t, server, "postgres", database)}
	both[1].source = "ddl_capture = true"
	policy := "[schema_changes]\ncolumn_added = \"withhold\"\n"
	set := func(extra string) {
		for _, p := range both {
			p.extra = policy + extra
		}
	}
	set("")
	catchUp(t, both...)
	exec(t, server, database, `ALTER TABLE o ADD ssn text DEFAULT 'secret'; UPDATE o SET ssn = 'secret ' || id WHERE id < 5; INSERT INTO o VALUES (10, 'ten', 'secret 10');
		ALTER TABLE o ADD plain int; UPDATE o SET plain = id WHERE id < 4; ALTER TABLE o ADD late text DEFAULT 'unseen'`)
	set("[[transforms]]\nplugin = \"array-to-varchar\"\n")
	catchUp(t, both...)
	withheld := func(step string, names ...string) {
		t.Helper()
		for _, p := range both {
			p.equal(t, "o", names...)
			p.verify(t)
			err := p.with(t.Context(), func(ctx context.Context, e *engine.Pipeline) error {
				planned, err := e.Plan(ctx)
				if err != nil {
					return err
				}
				if !slices.Equal(planned[0].Withheld, names) {
					t.Errorf("%s, %s: plan says that %q are withheld, want %q", step, p.destination, planned[0].Withheld, names)
				}
				for _, c := range planned[0].Targets[0].Columns {
					if slices.Contains(names, c.Name) {
						t.Errorf("%s, %s: the destination would have column %s", step, p.destination, c.Name)
					}
				}
				objects, err := e.Objects()
				if err == nil && !slices.Equal(objects[0].Withheld, names) {
					t.Errorf("%s, %s: objects list has %q as withheld, want %q", step, p.destination, objects[0].Withheld, names)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		}
	}
	withheld("added", "ssn", "plain", "late")
	// A claim brings the values of rows that are there.
	set("[objects.\"public.o\"]\nclaim = [\"ssn\", \"late\"]\n")
	catchUp(t, both...)
	withheld("claimed", "plain")
	exec(t, server, database, `UPDATE o SET ssn = 'changed', plain = 7 WHERE id = 3; ALTER TABLE o ADD more int DEFAULT 5; DELETE FROM o WHERE id = 9; INSERT INTO o (id) VALUES (11)`)
	catchUp(t, both...)
	withheld("changed", "plain", "more")
	// A new name is a new claim.
	exec(t, server, database, `ALTER TABLE o RENAME plain TO plainer; UPDATE o SET plainer = 8 WHERE id = 1`)
	set("[objects.\"public.o\"]\nclaim = [\"ssn\", \"late\", \"plainer\"]\n")
	catchUp(t, both...)
	withheld("renamed", "more")
	// What is withheld cannot identify rows.
	exec(t, server, database, `ALTER TABLE o DROP CONSTRAINT o_pkey; ALTER TABLE o ADD PRIMARY KEY (id, more); INSERT INTO o (id, more) VALUES (1, 1)`)
	for _, p := range both {
		var refused *engine.WithheldKeyError
		if err := p.catchUp(t.Context()); !errors.As(err, &refused) || refused.Column != "more" || !strings.Contains(refused.Hint(), "claim") {
			t.Errorf("%s: the run ended with %v", p.destination, err)
		}
	}
	policy = ""
	set("")
	catchUp(t, both...)
	withheld("all apply")
}

// TestPlanOfWithheldColumns says what of a migration would be kept back.
func TestPlanOfWithheldColumns(t *testing.T) {
	t.Parallel()
	server := pgserver.Test(t, pgserver.Options{})
	database := server.Database(t)
	exec(t, server, database, `CREATE TABLE o (id int PRIMARY KEY, v text)`)
	p := newPipeline(t, server, "duckdb", database)
	p.extra = "[schema_changes]\ncolumn_added = \"withhold\"\n[objects.\"public.o\"]\nclaim = [\"fine\"]\n"
	plan, err := p.planDDL(t.Context(), `ALTER TABLE o ADD ssn text, ADD fine int`)
	if err != nil {
		t.Fatal(err)
	}
	changes := plan.Tables[0].Changes
	if plan.Stops || len(changes) != 2 || changes[0].Policy != "withhold" || changes[1].Policy != "apply" {
		t.Errorf("%+v", plan)
	}
	statements := strings.Join(plan.Tables[0].Targets[0].Statements, ";")
	if strings.Contains(statements, "ssn") || !strings.Contains(statements, "fine") {
		t.Error(statements)
	}
	if plan, err = p.planDDL(t.Context(), `ALTER TABLE o ADD n int; ALTER TABLE o DROP CONSTRAINT o_pkey, ADD PRIMARY KEY (id, n)`); err != nil || !plan.Stops || !strings.Contains(plan.Tables[0].Fault, "withheld") {
		t.Errorf("%+v %v", plan, err)
	}
}
