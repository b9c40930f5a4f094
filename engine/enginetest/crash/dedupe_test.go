package crash

import (
	"database/sql"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// TestRepeatedRowsSurviveKills leaves out rows that repeat others while the
// program is killed between remembering and committing: the first of each is
// there, and no other.
func TestRepeatedRowsSurviveKills(t *testing.T) {
	server := pgserver.Test(t, pgserver.Options{})
	p := newPipeline(t, server, variant{"duckdb", "hard", false, 1, false}, *seed+8500)
	text, err := os.ReadFile(p.file)
	if err == nil {
		chain := "[[transforms]]\nplugin = \"dedupe\"\ntables = [\"public.a_readings\"]\nconfig = { columns = [\"device\"], window = \"24h\" }\ngrants = { kv = \"10MB\" }\n[destination]"
		err = os.WriteFile(p.file, []byte(strings.Replace(string(text), "[destination]", chain, 1)), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), server.DSN(p.databases[0]))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	exec := func(statement string) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	exec(`CREATE TABLE a_readings (id int PRIMARY KEY, device text)`)
	exec(`INSERT INTO a_readings VALUES (-1, 'loaded'), (-2, 'loaded')`)
	p.catchUp()
	work := func(from int) {
		for n := from; n < from+10; n++ {
			exec(fmt.Sprintf(`INSERT INTO a_readings SELECT %d + n, 'device ' || n %% 20 FROM generate_series(1, 40) n`, 100*n))
		}
	}
	work(0)
	p.killAt("delivery-written", 1)
	exec(`DELETE FROM a_readings WHERE id IN (21, 22)`) // left out
	exec(`INSERT INTO a_readings VALUES (22, 'another')`)
	p.killAt("failed-stored", 1)
	work(10)
	p.killAt("delivery-written", 1)
	p.killAt("destination-committed", 1)
	exec(`UPDATE a_readings SET device = 'changed' WHERE id IN (7, 23)`)
	p.killAt("delivery-written", 1)
	p.catchUp()
	db, err := sql.Open("duckdb", p.warehouse+"?access_mode=READ_ONLY")
	if err != nil {
		t.Fatal(err)
	}
	var got string
	err = db.QueryRowContext(t.Context(), `SELECT count(*) || ' ' || count(*) FILTER (WHERE id BETWEEN 1 AND 20) || ' ' || string_agg(id || device, ' ' ORDER BY id) FILTER (WHERE id < 0 OR id > 20 OR device = 'changed') FROM a_readings`).Scan(&got)
	db.Close()
	if want := "23 20 -2loaded -1loaded 7changed 22another"; err != nil || got != want {
		t.Errorf("the destination has %q, %v; want %q", got, err, want)
	}
	if code, _ := p.start("", "verify").wait(); code != 0 {
		t.Errorf("leat verify ended with code %d", code)
	}
}
