package main

import (
	"bufio"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	_ "github.com/duckdb/duckdb-go/v2" // damages and locks what the engine wrote

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// holdVariable makes the test binary hold a DuckDB file instead of running
// tests: the lock is one of processes.
const holdVariable = "LEAT_TEST_HOLD_DUCKDB"

func init() {
	path := os.Getenv(holdVariable)
	if path == "" {
		return
	}
	db, err := sql.Open("duckdb", path)
	if err == nil {
		_, err = db.Exec("CREATE TABLE IF NOT EXISTS held (i INTEGER)")
	}
	fmt.Println("held", err)
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n') // until the test closes it
	os.Exit(0)
}

// hold makes another process open a DuckDB file until the returned function
// is called.
func hold(t *testing.T, path string) (release func()) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), holdVariable+"="+path)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "held <nil>\n" {
		t.Fatalf("hold %s: %q, %v", path, line, err)
	}
	return func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
}

func TestDuckDBHeldByAnotherProcess(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	s.expect(s.run(), exitOK)
	s.exec("INSERT INTO customers VALUES (5000, 'while held')")
	release := hold(t, filepath.Join(s.dir, "warehouse.duckdb"))
	s.expect(s.run(), exitDestination, "held by", "PID", "stop that process")
	s.expect(s.leat("query", s.file, "SELECT 1"), exitDestination, "held by")
	s.expect(s.leat("check", s.file), exitDestination, "held by", "PID", "stop that process")
	release()
	s.mended()
}

func TestDestinationPathsThatAreWrong(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	file := filepath.Join(s.dir, "a-file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	good := s.config
	for _, c := range []struct{ path, says string }{
		{filepath.Join(s.dir, "no", "such", "folder", "x.duckdb"), "create the folder, or correct the path"},
		{filepath.Join(file, "x.duckdb"), "a-file"},
		{"/proc/leat.duckdb", "/proc/leat.duckdb"}, // nobody may write there, not even root
		{s.dir, s.dir},
	} {
		s.config = fmt.Sprintf("path = %q", c.path)
		s.write()
		s.expect(s.run(), exitDestination, "open destination duckdb", c.says)
	}
	s.config = good
	s.write()
	s.mended()
}

// TestFullDisk fills the disk under a DuckDB file: the pipeline ends and says
// so, and goes on once there is room. A file system of its own needs root;
// everybody else gets a bound on the size of files, which fails a write in the
// same place.
func TestFullDisk(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	folder := filepath.Join(s.dir, "small")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	makeRoom := bound(t, folder)
	s.config = fmt.Sprintf("path = %q", filepath.Join(folder, "warehouse.duckdb"))
	s.write()
	s.expect(s.run(), exitOK)
	s.exec("INSERT INTO customers SELECT i, string_agg(md5(i::text || j), '') FROM generate_series(1000, 2999) i, generate_series(1, 250) j GROUP BY i")
	s.expect(s.run(), exitDestination, "free disk space")
	makeRoom()
	s.mended()
}

// bound leaves a few megabytes to a folder and returns what lifts that.
func bound(t *testing.T, folder string) (lift func()) {
	t.Helper()
	if os.Getuid() == 0 {
		err := syscall.Mount("leat-test", folder, "tmpfs", 0, "size=4m")
		if err == nil {
			t.Cleanup(func() {
				if err := syscall.Unmount(folder, syscall.MNT_DETACH); err != nil {
					t.Error(err)
				}
			})
			return func() {
				if err := syscall.Mount("leat-test", folder, "tmpfs", syscall.MS_REMOUNT, "size=256m"); err != nil {
					t.Fatal(err)
				}
			}
		}
		t.Logf("mount a small file system: %v", err)
	}
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	set := func(l syscall.Rlimit) {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &l); err != nil {
			t.Fatal(err)
		}
	}
	set(syscall.Rlimit{Cur: 4 << 20, Max: before.Max})
	t.Cleanup(func() { set(before) })
	return func() { set(before) }
}

