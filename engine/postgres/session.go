package postgres

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/leat-etl/leat/engine/batch"
)

// Session reads objects by queries over one connection, each object in one
// transaction with one snapshot. It belongs to one goroutine.
type Session struct {
	source *Source
	reader Reader
}

// OpenSession opens a connection for queries. The caller closes it.
func (s *Source) OpenSession(ctx context.Context) (*Session, error) {
	conn, err := s.connectReader(ctx)
	if err != nil {
		return nil, err
	}
	return &Session{source: s, reader: Reader{conn: conn, types: s.Types()}}, nil
}

// WaitForLocks bounds how long the session waits for a table that is locked.
func (q *Session) WaitForLocks(ctx context.Context, most time.Duration) error {
	_, err := q.rows(ctx, fmt.Sprintf("SET lock_timeout = %d", most.Milliseconds()))
	return wrap("set lock_timeout", q.source.Database, err)
}

// connectReader opens a connection that reads in large pieces.
func (s *Source) connectReader(ctx context.Context) (*pgconn.PgConn, error) {
	cfg, err := s.cfg.sessionConfig(s.Database)
	if err != nil {
		return nil, err
	}
	for name, value := range readerSettings(s.Version) {
		cfg.RuntimeParams[name] = value
	}
	if s.unencoded {
		cfg.RuntimeParams["client_encoding"] = sqlASCII
	}
	cfg.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		return pgproto3.NewFrontend(bufio.NewReaderSize(&gatherer{r: s.cfg.impatient(r, w)}, readBuffer), w)
	}
	conn, err := pgconn.ConnectConfig(ctx, &cfg.Config)
	if err != nil {
		return nil, s.cfg.connectError(s.Database, err)
	}
	return conn, nil
}

// readerSettings let a second read in one snapshot bring the rows in the order
// of the first: rows that the destination has refused are told by their place.
// A scan that joins another one half-way, or that processes share, has no order.
func readerSettings(version int) map[string]string {
	out := map[string]string{"synchronize_seqscans": "off"}
	if version >= 90600 {
		out["max_parallel_workers_per_gather"] = "0"
	}
	return out
}

// Close ends the connection.
func (q *Session) Close(ctx context.Context) error { return q.reader.conn.Close(ctx) }

// Closed says whether the connection is lost.
func (q *Session) Closed() bool { return q.reader.conn.IsClosed() }

// Begin starts the transaction in which o is read, takes its snapshot and
// proves that the object still has the columns of its schema. The snapshot
// lasts until End.
func (q *Session) Begin(ctx context.Context, o *Queryable) (*Snapshot, error) {
	fail := func(err error) (*Snapshot, error) {
		q.End(ctx)
		return nil, q.failure("begin to read", o, err)
	}
	started, err := q.rows(ctx, beginSQL("")+"SELECT "+timelineAndEnd+", pg_catalog.txid_current_snapshot()::text, (extract(epoch FROM pg_catalog.now()) * 1000000)::bigint")
	if err != nil {
		return fail(err)
	}
	row := started[len(started)-1].Rows[0]
	p := &Snapshot{source: q.source, Visible: string(row[2])}
	timeline, err := strconv.ParseUint(string(row[0]), 10, 32)
	if err != nil {
		return fail(err)
	}
	p.Timeline = uint32(timeline)
	if p.LSN, err = strconv.ParseUint(string(row[1]), 10, 64); err != nil {
		return fail(err)
	}
	if p.Time, err = strconv.ParseInt(string(row[3]), 10, 64); err != nil {
		return fail(err)
	}
	if q.reader.now, err = parseVisible(p.Visible); err != nil {
		return fail(err)
	}
	q.reader.snapshot, q.reader.types = p, q.source.Types()
	if err := q.sameColumns(ctx, o); err != nil {
		return fail(err)
	}
	return p, nil
}

// Horizon is the number of the oldest transaction that ran when the snapshot
// was taken: every older one has ended, and what it committed is visible.
// Running says whether any ran.
func (p *Snapshot) Horizon() (horizon uint64, running bool, err error) {
	v, err := parseVisible(p.Visible)
	return v.xmin, len(v.running) > 0, err
}

// End ends the transaction of Begin.
func (q *Session) End(ctx context.Context) { q.reader.rollback(ctx) }

