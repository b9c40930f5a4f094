// Package capability is what a plugin can be granted: the host's side of sql,
// kv, log and clock. Credentials stay here; a guest only ever sees results.
package capability

import (
	"context"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/leat-etl/leat/engine/batch"
)

// SQL is one connection to a destination database, used by one goroutine at a
// time. A transaction is explicit: without Begin each statement commits by
// itself. After an error inside a transaction only Rollback is allowed, or Exec
// of ROLLBACK TO SAVEPOINT where the database has savepoints (PostgreSQL).
type SQL interface {
	// Exec runs one or more statements and returns the rows affected by the last.
	Exec(ctx context.Context, sql string) (int64, error)
	// Query runs one statement whose result is small (catalogue look-ups,
	// checkpoints, counts): at most MaxQueryRows rows and MaxQueryBytes of text.
	Query(ctx context.Context, sql string) (*Rows, error)
	// Ingest moves the rows of b into a table at native speed and returns how
	// many it moved.
	Ingest(ctx context.Context, b *batch.Batch, in Ingest) (int64, error)
	// Read streams the result of one statement of any size to yield. It is for
	// the host itself (verify, query), never for a guest. The record is valid
	// only inside the call.
	Read(ctx context.Context, sql string, yield func(arrow.RecordBatch) error) error
	// Ask is Read for a statement that a person wrote: whatever would change
	// something is refused with an Error of class Permission.
	Ask(ctx context.Context, sql string, yield func(arrow.RecordBatch) error) error
	Begin(ctx context.Context) error
	Commit(ctx context.Context) error
	Rollback(ctx context.Context) error
	// Tell lets tell hear what a statement of Exec that takes long is doing, such
	// as building the index of a key, and "" when that is over. It is called from
	// another goroutine while Exec runs. DuckDB, which has no such statements, says
	// nothing.
	Tell(tell func(doing string))
	Close() error
}

// MaxQueryRows and MaxQueryBytes bound the result of SQL.Query, which a plugin
// may ask for and the host holds.
const (
	MaxQueryRows  = 100_000
	MaxQueryBytes = 64 << 20
)

// Rows is a small result; a nil cell is NULL.
type Rows struct {
	Columns []string    `json:"columns"`
	Rows    [][]*string `json:"rows"`
}

// Ingest says where a batch goes and which columns it has there.
type Ingest struct {
	// Table is the target as it stands in SQL: quoted, and qualified if need be.
	Table string `json:"table"`
	// Temporary makes Table anew as a temporary table of this connection,
	// replacing one of that name.
	Temporary bool           `json:"temporary,omitempty"`
	Columns   []IngestColumn `json:"columns"`
	// Ops keeps only the rows whose operation is in this string ("IUR"); empty
	// keeps all.
	Ops string `json:"ops,omitempty"`
}

// IngestColumn is one column of an ingested table.
type IngestColumn struct {
	// Name is the column's name, not quoted.
	Name string `json:"name"`
	// Type is the SQL type at the destination. The driver converts to it
	// without loss or fails the batch; losses are decided in the plan (see
	// Lossy).
	Type string `json:"type"`
	// From says what fills the column.
	From IngestSource `json:"from"`
	// Column is the index in the batch for FromColumn and FromAbsent.
	Column int `json:"column,omitempty"`
	// Value is the text for FromConstant, cast to Type; nil is NULL.
	Value *string `json:"value,omitempty"`
	// Lossy names the loss that the plan declared for this column and the
	// driver may therefore commit: "nan_to_null", "infinity_to_null".
	Lossy []string `json:"lossy,omitempty"`
}

// IngestSource is what fills a column of an ingested table.
type IngestSource string

// The sources. Row is the 0-based number of the row in the batch; Absent is
// true where the source did not send the column; Op is one of I U D R K; RowID
// is the id that stands in for a key (see rowIDs); IngestTime when the batch
// was read; Origin is batch.Origins.
const (
	FromColumn     IngestSource = "column"
	FromConstant   IngestSource = "constant"
	FromOp         IngestSource = "op"
	FromLSN        IngestSource = "lsn"
	FromOrdinal    IngestSource = "ordinal"
	FromCommitTime IngestSource = "commit_time"
	FromRow        IngestSource = "row"
	FromAbsent     IngestSource = "absent"
	FromRowID      IngestSource = "row_id"
	FromIngestTime IngestSource = "ingest_time"
	FromOrigin     IngestSource = "origin"
)

// Class says what kind of failure an Error is, and so what can be done.
type Class string

// The classes. Connection: try again. Data: some row cannot be stored; the
// engine finds it and sets it aside. Locked: the database is held by another
// process. Resource: disk or memory is exhausted. Permission and Schema: an
// operator has to act. Question: Ask was asked for what is no question.
// Internal: anything else.
const (
	Connection Class = "connection"
	Data       Class = "data"
	Locked     Class = "locked"
	Resource   Class = "resource"
	Permission Class = "permission"
	Schema     Class = "schema"
	Question   Class = "question"
	Internal   Class = "internal"
)

// Error is a failure of a destination database. Message never holds
// credentials or row values beyond what the database itself put there.
type Error struct {
	Class   Class  `json:"class"`
	Code    string `json:"code,omitempty"` // SQLSTATE or the driver's own code
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"` // what to do next
	// Own: a plugin said so itself, of no failure of the database. With class
	// Connection it asks for the delivery once more.
	Own bool `json:"-"`
}

func (e *Error) Error() string {
	s := e.Message
	if e.Code != "" {
		s = fmt.Sprintf("%s (%s)", s, e.Code)
	}
	if e.Hint != "" {
		s += ": " + e.Hint
	}
	return s
}

// recordSize is about how many bytes of memory a record takes.
func recordSize(r arrow.RecordBatch) (n int64) {
	for _, c := range r.Columns() {
		n += int64(c.Data().SizeInBytes())
	}
	return n
}
