package typesproof

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/leat-etl/leat/engine"
)

// isArray says whether the source's type is an array itself; a domain over
// one is not.
func isArray(typ string) bool { return strings.HasSuffix(typ, "[]") }

// listOfTexts is an array of the source as JSON, every element the text that
// its output function prints: what lists and JSON text are compared with.
func listOfTexts(column string) string {
	return fmt.Sprintf(`CASE WHEN array_ndims(%[1]s) > 1 THEN array_to_json(%[1]s::text[])::text WHEN %[1]s IS NOT NULL
		THEN coalesce((SELECT json_agg(CASE WHEN num_nulls(%[1]s[i]) = 0 THEN format('%%s', %[1]s[i]) END ORDER BY i) FROM generate_subscripts(%[1]s, 1) i), '[]')::text END AS %[1]s`, column)
}

// duckText is the SQL that prints a column of DuckDB.
func duckText(column, typ string) string {
	if element, ok := strings.CutSuffix(typ, "[]"); ok {
		return fmt.Sprintf(`CAST(to_json(list_transform(%s, lambda x: %s)) AS VARCHAR)`, column, duckText("x", element))
	}
	switch typ {
	case pairs:
		return fmt.Sprintf(`CAST(to_json(%s) AS VARCHAR)`, column)
	case "BLOB":
		return fmt.Sprintf(`'\x' || lower(hex(%s))`, column)
	case "TIMESTAMP WITH TIME ZONE": // whose own text is off by milliseconds in far years
		return fmt.Sprintf(`CASE WHEN isfinite(%[1]s) THEN CAST(make_timestamp(epoch_us(%[1]s)) AS VARCHAR) || '+00' ELSE CAST(%[1]s AS VARCHAR) END`, column)
	}
	return fmt.Sprintf("CAST(%s AS VARCHAR)", column)
}

// form brings a text of the source and one of DuckDB to one form, by DuckDB's
// type. Types that are not named have one text.
func form(text, typ string) string {
	switch typ {
	case "DECIMAL(38,38)": // which DuckDB prints without the zero before the point
		return strings.Replace(text, "0.", ".", 1)
	case "BOOLEAN":
		return strings.TrimSuffix(strings.TrimSuffix(text, "rue"), "alse")
	case "FLOAT":
		return floatForm(text, 32)
	case "DOUBLE":
		return floatForm(text, 64)
	case "DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE":
		if before, after, ok := strings.Cut(text, " (BC)"); ok {
			return before + after + " BC"
		}
	}
	return text
}

func floatForm(text string, bits int) string {
	f, err := strconv.ParseFloat(text, bits)
	if err != nil {
		return text
	}
	if math.IsNaN(f) {
		return "NaN"
	}
	return fmt.Sprintf("%x", math.Float64bits(f))
}

// listForm is form for every leaf of a JSON array.
func listForm(t *testing.T, text, element string) string {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var list []any
	if err := d.Decode(&list); err != nil {
		t.Errorf("%.100q is not a JSON array: %v", text, err)
		return text
	}
	return leafForm(list, element)
}

func leafForm(v any, element string) string {
	switch v := v.(type) {
	case nil:
		return "NULL"
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			parts[i] = leafForm(v[i], element)
		}
		return "[" + strings.Join(parts, ",") + "]"
	case bool:
		return strconv.Quote(form(strconv.FormatBool(v), "BOOLEAN"))
	case json.Number:
		return strconv.Quote(form(v.String(), element))
	case string:
		return strconv.Quote(form(v, element))
	}
	return fmt.Sprint(v)
}

// source reads a sample as PostgreSQL prints it, arrays as the way has them.
func (s *sample) source(t *testing.T, conn *pgx.Conn, p *pipeline) cells {
	t.Helper()
	parts := []string{"id"}
	for i, c := range s.columns {
		name := s.names[i]
		switch {
		case p.lists(c.typ) && strings.HasPrefix(c.typ, "vector(") && !isArray(c.typ):
			parts = append(parts, fmt.Sprintf("to_json(%[1]s::real[])::text AS %[1]s", name))
		case p.lists(c.typ):
			parts = append(parts, listOfTexts(name))
		case c.typ == "hstore" && p.destination == "duckdb":
			parts = append(parts, fmt.Sprintf("hstore_to_json(%[1]s)::text AS %[1]s", name))
		default:
			parts = append(parts, name)
		}
	}
	return readPostgres(t, conn, "SELECT "+strings.Join(parts, ", ")+" FROM "+s.name)
}

