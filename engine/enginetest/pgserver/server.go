package pgserver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const superuser = "postgres"

// Options describe a server. The zero value is a server of the newest
// installed version in a temporary folder.
type Options struct {
	// Version is a major version such as "16"; empty takes the newest
	// installed one.
	Version string
	// Dir is the data folder, made if it is not there and kept on Stop. Empty
	// is a temporary folder that Stop removes.
	Dir string
	// Settings are lines of postgresql.conf that go over the package's own:
	// wal_level=logical, fsync=off and enough slots and senders for tests.
	Settings map[string]string
	// HBA are the lines of pg_hba.conf; empty asks every connection for the
	// password by scram-sha-256.
	HBA []string
	// Password of the superuser; empty makes one up. A standby needs that of
	// its primary.
	Password string
	// Log receives the server's log if it is not nil.
	Log io.Writer
}

// Server is a running PostgreSQL. Its methods that stop and start it belong to
// one goroutine; the others may be called from any.
type Server struct {
	install  Install
	account  account
	options  Options
	private  string // folder of the socket, and of the data where it is temporary
	data     string
	port     int
	password string
	process  *process // nil while stopped
}

// Start makes a server and waits until it takes connections. ctx bounds the
// start, not the life of the server: the caller must Stop it.
func Start(ctx context.Context, o Options) (*Server, error) {
	in, err := Find(o.Version)
	if err != nil {
		return nil, err
	}
	a, err := serverAccount()
	if err != nil {
		return nil, err
	}
	work, err := workFolder(a)
	if err != nil {
		return nil, err
	}
	sweep(work)
	if in, err = a.readable(in, work); err != nil {
		return nil, err
	}
	s := &Server{install: in, account: a, options: o, password: o.Password}
	if s.password == "" {
		s.password = rand.Text()
	}
	if err := s.prepare(ctx, work); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare data folder of %s: %w", in.Version, err), s.remove())
	}
	if err := s.startOnFreePort(ctx); err != nil {
		return nil, errors.Join(err, s.remove())
	}
	return s, nil
}

// prepare makes the folders, initialises an empty data folder and writes the
// configuration.
func (s *Server) prepare(ctx context.Context, work string) error {
	private, err := os.MkdirTemp(work, fmt.Sprintf("server-%d-", os.Getpid()))
	if err != nil {
		return err
	}
	s.private = private
	s.data = s.options.Dir
	if s.data == "" {
		s.data = filepath.Join(private, "data")
	}
	if s.data, err = filepath.Abs(s.data); err != nil {
		return err
	}
	if err := os.MkdirAll(s.data, 0o700); err != nil {
		return err
	}
	for _, dir := range []string{s.private, s.data} {
		if err := errors.Join(os.Chmod(dir, 0o700), s.account.own(dir)); err != nil {
			return err
		}
	}
	if at := s.account.barrier(filepath.Join(s.data, "PG_VERSION")); at != "" {
		return fmt.Errorf("user %s, who runs the server, cannot enter %s: choose another folder or run `chmod o+x %s`", s.account.name, at, at)
	}
	if _, err := os.Stat(filepath.Join(s.data, "PG_VERSION")); err != nil {
		archive, err := s.install.template(ctx, s.account, work)
		if err != nil {
			return err
		}
		if err := unpack(archive, s.data, s.account); err != nil {
			return err
		}
	}
	return s.configure()
}

// configure writes Leat's own configuration file, which postgresql.conf
// includes, and pg_hba.conf.
func (s *Server) configure() error {
	settings := map[string]string{
		"wal_level":               "logical",
		"max_wal_senders":         "20",
		"max_replication_slots":   "20",
		"fsync":                   "off",
		"full_page_writes":        "off",
		"shared_buffers":          "64MB",
		"timezone":                "UTC",
		"log_timezone":            "UTC",
		"logging_collector":       "off",
		"listen_addresses":        "127.0.0.1",
		"unix_socket_directories": s.private,
	}
	maps.Copy(settings, s.options.Settings)
	var conf strings.Builder
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&conf, "%s = '%s'\n", name, strings.ReplaceAll(settings[name], "'", "''"))
	}
	const own = "leat.conf"
	main := filepath.Join(s.data, "postgresql.conf")
	text, err := os.ReadFile(main)
	if err != nil {
		return err
	}
	if include := "include '" + own + "'\n"; !strings.HasSuffix(string(text), include) {
		if err := s.write(main, string(text)+"\n"+include); err != nil {
			return err
		}
	}
	if err := s.write(filepath.Join(s.data, own), conf.String()); err != nil {
		return err
	}
	return s.writeHBA(s.options.HBA)
}

func (s *Server) write(path, text string) error {
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return err
	}
	return s.account.own(path)
}

// startOnFreePort starts the server on a port that nobody holds, on another
// one if somebody was faster.
func (s *Server) startOnFreePort(ctx context.Context) error {
	for attempt := 1; ; attempt++ {
		port, err := freePort()
		if err != nil {
			return err
		}
		s.port = port
		err = s.StartAgain(ctx)
		if err == nil || attempt == 5 || !strings.Contains(err.Error(), "Address already in use") {
			return err
		}
	}
}

