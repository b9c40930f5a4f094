package batch

import (
	"encoding/hex"
	"fmt"
	"math"
	"math/big"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// CellText appends the text of one valid cell, as PostgreSQL prints it with
// DateStyle ISO and TimeZone UTC.
type CellText func(dst []byte, row int) []byte

// TextOf returns the CellText of a column of a batch.
func TextOf(a arrow.Array) (CellText, error) {
	switch a := a.(type) {
	case *array.Boolean:
		return func(dst []byte, row int) []byte {
			if a.Value(row) {
				return append(dst, 't')
			}
			return append(dst, 'f')
		}, nil
	case *array.Int16:
		return func(dst []byte, row int) []byte { return strconv.AppendInt(dst, int64(a.Value(row)), 10) }, nil
	case *array.Int32:
		return func(dst []byte, row int) []byte { return strconv.AppendInt(dst, int64(a.Value(row)), 10) }, nil
	case *array.Int64:
		return func(dst []byte, row int) []byte { return strconv.AppendInt(dst, a.Value(row), 10) }, nil
	case *array.Uint32:
		return func(dst []byte, row int) []byte { return strconv.AppendUint(dst, uint64(a.Value(row)), 10) }, nil
	case *array.Uint64:
		return func(dst []byte, row int) []byte { return strconv.AppendUint(dst, a.Value(row), 10) }, nil
	case *array.Float32:
		return func(dst []byte, row int) []byte { return appendFloat(dst, float64(a.Value(row)), 32) }, nil
	case *array.Float64:
		return func(dst []byte, row int) []byte { return appendFloat(dst, a.Value(row), 64) }, nil
	case *array.String:
		return func(dst []byte, row int) []byte { return append(dst, a.Value(row)...) }, nil
	case *array.Binary:
		return func(dst []byte, row int) []byte { return hex.AppendEncode(append(dst, '\\', 'x'), a.Value(row)) }, nil
	case *array.FixedSizeBinary:
		return func(dst []byte, row int) []byte { return appendUUID(dst, a.Value(row)) }, nil
	case *array.Date32:
		return func(dst []byte, row int) []byte { return appendDate(dst, int64(a.Value(row))) }, nil
	case *array.Time64:
		return func(dst []byte, row int) []byte { return appendTime(dst, int64(a.Value(row))) }, nil
	case *array.Timestamp:
		utc := a.DataType().(*arrow.TimestampType).TimeZone != ""
		return func(dst []byte, row int) []byte { return AppendTimestamp(dst, int64(a.Value(row)), utc) }, nil
	case *array.Decimal128:
		scale := a.DataType().(*arrow.Decimal128Type).Scale
		return func(dst []byte, row int) []byte {
			v := a.Value(row)
			if v == NaN128 {
				return append(dst, "NaN"...)
			}
			return appendDecimal(dst, v.BigInt(), scale)
		}, nil
	case *array.Decimal256:
		scale := a.DataType().(*arrow.Decimal256Type).Scale
		return func(dst []byte, row int) []byte {
			v := a.Value(row)
			if v == NaN256 {
				return append(dst, "NaN"...)
			}
			return appendDecimal(dst, v.BigInt(), scale)
		}, nil
	}
	return nil, fmt.Errorf("type %s cannot be part of a batch", a.DataType())
}

// appendFloat prints the shortest text that reads back as v. PostgreSQL turns
// to exponents below 1e-4 and from 1e15 (float4: 1e6) on.
func appendFloat(dst []byte, v float64, bits int) []byte {
	switch {
	case math.IsNaN(v):
		return append(dst, "NaN"...)
	case math.IsInf(v, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(v, -1):
		return append(dst, "-Infinity"...)
	}
	large := 1e15
	if bits == 32 {
		large = 1e6
	}
	if m := math.Abs(v); m != 0 && (m < 1e-4 || m >= large) {
		return strconv.AppendFloat(dst, v, 'e', -1, bits)
	}
	return strconv.AppendFloat(dst, v, 'f', -1, bits)
}

func appendUUID(dst, v []byte) []byte {
	for i, end := range [...]int{4, 6, 8, 10, 16} {
		start := [...]int{0, 4, 6, 8, 10}[i]
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, v[start:end])
	}
	return dst
}

// appendDecimal writes v / 10^scale with exactly scale digits after the point.
func appendDecimal(dst []byte, v *big.Int, scale int32) []byte {
	if v.Sign() < 0 {
		dst = append(dst, '-')
	}
	start := len(dst)
	dst = new(big.Int).Abs(v).Append(dst, 10)
	if scale <= 0 {
		return dst
	}
	for len(dst)-start <= int(scale) {
		dst = append(dst, 0)
		copy(dst[start+1:], dst[start:])
		dst[start] = '0'
	}
	point := len(dst) - int(scale)
	dst = append(dst, 0)
	copy(dst[point+1:], dst[point:])
	dst[point] = '.'
	return dst
}

const microsPerDay = 86_400_000_000

// appendDate writes days since 1970 as ISO 8601, years before the first as BC.
func appendDate(dst []byte, days int64) []byte {
	switch days {
	case PosInfinityDate:
		return append(dst, "infinity"...)
	case NegInfinityDate:
		return append(dst, "-infinity"...)
	}
	dst, bc := appendDay(dst, days)
	if bc {
		dst = append(dst, " BC"...)
	}
	return dst
}

func appendDay(dst []byte, days int64) ([]byte, bool) {
	year, month, day := civil(days)
	bc := year <= 0
	if bc {
		year = 1 - year
	}
	dst = appendPadded(dst, year, 4)
	dst = appendPadded(append(dst, '-'), int64(month), 2)
	return appendPadded(append(dst, '-'), int64(day), 2), bc
}

// civil turns days since 1970 into a proleptic Gregorian date. It counts in
// eras of 400 years that begin on 1 March of year 0.
func civil(days int64) (year int64, month, day int) {
	z := days + 719468
	era := z / 146097
	if z < 0 && z%146097 != 0 {
		era--
	}
	inEra := z - era*146097
	yearOfEra := (inEra - inEra/1460 + inEra/36524 - inEra/146096) / 365
	inYear := inEra - (365*yearOfEra + yearOfEra/4 - yearOfEra/100)
	fromMarch := (5*inYear + 2) / 153
	day = int(inYear-(153*fromMarch+2)/5) + 1
	month = int(fromMarch) + 3
	year = yearOfEra + era*400
	if month > 12 {
		month -= 12
		year++
	}
	return year, month, day
}

func appendPadded(dst []byte, v int64, width int) []byte {
	for limit := int64(math.Pow10(width - 1)); limit > 1 && v < limit; limit /= 10 {
		dst = append(dst, '0')
	}
	return strconv.AppendInt(dst, v, 10)
}

func appendTime(dst []byte, micros int64) []byte {
	dst = appendPadded(dst, micros/3_600_000_000, 2)
	dst = appendPadded(append(dst, ':'), micros/60_000_000%60, 2)
	dst = appendPadded(append(dst, ':'), micros/1_000_000%60, 2)
	fraction := micros % 1_000_000
	if fraction == 0 {
		return dst
	}
	dst = appendPadded(append(dst, '.'), fraction, 6)
	for dst[len(dst)-1] == '0' {
		dst = dst[:len(dst)-1]
	}
	return dst
}

// AppendTimestamp prints microseconds since 1970, with the offset of UTC where
// the type has a time zone.
func AppendTimestamp(dst []byte, micros int64, utc bool) []byte {
	switch micros {
	case PosInfinity:
		return append(dst, "infinity"...)
	case NegInfinity:
		return append(dst, "-infinity"...)
	}
	days := micros / microsPerDay
	if micros%microsPerDay < 0 {
		days--
	}
	dst, bc := appendDay(dst, days)
	dst = appendTime(append(dst, ' '), micros-days*microsPerDay)
	if utc {
		dst = append(dst, "+00"...)
	}
	if bc {
		dst = append(dst, " BC"...)
	}
	return dst
}
