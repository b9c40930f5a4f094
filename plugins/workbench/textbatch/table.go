// Package textbatch writes batches for people and reads them back.
//
// A batch is a table in text: a header with op and the columns, then a row a
// line, cells between vertical bars. A cell is a value as PostgreSQL prints it,
// null, unchanged (the source did not send it), or a JSON string for a text
// that would read otherwise as it stands.
package textbatch

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/leat-etl/leat/engine/batch"
)

// The words for the states of a cell that are no value.
const (
	Null      = "null"
	Unchanged = "unchanged"
)

// Grid is a table in text: a header and cells as they are written, canonical,
// so that equal cells are equal strings.
type Grid struct {
	Head []string
	Rows [][]string
}

// Parse reads a table in text. An empty text has no header.
func Parse(text string) (*Grid, error) {
	g := &Grid{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		cells, err := splitCells(line)
		if err != nil {
			return nil, err
		}
		if g.Head == nil {
			g.Head = cells
			continue
		}
		if len(cells) != len(g.Head) {
			return nil, fmt.Errorf("row %d has %d cells, the header %d: %s", len(g.Rows)+1, len(cells), len(g.Head), line)
		}
		g.Rows = append(g.Rows, cells)
	}
	return g, nil
}

// splitCells parts a line at the bars that are outside of quotes.
func splitCells(line string) ([]string, error) {
	var cells []string
	rest := line
	for {
		rest = strings.TrimLeft(rest, " \t")
		cell := rest
		if strings.HasPrefix(rest, `"`) {
			d := json.NewDecoder(strings.NewReader(rest))
			var text string
			if err := d.Decode(&text); err != nil {
				return nil, fmt.Errorf("a cell that begins with a quote is a JSON string: %s", line)
			}
			cell, rest = Quote(text), rest[d.InputOffset():]
			rest = strings.TrimLeft(rest, " \t")
			if rest != "" && rest[0] != '|' {
				return nil, fmt.Errorf("after the text in quotes comes no bar: %s", line)
			}
		} else {
			at := strings.IndexByte(rest, '|')
			if at < 0 {
				at = len(rest)
			}
			cell, rest = strings.TrimRight(rest[:at], " \t"), rest[at:]
			if cell == "" {
				return nil, fmt.Errorf(`an empty cell: write null, unchanged, or "" for a text without characters: %s`, line)
			}
		}
		cells = append(cells, cell)
		if rest == "" {
			return cells, nil
		}
		rest = rest[1:]
	}
}

// Quote writes a value as a cell: as it stands where it reads back so.
func Quote(v string) string {
	plain := v != "" && v != Null && v != Unchanged && strings.TrimSpace(v) == v && v[0] != '"' && v[0] != '#' && utf8.ValidString(v)
	for _, r := range v {
		plain = plain && r >= ' ' && r != '|' && r != 0x7f
	}
	if plain {
		return v
	}
	var s strings.Builder
	e := json.NewEncoder(&s)
	e.SetEscapeHTML(false)
	if e.Encode(v) != nil { // a string always has a JSON form
		return "?"
	}
	return strings.TrimSuffix(s.String(), "\n")
}

// Unquote reads a cell that is neither null nor unchanged.
func Unquote(cell string) string {
	var text string
	if strings.HasPrefix(cell, `"`) && json.Unmarshal([]byte(cell), &text) == nil {
		return text
	}
	return cell
}

// lines prints the grid with its cells under each other.
func (g *Grid) lines(widths []int) []string {
	out := make([]string, 0, len(g.Rows)+1)
	for _, row := range append([][]string{g.Head}, g.Rows...) {
		var s strings.Builder
		for i, cell := range row {
			if i > 0 {
				s.WriteString(" | ")
			}
			s.WriteString(cell)
			if i < len(row)-1 {
				s.WriteString(strings.Repeat(" ", max(0, widths[i]-utf8.RuneCountInString(cell))))
			}
		}
		out = append(out, s.String())
	}
	return out
}

