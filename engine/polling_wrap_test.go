package engine_test

import (
	"fmt"
	"testing"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// TestXminOverWraparound reads in mode xmin from a server whose transaction
// numbers pass 2^32 between two runs: old rows carry greater 32-bit numbers
// than new ones.
func TestXminOverWraparound(t *testing.T) {
	version, err := pgserver.Resettable()
	if err != nil {
		t.Fatal(err)
	}
	server := pgserver.Own(t, pgserver.Options{Version: version, Settings: map[string]string{"autovacuum": "off"}})
	p := polledOn(t, server, `CREATE TABLE a (id int PRIMARY KEY, v text)`, `CREATE TABLE keyless (v text)`,
		`INSERT INTO a SELECT n, 'x' FROM generate_series(1, 3) n`)
	next := func(epoch, xid uint32) {
		t.Helper()
		p.close()
		for _, database := range []string{p.database, "postgres", "template1"} {
			if err := server.Exec(t.Context(), database, `VACUUM FREEZE`); err != nil {
				t.Fatal(err)
			}
		}
		if err := server.ResetTransactions(t.Context(), epoch, xid); err != nil {
			t.Fatal(err)
		}
	}
	rows := func(want, keyless string) {
		t.Helper()
		p.mustRun()
		p.expect(want)
		if got := p.ask(`SELECT string_agg(v, ' ' ORDER BY v) FROM keyless`); got != keyless {
			t.Errorf("keyless has %q, want %q", got, keyless)
		}
	}
	for _, xid := range []uint32{3 << 29, 6 << 29, 1<<32 - 1<<20} { // each less than 2^31 from the one before
		next(0, xid)
	}
	p.exec(`INSERT INTO keyless VALUES ('x')`, `INSERT INTO a VALUES (4, 'late')`, `INSERT INTO keyless VALUES ('late')`)
	p.open(xminMode, "")
	rows("1x 2x 3x 4late", "late x")
	next(1, 1<<20)
	p.exec(`UPDATE a SET v = 'wrapped' WHERE id IN (1, 4)`, `INSERT INTO a VALUES (5, 'new')`, `INSERT INTO keyless VALUES ('new')`)
	p.open(xminMode, "")
	rows("1wrapped 2x 3x 4wrapped 5new", "late new x")
	p.exec(`UPDATE a SET v = 'again' WHERE id = 2`)
	rows("1wrapped 2again 3x 4wrapped 5new", "late new x")
	// Row 3 was frozen: its bits look like a number after 2^32, too.
	if got := p.ask(fmt.Sprintf(`SELECT count(*) FROM a WHERE id <> 3 AND __leat_xmin > %d`, uint64(1)<<32)); got != "4" {
		t.Errorf("%s rows have a number beyond 2^32, want 4", got)
	}
}
