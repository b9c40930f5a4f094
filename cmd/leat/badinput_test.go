package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// TestConnectionsThatFail names the cause, the code and the fix of every way in
// which the source refuses a connection.
func TestConnectionsThatFail(t *testing.T) {
	server := pgserver.Test(t, pgserver.Options{})
	for _, c := range []struct {
		name   string
		change func(s *site)
		says   []string
	}{
		{"no password", func(s *site) {
			s.password = ""
		}, []string{"[1011]", "none was given", "export PGPASSWORD=", "~/.pgpass"}},
		{"wrong password", func(s *site) { s.password = "another" }, []string{"[1011]", "password is wrong", "ALTER ROLE"}},
		{"missing database", func(s *site) { s.source = "no_such_database" }, []string{"[1017]", "no_such_database", "SELECT datname FROM pg_database"}},
		{"missing role", func(s *site) { s.role = "nobody_knows" }, []string{"[1011]", "does not exist", "nobody_knows"}},
		{"no REPLICATION", func(s *site) { s.exec("ALTER ROLE " + s.role + " NOREPLICATION") }, []string{"[1012]", "REPLICATION", `ALTER ROLE "leat_`}},
		{"REPLICATION taken away", func(s *site) {
			s.expect(s.run(), exitOK)
			s.exec("ALTER ROLE " + s.role + " NOREPLICATION")
		}, []string{"[1012]", "REPLICATION", `ALTER ROLE "leat_`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, server)
			c.change(s)
			s.write()
			s.expect(s.run(), exitSource, c.says...)
		})
	}
}

