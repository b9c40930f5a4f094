//go:build duckdb_arrow

package capability

import (
	"context"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal256"
	"github.com/apache/arrow-go/v18/arrow/memory"
	duckdb "github.com/duckdb/duckdb-go/v2"
)

// duckDB is one connection to a DuckDB file. Connections of one process to one
// file share an instance, which keeps the file's lock until the last is closed.
type duckDB struct {
	connector *duckdb.Connector
	conn      *duckdb.Conn
	arrow     *duckdb.Arrow
	inTx      bool
	// view names the connection's ingested batch: views of two connections
	// that are made at the same time must not collide in the catalogue.
	view string
}

var duckViews atomic.Uint64

// OpenDuckDB opens a DuckDB file. An Error of class Locked names the process
// that holds it.
func OpenDuckDB(ctx context.Context, o DuckDBOptions) (SQL, error) {
	query := url.Values{}
	if o.ReadOnly {
		query.Set("access_mode", "READ_ONLY")
	}
	if strings.Contains(o.Path, "?") {
		return nil, &Error{Class: Schema, Message: fmt.Sprintf("open %q: a DuckDB path cannot contain a question mark", o.Path)}
	}
	dsn := o.Path
	if len(query) > 0 {
		dsn += "?" + query.Encode()
	}
	connector, err := duckdb.NewConnector(dsn, nil)
	if err != nil {
		return nil, duckOpenError(o.Path, err)
	}
	conn, err := connector.Connect(ctx)
	if err != nil {
		return nil, errors.Join(duckOpenError(o.Path, err), connector.Close())
	}
	d := &duckDB{connector: connector, conn: conn.(*duckdb.Conn), view: fmt.Sprintf("__leat_ingest_%d_%d", os.Getpid(), duckViews.Add(1))}
	if d.arrow, err = duckdb.NewArrowFromConn(conn); err == nil {
		err = d.configure(ctx, o)
	}
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// configuring is held by a connection that is set up: two of one instance cannot
// both be its first.
var configuring sync.Mutex

// configure sets up the connection and then shuts the instance in: SQL comes
// from plugins and from those who ask, and DuckDB's reads, writes and attaches
// any file. From then on it reaches its own file and the folder it spills to,
// and nothing opens it again.
func (d *duckDB) configure(ctx context.Context, o DuckDBOptions) error {
	configuring.Lock()
	defer configuring.Unlock()
	open, err := d.Query(ctx, "SELECT current_setting('enable_external_access')")
	if err != nil {
		return err
	}
	first := *open.Rows[0][0] == "true" // of the connections of this instance
	set := []string{"SET TimeZone = 'UTC'", "SET arrow_lossless_conversion = true"}
	if o.MemoryLimit != "" {
		set = append(set, "SET memory_limit = "+quoteText(o.MemoryLimit))
	}
	if o.Threads > 0 {
		set = append(set, fmt.Sprintf("SET threads = %d", o.Threads))
	}
	if o.TempDir != "" && first {
		set = append(set, "SET temp_directory = "+quoteText(o.TempDir))
	}
	_, err = d.Exec(ctx, strings.Join(append(set, "SET enable_external_access = false"), "; "))
	return err
}

// checkpointPatience is how long a CHECKPOINT waits for what other connections
// write, such as the result of a question in a temporary table.
const checkpointPatience = 10 * time.Second

// Exec implements SQL.
func (d *duckDB) Exec(ctx context.Context, sql string) (int64, error) {
	result, err := d.conn.ExecContext(ctx, sql, nil)
	for end := time.Now().Add(checkpointPatience); othersWrite(err) && ctx.Err() == nil && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
		result, err = d.conn.ExecContext(ctx, sql, nil)
	}
	if err != nil {
		return 0, duckError(ctx, err)
	}
	return result.RowsAffected()
}

