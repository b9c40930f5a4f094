package capability

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/leat-etl/leat/engine/batch"
)

// postgresNames maps the spellings of PostgreSQL's types to one.
var postgresNames = map[string]string{
	"bool": "boolean", "int2": "smallint", "int": "integer", "int4": "integer", "int8": "bigint",
	"float4": "real", "float8": "double precision", "decimal": "numeric",
	"character varying": "varchar", "character": "bpchar", "char": "bpchar",
	"timestamp with time zone": "timestamptz", "timestamp without time zone": "timestamp", "time without time zone": "time",
	"public.citext": "citext",
}

func parsePostgresType(s string) sqlType {
	t := parseSQLType(s)
	if name, ok := postgresNames[t.name]; ok {
		t.name = name
	}
	return t
}

// binaryTypes lists, for each Arrow type, the PostgreSQL types whose binary
// form is exact.
var binaryTypes = map[arrow.Type][]string{
	arrow.BOOL:              {"boolean"},
	arrow.INT16:             {"smallint", "integer", "bigint"},
	arrow.INT32:             {"integer", "bigint"},
	arrow.INT64:             {"bigint"},
	arrow.UINT32:            {"oid"},
	arrow.FLOAT32:           {"real", "double precision"},
	arrow.FLOAT64:           {"double precision"},
	arrow.STRING:            {"text", "varchar", "bpchar", "name", "json", "jsonb", "numeric", "citext"},
	arrow.BINARY:            {"bytea"},
	arrow.FIXED_SIZE_BINARY: {"uuid"},
	arrow.DATE32:            {"date"},
	arrow.TIME64:            {"time"},
	arrow.DECIMAL128:        {"numeric"},
	arrow.DECIMAL256:        {"numeric"},
}

// hasBinaryForm says whether a column can go through a binary COPY. An error
// means that the type at the destination would round in silence.
func hasBinaryForm(b *batch.Batch, c IngestColumn) (bool, error) {
	t := parsePostgresType(c.Type)
	if t.list {
		literals, ok := literalsOf(b, c)
		return ok && hasBinaryArrays(literals, t), nil
	}
	switch c.From {
	case FromConstant:
		return c.Value == nil || t.name == "text" || t.name == "varchar", nil
	case FromOp, FromRowID:
		return t.name == "text" || t.name == "varchar" || t.name == "bpchar", nil
	case FromOrigin:
		return t.name == "bigint", nil
	case FromLSN, FromOrdinal, FromRow:
		return t.name == "bigint" || t.name == "integer", nil
	case FromAbsent:
		return t.name == "boolean", nil
	case FromCommitTime, FromIngestTime:
		return t.name == "timestamptz" && t.precision < 0, nil
	}
	typ := b.Schema.Columns[c.Column].Type
	if err := keepsDigits(typ, t); err != nil {
		return false, columnError(Schema, c, err)
	}
	if ts, ok := typ.(*arrow.TimestampType); ok {
		return (ts.TimeZone != "") == (t.name == "timestamptz") && (t.name == "timestamptz" || t.name == "timestamp"), nil
	}
	return slices.Contains(binaryTypes[typ.ID()], t.name), nil
}

// literalsOf returns a column of texts.
func literalsOf(b *batch.Batch, c IngestColumn) (*array.String, bool) {
	if c.From != FromColumn {
		return nil, false
	}
	texts, ok := b.Rows.Column(c.Column).(*array.String)
	return texts, ok
}

// keepsDigits refuses a numeric type that would round the batch's decimals.
func keepsDigits(from arrow.DataType, t sqlType) error {
	d, ok := from.(arrow.DecimalType)
	if !ok || t.name != "numeric" || t.precision < 0 || t.scale >= d.GetScale() {
		return nil
	}
	return fmt.Errorf("%w: the batch has %s", errInexact, from)
}

func rowNumber(b *batch.Batch, from IngestSource, row int) uint64 {
	switch from {
	case FromLSN:
		return b.LSN[row]
	case FromOrdinal:
		return b.Ordinal[row]
	}
	return uint64(row)
}

func appendUint(dst []byte, v uint64) []byte { return strconv.AppendUint(dst, v, 10) }

