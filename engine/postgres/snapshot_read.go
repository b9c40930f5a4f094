package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/leat-etl/leat/engine/batch"
)

// readBuffer is how much of a COPY is read from the socket at once.
const readBuffer = 256 << 10

// gatherer reads from the socket of a COPY as wire does, and for its reason:
// after a read that brought little it stays away for a while.
type gatherer struct {
	r      io.Reader
	sparse bool
}

// Read implements io.Reader.
func (g *gatherer) Read(p []byte) (int, error) {
	if g.sparse {
		pause(gatherPause)
	}
	n, err := g.r.Read(p)
	g.sparse = n < gatherBelow
	return n, err
}

// Reader is one worker's connection. It belongs to one goroutine. Each chunk
// is a transaction of its own, so that DDL at the source never waits for
// longer than a chunk takes.
type Reader struct {
	snapshot *Snapshot
	conn     *pgconn.PgConn
	types    *TypeMap
	now      visible
}

// Limit cuts the batches of a chunk: at Rows, or before the row that would
// take a batch beyond Bytes. A larger row is a batch of its own.
type Limit struct {
	Rows  int
	Bytes int64
	// Row is the largest row that is kept; 0 keeps all.
	Row int64
}

// Emit takes a batch of Reads, whose reference is now its own, and the rows
// before its end that could not be represented. The batch may be nil.
type Emit func(*batch.Batch, []RawFailure) error

// Join opens a worker's connection to the snapshot. The caller closes it.
func (p *Snapshot) Join(ctx context.Context) (*Reader, error) {
	now, err := parseVisible(p.Visible)
	if err != nil {
		return nil, err
	}
	conn, err := p.source.connectReader(ctx)
	if err != nil {
		return nil, err
	}
	return &Reader{snapshot: p, conn: conn, types: p.source.Types(), now: now}, nil
}

// Close ends the connection.
func (r *Reader) Close(ctx context.Context) error { return r.conn.Close(ctx) }

// ReadChunk reads a chunk as of the snapshot and hands it on batch by batch,
// in the goroutine of the caller: a slow emit slows the server down. It
// returns the number of rows and of bytes received. An error of emit comes back
// as it is; a *RestartError says that the chunk no longer fits the table. After any error the same chunk may be
// read again, by this Reader unless Closed.
func (r *Reader) ReadChunk(ctx context.Context, t *Table, c Chunk, limit Limit, emit Emit) (rows, bytes int64, err error) {
	where, err := c.condition(r.snapshot.source.Version, r.now)
	if err != nil {
		return 0, 0, fmt.Errorf("read chunk %d of %s: %w", c.Seq, t.ID(), err)
	}
	if err := r.begin(ctx, t, &c); err != nil {
		r.rollback(ctx)
		return 0, 0, r.chunkError(t, &c, err)
	}
	defer r.rollback(ctx)
	sink, err := r.copyRows(ctx, t.Schema, nil, fmt.Sprintf("FROM ONLY %s WHERE %s", quoteName(c.Schema, c.Name), where), limit, emit)
	if sink == nil {
		return 0, 0, fmt.Errorf("read chunk %d of %s: %w", c.Seq, t.ID(), err)
	}
	if err != nil && sink.refused == nil {
		err = r.chunkError(t, &c, err)
	}
	return sink.rows, sink.bytes, err
}

// copyRows hands on the rows that COPY (SELECT ... from) sends. instead has
// expressions in the place of columns. The sink is nil where nothing was sent.
func (r *Reader) copyRows(ctx context.Context, s *batch.Schema, instead map[string]string, from string, limit Limit, emit Emit) (*chunkSink, error) {
	wire, columns := r.wireForm(s, instead)
	decoder, err := newCopyDecoder(wire, r.types, true)
	if err != nil {
		return nil, err
	}
	decoder.largest = limit.Row
	sink := &chunkSink{decoder: decoder, builder: batch.NewBuilder(s), limit: limit, emit: emit, schema: s,
		lsn: r.snapshot.LSN, time: r.snapshot.Time,
		position: batch.Position{Timeline: r.snapshot.Timeline, LSN: r.snapshot.LSN, Ordinal: batch.EndOfTransaction}}
	if _, err = r.conn.CopyTo(ctx, sink, fmt.Sprintf("COPY (SELECT %s %s) TO STDOUT (FORMAT binary)", columns, from)); err != nil {
		return sink, err
	}
	if err := decoder.Finish(); err != nil {
		return sink, err
	}
	return sink, sink.flush()
}

// Closed says whether the connection is lost, after which the Reader is of no
// more use.
func (r *Reader) Closed() bool { return r.conn.IsClosed() }

