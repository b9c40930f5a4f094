package crash

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// TestKeysSwappedWhileALoadIsInterrupted kills a load, swaps the keys of rows
// whose TOASTed values no log will tell, twice with another kill between, and
// wants every value with its own key.
func TestKeysSwappedWhileALoadIsInterrupted(t *testing.T) {
	t.Parallel()
	for _, v := range []variant{{"duckdb", "soft", false, 1, false}, {"postgres", "hard", false, 1, false}} {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			server := pgserver.Test(t, pgserver.Options{})
			p := newPipeline(t, server, v, *seed+6000)
			conn, err := pgx.Connect(t.Context(), server.DSN(p.databases[0]))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close(t.Context())
			exec := func(format string, args ...any) {
				t.Helper()
				if _, err := conn.Exec(t.Context(), fmt.Sprintf(format, args...)); err != nil {
					t.Fatal(err)
				}
			}
			exec(`CREATE TABLE a_swapped (id int PRIMARY KEY, body text)`) // first in the order of loading
			exec(`ALTER TABLE a_swapped ALTER body SET STORAGE EXTERNAL`)
			exec(`INSERT INTO a_swapped SELECT n, repeat(md5(n::text), 150) FROM generate_series(1, 100) n`)
			for _, chunks := range []int{2, 4} {
				r := p.run(fmt.Sprintf("chunk-committed:%d", chunks))
				if _, by := r.wait(); by != syscall.SIGKILL {
					t.Fatalf("leat run ended with signal %v", by)
				}
				for i := 1; i <= 40/chunks; i++ { // some rows once, some twice
					exec(`BEGIN; UPDATE a_swapped SET id = -1 WHERE id = %d; UPDATE a_swapped SET id = %[1]d WHERE id = %[2]d; UPDATE a_swapped SET id = %[2]d WHERE id = -1; COMMIT`, i, 101-i)
				}
				exec(`DELETE FROM a_swapped WHERE id = 30 + %d; UPDATE a_swapped SET id = 30 + %[1]d WHERE id = 70 + %[1]d`, chunks)
			}
			p.prove()
		})
	}
}

// TestRewrittenWhileALoadIsInterrupted kills a load, lets the table shrink and
// move into new storage, and kills the load that begins anew. What the
// destination has of the old blocks says nothing of the new ones.
func TestRewrittenWhileALoadIsInterrupted(t *testing.T) {
	t.Parallel()
	server := pgserver.Test(t, pgserver.Options{})
	p := newPipeline(t, server, variant{"postgres", "hard", false, 1, false}, *seed+6500)
	conn, err := pgx.Connect(t.Context(), server.DSN(p.databases[0]))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	exec := func(sql string) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec(`CREATE TABLE a_rewritten (id int PRIMARY KEY, body text)`) // first in the order of loading
	exec(`INSERT INTO a_rewritten SELECT n, repeat(md5(n::text), 10) FROM generate_series(1, 5000) n`)
	p.killAt("chunk-recorded", 8)
	exec(`DELETE FROM a_rewritten WHERE id <= 3000`)
	exec(`VACUUM FULL a_rewritten`)
	p.killAt("chunk-written", 1)
	p.prove()
}