// Query implements SQL. The statement must be one that may stand in FROM
// (...): SELECT, VALUES, DESCRIBE, SHOW.
func (d *duckDB) Query(ctx context.Context, sql string) (*Rows, error) {
	sql = strings.TrimRight(sql, "; \n\t")
	found, err := d.conn.QueryContext(ctx, fmt.Sprintf("SELECT COLUMNS(*)::VARCHAR FROM (%s) LIMIT %d", sql, MaxQueryRows+1), nil)
	if err != nil {
		return nil, duckError(ctx, err)
	}
	defer found.Close()
	out := &Rows{Columns: found.Columns()}
	values, left := make([]driver.Value, len(out.Columns)), MaxQueryBytes
	for {
		err := found.Next(values)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, duckError(ctx, err)
		}
		if len(out.Rows) == MaxQueryRows {
			return nil, tooManyRows()
		}
		row := make([]*string, len(values))
		for i, v := range values {
			if text, ok := v.(string); ok {
				row[i] = &text
				if err := tooManyBytes(&left, len(text)); err != nil {
					return nil, err
				}
			}
		}
		out.Rows = append(out.Rows, row)
	}
}

// Read implements SQL. DuckDB's Go driver holds a whole result in memory, so
// the result of a SELECT is first put into a temporary table, which spills to
// disk beyond memory_limit, and read from there in parts. UUIDs come as 16
// bytes, decimals as decimals, JSON as text, lists as lists.
func (d *duckDB) Read(ctx context.Context, sql string, yield func(arrow.RecordBatch) error) error {
	if !isSelect(sql) {
		return d.readAll(ctx, sql, yield)
	}
	if err := d.keepResult(ctx, sql); err != nil {
		return err
	}
	return d.readResult(ctx, yield)
}

func (d *duckDB) resultTable() string { return "temp." + quoteName(d.view+"_result") }

// keepResult runs a SELECT for readResult.
func (d *duckDB) keepResult(ctx context.Context, sql string) error {
	_, err := d.Exec(ctx, "CREATE OR REPLACE TEMP TABLE "+d.resultTable()+" AS "+strings.TrimRight(sql, "; \n\t"))
	return err
}

// readResult hands on what keepResult kept, and drops it. Rows of the same
// transaction have no row ids to go by: that must have ended.
func (d *duckDB) readResult(ctx context.Context, yield func(arrow.RecordBatch) error) error {
	err := d.readParts(ctx, d.resultTable(), yield)
	if _, dropErr := d.Exec(ctx, "DROP TABLE "+d.resultTable()); err == nil {
		err = dropErr
	}
	return err
}

func isSelect(sql string) bool {
	first, _, _ := strings.Cut(strings.TrimLeft(sql, " \n\t("), " ")
	switch strings.ToUpper(strings.TrimSpace(first)) {
	case "SELECT", "WITH", "FROM", "VALUES", "TABLE":
		return true
	}
	return strings.HasPrefix(strings.ToUpper(first), "SELECT\n") || strings.HasPrefix(strings.ToUpper(first), "WITH\n")
}

// A result is in memory in parts of at most readPart rows, and of about
// readBytes bytes by what the rows before took.
const (
	readPart  = 1 << 15
	firstPart = 1
)

func (d *duckDB) readParts(ctx context.Context, table string, yield func(arrow.RecordBatch) error) error {
	hidden, err := d.Query(ctx, "SELECT 1 FROM duckdb_columns() WHERE database_name = 'temp' AND table_name = "+quoteText(d.view+"_result")+" AND lower(column_name) = 'rowid'")
	if err != nil {
		return err
	}
	return inParts(func(from, rows int64) (n, size int64, err error) {
		part := fmt.Sprintf("SELECT * FROM %s WHERE rowid >= %d AND rowid < %d", table, from, from+rows)
		if len(hidden.Rows) > 0 { // a column of the result has that name
			part = fmt.Sprintf("SELECT * FROM %s LIMIT %d OFFSET %d", table, rows, from)
		}
		err = d.readAll(ctx, part, func(r arrow.RecordBatch) error {
			if r.NumRows() == 0 && from > 0 {
				return nil // names of columns that are known
			}
			n += r.NumRows()
			size += recordSize(r)
			return yield(r)
		})
		return n, size, err
	})
}

// inParts calls read for the next so many rows until there are no more. It returns
// how many it read, in their order, and their bytes: with an error, too. A part
// that is too large is read in smaller ones.
func inParts(read func(from, rows int64) (n, size int64, err error)) error {
	for from, rows := int64(0), int64(firstPart); ; {
		n, size, err := read(from, rows)
		from += n
		switch {
		case tooLarge(err) && rows > 1:
			rows = max(1, rows/8)
		case err != nil || n < rows:
			return err
		default:
			rows = min(max(1, readBytes*n/max(1, size)), 8*rows, readPart)
		}
	}
}

