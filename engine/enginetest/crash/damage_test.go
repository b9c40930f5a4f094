package crash

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// damages are what the comparison has to find, each in a table of its own
// state.
var damages = []struct{ table, sql, found string }{
	{"stock", `DELETE FROM stock WHERE id = 7`, `missing `},
	{"stock", `UPDATE stock SET pieces = pieces + 1 WHERE id = 9`, `pieces is "0" at the source, "1" at the destination`},
	{"stock", `INSERT INTO stock (id, filler, pieces) VALUES (-5, 'more', 0)`, `extra `},
	{"wl_journal", `DELETE FROM wl_journal WHERE entry = 'twice'`, `missing `},
	{"wl_journal", `INSERT INTO wl_journal SELECT * FROM wl_journal WHERE entry = 'twice' LIMIT 1`, `extra `},
}

// TestDamageIsFound shows that what the other tests end with would fail: a row
// is deleted, doubled, changed or added at the destination.
func TestDamageIsFound(t *testing.T) {
	for i, v := range []variant{{"duckdb", "hard", false, 1, false}, {"postgres", "hard", false, 1, false}} {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			p := newPipeline(t, pgserver.Test(t, pgserver.Options{}), v, *seed+3000+100*int64(i))
			if err := p.source.Exec(t.Context(), p.databases[0],
				`INSERT INTO wl_journal (entry) VALUES ('twice'), ('twice')`,
				`TRUNCATE wl_documents`, // a table without rows has to be there as well
			); err != nil {
				t.Fatal(err)
			}
			p.prove()
			for _, d := range damages {
				p.damage(`CREATE TABLE kept AS SELECT * FROM `+d.table, d.sql)
				faults := p.faults()
				if len(faults) != 1 || !strings.HasPrefix(faults[0], d.table+":") || !strings.Contains(faults[0], d.found) {
					t.Errorf("after %s the comparison finds %q", d.sql, faults)
				}
				const different = 7
				if code, _ := p.start("", "verify").wait(); code != different {
					t.Errorf("after %s leat verify ends with code %d", d.sql, code)
				}
				p.damage(`DELETE FROM `+d.table, fmt.Sprintf(`INSERT INTO %s SELECT * FROM kept`, d.table), `DROP TABLE kept`)
			}
			p.prove()
		})
	}
}

// damage runs statements at the destination.
func (p *pipeline) damage(statements ...string) {
	p.t.Helper()
	if p.destination == "postgres" {
		if err := p.source.Exec(p.t.Context(), p.warehouse, statements...); err != nil {
			p.t.Fatal(err)
		}
		return
	}
	db, err := sql.Open("duckdb", p.warehouse)
	if err != nil {
		p.t.Fatal(err)
	}
	defer db.Close()
	for _, s := range statements {
		if _, err := db.ExecContext(p.t.Context(), s); err != nil {
			p.t.Fatalf("%s: %v", s, err)
		}
	}
}
