package engine

import (
	"fmt"
	"math"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/decimal256"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/spec"
)

// valueKind is why a value is special.
type valueKind byte

const (
	infinite valueKind = iota + 1
	beforeChrist
	notANumber
	wide
)

// String names the kind for people.
func (k valueKind) String() string {
	return [...]string{"", "infinity", "a date before the year 1", "NaN or infinity", "a number of more than 38 digits"}[k]
}

// policy is what is wanted for values of the kind.
func (k valueKind) policy(want spec.ColumnValues) string {
	return [...]string{"", want.Infinity, want.BC, want.NaN, want.WideNumeric}[k]
}

// found is a special value.
type found struct {
	row  int32
	kind valueKind
}

// finder lists the special values of a column, in the order of its rows. It
// may list cells that are null.
type finder func(a arrow.Array) []found

// clamper appends what a special value is clamped to, in the type of the
// result.
type clamper func(c *batch.ColumnBuilder, a arrow.Array, f found, to arrow.DataType)

// Moments of 1 January of the year 1 and 31 December 9999, in the units of a
// batch.
const (
	firstDay    = -719162
	lastDay     = 2932896
	dayMicros   = 86_400_000_000
	firstMoment = firstDay * dayMicros
	lastMoment  = (lastDay+1)*dayMicros - 1
)

func findMoments(a arrow.Array) []found {
	var out []found
	switch a := a.(type) {
	case *array.Timestamp:
		for i, v := range a.TimestampValues() {
			if v < firstMoment || v == batch.PosInfinity {
				out = append(out, found{int32(i), momentKind(v == batch.PosInfinity || v == batch.NegInfinity)})
			}
		}
	case *array.Date32:
		for i, v := range a.Date32Values() {
			if v < firstDay || v == batch.PosInfinityDate {
				out = append(out, found{int32(i), momentKind(v == batch.PosInfinityDate || v == batch.NegInfinityDate)})
			}
		}
	}
	return out
}

func momentKind(isInfinite bool) valueKind {
	if isInfinite {
		return infinite
	}
	return beforeChrist
}

func clampMoment(c *batch.ColumnBuilder, a arrow.Array, f found, to arrow.DataType) {
	day, moment := int32(firstDay), int64(firstMoment)
	switch a := a.(type) {
	case *array.Timestamp:
		if a.Value(int(f.row)) == batch.PosInfinity {
			moment = lastMoment
		}
	case *array.Date32:
		if a.Value(int(f.row)) == batch.PosInfinityDate {
			day = lastDay
		}
	}
	utc := false
	if t, ok := a.DataType().(*arrow.TimestampType); ok {
		utc = t.TimeZone != ""
	}
	switch {
	case to.ID() == arrow.STRING && a.DataType().ID() == arrow.DATE32:
		c.AppendText(func(dst []byte) []byte {
			return batch.AppendTimestamp(dst, int64(day)*dayMicros, false)[:len(dst)+len("0001-01-01")]
		})
	case to.ID() == arrow.STRING:
		c.AppendText(func(dst []byte) []byte { return batch.AppendTimestamp(dst, moment, utc) })
	case to.ID() == arrow.DATE32:
		c.AppendUint32(uint32(day))
	default:
		c.AppendUint64(uint64(moment))
	}
}

func findFloats(a arrow.Array) []found {
	var out []found
	switch a := a.(type) {
	case *array.Float64:
		for i, v := range a.Float64Values() {
			if v-v != 0 { // NaN and the infinities
				out = append(out, found{int32(i), notANumber})
			}
		}
	case *array.Float32:
		for i, v := range a.Float32Values() {
			if v-v != 0 {
				out = append(out, found{int32(i), notANumber})
			}
		}
	}
	return out
}

// tooWide is the first number that 38 digits do not hold.
var tooWide = func() decimal256.Num {
	n, err := decimal256.FromString("1"+strings.Repeat("0", wideDigits), wideDigits+1, 0)
	if err != nil {
		panic(fmt.Sprintf("the first wide number: %v", err)) // a constant
	}
	return n
}()

// widest is the largest number of 38 digits.
var widest = decimal128.GetMaxValue(wideDigits)

func findDecimals(a arrow.Array) []found {
	var out []found
	switch a := a.(type) {
	case *array.Decimal128:
		for i, v := range a.Values() {
			if v == batch.NaN128 {
				out = append(out, found{int32(i), notANumber})
			}
		}
	case *array.Decimal256:
		for i, v := range a.Values() {
			switch {
			case v == batch.NaN256:
				out = append(out, found{int32(i), notANumber})
			case !v.Abs().Less(tooWide):
				out = append(out, found{int32(i), wide})
			}
		}
	}
	return out
}

func clampDecimal(c *batch.ColumnBuilder, a arrow.Array, f found, to arrow.DataType) {
	n := widest
	if a.(*array.Decimal256).Value(int(f.row)).Sign() < 0 {
		n = n.Negate()
	}
	if to.ID() == arrow.STRING {
		c.AppendBytes([]byte(n.ToString(a.DataType().(*arrow.Decimal256Type).Scale)))
		return
	}
	appendDecimal128(c, n)
}

