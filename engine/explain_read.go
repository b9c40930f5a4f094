package engine

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/leat-etl/leat/engine/batch"
)

// keyedRead reads the rows of one key from a table of the destination and
// compares the newest with what the transforms make of the source's row.
type keyedRead struct {
	*rowHasher
	made *batch.Batch
	row  int

	names []string // at the destination: of the schema's columns, then of what Leat adds
	key   []byte   // in canonical form
	rows  int
	// Of the newest row: each column's canonical form and text, nil for null.
	canonical [][]byte
	texts     []*string
}

// prepare finds out how the columns are called, and the key.
func (k *keyedRead) prepare() (err error) {
	target := k.t.plan
	k.names = make([]string, len(k.t.schema.Columns))
	for i, c := range k.t.schema.Columns {
		for _, at := range target.Columns {
			if at.Source == c.Name {
				k.names[i] = at.Name
			}
		}
		if k.names[i] == "" {
			return fmt.Errorf("the destination's plan of %s has no column for %q", target.Table, c.Name)
		}
	}
	for _, at := range target.Columns {
		if at.Source == "" {
			k.names = append(k.names, at.Name)
		}
	}
	k.key, err = k.keyOf(k.made.Rows.Columns(), k.row)
	return err
}

func (k *keyedRead) keyOf(columns []arrow.Array, row int) (key []byte, err error) {
	for _, col := range k.rowHasher.key {
		if key, err = k.cell(key, columns, col, row); err != nil {
			return nil, err
		}
	}
	return key, nil
}

// sql selects rows that may have the key, oldest first where their positions
// are kept. What the dialects write in different ways is left to take.
func (k *keyedRead) sql(prefix string) string {
	quoted := make([]string, len(k.names))
	for i, name := range k.names {
		quoted[i] = quoteName(name)
	}
	var conditions []string
	for _, col := range k.rowHasher.key {
		arr := k.made.Rows.Column(col)
		switch arr.DataType().ID() {
		case arrow.INT16, arrow.INT32, arrow.INT64, arrow.UINT32, arrow.STRING, arrow.FIXED_SIZE_BINARY:
		default:
			continue
		}
		if arr.IsNull(k.row) {
			conditions = append(conditions, quoted[col]+" IS NULL")
			continue
		}
		text, err := batch.TextOf(arr)
		if err != nil {
			continue
		}
		conditions = append(conditions, fmt.Sprintf("%s = CAST('%s' AS %s)", quoted[col], strings.ReplaceAll(string(text(nil, k.row)), "'", "''"), k.typeOf(col)))
	}
	sql := fmt.Sprintf("SELECT %s FROM %s", strings.Join(quoted, ", "), k.t.plan.Table)
	if len(conditions) > 0 {
		sql += " WHERE " + strings.Join(conditions, " AND ")
	}
	for _, name := range k.names[len(k.t.schema.Columns):] {
		if name == prefix+"lsn" {
			return sql + fmt.Sprintf(" ORDER BY %s, %s", quoteName(name), quoteName(prefix+"ordinal"))
		}
	}
	return sql
}

// typeOf is the type of a column of the schema at the destination.
func (k *keyedRead) typeOf(col int) string {
	for _, at := range k.t.plan.Columns {
		if at.Source == k.t.schema.Columns[col].Name {
			return at.Type
		}
	}
	return "" // prepare has found it
}

func quoteName(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// take looks at a part of the rows.
func (k *keyedRead) take(r arrow.RecordBatch) error {
	n := len(k.t.schema.Columns)
	if int(r.NumCols()) != len(k.names) {
		return fmt.Errorf("the destination returned %d columns, want %d", r.NumCols(), len(k.names))
	}
	columns, release, err := k.typed(r.Columns()[:n:n])
	defer release()
	if err != nil {
		return err
	}
	for row := range int(r.NumRows()) {
		key, err := k.keyOf(columns, row)
		if err != nil {
			return err
		}
		if !bytes.Equal(key, k.key) {
			continue
		}
		k.rows++
		k.canonical, k.texts = make([][]byte, n), make([]*string, len(k.names))
		for i, a := range r.Columns() {
			if a.IsValid(row) {
				text := cellText(a, row)
				k.texts[i] = &text
			}
			if i < n {
				if k.canonical[i], err = k.cell(nil, columns, i, row); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// metadata is what Leat added to the newest row, without the prefix.
func (k *keyedRead) metadata(prefix string) map[string]string {
	if k.rows == 0 {
		return nil
	}
	out := map[string]string{}
	for i := len(k.t.schema.Columns); i < len(k.names); i++ {
		if k.texts[i] != nil {
			out[strings.TrimPrefix(k.names[i], prefix)] = *k.texts[i]
		}
	}
	return out
}

// cells are those of the newest row beside those that are made again.
func (k *keyedRead) cells() ([]ExplainedCell, error) {
	var out []ExplainedCell
	for i, c := range k.t.schema.Columns {
		cell := ExplainedCell{Column: c.Name, Destination: k.texts[i]}
		if k.made.IsPresent(i, k.row) {
			again, err := k.cell(nil, k.made.Rows.Columns(), i, k.row)
			if err != nil {
				return nil, err
			}
			if arr := k.made.Rows.Column(i); arr.IsValid(k.row) {
				text := cellText(arr, k.row)
				cell.Again = &text
			}
			if cell.Equal = bytes.Equal(again, k.canonical[i]); cell.Equal {
				cell.Again = cell.Destination // in one way of writing
			}
		}
		out = append(out, cell)
	}
	return out, nil
}
