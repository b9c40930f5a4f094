package landing

import (
	"fmt"
	"testing"
)

// TestWholeRowIdentity applies updates and deletes of tables without a usable
// key under REPLICA IDENTITY FULL: exactly one of equal rows, values without
// an equality operator, unchanged TOAST, and keys that are swapped while a
// deferred constraint allows two rows of one key.
func TestWholeRowIdentity(t *testing.T) {
	into(t, 1, func(s *site) {
		long := `(SELECT string_agg(md5(n::text), '') FROM generate_series(1, 500) n)`
		s.exec(0,
			`CREATE TABLE heap (n int, f float8, j json, x xml, p point, tags text[], big text)`, `ALTER TABLE heap REPLICA IDENTITY FULL`,
			`CREATE TABLE swaps (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, code int UNIQUE DEFERRABLE INITIALLY DEFERRED, v text)`, `ALTER TABLE swaps REPLICA IDENTITY FULL`,
			`CREATE TABLE moves (id int PRIMARY KEY, code int UNIQUE DEFERRABLE INITIALLY DEFERRED, v text)`,
			`INSERT INTO heap SELECT n % 3, 'NaN', '{"a": 1}', '<a/>', '(1,2)', '{a,NULL}', `+long+` FROM generate_series(1, 9) n`,
			`INSERT INTO heap VALUES (NULL, NULL, NULL, NULL, NULL, NULL, NULL), (NULL, NULL, NULL, NULL, NULL, NULL, NULL), (7, '-0', NULL, NULL, NULL, '{}', ''), (7, 'Infinity', 'null', NULL, NULL, '{}', '')`,
			`INSERT INTO swaps VALUES (1, 10, 'one'), (2, 20, 'two'), (3, 30, 'three')`, `INSERT INTO moves SELECT * FROM swaps`)
		p, _ := s.open()
		s.pass(p)
		s.equal(p)
		s.exec(0,
			`DELETE FROM heap WHERE ctid = (SELECT min(ctid) FROM heap WHERE n = 1)`,
			`UPDATE heap SET n = 8 WHERE ctid = (SELECT min(ctid) FROM heap WHERE n = 2)`,
			`DELETE FROM heap WHERE ctid = (SELECT min(ctid) FROM heap WHERE n IS NULL)`,
			`UPDATE heap SET f = 'NaN' WHERE n = 7 AND f = '-0'`, `DELETE FROM heap WHERE f = 'Infinity'`,
			`INSERT INTO heap (n) VALUES (5), (5)`, `UPDATE heap SET n = 6 WHERE n = 5`, `DELETE FROM heap WHERE ctid = (SELECT max(ctid) FROM heap WHERE n = 6)`,
			`UPDATE swaps SET id = CASE id WHEN 1 THEN 2 WHEN 2 THEN 1 ELSE id END, code = CASE code WHEN 20 THEN 30 WHEN 30 THEN 20 ELSE code END`,
			`BEGIN; UPDATE swaps SET id = 3 WHERE v = 'one'; UPDATE swaps SET id = 2 WHERE v = 'three'; DELETE FROM swaps WHERE v = 'two'; INSERT INTO swaps VALUES (1, 40, 'new'); COMMIT`,
			`BEGIN; UPDATE moves SET id = 9 WHERE id = 1; UPDATE moves SET id = 1 WHERE id = 2; UPDATE moves SET id = 2 WHERE id = 9; UPDATE moves SET code = 60 - code; COMMIT`,
			`BEGIN; UPDATE moves SET id = 4 WHERE id = 3; UPDATE moves SET id = 5, v = 'far' WHERE id = 4; COMMIT`)
		s.pass(p)
		s.equal(p)
		s.want(p, `SELECT count(*) FROM heap WHERE __leat_marked_deleted`, "4")
		s.want(p, `SELECT id, v FROM swaps WHERE NOT __leat_marked_deleted ORDER BY id`, "1 new", "2 three", "3 one")
		s.want(p, `SELECT id, v FROM moves WHERE NOT __leat_marked_deleted ORDER BY id`, "1 two", "2 one", "5 far")
		// The ids of older rows no longer fit: they are found by their values.
		s.exec(0, `ALTER TABLE heap ADD COLUMN later int`, `DELETE FROM heap WHERE ctid = (SELECT min(ctid) FROM heap WHERE n = 1)`,
			`ALTER TABLE heap DROP COLUMN big`, `DELETE FROM heap WHERE ctid = (SELECT min(ctid) FROM heap WHERE n = 0)`, `UPDATE heap SET later = 1 WHERE n = 8`, `TRUNCATE swaps`, `INSERT INTO swaps VALUES (1, 1, 'after')`)
		s.pass(p)
		s.equal(p)
	})
}

