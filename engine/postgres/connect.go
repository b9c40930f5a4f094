package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// Connect opens a session to a database, at the first server that will do.
// The caller closes it. The error is an *Error.
func (c *Config) Connect(ctx context.Context, database string) (*pgx.Conn, error) {
	conn, _, _, err := c.connectFirst(ctx, database)
	return conn, err
}

// connectOne opens a session at c's only server.
func (c *Config) connectOne(ctx context.Context, database string) (*pgx.Conn, error) {
	cfg, err := c.sessionConfig(database)
	if err != nil {
		return nil, err
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	for attempt := 1; attempt < 5 && cfg.TLSConfig != nil && isHungUp(err) && ctx.Err() == nil; attempt++ {
		conn, err = pgx.ConnectConfig(ctx, cfg)
	}
	if err != nil {
		return nil, c.loginError(database, cfg.Password, err)
	}
	return conn, nil
}

// isHungUp says whether the server closed a connection while it was opened. A
// server that does not accept the client certificate says so when the handshake
// of TLS 1.3 is over on this side (RFC 8446, section 4.4.2.4): who writes just
// then may see the end of the connection and not the reason.
func isHungUp(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// ReplicationConfig returns the settings of a logical replication connection
// to a database at Host.
func (c *Config) ReplicationConfig(database string) (*pgconn.Config, error) {
	cfg, err := c.sessionConfig(database)
	if err != nil {
		return nil, err
	}
	cfg.Config.RuntimeParams["replication"] = "database"
	return &cfg.Config, nil
}

// connectReplication opens a logical replication connection to Host.
func (c *Config) connectReplication(ctx context.Context, database string) (*pgconn.PgConn, error) {
	cfg, err := c.ReplicationConfig(database)
	if err != nil {
		return nil, err
	}
	conn, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, c.loginError(database, cfg.Password, err)
	}
	return conn, nil
}

// connectPatient opens a logical replication connection that, once it is open, may
// bring nothing for as long as it takes to make a slot.
func (s *Source) connectPatient(ctx context.Context) (*pgconn.PgConn, error) {
	cfg, err := s.cfg.ReplicationConfig(s.Database)
	if err != nil {
		return nil, err
	}
	var in *impatientReader
	cfg.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		in = s.cfg.impatient(r, w)
		return pgproto3.NewFrontend(in, w)
	}
	conn, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, s.cfg.loginError(s.Database, cfg.Password, err)
	}
	in.limit = 0
	return conn, nil
}

// loginError is connectError for a login with a password, of the settings or the
// password file: without one, none can be wrong.
func (c *Config) loginError(database, password string, err error) *Error {
	e := c.connectError(database, err)
	if e.SQLState == "28P01" && password == "" {
		e.Causes = []string{"The server asks for a password, and none was given."}
		e.Hint = fmt.Sprintf("export PGPASSWORD=..., which leat init takes, and a pipeline file that has password = { env = \"PGPASSWORD\" } under [source]\n"+
			"or a line in ~/.pgpass (mode 0600), which both take: %s:%d:%s:%s:...", c.Host, c.port(), database, c.User)
		if reason, fix := unreadPasswordFile(); reason != "" {
			e.Causes, e.Hint = []string{reason}, fix
		}
	}
	return e
}

func (c *Config) connectError(database string, err error) *Error {
	e := Classify(err)
	e.Op = cmp.Or(e.Op, "connect")
	if e.Object == "" {
		e.Object = fmt.Sprintf("%s/%s as %s", c.address(), database, c.User)
	}
	e.fillIn(c, database)
	return e
}

