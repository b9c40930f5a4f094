//go:build duckdb_arrow

package capability

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	duckdb "github.com/duckdb/duckdb-go/v2"
)

// lockHolder finds who holds the file in DuckDB's message, for example
// "Conflicting lock is held in /usr/bin/leat (PID 4711) by user ann".
var lockHolder = regexp.MustCompile(`held in (.+?)(?: by user (\S+?))?\.?(?: See |$|\n)`)

// duckOpenError classifies a failure to open a file.
func duckOpenError(path string, err error) error {
	text := err.Error()
	e := &Error{Class: Internal, Message: fmt.Sprintf("open %q: %s", path, duckText(text))}
	switch {
	case strings.Contains(text, "Could not set lock"):
		e.Class = Locked
		e.Message = fmt.Sprintf("open %q: the file is held by another process", path)
		if m := lockHolder.FindStringSubmatch(text); m != nil {
			e.Message = fmt.Sprintf("open %q: the file is held by %s", path, m[1])
		}
		e.Hint = "stop that process, or ask it with leat query"
	case strings.Contains(text, "Permission denied") || strings.Contains(text, "Read-only file system"):
		e.Class = Permission
		e.Hint = "let the user who runs leat write to the file and its folder, or correct the path"
	case strings.Contains(text, "No such file or directory") || strings.Contains(text, "database does not exist"):
		e.Class = Schema
		e.Hint = "create the folder, or correct the path"
	case strings.Contains(text, "No space left"):
		e.Class = Resource
	}
	return e
}

// othersWrite says whether a CHECKPOINT failed because another connection is in
// a transaction that writes. DuckDB has no kind of error of its own for that.
func othersWrite(err error) bool {
	return err != nil && strings.Contains(err.Error(), "Cannot CHECKPOINT: there are other write transactions active")
}

// tooLarge says whether a part of a result does not fit memory, or has more text
// in one column than a record of Arrow holds.
func tooLarge(err error) bool {
	return err != nil && (strings.Contains(err.Error(), "Out of Memory Error") || strings.Contains(err.Error(), "The maximum total string size for regular string buffers"))
}

// duckError classifies a failure of a statement.
func duckError(ctx context.Context, err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	var own *Error
	if errors.As(err, &own) {
		return own
	}
	e := &Error{Class: Internal, Message: duckText(err.Error())}
	var d *duckdb.Error
	if errors.As(err, &d) {
		if d.Type == duckdb.ErrorTypeInterrupt && ctx.Err() != nil {
			return ctx.Err()
		}
		e.Class = duckClass(d)
		e.Message = duckText(d.Msg)
		e.Code, e.Message = duckCode(e.Message)
		if e.Class == Resource {
			e.Hint = "free disk space, or raise memory_limit"
		}
		if strings.Contains(e.Message, "disabled by configuration") {
			e.Hint = "plugins and questions reach the pipeline's own DuckDB file and no other; for other files use DuckDB's own client"
		}
	}
	return e
}

func duckClass(d *duckdb.Error) Class {
	if strings.Contains(d.Msg, "read-only mode") {
		return Permission
	}
	if strings.Contains(d.Msg, "No space left") || strings.Contains(d.Msg, "Out of Memory") || strings.Contains(d.Msg, "max_temp_directory_size") {
		return Resource
	}
	switch d.Type {
	case duckdb.ErrorTypeConversion, duckdb.ErrorTypeOutOfRange, duckdb.ErrorTypeConstraint, duckdb.ErrorTypeInvalidInput, duckdb.ErrorTypeMismatchType:
		return Data
	case duckdb.ErrorTypeCatalog, duckdb.ErrorTypeBinder, duckdb.ErrorTypeParser, duckdb.ErrorTypeSyntax, duckdb.ErrorTypeDependency:
		return Schema
	case duckdb.ErrorTypeOutOfMemory:
		return Resource
	case duckdb.ErrorTypePermission:
		return Permission
	case duckdb.ErrorTypeConnection, duckdb.ErrorTypeTransaction:
		return Connection // a conflict with another connection: the same work may succeed
	case duckdb.ErrorTypeIO:
		if strings.Contains(d.Msg, "Permission denied") {
			return Permission
		}
	}
	return Internal
}

// duckText drops the excerpt of the statement, which may hold constants, and
// anything but the first paragraph.
func duckText(s string) string {
	s, _, _ = strings.Cut(s, "\nLINE ")
	s, _, _ = strings.Cut(s, "\n\n")
	return strings.TrimSpace(s)
}

// duckCode splits "Conversion Error: Could not ..." into its two parts.
func duckCode(s string) (code, message string) {
	if code, message, ok := strings.Cut(s, ": "); ok && strings.HasSuffix(code, "Error") {
		return code, message
	}
	return "", s
}