// TestUnreachableSource keeps trying, says why, and goes on when the server is
// there.
func TestUnreachableSource(t *testing.T) {
	server := pgserver.Own(t, pgserver.Options{})
	s := newSite(t, server)
	s.expect(s.run(), exitOK)
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	s.expect(s.leat("check", s.file), exitSource, "1006", "pg_isready")
	s.expect(s.leat("run", "--until-caught-up", "--retry-for", "1s", s.file), exitSource, "replication was given up after 1s, as --retry-for has it, and ", " attempts, of which the last failed: connect ", "[1006]", "pg_isready", "waiting for what replication", "for 1s", "Ctrl-C", "--retry-for")
	p := s.start()
	p.says("trying again")
	p.says("[1006]")
	p.says("pg_isready")
	if err := server.StartAgain(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.exec("INSERT INTO customers VALUES (1001, 'late@example.com')")
	if code := p.stop(); code != exitOK {
		t.Errorf("exit code %d\n%s", code, p.out)
	}
	s.mended()
}

// TestServerStopsWhileRunning ends PostgreSQL under a running pipeline, as a
// crash does.
func TestServerStopsWhileRunning(t *testing.T) {
	server := pgserver.Own(t, pgserver.Options{})
	s := newSite(t, server)
	s.expect(s.run(), exitOK)
	p := s.start()
	p.listens() // a question before would open the file of DuckDB by itself
	s.exec("UPDATE orders SET note = 'before the crash'")
	s.await("SELECT 1 FROM orders WHERE note = 'before the crash' LIMIT 1", "1")
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	p.says("trying again")
	if err := server.StartAgain(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.exec("UPDATE orders SET note = note || ' and after'", "DELETE FROM customers WHERE id <= 10")
	if code := p.stop(); code != exitOK {
		t.Errorf("exit code %d\n%s", code, p.out)
	}
	s.mended()
}

// TestServerSettings names the setting that is missing and the statement that
// sets it.
func TestServerSettings(t *testing.T) {
	t.Run("wal_level", func(t *testing.T) {
		s := newSite(t, pgserver.Own(t, pgserver.Options{Settings: map[string]string{"wal_level": "replica"}}))
		s.expect(s.run(), exitSource, "wal_level", "ALTER SYSTEM SET wal_level = 'logical'")
		s.expect(s.leat("check", s.file), exitSource, "wal_level", "replica", "ALTER SYSTEM SET wal_level")
	})
	t.Run("no free slot", func(t *testing.T) {
		s := newSite(t, pgserver.Own(t, pgserver.Options{Settings: map[string]string{"max_replication_slots": "1"}}))
		s.exec("SELECT pg_create_logical_replication_slot('taken', 'pgoutput')")
		s.expect(s.run(), exitSource, "[1012]", "slots are in use", "max_replication_slots")
		s.exec("SELECT pg_drop_replication_slot('taken')")
		s.mended()
	})
}

// TestSlotsThatAreGone ends with the gap named instead of going on over it.
func TestSlotsThatAreGone(t *testing.T) {
	t.Run("dropped", func(t *testing.T) {
		s := newSite(t, pgserver.Test(t, pgserver.Options{}))
		s.expect(s.run(), exitOK)
		s.exec("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()",
			"INSERT INTO orders VALUES (9001, 'nobody reads this', 1, NULL)")
		s.expect(s.run(), exitGap, "does not exist any more", "leat run --resync")
		s.loadAgain()
	})
	t.Run("lost", func(t *testing.T) {
		s := newSite(t, pgserver.Own(t, pgserver.Options{Settings: map[string]string{"max_slot_wal_keep_size": "1MB", "max_wal_size": "32MB", "min_wal_size": "32MB"}}))
		s.expect(s.run(), exitOK)
		for range 6 {
			s.exec("UPDATE orders SET note = repeat('x', 100) || id", "SELECT pg_switch_wal()")
		}
		s.exec("CHECKPOINT")
		s.expect(s.run(), exitGap, "max_slot_wal_keep_size", "leat run --resync")
		s.loadAgain()
	})
}

// loadAgain does what the message of a gap says.
func (s *site) loadAgain() {
	s.t.Helper()
	s.expect(s.leat("run", "--until-caught-up", "--resync", s.file), exitOK)
	s.mended()
}

// TestFilesThatAreWrong refuses pipeline files and plugins before anything
// runs, and names file, line and what would be right.
func TestFilesThatAreWrong(t *testing.T) {
	server := pgserver.Test(t, pgserver.Options{})
	s := newSite(t, server)
	broken := filepath.Join(s.dir, "broken.toml")
	for _, c := range []struct {
		name, text string
		code       int
		says       []string
	}{
		{"not TOML", "name = \"x\n", exitUsage, []string{"broken.toml:1:"}},
		{"unknown key", "name = \"x\"\n[source]\nhst = \"h\"\n", exitUsage, []string{"broken.toml:3:1", "hst", `"host"`}},
		{"http host", strings.Replace(s.text(), s.host, "http://"+s.host, 1), exitUsage, []string{"HTTP", s.host}},
		{"missing plugin", strings.Replace(s.text(), `"duckdb"`, `"dukdb"`, 1), exitPlugin, []string{`"duckdb"`, "dukdb"}},
		{"missing module", strings.Replace(s.text(), `"duckdb"`, `"./mine"`, 1), exitPlugin, []string{"mine", "leat plugin new"}},
		{"wrong setting", strings.Replace(s.text(), "path =", "pth =", 1), exitPlugin, []string{"pth", "path"}},
		{"wrong value", strings.Replace(s.text(), "path =", "load_mode = \"merg\", path =", 1), exitPlugin, []string{"load_mode", "merge"}},
		{"wrong kind", strings.Replace(s.text(), `"duckdb"`, `"mask"`, 1), exitPlugin, []string{"mask", "transform"}},
		{"wrong transform", s.text() + "[[transforms]]\nplugin = \"mask\"\nconfig = { columns = [\"nope\"], method = \"hash\" }\n", exitPlugin, []string{"mask", "nope"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := os.WriteFile(broken, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			s.t = t
			s.expect(s.leat("run", "--until-caught-up", "--quiet", broken), c.code, c.says...)
		})
	}
	s.t = t
	secret := strings.Replace(s.text(), `{ file = "password" }`, `{ env = "NO_SUCH_VARIABLE" }`, 1)
	if err := os.WriteFile(broken, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"run", "check", "plan"} {
		s.expect(s.leat(verb, broken), exitUsage, "source.password", "what to do: export NO_SUCH_VARIABLE=...")
	}
	s.expect(s.leat("run", filepath.Join(s.dir, "absent.toml")), exitUsage, "absent.toml", "leat init")
	s.expect(s.leat("run"), exitUsage)
	s.expect(s.leat("run", "--no-such-flag"), exitUsage, "no-such-flag")
}

func (s *site) text() string {
	s.t.Helper()
	text, err := os.ReadFile(s.file)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

// TestStateOfAnotherPipeline refuses a state folder that is in use, or
// another's.
func TestStateOfAnotherPipeline(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	p := s.start()
	p.says("historical load finished")
	s.expect(s.run(), exitState, fmt.Sprint(os.Getpid()))
	if code := p.stop(); code != exitOK {
		t.Errorf("exit code %d\n%s", code, p.out)
	}
	other := filepath.Join(s.dir, "other.toml")
	if err := os.WriteFile(other, []byte(strings.Replace(s.text(), `"shop"`, `"other"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(s.dir, ".leat", "shop")
	s.expect(s.leat("run", "--quiet", "--until-caught-up", "--state-dir", folder, other), exitState, "shop", "other", folder)
	s.mended()
}

// TestTableThatIsNotSelectedForAWhile loads a table again whose changes the
// log has passed without.
func TestTableThatIsNotSelectedForAWhile(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	s.expect(s.run(), exitOK)
	text := s.text()
	if err := os.WriteFile(s.file, []byte(strings.Replace(text, `[destination]`, "[objects]\nexclude = [\"public.customers\"]\n\n[destination]", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	s.expect(s.run(), exitOK, "no longer selected")
	s.exec("INSERT INTO customers VALUES (5001, 'unseen@example.com')", "DELETE FROM customers WHERE id = (SELECT min(id) FROM customers)")
	s.expect(s.run(), exitOK)
	if err := os.WriteFile(s.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.expect(s.run(), exitOK, "loading a table again")
	s.mended()
}
