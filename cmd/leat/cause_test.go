package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
	"github.com/leat-etl/leat/state"
)

// filter leaves out the rows whose email is gone.
const filter = `#include "leat.h"

static bool process(const leat_batch *in, leat_output *out, void *state) {
    (void)state;
    leat_select(out);
    for (uint32_t r = 0; r < in->rows; r++) {
        leat_text email;
        if (leat_read_text(&in->columns[0], r, &email) != LEAT_VALUE || !leat_is(email, "gone")) leat_emit(out, r, 0);
    }
    return true;
}

static bool plan(leat_plan *p) {
    leat_keep_all(p);
    leat_need(p, leat_find(&p->table, "email"));
    p->filters = true;
    p->process = process;
    return true;
}

LEAT_TRANSFORM(plan)
`

// TestVerifyKnowsCauses makes differences of which the state knows the cause,
// and has verify name it beside each key.
func TestVerifyKnowsCauses(t *testing.T) {
	server := pgserver.Test(t, pgserver.Options{})
	for _, c := range []struct {
		name      string
		config    string // of the destination, more
		edit      [2]string
		then      func(*site)
		key, what string
		cause     string
	}{
		{name: "a refused row", key: "id=601", what: "missing at the destination", cause: "the row was refused (leat failed show ",
			then: func(s *site) {
				s.exec("INSERT INTO orders VALUES (601, 'a matrix', 1, '{{a,b},{c,d}}')")
				s.expect(s.run(), exitOK)
			}},
		{name: "a refused row that was skipped", key: "id=601", what: "missing at the destination", cause: "was skipped at ",
			then: func(s *site) {
				s.exec("INSERT INTO orders VALUES (601, 'a matrix', 1, '{{a,b},{c,d}}')")
				s.expect(s.run(), exitOK)
				for _, f := range decode[[]state.Failed](s, s.leat("--json", "failed", "list", s.file)) {
					s.expect(s.leat("failed", "skip", s.file, f.ID, "--yes"), exitOK, "1 skipped")
				}
			}},
		{name: "deletes that are ignored", config: `, deletes = "ignore"`, key: "id=7", what: "extra at the destination", cause: `deletes = "ignore"`,
			then: func(s *site) {
				s.exec("DELETE FROM orders WHERE id = 7")
				s.expect(s.run(), exitOK)
			}},
		{name: "a truncate that is ignored", config: `, truncate = "ignore"`, key: "id=7", what: "extra at the destination", cause: `truncate = "ignore"`,
			then: func(s *site) {
				s.exec("TRUNCATE customers")
				s.expect(s.run(), exitOK)
			}},
		{name: "a truncate in events", config: `, load_mode = "append"`, key: "id=7", what: "extra at the destination", cause: `load_mode = "append"`,
			then: func(s *site) {
				s.exec("TRUNCATE customers")
				s.expect(s.run(), exitOK)
				r := s.leat("verify", s.file)
				s.expect(r, exitDifferent, ": 20 keys: ", "\n  id=100: extra at the destination\n", ": 80 more")
				if strings.Count(r.out, `load_mode = "append"`) != 1 {
					s.t.Errorf("the cause is not said once:\n%s", r.out)
				}
			}},
		{name: "no history", edit: [2]string{`heartbeat = "1s"`, "heartbeat = \"1s\"\nload_historical_data = false"}, key: "id=7", what: "missing at the destination", cause: "load_historical_data = false",
			then: func(s *site) {
				s.exec("INSERT INTO orders VALUES (601, 'new', 1, NULL); INSERT INTO customers VALUES (601, 'new')")
				s.expect(s.run(), exitOK)
			}},
		{name: "a load that is to come", key: "id=23", what: "missing at the destination", cause: "public.orders is QUEUED",
			then: func(s *site) {
				s.damage("DELETE FROM orders WHERE id = 23")
				s.expect(s.leat("objects", "restart", s.file, "public.orders", "--yes"), exitOK)
			}},
		{name: "a filter", key: "id=7", what: "extra at the destination", cause: "plugin hide@0.1.0 has left out an update of it",
			then: func(s *site) {
				dir := newPlugin(s)
				writeFile(s.t, filter, dir, "plugin.c")
				writeFile(s.t, `{"type": "object"}`, dir, "config.schema.json")
				s.expect(s.leat("plugin", "build", dir), exitOK)
				s.edit("[destination]", "[[transforms]]\nplugin = \"./hide\"\ntables = [\"public.customers\"]\n[destination]")
				s.expect(s.leat("objects", "restart", s.file, "public.customers", "--yes"), exitOK)
				s.expect(s.run(), exitOK)
				s.exec("UPDATE customers SET email = 'gone' WHERE id = 7")
				s.expect(s.run(), exitOK)
			}},
		{name: "other transforms", edit: [2]string{"[destination]", "[destination]"}, key: "id=7", what: "different", cause: "were made by other transforms",
			then: func(s *site) {
				s.edit("[destination]", "[[transforms]]\nplugin = \"mask\"\ntables = [\"public.customers\"]\nconfig = { columns = [\"email\"], method = \"redact\" }\n[destination]")
			}},
		{name: "a change that is to come", key: "id=7", what: "different", cause: "its change has not arrived",
			then: func(s *site) { s.exec("UPDATE orders SET note = 'new' WHERE id = 7") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, server)
			s.config += c.config
			s.write()
			s.edit(c.edit[0], c.edit[1])
			s.expect(s.run(), exitOK)
			c.then(s)
			r := s.leat("--json", "verify", s.file)
			s.expect(r, exitDifferent)
			found := false
			for _, table := range decode[engine.Verification](s, r).Tables {
				for _, k := range table.Keys {
					if k.Cause == "" {
						t.Errorf("%s has no cause", k.Key)
					}
					if k.Key == c.key && k.What == c.what {
						if found = true; !strings.Contains(k.Cause, c.cause) {
							t.Errorf("%s: cause %q, want %q", k.Key, k.Cause, c.cause)
						}
					}
				}
			}
			if !found {
				t.Errorf("no difference %s %s: %s", c.key, c.what, r.out)
			}
			s.expect(s.leat("verify", "--keys", "1000", s.file), exitDifferent, c.key+": "+c.what)
		})
	}
	t.Run("a paused table", func(t *testing.T) {
		s := newSite(t, server)
		s.expect(s.run(), exitOK)
		s.expect(s.leat("objects", "pause", s.file, "public.orders"), exitOK)
		s.exec("UPDATE orders SET note = 'waits'")
		s.expect(s.leat("verify", s.file), exitOK, "public.orders is not compared: it is PAUSED", "what was compared is equal")
	})
}