// begin opens the chunk's transaction and proves that the relation is still
// the one that was planned. The lock keeps it so until rollback.
func (r *Reader) begin(ctx context.Context, t *Table, c *Chunk) error {
	name := quoteName(c.Schema, c.Name)
	sql := beginSQL(r.snapshot.Name) + fmt.Sprintf("LOCK TABLE ONLY %s IN ACCESS SHARE MODE; SELECT coalesce(pg_catalog.pg_relation_filenode(%s::regclass), 0); SELECT %s FROM ONLY %s LIMIT 0",
		name, quoteLiteral(name), columnList(t.Schema), name)
	results, err := r.conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		return err
	}
	if len(results) < 2 || len(results[len(results)-2].Rows) != 1 {
		return fmt.Errorf("the server gave %d results", len(results))
	}
	filenode, err := strconv.ParseUint(string(results[len(results)-2].Rows[0][0]), 10, 32)
	if err != nil {
		return err
	}
	if uint32(filenode) != c.Filenode {
		return rewritten(t, *c)
	}
	for i, f := range results[len(results)-1].FieldDescriptions {
		col := t.Schema.Columns[i]
		if !r.types.sends(col.PG, f) {
			return &RestartError{Table: t.ID(), Reason: fmt.Sprintf("the type of column %q changed", col.Name)}
		}
	}
	return nil
}

func (r *Reader) rollback(ctx context.Context) {
	if !r.conn.IsClosed() {
		// A failure closes the connection, which Closed tells.
		_, _ = r.conn.Exec(ctx, "ROLLBACK").ReadAll()
	}
}

// chunkError says what went wrong with which chunk.
func (r *Reader) chunkError(t *Table, c *Chunk, err error) error {
	var restart *RestartError
	if errors.As(err, &restart) {
		return err
	}
	var server *pgconn.PgError
	if !errors.As(err, &server) {
		return wrap("read chunk", fmt.Sprintf("%d of %s", c.Seq, t.ID()), err)
	}
	e := Classify(err)
	e.Op, e.Object = "read chunk", fmt.Sprintf("%d of %s", c.Seq, t.ID())
	switch server.Code {
	case "42P01", "3F000", "42703":
		return &RestartError{Table: t.ID(), Reason: "the table or a column was dropped or renamed"}
	case "42501":
		name := quoteName(c.Schema, c.Name)
		e.Hint = fmt.Sprintf("GRANT USAGE ON SCHEMA %s TO %s; GRANT SELECT ON %s TO %s;", quoteIdent(c.Schema), quoteIdent(r.snapshot.source.cfg.User), name, quoteIdent(r.snapshot.source.cfg.User))
		if t.RowSecurity {
			e.Causes = append(e.Causes, "A row security policy hides rows from the role.")
			e.Hint += fmt.Sprintf(" ALTER ROLE %s BYPASSRLS;", quoteIdent(r.snapshot.source.cfg.User))
		}
	case "22023", "42704", "55000":
		if strings.Contains(server.Routine, "Snapshot") || strings.Contains(server.Routine, "Xmin") {
			e.Class, e.Causes = Retry, []string{"The transaction that holds the snapshot has ended: take a new one and resume."}
		}
	}
	return e
}

// wireForm is the schema of what the server sends and the columns to select:
// a column whose binary form is not understood travels as the text that its
// output function prints, which a cast to text may change. instead has
// expressions in the place of columns.
func (r *Reader) wireForm(s *batch.Schema, instead map[string]string) (*batch.Schema, string) {
	wire := &batch.Schema{Table: s.Table, Version: s.Version, Columns: append([]batch.Column(nil), s.Columns...)}
	names := make([]string, len(s.Columns))
	for i := range wire.Columns {
		col := &wire.Columns[i]
		if names[i] = instead[col.Name]; names[i] == "" {
			names[i] = quoteIdent(col.Name)
		}
		if !r.types.binarySafe(col.PG.OID) {
			names[i] = fmt.Sprintf("CASE WHEN pg_catalog.num_nulls(%[1]s) = 0 THEN pg_catalog.format('%%s', %[1]s) END", names[i])
			col.PG = batch.PGType{Name: "text", OID: pgtype.TextOID, Typmod: -1}
		}
	}
	return wire, strings.Join(names, ", ")
}

func columnList(s *batch.Schema) string {
	names := make([]string, len(s.Columns))
	for i, c := range s.Columns {
		names[i] = quoteIdent(c.Name)
	}
	return strings.Join(names, ", ")
}

// chunkSink turns the data of a COPY into batches. The server sends one row a
// message.
type chunkSink struct {
	decoder     *copyDecoder
	builder     *batch.Builder
	schema      *batch.Schema
	limit       Limit
	emit        Emit
	lsn         uint64
	time        int64
	position    batch.Position
	pending     int64 // bytes in builder
	rows, bytes int64
	refused     error // emit's
}

// Write implements io.Writer.
func (s *chunkSink) Write(data []byte) (int, error) {
	if n := s.builder.Len(); n > 0 && (n >= s.limit.Rows || s.pending+int64(len(data)) > s.limit.Bytes) {
		if err := s.flush(); err != nil {
			return 0, err
		}
	}
	s.pending += int64(len(data))
	s.bytes += int64(len(data))
	before := s.builder.Len()
	if err := s.decoder.Decode(data, s.builder, s.lsn, s.time); err != nil {
		return 0, err
	}
	s.rows += int64(s.builder.Len() - before)
	return len(data), nil
}

func (s *chunkSink) flush() error {
	failed := s.decoder.TakeFailed()
	for i := range failed {
		failed[i].Schema = s.schema
		failed[i].Position.Timeline = s.position.Timeline
	}
	var out *batch.Batch
	if s.builder.Len() > 0 {
		out = s.builder.Finish(s.position)
	}
	s.pending = 0
	if out == nil && len(failed) == 0 {
		return nil
	}
	s.refused = s.emit(out, failed)
	return s.refused
}
