package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// site is a source database with a role of its own and a pipeline file for it.
type site struct {
	t        *testing.T
	server   *pgserver.Server
	database string
	role     string
	dir      string
	file     string
	// What the pipeline file says; write writes it.
	host, password, source string
	keys                   string // further lines of [source]
	port                   int
	plugin, config, extra  string
	patience               time.Duration // with one command; 0 is a minute
}

const rolePassword = "the role's secret"

// newSite makes a database with two tables, grants a role what leat init
// prints, and writes a pipeline into DuckDB.
func newSite(t *testing.T, server *pgserver.Server) *site {
	t.Helper()
	s := &site{t: t, server: server, database: server.Database(t), dir: t.TempDir()}
	s.role = "leat_" + s.database
	s.exec(
		"CREATE TABLE orders (id integer PRIMARY KEY, note text, total numeric(10,2), flags text[])",
		"INSERT INTO orders SELECT i, 'order ' || i, i * 1.25, ARRAY['a', i::text] FROM generate_series(1, 500) i",
		"CREATE TABLE customers (id integer PRIMARY KEY, email text)",
		"INSERT INTO customers SELECT i, 'c' || i || '@example.com' FROM generate_series(1, 100) i",
		fmt.Sprintf("CREATE ROLE %s LOGIN REPLICATION PASSWORD '%s'", s.role, strings.ReplaceAll(rolePassword, "'", "''")),
		fmt.Sprintf("GRANT CONNECT, CREATE ON DATABASE %s TO %s", s.database, s.role),
		fmt.Sprintf("ALTER TABLE orders OWNER TO %[1]s; ALTER TABLE customers OWNER TO %[1]s", s.role),
	)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_ = server.Exec(ctx, "postgres", "DROP ROLE IF EXISTS "+s.role) // the server goes away with the test, too
	})
	s.host, s.port, s.password, s.source = server.Host(), server.Port(), rolePassword, s.database
	s.plugin, s.config = "duckdb", fmt.Sprintf("path = %q", filepath.Join(s.dir, "warehouse.duckdb"))
	s.write()
	return s
}

// write writes the pipeline file from the fields.
func (s *site) write() {
	s.t.Helper()
	s.file = filepath.Join(s.dir, "shop.toml")
	text := fmt.Sprintf(`name = "shop"
[source]
host = %q
port = %d
user = %q
password = { file = "password" }
database = %q
heartbeat = "1s"
%s
[source.tls]
mode = "disable"
[engine]
flush_interval = "50ms"
%s
[destination]
plugin = %q
config = { %s }
`, s.host, s.port, s.role, s.source, s.keys, s.extra, s.plugin, s.config)
	for name, text := range map[string]string{"shop.toml": text, "password": s.password + "\n"} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
}

// exec runs statements at the source as the superuser.
func (s *site) exec(statements ...string) {
	s.t.Helper()
	if err := s.server.Exec(s.t.Context(), s.database, statements...); err != nil {
		s.t.Fatal(err)
	}
}

// result is one run of leat.
type result struct {
	code     int
	out, err string
}

// leat runs a command line to its end.
func (s *site) leat(args ...string) result {
	s.t.Helper()
	var out, errOut bytes.Buffer
	ctx, cancel := context.WithTimeout(s.t.Context(), cmp.Or(s.patience, time.Minute))
	defer cancel()
	r := result{code: execute(ctx, args, &out, &errOut)}
	r.out, r.err = out.String(), errOut.String()
	if strings.Contains(r.out+r.err, rolePassword) {
		s.t.Errorf("leat %s: printed the password", args[0])
	}
	if strings.Contains(r.out+r.err, "code 0") || strings.Contains(r.out+r.err, "SQLSTATE \n") {
		s.t.Errorf("leat %s: printed a code that there is not\n%s%s", args[0], r.out, r.err)
	}
	if ctx.Err() != nil {
		s.t.Errorf("leat %s: did not end\n%s%s", args[0], r.out, r.err)
	}
	return r
}

// expect checks the exit code and that everything is said, on either output.
func (s *site) expect(r result, code int, says ...string) {
	s.t.Helper()
	if r.code != code {
		s.t.Errorf("exit code %d, want %d\n%s%s", r.code, code, r.out, r.err)
		return
	}
	for _, want := range says {
		if !strings.Contains(r.out+r.err, want) {
			s.t.Errorf("does not say %q:\n%s%s", want, r.out, r.err)
		}
	}
}