// TestVerifyLeavesOut compares the other tables where one has changed without a
// row that tells of it, or may not be read any more.
func TestVerifyLeavesOut(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	r := s.leat("verify", s.file)
	s.expect(r, exitFailure, "was never replicated", "leat run "+s.file)
	if strings.Count(r.err, "replicated") != 1 {
		t.Errorf("the same is said again:\n%s", r.err)
	}
	s.expect(s.run(), exitOK)
	s.exec("ALTER TABLE orders ADD later integer DEFAULT 3", "REVOKE SELECT ON customers FROM "+s.role)
	r = s.leat("verify", s.file)
	s.expect(r, exitDifferent, "orders is not compared: ", "its next row", "ADD COLUMN \"later\"", "customers is not compared: the role may not SELECT", "GRANT SELECT")
	if strings.Contains(r.out, "are equal") {
		t.Errorf("it says\n%s", r.out)
	}
	s.expect(s.leat("plan", s.file), exitOK, "ADD COLUMN \"later\"")
	s.exec("GRANT SELECT ON customers TO "+s.role, "UPDATE orders SET note = 'tells' WHERE id = 1")
	s.mended()
	s.damage("DROP TABLE orders")
	s.expect(s.leat("verify", "--keys", "1", s.file), exitDifferent, "missing at the destination", "499 more")
}

