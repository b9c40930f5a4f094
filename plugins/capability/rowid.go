package capability

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/leat-etl/leat/engine/batch"
)

// rowIDs makes the ids of the rows of a batch: the stand-in key of rows that
// nothing else identifies. An id is the SHA-256, in hexadecimal, of the row's
// values that are not NULL, in the order of their columns' names: the length
// of the name, the name, the length of the value's text, and the text as
// PostgreSQL prints it, lengths as 4 bytes with the highest first. A column
// that is added later and NULL leaves the ids of older rows as they were. A
// row that lacks a cell has no id.
type rowIDs struct {
	batch   *batch.Batch
	columns []idColumn
	partial bool // some cell is absent
	buf     []byte
}

type idColumn struct {
	name  []byte // with its length before it
	cells arrow.Array
	text  batch.CellText
}

func newRowIDs(b *batch.Batch) (*rowIDs, error) {
	r := &rowIDs{batch: b, columns: make([]idColumn, len(b.Schema.Columns)), partial: !b.IsComplete()}
	for i, c := range b.Schema.Columns {
		text, err := batch.TextOf(b.Rows.Column(i))
		if err != nil {
			return nil, err
		}
		name := binary.BigEndian.AppendUint32(nil, uint32(len(c.Name)))
		r.columns[i] = idColumn{append(name, c.Name...), b.Rows.Column(i), text}
	}
	slices.SortFunc(r.columns, func(a, b idColumn) int { return strings.Compare(string(a.name[4:]), string(b.name[4:])) })
	return r, nil
}

// has says whether a row has an id.
func (r *rowIDs) has(row int) bool {
	if r.partial {
		for col := range r.columns {
			if !r.batch.IsPresent(col, row) {
				return false
			}
		}
	}
	return true
}

// append adds the id of a row.
func (r *rowIDs) append(dst []byte, row int) []byte {
	r.buf = r.buf[:0]
	for i := range r.columns {
		c := &r.columns[i]
		if c.cells.IsNull(row) {
			continue
		}
		r.buf = append(r.buf, c.name...)
		start := len(r.buf)
		r.buf = c.text(append(r.buf, 0, 0, 0, 0), row)
		binary.BigEndian.PutUint32(r.buf[start:], uint32(len(r.buf)-start-4))
	}
	sum := sha256.Sum256(r.buf)
	return hex.AppendEncode(dst, sum[:])
}

// column makes the ids of the first n rows.
func (r *rowIDs) column(n int) arrow.Array {
	const width = 2 * sha256.Size
	data, offsets := make([]byte, 0, n*width), make([]int32, n+1)
	valid, nulls := batch.NewBitmap(n), 0
	for row := range n {
		if r.has(row) {
			valid.Set(row)
			data = r.append(data, row)
		} else {
			nulls++
		}
		offsets[row+1] = int32(len(data))
	}
	d := array.NewData(arrow.BinaryTypes.String, n, []*memory.Buffer{memory.NewBufferBytes(valid), memory.NewBufferBytes(arrow.Int32Traits.CastToBytes(offsets)), memory.NewBufferBytes(data)}, nil, nulls, 0)
	defer d.Release()
	return array.MakeFromData(d)
}
