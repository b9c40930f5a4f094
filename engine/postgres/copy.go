package postgres

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/leat-etl/leat/engine/batch"
)

// copyDecoder turns the output of COPY TO STDOUT, whose columns are those of
// a schema in order, into rows of a batch.Builder. The input may be cut
// anywhere. It belongs to one goroutine.
type copyDecoder struct {
	schema  *batch.Schema
	columns []appender
	binary  bool
	header  bool   // binary: the header has been read
	ended   bool   // the end marker has been read
	rest    []byte // the start of a row whose end has not arrived
	scratch []byte // text: a cell without its escapes
	failed  []RawFailure
	largest int64 // bytes of a row, 0 for any
}

// RawFailure is a row that could not be represented in its batch, kept as the
// server sent it.
type RawFailure struct {
	Schema     *batch.Schema
	Op         batch.Op
	Position   batch.Position
	CommitTime int64
	// Old and New are the tuples: pgoutput's TupleData, or for a Read the
	// fields of the COPY row. Binary says which form a COPY row has.
	Old, New []byte
	Binary   bool
	// Column is the first column that failed, -1 if the tuple itself did.
	Column int
	Reason error
	// Size is set where the change is larger than is allowed, to its bytes:
	// nothing but its key was kept.
	Size int64
	// Key has the identities that the row had and has, as OldKey rows; nil
	// where the table has none or it cannot be represented either.
	Key *batch.Batch
}

// Error describes the failure without row values.
func (f *RawFailure) Error() string {
	if f.Column < 0 || f.Column >= len(f.Schema.Columns) {
		return fmt.Sprintf("decode %s of %s at %s: %v", f.Op, f.Schema.Table, f.Position, f.Reason)
	}
	col := f.Schema.Columns[f.Column]
	return fmt.Sprintf("decode %s of %s at %s: column %q (%s): %v", f.Op, f.Schema.Table, f.Position, col.Name, col.PG.Name, f.Reason)
}

// Unwrap returns the reason.
func (f *RawFailure) Unwrap() error { return f.Reason }

// tooLarge is why an event was not kept.
type tooLarge struct{ size, limit int64 }

// Error implements error.
func (e tooLarge) Error() string {
	return fmt.Sprintf("it has %d bytes, more than max_event_bytes (%d), and was not kept: raise the limit and load the table again, or skip it", e.size, e.limit)
}

var copySignature = []byte("PGCOPY\n\xff\r\n\x00")

// newCopyDecoder returns a decoder for COPY in text or binary format. Binary
// is possible where TypeMap.binarySafe holds for every column.
func newCopyDecoder(schema *batch.Schema, types *TypeMap, binary bool) (*copyDecoder, error) {
	d := &copyDecoder{schema: schema, binary: binary, columns: make([]appender, len(schema.Columns))}
	for i, col := range schema.Columns {
		var err error
		if d.columns[i], err = newAppender(types, col, binary); err != nil {
			return nil, fmt.Errorf("copy of %s: column %q: %w", schema.Table, col.Name, err)
		}
	}
	return d, nil
}

// Decode appends the rows that chunk completes to b as Reads with the given
// LSN and time (microseconds since 1970). Rows that cannot be represented are
// kept for TakeFailed; an error means that the stream itself is broken.
func (d *copyDecoder) Decode(chunk []byte, b *batch.Builder, lsn uint64, readTime int64) error {
	data := chunk
	if len(d.rest) > 0 {
		d.rest = append(d.rest, chunk...)
		data = d.rest
	}
	for len(data) > 0 {
		n, err := d.next(data, b, lsn, readTime)
		if err != nil {
			return fmt.Errorf("copy of %s: %w", d.schema.Table, err)
		}
		if n == 0 {
			break
		}
		data = data[n:]
	}
	d.rest = append(d.rest[:0], data...)
	return nil
}

// Finish says whether the input ended at the end of a row and, in binary
// format, with the end marker.
func (d *copyDecoder) Finish() error {
	if len(d.rest) > 0 || d.binary && !d.ended {
		return fmt.Errorf("copy of %s: the data ends inside a row", d.schema.Table)
	}
	return nil
}

// TakeFailed returns the rows that failed since the last call.
func (d *copyDecoder) TakeFailed() []RawFailure {
	failed := d.failed
	d.failed = nil
	return failed
}

// next decodes the row at the start of data and returns its length, 0 if it is
// not all there.
func (d *copyDecoder) next(data []byte, b *batch.Builder, lsn uint64, readTime int64) (n int, err error) {
	if d.ended {
		return 0, fmt.Errorf("%d bytes after the end marker", len(data))
	}
	var row []byte
	var failure columnError
	if d.binary {
		if !d.header {
			return d.readHeader(data)
		}
		if n, err = d.binaryRowLength(data); n == 0 || err != nil || d.ended {
			return n, err
		}
		row = data[:n]
		if d.largest > 0 && int64(n) > d.largest {
			d.failed = append(d.failed, RawFailure{
				Schema: d.schema, Op: batch.Read, Position: batch.Position{LSN: lsn}, CommitTime: readTime,
				Column: -1, Reason: tooLarge{int64(n), d.largest}, Size: int64(n), Key: d.keyOf(row),
			})
			return n, nil
		}
		failure = d.binaryRow(row, b)
	} else {
		end := bytes.IndexByte(data, '\n')
		if end < 0 {
			return 0, nil
		}
		n, row = end+1, data[:end]
		if string(row) == `\.` {
			d.ended = true
			return n, nil
		}
		if failure, err = d.textRow(row, b); err != nil {
			b.AbortRow()
			return 0, err
		}
	}
	if failure.reason != nil {
		b.AbortRow()
		d.failed = append(d.failed, RawFailure{
			Schema: d.schema, Op: batch.Read, Position: batch.Position{LSN: lsn}, CommitTime: readTime,
			New: bytes.Clone(row), Binary: d.binary, Column: failure.column, Reason: failure.reason, Key: d.keyOf(row),
		})
		return n, nil
	}
	b.EndRow(batch.Read, lsn, 0, readTime)
	return n, nil
}

