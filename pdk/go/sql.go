package pdk

import (
	"encoding/json"
	"fmt"
)

// SQLError is a failure of the destination's database. Returned from a
// Destination's method, wrapped or not, it reaches the engine as it is.
type SQLError struct {
	Class   Class  `json:"class"`
	Code    string `json:"code"` // SQLSTATE or the driver's own code
	Message string `json:"message"`
	Hint    string `json:"hint"`

	number int // by which the host knows the error
}

// Error implements error.
func (e *SQLError) Error() string {
	if e.Code == "" {
		return e.Message
	}
	return fmt.Sprintf("%s (%s)", e.Message, e.Code)
}

// Class says what kind of failure an SQLError is.
type Class string

// The classes of failures.
const (
	ClassConnection Class = "connection"
	ClassData       Class = "data"
	ClassLocked     Class = "locked"
	ClassResource   Class = "resource"
	ClassPermission Class = "permission"
	ClassSchema     Class = "schema"
	ClassInternal   Class = "internal"
)

// Rows is a small query result in text; a nil cell is NULL.
type Rows struct {
	Columns []string    `json:"columns"`
	Rows    [][]*string `json:"rows"`
}

// IngestInput says where the rows of a batch go and which columns they have
// there.
type IngestInput struct {
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

// IngestColumn is one column of an ingested table. Name is not quoted; Type is
// the SQL type at the destination.
type IngestColumn struct {
	Name   string       `json:"name"`
	Type   string       `json:"type"`
	From   IngestSource `json:"from"`
	Column int          `json:"column,omitempty"`
	Value  *string      `json:"value,omitempty"`
	// Lossy names the losses that the plan declared for this column:
	// "nan_to_null", "infinity_to_null".
	Lossy []string `json:"lossy,omitempty"`
}

// IngestSource is what fills a column of an ingested table.
type IngestSource string

// The sources. FromAbsent is true where the source did not send Column;
// FromRow is the 0-based row number; FromOp one of I U D R K; FromRowID the
// SHA-256 of the whole row, in hexadecimal; FromIngestTime is when Leat read
// the batch; FromOrigin the number of the row whose key the database knows the
// row by before the batch: its own, or the first old key of several moves.
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

// Exec runs one or more statements and returns the rows affected by the last.
func Exec(sql string) (int64, error) {
	var r struct {
		Affected int64 `json:"affected"`
	}
	err := call(hostExec, sqlRequest{sql}, &r)
	return r.Affected, err
}

// Query runs one statement with a small result: look-ups, checkpoints, counts.
func Query(sql string) (*Rows, error) {
	var r Rows
	if err := call(hostQuery, sqlRequest{sql}, &r); err != nil {
		return nil, err
	}
	return &r, nil
}

// Ingest has the host move the batch's rows into a table at native speed and
// returns how many it moved.
func (b *WriteBatch) Ingest(in IngestInput) (int64, error) {
	var r struct {
		Rows int64 `json:"rows"`
	}
	err := call(hostIngest, ingestRequest{b.Handle, in}, &r)
	return r.Rows, err
}

// Begin opens a transaction. Without it each statement commits by itself.
func Begin() error { return call(hostBegin, struct{}{}, nil) }

// CommitSQL commits the open transaction.
func CommitSQL() error { return call(hostCommit, struct{}{}, nil) }

// RollbackSQL takes the open transaction back; without one it does nothing.
func RollbackSQL() error { return call(hostRollback, struct{}{}, nil) }

type sqlRequest struct {
	SQL string `json:"sql"`
}

type ingestRequest struct {
	Batch  uint32      `json:"batch"`
	Ingest IngestInput `json:"ingest"`
}

// call sends a request to a host function and decodes its answer.
func call(host func(request []byte) []byte, request, result any) error {
	text, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	var r struct {
		OK    json.RawMessage `json:"ok"`
		Error *struct {
			SQLError
			Number int `json:"number"`
		} `json:"error"`
	}
	if err := json.Unmarshal(host(text), &r); err != nil {
		return fmt.Errorf("decode the host's answer: %w", err)
	}
	if r.Error != nil {
		r.Error.number = r.Error.Number
		return &r.Error.SQLError
	}
	if result == nil {
		return nil
	}
	return json.Unmarshal(r.OK, result)
}
