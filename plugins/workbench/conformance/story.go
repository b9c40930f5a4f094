package conformance

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/plugins/workbench/textbatch"
)

// testCase is a story in text.
type testCase struct {
	name string
	// deliveries are lines. "table NAME: COLUMNS" begins a shape of a table, its
	// columns between commas; then come the header and the rows of a batch. A
	// line of three hyphens ends a delivery.
	deliveries string
}

// story is the deliveries of a case, each with what the tables hold after it.
type story []delivery

type delivery struct {
	steps  []step
	tables []contents
}

// step is one batch.
type step struct {
	schema *batch.Schema
	rows   *textbatch.Grid
}

// contents are the live rows of a table in the shape that it has by then.
type contents struct {
	schema *batch.Schema
	rows   []string
}

// tell reads the case and follows it in a model. rename gives each table a name
// of the trial's own.
func (c testCase) tell(rename func(string) string) (story, error) {
	m := model{tables: map[string]*modelTable{}}
	var out story
	for i, text := range strings.Split(c.deliveries, "\n---\n") {
		d := delivery{}
		for _, part := range strings.Split("\n"+strings.Trim(text, "\n"), "\ntable ")[1:] {
			head, rows, _ := strings.Cut(part, "\n")
			name, columns, _ := strings.Cut(head, ":")
			s, err := m.shape(strings.TrimSpace(name), rename(strings.TrimSpace(name)), columns)
			if err != nil {
				return nil, fmt.Errorf("case %q, delivery %d: %w", c.name, i+1, err)
			}
			g, err := textbatch.Parse(rows)
			if err != nil {
				return nil, fmt.Errorf("case %q, delivery %d: %w", c.name, i+1, err)
			}
			for _, batch := range apart(g) {
				d.steps = append(d.steps, step{s, batch})
				m.apply(strings.TrimSpace(name), batch)
			}
		}
		d.tables = m.contents()
		out = append(out, d)
	}
	return out, nil
}

// apart gives every TRUNCATE a batch of its own, as the source does.
func apart(g *textbatch.Grid) []*textbatch.Grid {
	out := []*textbatch.Grid{{Head: g.Head}}
	for i, row := range g.Rows {
		last := out[len(out)-1]
		if len(last.Rows) > 0 && (row[0] == "truncate" || g.Rows[i-1][0] == "truncate") {
			last = &textbatch.Grid{Head: g.Head}
			out = append(out, last)
		}
		last.Rows = append(last.Rows, row)
	}
	return out
}

// model is what the tables of a story hold.
type model struct {
	tables map[string]*modelTable
	order  []string
}

type modelTable struct {
	schema *batch.Schema
	text   string            // the columns that make schema
	ids    map[string]int    // of every column there was, by name
	rows   []map[string]cell // by column
	oldKey map[string]cell   // of the change of key that is under way
}

// cell is a value, nil for NULL.
type cell = *string

// shape returns the schema of a table, a new one where its columns are others.
// Columns keep their identity by name; "old -> new type" renames one.
func (m *model) shape(name, as, columns string) (*batch.Schema, error) {
	t := m.tables[name]
	if t == nil {
		t = &modelTable{ids: map[string]int{}}
		m.tables[name] = t
		m.order = append(m.order, name)
	}
	if columns = strings.TrimSpace(columns); t.schema != nil && (columns == "" || columns == t.text) {
		return t.schema, nil
	}
	t.text = columns
	var plain []string
	defaults := map[string]string{}
	for _, c := range strings.Split(columns, ",") {
		c = strings.TrimSpace(c)
		if old, to, renamed := strings.Cut(c, " -> "); renamed {
			c = to
			fresh, _, _ := strings.Cut(to, " ")
			t.rename(old, fresh)
		}
		c, value, given := strings.Cut(c, " default ")
		if given {
			at, _, _ := strings.Cut(c, " ")
			defaults[at] = value
		}
		plain = append(plain, c)
	}
	s, err := textbatch.ParseSchema("public."+as, plain)
	if err != nil {
		return nil, err
	}
	s.OID = 1
	if t.schema != nil {
		s.Version = t.schema.Version + 1
	}
	for i := range s.Columns {
		c := &s.Columns[i]
		if t.ids[c.Name] == 0 {
			t.ids[c.Name] = len(t.ids) + 1
			t.add(c, defaults)
		}
		c.ID = t.ids[c.Name]
	}
	t.schema = s
	return s, nil
}

func (t *modelTable) rename(old, fresh string) {
	t.ids[fresh] = t.ids[old]
	t.ids["was "+old] = -1 // ids never come again
	delete(t.ids, old)
	for _, r := range t.rows {
		r[fresh] = r[old]
		delete(r, old)
	}
}

// add gives the rows that are there the default of a new column.
func (t *modelTable) add(c *batch.Column, defaults map[string]string) {
	value, ok := defaults[c.Name]
	if !ok {
		return
	}
	c.Missing = &value
	for _, r := range t.rows {
		r[c.Name] = &value
	}
}

// apply does what a batch says.
func (m *model) apply(name string, g *textbatch.Grid) {
	t := m.tables[name]
	for _, row := range g.Rows {
		cells := map[string]cell{}
		for i, column := range g.Head[1:] {
			column = textbatch.Unquote(column)
			switch v := row[i+1]; v {
			case textbatch.Unchanged:
			case textbatch.Null:
				cells[column] = nil
			default:
				v = textbatch.Unquote(v)
				cells[column] = &v
			}
		}
		t.change(row[0], cells)
	}
}

func (t *modelTable) change(op string, cells map[string]cell) {
	switch op {
	case "truncate":
		t.rows = nil
	case "old key":
		t.oldKey = cells
	case "delete":
		if i := t.find(cells); i >= 0 {
			t.rows = slices.Delete(t.rows, i, i+1)
		}
	case "insert", "read":
		t.rows = append(t.rows, cells)
	case "update":
		at := t.find(cells)
		if t.oldKey != nil {
			at = t.find(t.oldKey)
		}
		t.oldKey = nil
		for column, v := range cells {
			t.rows[at][column] = v
		}
	}
}

// find returns the row with the same key, or with the same cells in a table
// without one, -1 for none.
func (t *modelTable) find(cells map[string]cell) int {
	return slices.IndexFunc(t.rows, func(r map[string]cell) bool {
		for _, c := range t.schema.Columns {
			if c.Key == 0 && len(t.schema.Key()) > 0 {
				continue
			}
			a, b := r[c.Name], cells[c.Name]
			if (a == nil) != (b == nil) || a != nil && *a != *b {
				return false
			}
		}
		return true
	})
}

// contents prints all tables.
func (m *model) contents() []contents {
	out := make([]contents, len(m.order))
	for i, name := range m.order {
		t := m.tables[name]
		out[i] = contents{schema: t.schema, rows: make([]string, len(t.rows))}
		for j, r := range t.rows {
			cells := make([]*string, len(t.schema.Columns))
			for k, c := range t.schema.Columns {
				cells[k] = r[c.Name]
			}
			out[i].rows[j] = printRow(cells)
		}
		slices.Sort(out[i].rows)
	}
	return out
}

// many is n rows of a batch, for a table with id and name.
func many(op string, n int) string {
	var s strings.Builder
	s.WriteString("op | id | name | note\n")
	for i := range n {
		s.WriteString(op + " | " + strconv.Itoa(i) + " | name " + strconv.Itoa(i) + " | note\n")
	}
	return s.String()
}
