package capability

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// postgresConnectError classifies a failure to connect; its text names no
// password.
func postgresConnectError(o PostgresOptions, err error) error {
	where := fmt.Sprintf("connect to PostgreSQL at %s:%d database %q as %q", o.Host, max(o.Port, 0), o.Database, o.User)
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		e := postgresError(pg).(*Error)
		e.Message = where + ": " + e.Message
		return e
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &Error{Class: Connection, Message: where + ": " + innermost(err)}
}

func innermost(err error) string {
	text := err.Error()
	if i := strings.LastIndex(text, ": failed to connect"); i >= 0 {
		text = text[i+2:]
	}
	return text
}

// postgresError classifies a failure of a statement by its SQLSTATE.
func postgresError(err error) error {
	if err == nil {
		return nil
	}
	var own *Error
	if errors.As(err, &own) {
		return own
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		e := &Error{Class: postgresClass(pg.Code), Code: pg.Code, Message: pg.Message, Hint: pg.Hint}
		if pg.Code == "42501" && e.Hint == "" {
			e.Hint = "let the destination's user own the schema and its tables, or GRANT what is missing to it"
		}
		if pg.ColumnName != "" && !strings.Contains(pg.Message, pg.ColumnName) {
			e.Message = fmt.Sprintf("column %q: %s", pg.ColumnName, e.Message)
		}
		if column := copyColumn(pg.Where); column != "" {
			e.Message = fmt.Sprintf("column %q: %s", column, e.Message)
		}
		return e
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	var network net.Error
	if errors.As(err, &network) || pgconn.SafeToRetry(err) || strings.Contains(err.Error(), "conn closed") || strings.Contains(err.Error(), "EOF") {
		return &Error{Class: Connection, Message: err.Error()}
	}
	return &Error{Class: Internal, Message: err.Error()}
}

// copyColumn finds the column in the context of a COPY error, for example
// "COPY t, line 3, column a: ..." or "COPY t, line 3, column a".
func copyColumn(where string) string {
	if !strings.HasPrefix(where, "COPY ") {
		return ""
	}
	_, rest, ok := strings.Cut(where, ", column ")
	if !ok {
		return ""
	}
	column, _, _ := strings.Cut(rest, ": ")
	return column
}

// postgresClass maps an SQLSTATE to a class.
func postgresClass(code string) Class {
	if len(code) != 5 {
		return Internal
	}
	switch code {
	case "42501", "25006": // insufficient_privilege, read_only_sql_transaction
		return Permission
	case "22P03": // invalid_binary_representation: the table has another type
		return Schema
	case "42804", "42846": // datatype_mismatch, cannot_coerce
		return Schema
	case "55P03", "57014": // lock_not_available, query_canceled (a timeout)
		return Connection
	}
	switch code[:2] {
	case "08", "40", "57": // connection, rollback (deadlock), operator intervention
		return Connection
	case "22", "23", "21": // data, constraint, cardinality
		return Data
	case "28": // authorization
		return Permission
	case "3D", "3F", "42", "44", "2B": // no database, no schema, syntax, dependents
		return Schema
	case "53", "54": // resources, limits
		return Resource
	case "58": // system error: the disk
		return Resource
	}
	return Internal
}
