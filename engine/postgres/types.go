package postgres

import (
	"fmt"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/leat-etl/leat/engine/batch"
)

// OIDs of the built-in types that have an Arrow type of their own.
const (
	oidBool        = 16
	oidBytea       = 17
	oidInt8        = 20
	oidInt2        = 21
	oidInt4        = 23
	oidOID         = 26
	oidFloat4      = 700
	oidFloat8      = 701
	oidDate        = 1082
	oidTime        = 1083
	oidTimestamp   = 1114
	oidTimestamptz = 1184
	oidNumeric     = 1700
	oidUUID        = 2950
)

// timestampType is a timestamp without time zone.
var timestampType = &arrow.TimestampType{Unit: arrow.Microsecond}

// uuidType is a uuid.
var uuidType = &arrow.FixedSizeBinaryType{ByteWidth: 16}

// columnType maps a PostgreSQL base type to the Arrow type of its column.
// Whatever Arrow cannot hold without loss travels as PostgreSQL's own text.
func columnType(pg batch.PGType) arrow.DataType {
	switch pg.OID {
	case oidBool:
		return arrow.FixedWidthTypes.Boolean
	case oidInt2:
		return arrow.PrimitiveTypes.Int16
	case oidInt4:
		return arrow.PrimitiveTypes.Int32
	case oidInt8:
		return arrow.PrimitiveTypes.Int64
	case oidOID:
		return arrow.PrimitiveTypes.Uint32
	case oidFloat4:
		return arrow.PrimitiveTypes.Float32
	case oidFloat8:
		return arrow.PrimitiveTypes.Float64
	case oidNumeric:
		return decimalType(pg.Typmod)
	case oidBytea:
		return arrow.BinaryTypes.Binary
	case oidUUID:
		return uuidType
	case oidDate:
		return arrow.FixedWidthTypes.Date32
	case oidTime:
		return arrow.FixedWidthTypes.Time64us
	case oidTimestamp:
		return timestampType
	case oidTimestamptz:
		return arrow.FixedWidthTypes.Timestamp_us
	}
	return arrow.BinaryTypes.String
}

// decimalType is the type of numeric with typmod: text where there is no
// precision, more than 76 digits, or a scale that Arrow does not allow.
func decimalType(typmod int32) arrow.DataType {
	if typmod < 4 {
		return arrow.BinaryTypes.String
	}
	precision := (typmod - 4) >> 16 & 0xffff
	scale := ((typmod-4)&0x7ff ^ 1024) - 1024 // 11 bits, signed since version 15
	switch {
	case scale < 0 || scale > precision || precision > 76:
		return arrow.BinaryTypes.String
	case precision > 38:
		return &arrow.Decimal256Type{Precision: precision, Scale: scale}
	}
	return &arrow.Decimal128Type{Precision: precision, Scale: scale}
}

// sessionSettings are the parameters that every source session runs with:
// the text forms that the decoders read depend on them.
func sessionSettings() map[string]string {
	return map[string]string{
		"client_encoding":       "UTF8",
		"DateStyle":             "ISO",
		"IntervalStyle":         "postgres",
		"extra_float_digits":    "3",
		"bytea_output":          "hex",
		"TimeZone":              "UTC",
		"quote_all_identifiers": "off",
	}
}

// sqlASCII is the encoding of a database that takes any bytes for text. To a client
// that asks for UTF-8 it refuses to send others, the whole table or log for one
// value; with this as client_encoding it sends all, and the decoders find the rows
// that are none.
const sqlASCII = "SQL_ASCII"

// PreferBinary says whether a stream of tables of these shapes should ask for
// binary values: it can, and most of what is sent is smaller or cheaper that
// way. Numbers with decimals, times, uuid and bytea gain; plain text and small
// integers lose a little.
func (m *TypeMap) PreferBinary(schemas []*batch.Schema, serverVersion int) bool {
	if serverVersion < 140000 {
		return false
	}
	gain := 0
	for _, s := range schemas {
		for _, c := range s.Columns {
			if !m.streamSafe(c.PG.OID) {
				return false
			}
			gain += binaryGain(c.Type)
		}
	}
	return gain > 0
}

// binaryGain weighs a column: what the text form costs more than the binary
// one, at the server and here.
func binaryGain(t arrow.DataType) int {
	switch t.(type) {
	case *arrow.Decimal128Type, *arrow.Decimal256Type, *arrow.TimestampType, *arrow.Date32Type, *arrow.Time64Type,
		*arrow.Float32Type, *arrow.Float64Type, *arrow.FixedSizeBinaryType, *arrow.BinaryType:
		return 3
	case *arrow.StringType:
		return 0
	}
	return -1
}

// TypeName is a type as SQL writes it, with its modifier where that says
// something to people.
func TypeName(t batch.PGType) string {
	if t.Typmod < 0 {
		return t.Name
	}
	name, array := strings.CutSuffix(t.Name, "[]")
	suffix := ""
	if array {
		suffix = "[]"
	}
	switch name {
	case "varchar", "bpchar":
		return fmt.Sprintf("%s(%d)%s", name, t.Typmod-4, suffix)
	case "numeric":
		return fmt.Sprintf("numeric(%d,%d)%s", (t.Typmod-4)>>16&0xffff, ((t.Typmod-4)&0x7ff^1024)-1024, suffix)
	case "bit", "varbit", "time", "timetz", "timestamp", "timestamptz":
		return fmt.Sprintf("%s(%d)%s", name, t.Typmod, suffix)
	}
	return t.Name
}
