package postgres

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/leat-etl/leat/engine/batch"
)

// Class says what to do about an error.
type Class string

// The classes. Retry: the same again after a pause. Object: this table is set
// aside, the others go on. Resync: the log no longer holds what is needed;
// load again. Canceled: the caller gave up. Stop: an operator has to act.
const (
	Retry    Class = "retry"
	Object   Class = "object"
	Resync   Class = "resync"
	Canceled Class = "canceled"
	Stop     Class = "stop"
)

// Codes of connection errors. CodePrerequisite is a role or server setting
// that logical replication needs, never a wrong password.
const (
	CodeAuthentication = 1003
	CodeUnreachable    = 1006
	CodePassword       = 1011
	CodePrerequisite   = 1012
	CodeDatabaseName   = 1014
	CodeNoDatabase     = 1017
	CodeSettings       = 1023
	CodeNoHBAEntry     = 1024
)

// Error is a failure of the source. It never holds a password or a row value.
type Error struct {
	// Op is what failed ("create slot"), Object what it was done to.
	Op     string `json:"op,omitempty"`
	Object string `json:"object,omitempty"`
	// Code is one of the Code constants, 0 for none.
	Code int `json:"code,omitempty"`
	// SQLState is the server's, empty where the server did not answer.
	SQLState string `json:"sqlstate,omitempty"`
	Class    Class  `json:"class"`
	// Causes are what may be wrong, likeliest first.
	Causes []string `json:"causes,omitempty"`
	// Hint is the next command, the exact SQL or the configuration line.
	Hint string `json:"hint,omitempty"`
	Err  error  `json:"-"`
}

// Error prints operation, object, cause and code on one line; the hint and
// the causes are for whoever shows it.
func (e *Error) Error() string {
	var s strings.Builder
	s.WriteString(e.Op)
	if e.Object != "" {
		if s.Len() > 0 {
			s.WriteByte(' ')
		}
		s.WriteString(e.Object)
	}
	if e.Err != nil {
		if s.Len() > 0 {
			s.WriteString(": ")
		}
		s.WriteString(oneLine(e.Err))
	}
	if e.Code != 0 {
		fmt.Fprintf(&s, " [%d]", e.Code)
	}
	return s.String()
}

// oneLine is what an error says. Two attempts to connect, with TLS and without,
// mostly fail for the same reason, which is then said once.
func oneLine(err error) string {
	var said []string
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if !slices.Contains(said, line) {
			said = append(said, line)
		}
	}
	return strings.Join(said, "; ")
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// wrap classifies err and says what was being done. It keeps what an inner
// call has already said.
func wrap(op, object string, err error) error {
	if err == nil {
		return nil
	}
	var known *Error
	if errors.As(err, &known) {
		return err
	}
	e := Classify(err)
	e.Op, e.Object = op, object
	return e
}

// RestartError says that what was loaded of a table no longer fits it: it was
// rewritten (VACUUM FULL, CLUSTER, TRUNCATE, ALTER TABLE), dropped, or its
// columns changed. Its load starts again from the first chunk.
type RestartError struct {
	Table  batch.TableID
	Reason string
}

// Error names the table and the reason.
func (e *RestartError) Error() string {
	return fmt.Sprintf("load table %s: %s: start its load again", e.Table, e.Reason)
}