// TestWholeRowEvents keeps every change of a table without a key; what they
// leave is the source.
func TestWholeRowEvents(t *testing.T) {
	into(t, 1, func(s *site) {
		s.config = `load_mode = "append"`
		s.exec(0, `CREATE TABLE heap (n int)`, `ALTER TABLE heap REPLICA IDENTITY FULL`, `INSERT INTO heap VALUES (1), (1), (2)`)
		p, _ := s.open()
		s.pass(p)
		s.exec(0, `DELETE FROM heap WHERE ctid = '(0,1)'`, `UPDATE heap SET n = 3 WHERE n = 2`)
		s.pass(p)
		s.equal(p)
		s.want(p, `SELECT __leat_op_type, n FROM heap ORDER BY __leat_lsn, __leat_ordinal, __leat_op_type`, "R 1", "R 1", "R 2", "D 1", "D 2", "U 3")
	})
}

// TestSourceIsNeverBroken has every replica identity under replication:
// updates and deletes go on at the source, and the log carries what it can.
func TestSourceIsNeverBroken(t *testing.T) {
	into(t, 1, func(s *site) {
		for _, identity := range []string{"DEFAULT", "FULL", "NOTHING", "USING INDEX %s_code"} {
			for i, key := range []string{"", "PRIMARY KEY", "PRIMARY KEY DEFERRABLE"} {
				name := fmt.Sprintf("t_%c_%d", identity[0], i)
				s.exec(0, fmt.Sprintf(`CREATE TABLE %s (id int %s, code int NOT NULL)`, name, key), fmt.Sprintf(`CREATE UNIQUE INDEX %s_code ON %s (code)`, name, name))
				if identity[0] == 'U' {
					s.exec(0, fmt.Sprintf(`ALTER TABLE %s REPLICA IDENTITY `+identity, name, name))
				} else {
					s.exec(0, fmt.Sprintf(`ALTER TABLE %s REPLICA IDENTITY %s`, name, identity))
				}
				s.exec(0, fmt.Sprintf(`INSERT INTO %s VALUES (1, 1), (2, 2), (3, 3)`, name))
			}
		}
		p, _ := s.open()
		s.pass(p)
		s.equal(p)
		identified := map[string]bool{"t_D_1": true, "t_F_0": true, "t_F_1": true, "t_F_2": true, "t_U_0": true, "t_U_1": true, "t_U_2": true}
		for _, c := range "DFNU" {
			for i := range 3 {
				name := fmt.Sprintf("t_%c_%d", c, i)
				s.exec(0, fmt.Sprintf(`UPDATE %s SET code = 9 WHERE id = 1`, name), fmt.Sprintf(`DELETE FROM %s WHERE id = 2`, name), fmt.Sprintf(`INSERT INTO %s VALUES (4, 4)`, name))
			}
		}
		s.pass(p)
		for _, c := range "DFNU" {
			for i := range 3 {
				name := fmt.Sprintf("t_%c_%d", c, i)
				want := []string{"1 1", "2 2", "3 3", "4 4"}
				if identified[name] {
					want = []string{"1 9", "3 3", "4 4"}
				}
				s.want(p, fmt.Sprintf(`SELECT id, code FROM %s WHERE NOT __leat_marked_deleted ORDER BY id`, name), want...)
			}
		}
	})
}

// TestEventsOfEqualKeys changes keys to others that the destination takes for
// equal: what the events leave is the row under the new key, not none.
func TestEventsOfEqualKeys(t *testing.T) {
	into(t, 1, func(s *site) {
		s.config = `load_mode = "append"`
		s.exec(0, `CREATE TABLE priced (p numeric PRIMARY KEY, v text)`, `INSERT INTO priced SELECT n + 1.00, 'v' FROM generate_series(1, 50) n`)
		p, _ := s.open()
		s.pass(p)
		s.exec(0, `UPDATE priced SET p = trim_scale(p)`, `UPDATE priced SET v = 'w' WHERE p <= 3`)
		s.pass(p)
		s.equal(p)
	})
}