func appendDecimal128(c *batch.ColumnBuilder, n decimal128.Num) {
	var raw [16]byte
	for i := range 8 {
		raw[i], raw[8+i] = byte(n.LowBits()>>(8*i)), byte(uint64(n.HighBits())>>(8*i))
	}
	c.AppendFixed(raw[:])
}

// findNumericTexts looks at numbers without a precision, which travel as text.
func findNumericTexts(a arrow.Array) []found {
	texts := a.(*array.String)
	var out []found
	for i := range texts.Len() {
		text := texts.Value(i)
		switch {
		case text == "" || text[len(text)-1] >= '0' && text[len(text)-1] <= '9':
			if len(text) > wideDigits && digitsOf(text) > wideDigits {
				out = append(out, found{int32(i), wide})
			}
		default: // NaN, Infinity
			out = append(out, found{int32(i), notANumber})
		}
	}
	return out
}

// digitsOf counts the digits of a decimal number without leading zeros; those
// after the point all count.
func digitsOf(text string) int {
	whole, fraction := parts(text)
	return len(whole) + len(fraction)
}

func parts(text string) (whole, fraction string) {
	whole, fraction, _ = strings.Cut(strings.TrimPrefix(text, "-"), ".")
	return strings.TrimLeft(whole, "0"), fraction
}

func clampNumericText(c *batch.ColumnBuilder, a arrow.Array, f found, _ arrow.DataType) {
	text := a.(*array.String).Value(int(f.row))
	sign := ""
	if strings.HasPrefix(text, "-") {
		sign = "-"
	}
	whole, fraction := parts(text)
	if len(whole) > wideDigits {
		whole, fraction = strings.Repeat("9", wideDigits), ""
	}
	fraction = fraction[:min(len(fraction), wideDigits-len(whole))]
	if whole == "" {
		whole = "0"
	}
	if fraction != "" {
		fraction = "." + fraction
	}
	c.AppendBytes([]byte(sign + whole + fraction))
}

// convert returns the column with its special values replaced, nil where it
// stays as it is. Rows that are refused are added to refused.
func (c *valueColumn) convert(a arrow.Array, refused map[int32]string) (arrow.Array, error) {
	special := c.find(a)
	if len(special) == 0 && arrow.TypeEqual(c.typ, a.DataType()) {
		return nil, nil
	}
	cell, err := c.plainCell(a)
	if err != nil {
		return nil, err
	}
	b := batch.NewBuilder(&batch.Schema{Columns: []batch.Column{{Name: c.name, Type: c.typ}}})
	out := b.Column(0)
	for row := range a.Len() {
		var kind valueKind
		var at found
		if len(special) > 0 && special[0].row == int32(row) {
			at, special = special[0], special[1:]
			kind = at.kind
		}
		switch {
		case a.IsNull(row):
			out.AppendNull()
		case kind == 0:
			cell(out, row)
		default:
			switch kind.policy(c.want) {
			case nullValue:
				out.AppendNull()
			case clampValue:
				c.clamp(out, a, at, c.typ)
			case failValue:
				refused[int32(row)] = c.refusal(kind)
				out.AppendNull()
			default:
				cell(out, row)
			}
		}
		b.EndRow(batch.Read, 0, 0, 0)
	}
	built := b.Finish(batch.Position{})
	defer built.Release()
	column := built.Rows.Column(0)
	column.Retain()
	return column, nil
}

// plainCell returns what appends a value as it is, in the type of the result.
func (c *valueColumn) plainCell(a arrow.Array) (func(out *batch.ColumnBuilder, row int), error) {
	if c.typ.ID() == arrow.STRING {
		text, err := batch.TextOf(a)
		return func(out *batch.ColumnBuilder, row int) {
			out.AppendText(func(dst []byte) []byte { return text(dst, row) })
		}, err
	}
	switch a := a.(type) {
	case *array.Timestamp:
		return func(out *batch.ColumnBuilder, row int) { out.AppendUint64(uint64(a.Value(row))) }, nil
	case *array.Date32:
		return func(out *batch.ColumnBuilder, row int) { out.AppendUint32(uint32(a.Value(row))) }, nil
	case *array.Float64:
		return func(out *batch.ColumnBuilder, row int) { out.AppendUint64(math.Float64bits(a.Value(row))) }, nil
	case *array.Float32:
		return func(out *batch.ColumnBuilder, row int) { out.AppendUint32(math.Float32bits(a.Value(row))) }, nil
	case *array.Decimal128:
		return func(out *batch.ColumnBuilder, row int) { appendDecimal128(out, a.Value(row)) }, nil
	case *array.Decimal256:
		return func(out *batch.ColumnBuilder, row int) {
			v := a.Value(row)
			if c.typ.ID() == arrow.DECIMAL256 {
				appendDecimal256(out, v)
			} else if v == batch.NaN256 {
				appendDecimal128(out, batch.NaN128)
			} else { // it has 38 digits at most: the others are special
				words := v.Array()
				appendDecimal128(out, decimal128.New(int64(words[1]), words[0]))
			}
		}, nil
	}
	return nil, fmt.Errorf("type %s has no special values", a.DataType())
}

func appendDecimal256(c *batch.ColumnBuilder, n decimal256.Num) {
	var raw [32]byte
	for w, word := range n.Array() {
		for i := range 8 {
			raw[8*w+i] = byte(word >> (8 * i))
		}
	}
	c.AppendFixed(raw[:])
}
