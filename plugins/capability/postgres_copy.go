package capability

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/leat-etl/leat/engine/batch"
)

// Ingest implements SQL. It is one COPY, in the binary format if every column
// has an exact binary form for its type and otherwise as text, so that the
// server's own input functions read every value.
func (p *postgres) Ingest(ctx context.Context, b *batch.Batch, in Ingest) (int64, error) {
	binary := true
	for _, c := range in.Columns {
		if err := checkIngestColumn(b, c); err != nil {
			return 0, err
		}
		ok, err := hasBinaryForm(b, c)
		if err != nil {
			return 0, err
		}
		binary = binary && ok
	}
	if in.Temporary {
		if err := p.stage(ctx, in); err != nil {
			return 0, err
		}
	}
	rows, all := selected(b, in.Ops)
	want := b.Len()
	if !all {
		want = len(rows)
	}
	if want == 0 {
		return 0, nil
	}
	r := &p.copy
	r.reset(rows, want, binary)
	for _, c := range in.Columns {
		if err := r.add(b, c); err != nil {
			return 0, err
		}
	}
	moved, err := p.copyFrom(ctx, copyStatement(in, binary), r)
	r.columns = r.columns[:0]
	if r.err != nil {
		err = r.err // what made the COPY fail, not the server's answer to that
	}
	if err == nil && moved != int64(want) {
		err = &Error{Class: Internal, Message: fmt.Sprintf("ingest into %s moved %d rows of %d", in.Table, moved, want)}
	}
	return moved, err
}

func checkIngestColumn(b *batch.Batch, c IngestColumn) error {
	switch c.From {
	case FromColumn, FromAbsent:
		if c.Column < 0 || c.Column >= len(b.Schema.Columns) {
			return columnError(Schema, c, fmt.Errorf("the batch has no column %d", c.Column))
		}
	case FromConstant, FromOp, FromLSN, FromOrdinal, FromCommitTime, FromIngestTime, FromRow, FromRowID, FromOrigin:
	default:
		return columnError(Schema, c, fmt.Errorf("unknown source %q", c.From))
	}
	return nil
}

// stage makes the temporary table of an ingest, or empties the one that has
// its shape.
func (p *postgres) stage(ctx context.Context, in Ingest) error {
	columns := make([]string, len(in.Columns))
	for i, c := range in.Columns {
		columns[i] = quoteName(c.Name) + " " + c.Type
	}
	shape := strings.Join(columns, ", ")
	if p.stages[in.Table] == shape {
		_, err := p.Exec(ctx, "TRUNCATE "+temporary(in.Table))
		return err
	}
	_, err := p.Exec(ctx, fmt.Sprintf("DROP TABLE IF EXISTS %s; CREATE TEMPORARY TABLE %s (%s)", temporary(in.Table), in.Table, shape))
	if err == nil {
		p.stages[in.Table] = shape
	}
	return err
}

// temporary makes sure that a name without a schema means the temporary table
// and not a table of the user's.
func temporary(table string) string {
	if strings.HasPrefix(table, "pg_temp.") {
		return table
	}
	return "pg_temp." + table
}

func copyStatement(in Ingest, binary bool) string {
	var s strings.Builder
	table := in.Table
	if in.Temporary {
		table = temporary(table)
	}
	s.WriteString("COPY " + table + " (")
	for i, c := range in.Columns {
		if i > 0 {
			s.WriteString(", ")
		}
		s.WriteString(quoteName(c.Name))
	}
	s.WriteString(") FROM STDIN")
	if binary {
		s.WriteString(" (FORMAT binary)")
	}
	return s.String()
}

// copyCell appends one cell in the format of the COPY, with its length or
// escapes. An error is about the value.
type copyCell func(dst []byte, row int) ([]byte, error)

// copyReader is the data of one COPY, made while the connection reads it. A
// row is encoded straight from the Arrow columns and costs no allocation.
type copyReader struct {
	columns []copyColumnEncoder
	rows    []int // nil for all
	n, next int
	binary  bool
	started bool
	ended   bool
	err     error
	buf     []byte
	rest    []byte
}

type copyColumnEncoder struct {
	of   IngestColumn
	cell copyCell
}

// copyChunk is how much data is encoded ahead of the connection.
const copyChunk = 64 << 10

func (r *copyReader) reset(rows []int, n int, binary bool) {
	*r = copyReader{columns: r.columns[:0], rows: rows, n: n, binary: binary, buf: r.buf[:0]}
}

func (r *copyReader) add(b *batch.Batch, c IngestColumn) error {
	make := textCell
	if r.binary {
		make = binaryCell
	}
	cell, err := make(b, c)
	if err != nil {
		return columnError(Schema, c, err)
	}
	r.columns = append(r.columns, copyColumnEncoder{c, cell})
	return nil
}

var copyHeader = []byte("PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00")

// Read implements io.Reader.
func (r *copyReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.ended {
			return 0, io.EOF
		}
		if r.err = r.fill(); r.err != nil {
			return 0, r.err
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func (r *copyReader) fill() error {
	dst := r.buf[:0]
	if !r.started && r.binary {
		dst = append(dst, copyHeader...)
	}
	r.started = true
	for ; r.next < r.n && len(dst) < copyChunk; r.next++ {
		row := r.next
		if r.rows != nil {
			row = r.rows[row]
		}
		if r.binary {
			dst = append(dst, byte(len(r.columns)>>8), byte(len(r.columns)))
		}
		for i := range r.columns {
			if i > 0 && !r.binary {
				dst = append(dst, '\t')
			}
			var err error
			if dst, err = r.columns[i].cell(dst, row); err != nil {
				return columnError(Data, r.columns[i].of, fmt.Errorf("row %d: %w", row, err))
			}
		}
		if !r.binary {
			dst = append(dst, '\n')
		}
	}
	if r.next == r.n && !r.ended && len(dst) < copyChunk {
		r.ended = true
		if r.binary {
			dst = append(dst, 0xff, 0xff)
		}
	}
	r.buf, r.rest = dst, dst
	return nil
}
