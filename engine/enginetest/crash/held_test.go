package crash

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
	"github.com/leat-etl/leat/engine/enginetest/workload"
)

// change puts text before the destination's section of the pipeline file,
// instead of what the last call has put there.
func (p *pipeline) change(text string) {
	p.t.Helper()
	const mark = "# of the test\n"
	file, err := os.ReadFile(p.file)
	if err != nil {
		p.t.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(file), "[destination]")
	before, _, _ = strings.Cut(before, mark)
	if err := os.WriteFile(p.file, []byte(before+mark+text+"\n[destination]"+rest), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// killRandomly kills the program n times at random moments, of which all are in
// the log.
func (p *pipeline) killRandomly(random *rand.Rand, n int) {
	p.t.Helper()
	for range n {
		p.killAfter(300*time.Millisecond + time.Duration(random.Int64N(int64(1200*time.Millisecond))))
	}
}

// killOnceHeld kills the program some time after it has held a table: the work
// alters one before long.
func (p *pipeline) killOnceHeld(later time.Duration) {
	p.t.Helper()
	before := p.logged(heldNow)
	r := p.run("")
	waited := time.NewTicker(50 * time.Millisecond)
	defer waited.Stop()
	for end := time.Now().Add(patience); p.logged(heldNow) == before; {
		select {
		case <-waited.C:
		case <-r.ended:
			p.t.Fatal("leat run ended by itself")
		}
		if time.Now().After(end) {
			p.t.Fatal("no table was held")
		}
	}
	r.after(later, syscall.SIGKILL)
	r.wait()
	p.killed["once held"]++
}

// heldNow is what the program says when it holds a table.
const heldNow = "a table has changed and is held"

// addToStock gives a table a column that rows of before and after have.
func (p *pipeline) addToStock(name string, n int) {
	p.t.Helper()
	sql := fmt.Sprintf("ALTER TABLE stock ADD COLUMN %[1]s_%[2]d int DEFAULT %[2]d; UPDATE stock SET %[1]s_%[2]d = id WHERE id %% 7 = %[2]d", name, n)
	if err := p.source.Exec(p.t.Context(), p.databases[0], sql); err != nil {
		p.t.Fatal(err)
	}
}

// resume lets tables that are held go on. It may itself be killed.
func (p *pipeline) resume(kill time.Duration) {
	p.t.Helper()
	r := p.start("", "objects resume", "public.*")
	if kill > 0 {
		r.after(kill, syscall.SIGKILL)
	}
	r.wait() // it refuses where none is held
}

// TestHeldTablesSurviveKills holds every table that changes, kills the program
// while their changes wait, while they are resumed and while what has waited is
// delivered. Every row is there in the end, as its last change left it.
func TestHeldTablesSurviveKills(t *testing.T) {
	for i, destination := range []string{"duckdb", "postgres"} {
		t.Run(destination, func(t *testing.T) {
			t.Parallel()
			p := newPipeline(t, pgserver.Test(t, pgserver.Options{}), variant{destination, "hard", false, 1, true}, *seed+7000+int64(i))
			p.change("[schema_changes]\ndefault = \"hold\"")
			p.catchUp()
			p.work()
			p.pace(quickly)
			random := rand.New(rand.NewPCG(uint64(p.seed), 4))
			for n := range 2 {
				p.addToStock("held", n)
				p.killOnceHeld(time.Duration(random.Int64N(int64(500 * time.Millisecond))))
				p.killRandomly(random, 1)
				p.resume(time.Duration(random.Int64N(int64(100 * time.Millisecond))))
				p.resume(0)
				p.killRandomly(random, 2)
			}
			p.rest()
			for p.catchUp(); p.held() > 0; p.catchUp() {
				p.resume(0)
			}
			p.prove()
			t.Logf("killed %v, tables held %d times", p.killed, p.logged(heldNow))
		})
	}
}

// held counts the tables that wait.
func (p *pipeline) held() int {
	p.t.Helper()
	before := p.logged("PAUSED")
	p.start("", "objects list").wait()
	return p.logged("PAUSED") - before
}

// TestWithheldColumnsSurviveKills keeps new columns back while the program is
// killed, then claims all of them, and is killed while their values come.
func TestWithheldColumnsSurviveKills(t *testing.T) {
	for i, destination := range []string{"duckdb", "postgres"} {
		t.Run(destination, func(t *testing.T) {
			t.Parallel()
			p := newPipeline(t, pgserver.Test(t, pgserver.Options{}), variant{destination, "hard", false, 1, true}, *seed+8000+int64(i))
			p.change("[schema_changes]\ncolumn_added = \"withhold\"")
			p.catchUp()
			p.work()
			p.pace(quickly)
			random := rand.New(rand.NewPCG(uint64(p.seed), 5))
			for n := range 3 {
				p.addToStock("withheld", n)
				p.killRandomly(random, 2)
			}
			p.pace(slowly)
			p.catchUp()
			p.pace(quickly)
			p.claimHalf()
			p.killRandomly(random, 3)
			p.rest()
			p.claimAll()
			p.killRandomly(random, 2)
			p.prove()
			if p.logged("new columns are withheld") == 0 {
				t.Error("nothing was withheld: the test proves nothing")
			}
			t.Logf("killed %v, columns withheld %d times", p.killed, p.logged("new columns are withheld"))
		})
	}
}

// claimHalf claims some columns that there are, and some that may come.
func (p *pipeline) claimHalf() {
	p.t.Helper()
	text := "[schema_changes]\ncolumn_added = \"withhold\"\n[objects.\"public.stock\"]\nclaim = [\"withheld_1\"]\n"
	for i, table := range workload.Tables {
		if i%2 == 0 {
			text += fmt.Sprintf("[objects.\"public.%s\"]\nclaim = [\"added_1\", \"added_2\", \"added_3\"]\n", table)
		}
	}
	p.change(text)
}

// claimAll claims every column.
func (p *pipeline) claimAll() {
	p.t.Helper()
	p.change("[schema_changes]\ncolumn_added = \"withhold\"\n[objects.\"public.*\"]\nclaim = [\"*\"]")
}
