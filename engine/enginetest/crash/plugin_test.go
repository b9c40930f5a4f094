package crash

import (
	"syscall"
	"testing"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// TestPausedTableSurvivesKills kills the program while a plugin comes to no end
// on one table, in the load and in the log, and once it is mended: other tables
// go on, and every row of that one is there in the end.
func TestPausedTableSurvivesKills(t *testing.T) {
	for _, v := range []variant{{"duckdb", "soft", false, 1, false}, {"postgres", "hard", false, 1, false}} {
		t.Run(v.String(), func(t *testing.T) {
			p := newPipeline(t, pgserver.Test(t, pgserver.Options{}), v, *seed+7500)
			p.buildRefuser()
			p.configure("Loop = true")
			p.work()
			p.killAt("chunk-committed", 3) // of the others
			p.killAt("diverted-synced", 4)
			p.runPaused()
			p.configure("Loop = false") // mended in the middle of its load
			p.killAt("chunk-committed", 2)
			p.catchUp()
			p.configure("Loop = true") // and broken again in the log
			for _, name := range []string{"paused", "diverted-appended", "diverted-synced", "destination-committed"} {
				p.killAt(name, 1)
			}
			p.runPaused()
			p.configure("Loop = false")
			p.killAt("diverted-applied", 1)
			p.catchUp()
			// Rows that came one by one were set aside before the table was paused.
			if code, by := p.start("", "failed replay", "--all").wait(); code != 0 || by != 0 {
				t.Errorf("leat failed replay ended with code %d, signal %v", code, by)
			}
			p.prove()
		})
	}
}

// runPaused runs until all is at the destination but the table that is paused.
func (p *pipeline) runPaused() {
	p.t.Helper()
	if code, by := p.run("", "--until-caught-up").wait(); code != 5 || by != syscall.Signal(0) {
		p.t.Fatalf("leat run --until-caught-up ended with code %d, signal %v, want 5: a plugin fails on a table", code, by)
	}
}