// widths are the columns' widths over several grids.
func widths(grids ...*Grid) []int {
	var out []int
	for _, g := range grids {
		for _, row := range append([][]string{g.Head}, g.Rows...) {
			for i, cell := range row {
				if i >= len(out) {
					out = append(out, 0)
				}
				out[i] = max(out[i], utf8.RuneCountInString(cell))
			}
		}
	}
	return out
}

var operations = map[string]batch.Op{
	"insert": batch.Insert, "update": batch.Update, "delete": batch.Delete, "read": batch.Read, "old key": batch.OldKey, "truncate": batch.Truncate,
}

// Batch makes a batch of a schema from a grid.
func (g *Grid) Batch(s *batch.Schema) (*batch.Batch, error) {
	if len(g.Head) == 0 || g.Head[0] != "op" {
		return nil, fmt.Errorf("the header does not begin with op")
	}
	places := make([]int, len(s.Columns))
	for i := range places {
		places[i] = -1
	}
	for at, name := range g.Head[1:] {
		i := s.Column(Unquote(name))
		if i < 0 {
			return nil, fmt.Errorf("the header names %s, which is no column of %s", name, s.Table)
		}
		places[i] = at + 1
	}
	b := batch.NewBuilder(s)
	ordinal := uint64(0)
	for n, row := range g.Rows {
		op, ok := operations[row[0]]
		if !ok {
			return nil, fmt.Errorf("row %d: operation %q: want insert, update, delete, read, old key or truncate", n+1, row[0])
		}
		for i := range s.Columns {
			if err := AppendCell(b.Column(i), &s.Columns[i], cellAt(row, places[i], op)); err != nil {
				return nil, fmt.Errorf("row %d, column %s: %w", n+1, s.Columns[i].Name, err)
			}
		}
		if n == 0 || g.Rows[n-1][0] != "old key" {
			ordinal++
		}
		b.EndRow(op, 100, ordinal, 1_700_000_000_000_000)
	}
	return b.Finish(batch.Position{Timeline: 1, LSN: 100, Ordinal: batch.EndOfTransaction}), nil
}

// cellAt is a cell of a row; one whose column the header leaves out is null,
// or unchanged in rows that carry no more than an identity.
func cellAt(row []string, at int, op batch.Op) string {
	switch {
	case op == batch.Truncate:
		return Unchanged
	case at >= 0:
		return row[at]
	case op == batch.Delete || op == batch.OldKey:
		return Unchanged
	}
	return Null
}

// AppendCell appends a cell to its column.
func AppendCell(b *batch.ColumnBuilder, c *batch.Column, cell string) error {
	switch cell {
	case Null:
		b.AppendNull()
	case Unchanged:
		b.AppendAbsent()
	default:
		if err := appendValue(b, c.Type, Unquote(cell)); err != nil {
			return fmt.Errorf("%s: %w", cell, err)
		}
	}
	return nil
}

// Of prints a batch.
func Of(b *batch.Batch) (*Grid, error) {
	g := &Grid{Head: []string{"op"}}
	for _, c := range b.Schema.Columns {
		g.Head = append(g.Head, Quote(c.Name))
	}
	for row := range b.Len() {
		g.Rows = append(g.Rows, []string{b.Ops[row].String()})
	}
	for i := range b.Schema.Columns {
		a := b.Rows.Column(i)
		text, err := batch.TextOf(a)
		if err != nil {
			return nil, err
		}
		for row := range b.Len() {
			cell := ""
			switch {
			case !b.IsPresent(i, row):
				cell = Unchanged
			case a.IsNull(row):
				cell = Null
			default:
				cell = Quote(string(text(nil, row)))
			}
			g.Rows[row] = append(g.Rows[row], cell)
		}
	}
	return g, nil
}

// String prints the table with its cells under each other.
func (g *Grid) String() string { return strings.Join(g.lines(widths(g)), "\n") + "\n" }
