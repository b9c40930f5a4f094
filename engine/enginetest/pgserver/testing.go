package pgserver

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// startLimit bounds the start of a server in a test.
const startLimit = time.Minute

var shared struct {
	sync.Mutex
	servers map[string]*Server
}

// Test returns a server that the tests of this process share: the first call
// with certain options starts it, it ends with the process. Tests keep apart
// by Database, and must not stop it. A missing PostgreSQL fails the test with
// what to run. LEAT_TEST_POSTGRES names the version where the options do not.
func Test(t testing.TB, o Options) *Server {
	t.Helper()
	o = forTest(o)
	key := fmt.Sprint(o.Version, o.Settings, o.HBA)
	shared.Lock()
	defer shared.Unlock()
	if s := shared.servers[key]; s != nil {
		return s
	}
	s := start(t, o)
	if shared.servers == nil {
		shared.servers = map[string]*Server{}
	}
	shared.servers[key] = s
	return s
}

// Own returns a server of this test alone, which may stop, kill and
// reconfigure it. It ends with the test.
func Own(t testing.TB, o Options) *Server {
	t.Helper()
	s := start(t, forTest(o))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), startLimit)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Errorf("stop server of test: %v", err)
		}
	})
	return s
}

// Main runs the tests of a package and removes what Test has started. Without
// it the next test process does. Use it as
//
//	func TestMain(m *testing.M) { os.Exit(pgserver.Main(m)) }
func Main(m *testing.M) int {
	code := m.Run()
	shared.Lock()
	defer shared.Unlock()
	for _, s := range shared.servers {
		if err := s.Stop(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	return code
}

func forTest(o Options) Options {
	if o.Version == "" {
		o.Version = os.Getenv("LEAT_TEST_POSTGRES")
	}
	return o
}

func start(t testing.TB, o Options) *Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	s, err := Start(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Database makes an empty database for a test and returns its name. It goes
// away with the test, together with the replication slots made in it.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	name := "test_" + strings.ToLower(rand.Text())[:12]
	if err := s.Exec(t.Context(), superuser, "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), startLimit)
		defer cancel()
		if s.process == nil {
			return // a test's own server, which it has stopped
		}
		if err := s.dropDatabase(ctx, name); err != nil {
			t.Errorf("drop database %q: %v", name, err)
		}
	})
	return name
}

// dropDatabase ends the connections to a database, drops its slots and then
// itself.
func (s *Server) dropDatabase(ctx context.Context, name string) error {
	conn, err := pgx.Connect(ctx, s.SocketDSN(superuser))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = $1", name); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = $1", name); err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)")
	return err
}
