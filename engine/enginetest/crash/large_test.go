package crash

import (
	"bytes"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// TestKilledInsideLargeTransaction kills the program while it receives a
// transaction that is still in progress, and while it delivers it: with an
// aborted part and two changes of each row, it arrives once.
func TestKilledInsideLargeTransaction(t *testing.T) {
	t.Parallel()
	server := pgserver.Test(t, pgserver.Options{Settings: map[string]string{"logical_decoding_work_mem": "64kB"}})
	p := newPipeline(t, server, variant{"postgres", "hard", false, 1, false}, *seed+4000)
	p.catchUp()
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
	r := p.run("")
	exec(`BEGIN`)
	exec(`INSERT INTO stock SELECT n, repeat('x', 800), 0 FROM generate_series(1000000, 1011999) n`)
	exec(`SAVEPOINT s`)
	exec(`UPDATE stock SET pieces = 9 WHERE id >= 1000000`)
	exec(`ROLLBACK TO s`)
	p.awaitSpill(r)
	r.after(0, syscall.SIGKILL)
	if _, by := r.wait(); by != syscall.SIGKILL {
		t.Fatalf("leat run ended with signal %v", by)
	}
	r = p.run("delivery-written:2")
	p.awaitSpill(r)
	exec(`UPDATE stock SET pieces = pieces + 1 WHERE id >= 1006000`)
	exec(`COMMIT`)
	if _, by := r.wait(); by != syscall.SIGKILL {
		t.Fatalf("leat run ended with signal %v", by)
	}
	p.prove()
	if left := p.spilled(); len(left) > 0 {
		t.Errorf("files are left in the spill folder: %v", left)
	}
}

// spilled are the files of transactions that are not committed.
func (p *pipeline) spilled() []string {
	p.t.Helper()
	files, err := filepath.Glob(filepath.Join(filepath.Dir(p.file), ".leat", "*", "spill", "*", "*"))
	if err != nil {
		p.t.Fatal(err)
	}
	return files
}

// awaitSpill waits until the program has spilled since it was started.
func (p *pipeline) awaitSpill(r *process) {
	p.t.Helper()
	before := map[string]time.Time{}
	for _, name := range p.spilled() {
		if info, err := os.Stat(name); err == nil { // it may be removed just now
			before[name] = info.ModTime()
		}
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		for _, name := range p.spilled() {
			if info, err := os.Stat(name); err == nil && info.ModTime().After(before[name]) {
				return
			}
		}
		select {
		case <-tick.C:
		case <-r.ended:
			code, by := r.wait()
			p.t.Fatalf("leat run ended with code %d, signal %v", code, by)
		case <-timeout.C:
			p.t.Fatalf("nothing was spilled in %s", patience)
		}
	}
}

// set adds a line to the source section of the pipeline file.
func (p *pipeline) set(line string) {
	p.t.Helper()
	text, err := os.ReadFile(p.file)
	if err == nil {
		err = os.WriteFile(p.file, bytes.Replace(text, []byte("[source]\n"), []byte("[source]\n"+line+"\n"), 1), 0o600)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// TestKilledWithTextLog reads the random work through test_decoding.
func TestKilledWithTextLog(t *testing.T) {
	t.Parallel()
	p := newPipeline(t, pgserver.Test(t, pgserver.Options{}), variant{"postgres", "hard", true, 2, false}, *seed+5000)
	p.set(`decoder = "test_decoding"`)
	p.work()
	p.killAt("chunk-committed", 3)
	p.catchUp()
	p.pace(quickly)
	p.killAt("delivery-written", 3)
	p.killAt("destination-committed", 4)
	p.killAt("position-recorded", 4)
	p.prove()
}
