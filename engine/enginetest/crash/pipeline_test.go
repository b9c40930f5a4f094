package crash

import (
	"bytes"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leat-etl/leat/engine/enginetest/compare"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
	"github.com/leat-etl/leat/engine/enginetest/workload"

	_ "github.com/duckdb/duckdb-go/v2"
)

// variant is a way to run a pipeline.
type variant struct {
	destination string // the plugin
	deletes     string
	merge       bool
	databases   int
	// ddl alters tables.
	ddl bool
}

func (v variant) String() string {
	together := "apart"
	if v.merge {
		together = "merged"
	}
	return fmt.Sprintf("%s_%s_%d_%s", v.destination, v.deletes, v.databases, together)
}

// arrays is what DuckDB makes of arrays: lists where deletes are hard, for
// which the work draws no arrays of several dimensions, and text elsewhere.
func (v variant) arrays() string {
	if v.destination == "duckdb" && v.deletes == "hard" {
		return "list"
	}
	return "text"
}

// captures says whether event triggers tell the changes of tables.
func (v variant) captures() bool { return v.ddl && !v.merge && v.databases > 1 }

// pipeline is a source under work, a pipeline file and a destination.
type pipeline struct {
	variant
	t         *testing.T
	seed      int64
	source    *pgserver.Server
	databases []string
	writers   []*writer
	file      string
	log       string
	pause     time.Duration // of the writers between two transactions
	killed    map[string]int
	warehouse string   // file of DuckDB, or database of the source's server
	late      []string // tables that came while the work went on
}

// newPipeline fills the source and writes the pipeline file. The writers do
// not work yet.
func newPipeline(t *testing.T, source *pgserver.Server, v variant, seed int64) *pipeline {
	t.Helper()
	dir := t.TempDir()
	p := &pipeline{variant: v, t: t, seed: seed, source: source, pause: slowly, killed: map[string]int{}, file: filepath.Join(dir, "pipeline.toml"), log: filepath.Join(dir, "leat.log")}
	for i := range v.databases {
		name := source.Database(t)
		p.databases = append(p.databases, name)
		p.writers = append(p.writers, newWriter(t, source.DSN(name), seed+int64(i), v))
	}
	p.warehouse = filepath.Join(dir, "warehouse.duckdb")
	config := fmt.Sprintf("path = %q, threads = 1, arrays = %q", p.warehouse, v.arrays())
	if v.destination == "postgres" {
		p.warehouse = source.Database(t)
		config = fmt.Sprintf("host = %q, port = %d, user = %q, password = %q, database = %q", source.Host(), source.Port(), source.User(), source.Password(), p.warehouse)
	}
	names := fmt.Sprintf("database = %q", p.databases[0])
	if v.databases > 1 {
		names = fmt.Sprintf(`databases = ["%s"]`, strings.Join(p.databases, `", "`))
	}
	text := fmt.Sprintf(`name = "crash"
[source]
host = %q
port = %d
user = %q
password = %q
%s
merge_tables = %v
ddl_capture = %v
heartbeat = "1s"
[destination]
plugin = %q
config = { %s, deletes = %q }
[engine]
chunk_bytes = "64kB"
batch_bytes = "128kB"
flush_interval = "20ms"
`, source.Host(), source.Port(), source.User(), source.Password(), names, v.merge, v.captures(), v.destination, config, v.deletes)
	if err := os.WriteFile(p.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.report)
	return p
}

// report prints what is known of a failed test.
func (p *pipeline) report() {
	for _, w := range p.writers {
		if err := w.end(); err != nil {
			p.t.Error(err)
		}
	}
	if !p.t.Failed() {
		return
	}
	p.t.Logf("seed %d, %s", *seed, p.variant)
	log, _ := os.ReadFile(p.log) // there may be none yet
	const most = 20_000
	text, stacks, _ := bytes.Cut(log, []byte("SIGQUIT: quit")) // of a process that hung
	p.t.Logf("the end of leat's log:\n%s", text[max(0, len(text)-most):])
	for stack := range bytes.SplitSeq(stacks, []byte("\n\n")) {
		if bytes.Contains(stack, []byte("leat-etl/leat/engine")) {
			p.t.Logf("%s", stack)
		}
	}
	for i, w := range p.writers {
		if text := w.work.Log(); len(text) > most {
			p.t.Logf("database %s: %s", p.databases[i], text[len(text)-most:])
		} else {
			p.t.Logf("database %s: %s", p.databases[i], text)
		}
	}
}