// columnError is why a row cannot be represented.
type columnError struct {
	column int
	reason error
}

func (d *copyDecoder) readHeader(data []byte) (int, error) {
	if len(data) < len(copySignature)+8 {
		return 0, nil
	}
	if !bytes.HasPrefix(data, copySignature) {
		return 0, fmt.Errorf("the data does not start with the signature of COPY BINARY")
	}
	extension := int64(binary.BigEndian.Uint32(data[len(copySignature)+4:]))
	n := int64(len(copySignature)) + 8 + extension
	if extension > 1<<20 {
		return 0, fmt.Errorf("header extension of %d bytes", extension)
	}
	if int64(len(data)) < n {
		return 0, nil
	}
	d.header = true
	return int(n), nil
}

// binaryRowLength returns the length of the row at the start of data, 0 if it
// is not all there, and notes the end marker.
func (d *copyDecoder) binaryRowLength(data []byte) (int, error) {
	if len(data) < 2 {
		return 0, nil
	}
	fields := int16(binary.BigEndian.Uint16(data))
	if fields == -1 {
		d.ended = true
		return 2, nil
	}
	if int(fields) != len(d.columns) {
		return 0, fmt.Errorf("row of %d fields, want %d", fields, len(d.columns))
	}
	at := 2
	for range d.columns {
		if len(data)-at < 4 {
			return 0, nil
		}
		n := int32(binary.BigEndian.Uint32(data[at:]))
		at += 4
		if n < -1 {
			return 0, fmt.Errorf("field of %d bytes", n)
		}
		if n > 0 {
			if len(data)-at < int(n) {
				return 0, nil
			}
			at += int(n)
		}
	}
	return at, nil
}

// binaryRow appends the cells of a whole row.
func (d *copyDecoder) binaryRow(row []byte, b *batch.Builder) columnError {
	at := 2
	for i, decode := range d.columns {
		n := int32(binary.BigEndian.Uint32(row[at:]))
		at += 4
		if n < 0 {
			b.Column(i).AppendNull()
			continue
		}
		if err := decode(b.Column(i), row[at:at+int(n)]); err != nil {
			return columnError{i, err}
		}
		at += int(n)
	}
	return columnError{}
}

// keyOf returns the key of a row that failed.
func (d *copyDecoder) keyOf(row []byte) *batch.Batch {
	if !d.binary || len(d.schema.Key()) == 0 {
		return nil
	}
	b := batch.NewBuilder(d.schema)
	at := 2
	for i, decode := range d.columns {
		n := int(int32(binary.BigEndian.Uint32(row[at:])))
		at += 4
		switch {
		case d.schema.Columns[i].Key == 0:
			b.Column(i).AppendAbsent()
		case n < 0:
			b.Column(i).AppendNull()
		default:
			if decode(b.Column(i), row[at:at+n]) != nil {
				return nil
			}
		}
		at += max(n, 0)
	}
	b.EndRow(batch.OldKey, 0, 0, 0)
	return b.Finish(batch.Position{})
}

// textRow appends the cells of a line without its newline. A line with
// another number of cells is an error of the stream, not of the row.
func (d *copyDecoder) textRow(row []byte, b *batch.Builder) (columnError, error) {
	var failure columnError
	if len(d.columns) == 0 {
		if len(row) > 0 {
			return failure, fmt.Errorf("row of more than 0 fields")
		}
		return failure, nil
	}
	for i, decode := range d.columns {
		cell := row
		end := bytes.IndexByte(row, '\t')
		if last := i == len(d.columns)-1; last != (end < 0) {
			return failure, fmt.Errorf("row with another number of fields than %d", len(d.columns))
		}
		if end >= 0 {
			cell, row = row[:end], row[end+1:]
		}
		if failure.reason != nil {
			continue
		}
		if string(cell) == `\N` {
			b.Column(i).AppendNull()
			continue
		}
		if bytes.IndexByte(cell, '\\') >= 0 {
			d.scratch = unescape(d.scratch[:0], cell)
			cell = d.scratch
		}
		if err := decode(b.Column(i), cell); err != nil {
			failure = columnError{i, err}
		}
	}
	return failure, nil
}

// unescape appends cell to dst without COPY's backslash escapes.
func unescape(dst, cell []byte) []byte {
	for i := 0; i < len(cell); i++ {
		b := cell[i]
		if b == '\\' && i+1 < len(cell) {
			i++
			switch b = cell[i]; b {
			case 'b':
				b = '\b'
			case 'f':
				b = '\f'
			case 'n':
				b = '\n'
			case 'r':
				b = '\r'
			case 't':
				b = '\t'
			case 'v':
				b = '\v'
			}
		}
		dst = append(dst, b)
	}
	return dst
}
