package postgres

import (
	"context"
	_ "embed" // capture.sql
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// DDL capture: event triggers of the source write what a table is after each
// change of it into the log, as logical messages that are part of the
// transaction (see captured). They are installed with consent only, in a schema
// of their own, once a database for all pipelines.

//go:embed capture.sql
var captureTemplate string

// captureVersion is that of capture.sql, and of the messages.
const captureVersion = 1

// capturePrefix is that of the messages.
const capturePrefix = ownPrefix + ".ddl"

// captureSchema has what is installed.
const captureSchema = "leat_ddl"

// CaptureSQL installs DDL capture in a database for a role, or brings it up to
// date. A superuser runs it.
func CaptureSQL(role string) string {
	return strings.NewReplacer("{version}", strconv.Itoa(captureVersion), "{prefix}", capturePrefix, "{missing}", missingValue, "{role}", quoteLiteral(role)).
		Replace(captureTemplate)
}

// CaptureRemovalSQL takes DDL capture out of a database.
const CaptureRemovalSQL = "DROP EVENT TRIGGER leat_ddl_end; DROP EVENT TRIGGER leat_ddl_drop; SELECT lo_unlink(leat_ddl.key()); DROP SCHEMA leat_ddl CASCADE;"

// CaptureState is what a database has of DDL capture.
type CaptureState struct {
	// Version is that of what is installed, 0 for nothing. Enabled: its triggers
	// work.
	Version int
	Enabled bool
	// Granted: the role may read the key of the messages.
	Granted bool
	// Permitted: the role may install it, as far as can be told.
	Permitted bool
	Standby   bool
	server    int
}

// Problem is why changes are not captured, empty if they are.
func (s *CaptureState) Problem() string {
	switch {
	case s.server < messagesVersion:
		return fmt.Sprintf("the log of PostgreSQL %d has no logical messages, which came with 14", s.server/10000)
	case s.Version == 0:
		return "the event triggers are not installed"
	case s.Version < captureVersion:
		return fmt.Sprintf("version %d of the event triggers is installed, this Leat needs %d", s.Version, captureVersion)
	case s.Version > captureVersion:
		return fmt.Sprintf("version %d of the event triggers is installed, which needs a newer Leat", s.Version)
	case !s.Enabled:
		return "the event triggers leat_ddl_end and leat_ddl_drop are not there or disabled"
	case !s.Granted:
		return "the role may not read the key that the messages are signed with"
	}
	return ""
}

// MayInstall says whether CaptureSQL would help, and the role may run it.
func (s *CaptureState) MayInstall() bool {
	return s.Permitted && !s.Standby && s.server >= messagesVersion && s.Version <= captureVersion
}

// managedSuperusers are the roles that may create event triggers at managed
// servers, besides superusers.
const managedSuperusers = `'rds_superuser', 'cloudsqlsuperuser', 'alloydbsuperuser', 'azure_pg_admin'`

// CaptureState looks for DDL capture.
func (s *Source) CaptureState(ctx context.Context) (state CaptureState, err error) {
	var comment string
	err = s.do(ctx, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `SELECT coalesce(pg_catalog.obj_description(f.oid, 'pg_proc'), ''),
				(SELECT count(*) FROM pg_catalog.pg_event_trigger WHERE evtname IN ('leat_ddl_end', 'leat_ddl_drop') AND evtfoid = f.oid AND evtenabled = 'A') = 2,
				pg_catalog.has_schema_privilege(n.oid, 'USAGE') IS TRUE,
				r.rolsuper OR EXISTS (SELECT FROM pg_catalog.pg_roles g WHERE g.rolname IN (`+managedSuperusers+`) AND pg_catalog.pg_has_role(r.oid, g.oid, 'member')),
				pg_catalog.pg_is_in_recovery()
			FROM pg_catalog.pg_roles r LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = '`+captureSchema+`'
			LEFT JOIN pg_catalog.pg_proc f ON f.pronamespace = n.oid AND f.proname = 'capture' WHERE r.rolname = current_user`).
			Scan(&comment, &state.Enabled, &state.Granted, &state.Permitted, &state.Standby)
	})
	state.server = s.Version
	if _, version, ok := strings.Cut(comment, "version "); ok {
		state.Version, _ = strconv.Atoi(version)
	}
	return state, wrap("look for DDL capture in", "database "+s.Database, err)
}

// EnsureCapture installs DDL capture where it is not and install allows it. It
// returns the key of its messages, or why changes are not captured: no fault of
// the server's stops a pipeline for it.
func (s *Source) EnsureCapture(ctx context.Context, install bool) (key []byte, problem string, err error) {
	state, err := s.CaptureState(ctx)
	if err != nil {
		return nil, "", err
	}
	if problem = state.Problem(); problem != "" && install && state.MayInstall() {
		if problem, err = refusal(s.script(ctx, CaptureSQL(s.cfg.User))); err != nil {
			return nil, "", wrap("install DDL capture in", "database "+s.Database, err)
		}
	}
	if problem != "" {
		return nil, problem, nil
	}
	problem, err = refusal(s.do(ctx, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `SELECT pg_catalog.lo_get(leat_ddl.key())`).Scan(&key)
	}))
	if err == nil && problem == "" && len(key) != captureKeyBytes {
		problem = "the key of the messages is damaged"
	}
	return key, problem, wrap("read the key of DDL capture in", "database "+s.Database, err)
}

// RemoveCapture takes DDL capture out of the database.
func (s *Source) RemoveCapture(ctx context.Context) error {
	return wrap("remove DDL capture from", "database "+s.Database, s.script(ctx, CaptureRemovalSQL))
}

// script runs statements with a transaction of their own.
func (s *Source) script(ctx context.Context, sql string) error {
	return s.do(ctx, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
		if err != nil && !conn.IsClosed() {
			_, ended := conn.Exec(ctx, "ROLLBACK")
			err = errors.Join(err, ended)
		}
		return err
	})
}

// refusal is what the server says against something; other errors stay errors.
func refusal(err error) (string, error) {
	var server *pgconn.PgError
	if errors.As(err, &server) && Classify(err).Class != Retry {
		return server.Message, nil
	}
	return "", err
}
