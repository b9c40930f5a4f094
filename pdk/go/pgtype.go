package pdk

import (
	"fmt"
	"strconv"
	"strings"
)

// typeNames are the types of ParseType: format, name and number in pg_type.
var typeNames = map[string]struct {
	format, name string
	oid          uint32
}{
	"boolean": {FormatBool, "bool", 16}, "smallint": {FormatInt16, "int2", 21}, "integer": {FormatInt32, "int4", 23}, "bigint": {FormatInt64, "int8", 20},
	"real": {FormatFloat32, "float4", 700}, "double precision": {FormatFloat64, "float8", 701}, "text": {FormatText, "text", 25}, "jsonb": {FormatText, "jsonb", 3802},
	"date": {FormatDate, "date", 1082}, "timestamp": {FormatTimestamp, "timestamp", 1114}, "timestamptz": {FormatTimestampTZ, "timestamptz", 1184},
}

// ParseType is the nullable column of a PostgreSQL type as people write it:
// bigint, numeric(12,2), timestamptz and so on.
func ParseType(name string) (Column, error) {
	if t, ok := typeNames[name]; ok {
		return Column{Format: t.format, PG: PGType{Name: t.name, OID: t.oid, Typmod: -1, Kind: "b"}, Nullable: true}, nil
	}
	if inside, ok := strings.CutPrefix(name, "numeric("); ok && strings.HasSuffix(inside, ")") {
		p, s, _ := strings.Cut(strings.TrimSuffix(inside, ")"), ",")
		precision, errP := strconv.Atoi(strings.TrimSpace(p))
		scale, errS := strconv.Atoi(strings.TrimSpace(s))
		if errP == nil && errS == nil && precision >= 1 && precision <= 76 && scale >= 0 && scale <= precision {
			return Column{Format: DecimalFormat(precision, scale), PG: NumericType(precision, scale), Nullable: true}, nil
		}
	}
	return Column{}, fmt.Errorf("type %q is not boolean, smallint, integer, bigint, real, double precision, numeric(P,S) of up to 76 digits, text, jsonb, date, timestamp or timestamptz", name)
}

// DecimalFormat is the format of numeric(precision,scale).
func DecimalFormat(precision, scale int) string {
	if precision > 38 {
		return fmt.Sprintf("d:%d,%d,256", precision, scale)
	}
	return fmt.Sprintf("d:%d,%d", precision, scale)
}

// NumericType is the type numeric(precision,scale).
func NumericType(precision, scale int) PGType {
	return PGType{Name: "numeric", OID: 1700, Typmod: int32(precision<<16|scale) + 4, Kind: "b"}
}

// ParseDecimal reads what DecimalFormat writes.
func ParseDecimal(format string) (precision, scale int, ok bool) {
	inside, found := strings.CutPrefix(format, "d:")
	p, s, _ := strings.Cut(strings.TrimSuffix(inside, ",256"), ",")
	precision, errP := strconv.Atoi(p)
	scale, errS := strconv.Atoi(s)
	return precision, scale, found && errP == nil && errS == nil
}
