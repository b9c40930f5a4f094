package property

import (
	"strings"

	"github.com/leat-etl/leat/plugins/workbench/textbatch"
)

// shape is a kind of batch that is tried.
type shape struct {
	name string
	make func(m *maker) *textbatch.Grid
}

// shapes are tried in this order, so that the simplest batch that shows a
// fault is the one that is told.
var shapes = []shape{
	{"one row", func(m *maker) *textbatch.Grid {
		g := m.grid()
		add(g, "insert", m.row(0, false))
		return g
	}},
	{"null in every column that may be", func(m *maker) *textbatch.Grid {
		g := m.grid()
		for n, op := range []string{"insert", "read", "update"} {
			cells := m.row(n, false)
			for i := range cells {
				if m.schema.Columns[i].Nullable && m.schema.Columns[i].Key == 0 {
					cells[i] = textbatch.Null
				}
			}
			add(g, op, cells)
		}
		return g
	}},
	{"updates with unchanged columns", func(m *maker) *textbatch.Grid {
		g := m.grid()
		for n := range 8 {
			cells := m.row(n, true)
			if n == 0 {
				cells = m.identity(cells)
			}
			add(g, "update", m.partial(cells))
		}
		return g
	}},
	{"every value that is an extreme of its type", func(m *maker) *textbatch.Grid {
		g := m.grid()
		most := 0
		for _, values := range m.pool {
			most = max(most, len(values))
		}
		for n := range most {
			cells := m.row(n, false)
			for i, values := range m.pool {
				if m.schema.Columns[i].Key == 0 {
					cells[i] = values[n%len(values)]
				}
			}
			add(g, "insert", cells)
		}
		return g
	}},
	{"deletes and changes of the key", func(m *maker) *textbatch.Grid {
		g := m.grid()
		for n := range 4 {
			add(g, "insert", m.row(n, true))
			add(g, "old key", m.identity(m.row(n, true)))
			add(g, "update", m.partial(m.row(n+100, true)))
			add(g, "delete", m.identity(m.row(n+100, true)))
		}
		return g
	}},
	{"a text of a megabyte", func(m *maker) *textbatch.Grid {
		g := m.grid()
		cells := m.row(0, false)
		for i := range m.schema.Columns {
			c := &m.schema.Columns[i]
			if c.Key == 0 && (c.PG.Name == "text" || c.PG.Name == "varchar" && c.PG.Typmod < 0) {
				cells[i] = strings.Repeat("long text é ", 90_000)
			}
		}
		add(g, "insert", cells)
		add(g, "insert", m.row(1, true))
		return g
	}},
	{"a thousand rows of everything", func(m *maker) *textbatch.Grid {
		g := m.grid()
		for n := 0; len(g.Rows) < 1000; n++ {
			switch cells := m.row(n, true); m.random.IntN(8) {
			case 0:
				add(g, "old key", m.identity(cells))
				add(g, "update", m.partial(m.row(n+100_000, true)))
			case 1:
				add(g, "delete", m.identity(cells))
			case 2, 3:
				add(g, "update", m.partial(cells))
			case 4:
				add(g, "read", cells)
			default:
				add(g, "insert", cells)
			}
		}
		return g
	}},
}

// truncation is a TRUNCATE, which the host passes on without the plugin.
func truncation(m *maker) *textbatch.Grid {
	g := m.grid()
	cells := make([]string, len(m.schema.Columns))
	for i := range cells {
		cells[i] = textbatch.Unchanged
	}
	add(g, "truncate", cells)
	return g
}
