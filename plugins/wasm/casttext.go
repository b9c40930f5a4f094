package wasm

import (
	"encoding/hex"
	"math"
	"strconv"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/leat-etl/leat/engine/batch"
)

// castText prints a column the way PostgreSQL does with DateStyle ISO and
// TimeZone UTC.
func castText(a arrow.Array) arrow.Array {
	b := batch.NewBuilder(&batch.Schema{Columns: []batch.Column{{Name: "cast", Type: arrow.BinaryTypes.String}}})
	c := b.Column(0)
	for row := range a.Len() {
		if a.IsNull(row) {
			c.AppendNull()
		} else {
			c.AppendText(func(dst []byte) []byte { return appendText(dst, a, row) })
		}
		b.EndRow(batch.Read, 0, 0, 0)
	}
	out := b.Finish(batch.Position{})
	defer out.Release()
	column := out.Rows.Column(0)
	column.Retain()
	return column
}

// appendText prints one valid cell.
func appendText(dst []byte, a arrow.Array, row int) []byte {
	switch a := a.(type) {
	case *array.Boolean:
		if a.Value(row) {
			return append(dst, 't')
		}
		return append(dst, 'f')
	case *array.Float32:
		return appendFloat(dst, float64(a.Value(row)), 32)
	case *array.Float64:
		return appendFloat(dst, a.Value(row), 64)
	case *array.Binary:
		return hex.AppendEncode(append(dst, `\x`...), a.Value(row))
	case *array.FixedSizeBinary:
		return appendUUID(dst, a.Value(row))
	case *array.Date32:
		return appendDate(dst, int64(a.Value(row)))
	case *array.Time64:
		return appendClock(dst, int64(a.Value(row)))
	case *array.Timestamp:
		return appendTimestamp(dst, int64(a.Value(row)), a.DataType().(*arrow.TimestampType).TimeZone != "")
	case *array.Decimal128:
		if v := a.Value(row); v != batch.NaN128 {
			return append(dst, v.ToString(a.DataType().(*arrow.Decimal128Type).Scale)...)
		}
		return append(dst, "NaN"...)
	case *array.Decimal256:
		if v := a.Value(row); v != batch.NaN256 {
			return append(dst, v.ToString(a.DataType().(*arrow.Decimal256Type).Scale)...)
		}
		return append(dst, "NaN"...)
	}
	return strconv.AppendInt(dst, integers(a)(row), 10)
}

// appendFloat prints the shortest text that reads back as v. PostgreSQL turns
// to exponents below 1e-4 and from 1e15 (float4: 1e6) on.
func appendFloat(dst []byte, v float64, size int) []byte {
	switch {
	case math.IsNaN(v):
		return append(dst, "NaN"...)
	case math.IsInf(v, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(v, -1):
		return append(dst, "-Infinity"...)
	}
	large := 1e15
	if size == 32 {
		large = 1e6
	}
	if m := math.Abs(v); m != 0 && (m < 1e-4 || m >= large) {
		return strconv.AppendFloat(dst, v, 'e', -1, size)
	}
	return strconv.AppendFloat(dst, v, 'f', -1, size)
}

func appendUUID(dst, v []byte) []byte {
	var text [36]byte
	from := 0
	at := 0
	for i, n := range [...]int{4, 2, 2, 2, 6} {
		if i > 0 {
			text[at] = '-'
			at++
		}
		at += hex.Encode(text[at:], v[from:from+n])
		from += n
	}
	return append(dst, text[:]...)
}

func appendDate(dst []byte, days int64) []byte {
	switch days {
	case batch.PosInfinityDate:
		return append(dst, "infinity"...)
	case batch.NegInfinityDate:
		return append(dst, "-infinity"...)
	}
	return appendEra(dst, time.Unix(days*86400, 0).UTC(), func(dst []byte) []byte { return dst })
}

// appendEra prints the day of t, then what rest adds, then BC for years before
// the first.
func appendEra(dst []byte, t time.Time, rest func(dst []byte) []byte) []byte {
	year, month, day := t.Date()
	suffix := ""
	if year <= 0 {
		year, suffix = 1-year, " BC"
	}
	dst = appendPadded(dst, year, 4)
	dst = appendPadded(append(dst, '-'), int(month), 2)
	dst = appendPadded(append(dst, '-'), day, 2)
	return append(rest(dst), suffix...)
}

func appendPadded(dst []byte, v, width int) []byte {
	for limit := int(math.Pow10(width - 1)); limit > 1 && v < limit; limit /= 10 {
		dst = append(dst, '0')
	}
	return strconv.AppendInt(dst, int64(v), 10)
}

func appendClock(dst []byte, micros int64) []byte {
	dst = appendPadded(dst, int(micros/3_600_000_000), 2)
	dst = appendPadded(append(dst, ':'), int(micros/60_000_000%60), 2)
	dst = appendPadded(append(dst, ':'), int(micros/1_000_000%60), 2)
	if fraction := int(micros % 1_000_000); fraction != 0 {
		dst = appendPadded(append(dst, '.'), fraction, 6)
		for dst[len(dst)-1] == '0' {
			dst = dst[:len(dst)-1]
		}
	}
	return dst
}

func appendTimestamp(dst []byte, micros int64, utc bool) []byte {
	switch micros {
	case batch.PosInfinity:
		return append(dst, "infinity"...)
	case batch.NegInfinity:
		return append(dst, "-infinity"...)
	}
	return appendEra(dst, time.UnixMicro(micros).UTC(), func(dst []byte) []byte {
		inDay := micros % microsPerDay
		if inDay < 0 {
			inDay += microsPerDay
		}
		dst = appendClock(append(dst, ' '), inDay)
		if utc {
			dst = append(dst, "+00"...)
		}
		return dst
	})
}
