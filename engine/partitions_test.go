package engine_test

import (
	"fmt"
	"testing"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
	"github.com/leat-etl/leat/state"
)

// partitioned is a table with partitions, one of which has partitions of its
// own.
var partitioned = []string{
	`CREATE TABLE a (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)`,
	`CREATE TABLE a0 PARTITION OF a FOR VALUES FROM (0) TO (100)`,
	`CREATE TABLE a1 PARTITION OF a FOR VALUES FROM (100) TO (200) PARTITION BY RANGE (id)`,
	`CREATE TABLE a1x PARTITION OF a1 FOR VALUES FROM (100) TO (150)`,
	`INSERT INTO a VALUES (1, 'x'), (101, 'x')`,
}

// TestPartitionsOfARoot replicates a partitioned table as one, whatever becomes
// of its partitions.
func TestPartitionsOfARoot(t *testing.T) {
	p := newPolled(t, partitioned...)
	p.open("", "[objects]\ninclude = [\"public.a\"]")
	p.mustRun()
	p.expect("1x 101x")
	for _, step := range []struct{ name, sql, want string }{
		{"rows that move", `UPDATE a SET id = 102, v = 'moved' WHERE id = 1`, "101x 102moved"},
		{"a new partition", `CREATE TABLE a2 PARTITION OF a FOR VALUES FROM (200) TO (300); INSERT INTO a VALUES (201, 'made')`, "101x 102moved 201made"},
		{"a new sub-partition", `CREATE TABLE a1y PARTITION OF a1 FOR VALUES FROM (150) TO (200); INSERT INTO a VALUES (151, 'sub')`, "101x 102moved 151sub 201made"},
		{"a table attached", `CREATE TABLE a3 (LIKE a INCLUDING ALL); INSERT INTO a3 VALUES (301, 'brought'); ALTER TABLE a ATTACH PARTITION a3 FOR VALUES FROM (300) TO (400)`, "101x 102moved 151sub 201made 301brought"},
		{"the change of a row that was brought", `UPDATE a SET v = 'changed' WHERE id = 301`, "101x 102moved 151sub 201made 301changed"},
		{"a partition detached", `ALTER TABLE a DETACH PARTITION a2`, "101x 102moved 151sub 301changed"},
		{"a change of what was detached", `INSERT INTO a2 VALUES (299, 'alone')`, "101x 102moved 151sub 301changed"},
		{"a partition dropped", `DROP TABLE a1y`, "101x 102moved 301changed"},
		{"a partition truncated", `TRUNCATE a3`, "101x 102moved"},
	} {
		p.exec(step.sql)
		p.mustRun()
		t.Log(step.name)
		p.expect(step.want)
		p.verify()
	}
	// Made, filled and attached in one transaction.
	p.exec(`DO $$ BEGIN CREATE TABLE a4 (LIKE a INCLUDING ALL); INSERT INTO a4 VALUES (401, 'at once');
		ALTER TABLE a ATTACH PARTITION a4 FOR VALUES FROM (400) TO (500); END $$`)
	p.mustRun()
	p.expect("101x 102moved 401at once")
	p.verify()
}

// TestFirstPartition attaches a table with rows to a partitioned table that has no
// partition yet, or has none any more.
func TestFirstPartition(t *testing.T) {
	p := newPolled(t, `CREATE TABLE a (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)`)
	p.exec(`CREATE TABLE a0 (LIKE a INCLUDING ALL)`, `INSERT INTO a0 VALUES (1, 'brought')`)
	p.open("", "[objects]\ninclude = [\"public.a\"]")
	p.mustRun()
	p.expect("")
	for range 2 {
		p.exec(`ALTER TABLE a ATTACH PARTITION a0 FOR VALUES FROM (0) TO (100)`)
		p.mustRun()
		p.expect("1brought")
		p.verify()
		p.exec(`ALTER TABLE a DETACH PARTITION a0`)
		p.mustRun()
		p.expect("")
	}
}

