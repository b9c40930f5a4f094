package main

import (
	"strings"
	"testing"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// TestMaskThatComesLater says that rows which are there stay in clear, and
// loads the table again when that is asked for.
func TestMaskThatComesLater(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	s.mended()
	s.extra = "[[transforms]]\nplugin = \"mask\"\ntables = [\"public.customers\"]\nconfig = { columns = [\"email\"], method = \"redact\" }\n"
	s.write()
	r := s.leat("plan", s.file)
	s.expect(r, exitOK, "CHANGED: the rows at the destination were made by no transform, new ones by mask:", "leat objects restart")
	if strings.Count(r.out, "CHANGED") != 1 {
		t.Errorf("plan names more than the table that has changed:\n%s", r.out)
	}
	s.expect(s.run(), exitOK, "the transforms of a table have changed", "leat objects restart "+s.file+" public.customers")
	s.expect(s.leat("query", s.file, "SELECT count(*) AS n FROM customers WHERE email LIKE '%@example.com'"), exitOK, "100")
	s.expect(s.leat("run", "--quiet", "--until-caught-up", "--restart-changed", s.file), exitOK, "its transforms have changed")
	s.expect(s.leat("query", s.file, "SELECT count(*) AS n FROM customers WHERE email LIKE '%@example.com'"), exitOK, "N\n0")
	if r := s.leat("plan", s.file); strings.Contains(r.out, "CHANGED") {
		t.Errorf("plan still speaks of a change:\n%s", r.out)
	}
	if r := s.run(); strings.Contains(r.err, "have changed") {
		t.Errorf("run still speaks of a change:\n%s", r.err)
	}
	s.mended()
}
