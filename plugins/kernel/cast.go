package kernel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/decimal256"

	"github.com/leat-etl/leat/engine/batch"
)

// bindCast converts a column to another format. What does not fit fails its
// row: nothing is rounded or cut.
func bindCast(b *binding) (*Kernel, error) {
	p := struct {
		To     string `json:"to"`
		Layout string `json:"layout"`
		Empty  string `json:"empty"`
	}{Empty: "fail"}
	if err := errors.Join(b.takes(1), b.decode(&p)); err != nil {
		return nil, err
	}
	to, err := batch.ParseFormat(p.To)
	if err != nil {
		return nil, err
	}
	if p.Empty != "fail" && p.Empty != "null" {
		return nil, fmt.Errorf("empty: %q is not fail or null", p.Empty)
	}
	from := b.inputs[0].Type
	if to.ID() == arrow.STRING {
		return printsTime(from, p.Layout)
	}
	if from.ID() == arrow.BINARY {
		return nil, fmt.Errorf("%s is binary, which is no %s", b.inputs[0], to)
	}
	if from.ID() != arrow.STRING && p.Layout != "" {
		return nil, fmt.Errorf("layout: it is for text that becomes a time, and for a time that becomes text")
	}
	parse, err := scannerOf(to, p.Layout)
	if err != nil {
		return nil, err
	}
	return &Kernel{Output: to, run: func(in []Column, rows int, out *result) error {
		value, _, err := values(in[0].Array)
		if err != nil {
			return err
		}
		return fill(to, in, rows, out, func(c *batch.ColumnBuilder, row int) error {
			text := bytes.TrimSpace(value(row))
			if len(text) == 0 && p.Empty == "null" {
				return errNull
			}
			return parse(c, text)
		})
	}}, nil
}

// scanner appends the value that a text stands for.
type scanner func(c *batch.ColumnBuilder, text []byte) error

func scannerOf(to arrow.DataType, layout string) (scanner, error) {
	switch to := to.(type) {
	case *arrow.Date32Type, *arrow.TimestampType:
		return timeScanner(to, layout)
	case *arrow.Decimal128Type:
		return decimalScanner(to, to.Precision, to.Scale), nil
	case *arrow.Decimal256Type:
		return decimalScanner(to, to.Precision, to.Scale), nil
	}
	if layout != "" {
		return nil, errors.New("layout: it is for text that becomes a time, and for a time that becomes text")
	}
	switch to.ID() {
	case arrow.INT16, arrow.INT32, arrow.INT64:
		return integerScanner(to, to.(arrow.FixedWidthDataType).BitWidth()), nil
	case arrow.FLOAT32, arrow.FLOAT64:
		return floatScanner(to), nil
	case arrow.BOOL:
		return parseBool, nil
	}
	return nil, fmt.Errorf("nothing is converted to %s", to)
}

// describe names what a value cannot become; the value itself is not told.
func describe(to arrow.DataType, why string) error {
	return fmt.Errorf("the value cannot become %s: %s", to, why)
}

func integerScanner(to arrow.DataType, width int) scanner {
	return func(c *batch.ColumnBuilder, text []byte) error {
		// A decimal with nothing behind its point is an integer.
		if at := bytes.IndexByte(text, '.'); at > 0 && len(bytes.Trim(text[at+1:], "0")) == 0 {
			text = text[:at]
		}
		v, err := strconv.ParseInt(string(text), 10, width)
		switch {
		case errors.Is(err, strconv.ErrRange):
			return describe(to, "it is out of range")
		case err != nil:
			return describe(to, "it is no whole number")
		}
		switch width {
		case 16:
			c.AppendUint16(uint16(v))
		case 32:
			c.AppendUint32(uint32(v))
		default:
			c.AppendUint64(uint64(v))
		}
		return nil
	}
}

func floatScanner(to arrow.DataType) scanner {
	bits := 64
	if to.ID() == arrow.FLOAT32 {
		bits = 32
	}
	return func(c *batch.ColumnBuilder, text []byte) error {
		v, err := strconv.ParseFloat(string(text), bits)
		switch {
		case errors.Is(err, strconv.ErrRange):
			return describe(to, "it is out of range")
		case err != nil || bytes.ContainsAny(text, "xX_"):
			return describe(to, "it is no number")
		}
		if bits == 32 {
			c.AppendUint32(math.Float32bits(float32(v)))
		} else {
			c.AppendUint64(math.Float64bits(v))
		}
		return nil
	}
}