// intoPostgres makes the site replicate into a database of the same server, as
// a role of its own.
func (s *site) intoPostgres() (target, role string) {
	s.t.Helper()
	target = s.server.Database(s.t)
	role = "writer_" + target
	s.exec(fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD 'writes'", role), fmt.Sprintf("GRANT CREATE, TEMPORARY ON DATABASE %s TO %s", target, role))
	if err := s.server.Exec(s.t.Context(), target, "CREATE SCHEMA shop AUTHORIZATION "+role); err != nil {
		s.t.Fatal(err)
	}
	s.plugin = "postgres"
	s.config = fmt.Sprintf("host = %q, port = %d, user = %q, password = \"writes\", database = %q, schema = \"shop\", tls = { mode = \"disable\" }", s.host, s.port, role, target)
	s.write()
	return target, role
}

func TestRevokedGrants(t *testing.T) {
	server := pgserver.Test(t, pgserver.Options{})
	t.Run("source", func(t *testing.T) {
		s := newSite(t, server)
		s.expect(s.run(), exitOK)
		s.exec("REVOKE SELECT ON orders FROM "+s.role, "UPDATE orders SET note = 'revoked'")
		s.expect(s.leat("check", s.file), exitSource, "orders", "GRANT SELECT ON")
		s.expect(s.leat("verify", s.file), exitSource, "orders", "GRANT")
		s.exec("GRANT SELECT ON orders TO " + s.role)
		s.mended()
	})
	t.Run("destination while running", func(t *testing.T) {
		s := newSite(t, server)
		target, role := s.intoPostgres()
		p := s.start()
		p.says("historical load finished")
		if err := server.Exec(t.Context(), target, "ALTER TABLE shop.orders OWNER TO postgres"); err != nil {
			t.Fatal(err)
		}
		s.exec("UPDATE orders SET note = 'not let in'")
		if code := p.wait(); code != exitDestination {
			t.Errorf("exit code %d, want %d\n%s", code, exitDestination, p.out)
		}
		for _, want := range []string{"permission denied for table orders", "GRANT"} {
			if !strings.Contains(p.out.String(), want) {
				t.Errorf("does not say %q\n%s", want, p.out)
			}
		}
		if err := server.Exec(t.Context(), target, "ALTER TABLE shop.orders OWNER TO "+role); err != nil {
			t.Fatal(err)
		}
		s.mended()
	})
}

// TestTableWithoutKey says what a table without a key gets, and never makes
// the source's updates fail.
func TestTableWithoutKey(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	s.exec("CREATE TABLE visits (at timestamptz, page text)", "INSERT INTO visits VALUES (now(), '/')", "ALTER TABLE visits OWNER TO "+s.role)
	s.expect(s.leat("check", s.file), exitOK, "visits", "inserts and truncates only", "ADD PRIMARY KEY")
	s.expect(s.leat("plan", s.file), exitOK, "visits", "primary key")
	s.mended()
	s.exec("INSERT INTO visits VALUES (now(), '/a'), (now(), '/a')")
	s.mended()
	s.exec("UPDATE visits SET page = '/b'")
	s.expect(s.run(), exitOK)
	s.expect(s.leat("verify", s.file), exitDifferent, "only its inserts and truncates come", "ADD PRIMARY KEY", "REPLICA IDENTITY FULL")

	s.exec("DROP TABLE visits", "CREATE TABLE swaps (id int PRIMARY KEY DEFERRABLE)", "INSERT INTO swaps VALUES (1)", "ALTER TABLE swaps OWNER TO "+s.role)
	s.mended()
	s.exec("UPDATE swaps SET id = 2")
	s.expect(s.run(), exitOK)
	s.expect(s.leat("verify", s.file), exitDifferent, "only its inserts and truncates come", "make the key NOT DEFERRABLE", "leat objects restart")
}
