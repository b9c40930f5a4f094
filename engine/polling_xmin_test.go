package engine_test

import (
	"testing"
)

func TestXminMode(t *testing.T) {
	destinations(t, func(t *testing.T, to func(*polled) *polled) {
		p := to(newPolled(t, `CREATE TABLE a (id int PRIMARY KEY, v text)`,
			`INSERT INTO a SELECT n, 'x' FROM generate_series(1, 5) n`)).open(xminMode, `[objects."public.a"]
detect_deletes = true`)
		p.mustRun()
		p.expect("1x 2x 3x 4x 5x")
		p.exec(`UPDATE a SET v = 'y' WHERE id = 2`, `DELETE FROM a WHERE id IN (3, 4)`, `INSERT INTO a VALUES (6, 'new')`,
			`BEGIN; SAVEPOINT s; INSERT INTO a VALUES (7, 'sub'); RELEASE s; SELECT * FROM a FOR UPDATE; COMMIT`)
		p.mustRun()
		p.expect("1x 2y 5x 6new 7sub")
		p.verify()
		if got := p.ask(`SELECT count(DISTINCT __leat_xmin) FROM a`); got != "4" {
			t.Errorf("%s numbers of transactions", got)
		}
		p.exec(`VACUUM FREEZE a`, `INSERT INTO a VALUES (3, 'back')`, `VACUUM FULL a`)
		p.mustRun()
		p.expect("1x 2y 3back 5x 6new 7sub")
		p.verify()
	})
}

func TestFullLoad(t *testing.T) {
	destinations(t, func(t *testing.T, to func(*polled) *polled) {
		p := to(newPolled(t, `CREATE TABLE a (id int PRIMARY KEY, v text, twice text GENERATED ALWAYS AS (v || v) STORED)`,
			`CREATE TABLE keyless (v text)`, `CREATE VIEW seen AS SELECT id, v FROM a WHERE id > 2`, `CREATE UNLOGGED TABLE fast (id int PRIMARY KEY)`,
			`INSERT INTO a SELECT n, 'x' FROM generate_series(1, 4) n`, `INSERT INTO keyless VALUES ('a'), ('a'), ('b')`, `INSERT INTO fast VALUES (1)`)).open(tableMode, `[objects."public.seen"]
key = ["id"]`)
		p.mustRun()
		p.exec(`UPDATE a SET v = 'y' WHERE id = 2`, `DELETE FROM a WHERE id = 3`, `INSERT INTO a VALUES (5, 'z')`, `TRUNCATE keyless`, `INSERT INTO keyless VALUES ('a'), ('c')`, `DELETE FROM fast`)
		for range 2 {
			p.mustRun()
			p.expect("1x 2y 4x 5z")
		}
		if got := p.ask(`SELECT string_agg(v, ' ' ORDER BY v) FROM keyless WHERE __leat_op_type <> 'T'`); got != "a c" {
			t.Errorf("keyless has %s", got)
		}
		p.verify()
	})
}