// freePort picks a port below those that systems give to outgoing connections,
// so that a stopped server finds its port free again.
func freePort() (int, error) {
	var err error
	for range 50 {
		var b [2]byte
		rand.Read(b[:])
		port := 20000 + (int(b[0])<<8|int(b[1]))%12000
		var l net.Listener
		if l, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("find a free port for PostgreSQL: %w", err)
}

// StartAgain starts a server that Stop with Options.Dir, or Kill, has ended,
// at the same address, and waits until it takes connections.
func (s *Server) StartAgain(ctx context.Context) error {
	if s.process != nil {
		return fmt.Errorf("start %s: it is running", s.install.Version)
	}
	p, err := launch(filepath.Join(s.install.Bin, "postgres"), []string{"-D", s.data, "-p", strconv.Itoa(s.port)}, s.data, s.account, s.options.Log)
	if err != nil {
		return fmt.Errorf("start %s: %w", s.install.Version, err)
	}
	s.process = p
	if err := s.awaitConnections(ctx); err != nil {
		return errors.Join(fmt.Errorf("start %s: %w; the end of its log:\n%s", s.install.Version, err, p.log), s.Kill())
	}
	return nil
}

// awaitConnections returns when the server has taken a connection and knows
// its password, or with the reason why it never will.
func (s *Server) awaitConnections(ctx context.Context) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := s.setPassword(ctx)
		if err == nil {
			return nil
		}
		if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok && pgErr.Code != "57P03" { // cannot_connect_now
			return err
		}
		select {
		case <-tick.C:
		case <-s.process.done:
			return errors.New("it ended")
		case <-ctx.Done():
			return fmt.Errorf("wait for connections: %w (last: %w)", context.Cause(ctx), err)
		}
	}
}

func (s *Server) setPassword(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, s.SocketDSN("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	var standby bool
	if err := conn.QueryRow(ctx, "SELECT pg_is_in_recovery()").Scan(&standby); err != nil || standby {
		return err
	}
	_, err = conn.Exec(ctx, fmt.Sprintf("SET log_statement = none; ALTER ROLE %s PASSWORD '%s'", superuser, strings.ReplaceAll(s.password, "'", "''")))
	return err
}

// Stop ends the server: in order where its data is kept, at once where the
// folder is removed with it. A server that has ended is no error.
func (s *Server) Stop(ctx context.Context) error {
	if s.options.Dir == "" {
		return errors.Join(s.Kill(), s.remove())
	}
	return errors.Join(s.shutDown(ctx), s.remove())
}

// Restart ends the server in order and starts it again at the same address.
func (s *Server) Restart(ctx context.Context) error {
	if err := s.shutDown(ctx); err != nil {
		return err
	}
	return s.StartAgain(ctx)
}

// shutDown asks for a fast shutdown and insists when ctx ends: a fast shutdown
// waits for the readers of the log.
func (s *Server) shutDown(ctx context.Context) error {
	if s.process == nil {
		return nil
	}
	if err := s.process.signal(syscall.SIGINT); err != nil {
		return fmt.Errorf("stop %s: %w", s.install.Version, err)
	}
	select {
	case <-s.process.done:
		s.process = nil
		return nil
	case <-ctx.Done():
		return s.Kill()
	}
}

// Kill ends the server at once as a crash does: the next start recovers from
// the log.
func (s *Server) Kill() error {
	if s.process == nil {
		return nil
	}
	if err := s.process.signal(syscall.SIGQUIT); err != nil {
		return fmt.Errorf("kill %s: %w", s.install.Version, err)
	}
	<-s.process.done
	s.process = nil
	return nil
}

// remove takes away the private folder.
func (s *Server) remove() error {
	if s.private == "" {
		return nil
	}
	if err := os.RemoveAll(s.private); err != nil {
		return fmt.Errorf("remove folder of %s: %w", s.install.Version, err)
	}
	return nil
}

// Host is the address that the server listens on.
func (s *Server) Host() string { return "127.0.0.1" }

// Port is the TCP port that the server listens on.
func (s *Server) Port() int { return s.port }

// User is the superuser.
func (s *Server) User() string { return superuser }

// Password is the superuser's.
func (s *Server) Password() string { return s.password }

// Major is the server's major version.
func (s *Server) Major() int { return s.install.Major }

// Install is the installation that the server runs from.
func (s *Server) Install() Install { return s.install }

// Data is the server's data folder.
func (s *Server) Data() string { return s.data }

// Log is the end of the server's log.
func (s *Server) Log() string {
	if s.process == nil {
		return ""
	}
	return s.process.log.String()
}

// DSN is the superuser's URL of a database over TCP, without TLS.
func (s *Server) DSN(database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(superuser, s.password),
		Host: net.JoinHostPort(s.Host(), strconv.Itoa(s.port)), Path: "/" + database, RawQuery: "sslmode=disable",
	}
	return u.String()
}

// SocketDSN is the superuser's URL of a database over the Unix socket.
func (s *Server) SocketDSN(database string) string {
	q := url.Values{"host": {s.private}, "port": {strconv.Itoa(s.port)}, "user": {superuser}, "password": {s.password}}
	u := url.URL{Scheme: "postgres", Path: "/" + database, RawQuery: q.Encode()}
	return u.String()
}

// Exec runs statements, each by itself, as the superuser in a database.
func (s *Server) Exec(ctx context.Context, database string, statements ...string) error {
	conn, err := pgx.Connect(ctx, s.SocketDSN(database))
	if err != nil {
		return fmt.Errorf("connect to database %q: %w", database, err)
	}
	defer conn.Close(ctx)
	for _, sql := range statements {
		if _, err := conn.PgConn().Exec(ctx, sql).ReadAll(); err != nil {
			return fmt.Errorf("run %q in database %q: %w", sql, database, err)
		}
	}
	return nil
}
