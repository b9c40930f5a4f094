package engine

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/decimal256"

	"github.com/leat-etl/leat/engine/batch"
)

// appendCell appends a cell that a destination has returned to a column of the
// source's type want: the counterpart of appendCanonical.
func appendCell(c *batch.ColumnBuilder, arr arrow.Array, row int, want arrow.DataType) error {
	if arr.IsNull(row) {
		c.AppendNull()
		return nil
	}
	switch want.ID() {
	case arrow.INT16, arrow.INT32, arrow.INT64, arrow.UINT32, arrow.DATE32, arrow.TIME64, arrow.TIMESTAMP:
		if v, ok := integer(arr, row); ok {
			appendInteger(c, v)
			return nil
		}
	case arrow.BOOL:
		if a, ok := arr.(*array.Boolean); ok {
			c.AppendBool(a.Value(row))
			return nil
		}
	case arrow.FLOAT32, arrow.FLOAT64:
		if v, ok := float(arr, row); ok {
			if want.ID() == arrow.FLOAT32 {
				c.AppendUint32(math.Float32bits(float32(v)))
			} else {
				c.AppendUint64(math.Float64bits(v))
			}
			return nil
		}
	case arrow.DECIMAL128, arrow.DECIMAL256:
		if text, ok := decimalText(arr, row); ok {
			return appendDecimal(c, text, want)
		}
	case arrow.STRING:
		if a, ok := arr.(*array.String); ok {
			c.AppendBytes([]byte(a.Value(row)))
			return nil
		}
	case arrow.BINARY, arrow.FIXED_SIZE_BINARY:
		if v, ok := rawBytes(arr, row); ok {
			if want.ID() == arrow.BINARY {
				c.AppendBytes(v)
			} else {
				c.AppendFixed(v)
			}
			return nil
		}
	}
	return fmt.Errorf("a value of type %s read as %s", want, arr.DataType())
}

func appendInteger(c *batch.ColumnBuilder, v int64) {
	switch c.Width() {
	case 2:
		c.AppendUint16(uint16(v))
	case 4:
		c.AppendUint32(uint32(v))
	default:
		c.AppendUint64(uint64(v))
	}
}

func rawBytes(arr arrow.Array, row int) ([]byte, bool) {
	switch a := arr.(type) {
	case *array.Binary:
		return a.Value(row), true
	case *array.FixedSizeBinary:
		return a.Value(row), true
	}
	return nil, false
}

func appendDecimal(c *batch.ColumnBuilder, text string, want arrow.DataType) error {
	switch t := want.(type) {
	case *arrow.Decimal128Type:
		n, err := decimal128.FromString(text, t.Precision, t.Scale)
		if err != nil {
			return err
		}
		c.AppendFixed(binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, n.LowBits()), uint64(n.HighBits())))
	case *arrow.Decimal256Type:
		n, err := decimal256.FromString(text, t.Precision, t.Scale)
		if err != nil {
			return err
		}
		var out []byte
		for _, word := range n.Array() {
			out = binary.LittleEndian.AppendUint64(out, word)
		}
		c.AppendFixed(out)
	}
	return nil
}
