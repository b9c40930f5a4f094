package wasm

import (
	"fmt"
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal256"

	"github.com/leat-etl/leat/engine/batch"
)

// integerDigits is the decimal digits of the widest value of an integer type,
// 0 for other types.
func integerDigits(t arrow.DataType) int32 {
	switch t.ID() {
	case arrow.INT16:
		return 5
	case arrow.INT32, arrow.UINT32:
		return 10
	case arrow.INT64:
		return 19
	}
	return 0
}

func decimalOf(t arrow.DataType) (precision, scale int32, ok bool) {
	switch t := t.(type) {
	case *arrow.Decimal128Type:
		return t.Precision, t.Scale, true
	case *arrow.Decimal256Type:
		return t.Precision, t.Scale, true
	}
	return 0, 0, false
}

// castable says why from cannot be cast to to without loss.
func castable(from, to arrow.DataType) error {
	if to.ID() == arrow.STRING || arrow.TypeEqual(from, to) {
		return nil
	}
	digits := integerDigits(from)
	p, s, isDecimal := decimalOf(from)
	toP, toS, toDecimal := decimalOf(to)
	ok := false
	switch {
	case digits > 0 && toDecimal:
		ok = toP-toS >= digits
	case isDecimal && toDecimal:
		ok = toP-toS >= p-s && toS >= s
	case to.ID() == arrow.INT64:
		ok = digits > 0
	case to.ID() == arrow.INT32:
		ok = from.ID() == arrow.INT16
	case to.ID() == arrow.FLOAT64:
		ok = from.ID() == arrow.FLOAT32 || digits > 0 && digits <= 10
	case to.ID() == arrow.FLOAT32:
		ok = from.ID() == arrow.INT16
	case to.ID() == arrow.TIMESTAMP:
		ok = from.ID() == arrow.DATE32 && to.(*arrow.TimestampType).TimeZone == ""
	}
	if !ok {
		return fmt.Errorf("%s cannot be cast to %s without loss", from, to)
	}
	return nil
}

// cast converts a column. castable has allowed it.
func cast(a arrow.Array, to arrow.DataType) (arrow.Array, error) {
	if arrow.TypeEqual(a.DataType(), to) {
		a.Retain()
		return a, nil
	}
	if to.ID() == arrow.STRING {
		return castText(a)
	}
	b := batch.NewBuilder(&batch.Schema{Columns: []batch.Column{{Name: "cast", Type: to}}})
	c := b.Column(0)
	appendCell := caster(a, to, c)
	for row := range a.Len() {
		if a.IsNull(row) {
			c.AppendNull()
		} else if err := appendCell(row); err != nil {
			return nil, err
		}
		b.EndRow(batch.Read, 0, 0, 0)
	}
	out := b.Finish(batch.Position{})
	defer out.Release()
	column := out.Rows.Column(0)
	column.Retain()
	return column, nil
}

// caster appends one valid cell of a to c.
func caster(a arrow.Array, to arrow.DataType, c *batch.ColumnBuilder) func(row int) error {
	if _, scale, ok := decimalOf(to); ok {
		return decimalCaster(a, to, scale, c)
	}
	if date, ok := a.(*array.Date32); ok {
		return func(row int) error {
			v, err := dateToTimestamp(int64(date.Value(row)))
			c.AppendUint64(uint64(v))
			return err
		}
	}
	if f, ok := a.(*array.Float32); ok {
		return func(row int) error {
			c.AppendUint64(math.Float64bits(float64(f.Value(row))))
			return nil
		}
	}
	integer := integers(a)
	return func(row int) error {
		v := integer(row)
		switch to.ID() {
		case arrow.INT64:
			c.AppendUint64(uint64(v))
		case arrow.INT32:
			c.AppendUint32(uint32(v))
		case arrow.FLOAT64:
			c.AppendUint64(math.Float64bits(float64(v)))
		default:
			c.AppendUint32(math.Float32bits(float32(v)))
		}
		return nil
	}
}

func dateToTimestamp(days int64) (int64, error) {
	switch days {
	case batch.PosInfinityDate:
		return batch.PosInfinity, nil
	case batch.NegInfinityDate:
		return batch.NegInfinity, nil
	}
	if days > math.MaxInt64/microsPerDay || days < -math.MaxInt64/microsPerDay {
		return 0, fmt.Errorf("cast date to timestamp: a date is outside the range of timestamps")
	}
	return days * microsPerDay, nil
}

func integers(a arrow.Array) func(row int) int64 {
	switch a := a.(type) {
	case *array.Int16:
		return func(row int) int64 { return int64(a.Value(row)) }
	case *array.Int32:
		return func(row int) int64 { return int64(a.Value(row)) }
	case *array.Uint32:
		return func(row int) int64 { return int64(a.Value(row)) }
	}
	return a.(*array.Int64).Value
}

// decimalCaster widens integers and decimals through 256 bits.
func decimalCaster(a arrow.Array, to arrow.DataType, scale int32, c *batch.ColumnBuilder) func(row int) error {
	_, from, _ := decimalOf(a.DataType())
	var value func(row int) (v decimal256.Num, nan bool)
	switch a := a.(type) {
	case *array.Decimal128:
		value = func(row int) (decimal256.Num, bool) {
			v := a.Value(row)
			return decimal256.FromDecimal128(v), v == batch.NaN128
		}
	case *array.Decimal256:
		value = func(row int) (decimal256.Num, bool) { v := a.Value(row); return v, v == batch.NaN256 }
	default:
		integer := integers(a)
		value = func(row int) (decimal256.Num, bool) { return decimal256.FromI64(integer(row)), false }
	}
	_, narrow := to.(*arrow.Decimal128Type)
	return func(row int) error {
		v, nan := value(row)
		if nan {
			v = batch.NaN256
		} else {
			v = v.IncreaseScaleBy(scale - from)
		}
		words := v.Array()
		if narrow && nan {
			words[0], words[1] = batch.NaN128.LowBits(), uint64(batch.NaN128.HighBits())
		}
		bytes := arrow.Uint64Traits.CastToBytes(words[:])
		if narrow {
			bytes = bytes[:arrow.Decimal128SizeBytes]
		}
		c.AppendFixed(bytes)
		return nil
	}
}