// parseBool takes what PostgreSQL takes.
func parseBool(c *batch.ColumnBuilder, text []byte) error {
	switch string(bytes.ToLower(text)) {
	case "t", "true", "y", "yes", "on", "1":
		c.AppendBool(true)
	case "f", "false", "n", "no", "off", "0":
		c.AppendBool(false)
	default:
		return describe(arrow.FixedWidthTypes.Boolean, "it is neither true nor false")
	}
	return nil
}

func decimalScanner(to arrow.DataType, precision, scale int32) scanner {
	return func(c *batch.ColumnBuilder, text []byte) error {
		if string(text) == "NaN" {
			appendDecimal(c, to, nil)
			return nil
		}
		digits, places, ok := parseNumber(text)
		if !ok {
			return describe(to, "it is no number")
		}
		v, exact := rescale(digits, places, int(scale))
		if !exact {
			return describe(to, fmt.Sprintf("it has more than %d digits behind the point", scale))
		}
		if !fits(v, precision) {
			return describe(to, "it has too many digits before the point")
		}
		appendDecimal(c, to, v)
		return nil
	}
}

// maxNumber bounds the text of a number and its exponent.
const maxNumber = 2000

// parseNumber reads -12.50 or 1e3 as its digits and how many of them stand
// behind the point.
func parseNumber(text []byte) (digits *big.Int, places int, ok bool) {
	if len(text) > maxNumber {
		return nil, 0, false
	}
	mantissa, exponent, hasExponent := bytes.Cut(bytes.ToLower(text), []byte("e"))
	if hasExponent {
		e, err := strconv.ParseInt(string(exponent), 10, 32)
		if err != nil || e > maxNumber || e < -maxNumber {
			return nil, 0, false
		}
		places = -int(e)
	}
	whole, fraction, _ := bytes.Cut(mantissa, []byte("."))
	places += len(fraction)
	all := append(bytes.Clone(whole), fraction...)
	unsigned := bytes.TrimLeft(all, "+-")
	if len(unsigned) == 0 || len(all)-len(unsigned) > 1 || len(bytes.Trim(unsigned, "0123456789")) > 0 {
		return nil, 0, false
	}
	digits, ok = new(big.Int).SetString(string(all), 10)
	return digits, places, ok
}

func ten(n int) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil) }

// rescale changes how many digits stand behind the point.
func rescale(digits *big.Int, places, scale int) (v *big.Int, exact bool) {
	if places <= scale {
		return new(big.Int).Mul(digits, ten(scale-places)), true
	}
	v, rest := new(big.Int).QuoRem(digits, ten(places-scale), new(big.Int))
	return v, rest.Sign() == 0
}

func fits(v *big.Int, precision int32) bool {
	return new(big.Int).Abs(v).Cmp(ten(int(precision))) < 0
}

// appendDecimal appends v, NaN where it is nil.
func appendDecimal(c *batch.ColumnBuilder, to arrow.DataType, v *big.Int) {
	var cell [32]byte
	if to.ID() == arrow.DECIMAL128 {
		n := batch.NaN128
		if v != nil {
			n = decimal128.FromBigInt(v)
		}
		binary.LittleEndian.PutUint64(cell[:], n.LowBits())
		binary.LittleEndian.PutUint64(cell[8:], uint64(n.HighBits()))
		c.AppendFixed(cell[:16])
		return
	}
	n := batch.NaN256
	if v != nil {
		n = decimal256.FromBigInt(v)
	}
	for i, word := range n.Array() {
		binary.LittleEndian.PutUint64(cell[8*i:], word)
	}
	c.AppendFixed(cell[:])
}

