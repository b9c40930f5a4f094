package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// Classify turns an error of a connection or of the server into an *Error. An
// *Error inside err is returned as it is.
func Classify(err error) *Error {
	var known *Error
	if errors.As(err, &known) {
		return known
	}
	var connect *pgconn.ConnectError
	connecting := errors.As(err, &connect)
	if connecting {
		err = connect.Unwrap() // its Config holds the password
	}
	var server *pgconn.PgError
	switch {
	case errors.As(err, &server):
		e := classifyServer(server)
		e.SQLState, e.Err = server.Code, server
		return e
	case errors.Is(err, context.Canceled):
		return &Error{Class: Canceled, Err: err}
	case errors.As(err, new(*TimelineError)):
		return &Error{Class: Retry, Err: err, Causes: []string{"The server has just been promoted, or follows another one that was."}}
	case isTLSFailure(lastAttempt(err)):
		return tlsFailure(err)
	case connecting:
		return &Error{Code: CodeUnreachable, Class: Retry, Err: err, Causes: []string{
			"The host name or the port is wrong.",
			"The server is not running, or listens on other addresses (listen_addresses in postgresql.conf).",
			"A firewall or security group drops the connection.",
		}, Hint: "Try: pg_isready -h HOST -p PORT"}
	case isConnectionLost(err):
		return &Error{Class: Retry, Err: err, Causes: []string{"The connection was lost."}}
	}
	return &Error{Class: Stop, Err: err}
}

// lastAttempt is how the last of several attempts to connect failed. In mode
// prefer that the server refused TLS is no failure: the plain connection that
// comes after it may be lost like any other.
func lastAttempt(err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		if all := joined.Unwrap(); len(all) > 0 {
			return all[len(all)-1]
		}
	}
	return err
}

func isConnectionLost(err error) bool {
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, pgconn.ErrConnClosed) || errors.Is(err, context.DeadlineExceeded)
}

// retryStates are the SQLSTATEs, or classes of two characters, that a later
// attempt may not meet again.
var retryStates = map[string]string{
	"08":    "The connection was lost.",
	"40":    "Another transaction was in the way.",
	"53":    "The server is out of a resource (connections, memory, disk).",
	"25P03": "The server's idle_in_transaction_session_timeout ended the session.",
	"25P04": "The server's transaction_timeout ended the session.",
	"55006": "The object is in use by another session.",
	"55P03": "A lock was not to be had.",
	"57014": "The statement was cancelled (statement_timeout or an administrator).",
	"57P01": "The server is shutting down, or an administrator ended the session.",
	"57P02": "The server crashed and restarts.",
	"57P03": "The server is starting up or shutting down.",
	"57P05": "The server's idle_session_timeout ended the session.",
}

// classifyServer reads what the server said. Messages are translated at the
// source (lc_messages), so it goes by SQLSTATE and by the name of the server's
// routine.
func classifyServer(p *pgconn.PgError) *Error {
	if e := classifyLogin(p); e != nil {
		return e
	}
	if e := classifyReplication(p); e != nil {
		return e
	}
	for _, state := range []string{p.Code, p.Code[:min(2, len(p.Code))]} {
		if cause, ok := retryStates[state]; ok {
			return &Error{Class: Retry, Causes: []string{cause}}
		}
	}
	switch p.Code {
	case "42501":
		return &Error{Class: Object, Causes: []string{"The role lacks a privilege."}, Hint: "Run leat check: it prints the GRANT that is missing."}
	case "42P01", "3F000":
		return &Error{Class: Object, Causes: []string{"The table was dropped or renamed."}, Hint: "Run leat objects list."}
	case "42703":
		return &Error{Class: Object, Causes: []string{"A column was dropped or renamed."}, Hint: "Restart the table's historical load."}
	}
	return &Error{Class: Stop}
}

// classifyLogin knows the errors of a connection attempt.
func classifyLogin(p *pgconn.PgError) *Error {
	switch {
	case p.Code == "28P01", p.Code == "28000" && p.Routine == "InitializeSessionUserId":
		return &Error{Code: CodePassword, Class: Stop,
			Causes: []string{"The user name or the password is wrong.", "The role does not exist or may not log in."},
			Hint:   "Correct the user or the password of the pipeline file or the DSN; or set it at the server: ALTER ROLE {user} LOGIN PASSWORD '...';"}
	case p.Code == "28000" && p.Routine == "ClientAuthentication" && strings.ContainsAny(p.Message, "\"«»„”“「"):
		// It names host, user and database; what is said of a missing client
		// certificate names nothing.
		return &Error{Code: CodeNoHBAEntry, Class: Stop,
			Causes: []string{"No line of pg_hba.conf matches this user, database, address and encryption, or one rejects it."},
			Hint:   "Add to pg_hba.conf, then SELECT pg_reload_conf();\n" + hbaLine(p.Message)}
	case strings.HasPrefix(p.Code, "28"):
		return &Error{Code: CodeAuthentication, Class: Stop,
			Causes: []string{"The method that pg_hba.conf asks for (peer, ident, cert, ldap ...) does not accept this user."},
			Hint:   "Use scram-sha-256 for {user} in pg_hba.conf, or give the client certificate that it asks for."}
	case p.Code == "3D000":
		return &Error{Code: CodeNoDatabase, Class: Stop,
			Causes: []string{"The database does not exist on this server; names are case-sensitive."},
			Hint:   "SELECT datname FROM pg_database;"}
	case p.Code == "42501" && p.Routine == "CheckMyDatabase":
		return &Error{Code: CodeNoDatabase, Class: Stop,
			Causes: []string{"The role may not connect to the database."},
			Hint:   "GRANT CONNECT ON DATABASE {database} TO {user};"}
	case p.Code == "55000" && p.Routine == "CheckMyDatabase":
		return &Error{Code: CodeNoDatabase, Class: Stop,
			Causes: []string{"The database accepts no connections."},
			Hint:   "ALTER DATABASE {database} ALLOW_CONNECTIONS true;"}
	case p.Code == "57P04":
		return &Error{Code: CodeNoDatabase, Class: Stop, Causes: []string{"The database was dropped."}}
	}
	return nil
}