// sameColumns compares the object with its schema, and locks it against
// changes of its columns.
func (q *Session) sameColumns(ctx context.Context, o *Queryable) error {
	results, err := q.rows(ctx, fmt.Sprintf("SELECT %s FROM %s LIMIT 0", columnList(o.stored()), o.from))
	if err != nil {
		return err
	}
	for i, f := range results[len(results)-1].FieldDescriptions {
		col := o.Schema.Columns[i]
		if !q.reader.types.sends(col.PG, f) {
			return &RestartError{Table: o.ID(), Reason: fmt.Sprintf("the type of column %q changed", col.Name)}
		}
	}
	return nil
}

// sends says whether a column of type pg is described as f.
func (m *TypeMap) sends(pg batch.PGType, f pgconn.FieldDescription) bool {
	oid, typmod := pg.OID, pg.Typmod
	if base, mod := m.base(oid, typmod); base != nil {
		oid, typmod = base.OID, mod
	}
	return f.DataTypeOID == oid && f.TypeModifier == typmod
}

func (q *Session) rows(ctx context.Context, sql string) ([]*pgconn.Result, error) {
	results, err := q.reader.conn.Exec(ctx, sql).ReadAll()
	if err == nil && len(results) == 0 {
		err = errors.New("the server gave no result")
	}
	return results, err
}

// failure says what went wrong with which object.
func (q *Session) failure(op string, o *Queryable, err error) error {
	var restart *RestartError
	if err == nil || errors.As(err, &restart) {
		return err
	}
	var server *pgconn.PgError
	if !errors.As(err, &server) {
		return wrap(op, o.ID().String(), err)
	}
	e := Classify(err)
	e.Op, e.Object = op, o.ID().String()
	if server.Code == "55P03" { // lock_timeout: others need not wait for this one
		e.Class = Object
		e.Hint = "The next run tries again. Who has locked it: SELECT l.relation::regclass, a.pid, a.query FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.mode = 'AccessExclusiveLock' AND l.granted;"
	}
	if o.Table != nil && server.Code == "42501" {
		e.Class = Object
		e.Hint = fmt.Sprintf("GRANT USAGE ON SCHEMA %s TO %s; GRANT SELECT ON %s TO %s;",
			quoteIdent(o.ID().Schema), quoteIdent(q.source.cfg.User), o.Table.quoted(), quoteIdent(q.source.cfg.User))
	}
	return e
}

// ReadBlocks reads the rows of a range of blocks that window selects.
func (q *Session) ReadBlocks(ctx context.Context, o *Queryable, c Chunk, window Window, limit Limit, emit Emit) (rows, bytes int64, err error) {
	where, err := c.condition(q.source.Version, q.reader.now)
	if err != nil {
		return 0, 0, fmt.Errorf("read %s: %w", o.ID(), err)
	}
	if sql := window.condition(q.reader.now); sql != "" {
		where += " AND " + sql
	}
	return q.copy(ctx, o, fmt.Sprintf("FROM ONLY %s WHERE %s", quoteName(c.Schema, c.Name), where), limit, emit)
}

// ReadAll reads all rows in no order.
func (q *Session) ReadAll(ctx context.Context, o *Queryable, limit Limit, emit Emit) (rows, bytes int64, err error) {
	return q.copy(ctx, o, "FROM "+o.from, limit, emit)
}

func (q *Session) copy(ctx context.Context, o *Queryable, from string, limit Limit, emit Emit) (rows, bytes int64, err error) {
	return q.copyColumns(ctx, o, o.expressions(q.reader.now), from, limit, emit)
}

func (q *Session) copyColumns(ctx context.Context, o *Queryable, instead map[string]string, from string, limit Limit, emit Emit) (rows, bytes int64, err error) {
	sink, err := q.reader.copyRows(ctx, o.Schema, instead, from, limit, emit)
	if err != nil && (sink == nil || sink.refused == nil) {
		err = q.failure("read", o, err)
	}
	if sink == nil {
		return 0, 0, err
	}
	return sink.rows, sink.bytes, err
}

// ReadKeys reads the keys of all rows, the other columns absent.
func (q *Session) ReadKeys(ctx context.Context, o *Queryable, limit Limit, emit Emit) error {
	instead := map[string]string{}
	var absent []int
	for i, c := range o.Schema.Columns {
		if c.Key == 0 {
			instead[c.Name] = "NULL::pg_catalog.text" // NULL is sent alike for every type
			absent = append(absent, i)
		}
	}
	_, _, err := q.copyColumns(ctx, o, instead, "FROM "+o.from, limit, func(b *batch.Batch, failed []RawFailure) error {
		if b != nil {
			for _, i := range absent {
				b.Present[i] = batch.NewBitmap(b.Len())
			}
		}
		return emit(b, failed)
	})
	return err
}
