package textbatch

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/leat-etl/leat/engine/batch"
)

// appendValue reads a value in PostgreSQL's text form and appends it.
func appendValue(b *batch.ColumnBuilder, t arrow.DataType, v string) error {
	switch t := t.(type) {
	case *arrow.StringType:
		b.AppendBytes([]byte(v))
	case *arrow.BinaryType:
		raw, err := hex.DecodeString(strings.TrimPrefix(v, `\x`))
		if err != nil || !strings.HasPrefix(v, `\x`) {
			return errors.New(`want bytes as \x and hexadecimal digits`)
		}
		b.AppendBytes(raw)
	case *arrow.BooleanType:
		switch v {
		case "t", "true":
			b.AppendBool(true)
		case "f", "false":
			b.AppendBool(false)
		default:
			return errors.New("want t or f")
		}
	case *arrow.Int16Type, *arrow.Int32Type, *arrow.Int64Type, *arrow.Uint32Type:
		return appendInteger(b, t.(arrow.FixedWidthDataType), v)
	case *arrow.Float32Type, *arrow.Float64Type:
		return appendFloat(b, t.(arrow.FixedWidthDataType).BitWidth(), v)
	case *arrow.Decimal128Type:
		return appendDecimal(b, v, t.Precision, t.Scale, 16)
	case *arrow.Decimal256Type:
		return appendDecimal(b, v, t.Precision, t.Scale, 32)
	case *arrow.FixedSizeBinaryType:
		raw, err := hex.DecodeString(strings.ReplaceAll(v, "-", ""))
		if err != nil || len(raw) != t.ByteWidth {
			return errors.New("want a uuid")
		}
		b.AppendFixed(raw)
	default:
		return appendTime(b, t, v)
	}
	return nil
}

func appendInteger(b *batch.ColumnBuilder, t arrow.FixedWidthDataType, v string) error {
	if t.ID() == arrow.UINT32 {
		n, err := strconv.ParseUint(v, 10, 32)
		if err != nil {
			return errors.New("want a number from 0 to 4294967295")
		}
		b.AppendUint32(uint32(n))
		return nil
	}
	n, err := strconv.ParseInt(v, 10, t.BitWidth())
	if err != nil {
		return fmt.Errorf("want a whole number of %d bits", t.BitWidth())
	}
	switch t.BitWidth() {
	case 16:
		b.AppendUint16(uint16(n))
	case 32:
		b.AppendUint32(uint32(n))
	default:
		b.AppendUint64(uint64(n))
	}
	return nil
}

func appendFloat(b *batch.ColumnBuilder, bits int, v string) error {
	f, err := strconv.ParseFloat(v, bits)
	if err != nil {
		return errors.New("want a number, NaN, Infinity or -Infinity")
	}
	if bits == 32 {
		b.AppendUint32(math.Float32bits(float32(f)))
	} else {
		b.AppendUint64(math.Float64bits(f))
	}
	return nil
}

func appendDecimal(b *batch.ColumnBuilder, v string, precision, scale int32, width int) error {
	raw := make([]byte, width)
	if v == "NaN" {
		raw[width-1] = 0x80
		b.AppendFixed(raw)
		return nil
	}
	whole, fraction, _ := strings.Cut(v, ".")
	if len(fraction) > int(scale) {
		return fmt.Errorf("want at most %d digits after the point", scale)
	}
	n, ok := new(big.Int).SetString(whole+fraction+strings.Repeat("0", int(scale)-len(fraction)), 10)
	if !ok || len(new(big.Int).Abs(n).String()) > int(precision) {
		return fmt.Errorf("want a number of at most %d digits, %d of them after the point", precision, scale)
	}
	if n.Sign() < 0 {
		n.Add(n, new(big.Int).Lsh(big.NewInt(1), uint(8*width)))
	}
	n.FillBytes(raw)
	for i, j := 0, width-1; i < j; i, j = i+1, j-1 {
		raw[i], raw[j] = raw[j], raw[i]
	}
	b.AppendFixed(raw)
	return nil
}

// infinities are how PostgreSQL prints what lies beyond every date.
var infinities = map[string]int64{"infinity": 1, "-infinity": -1}

func appendTime(b *batch.ColumnBuilder, t arrow.DataType, v string) error {
	parse := func(form, layout string) (time.Time, error) {
		at, err := time.Parse(layout, v)
		if err != nil {
			return at, fmt.Errorf("want %s, for example %s", t, form)
		}
		return at, nil
	}
	switch t := t.(type) {
	case *arrow.Date32Type:
		if sign := infinities[v]; sign != 0 {
			b.AppendUint32(uint32(sign * batch.PosInfinityDate))
			return nil
		}
		at, err := parse("2024-02-29", time.DateOnly)
		if err != nil {
			return err
		}
		b.AppendUint32(uint32(at.Unix() / 86400))
	case *arrow.Time64Type:
		at, err := parse("13:05:00.25", "15:04:05.999999")
		if err != nil {
			return err
		}
		seconds := (at.Hour()*60+at.Minute())*60 + at.Second()
		b.AppendUint64(uint64(seconds)*1e6 + uint64(at.Nanosecond()/1000))
	case *arrow.TimestampType:
		if sign := infinities[v]; sign != 0 {
			b.AppendUint64(uint64(sign * batch.PosInfinity))
			return nil
		}
		form, layout := "2024-02-29 13:05:00.25", "2006-01-02 15:04:05.999999"
		if t.TimeZone != "" {
			form, layout = form+"+00", layout+"-07"
		}
		at, err := parse(form, layout)
		if err != nil {
			return err
		}
		b.AppendUint64(uint64(at.UnixMicro()))
	default:
		return fmt.Errorf("type %s has no text form", t)
	}
	return nil
}