// TestReplicatedTableBecomesAPartition attaches a table that was replicated on
// its own, with its columns at other places.
func TestReplicatedTableBecomesAPartition(t *testing.T) {
	p := newPolled(t, partitioned...)
	p.exec(`CREATE TABLE a5 (v text, gone int, id int NOT NULL PRIMARY KEY)`, `ALTER TABLE a5 DROP gone`, `INSERT INTO a5 VALUES ('own', 501)`)
	p.open("", "")
	p.mustRun()
	p.expect("1x 101x")
	p.exec(`ALTER TABLE a ATTACH PARTITION a5 FOR VALUES FROM (500) TO (600)`, `INSERT INTO a VALUES (502, 'as a partition')`, `UPDATE a5 SET v = 'directly' WHERE id = 501`)
	p.mustRun()
	p.expect("1x 101x 501directly 502as a partition")
	p.exec(`ALTER TABLE a DETACH PARTITION a5`, `INSERT INTO a5 VALUES ('alone', 999)`)
	p.mustRun()
	p.expect("1x 101x")
	if got := p.ask(`SELECT string_agg(concat(id, v), ' ' ORDER BY id) FROM a5 WHERE NOT __leat_marked_deleted`); got != "501directly 502as a partition 999alone" {
		t.Errorf("the table has %q when it is one again", got)
	}
	p.verify()
}

// TestPartitionsAsTables replicates each partition as a table of its own.
func TestPartitionsAsTables(t *testing.T) {
	p := newPolled(t, partitioned...)
	p.open(`partitions = "leaf"`, "")
	p.mustRun()
	rows := func(table, want string) {
		t.Helper()
		if got := p.ask(fmt.Sprintf(`SELECT coalesce(string_agg(concat(id, v), ' ' ORDER BY id), '') FROM %s WHERE NOT __leat_marked_deleted`, table)); got != want {
			t.Errorf("%s has %q, want %q", table, got, want)
		}
	}
	rows("a0", "1x")
	rows("a1x", "101x")
	p.exec(`UPDATE a SET id = 102 WHERE id = 1`, `CREATE TABLE a2 PARTITION OF a FOR VALUES FROM (200) TO (300)`, `INSERT INTO a VALUES (201, 'made')`)
	p.mustRun()
	rows("a0", "")
	rows("a1x", "101x 102x")
	rows("a2", "201made")
	p.exec(`ALTER TABLE a DETACH PARTITION a2`, `INSERT INTO a2 VALUES (999, 'alone')`)
	p.mustRun()
	rows("a2", "201made 999alone")
	p.verify()
}

// TestInheritance replicates parents and children apart.
func TestInheritance(t *testing.T) {
	p := polledOn(t, pgserver.Test(t, pgserver.Options{}), `CREATE TABLE a (id int PRIMARY KEY, v text)`, `CREATE TABLE child (extra int, PRIMARY KEY (id)) INHERITS (a)`,
		`CREATE VIEW seen AS SELECT * FROM a`, `CREATE MATERIALIZED VIEW kept AS SELECT * FROM a`, `CREATE UNLOGGED TABLE quick (id int PRIMARY KEY)`,
		`INSERT INTO a VALUES (1, 'parent')`, `INSERT INTO child VALUES (2, 'child', 20)`)
	p.open("", "")
	p.mustRun()
	p.expect("1parent")
	p.exec(`UPDATE a SET v = v || '!'`, `INSERT INTO child VALUES (3, 'later', 30)`)
	p.mustRun()
	p.expect("1parent!")
	if got := p.ask(`SELECT string_agg(concat(id, v, extra), ' ' ORDER BY id) FROM child`); got != "2child!20 3later30" {
		t.Errorf("the child has %q", got)
	}
	p.verify()
	for table, why := range map[string]string{"seen": "a view", "kept": "a materialized view", "quick": "an unlogged table"} {
		if o := p.object(table); o.State != state.Inaccessible || o.Reason != why+": its changes are not in the log" {
			t.Errorf("%s: %+v", table, o)
		}
	}
}
