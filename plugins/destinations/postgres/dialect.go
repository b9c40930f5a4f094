package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	pdk "github.com/leat-etl/leat/pdk/go"
	"github.com/leat-etl/leat/plugins/destinations/internal/relational"
)

// dialect is PostgreSQL's.
var dialect = &relational.Dialect{
	Driver: "postgres", MainSchema: "public",
	Text: "text", Timestamp: "timestamp with time zone", Boolean: "boolean",
	PhysicalKey: true, NowDefault: true, StageSchema: "pg_temp",
	Type: mapping, Widens: widens,
	Value: func(text, typ string) string { return "CAST(" + relational.Literal(text) + " AS " + typ + ")" },
	Names: `SELECT n.nspname AS "schema", c.relname AS "name" FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
UNION ALL SELECT nspname, '' FROM pg_catalog.pg_namespace`,
	Columns: func(schema, table string) string {
		return fmt.Sprintf(`SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod) FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum`,
			relational.Literal(schema), relational.Literal(table))
	},
	EqualNulls: "SELECT 1 WHERE current_setting('server_version_num')::int >= 150000",
	RowID:      "ctid", RowIDType: "tid",
	WholeRow: func(cells []string) string { return "ROW(" + strings.Join(cells, ", ") + ")::text" },
	Key: func(schema, table, prefix string) string {
		return fmt.Sprintf(`SELECT 'p', k.conname, a.attname, false, u.place FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace CROSS JOIN LATERAL unnest(k.conkey) WITH ORDINALITY AS u (attnum, place) JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = u.attnum WHERE k.contype = 'p' AND n.nspname = %[1]s AND c.relname = %[2]s
UNION ALL SELECT 'i', x.relname, a.attname, i.indpred IS NOT NULL, u.place FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid JOIN pg_catalog.pg_class c ON c.oid = i.indrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS u (attnum, place) JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = u.attnum WHERE i.indisunique AND n.nspname = %[1]s AND c.relname = %[2]s AND left(x.relname, length(%[3]s)) = %[3]s
UNION ALL SELECT 'n', '', a.attname, false, a.attnum FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE a.attnotnull AND a.attnum > 0 AND NOT a.attisdropped AND n.nspname = %[1]s AND c.relname = %[2]s ORDER BY 1, 2, 5`,
			relational.Literal(schema), relational.Literal(table), relational.Literal(prefix))
	},
}

// builtin maps the types of pg_catalog that keep their meaning in another
// database to the name that format_type prints. Types that name objects of
// one database (regclass and its kin, xid, tid) are not among them.
var builtin = map[string]string{
	"bool": "boolean", "int2": "smallint", "int4": "integer", "int8": "bigint", "oid": "oid", "float4": "real", "float8": "double precision",
	"numeric": "numeric", "money": "money", "text": "text", "varchar": "character varying", "bpchar": "character", "name": "name",
	"bytea": "bytea", "json": "json", "jsonb": "jsonb", "jsonpath": "jsonpath", "xml": "xml", "uuid": "uuid",
	"date": "date", "time": "time without time zone", "timetz": "time with time zone", "interval": "interval",
	"timestamp": "timestamp without time zone", "timestamptz": "timestamp with time zone",
	"bit": "bit", "varbit": "bit varying", "inet": "inet", "cidr": "cidr", "macaddr": "macaddr", "macaddr8": "macaddr8",
	"point": "point", "line": "line", "lseg": "lseg", "box": "box", "path": "path", "polygon": "polygon", "circle": "circle",
	"tsvector": "tsvector", "tsquery": "tsquery", "pg_lsn": "pg_lsn",
	"int4range": "int4range", "int8range": "int8range", "numrange": "numrange", "daterange": "daterange", "tsrange": "tsrange", "tstzrange": "tstzrange",
	"int4multirange": "int4multirange", "int8multirange": "int8multirange", "nummultirange": "nummultirange",
	"datemultirange": "datemultirange", "tsmultirange": "tsmultirange", "tstzmultirange": "tstzmultirange",
}

// spelled maps what format_type prints, without modifiers, to the short name.
var spelled = func() map[string]string {
	out := map[string]string{}
	for short, long := range builtin {
		out[long] = short
	}
	return out
}()

