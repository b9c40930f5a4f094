package engine

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/leat-etl/leat/plugins/capability"
)

// appendCanonical appends a form of one cell in which a value of the source's
// type want is the same bytes however arr, which may come from the
// destination, represents it. A null is a byte of its own.
func appendCanonical(dst []byte, arr arrow.Array, row int, want arrow.DataType) ([]byte, error) {
	if arr.IsNull(row) {
		return append(dst, 0), nil
	}
	dst = append(dst, 1)
	switch want.ID() {
	case arrow.BOOL:
		if a, ok := arr.(*array.Boolean); ok {
			if a.Value(row) {
				return append(dst, 1), nil
			}
			return append(dst, 0), nil
		}
		if v, ok := integer(arr, row); ok { // in lists of DuckDB
			return append(dst, byte(v)), nil
		}
	case arrow.INT16, arrow.INT32, arrow.INT64, arrow.UINT32, arrow.DATE32, arrow.TIME64, arrow.TIMESTAMP:
		if v, ok := integer(arr, row); ok {
			return binary.BigEndian.AppendUint64(dst, uint64(v)), nil
		}
		if text, ok := wideNumber(arr, row); ok {
			if v, err := strconv.ParseInt(text, 10, 64); err == nil {
				return binary.BigEndian.AppendUint64(dst, uint64(v)), nil
			}
			return appendText(dst, text), nil
		}
	case arrow.FLOAT32, arrow.FLOAT64:
		if v, ok := float(arr, row); ok {
			if want.ID() == arrow.FLOAT32 {
				v = float64(float32(v))
			}
			if math.IsNaN(v) {
				v = math.NaN()
			}
			return binary.BigEndian.AppendUint64(dst, math.Float64bits(v)), nil
		}
	case arrow.DECIMAL128, arrow.DECIMAL256:
		if isDecimalNaN(arr, row) {
			return appendText(dst, "NaN"), nil // as a destination's text has it
		}
		if text, ok := decimalText(arr, row); ok {
			return appendText(dst, normalDecimal(text)), nil
		}
	case arrow.STRING:
		switch a := arr.(type) {
		case *array.String:
			return appendText(dst, a.Value(row)), nil
		case *array.Map: // an hstore at a destination that has maps
			if text, ok := capability.HstoreText(a, row); ok {
				return appendText(dst, text), nil
			}
		}
	case arrow.BINARY, arrow.FIXED_SIZE_BINARY:
		switch a := arr.(type) {
		case *array.Binary:
			return appendText(dst, string(a.Value(row))), nil
		case *array.FixedSizeBinary:
			return appendText(dst, string(a.Value(row))), nil
		}
	}
	return nil, fmt.Errorf("compare a column of type %s with one read as %s", want, arr.DataType())
}

// appendText writes a length first, so that neighbouring cells cannot merge.
func appendText(dst []byte, text string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(text)))
	return append(dst, text...)
}

// integer reads integers, and dates and times in the units of a batch.
func integer(arr arrow.Array, row int) (int64, bool) {
	switch a := arr.(type) {
	case *array.Int8:
		return int64(a.Value(row)), true
	case *array.Int16:
		return int64(a.Value(row)), true
	case *array.Int32:
		return int64(a.Value(row)), true
	case *array.Int64:
		return a.Value(row), true
	case *array.Uint32:
		return int64(a.Value(row)), true
	case *array.Date32:
		return int64(a.Value(row)), true
	case *array.Time64:
		if a.DataType().(*arrow.Time64Type).Unit == arrow.Nanosecond {
			return int64(a.Value(row)) / 1000, true
		}
		return int64(a.Value(row)), true
	case *array.Timestamp:
		return int64(a.Value(row)), a.DataType().(*arrow.TimestampType).Unit == arrow.Microsecond
	}
	return 0, false
}

func float(arr arrow.Array, row int) (float64, bool) {
	switch a := arr.(type) {
	case *array.Float32:
		return float64(a.Value(row)), true
	case *array.Float64:
		return a.Value(row), true
	}
	return 0, false
}

// wideNumber reads a number of a type that holds more than integers: the column was
// of another one before, or still is in another source.
func wideNumber(arr arrow.Array, row int) (string, bool) {
	if v, ok := float(arr, row); ok {
		return strconv.FormatFloat(v, 'f', -1, 64), true
	}
	if arr.DataType().ID() == arrow.STRING {
		return "", false
	}
	text, ok := decimalText(arr, row)
	return normalDecimal(text), ok
}

func decimalText(arr arrow.Array, row int) (string, bool) {
	switch a := arr.(type) {
	case *array.Decimal128:
		return a.Value(row).ToString(a.DataType().(*arrow.Decimal128Type).Scale), true
	case *array.Decimal256:
		return a.Value(row).ToString(a.DataType().(*arrow.Decimal256Type).Scale), true
	case *array.String:
		return a.Value(row), true
	}
	return "", false
}

// normalDecimal drops the zeros that do not change a number.
func normalDecimal(s string) string {
	sign := ""
	if rest, ok := strings.CutPrefix(s, "-"); ok {
		sign, s = "-", rest
	}
	whole, fraction, _ := strings.Cut(s, ".")
	whole, fraction = strings.TrimLeft(whole, "0"), strings.TrimRight(fraction, "0")
	switch {
	case whole == "" && fraction == "":
		return "0"
	case fraction == "":
		return sign + whole
	}
	return sign + whole + "." + fraction
}