// TestVerifyOfAMergedTable names the change of one of its sources that no row has
// told of, where the other has the column and the table can be read.
func TestVerifyOfAMergedTable(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	other := s.server.Database(t)
	both := fmt.Sprintf("databases = [%q, %q]\nmerge_tables = true\n", s.database, other)
	s.edit(fmt.Sprintf("database = %q\n", s.database), both)
	if err := s.server.Exec(t.Context(), other, "CREATE TABLE orders (id integer PRIMARY KEY, note text, later integer)", "INSERT INTO orders VALUES (1, 'other', 1)",
		fmt.Sprintf("GRANT CONNECT, CREATE ON DATABASE %[1]s TO %[2]s; ALTER TABLE orders OWNER TO %[2]s", other, s.role)); err != nil {
		t.Fatal(err)
	}
	s.expect(s.run(), exitOK)
	s.exec("ALTER TABLE orders ADD later integer DEFAULT 3")
	s.expect(s.leat("verify", s.file), exitDifferent, `20 keys: "main"."orders" is not yet what the table is by now; its next row`, `UPDATE "main"."orders" SET "later"`)
	s.exec("UPDATE orders SET note = 'tells' WHERE id = 1")
	s.mended()
}

// TestVerifyOfFormsInAMergedTable names the command that mends values which stand as
// a type wrote them that the column had at the destination for another source.
func TestVerifyOfFormsInAMergedTable(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	databases := []string{s.database, s.server.Database(t), s.server.Database(t)}
	in := func(i int, sql ...string) {
		t.Helper()
		if err := s.server.Exec(t.Context(), databases[i], sql...); err != nil {
			t.Fatal(err)
		}
	}
	for i, database := range databases {
		in(i, "CREATE TABLE forms (id integer PRIMARY KEY, x date)", "INSERT INTO forms VALUES (1, '2024-02-29')",
			fmt.Sprintf("GRANT CONNECT, CREATE ON DATABASE %[1]s TO %[2]s; ALTER TABLE forms OWNER TO %[2]s", database, s.role))
	}
	s.edit(fmt.Sprintf("database = %q\n", s.database), fmt.Sprintf("databases = [%q, %q, %q]\nmerge_tables = true\n", databases[0], databases[1], databases[2]))
	s.expect(s.run(), exitOK)
	in(1, "ALTER TABLE forms ALTER x TYPE timestamp", "INSERT INTO forms VALUES (2, '2024-02-29 12:00')")
	s.mended() // of every database
	in(2, "ALTER TABLE forms ALTER x TYPE text", "INSERT INTO forms VALUES (2, 'words')")
	s.expect(s.run(), exitOK)
	s.expect(s.leat("verify", s.file), exitDifferent, "id=1, __leat_database_name="+databases[0]+": different: column x has several types (date, text, timestamp)",
		"leat objects restart "+s.file+" public.forms")
	s.expect(s.leat("objects", "restart", s.file, "public.forms", "--yes"), exitOK)
	s.mended()
}

// TestVerifyAfterNarrowerTypes compares columns that the destination keeps in the
// type that they had: what is not of the new one differs, and is no failure.
func TestVerifyAfterNarrowerTypes(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	s.exec("ALTER TABLE orders ADD rate double precision; UPDATE orders SET rate = id")
	s.expect(s.run(), exitOK)
	s.exec("ALTER TABLE orders ALTER total TYPE integer, ALTER rate TYPE integer, ALTER note TYPE integer USING id")
	s.mended()
	s.damage("UPDATE orders SET total = 0.5 WHERE id = 1; UPDATE orders SET rate = 7.25 WHERE id = 2; UPDATE orders SET note = 'seven' WHERE id = 3; UPDATE orders SET rate = 1e30 WHERE id = 4")
	s.expect(s.leat("verify", s.file), exitDifferent, "  id=1: different\n  id=2: different\n  id=3: different\n  id=4: different\n")
}