// rows reads what the destination has of a sample.
func (p *pipeline) rows(t *testing.T, s *sample, target string, plan map[string]engine.PlannedColumn) cells {
	t.Helper()
	parts := []string{"id"}
	for _, name := range s.names {
		expression := name
		if p.destination == "duckdb" {
			expression = duckText(name, plan[name].Type) + " AS " + name
		}
		parts = append(parts, expression)
	}
	query := "SELECT " + strings.Join(parts, ", ") + " FROM " + target + " WHERE NOT __leat_marked_deleted"
	if p.destination == "duckdb" {
		return p.readDuck(t, strings.Replace(query, "SELECT id", "SELECT CAST(id AS VARCHAR) AS id", 1))
	}
	return readPostgres(t, connect(t, p.server.DSN(p.target)), query)
}

// difference is a cell that is not the same on both sides.
type difference struct {
	id, column, typ string
	want, got       *string
	declared        []string
}

func (d difference) String() string {
	show := func(s *string) string {
		if s == nil {
			return "NULL"
		}
		return fmt.Sprintf("%.120q", *s)
	}
	return fmt.Sprintf("row %s, %s %s: %s at the source, %s at the destination (declared: %q)", d.id, d.column, d.typ, show(d.want), show(d.got), d.declared)
}

// differences compares the sides cell by cell. Rows that are failed events are
// named in without.
func (p *pipeline) differences(t *testing.T, s *sample, want cells, without []string) []difference {
	t.Helper()
	target, plan := p.plan(t, "public", s.name)
	got := p.rows(t, s, target, plan)
	var out []difference
	for id, row := range want {
		there, ok := got[id]
		if !ok {
			if !slices.Contains(without, id) {
				t.Errorf("%s: row %s of %s is missing", p.name, id, s.name)
			}
			continue
		}
		if slices.Contains(without, id) {
			t.Errorf("%s: row %s of %s is a failed event and at the destination", p.name, id, s.name)
		}
		for i, name := range s.names {
			d := difference{id, name, s.columns[i].typ, row[name], there[name], plan[name].Losses}
			if !p.same(t, s.columns[i].typ, plan[name].Type, d.want, d.got) {
				out = append(out, d)
			}
		}
	}
	if extra := len(got) + len(without) - len(want); extra > 0 {
		t.Errorf("%s: %s has %d rows, the source %d", p.name, s.name, len(got), len(want))
	}
	return out
}

func (p *pipeline) same(t *testing.T, typ, target string, want, got *string) bool {
	if want == nil || got == nil {
		return want == nil && got == nil
	}
	if p.lists(typ) {
		element := strings.TrimSuffix(target, "[]")
		if element == target { // JSON text, whose numbers are the source's
			element = map[string]string{"real[]": "FLOAT", "double precision[]": "DOUBLE", "boolean[]": "BOOLEAN"}[typ]
		}
		return listForm(t, *want, element) == listForm(t, *got, element)
	}
	if p.destination == "postgres" {
		return *want == *got
	}
	if target == pairs {
		return objectForm(t, *want) == objectForm(t, *got)
	}
	return form(*want, target) == form(*got, target)
}

// lists says whether columns of a type arrive as lists or JSON text. DuckDB
// gets the literal of box[] and geometry[], whose elements no comma parts.
func (p *pipeline) lists(typ string) bool {
	if p.destination == "duckdb" && strings.HasPrefix(typ, "vector(") && !isArray(typ) {
		return true
	}
	if p.transform != "" {
		return isArray(typ) && !strings.Contains(p.transform, literals)
	}
	return isArray(typ) && p.destination == "duckdb" && typ != "box[]" && typ != "geometry[]"
}

// objectForm is JSON with its keys in order.
func objectForm(t *testing.T, text string) string {
	t.Helper()
	var object map[string]*string
	if err := json.Unmarshal([]byte(text), &object); err != nil {
		t.Errorf("%.100q is not a JSON object of texts: %v", text, err)
		return text
	}
	ordered, err := json.Marshal(object)
	if err != nil {
		t.Error(err)
	}
	return string(ordered)
}
