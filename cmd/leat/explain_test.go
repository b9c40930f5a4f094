package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// explained is leat explain row as JSON.
func (s *site) explained(code int, table, key string) engine.RowExplanation {
	s.t.Helper()
	r := s.leat("--json", "explain", "row", s.file, table, key)
	if r.code != code {
		s.t.Fatalf("explain row %s %s: exit code %d, want %d\n%s%s", table, key, r.code, code, r.out, r.err)
	}
	if strings.Contains(r.out, "@example.com") {
		s.t.Errorf("a value shows that is not at the destination:\n%s", r.out)
	}
	return decode[engine.RowExplanation](s, r)
}

// only is the one place where a row lands.
func only(t *testing.T, x engine.RowExplanation, state string) engine.Landing {
	t.Helper()
	if len(x.Landings) != 1 || x.Landings[0].State != state {
		t.Fatalf("the row of %s %s lands as %+v, want one that is %s (%q)", x.Table, x.Key, x.Landings, state, x.Notes)
	}
	return x.Landings[0]
}

const masked = "[[transforms]]\nplugin = \"mask\"\ntables = [\"public.customers\"]\nconfig = { columns = [\"email\"], method = \"hash\", salt = %s }\n"

// TestExplainRow follows rows of a stopped and of a running pipeline: as they
// were loaded, changed behind the pipeline's back, deleted on either side, made
// by a plugin with other settings, set aside.
func TestExplainRow(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	s.config += `, metadata = ["op_type", "source_modified_at", "position"]`
	s.extra = strings.Replace(masked, "%s", `"pepper"`, 1)
	s.write()
	s.exec("CREATE TABLE places (id integer, region text, note text, PRIMARY KEY (region, id))", "CREATE TABLE bare (note text)", "ALTER TABLE places OWNER TO "+s.role, "ALTER TABLE bare OWNER TO "+s.role,
		`INSERT INTO places VALUES (1, 'eu', 'one'), (1, 'a,"b"=', 'odd')`)
	s.expect(s.leat("explain", "row", s.file, "public.customers", "7"), exitFailure, "was never replicated: leat run "+s.file)
	s.expect(s.run(), exitOK)

	x := s.explained(exitOK, "public.customers", "7")
	l := only(t, x, engine.LandingEqual)
	if !x.AtSource || l.Rows != 1 || !strings.Contains(l.Position, "snapshot of a load") || l.Metadata["op_type"] != "R" || l.Metadata["source_modified_at"] == "" {
		t.Errorf("a loaded row: %+v", l)
	}
	if len(x.Plugins) != 2 || !strings.HasPrefix(x.Plugins[0].Plugin, "mask@") || !strings.HasPrefix(x.Plugins[0].Digest, "sha256:") ||
		!strings.Contains(string(x.Plugins[0].Config), `"email"`) || strings.Contains(string(x.Plugins[1].Config), "warehouse.duckdb") {
		t.Errorf("its plugins: %+v", x.Plugins)
	}
	if x.MadeBy == "" || x.MadeBy != x.Now {
		t.Errorf("made by %q, now %q", x.MadeBy, x.Now)
	}
	if email := l.Cells[1]; email.Column != "email" || email.Destination == nil || len(*email.Destination) != 64 || !email.Equal {
		t.Errorf("the masked cell: %+v", email)
	}
	s.expect(s.leat("explain", "row", s.file, "public.customers", "id=7"), exitOK, "mask@", "the source's row comes to the same bytes", "in the snapshot of a load", "the same", "has the log up to")
	only(t, s.explained(exitOK, "public.places", "id=1,region=eu"), engine.LandingEqual)
	only(t, s.explained(exitOK, "public.places", `region="a,""b""=",id=1`), engine.LandingEqual)

	s.exec("UPDATE customers SET email = 'new@example.com' WHERE id = 7", "DELETE FROM customers WHERE id = 8", "INSERT INTO customers VALUES (1000, 'late@example.com')")
	x = s.explained(exitDifferent, "public.customers", "7")
	if l = only(t, x, engine.LandingDifferent); l.Cells[1].Equal || l.Cells[1].Again == nil || !strings.Contains(strings.Join(x.Notes, "\n"), "bytes of log that the destination has not") {
		t.Errorf("a row that has changed since: %+v, %q", l, x.Notes)
	}
	only(t, s.explained(exitDifferent, "public.customers", "8"), engine.LandingExtra)
	only(t, s.explained(exitDifferent, "public.customers", "1000"), engine.LandingMissing)
	p := s.start()
	p.listens()
	s.await("SELECT count(*) FROM customers WHERE id = 1000", "1")
	l = only(t, s.explained(exitOK, "public.customers", "7"), engine.LandingEqual)
	if !strings.Contains(l.Position, "of its transaction") || l.Metadata["op_type"] != "U" {
		t.Errorf("a row from the log: %+v", l)
	}
	only(t, s.explained(exitOK, "public.customers", "8"), engine.LandingDeleted)
	only(t, s.explained(exitOK, "public.customers", "1001"), engine.LandingDeleted)
	p.stop()

	s.damage("UPDATE customers SET email = 'damaged' WHERE id = 9")
	s.expect(s.leat("explain", "row", s.file, "public.customers", "9"), exitDifferent, "comes to something else", "damaged")
	s.extra = strings.Replace(masked, "%s", `"salt"`, 1)
	s.write()
	x = s.explained(exitDifferent, "public.customers", "10")
	if only(t, x, engine.LandingDifferent); x.MadeBy == x.Now || !strings.Contains(strings.Join(x.Notes, "\n"), "loaded by other transforms") {
		t.Errorf("a row made with other settings: %+v", x)
	}

	s.expect(s.leat("explain", "row", s.file, "public.bare", "1"), exitUsage, "has no key", "leat verify")
	s.expect(s.leat("explain", "row", s.file, "public.places", "id=1"), exitUsage, `column "region" is missing`, "region=...,id=...")
	s.expect(s.leat("explain", "row", s.file, "public.places", "id=1,place=2"), exitUsage, `"place" is not in the key`)
	s.expect(s.leat("explain", "row", s.file, "public.places", `id=1,region="eu`), exitUsage, "quote does not end")
	s.expect(s.leat("explain", "row", s.file, "public.customers", "id=seven"), exitUsage, `key "id=seven"`, "invalid input syntax")
	s.expect(s.leat("explain", "row", s.file, "public.custmers", "1"), exitUsage, `"public.custmers" is not one of the pipeline's: did you mean "public.customers"?`, "leat objects list")
	s.expect(s.leat("explain", "row", s.file, "customers", "1"), exitUsage, "want schema.table")
}

