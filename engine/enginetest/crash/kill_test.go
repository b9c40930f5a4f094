package crash

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// loading are the failpoints of a historical load, in order; the others are
// those of the log.
var loading = []string{"slot-intent", "slot-created", "load-planned", "chunk-written", "chunk-committed", "chunk-recorded",
	"load-snapshot", "diverted-appended", "diverted-synced", "diverted-applied", "load-read", "load-joined"}

// variants are those that are killed everywhere. Those at even places and those
// at odd ones have a destination each.
var variants = []variant{
	{"duckdb", "soft", true, 2, true},
	{"postgres", "hard", true, 2, true},
	{"duckdb", "hard", false, 2, true},
	{"postgres", "soft", false, 1, false},
}

// killedAt parts the failpoints, by the seed, among the variants of one
// destination.
func killedAt(variant int, failpoint string) bool {
	at := slices.Index(engine.FailPoints, failpoint)
	of := int(*seed) + at
	if variant%2 == 1 {
		of = int(*seed)/2 + at/2
	}
	return of%2 == variant/2
}

// TestKilledAnywhere kills the program at every failpoint, with each of the
// destinations, and at random moments, in a historical load and in the log.
func TestKilledAnywhere(t *testing.T) {
	for i, v := range variants {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			p := newPipeline(t, pgserver.Test(t, pgserver.Options{}), v, *seed+100*int64(i))
			p.work()
			random := rand.New(rand.NewPCG(uint64(p.seed), 3))
			for _, name := range loading {
				if !killedAt(i, name) {
					continue
				}
				n := 1 + random.IntN(3)
				switch name {
				case "slot-intent":
					n = 1 + random.IntN(v.databases)
				case "slot-created", "load-planned":
					n = 1 // whatever was killed before, one database at least is still to come here
				case "load-snapshot", "load-read", "load-joined":
					n = 1 // what is left may be no more than one load
				}
				p.killAt(name, n)
			}
			for range 3 {
				p.killAfter(300*time.Millisecond + time.Duration(random.Int64N(int64(1200*time.Millisecond))))
			}
			if n := p.logged("historical load finished"); n > 0 {
				t.Logf("%d databases were loaded before the last kill that was meant for the load", n)
			}
			p.catchUp()
			p.pace(quickly)
			for _, at := range random.Perm(len(engine.FailPoints)) {
				if name := engine.FailPoints[at]; !slices.Contains(loading, name) && !byQuery(name) && killedAt(i, name) {
					if name == "idle-recorded" { // reached when there is nothing to do
						p.pace(time.Hour)
						p.killAt(name, 1)
						p.pace(quickly)
						continue
					}
					p.killAt(name, 1+random.IntN(8))
				}
			}
			for range 3 {
				p.killAfter(300*time.Millisecond + time.Duration(random.Int64N(int64(1500*time.Millisecond))))
			}
			p.prove()
			for _, name := range engine.FailPoints {
				if p.killed[name] == 0 && !byQuery(name) && killedAt(i, name) {
					t.Errorf("never killed at %s", name)
				}
			}
			t.Logf("killed %v", p.killed)
		})
	}
}

// byQuery says whether only a pipeline that reads by queries reaches a
// failpoint.
func byQuery(name string) bool {
	return strings.HasPrefix(name, "query-") || name == "deletes-written"
}

// killAt lets the program die the n-th time that it reaches a failpoint.
func (p *pipeline) killAt(failpoint string, n int) {
	p.t.Helper()
	p.diesAt(p.run(fmt.Sprintf("%s:%d", failpoint, n)), failpoint, n)
}

// diesAt waits until a process that was started so dies at its failpoint.
func (p *pipeline) diesAt(r *process, failpoint string, n int) {
	p.t.Helper()
	started := time.Now()
	at := fmt.Sprintf("%s:%d", failpoint, n)
	if code, by := r.wait(); by != syscall.SIGKILL {
		p.t.Fatalf("leat run was to die at %s and ended with code %d, signal %v", at, code, by)
	}
	p.killed[failpoint]++
	p.t.Logf("killed at %s after %s", at, time.Since(started).Round(time.Millisecond))
}

// killAfter kills the program after a while.
func (p *pipeline) killAfter(d time.Duration) {
	p.t.Helper()
	r := p.run("")
	r.after(d, syscall.SIGKILL)
	if code, by := r.wait(); by != syscall.SIGKILL {
		p.t.Fatalf("leat run ended by itself with code %d, signal %v", code, by)
	}
	p.killed["at random"]++
}