// sessionConfig builds the settings from nothing but c: what PG* variables
// say takes no part, except that a password file serves where c has no
// password.
func (c *Config) sessionConfig(database string) (*pgx.ConnConfig, error) {
	if err := c.validate(database); err != nil {
		return nil, err
	}
	base := fmt.Sprintf("host=%s port=%d user=%s dbname=%s password='' sslmode=disable sslcertmode=disable sslrootcert='' sslnegotiation='' target_session_attrs=any channel_binding=prefer require_auth='' min_protocol_version='' max_protocol_version=''",
		quoteSetting(c.Host), c.port(), quoteSetting(c.User), quoteSetting(database))
	if reason, _ := unreadPasswordFile(); reason != "" {
		base += " passfile=''"
	}
	cfg, err := pgx.ParseConfig(base)
	if err != nil {
		return nil, settingsError(err, "A value of the connection settings is malformed.", "")
	}
	if c.Password != "" {
		cfg.Password = c.Password
	}
	cfg.ConnectTimeout = cmp.Or(c.ConnectTimeout, DefaultConnectTimeout)
	cfg.SSLCertMode = "allow"
	cfg.DialFunc = c.dial
	cfg.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		return pgproto3.NewFrontend(c.impatient(r, w), w)
	}
	if c.Tunnel != nil {
		cfg.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	}
	cfg.RuntimeParams = sessionSettings()
	cfg.RuntimeParams["application_name"] = cmp.Or(c.ApplicationName, "leat")
	for _, timeout := range []string{"statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"} {
		cfg.RuntimeParams[timeout] = "0"
	}
	cfg.AfterConnect = disableLaterTimeouts
	return cfg, c.applyTLS(&cfg.Config)
}

// disableLaterTimeouts switches off the time limits that not every version
// has; they cannot be part of the start-up message.
func disableLaterTimeouts(ctx context.Context, conn *pgconn.PgConn) error {
	const sql = `SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings
		WHERE name IN ('idle_session_timeout', 'transaction_timeout') AND setting <> '0'`
	_, err := conn.Exec(ctx, sql).ReadAll()
	return err
}

// applyTLS sets the sequence of encrypted and plain attempts that the mode
// asks for.
func (c *Config) applyTLS(cfg *pgconn.Config) error {
	cfg.TLSConfig, cfg.Fallbacks = nil, nil
	network, _ := pgconn.NetworkAddress(c.Host, c.port())
	mode := cmp.Or(c.TLS.Mode, TLSPrefer)
	if network == "unix" {
		if mode == TLSRequire || mode == TLSVerifyCA || mode == TLSVerifyFull {
			return settingsError(fmt.Errorf("TLS mode %q with a Unix socket", mode),
				"A Unix socket is never encrypted.", `mode = "disable"`)
		}
		return nil
	}
	if mode == TLSDisable {
		return nil
	}
	encrypted, err := c.TLS.build(mode, c.Host)
	if err != nil {
		return err
	}
	plain := &pgconn.FallbackConfig{Host: c.Host, Port: c.port()}
	switch mode {
	case TLSAllow:
		cfg.Fallbacks = []*pgconn.FallbackConfig{{Host: c.Host, Port: c.port(), TLSConfig: encrypted}}
	case TLSPrefer:
		cfg.TLSConfig, cfg.Fallbacks = encrypted, []*pgconn.FallbackConfig{plain}
	default:
		cfg.TLSConfig = encrypted
	}
	return nil
}

// quoteSetting writes a value for a keyword/value connection string.
func quoteSetting(v string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(v) + "'"
}

// quoteIdent writes an SQL identifier.
func quoteIdent(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// quoteName writes a schema-qualified SQL name.
func quoteName(schema, name string) string { return quoteIdent(schema) + "." + quoteIdent(name) }

// quoteLiteral writes an SQL string constant that reads the same whatever
// standard_conforming_strings is.
func quoteLiteral(s string) string {
	q := "'" + strings.ReplaceAll(s, "'", "''") + "'"
	if strings.Contains(s, `\`) {
		return " E" + strings.ReplaceAll(q, `\`, `\\`)
	}
	return q
}

// isEncrypted says whether a session runs over TLS.
func isEncrypted(conn net.Conn) bool {
	_, ok := conn.(interface{ HandshakeContext(context.Context) error })
	return ok
}