// run is leat run --until-caught-up.
func (s *site) run() result {
	s.t.Helper()
	return s.leat("run", "--quiet", "--until-caught-up", s.file)
}

// mended proves that nothing was lost: the pipeline catches up, and verify
// finds both sides equal.
func (s *site) mended() {
	s.t.Helper()
	r := s.leat("run", "--until-caught-up", s.file)
	defer func() {
		if s.t.Failed() {
			s.t.Logf("the run said:\n%s%s", r.out, r.err)
		}
	}()
	s.expect(r, exitOK)
	s.expect(s.leat("verify", s.file), exitOK, "source and destination are equal")
}

// process is a leat that runs until it is stopped.
type process struct {
	s      *site
	out    *transcript
	cancel context.CancelFunc
	code   chan int
}

// start runs leat run beside the test.
func (s *site) start() *process {
	s.t.Helper()
	return s.begin("run", "--quiet", s.file)
}

// begin runs a command line beside the test.
func (s *site) begin(args ...string) *process {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	p := &process{s: s, out: newTranscript(), cancel: cancel, code: make(chan int, 1)}
	go func() {
		p.code <- execute(ctx, args, p.out, p.out)
		p.out.end()
	}()
	s.t.Cleanup(func() {
		cancel()
		if s.t.Failed() {
			s.t.Logf("leat %s said:\n%s", strings.Join(args, " "), p.out)
		}
	})
	return p
}

// await asks the running pipeline's destination until the answer holds a text.
func (s *site) await(sql, want string) {
	s.t.Helper()
	var r result
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		if r = s.leat("query", s.file, sql); r.code == exitOK && strings.Contains(r.out, "\n"+want) {
			return
		}
		runtime.Gosched()
	}
	s.t.Fatalf("%s: never %q\n%s%s", sql, want, r.out, r.err)
}

// listens waits until other verbs reach the running pipeline.
func (p *process) listens() {
	p.s.t.Helper()
	p.shows("has been running")
}

// shows waits until leat status of the running pipeline says something.
func (p *process) shows(text string) {
	p.s.t.Helper()
	var r result
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		if r = p.s.leat("status", p.s.file); strings.Contains(r.out, text) {
			return
		}
		runtime.Gosched()
	}
	p.s.t.Fatalf("leat status never says %q\n%s%s\n%s", text, r.out, r.err, p.out)
}

// stop ends leat as SIGTERM does and returns how it ended.
func (p *process) stop() int {
	p.s.t.Helper()
	p.cancel()
	return p.wait()
}

// wait returns the exit code of a leat that ends by itself.
func (p *process) wait() int {
	p.s.t.Helper()
	select {
	case code := <-p.code:
		if strings.Contains(p.out.String(), `fix=""`) {
			p.s.t.Errorf("names a fix and has none\n%s", p.out)
		}
		return code
	case <-time.After(time.Minute):
		p.s.t.Fatalf("leat run did not end\n%s", p.out)
		return -1
	}
}

// says waits until leat has said something.
func (p *process) says(text string) {
	p.s.t.Helper()
	p.saysTimes(text, 1)
}

// saysTimes waits until the process has said something so many times.
func (p *process) saysTimes(text string, n int) {
	p.s.t.Helper()
	if !p.out.await(text, n, cmp.Or(p.s.patience, time.Minute)) {
		p.s.t.Fatalf("leat run did not say %q, or not %d times\n%s", text, n, p.out)
	}
}

// transcript is an output that can be waited for.
type transcript struct {
	mu    sync.Mutex
	grown *sync.Cond
	text  bytes.Buffer
	ended bool
}

func newTranscript() *transcript {
	t := &transcript{}
	t.grown = sync.NewCond(&t.mu)
	return t
}

// Write implements io.Writer.
func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.grown.Broadcast()
	return t.text.Write(p)
}

func (t *transcript) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	t.grown.Broadcast()
}

// String is what was said so far.
func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}

// await says whether text was said n times before the writer ended or time was up.
func (t *transcript) await(text string, n int, limit time.Duration) bool {
	late := false
	timer := time.AfterFunc(limit, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		late = true
		t.grown.Broadcast()
	})
	defer timer.Stop()
	t.mu.Lock()
	defer t.mu.Unlock()
	for strings.Count(t.text.String(), text) < n {
		if late || t.ended {
			return false
		}
		t.grown.Wait()
	}
	return true
}
