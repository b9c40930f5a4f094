package postgres

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// TestReadersKeepTheOrderOfRows looks at what the connections are set to that
// read tables: a second read in one snapshot has to bring rows as the first did.
func TestReadersKeepTheOrderOfRows(t *testing.T) {
	f := newFixture(t, `CREATE TABLE t (id int)`)
	f.exec(t, `ALTER DATABASE `+quoteIdent(f.database)+` SET max_parallel_workers_per_gather = 4`)
	reader, err := f.takeSnapshot(t).Join(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close(t.Context())
	session, err := f.source.OpenSession(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close(t.Context())
	for what, conn := range map[string]*pgconn.PgConn{"chunks": reader.conn, "queries": session.reader.conn} {
		for setting, want := range map[string]string{"synchronize_seqscans": "off", "max_parallel_workers_per_gather": "0"} {
			results, err := conn.Exec(t.Context(), "SHOW "+setting).ReadAll()
			if err != nil {
				t.Fatal(err)
			}
			if got := string(results[0].Rows[0][0]); got != want {
				t.Errorf("%s are read with %s = %s, want %s", what, setting, got, want)
			}
		}
	}
	if got := readerSettings(90500); len(got) != 1 {
		t.Errorf("PostgreSQL 9.5 is sent %v", got)
	}
}

// TestPublicationOfManyTables makes and changes publications of more tables than
// one transaction may lock, while those that move from one publication to the
// other do so in one transaction.
func TestPublicationOfManyTables(t *testing.T) {
	const n = publishedAtOnce + 200
	f := newFixture(t, `DO $$ BEGIN FOR i IN 1..1200 LOOP EXECUTE format('CREATE TABLE t_%s (id int PRIMARY KEY)', i); END LOOP; END $$`)
	tables := f.tables(t, "t_*")
	if len(tables) != n {
		t.Fatalf("%d tables", len(tables))
	}
	count := func(name string, want int) {
		t.Helper()
		var got int
		if err := f.conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_publication_tables WHERE pubname = $1`, name).Scan(&got); err != nil || got != want {
			t.Errorf("publication %s has %d tables, want %d: %v", name, got, want, err)
		}
	}
	if _, err := f.source.EnsurePublication(t.Context(), "many", tables, 0); err != nil {
		t.Fatal(err)
	}
	count("many", n)
	f.exec(t, `ALTER TABLE t_1 REPLICA IDENTITY NOTHING`)
	tables = f.tables(t, "t_*")
	var changes publicationChanges
	err := f.source.do(t.Context(), func(conn *pgx.Conn) (err error) {
		changes, err = f.source.publicationChanges(t.Context(), conn, "many", tables, nil)
		return err
	})
	if err != nil || len(changes.together) != 2 || len(changes.apart) != 0 {
		t.Errorf("a table that moves takes %+v, %v", changes, err)
	}
	if _, err := f.source.EnsurePublication(t.Context(), "many", tables, 0); err != nil {
		t.Fatal(err)
	}
	count("many", n-1)
	count("many"+keylessSuffix, 1)
	if _, err := f.source.EnsurePublication(t.Context(), "many", nil, 0); err != nil {
		t.Fatal(err)
	}
	count("many", 0)
	count("many"+keylessSuffix, 0)
}
