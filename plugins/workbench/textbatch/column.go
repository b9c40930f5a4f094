package textbatch

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/leat-etl/leat/engine/batch"
)

// scalars are the types that have a format of their own or are often written
// by another name. Any other name is a type that travels as its text.
var scalars = []struct {
	names  []string // the first is PostgreSQL's own
	oid    uint32
	format string
}{
	{[]string{"bool", "boolean"}, 16, "b"},
	{[]string{"bytea"}, 17, "z"},
	{[]string{"int8", "bigint"}, 20, "l"},
	{[]string{"int2", "smallint"}, 21, "s"},
	{[]string{"int4", "int", "integer"}, 23, "i"},
	{[]string{"text"}, 25, "u"},
	{[]string{"oid"}, 26, "I"},
	{[]string{"json"}, 114, "u"},
	{[]string{"float4", "real"}, 700, "f"},
	{[]string{"float8", "double precision", "double"}, 701, "g"},
	{[]string{"bpchar", "char", "character"}, 1042, "u"},
	{[]string{"varchar", "character varying"}, 1043, "u"},
	{[]string{"date"}, 1082, "tdD"},
	{[]string{"time", "time without time zone"}, 1083, "ttu"},
	{[]string{"timestamp", "timestamp without time zone"}, 1114, "tsu:"},
	{[]string{"timestamptz", "timestamp with time zone"}, 1184, "tsu:UTC"},
	{[]string{"interval"}, 1186, "u"},
	{[]string{"numeric", "decimal"}, 1700, "u"},
	{[]string{"uuid"}, 2950, "w:16"},
	{[]string{"jsonb"}, 3802, "u"},
}

// parseColumn reads "name type", with "key" or "not null" behind it. A name
// with blanks stands in double quotes.
func parseColumn(s string) (c batch.Column, key bool, err error) {
	rest := strings.TrimSpace(s)
	name, typ, found := strings.Cut(rest, " ")
	if strings.HasPrefix(rest, `"`) {
		quoted, err := strconv.QuotedPrefix(rest)
		if err != nil {
			return c, false, fmt.Errorf("column %q: the quotes of its name do not end", s)
		}
		if name, err = strconv.Unquote(quoted); err != nil {
			return c, false, fmt.Errorf("column %q: %w", s, err)
		}
		typ, found = rest[len(quoted):], true
	}
	typ = strings.ToLower(strings.TrimSpace(typ))
	typ, key = strings.CutSuffix(typ, " key")
	typ, notNull := strings.CutSuffix(typ, " not null")
	if name == "" || !found || typ == "" {
		return c, false, fmt.Errorf(`column %q: want a name and a type, for example "id bigint key" or "email text"`, s)
	}
	c = batch.Column{Name: name, Nullable: !key && !notNull}
	c.Type, c.PG, err = parseType(strings.TrimSpace(typ))
	if err != nil {
		return c, false, fmt.Errorf("column %q: %w", s, err)
	}
	return c, key, nil
}

// parseType reads a type as SQL writes it.
func parseType(s string) (arrow.DataType, batch.PGType, error) {
	element, array := strings.CutSuffix(s, "[]")
	name, modifiers, modified := strings.Cut(element, "(")
	name = strings.TrimSpace(name)
	pg := batch.PGType{Name: name, Typmod: -1, Kind: "b"}
	format := "u"
	for _, t := range scalars {
		for _, n := range t.names {
			if n == name {
				pg.Name, pg.OID, format = t.names[0], t.oid, t.format
			}
		}
	}
	if modified {
		var err error
		if format, err = modify(&pg, format, strings.TrimSuffix(strings.TrimSpace(modifiers), ")")); err != nil {
			return nil, pg, err
		}
	}
	if array {
		pg.Name, pg.OID, pg.Kind, format = pg.Name+"[]", 0, "a", "u"
	}
	t, err := batch.ParseFormat(format)
	return t, pg, err
}

// modify applies what stands in brackets behind a type's name.
func modify(pg *batch.PGType, format, modifiers string) (string, error) {
	var n []int
	for part := range strings.SplitSeq(modifiers, ",") {
		v, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || v < 0 {
			return "", fmt.Errorf("modifier %q of type %s", modifiers, pg.Name)
		}
		n = append(n, v)
	}
	switch pg.Name {
	case "numeric":
		scale := 0
		if len(n) > 1 {
			scale = n[1]
		}
		pg.Typmod = int32(n[0]<<16|scale) + 4
		switch {
		case scale > n[0] || n[0] > 76:
			return "u", nil
		case n[0] > 38:
			return fmt.Sprintf("d:%d,%d,256", n[0], scale), nil
		}
		return fmt.Sprintf("d:%d,%d", n[0], scale), nil
	case "varchar", "bpchar":
		pg.Typmod = int32(n[0]) + 4
	default:
		pg.Typmod = int32(n[0])
	}
	return format, nil
}

// ParseSchema makes the schema of a table, [database.]schema.table.
func ParseSchema(table string, columns []string) (*batch.Schema, error) {
	parts := strings.Split(table, ".")
	if len(parts) == 2 {
		parts = append([]string{"shop"}, parts...)
	}
	if len(parts) != 3 || parts[1] == "" || parts[2] == "" {
		return nil, fmt.Errorf("table %q: want schema.table, or database.schema.table", table)
	}
	s := &batch.Schema{Table: batch.TableID{Database: parts[0], Schema: parts[1], Name: parts[2]}, Version: 1}
	keys := 0
	for i, text := range columns {
		c, key, err := parseColumn(text)
		if err != nil {
			return nil, err
		}
		if s.Column(c.Name) >= 0 {
			return nil, fmt.Errorf("column %q stands twice", c.Name)
		}
		if key {
			keys++
			c.Key = keys
		}
		c.ID = i + 1
		s.Columns = append(s.Columns, c)
	}
	return s, nil
}