// hbaLine is the line that would have let the client in. The message has the
// address that the server saw.
func hbaLine(message string) string {
	words := strings.FieldsFunc(message, func(r rune) bool { return !strings.ContainsRune("0123456789abcdefABCDEF.:", r) })
	for _, word := range words {
		if ip, err := netip.ParseAddr(word); err == nil {
			return fmt.Sprintf("host {database} {user} %s/%d scram-sha-256", ip, ip.BitLen())
		}
	}
	return "local {database} {user} scram-sha-256"
}

// classifyReplication knows the errors of slots and the walsender.
func classifyReplication(p *pgconn.PgError) *Error {
	prerequisite := func(class Class, cause, hint string) *Error {
		return &Error{Code: CodePrerequisite, Class: class, Causes: []string{cause}, Hint: hint}
	}
	switch {
	case p.Code == "42501" && (p.Routine == "InitPostgres" || p.Routine == "check_permissions" || p.Routine == "CheckSlotPermissions"):
		return prerequisite(Stop, "The role lacks the REPLICATION attribute. The password is right.",
			"ALTER ROLE {user} REPLICATION;")
	case p.Code == "55000" && p.Routine == "CheckLogicalDecodingRequirements":
		return prerequisite(Stop, "The server does not write the log that logical replication needs (wal_level), or the connection names no database.",
			"ALTER SYSTEM SET wal_level = 'logical'; -- then restart the server")
	case p.Code == "0A000" && p.Routine == "CheckLogicalDecodingRequirements":
		return prerequisite(Stop, "The server is a standby, which before PostgreSQL 16 cannot decode its log.", "Set host to the primary server.")
	case p.Code == "53400" && strings.HasPrefix(p.Routine, "ReplicationSlot"), p.Code == "55000" && p.Routine == "CheckSlotRequirements":
		return prerequisite(Stop, "All replication slots are in use.",
			"SELECT slot_name, active FROM pg_replication_slots; -- drop one that nobody needs, or:\nALTER SYSTEM SET max_replication_slots = ...; -- more than SHOW max_replication_slots says, then restart the server")
	case p.Code == "53300" && (p.Routine == "InitProcess" || p.Routine == "InitWalSenderSlot"):
		return prerequisite(Retry, "All walsenders are in use.",
			"ALTER SYSTEM SET max_wal_senders = ...; -- more than SHOW max_wal_senders says, then restart the server")
	case p.Code == "53300":
		return &Error{Class: Retry, Causes: []string{"The server, the database or the role has as many connections as it may."},
			Hint: "SELECT datname, usename, count(*) FROM pg_stat_activity GROUP BY 1, 2; -- end what nobody needs, or raise max_connections, or the CONNECTION LIMIT of the database or the role"}
	case p.Code == "55006" && strings.HasPrefix(p.Routine, "ReplicationSlot"):
		return &Error{Class: Retry, Causes: []string{"Another session reads the slot, or the last one has not ended yet."},
			Hint: "SELECT slot_name, active_pid FROM pg_replication_slots WHERE active;"}
	case p.Code == "42704" && strings.HasPrefix(p.Routine, "ReplicationSlot"):
		return &Error{Class: Resync, Causes: []string{"The replication slot was dropped, or the server is a new primary that never had it."},
			Hint: "leat run --resync creates it and loads every table again beside the rows that are there"}
	case p.Code == "55000" && (p.Routine == "CreateDecodingContext" || p.Routine == "StartLogicalReplication" || p.Routine == "ReplicationSlotAcquire"),
		p.Code == "58P01" && (p.Routine == "XLogFileRead" || p.Routine == "WalSndSegmentOpen" || p.Routine == "XLogReadDetermineTimeline"):
		return &Error{Class: Resync, Causes: []string{"The server removed log that the slot still needed (max_slot_wal_keep_size)."},
			Hint: "Raise max_slot_wal_keep_size; leat run --resync then loads every table again beside the rows that are there"}
	}
	return nil
}

// fillIn puts the names of a connection into the hint.
func (e *Error) fillIn(c *Config, database string) {
	host := c.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	e.Hint = strings.NewReplacer("{user}", quoteIdent(c.User), "{database}", quoteIdent(database),
		"HOST", host, "PORT", fmt.Sprint(c.port())).Replace(e.Hint)
}

// IsNoPublication says whether a server has found no publication as of a place in
// the log. Newer ones pass what it held then.
func IsNoPublication(err error) bool {
	var server *pgconn.PgError
	return errors.As(err, &server) && server.Code == "42704" && strings.HasPrefix(server.Routine, "get_publication")
}
