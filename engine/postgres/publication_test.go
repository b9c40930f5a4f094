package postgres

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// membersOf lists a publication's tables and what it publishes.
func (f *fixture) membersOf(t *testing.T, name string) string {
	t.Helper()
	var out string
	err := f.conn.QueryRow(t.Context(), `SELECT concat_ws(' ', (SELECT string_agg(tablename, ',' ORDER BY tablename) FROM pg_publication_tables WHERE pubname = p.pubname),
		CASE WHEN pubinsert THEN 'i' END, CASE WHEN pubupdate THEN 'u' END, CASE WHEN pubdelete THEN 'd' END, CASE WHEN pubtruncate THEN 't' END,
		CASE WHEN pubviaroot THEN 'root' END) FROM pg_publication p WHERE pubname = $1`, name).Scan(&out)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestEnsurePublication(t *testing.T) {
	f := newFixture(t, `CREATE TABLE keyed (id int PRIMARY KEY, v int)`, `CREATE TABLE "key less" (v int)`,
		`CREATE TABLE child () INHERITS (keyed)`, `INSERT INTO keyed VALUES (1, 1)`, `INSERT INTO "key less" VALUES (1)`,
		`CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY RANGE (id)`, `CREATE TABLE parts_1 PARTITION OF parts DEFAULT`)
	pub, err := f.source.EnsurePublication(t.Context(), `le"at`, f.tables(t, "keyed", "key less", "parts"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := f.membersOf(t, pub.Names[0]); got != "keyed,parts i u d t root" {
		t.Errorf("first publication: %s", got)
	}
	if got := f.membersOf(t, pub.Names[1]); got != "key less i t root" {
		t.Errorf("second publication: %s", got)
	}
	f.exec(t, `UPDATE "key less" SET v = 2`, `DELETE FROM "key less"`, `UPDATE keyed SET v = 2`)

	if sql, err := f.source.PublicationSQL(t.Context(), `le"at`, f.tables(t, "keyed", "key less", "parts")); err != nil || len(sql) > 0 {
		t.Errorf("publication in place, yet %q (%v)", sql, err)
	}
	// A key appears, a table leaves, another joins: three moves at once.
	f.exec(t, `ALTER TABLE "key less" ADD id serial PRIMARY KEY`)
	if _, err := f.source.EnsurePublication(t.Context(), `le"at`, f.tables(t, "child", "key less", "parts"), 0); err != nil {
		t.Fatal(err)
	}
	if got := f.membersOf(t, pub.Names[0]) + "; " + f.membersOf(t, pub.Names[1]); got != "key less,parts i u d t root; child i t root" {
		t.Errorf("after the change: %s", got)
	}
}

// TestNotPublished: what somebody has taken out of a publication is told from what
// is not there any more.
func TestNotPublished(t *testing.T) {
	f := newFixture(t, `CREATE TABLE stays (id int PRIMARY KEY)`, `CREATE TABLE goes (id int PRIMARY KEY)`, `CREATE TABLE dies (id int PRIMARY KEY)`)
	tables := f.tables(t, "stays", "goes", "dies")
	if _, err := f.source.EnsurePublication(t.Context(), "leat", tables, 0); err != nil {
		t.Fatal(err)
	}
	f.exec(t, `DROP TABLE dies`)
	if out, err := f.source.NotPublished(t.Context(), "leat", tables); err != nil || len(out) > 0 {
		t.Errorf("not published after a table was dropped: %v, %v", out, err)
	}
	f.exec(t, `ALTER PUBLICATION leat DROP TABLE goes`)
	if out, err := f.source.NotPublished(t.Context(), "leat", tables); err != nil || !slices.Equal(out, []uint32{f.table(t, "goes").OID}) {
		t.Errorf("not published after a table was taken out: %v, %v", out, err)
	}
}

func TestUpdateWouldFailInOnePublication(t *testing.T) {
	f := newFixture(t, `CREATE TABLE t (v int)`, `INSERT INTO t VALUES (1)`, `CREATE PUBLICATION careless FOR TABLE t`)
	_, err := f.conn.Exec(t.Context(), `UPDATE t SET v = 2`)
	var server *pgconn.PgError
	if !errors.As(err, &server) || server.Code != "55000" {
		t.Fatalf("the update that Leat avoids: %v", err)
	}
	pub, err := f.source.AdoptPublications(t.Context(), []string{"careless"}, f.tables(t, "t"))
	if err != nil || len(pub.Unsafe) != 1 {
		t.Errorf("adopted: %+v, %v", pub, err)
	}
}

func TestEnsurePublicationWithoutPrivilege(t *testing.T) {
	f := newFixture(t, `CREATE TABLE t (id int PRIMARY KEY)`)
	cfg := f.role(t, "")
	source, err := Open(t.Context(), cfg, f.database)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close(t.Context())
	_, err = source.EnsurePublication(t.Context(), "leat", f.tables(t, "t"), 0)
	e := Classify(err)
	if e.Code != CodePrerequisite || e.Class != Stop || e.SQLState != "42501" {
		t.Fatalf("error %+v", e)
	}
	// The hint is what an administrator runs; afterwards nothing is left to do.
	_, sql, _ := strings.Cut(e.Hint, "\n")
	f.exec(t, sql)
	if _, err := source.EnsurePublication(t.Context(), "leat", f.tables(t, "t"), 0); err != nil {
		t.Error(err)
	}
}

func TestAdoptPublications(t *testing.T) {
	f := newFixture(t, `CREATE TABLE a (id int PRIMARY KEY, secret text)`, `CREATE TABLE b (id int PRIMARY KEY)`, `CREATE TABLE c (id int PRIMARY KEY)`,
		`CREATE PUBLICATION two FOR TABLE b`)
	filtered := 0
	if f.source.Version >= 150000 {
		filtered = 1
		f.exec(t, `CREATE PUBLICATION one FOR TABLE a (id)`)
	} else {
		f.exec(t, `CREATE PUBLICATION one FOR TABLE a`)
	}
	pub, err := f.source.AdoptPublications(t.Context(), []string{"one", "two"}, f.tables(t, "*"))
	if err != nil {
		t.Fatal(err)
	}
	if len(pub.Missing) != 1 || pub.Missing[0].Name != "c" || len(pub.Filtered) != filtered || len(pub.Unsafe) != 0 {
		t.Errorf("adopted %+v", pub)
	}
	_, err = f.source.AdoptPublications(t.Context(), []string{"three"}, f.tables(t, "*"))
	if e := Classify(err); e.Class != Stop || !strings.Contains(e.Hint, `CREATE PUBLICATION "three" FOR TABLE`) {
		t.Errorf("missing publication: %v, hint %q", err, e.Hint)
	}
	f.exec(t, `CREATE PUBLICATION everything FOR ALL TABLES`)
	if _, err := f.source.EnsurePublication(t.Context(), "everything", nil, 0); err == nil {
		t.Error("a publication FOR ALL TABLES is altered")
	}
}

// TestNamesChangeWhileAPublicationDoes makes statements whose tables have other
// names since they were written: the session that follows writes them anew.
func TestNamesChangeWhileAPublicationDoes(t *testing.T) {
	f := newFixture(t, `CREATE TABLE a (id int PRIMARY KEY)`, `CREATE TABLE b (id int PRIMARY KEY)`, `CREATE PUBLICATION p FOR TABLE a`)
	for _, sql := range []string{`ALTER PUBLICATION p ADD TABLE ONLY a`, `ALTER PUBLICATION p DROP TABLE b`, `ALTER PUBLICATION p ADD TABLE ONLY c`} {
		var e *Error
		if err := runPublicationChanges(t.Context(), f.conn, publicationChanges{together: []string{sql}}, 0); !errors.As(err, &e) || e.Class != Object {
			t.Errorf("%s: %v", sql, err)
		}
	}
}