// TestExplainMergedRow tells the rows of merged tables apart, and reads the
// newest of a table that keeps every change.
func TestExplainMergedRow(t *testing.T) {
	server := pgserver.Test(t, pgserver.Options{})
	s := newSite(t, server)
	other := server.Database(t)
	if err := server.Exec(t.Context(), other, "CREATE TABLE customers (id bigint PRIMARY KEY, email text)", "INSERT INTO customers VALUES (7, 'other')",
		"GRANT CREATE ON DATABASE "+other+" TO "+s.role, "ALTER TABLE customers OWNER TO "+s.role); err != nil {
		t.Fatal(err)
	}
	s.exec("DROP TABLE orders", "UPDATE customers SET email = 'mine' WHERE id = 7")
	s.config += `, load_mode = "append"`
	s.write()
	text, err := os.ReadFile(s.file)
	if err == nil {
		both := fmt.Sprintf("databases = [%q, %q]\nmerge_tables = true\n", s.database, other)
		err = os.WriteFile(s.file, []byte(strings.Replace(string(text), fmt.Sprintf("database = %q\n", s.database), both, 1)), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.expect(s.run(), exitOK)
	if err := server.Exec(t.Context(), other, "UPDATE customers SET email = 'changed' WHERE id = 7"); err != nil {
		t.Fatal(err)
	}
	s.expect(s.run(), exitOK)
	s.expect(s.leat("explain", "row", s.file, "public.customers", "7"), exitUsage, "several databases", other+".public.customers")
	s.expect(s.leat("explain", "row", s.file, "nobody.public.customers", "7"), exitUsage, `database "nobody" is not`)
	l := only(t, s.explained(exitOK, s.database+".public.customers", "7"), engine.LandingEqual)
	if l.Rows != 1 || *cellOf(t, l, "email").Destination != "mine" || *cellOf(t, l, "__leat_database_name").Destination != s.database {
		t.Errorf("the row of one database: %+v", l)
	}
	l = only(t, s.explained(exitOK, other+".public.customers", "id=7"), engine.LandingEqual)
	if l.Rows != 2 || *cellOf(t, l, "email").Destination != "changed" || l.Metadata["op_type"] != "U" || !strings.Contains(l.Position, "of its transaction") {
		t.Errorf("the row of the other: %+v", l)
	}
}

func cellOf(t *testing.T, l engine.Landing, column string) engine.ExplainedCell {
	t.Helper()
	for _, c := range l.Cells {
		if c.Column == column && c.Destination != nil {
			return c
		}
	}
	t.Fatalf("no value of %s in %+v", column, l)
	return engine.ExplainedCell{}
}
