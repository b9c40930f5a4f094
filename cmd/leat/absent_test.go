package main

import (
	"fmt"
	"testing"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
	"github.com/leat-etl/leat/state"
)

// TestTablesThatLeft shows what has become of tables that were followed: one that
// the pipeline file selects no more, one that is a partition by now, one of another
// name. Those that come back are loaded again.
func TestTablesThatLeft(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	s.exec("CREATE TABLE days (id integer, day integer, PRIMARY KEY (id, day)) PARTITION BY LIST (day)", "CREATE TABLE monday (id integer, day integer, PRIMARY KEY (id, day))",
		"INSERT INTO monday VALUES (1, 1), (2, 1)", "CREATE TABLE old (id integer PRIMARY KEY)", "INSERT INTO old VALUES (1)",
		fmt.Sprintf("ALTER TABLE days OWNER TO %[1]s; ALTER TABLE monday OWNER TO %[1]s; ALTER TABLE old OWNER TO %[1]s", s.role))
	s.mended()
	s.extra = "[objects]\nexclude = [\"public.customers\"]"
	s.write()
	p := s.start()
	p.listens()
	s.becomes("public.customers", state.Skipped)
	s.exec("ALTER TABLE days ATTACH PARTITION monday FOR VALUES IN (1)", "ALTER TABLE old RENAME TO new")
	s.becomes("public.monday", state.Inaccessible)
	s.becomes("public.old", state.Deleted)
	s.becomes("public.new", state.Streaming)
	s.expect(s.leat("objects", "list", s.file), exitOK, "the pipeline file does not select it any more", "it is a partition of public.days", "no table of this name any more")
	for _, verb := range []string{"include", "pause", "skip"} {
		s.expect(s.leat("objects", verb, s.file, "public.customers"), exitUsage, "the pipeline file does not select it", "[objects]")
	}
	if code := p.stop(); code != exitOK {
		t.Errorf("exit code %d\n%s", code, p.out)
	}
	s.exec("DELETE FROM customers WHERE id <= 10", "ALTER TABLE days DETACH PARTITION monday", "DELETE FROM monday WHERE id = 1")
	s.extra = ""
	s.write()
	s.mended()
	s.becomes("public.customers", state.Streaming)
	s.becomes("public.monday", state.Streaming)
	s.expect(s.leat("query", s.file, "SELECT (SELECT count(*) FROM customers WHERE NOT __leat_marked_deleted) AS c, (SELECT count(*) FROM monday WHERE NOT __leat_marked_deleted) AS m, (SELECT count(*) FROM days WHERE NOT __leat_marked_deleted) AS d"), exitOK, "90  1  0")
}

// TestQueriedTablesThatLeft shows the same of a pipeline that queries its source.
func TestQueriedTablesThatLeft(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	s.keys = `mode = "xmin"`
	s.write()
	s.expect(s.run(), exitOK)
	s.exec("DROP TABLE orders")
	s.extra = "[objects]\nexclude = [\"public.customers\"]"
	s.write()
	s.expect(s.run(), exitOK)
	s.becomes("public.customers", state.Skipped)
	s.becomes("public.orders", state.Deleted)
	s.extra = ""
	s.write()
	s.expect(s.run(), exitOK)
	s.becomes("public.customers", state.Active)
}
