package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	pdk "github.com/leat-etl/leat/pdk/go"
	"github.com/leat-etl/leat/plugins/destinations/internal/relational"
)

// dialect is DuckDB's. arrays says whether array columns become lists.
func dialect(arrays bool) *relational.Dialect {
	return &relational.Dialect{
		Driver: "duckdb", MainSchema: "main",
		Text: "VARCHAR", Timestamp: "TIMESTAMP WITH TIME ZONE", Boolean: "BOOLEAN",
		FoldsCase: true, SeparateDDL: true,
		RowID: "rowid", RowIDType: "BIGINT", RowIDHidden: true,
		WholeRow: func(cells []string) string { return "row(" + strings.Join(cells, ", ") + ")" },
		Type:     func(c pdk.Column) relational.Mapping { return mapping(c, arrays) },
		Widens:   widens, Value: value,
		Names: `SELECT schema_name AS "schema", table_name AS "name" FROM duckdb_tables() WHERE database_name = current_database()
UNION ALL SELECT schema_name, view_name FROM duckdb_views() WHERE database_name = current_database() AND NOT internal
UNION ALL SELECT schema_name, '' FROM duckdb_schemas() WHERE database_name = current_database()`,
		Columns: func(schema, table string) string {
			if strings.Contains(schema+table, `"`) { // which the quicker way does not find
				return fmt.Sprintf("SELECT column_name, data_type FROM duckdb_columns() WHERE database_name = current_database() AND lower(schema_name) = %s AND lower(table_name) = %s ORDER BY column_index",
					relational.Literal(strings.ToLower(schema)), relational.Literal(strings.ToLower(table)))
			}
			return "SELECT name, type FROM pragma_table_info(" + relational.Literal(relational.Quote(schema)+"."+relational.Quote(table)) + ") ORDER BY cid"
		},
	}
}

// scalars maps the formats of a batch to DuckDB's types.
var scalars = map[string]string{
	pdk.FormatBool: "BOOLEAN", pdk.FormatInt16: "SMALLINT", pdk.FormatInt32: "INTEGER", pdk.FormatInt64: "BIGINT", pdk.FormatUint32: "UINTEGER",
	pdk.FormatFloat32: "FLOAT", pdk.FormatFloat64: "DOUBLE", pdk.FormatText: "VARCHAR", pdk.FormatBinary: "BLOB",
	pdk.FormatDate: "DATE", pdk.FormatTime: "TIME", pdk.FormatTimestamp: "TIMESTAMP", pdk.FormatTimestampTZ: "TIMESTAMP WITH TIME ZONE",
	pdk.FormatUUID: "UUID",
}

// elements maps the element types of PostgreSQL arrays to DuckDB's types. An
// array of any other type is a list of text.
var elements = map[string]string{
	"bool": "BOOLEAN", "int2": "SMALLINT", "int4": "INTEGER", "int8": "BIGINT", "oid": "UINTEGER", "float4": "FLOAT", "float8": "DOUBLE",
	"bytea": "BLOB", "date": "DATE", "time": "TIME", "timestamp": "TIMESTAMP", "timestamptz": "TIMESTAMP WITH TIME ZONE", "uuid": "UUID",
	"json": "JSON", "jsonb": "JSON",
	"boolean": "BOOLEAN", "smallint": "SMALLINT", "integer": "INTEGER", "bigint": "BIGINT", "real": "FLOAT", "double precision": "DOUBLE",
	"timestamp without time zone": "TIMESTAMP", "timestamp with time zone": "TIMESTAMP WITH TIME ZONE", "time without time zone": "TIME",
}

const (
	nanLoss  = "NaN becomes NULL"
	zeroLoss = "-0 may become 0"
	// pairs is the type of hstore.
	pairs     = "MAP(VARCHAR, VARCHAR)"
	arrayLoss = "an array with several dimensions or explicit bounds has no list form: its row becomes a failed event"
)

