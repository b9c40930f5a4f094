package engine

import (
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/cespare/xxhash/v2"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
)

// rowHasher hashes rows in the source's types.
type rowHasher struct {
	t      *verified
	key    []int
	losses []loss
	arrays []*arrayColumn // nil for a column that is no array
	texts  []*postgres.TextColumn
	sieve  *sieve // leaves rows out, nil for none
	buf    []byte
}

// loss is what the plan says that the destination cannot hold of a column, in
// as far as equal rows may differ by it.
type loss struct {
	nanNull  bool // NaN becomes NULL
	zeroSign bool // -0 may become 0
}

func newRowHasher(t *verified) (*rowHasher, error) {
	n := len(t.schema.Columns)
	h := &rowHasher{t: t, key: t.schema.Key(), losses: make([]loss, n), arrays: make([]*arrayColumn, n), texts: make([]*postgres.TextColumn, n)}
	if len(h.key) == 0 {
		for i := range t.schema.Columns {
			h.key = append(h.key, i)
		}
	}
	for _, c := range t.plan.Columns {
		if i := t.schema.Column(c.Source); i >= 0 && c.Source != "" {
			h.losses[i] = loss{
				nanNull:  slices.ContainsFunc(c.Losses, func(l string) bool { return strings.HasPrefix(l, "NaN becomes NULL") }),
				zeroSign: slices.ContainsFunc(c.Losses, func(l string) bool { return strings.HasPrefix(l, "-0 may become 0") }),
			}
		}
	}
	for i, c := range t.schema.Columns {
		element, isArray, err := t.types.ElementColumn(c)
		if err != nil {
			return nil, err
		}
		if isArray {
			h.arrays[i] = &arrayColumn{element, h.losses[i]}
		}
	}
	return h, nil
}

func (h *rowHasher) cell(dst []byte, columns []arrow.Array, col, row int) ([]byte, error) {
	arr := columns[col]
	switch {
	case h.t.kept.cell(columns, col, row):
		return append(dst, 0), nil
	case h.arrays[col] != nil:
		return h.arrays[col].append(dst, arr, row)
	}
	if text, isText := arr.(*array.String); isText && h.texts[col] != nil && text.IsValid(row) {
		return h.earlier(dst, text, col, row)
	}
	return h.losses[col].append(dst, arr, row, h.t.schema.Columns[col].Type)
}

// append is appendCanonical for values that a loss makes equal.
func (l loss) append(dst []byte, arr arrow.Array, row int, want arrow.DataType) ([]byte, error) {
	if l.nanNull && isDecimalNaN(arr, row) {
		return append(dst, 0), nil
	}
	if l.zeroSign && arr.IsValid(row) {
		if v, ok := float(arr, row); ok && v == 0 {
			return append(dst, 1, 0, 0, 0, 0, 0, 0, 0, 0), nil // as appendCanonical has 0
		}
	}
	return appendCanonical(dst, arr, row, want)
}

func isDecimalNaN(arr arrow.Array, row int) bool {
	switch a := arr.(type) {
	case *array.Decimal128:
		return a.Value(row) == batch.NaN128
	case *array.Decimal256:
		return a.Value(row) == batch.NaN256
	}
	return false
}

// typed reads columns that the destination keeps as text, because one type
// could not hold all that the source's column was, as what they are now.
func (h *rowHasher) typed(columns []arrow.Array) (_ []arrow.Array, release func(), err error) {
	var made []arrow.Array
	release = func() {
		for _, a := range made {
			a.Release()
		}
	}
	for i, a := range columns {
		text, isText := a.(*array.String)
		switch h.t.schema.Columns[i].Type.ID() {
		case arrow.STRING, arrow.DECIMAL128, arrow.DECIMAL256:
			continue
		}
		if !isText {
			continue
		}
		if h.texts[i] == nil {
			if h.texts[i], err = postgres.NewTextColumn(h.t.schema.Columns[i]); err != nil {
				return nil, release, err
			}
		}
		read, err := h.texts[i].Read(textsOf(text, 0, text.Len()))
		if err != nil {
			continue // see earlier
		}
		if len(made) == 0 {
			columns = slices.Clone(columns)
		}
		columns[i], made = read, append(made, read)
	}
	return columns, release, nil
}

// earlier hashes a cell of a column in which some values are those of an earlier
// type, or of another source's. They differ from all that the column holds now.
func (h *rowHasher) earlier(dst []byte, text *array.String, col, row int) ([]byte, error) {
	read, err := h.texts[col].Read(textsOf(text, row, row+1))
	if err != nil {
		return appendText(append(dst, 2), text.Value(row)), nil
	}
	defer read.Release()
	return h.losses[col].append(dst, read, 0, h.t.schema.Columns[col].Type)
}

func (h *rowHasher) rows(columns []arrow.Array, n int, sink rowSink) error {
	columns, release, err := h.typed(columns)
	defer release()
	if err != nil {
		return err
	}
	for row := range n {
		if h.sieve.takes(columns, row) {
			continue
		}
		h.buf = h.buf[:0]
		var err error
		for _, col := range h.key {
			if h.buf, err = h.cell(h.buf, columns, col, row); err != nil {
				return err
			}
		}
		key := xxhash.Sum64(h.buf)
		h.buf = h.buf[:0]
		for col := range columns {
			if h.buf, err = h.cell(h.buf, columns, col, row); err != nil {
				return err
			}
		}
		name := func() string {
			var parts []string
			for _, col := range h.key {
				parts = append(parts, h.t.schema.Columns[col].Name+"="+columns[col].ValueStr(row))
			}
			return strings.Join(parts, ", ")
		}
		if err := sink(key, xxhash.Sum64(h.buf), name); err != nil {
			return err
		}
	}
	return nil
}