func (d *duckDB) readAll(ctx context.Context, sql string, yield func(arrow.RecordBatch) error) error {
	reader, err := d.arrow.QueryContext(ctx, sql)
	if err != nil {
		return duckError(ctx, err)
	}
	defer reader.Release()
	rows := int64(0)
	for reader.Next() {
		record := plain(reader.RecordBatch())
		rows += record.NumRows()
		err := yield(record)
		record.Release()
		if err != nil {
			return err
		}
	}
	if err := duckError(ctx, reader.Err()); err != nil || rows > 0 {
		return err
	}
	none := array.NewRecordBuilder(memory.DefaultAllocator, reader.Schema())
	defer none.Release()
	empty := none.NewRecordBatch() // has the names of the columns
	defer empty.Release()
	return yield(empty)
}

// plain returns r in the plain types of Arrow where DuckDB's lossless form has
// others: bits for a BOOLEAN, which comes as bytes (arrow.bool8), and decimals
// for HUGEINT and UHUGEINT, which come as 16 bytes (arrow.opaque).
func plain(r arrow.RecordBatch) arrow.RecordBatch {
	fields := r.Schema().Fields()
	columns := slices.Clone(r.Columns())
	changed := false
	for i, column := range columns {
		name, _ := fields[i].Metadata.GetValue("ARROW:extension:name")
		about, _ := fields[i].Metadata.GetValue("ARROW:extension:metadata")
		switch a := column.(type) {
		case *array.Int8:
			if name != "arrow.bool8" {
				continue
			}
			columns[i] = plainBooleans(a)
		case *array.FixedSizeBinary:
			if name != "arrow.opaque" || !strings.Contains(about, `hugeint"`) {
				continue
			}
			columns[i] = plainIntegers(a, !strings.Contains(about, `"uhugeint"`))
		default:
			continue
		}
		fields[i] = arrow.Field{Name: fields[i].Name, Type: columns[i].DataType(), Nullable: true}
		changed = true
	}
	if !changed {
		r.Retain()
		return r
	}
	return array.NewRecordBatch(arrow.NewSchema(fields, nil), columns, r.NumRows())
}

func plainBooleans(bytes *array.Int8) arrow.Array {
	b := array.NewBooleanBuilder(memory.DefaultAllocator)
	defer b.Release()
	for row := range bytes.Len() {
		if bytes.IsNull(row) {
			b.AppendNull()
		} else {
			b.Append(bytes.Value(row) != 0)
		}
	}
	return b.NewArray()
}

// plainIntegers reads 128 bits, the low ones first.
func plainIntegers(values *array.FixedSizeBinary, signed bool) arrow.Array {
	b := array.NewDecimal256Builder(memory.DefaultAllocator, &arrow.Decimal256Type{Precision: 39})
	defer b.Release()
	for row := range values.Len() {
		if values.IsNull(row) {
			b.AppendNull()
			continue
		}
		v := values.Value(row)
		low, high, sign := binary.LittleEndian.Uint64(v), binary.LittleEndian.Uint64(v[8:]), uint64(0)
		if signed && int64(high) < 0 {
			sign = math.MaxUint64
		}
		b.Append(decimal256.New(sign, sign, high, low))
	}
	return b.NewArray()
}

// Begin implements SQL.
func (d *duckDB) Begin(ctx context.Context) error {
	if d.inTx {
		return nestedTransaction()
	}
	_, err := d.Exec(ctx, "BEGIN TRANSACTION")
	d.inTx = err == nil
	return err
}

// Commit implements SQL.
func (d *duckDB) Commit(ctx context.Context) error {
	_, err := d.Exec(ctx, "COMMIT")
	if err == nil {
		d.inTx = false
	}
	return err
}

// Rollback implements SQL. Without a transaction it does nothing.
func (d *duckDB) Rollback(ctx context.Context) error {
	if !d.inTx {
		return nil
	}
	d.inTx = false
	_, err := d.Exec(ctx, "ROLLBACK")
	if e := (*Error)(nil); errors.As(err, &e) && strings.Contains(e.Message, "no transaction is active") {
		return nil // a failed COMMIT has already rolled back
	}
	return err
}

// Tell implements SQL.
func (d *duckDB) Tell(func(doing string)) {}

// Close implements SQL. An open transaction is rolled back.
func (d *duckDB) Close() error {
	return errors.Join(d.conn.Close(), d.connector.Close())
}
