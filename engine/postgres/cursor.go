package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Cursor is a column whose values tell which rows are new. Values are texts in
// the server's form.
type Cursor struct {
	Column string
	// Delay is how long a timestamp must be past.
	Delay time.Duration

	index int
	typ   *cursorType
}

// cursorType is what is special about a type. special are values that no
// later value is greater than, or that are no number: rows with them cannot be
// found by a cursor and are counted like NULL.
type cursorType struct {
	name      string
	timestamp bool
	zoned     bool
	special   []string
}

var cursorTypes = map[uint32]*cursorType{
	oidInt2:        {name: "int2"},
	oidInt4:        {name: "int4"},
	oidInt8:        {name: "int8"},
	oidOID:         {name: "oid"},
	oidUUID:        {name: "uuid"},
	oidNumeric:     {name: "numeric", special: []string{"NaN"}},
	oidDate:        {name: "date", timestamp: true, special: []string{"infinity", "-infinity"}},
	oidTimestamp:   {name: "timestamp", timestamp: true, special: []string{"infinity", "-infinity"}},
	oidTimestamptz: {name: "timestamptz", timestamp: true, zoned: true, special: []string{"infinity", "-infinity"}},
}

// infiniteNumeric is the first version in which numeric has infinity.
const infiniteNumeric = 140000

// Cursor returns the cursor of a column that setting names. A timestamp is
// asked for with timestamp.
func (s *Source) Cursor(o *Queryable, setting, column string, timestamp bool, delay time.Duration) (*Cursor, error) {
	i := o.Schema.Column(column)
	if i < 0 {
		return nil, missingColumn(o, column, setting)
	}
	pg := o.Schema.Columns[i].PG
	base, _ := s.Types().base(pg.OID, pg.Typmod)
	c := &Cursor{Column: column, Delay: delay, index: i}
	if base != nil {
		c.typ = cursorTypes[base.OID]
	}
	if c.typ == nil || timestamp && !c.typ.timestamp {
		want := "an integer, numeric, uuid, date or timestamp"
		if timestamp {
			want = "a timestamp or a date"
		}
		return nil, &Error{Op: "read", Object: o.ID().String(), Class: Object,
			Err:  fmt.Errorf("%s names column %q of type %s: want %s", setting, column, pg.Name, want),
			Hint: "Name a column of such a type, or choose another query_mode."}
	}
	if base.OID == oidNumeric && s.Version >= infiniteNumeric {
		typ := *c.typ
		typ.special = []string{"NaN", "Infinity", "-Infinity"}
		c.typ = &typ
	}
	return c, nil
}

// Nullable says whether a row may lack a value by which the cursor finds it.
func (c *Cursor) Nullable(o *Queryable) bool {
	return o.Schema.Columns[c.index].Nullable || len(c.typ.special) > 0
}

func (c *Cursor) quoted() string { return quoteIdent(c.Column) }

func (c *Cursor) literal(value string) string {
	return quoteLiteral(value) + "::pg_catalog." + c.typ.name
}

// CursorValue is the form in which the server prints a value of a cursor that
// somebody has written, an *Error of class Object if it is none.
func (s *Source) CursorValue(ctx context.Context, c *Cursor, text string) (value string, err error) {
	err = s.do(ctx, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, "SELECT ("+c.literal(text)+")::text").Scan(&value)
	})
	var server *pgconn.PgError
	if errors.As(err, &server) && strings.HasPrefix(server.Code, "22") || err == nil && slices.Contains(c.typ.special, value) {
		return "", &Error{Op: "move the cursor", Object: "column " + c.Column, Class: Object,
			Err:  fmt.Errorf("%q is no value of type %s to read from", text, c.typ.name),
			Hint: "Repeat leat objects set-position with a value as SELECT " + c.quoted() + " prints it."}
	}
	return value, wrap("move the cursor", "column "+c.Column, err)
}