// formats are the types of columns whose PostgreSQL type is not built in, such
// as a domain: the type below it.
var formats = map[string]string{
	pdk.FormatBool: "boolean", pdk.FormatInt16: "smallint", pdk.FormatInt32: "integer", pdk.FormatInt64: "bigint", pdk.FormatUint32: "oid",
	pdk.FormatFloat32: "real", pdk.FormatFloat64: "double precision", pdk.FormatText: "text", pdk.FormatBinary: "bytea",
	pdk.FormatDate: "date", pdk.FormatTime: "time without time zone", pdk.FormatTimestamp: "timestamp without time zone",
	pdk.FormatTimestampTZ: "timestamp with time zone", pdk.FormatUUID: "uuid",
}

// mapping is the type that a column of the source gets: its own, if it is
// built in or of an extension that the destination has, too, otherwise that of its format, which for text holds every value.
func mapping(c pdk.Column) relational.Mapping {
	if rest, ok := strings.CutPrefix(c.Format, "d:"); ok {
		part := strings.Split(rest, ",")
		return relational.Mapping{Type: fmt.Sprintf("numeric(%s,%s)", part[0], part[1])}
	}
	if m, ok := extensionMapping(c); ok {
		return m
	}
	name, array := strings.CutSuffix(strings.TrimPrefix(c.PG.Name, "pg_catalog."), "[]")
	if short, ok := spelled[name]; ok {
		name = short
	}
	long, ok := builtin[name]
	fits := c.Format == pdk.FormatText || (!array && formats[c.Format] == long)
	if !ok || !fits || (c.PG.Kind == "a") != array {
		return relational.Mapping{Type: formats[c.Format]}
	}
	long = withTypmod(name, long, c.PG.Typmod)
	if array {
		long += "[]"
	}
	m := relational.Mapping{Type: long}
	if name == "money" {
		m.Losses = []string{moneyLoss}
	}
	return m
}

// moneyLoss is said of a type whose text means what the server's locale says.
const moneyLoss = "the destination reads the source's text of money by its own lc_monetary: where the two differ (SHOW lc_monetary), a row is refused or has another amount; ALTER DATABASE ... SET lc_monetary makes them equal"

// withTypmod adds the modifiers as format_type prints them.
func withTypmod(name, long string, typmod int32) string {
	if typmod < 0 {
		switch name { // whose bare SQL names mean a length of 1
		case "bpchar":
			return "bpchar"
		case "bit":
			return "bit varying"
		}
		return long
	}
	switch name {
	case "varchar", "bpchar":
		return fmt.Sprintf("%s(%d)", long, typmod-4)
	case "bit", "varbit":
		return fmt.Sprintf("%s(%d)", long, typmod)
	case "time", "timetz", "timestamp", "timestamptz":
		base, zone, _ := strings.Cut(long, " ")
		return fmt.Sprintf("%s(%d) %s", base, typmod, zone)
	case "numeric":
		scale := (typmod - 4) & 0x7ff
		return fmt.Sprintf("numeric(%d,%d)", (typmod-4)>>16, scale^1024-1024)
	}
	return long
}

// wider lists the types that hold every value of a type.
var wider = map[string][]string{
	"smallint": {"integer", "bigint", "numeric", "real", "double precision"},
	"integer":  {"bigint", "numeric", "double precision"},
	"bigint":   {"numeric"},
	"oid":      {"bigint"},
	"real":     {"double precision"},
	"date":     {},
}

// digits are the decimal digits that an integer type needs.
var digits = map[string]int{"smallint": 5, "integer": 10, "bigint": 19}

func widens(from, to string) bool {
	if from == to || slices.Contains(wider[from], to) {
		return true
	}
	base, p, s := modifiers(from)
	toBase, toP, toS := modifiers(to)
	switch {
	case to == "text":
		// Padding is not part of a character value's text.
		return base != "character" && base != "bpchar" && base != "bytea" && base != "boolean"
	case digits[base] > 0 && toBase == "numeric":
		return toP < 0 || toP-toS >= digits[base]
	case base == "numeric" && toBase == "numeric":
		return toP < 0 || (p >= 0 && toS >= s && toP-toS >= p-s)
	case base == "character varying" && toBase == base:
		return toP < 0 || (p >= 0 && toP >= p)
	case base == toBase && (strings.HasPrefix(base, "time") || strings.HasSuffix(base, "vector")):
		return toP < 0 || (p >= 0 && toP >= p)
	}
	return false
}

// modifiers takes "numeric(10,2)" apart; -1 where there are none.
func modifiers(s string) (base string, precision, scale int) {
	before, rest, ok := strings.Cut(s, "(")
	if !ok {
		return s, -1, -1
	}
	inside, after, _ := strings.Cut(rest, ")")
	p, sc, _ := strings.Cut(inside, ",")
	precision, _ = strconv.Atoi(p)
	scale, _ = strconv.Atoi(sc)
	return before + after, precision, scale
}
