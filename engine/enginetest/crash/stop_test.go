package crash

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// TestStoppedInOrder ends the program with SIGTERM again and again, in a
// historical load and in the log: it must drain, say nothing of a failure and
// lose nothing.
func TestStoppedInOrder(t *testing.T) {
	t.Parallel()
	p := newPipeline(t, pgserver.Test(t, pgserver.Options{}), variant{"duckdb", "soft", false, 1, false}, *seed+1000)
	p.work()
	random := rand.New(rand.NewPCG(uint64(p.seed), 3))
	for i := range 6 {
		if i == 3 {
			p.catchUp()
			p.pace(quickly)
		}
		r := p.run("")
		select {
		case <-r.spoke:
		case <-r.ended:
		}
		r.after(time.Duration(random.Int64N(int64(1500*time.Millisecond))), syscall.SIGTERM)
		if code, by := r.wait(); code != 0 || by != 0 {
			t.Fatalf("leat run ended with code %d, signal %v, after SIGTERM", code, by)
		}
	}
	p.prove()
}

// TestServerKilled kills the server that is source and destination while the
// program runs: it has to connect again by itself.
func TestServerKilled(t *testing.T) {
	t.Parallel()
	server := pgserver.Own(t, pgserver.Options{})
	p := newPipeline(t, server, variant{"postgres", "soft", true, 2, false}, *seed+2000)
	p.work()
	p.catchUp()
	p.pace(quickly)
	random := rand.New(rand.NewPCG(uint64(p.seed), 3))
	r := p.run("")
	p.arrives(r, -1)
	for range 4 {
		timer := time.NewTimer(500*time.Millisecond + time.Duration(random.Int64N(int64(2*time.Second))))
		select {
		case <-timer.C:
		case <-r.ended:
			code, by := r.wait()
			t.Fatalf("leat run ended with code %d, signal %v, while its server died", code, by)
		}
		if err := server.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := server.StartAgain(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	p.rest()
	p.arrives(r, -2)
	r.after(0, syscall.SIGTERM)
	if code, by := r.wait(); code != 0 || by != 0 {
		t.Fatalf("leat run ended with code %d, signal %v, after SIGTERM", code, by)
	}
	p.prove()
}

// arrives waits until a row that is written now is at the destination, a
// database of the same server.
func (p *pipeline) arrives(r *process, id int) {
	p.t.Helper()
	for _, database := range p.databases {
		if err := p.source.Exec(p.t.Context(), database, fmt.Sprintf(`INSERT INTO stock VALUES (%d, 'mark', 0)`, id)); err != nil {
			p.t.Fatal(err)
		}
	}
	conn, err := pgx.Connect(p.t.Context(), p.source.DSN(p.warehouse))
	if err != nil {
		p.t.Fatal(err)
	}
	defer conn.Close(p.t.Context())
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		var n int
		if err := conn.QueryRow(p.t.Context(), `SELECT count(*) FROM public.stock WHERE id = $1`, id).Scan(&n); err != nil {
			p.t.Fatal(err)
		}
		if n == len(p.databases) {
			return
		}
		select {
		case <-tick.C:
		case <-r.ended:
			code, by := r.wait()
			p.t.Fatalf("leat run ended with code %d, signal %v", code, by)
		case <-timeout.C:
			r.showStacks()
			p.t.Fatalf("the rows of %d of %d databases arrived in %s", n, len(p.databases), patience)
		}
	}
}