// unusable selects the rows that the cursor cannot find.
func (c *Cursor) unusable() string {
	sql := c.quoted() + " IS NULL"
	for _, v := range c.typ.special {
		sql += " OR " + c.quoted() + " = " + c.literal(v)
	}
	return sql
}

// usable leaves the rows out that the cursor cannot find.
func (c *Cursor) usable() string {
	sql := c.quoted() + " IS NOT NULL"
	for _, v := range c.typ.special {
		sql += " AND " + c.quoted() + " <> " + c.literal(v)
	}
	return sql
}

// Bound returns the greatest value that a run may read up to, never less than
// reached, empty where there is none. It is asked for before the snapshot, and before the transactions
// that run: one that begins later writes no smaller value, if its values grow
// with time. A timestamp beyond now is not taken: a row dated into the future
// would hide all that come until then.
func (q *Session) Bound(ctx context.Context, o *Queryable, c *Cursor, reached string) (string, error) {
	where := c.usable()
	if c.typ.timestamp {
		now := fmt.Sprintf("pg_catalog.clock_timestamp() - interval '%d microseconds'", c.Delay.Microseconds())
		if !c.typ.zoned {
			now = "(" + now + ") AT TIME ZONE 'UTC'"
			if c.Delay == 0 {
				now += " + interval '14 hours'" // the local time furthest ahead
			}
		}
		where += fmt.Sprintf(" AND %s <= (%s)::pg_catalog.%s", c.quoted(), now, c.typ.name)
	}
	greatest := "pg_catalog.max(" + c.quoted() + ")"
	if c.typ.name == "uuid" { // has no max
		greatest = fmt.Sprintf("(pg_catalog.array_agg(%[1]s ORDER BY %[1]s DESC))[1]", c.quoted())
	}
	if reached != "" {
		greatest = fmt.Sprintf("greatest(%s, %s)", greatest, c.literal(reached))
	}
	results, err := q.rows(ctx, fmt.Sprintf("SELECT (%s)::text FROM %s WHERE %s", greatest, o.from, where))
	if err != nil {
		return "", q.failure("ask for the greatest "+c.Column+" of", o, err)
	}
	if value := results[0].Rows[0][0]; value != nil {
		return string(value), nil
	}
	return reached, nil
}

// Unusable counts the rows that a cursor cannot find: those with NULL, NaN or
// infinity.
func (q *Session) Unusable(ctx context.Context, o *Queryable, c *Cursor) (int64, error) {
	return q.count(ctx, o, c.unusable())
}

// Beyond counts the rows with a value after bound: they wait for a later run.
func (q *Session) Beyond(ctx context.Context, o *Queryable, c *Cursor, bound string) (int64, error) {
	return q.count(ctx, o, fmt.Sprintf("%s > %s AND %s", c.quoted(), c.literal(bound), c.usable()))
}

func (q *Session) count(ctx context.Context, o *Queryable, where string) (n int64, err error) {
	results, err := q.rows(ctx, fmt.Sprintf("SELECT pg_catalog.count(*) FROM %s WHERE %s", o.from, where))
	if err == nil {
		_, err = fmt.Sscan(string(results[0].Rows[0][0]), &n)
	}
	return n, q.failure("count rows of", o, err)
}

// openTransactions lists the transactions of the database that run, by their
// virtual numbers, prepared ones too, without those of this program. A backend
// that has locks and is not listed is only just connecting, to any database.
const openTransactions = `SELECT DISTINCT l.virtualtransaction FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
	WHERE l.locktype IN ('virtualxid', 'transactionid') AND l.granted
	AND (l.pid IS NULL OR a.datid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
		AND a.application_name IS DISTINCT FROM pg_catalog.current_setting('application_name'))`

// OpenTransactions returns the virtual numbers of the transactions that run
// now in the database.
func (q *Session) OpenTransactions(ctx context.Context) ([]string, error) {
	results, err := q.rows(ctx, openTransactions)
	if err != nil {
		return nil, wrap("list transactions of", "database "+q.source.Database, err)
	}
	var out []string
	for _, row := range results[0].Rows {
		out = append(out, string(row[0]))
	}
	return out, nil
}

