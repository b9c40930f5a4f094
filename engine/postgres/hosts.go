package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// connectFirst opens a session at the first server that answers and is what
// the target asks for. It returns the configuration of that server alone, and
// what those before it answered. A server that answers and refuses ends the
// search, as in libpq: the next one would be asked with the same wrong
// password.
func (c *Config) connectFirst(ctx context.Context, database string) (conn *pgx.Conn, one *Config, missed []error, err error) {
	if err := c.validate(database); err != nil {
		return nil, nil, nil, err
	}
	all := c.addresses()
	targets := []Target{c.target()}
	if targets[0] == TargetPreferStandby {
		targets = []Target{TargetStandby, TargetAny}
	}
	for _, target := range targets {
		for _, a := range all {
			one := c
			if len(all) > 1 {
				one = c.at(a)
			}
			conn, err := one.connectAs(ctx, database, target)
			if err == nil {
				return conn, one, missed, nil
			}
			if len(all) == 1 && len(targets) == 1 {
				return nil, nil, nil, err
			}
			if Classify(err).Class != Retry {
				return nil, nil, nil, err
			}
			missed = append(missed, err)
		}
	}
	return nil, nil, nil, c.noneWillDo(missed)
}

// noneWillDo says what every server answered.
func (c *Config) noneWillDo(missed []error) *Error {
	said := make([]string, 0, len(missed))
	for _, err := range missed {
		if text := err.Error(); !slices.Contains(said, text) {
			said = append(said, text)
		}
	}
	e := &Error{Op: "connect", Code: CodeUnreachable, Class: Retry,
		Err:    fmt.Errorf("no host will do (target_session_attrs = %q): %s", c.target(), strings.Join(said, "; ")),
		Causes: []string{"The servers are not running or not reachable.", "None of them is in the role that is asked for, because a switch from one to the other is under way."},
		Hint:   "Ask each: SELECT pg_is_in_recovery(); -- f is the primary"}
	var known *Error
	if last := missed[len(missed)-1]; errors.As(last, &known) {
		e.SQLState = known.SQLState
	}
	return e
}

// targetQuery asks whether the server is what a target asks for.
var targetQuery = map[Target]struct{ query, lacking string }{
	TargetReadWrite: {"SELECT NOT pg_catalog.current_setting('transaction_read_only')::bool", "is read-only"},
	TargetReadOnly:  {"SELECT pg_catalog.current_setting('transaction_read_only')::bool", "takes writes"},
	TargetPrimary:   {"SELECT NOT pg_catalog.pg_is_in_recovery()", "is a standby"},
	TargetStandby:   {"SELECT pg_catalog.pg_is_in_recovery()", "is a primary"},
}

// connectAs opens a session at c's only server if it is what target asks for.
func (c *Config) connectAs(ctx context.Context, database string, target Target) (*pgx.Conn, error) {
	conn, err := c.connectOne(ctx, database)
	if err != nil || target == TargetAny {
		return conn, err
	}
	ask, known := targetQuery[target]
	if !known {
		conn.Close(ctx)
		return nil, settingsError(fmt.Errorf("target_session_attrs %q is not known", target),
			"It is one of any, read-write, read-only, primary, standby, prefer-standby.", `target_session_attrs = "read-write"`)
	}
	var fits bool
	if err := conn.QueryRow(ctx, ask.query).Scan(&fits); err != nil {
		conn.Close(ctx)
		return nil, c.connectError(database, err)
	}
	if fits {
		return conn, nil
	}
	conn.Close(ctx)
	return nil, &Error{Op: "connect", Object: c.address(), Code: CodePrerequisite, Class: Retry,
		Err:    fmt.Errorf("the server %s, and target_session_attrs = %q", ask.lacking, target),
		Causes: []string{"The server is in another role than the pipeline asks for, for good or until a switch is over."},
		Hint:   `hosts = ["HOST:PORT", "..."] with the server that is in that role, or target_session_attrs = "any"`}
}