// postgresEpoch is 2000-01-01 in days since 1970.
const postgresEpoch = 10957

var be = binary.BigEndian

func put4(dst []byte, v uint32) []byte { return be.AppendUint32(append(dst, 0, 0, 0, 4), v) }
func put8(dst []byte, v uint64) []byte { return be.AppendUint64(append(dst, 0, 0, 0, 8), v) }
func putBytes[T string | []byte](dst []byte, v T) []byte {
	return append(be.AppendUint32(dst, uint32(len(v))), v...)
}
func putBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, 0, 0, 0, 1, 1)
	}
	return append(dst, 0, 0, 0, 1, 0)
}
func putNull(dst []byte) []byte { return append(dst, 0xff, 0xff, 0xff, 0xff) }

// binaryCell returns the encoder of a column that hasBinaryForm accepted.
func binaryCell(b *batch.Batch, c IngestColumn) (copyCell, error) {
	t := parsePostgresType(c.Type)
	switch c.From {
	case FromConstant:
		if c.Value == nil {
			return func(dst []byte, _ int) ([]byte, error) { return putNull(dst), nil }, nil
		}
		return func(dst []byte, _ int) ([]byte, error) { return putBytes(dst, *c.Value), nil }, nil
	case FromOp:
		return func(dst []byte, row int) ([]byte, error) { return append(dst, 0, 0, 0, 1, byte(b.Ops[row])), nil }, nil
	case FromAbsent:
		return func(dst []byte, row int) ([]byte, error) { return putBool(dst, !b.IsPresent(c.Column, row)), nil }, nil
	case FromCommitTime:
		return func(dst []byte, row int) ([]byte, error) { return putTimestamp(dst, b.CommitTime[row]), nil }, nil
	case FromOrigin:
		origins := batch.Origins(b)
		return func(dst []byte, row int) ([]byte, error) { return put8(dst, uint64(origins[row])), nil }, nil
	case FromIngestTime:
		return func(dst []byte, _ int) ([]byte, error) { return putTimestamp(dst, b.Ingested), nil }, nil
	case FromLSN, FromOrdinal, FromRow:
		limit := uint64(math.MaxInt64)
		if t.name == "integer" {
			limit = math.MaxInt32
		}
		return func(dst []byte, row int) ([]byte, error) {
			v := rowNumber(b, c.From, row)
			if v > limit {
				return dst, fmt.Errorf("%d does not fit", v)
			}
			if t.name == "integer" {
				return put4(dst, uint32(v)), nil
			}
			return put8(dst, v), nil
		}, nil
	}
	if c.From == FromRowID {
		ids, err := newRowIDs(b)
		if err != nil {
			return nil, err
		}
		return func(dst []byte, row int) ([]byte, error) {
			if !ids.has(row) {
				return putNull(dst), nil
			}
			return ids.append(be.AppendUint32(dst, 2*sha256.Size), row), nil
		}, nil
	}
	column := b.Rows.Column(c.Column)
	value, err := binaryValue(column, t)
	if literals, ok := literalsOf(b, c); ok && t.list {
		value, err = binaryArray(literals, arrayElements[t.name]), nil
	}
	if err != nil || column.NullN() == 0 {
		return value, err
	}
	return func(dst []byte, row int) ([]byte, error) {
		if column.IsNull(row) {
			return putNull(dst), nil
		}
		return value(dst, row)
	}, nil
}