// IsPrepared says whether a transaction is prepared for two-phase commit and
// has another number than it had before: on some servers at once, on all after
// a restart.
func IsPrepared(virtual string) bool { return strings.HasPrefix(virtual, "-1/") }

// Range is what one query reads by a cursor: the rows after After, or from the
// smallest of From on, up to Upto, that Window selects. Empty values are no
// limit; an empty From among others is the beginning.
type Range struct {
	After, Upto string
	From        []string
	Window      Window
}

// ReadRange reads the rows of a range in the order of the cursor.
func (q *Session) ReadRange(ctx context.Context, o *Queryable, c *Cursor, r Range, limit Limit, emit Emit) (rows, bytes int64, err error) {
	return q.copy(ctx, o, fmt.Sprintf("FROM %s WHERE %s ORDER BY %s", o.from, c.condition(r, q.reader.now), c.quoted()), limit, emit)
}

func (c *Cursor) condition(r Range, now visible) string {
	parts := []string{c.usable()}
	if r.After != "" {
		parts = append(parts, c.quoted()+" > "+c.literal(r.After))
	}
	if len(r.From) > 0 && !slices.Contains(r.From, "") {
		from := make([]string, len(r.From))
		for i, v := range r.From {
			from[i] = c.literal(v)
		}
		parts = append(parts, fmt.Sprintf("%s >= least(%s)", c.quoted(), strings.Join(from, ", ")))
	}
	if r.Upto != "" {
		parts = append(parts, c.quoted()+" <= "+c.literal(r.Upto))
	}
	if window := r.Window.condition(now); window != "" {
		parts = append(parts, window)
	}
	return strings.Join(parts, " AND ")
}

// Value returns the cursor's value of a row as text.
func (c *Cursor) Value(arr arrow.Array, row int) (string, error) {
	switch a := arr.(type) {
	case *array.Int16, *array.Int32, *array.Int64, *array.Uint32, *array.String:
		return a.ValueStr(row), nil
	case *array.Decimal128:
		return a.Value(row).ToString(a.DataType().(*arrow.Decimal128Type).Scale), nil
	case *array.Decimal256:
		return a.Value(row).ToString(a.DataType().(*arrow.Decimal256Type).Scale), nil
	case *array.FixedSizeBinary:
		return fmt.Sprintf("%x", a.Value(row)), nil
	case *array.Date32:
		text, err := printDate(nil, binary.BigEndian.AppendUint32(nil, uint32(int32(a.Value(row))-epochDays)))
		return string(text), err
	case *array.Timestamp:
		zone := ""
		if c.typ.zoned {
			zone = "+00"
		}
		text, err := appendTimestamp(nil, binary.BigEndian.AppendUint64(nil, uint64(int64(a.Value(row))-epochDays*86_400_000_000)), zone)
		return string(text), err
	}
	return "", fmt.Errorf("a cursor of type %s", arr.DataType())
}

// Index is the column's place in the schema.
func (c *Cursor) Index() int { return c.index }

// Timestamp says whether the cursor's values are times.
func (c *Cursor) Timestamp() bool { return c.typ.timestamp }

// ReadUpto reads the rows that one of the cursors has passed when they stand
// at values; an empty value is before every row.
func (q *Session) ReadUpto(ctx context.Context, o *Queryable, cursors []*Cursor, values []string, limit Limit, emit Emit) error {
	passed := []string{"false"}
	for i, c := range cursors {
		if values[i] != "" {
			passed = append(passed, fmt.Sprintf("%s <= %s AND %s", c.quoted(), c.literal(values[i]), c.usable()))
		}
	}
	_, _, err := q.copy(ctx, o, fmt.Sprintf("FROM %s WHERE %s", o.from, strings.Join(passed, " OR ")), limit, emit)
	return err
}
