package engine_test

import (
	"testing"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// TestBytesThatAreNoText replicates a database that takes any bytes for text: rows
// with such as are no UTF-8 are set aside, from the table and from the log, and the
// others go on.
func TestBytesThatAreNoText(t *testing.T) {
	const database = "bytes"
	server := pgserver.Own(t, pgserver.Options{})
	if err := server.Exec(t.Context(), "postgres", `CREATE DATABASE `+database+` ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0`); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, statement := range []string{`INSERT INTO a VALUES (1, 'loaded'), (2, E'\xe9')`, `INSERT INTO a VALUES (3, 'logged'), (4, E'\xff')`} {
		if err := server.Exec(t.Context(), database, `CREATE TABLE IF NOT EXISTS a (id int PRIMARY KEY, v text)`, statement); err != nil {
			t.Fatal(err)
		}
		if err := runOnce(t, pipelineIn(t, dir, server, database)); err != nil {
			t.Fatal(err)
		}
	}
	p := pipelineIn(t, dir, server, database)
	defer p.Close(t.Context())
	if got := rowsAt(t, p); got != "1loaded 3logged" {
		t.Errorf("the destination has %q", got)
	}
	if n, err := p.FailedCount(); n != 2 || err != nil {
		t.Errorf("%d rows are set aside: %v", n, err)
	}
}
