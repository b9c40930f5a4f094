package crash

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
	"github.com/leat-etl/leat/engine/enginetest/workload"
)

// TestKilledAmidObjects restarts objects of a running pipeline and of a stopped
// one, and makes tables, all while rows and columns change, and kills the
// program in the middle of what follows from it. -args -rounds 100 does so for
// longer.
func TestKilledAmidObjects(t *testing.T) {
	for i, v := range []variant{{"duckdb", "soft", false, 1, true}, {"postgres", "hard", false, 1, true}} {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			p := newPipeline(t, pgserver.Test(t, pgserver.Options{}), v, *seed+8000+100*int64(i))
			random := rand.New(rand.NewPCG(uint64(p.seed), 3))
			p.work()
			p.catchUp()
			for n := range *rounds { // at the pace for loads: a table that is altered all the time is not loaded
				switch n % 3 {
				case 0:
					p.makeTable(n)
					p.killAfter(300*time.Millisecond + time.Duration(random.Int64N(int64(time.Second))))
				case 1:
					p.restart(random)
					p.killAmidLoads(random, []string{"load-read", "load-joined", "chunk-written", "diverted-appended"}[random.IntN(4)])
				case 2:
					p.killWhileRestarting(random)
				}
			}
			p.prove()
			t.Logf("killed %v", p.killed)
		})
	}
}

// makeTable makes a table with rows, and changes them while the program does
// not run.
func (p *pipeline) makeTable(n int) {
	p.t.Helper()
	name := fmt.Sprintf("late_%d", n)
	p.late = append(p.late, name)
	for _, database := range p.databases {
		if err := p.source.Exec(p.t.Context(), database,
			fmt.Sprintf("CREATE TABLE %s (id int PRIMARY KEY, v text)", name),
			fmt.Sprintf("INSERT INTO %s SELECT i, 'v' || i FROM generate_series(1, 500) i", name),
			fmt.Sprintf("UPDATE %s SET v = 'changed' WHERE id %% 3 = 0", name),
			fmt.Sprintf("DELETE FROM %s WHERE id %% 7 = 0", name),
		); err != nil {
			p.t.Fatal(err)
		}
	}
}

// restart asks for a new historical load of a table, of an engine that runs or
// does not.
func (p *pipeline) restart(random *rand.Rand) {
	p.t.Helper()
	if code, by := p.askRestart(random).wait(); code != 0 || by != 0 {
		p.t.Fatalf("leat objects restart ended with code %d, signal %v", code, by)
	}
}

func (p *pipeline) askRestart(random *rand.Rand) *process {
	p.t.Helper()
	table := []string{stock, workload.Accounts, workload.Documents}[random.IntN(3)]
	return p.start("", "objects restart", "public."+table, "--yes")
}

// killAmidLoads kills the program at a failpoint of loads. The load of a small
// table can be over before a change of the table comes: then there is another one.
func (p *pipeline) killAmidLoads(random *rand.Rand, failpoint string) {
	p.t.Helper()
	r := p.run(failpoint + ":1")
	again, over := time.NewTicker(3*time.Second), time.NewTimer(patience)
	defer again.Stop()
	defer over.Stop()
	for r.runs(again.C, over.C) {
		p.askRestart(random).wait() // it fails where the program dies meanwhile
	}
	p.diesAt(r, failpoint, 1)
}

// killWhileRestarting restarts an object of the running program, and kills that
// while it loads.
func (p *pipeline) killWhileRestarting(random *rand.Rand) {
	p.t.Helper()
	answers := p.logged("has been running")
	r := p.run("")
	p.until(r, "the program listens", func() bool {
		p.start("", "status").wait()
		return p.logged("has been running") > answers
	})
	p.restart(random)
	r.after(time.Duration(random.Int64N(int64(800*time.Millisecond))), syscall.SIGKILL)
	if code, by := r.wait(); by != syscall.SIGKILL {
		p.t.Fatalf("leat run ended by itself with code %d, signal %v", code, by)
	}
	p.killed["while an object restarts"]++
}
