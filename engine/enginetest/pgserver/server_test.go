package pgserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

func ask(t *testing.T, dsn, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var answer string
	if err := conn.QueryRow(t.Context(), sql).Scan(&answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

func TestServerAnswersOnBothAddresses(t *testing.T) {
	s := Test(t, Options{})
	for _, dsn := range []string{s.DSN("postgres"), s.SocketDSN("postgres")} {
		if got := ask(t, dsn, "SELECT current_user || ' ' || current_setting('wal_level')"); got != "postgres logical" {
			t.Errorf("got %q", got)
		}
	}
	u, err := url.Parse(s.DSN("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("postgres", "wrong")
	_, err = pgx.Connect(t.Context(), u.String())
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); !ok || pgErr.Code != "28P01" {
		t.Errorf("connect with a wrong password: %v", err)
	}
}

func TestTestSharesOneServerWithADatabaseForEachTest(t *testing.T) {
	s := Test(t, Options{})
	if Test(t, Options{}) != s {
		t.Error("a second server was started")
	}
	var name string
	t.Run("inner", func(t *testing.T) {
		name = s.Database(t)
		if name == s.Database(t) {
			t.Error("two databases have one name")
		}
		if err := s.Exec(t.Context(), name, "SELECT pg_create_logical_replication_slot('left_behind', 'pgoutput')"); err != nil {
			t.Fatal(err)
		}
	})
	if got := ask(t, s.DSN("postgres"), "SELECT count(*)::text FROM pg_database WHERE datname = '"+name+"'"); got != "0" {
		t.Errorf("database %q is still there", name)
	}
}

func TestKilledServerRecoversWhatWasCommitted(t *testing.T) {
	s := Own(t, Options{})
	if err := s.Exec(t.Context(), "postgres", "CREATE TABLE kept (id int)", "INSERT INTO kept SELECT generate_series(1, 1000)"); err != nil {
		t.Fatal(err)
	}
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := pgx.Connect(t.Context(), s.DSN("postgres")); err == nil {
		t.Fatal("a killed server answers")
	}
	if err := s.StartAgain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(s.Log(), "automatic recovery in progress") {
		t.Errorf("no recovery: the kill was no crash; log:\n%s", s.Log())
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, s.DSN("postgres"), "SELECT count(*)::text FROM kept"); got != "1000" {
		t.Errorf("%s rows after the crash", got)
	}
}

func TestDataFolderOutlivesTheServer(t *testing.T) {
	a, err := serverAccount()
	if err != nil {
		t.Fatal(err)
	}
	work, err := workFolder(a)
	if err != nil {
		t.Fatal(err)
	}
	parent, err := os.MkdirTemp(work, "kept-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(parent) })
	if err := os.Chmod(parent, 0o755); err != nil {
		t.Fatal(err)
	}
	o := Options{Dir: filepath.Join(parent, "data"), Settings: map[string]string{"cluster_name": "it's kept"}}
	for round := range 2 {
		s, err := Start(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if got := ask(t, s.DSN("postgres"), "SHOW cluster_name"); got != "it's kept" {
			t.Errorf("cluster_name is %q", got)
		}
		if err := s.Exec(t.Context(), "postgres", fmt.Sprintf("CREATE TABLE round_%d ()", round)); err != nil {
			t.Fatal(err)
		}
		if round == 1 {
			if got := ask(t, s.DSN("postgres"), "SELECT count(*)::text FROM pg_tables WHERE tablename LIKE 'round%'"); got != "2" {
				t.Errorf("%s tables of two rounds", got)
			}
		}
		if err := s.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(s.private); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("private folder after Stop: %v", err)
		}
	}
}

func TestSetHBAIsInForceWhenItReturns(t *testing.T) {
	s := Own(t, Options{})
	refused := func() bool {
		conn, err := pgx.Connect(t.Context(), s.DSN("postgres"))
		if err == nil {
			conn.Close(t.Context())
			return false
		}
		pgErr, ok := errors.AsType[*pgconn.PgError](err)
		return ok && pgErr.Code == "28000"
	}
	for range 5 {
		if err := s.SetHBA(t.Context(), "host nothing nobody 127.0.0.1/32 trust"); err != nil {
			t.Fatal(err)
		}
		if !refused() {
			t.Fatal("connected without an entry")
		}
		if err := s.SetHBA(t.Context()); err != nil {
			t.Fatal(err)
		}
		if refused() {
			t.Fatal("refused although the default lines are back")
		}
	}
	if err := s.SetHBA(t.Context(), "host all all nonsense"); err == nil {
		t.Error("a line that the server cannot read was taken")
	}
}

func TestFailedStartSaysWhatTheServerSaid(t *testing.T) {
	var log bytes.Buffer
	_, err := Start(t.Context(), Options{Settings: map[string]string{"wal_level": "sideways"}, Log: &log})
	if err == nil || !strings.Contains(err.Error(), "sideways") {
		t.Errorf("error does not carry the log: %v", err)
	}
	if !strings.Contains(log.String(), "sideways") {
		t.Errorf("Options.Log received %q", log.String())
	}
}

func TestStartEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if s, err := Start(ctx, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got server %v, error %v", s, err)
	}
}

func TestMissingServerSaysWhatToRun(t *testing.T) {
	_, err := Find("13")
	if _, ok := errors.AsType[*MissingError](err); !ok || !strings.Contains(err.Error(), "setup 13") {
		t.Errorf("Find of an absent version: %v", err)
	}
	t.Setenv("LEAT_POSTGRES_13", t.TempDir())
	if _, err := Find("13"); err == nil || !strings.Contains(err.Error(), "LEAT_POSTGRES_13") {
		t.Errorf("Find with a wrong LEAT_POSTGRES_13: %v", err)
	}
	in := Test(t, Options{}).Install()
	major := strconv.Itoa(in.Major)
	t.Setenv("LEAT_POSTGRES_"+major, filepath.Dir(in.Bin))
	if got, err := Find(major); err != nil || got != in {
		t.Errorf("Find through LEAT_POSTGRES_%s: %v, %v", major, got, err)
	}
}

func TestConcurrentFirstStartsShareTheTemplate(t *testing.T) {
	in, err := Find("")
	if err != nil {
		t.Fatal(err)
	}
	a, err := serverAccount()
	if err != nil {
		t.Fatal(err)
	}
	base, err := workFolder(a)
	if err != nil {
		t.Fatal(err)
	}
	work, err := os.MkdirTemp(base, "race-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(work) })
	if err := os.Chmod(work, 0o755); err != nil {
		t.Fatal(err)
	}
	if in, err = a.readable(in, base); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	archives := make([]string, 3)
	for i := range archives {
		wg.Go(func() {
			var err error
			if archives[i], err = in.template(t.Context(), a, work); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if archives[0] != archives[1] || archives[1] != archives[2] {
		t.Errorf("three templates: %q", archives)
	}
	left, err := os.ReadDir(work)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 1 {
		t.Errorf("%d entries beside the template: %v", len(left)-1, left)
	}
}

func TestSweepTakesOnlyWhatDeadProcessesLeft(t *testing.T) {
	work := t.TempDir()
	dead := filepath.Join(work, "server-2147483646-x")
	alive := filepath.Join(work, fmt.Sprintf("server-%d-x", os.Getpid()))
	other := filepath.Join(work, "template")
	for _, dir := range []string{dead, alive, other} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	sweep(work)
	for dir, want := range map[string]bool{dead: false, alive: true, other: true} {
		if _, err := os.Stat(dir); (err == nil) != want {
			t.Errorf("%s there: %v", dir, err == nil)
		}
	}
}
