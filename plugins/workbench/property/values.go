package property

import (
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/plugins/workbench/textbatch"
)

// unusual are texts that trip code which takes bytes for characters, or
// characters for what one sees.
var unusual = []string{
	"", " ", "null", "NULL", "unchanged", "0", "a", "Ünïcödé", "e\u0301", "ß", "İstanbul", "日本語テキスト", "👩‍👩‍👧‍👦", "\u202eright to left", "\ufeffmark",
	"tab\tand\nline\r\n", `quotes "double" 'single' \back`, "{curly}", "a,b;c|d", "a@b", "@", "a@@b.c", "\u0001", "\U0010ffff", strings.Repeat("x", 300), strings.Repeat("é", 5000),
}

// extremes are the values at the ends of each format, and of types that
// travel as text.
var extremes = map[string][]string{
	"b": {"t", "f"}, "z": {`\x`, `\x00`, `\xff00ff`, `\x` + strings.Repeat("00ff", 400)},
	"s": {"-32768", "32767", "0", "-1"}, "i": {"-2147483648", "2147483647", "0", "-1"}, "l": {"-9223372036854775808", "9223372036854775807", "0", "-1"},
	"I": {"0", "4294967295"}, "f": {"0", "-0", "NaN", "Infinity", "-Infinity", "3.4028235e+38", "1e-45"},
	"g":   {"0", "-0", "NaN", "Infinity", "-Infinity", "1.7976931348623157e+308", "5e-324", "0.1"},
	"tdD": {"infinity", "-infinity", "1970-01-01", "0001-01-01", "9999-12-31", "2024-02-29"}, "ttu": {"00:00:00", "23:59:59.999999"},
	"tsu:":     {"infinity", "-infinity", "1970-01-01 00:00:00", "0001-01-01 00:00:00", "9999-12-31 23:59:59.999999"},
	"tsu:UTC":  {"infinity", "-infinity", "1970-01-01 00:00:00+00", "2024-02-29 23:59:59.999999+00"},
	"w:16":     {"00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", "123e4567-e89b-12d3-a456-426614174000"},
	"json":     {"null", "{}", "[]", `""`, "1e400", `{"a": {"b": [1, null, "x"]}}`, `{"a": 1, "a": 2}`, `{"é\u0000": "\ud83d\ude00"}`, "[[[[[[[[]]]]]]]]"},
	"numeric":  {"NaN", "0", "-1.50", "Infinity", "123456789012345678901234567890123456789012345678901234567890.1"},
	"interval": {"00:00:00", "1 year 2 mons 3 days 04:05:06.7", "-00:00:01"},
	"array":    {"{}", "{NULL}", "{1,2,NULL}", "{{1,2},{3,4}}", `{"a b","c\"d",""}`, "[0:1]={1,2}", `{"NULL",NULL}`},
}

// valuesOf are the values to try in a column, in PostgreSQL's text form.
func valuesOf(c *batch.Column) []string {
	format, _ := batch.Format(c.Type) // part of a schema, so it has one
	switch {
	case strings.HasPrefix(format, "d:"):
		return decimals(c.Type)
	case format != "u":
		return extremes[format]
	case c.PG.Kind == "a":
		return extremes["array"]
	case c.PG.Name == "json" || c.PG.Name == "jsonb":
		return extremes["json"]
	case extremes[c.PG.Name] != nil:
		return extremes[c.PG.Name]
	}
	return unusual
}

func decimals(t arrow.DataType) []string {
	d, ok := t.(arrow.DecimalType)
	if !ok {
		return []string{"0"}
	}
	whole, scale := strings.Repeat("9", int(d.GetPrecision()-d.GetScale())), int(d.GetScale())
	if whole == "" {
		whole = "0"
	}
	if scale > 0 {
		whole += "." + strings.Repeat("9", scale)
	}
	return []string{"0", "1", "-1", "NaN", whole, "-" + whole}
}

// maker makes batches of one table.
type maker struct {
	random *rand.Rand
	schema *batch.Schema
	// pool has for each column what to take values from: the extremes, and what
	// the cases of the author hold.
	pool [][]string
}

func newMaker(seed uint64, s *batch.Schema, samples []*textbatch.Grid) *maker {
	m := &maker{random: rand.New(rand.NewPCG(seed, 0)), schema: s, pool: make([][]string, len(s.Columns))}
	for i := range s.Columns {
		for _, v := range valuesOf(&s.Columns[i]) {
			m.pool[i] = append(m.pool[i], textbatch.Quote(v))
		}
	}
	for _, g := range samples {
		for at, name := range g.Head {
			i := s.Column(textbatch.Unquote(name))
			for _, row := range g.Rows {
				if i >= 0 && row[at] != textbatch.Null && row[at] != textbatch.Unchanged {
					m.pool[i] = append(m.pool[i], row[at])
				}
			}
		}
	}
	return m
}

// row is the cells of a new row; a key of an integer type is the row's number.
func (m *maker) row(n int, nulls bool) []string {
	cells := make([]string, len(m.schema.Columns))
	for i := range m.schema.Columns {
		c := &m.schema.Columns[i]
		switch {
		case c.Key > 0 && (c.PG.Name == "int8" || c.PG.Name == "int4" || c.PG.Name == "int2"):
			cells[i] = strconv.Itoa(n + 1)
		case nulls && c.Nullable && m.random.IntN(5) == 0:
			cells[i] = textbatch.Null
		default:
			cells[i] = m.value(i)
		}
	}
	return cells
}

func (m *maker) value(i int) string { return m.pool[i][m.random.IntN(len(m.pool[i]))] }

// identity keeps the key of a row, as deletes and old keys do. In a table
// without a key the whole row is its identity.
func (m *maker) identity(cells []string) []string {
	if len(m.schema.Key()) == 0 {
		return cells
	}
	out := make([]string, len(cells))
	for i := range out {
		out[i] = cells[i]
		if m.schema.Columns[i].Key == 0 {
			out[i] = textbatch.Unchanged
		}
	}
	return out
}

// partial is a row in which columns that are not part of the key were not sent.
func (m *maker) partial(cells []string) []string {
	out := append([]string{}, cells...)
	for i := range out {
		if m.schema.Columns[i].Key == 0 && len(m.schema.Key()) > 0 && m.random.IntN(2) == 0 {
			out[i] = textbatch.Unchanged
		}
	}
	return out
}

func (m *maker) grid() *textbatch.Grid {
	g := &textbatch.Grid{Head: []string{"op"}}
	for _, c := range m.schema.Columns {
		g.Head = append(g.Head, textbatch.Quote(c.Name))
	}
	return g
}

func add(g *textbatch.Grid, op string, cells []string) {
	g.Rows = append(g.Rows, append([]string{op}, cells...))
}