// work lets the writers begin.
func (p *pipeline) work() {
	for _, w := range p.writers {
		w.begin()
	}
}

// pace sets the writers' pause between two transactions.
func (p *pipeline) pace(pause time.Duration) {
	p.t.Helper()
	p.pause = pause
	p.slowDown(1)
}

// slowDown makes the pause so many times as long until pace is called.
func (p *pipeline) slowDown(times int) {
	p.t.Helper()
	pause := p.pause * time.Duration(times)
	for _, w := range p.writers {
		if w.stop == nil {
			continue // it does not work
		}
		select {
		case w.pace <- pause:
		case err := <-w.done:
			w.stop = nil
			p.t.Fatalf("the work has ended: %v", err)
		}
	}
}

// rest ends the writers' work.
func (p *pipeline) rest() {
	p.t.Helper()
	for _, w := range p.writers {
		if err := w.end(); err != nil {
			p.t.Fatal(err)
		}
	}
}

// logged counts how often the program has logged a text.
func (p *pipeline) logged(text string) int {
	p.t.Helper()
	log, err := os.ReadFile(p.log)
	if err != nil && !os.IsNotExist(err) {
		p.t.Fatal(err)
	}
	return strings.Count(string(log), text)
}

// catchUp runs the program until everything is at the destination.
func (p *pipeline) catchUp() {
	p.t.Helper()
	started := time.Now()
	if code, by := p.run("", "--until-caught-up").wait(); code != 0 || by != 0 {
		p.t.Fatalf("leat run --until-caught-up ended with code %d, signal %v", code, by)
	}
	p.t.Logf("caught up after %s", time.Since(started).Round(time.Millisecond))
}

// prove ends the work, lets the program catch up and compares every row.
func (p *pipeline) prove() {
	p.t.Helper()
	p.rest()
	p.catchUp()
	for _, fault := range p.faults() {
		p.t.Error(fault)
	}
	if code, _ := p.start("", "verify").wait(); code != 0 {
		p.t.Errorf("leat verify ended with code %d", code)
	}
}

// faults compares every table.
func (p *pipeline) faults() []string {
	p.t.Helper()
	var found []string
	rows := 0
	list, done := p.comparisons()
	defer done()
	for _, c := range list {
		o := compare.Options{IgnorePrefix: "__leat_", Kept: p.ddl}
		if p.deletes == "soft" {
			o.DeletedColumn = "__leat_marked_deleted"
		}
		if p.merge {
			o.DatabaseColumn = "__leat_database_name"
		}
		r, err := compare.Tables(p.t.Context(), c.destination, o, c.sources...)
		if err != nil {
			p.t.Fatal(err)
		}
		rows += r.SourceRows
		if !r.Equal() {
			found = append(found, fmt.Sprintf("%s: %s", c.name, r))
		}
	}
	if rows < stockRows {
		p.t.Errorf("the source has %d rows: the comparison proves little", rows)
	}
	return found
}

type comparison struct {
	name        string
	destination compare.Destination
	sources     []compare.Source
}

// comparisons are the tables of the destination with what belongs in them,
// until done is called.
func (p *pipeline) comparisons() (out []comparison, done func()) {
	p.t.Helper()
	done = func() {}
	open := func(table string) compare.Destination {
		return compare.Postgres(p.source.DSN(p.warehouse), `public."`+table+`"`)
	}
	if p.destination == "duckdb" {
		db, err := sql.Open("duckdb", p.warehouse+"?access_mode=READ_ONLY")
		if err != nil {
			p.t.Fatal(err)
		}
		done = func() { db.Close() }
		open = func(table string) compare.Destination { return compare.DuckDB(db, `main."`+table+`"`) }
	}
	for _, table := range slices.Concat([]string{stock}, workload.Tables, p.late) {
		var together []compare.Source
		for _, database := range p.databases {
			source := compare.Source{DSN: p.source.DSN(database), Table: table, Database: database}
			if p.merge {
				together = append(together, source)
				continue
			}
			name := table
			if len(p.databases) > 1 {
				name = database + "_" + table
			}
			out = append(out, comparison{name, open(name), []compare.Source{source}})
		}
		if p.merge {
			out = append(out, comparison{table, open(table), together})
		}
	}
	return out, done
}