// printsTime is the cast to text: of a time by layout, of everything else as
// PostgreSQL prints it.
func printsTime(from arrow.DataType, layout string) (*Kernel, error) {
	if layout == "" {
		return mapsText(func() mapper {
			return func(dst, value []byte) ([]byte, error) { return append(dst, value...), nil }
		}), nil
	}
	print, err := goLayout(layout)
	if err != nil {
		return nil, err
	}
	if from.ID() != arrow.DATE32 && from.ID() != arrow.TIMESTAMP {
		return nil, fmt.Errorf("layout: it is for dates and timestamps, not for %s", from)
	}
	return &Kernel{Output: arrow.BinaryTypes.String, run: func(in []Column, rows int, out *result) error {
		micros := microsOf(in[0].Array)
		return fill(arrow.BinaryTypes.String, in, rows, out, func(c *batch.ColumnBuilder, row int) error {
			v, err := micros(row)
			if err != nil {
				return err
			}
			if v == batch.PosInfinity || v == batch.NegInfinity {
				text := "infinity"
				if v == batch.NegInfinity {
					text = "-infinity"
				}
				c.AppendBytes([]byte(text))
				return nil
			}
			c.AppendText(func(dst []byte) []byte { return time.UnixMicro(v).UTC().AppendFormat(dst, print) })
			return nil
		})
	}}, nil
}

// bindRound rounds half away from zero, as PostgreSQL rounds numeric. A decimal
// keeps digits places behind its point and gets room for a carry.
func bindRound(b *binding) (*Kernel, error) {
	var p struct {
		Digits int32 `json:"digits"`
	}
	if err := errors.Join(b.takes(1), b.decode(&p)); err != nil {
		return nil, err
	}
	if p.Digits < 0 || p.Digits > 100 {
		return nil, fmt.Errorf("digits: %d is not from 0 to 100", p.Digits)
	}
	to := b.inputs[0].Type
	switch t := to.(type) {
	case *arrow.StringType:
		return mapsText(func() mapper {
			return func(dst, value []byte) ([]byte, error) { return roundText(dst, value, p.Digits) }
		}), nil
	case *arrow.Float32Type, *arrow.Float64Type:
		return mapsNumber(to, p.Digits), nil
	case *arrow.Decimal128Type:
		if p.Digits < t.Scale {
			to = &arrow.Decimal128Type{Precision: min(38, t.Precision-t.Scale+p.Digits+1), Scale: p.Digits}
		}
	case *arrow.Decimal256Type:
		if p.Digits < t.Scale {
			to = &arrow.Decimal256Type{Precision: min(76, t.Precision-t.Scale+p.Digits+1), Scale: p.Digits}
		}
	default:
		return nil, fmt.Errorf("%s is %s, which has nothing to round", b.inputs[0], to)
	}
	return mapsNumber(to, p.Digits), nil
}

// mapsNumber rounds through the text of a number.
func mapsNumber(to arrow.DataType, digits int32) *Kernel {
	return &Kernel{Output: to, run: func(in []Column, rows int, out *result) error {
		value, _, err := values(in[0].Array)
		if err != nil {
			return err
		}
		parse, err := scannerOf(to, "")
		if err != nil {
			return err
		}
		var rounded []byte
		return fill(to, in, rows, out, func(c *batch.ColumnBuilder, row int) error {
			var err error
			if rounded, err = roundText(rounded[:0], value(row), digits); err != nil {
				return err
			}
			return parse(c, rounded)
		})
	}}
}

func roundText(dst, value []byte, digits int32) ([]byte, error) {
	switch string(value) {
	case "NaN", "Infinity", "-Infinity":
		return append(dst, value...), nil
	}
	v, places, ok := parseNumber(bytes.TrimSpace(value))
	if !ok {
		return dst, errors.New("the value is no number")
	}
	if places > int(digits) {
		unit := ten(places - int(digits))
		half := new(big.Int).Quo(unit, big.NewInt(2))
		if v.Sign() < 0 {
			half.Neg(half)
		}
		v, places = v.Add(v, half).Quo(v, unit), int(digits)
	} else if places < 0 {
		v, places = v.Mul(v, ten(-places)), 0
	}
	text := new(big.Int).Abs(v).String()
	for len(text) <= places {
		text = "0" + text
	}
	if v.Sign() < 0 {
		dst = append(dst, '-')
	}
	dst = append(dst, text[:len(text)-places]...)
	if places > 0 {
		dst = append(append(dst, '.'), text[len(text)-places:]...)
	}
	return dst, nil
}
