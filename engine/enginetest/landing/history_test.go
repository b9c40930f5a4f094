package landing

import (
	"fmt"
	"testing"
)

// TestHistory keeps the versions of rows: several changes in one transaction,
// unchanged TOAST under a key that moves twice, deletes, a truncate, tables
// without a key and two databases in one table. A restart and a load that
// comes again open no version.
func TestHistory(t *testing.T) {
	into(t, 2, func(s *site) {
		s.config = `load_mode = "history", metadata = ["op_type", "ingested_at", "schema_name"], metadata_prefix = "__hevo__"`
		long := `(SELECT string_agg(md5(n::text), '') FROM generate_series(1, 500) n)`
		s.every(`CREATE TABLE a (id int PRIMARY KEY, v text, big text)`, fmt.Sprintf(`INSERT INTO a VALUES (1, 'one', %s), (2, 'two', NULL)`, long),
			`CREATE TABLE heap (v text)`, `ALTER TABLE heap REPLICA IDENTITY FULL`, `INSERT INTO heap VALUES ('x'), ('x')`)
		p, closed := s.open()
		s.pass(p)
		s.equal(p)
		eu, us := s.databases[0], s.databases[1]
		s.exec(0, `BEGIN; UPDATE a SET v = 'a' WHERE id = 1; UPDATE a SET v = 'b' WHERE id = 1; UPDATE a SET id = 3 WHERE id = 1; UPDATE a SET id = 4 WHERE id = 3; COMMIT`,
			`DELETE FROM a WHERE id = 2`, `INSERT INTO a VALUES (2, 'again', NULL)`, `DELETE FROM heap WHERE ctid = '(0,1)'`, `UPDATE heap SET v = 'y'`, `INSERT INTO heap VALUES ('x')`)
		s.pass(p)
		s.equal(p)
		versions := fmt.Sprintf(`SELECT id, v, length(big), __hevo__op_type, __hevo__schema_name, __hevo__valid_to IS NULL AS open, __hevo__marked_deleted FROM a WHERE __hevo__database_name = '%s' ORDER BY __hevo__lsn, __hevo__ordinal`, eu)
		line := func(text string, open, deleted bool) string { return fmt.Sprintf("%s %v %v", text, open, deleted) }
		want := []string{
			line("1 one 16000 R public", false, false), line("2 two NULL R public", false, true),
			line("1 a 16000 U public", false, false), line("1 b 16000 U public", false, false), line("3 b 16000 U public", false, false), line("4 b 16000 U public", true, false),
			line("2 again NULL I public", true, false),
		}
		s.want(p, versions, want...)
		s.want(p, `SELECT count(*) FROM a AS v WHERE EXISTS (SELECT 1 FROM a AS w WHERE w.id = v.id AND w.__hevo__database_name = v.__hevo__database_name AND w.__hevo__valid_from < v.__hevo__valid_to AND v.__hevo__valid_from < w.__hevo__valid_from)`, "0")
		s.want(p, fmt.Sprintf(`SELECT v FROM heap WHERE __hevo__database_name = '%s' AND __hevo__valid_to IS NULL ORDER BY v`, eu), "x", "y")
		s.want(p, fmt.Sprintf(`SELECT count(*) FROM heap WHERE __hevo__database_name = '%s'`, eu), "4")
		s.want(p, `SELECT count(*) FROM a WHERE __hevo__ingested_at IS NULL OR __hevo__valid_from IS NULL`, "0")
		closed()
		p, _ = s.open()
		s.exec(0, `UPDATE a SET v = 'c' WHERE id = 4`)
		s.exec(1, `TRUNCATE a`, `INSERT INTO a VALUES (1, 'after', NULL)`)
		s.pass(p)
		s.equal(p)
		want[5] = line("4 b 16000 U public", false, false)
		s.want(p, versions, append(want, line("4 c 16000 U public", true, false))...)
		s.want(p, fmt.Sprintf(`SELECT id, v, __hevo__valid_to IS NULL AS open FROM a WHERE __hevo__database_name = '%s' ORDER BY __hevo__lsn, __hevo__ordinal`, us), "1 one false", "2 two false", "1 after true")
	})
}