// binaryValue returns the encoder of the valid cells of a column.
func binaryValue(a arrow.Array, t sqlType) (copyCell, error) {
	switch a := a.(type) {
	case *array.Boolean:
		return func(dst []byte, row int) ([]byte, error) { return putBool(dst, a.Value(row)), nil }, nil
	case *array.Int16:
		return binaryInteger(t, func(row int) int64 { return int64(a.Value(row)) }), nil
	case *array.Int32:
		return binaryInteger(t, func(row int) int64 { return int64(a.Value(row)) }), nil
	case *array.Int64:
		return func(dst []byte, row int) ([]byte, error) { return put8(dst, uint64(a.Value(row))), nil }, nil
	case *array.Uint32:
		return func(dst []byte, row int) ([]byte, error) { return put4(dst, a.Value(row)), nil }, nil
	case *array.Float32:
		if t.name == "double precision" {
			return func(dst []byte, row int) ([]byte, error) {
				return put8(dst, math.Float64bits(float64(a.Value(row)))), nil
			}, nil
		}
		return func(dst []byte, row int) ([]byte, error) { return put4(dst, math.Float32bits(a.Value(row))), nil }, nil
	case *array.Float64:
		return func(dst []byte, row int) ([]byte, error) { return put8(dst, math.Float64bits(a.Value(row))), nil }, nil
	case *array.String:
		return binaryText(a, t), nil
	case *array.Binary:
		return func(dst []byte, row int) ([]byte, error) { return putBytes(dst, a.Value(row)), nil }, nil
	case *array.FixedSizeBinary:
		return func(dst []byte, row int) ([]byte, error) { return putBytes(dst, a.Value(row)), nil }, nil
	case *array.Date32:
		return func(dst []byte, row int) ([]byte, error) { return putDate(dst, int32(a.Value(row))), nil }, nil
	case *array.Time64:
		return func(dst []byte, row int) ([]byte, error) { return put8(dst, uint64(a.Value(row))), nil }, nil
	case *array.Timestamp:
		return func(dst []byte, row int) ([]byte, error) { return putTimestamp(dst, int64(a.Value(row))), nil }, nil
	case *array.Decimal128:
		scale := a.DataType().(*arrow.Decimal128Type).Scale
		var digits []byte
		return func(dst []byte, row int) ([]byte, error) {
			v := a.Value(row)
			if v == batch.NaN128 {
				return putNaN(dst), nil
			}
			negative := v.Sign() < 0
			if negative {
				v = v.Negate()
			}
			digits = appendDigits128(digits[:0], uint64(v.HighBits()), v.LowBits())
			return putNumeric(dst, digits, int(scale), negative), nil
		}, nil
	case *array.Decimal256:
		scale := a.DataType().(*arrow.Decimal256Type).Scale
		var digits []byte
		return func(dst []byte, row int) ([]byte, error) {
			v := a.Value(row)
			if v == batch.NaN256 {
				return putNaN(dst), nil
			}
			n := v.BigInt()
			negative := n.Sign() < 0
			digits = new(big.Int).Abs(n).Append(digits[:0], 10)
			return putNumeric(dst, digits, int(scale), negative), nil
		}, nil
	}
	return nil, errInexact
}

// binaryInteger encodes an integer as one of a type that is at least as wide.
func binaryInteger(t sqlType, value func(row int) int64) copyCell {
	switch t.name {
	case "smallint":
		return func(dst []byte, row int) ([]byte, error) {
			return be.AppendUint16(append(dst, 0, 0, 0, 2), uint16(value(row))), nil
		}
	case "integer":
		return func(dst []byte, row int) ([]byte, error) { return put4(dst, uint32(value(row))), nil }
	}
	return func(dst []byte, row int) ([]byte, error) { return put8(dst, uint64(value(row))), nil }
}

func binaryText(a *array.String, t sqlType) copyCell {
	switch t.name {
	case "jsonb":
		return func(dst []byte, row int) ([]byte, error) {
			v := a.Value(row)
			dst = append(be.AppendUint32(dst, uint32(len(v)+1)), 1)
			return append(dst, v...), nil
		}
	case "numeric":
		var digits []byte
		return func(dst []byte, row int) (_ []byte, err error) {
			dst, digits, err = putNumericText(dst, digits, a.Value(row), t.scale)
			return dst, err
		}
	}
	return func(dst []byte, row int) ([]byte, error) { return putBytes(dst, a.Value(row)), nil }
}

func putDate(dst []byte, days int32) []byte {
	switch days {
	case batch.PosInfinityDate:
		return put4(dst, math.MaxInt32)
	case batch.NegInfinityDate:
		return put4(dst, 1<<31)
	}
	return put4(dst, uint32(days-postgresEpoch))
}

func putTimestamp(dst []byte, micros int64) []byte {
	switch micros {
	case batch.PosInfinity:
		return put8(dst, math.MaxInt64)
	case batch.NegInfinity:
		return put8(dst, 1<<63)
	}
	return put8(dst, uint64(micros-postgresEpoch*microsPerDay))
}