// mapping is the DuckDB type of a column of the source.
func mapping(c pdk.Column, arrays bool) relational.Mapping {
	if precision, scale, ok := decimal(c.Format); ok {
		if precision > 38 {
			return relational.Mapping{Type: "VARCHAR"}
		}
		return relational.Mapping{Type: fmt.Sprintf("DECIMAL(%d,%d)", precision, scale), Losses: []string{nanLoss}, Lossy: []string{"nan_to_null"}}
	}
	switch c.Format {
	case pdk.FormatText:
	case pdk.FormatFloat32, pdk.FormatFloat64:
		return relational.Mapping{Type: scalars[c.Format], Losses: []string{zeroLoss}}
	default:
		return relational.Mapping{Type: scalars[c.Format]}
	}
	element, isArray := strings.CutSuffix(c.PG.Name, "[]")
	switch {
	case isArray && arrays && element != "box" && c.PG.Delimiter == "": // lists are read at commas
		return list(element, c.PG.Typmod)
	case relational.Extension(c, "hstore"):
		return relational.Mapping{Type: pairs}
	case relational.Extension(c, "vector") && arrays:
		return relational.Mapping{Type: "FLOAT[]", Losses: []string{zeroLoss}}
	case c.PG.Name == "json" || c.PG.Name == "jsonb":
		return relational.Mapping{Type: "JSON"}
	}
	return relational.Mapping{Type: "VARCHAR"}
}

func list(element string, typmod int32) relational.Mapping {
	m := relational.Mapping{Type: "VARCHAR[]", Losses: []string{arrayLoss}}
	if typ, ok := elements[element]; ok {
		m.Type = typ + "[]"
		if typ == "FLOAT" || typ == "DOUBLE" {
			m.Losses = append(m.Losses, zeroLoss)
		}
	}
	if element == "numeric" && typmod >= 4 {
		precision, scale := (typmod-4)>>16, (typmod-4)&0x7ff
		if precision <= 38 && scale <= precision {
			m.Type = fmt.Sprintf("DECIMAL(%d,%d)[]", precision, scale)
			m.Losses, m.Lossy = append(m.Losses, nanLoss), []string{"nan_to_null"}
		}
	}
	return m
}

// decimal reads the format "d:12,2" or "d:76,20,256".
func decimal(format string) (precision, scale int, ok bool) {
	rest, ok := strings.CutPrefix(format, "d:")
	if !ok {
		return 0, 0, false
	}
	part := strings.Split(rest, ",")
	if len(part) < 2 {
		return 0, 0, false
	}
	precision, errP := strconv.Atoi(part[0])
	scale, errS := strconv.Atoi(part[1])
	return precision, scale, errP == nil && errS == nil
}

// wider lists the types that hold every value of a type and to which DuckDB
// and the driver convert exactly.
var wider = map[string][]string{
	"SMALLINT": {"INTEGER", "BIGINT", "HUGEINT", "DOUBLE"},
	"INTEGER":  {"BIGINT", "HUGEINT", "DOUBLE"},
	"BIGINT":   {"HUGEINT"},
	"UINTEGER": {"BIGINT", "HUGEINT", "DOUBLE"},
	"FLOAT":    {"DOUBLE"},
}

// digits are the decimal digits that an integer type needs.
var digits = map[string]int{"SMALLINT": 5, "INTEGER": 10, "UINTEGER": 10, "BIGINT": 19}

// textual are the types whose text at DuckDB is PostgreSQL's, so that a column
// of them can become text.
var textual = []string{"SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UINTEGER", "UUID", "DATE", "JSON"}

func widens(from, to string) bool {
	if slices.Contains(wider[from], to) {
		return true
	}
	precision, scale, isDecimal := decimalType(to)
	if fromPrecision, fromScale, ok := decimalType(from); ok {
		return to == "VARCHAR" || (isDecimal && scale >= fromScale && precision-scale >= fromPrecision-fromScale)
	}
	if n := digits[from]; n > 0 && isDecimal {
		return precision-scale >= n
	}
	return to == "VARCHAR" && slices.Contains(textual, from)
}

func decimalType(s string) (precision, scale int, ok bool) {
	rest, isDecimal := strings.CutPrefix(s, "DECIMAL(")
	rest, closed := strings.CutSuffix(rest, ")")
	if !isDecimal || !closed {
		return 0, 0, false
	}
	return decimal("d:" + rest)
}

// literals are the types whose text DuckDB reads as PostgreSQL writes it.
var literals = []string{"VARCHAR", "JSON", "BOOLEAN", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UINTEGER", "FLOAT", "DOUBLE", "UUID", "DATE", "TIME",
	"TIMESTAMP", "TIMESTAMP WITH TIME ZONE"}

// value writes a value of PostgreSQL as SQL of a type, empty where that needs
// more than a cast.
func value(text, typ string) string {
	_, _, isDecimal := decimalType(typ)
	switch {
	case strings.HasSuffix(text, " BC") && typ != "VARCHAR", isDecimal && text == "NaN":
		return ""
	case isDecimal || slices.Contains(literals, typ):
		return "CAST(" + relational.Literal(text) + " AS " + typ + ")"
	}
	return ""
}
