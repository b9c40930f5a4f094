package capability

import (
	"encoding/hex"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"

	"github.com/leat-etl/leat/engine/batch"
)

// appendParsed parses the PostgreSQL text v and appends it to b exactly, or
// fails. nanToNull turns NaN into NULL where b has no NaN.
func appendParsed(b array.Builder, v string, nanToNull bool) error {
	switch b := b.(type) {
	case *array.StringBuilder:
		b.Append(v)
	case *array.BooleanBuilder:
		if v != "t" && v != "f" && v != "true" && v != "false" {
			return fmt.Errorf("not a boolean")
		}
		b.Append(v[0] == 't')
	case *array.Int16Builder:
		n, err := strconv.ParseInt(v, 10, 16)
		if err != nil {
			return syntax(err)
		}
		b.Append(int16(n))
	case *array.Int32Builder:
		n, err := strconv.ParseInt(v, 10, 32)
		if err != nil {
			return syntax(err)
		}
		b.Append(int32(n))
	case *array.Int64Builder:
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return syntax(err)
		}
		b.Append(n)
	case *array.Uint32Builder:
		n, err := strconv.ParseUint(v, 10, 32)
		if err != nil {
			return syntax(err)
		}
		b.Append(uint32(n))
	case *array.Float32Builder:
		n, err := strconv.ParseFloat(v, 32)
		if err != nil {
			return syntax(err)
		}
		b.Append(float32(n))
	case *array.Float64Builder:
		n, err := strconv.ParseFloat(v, 64)
		if err != nil {
			return syntax(err)
		}
		b.Append(n)
	case *array.Decimal128Builder:
		return appendDecimalText(b, v, nanToNull)
	case *array.BinaryBuilder:
		raw, err := hex.DecodeString(strings.TrimPrefix(v, `\x`))
		if err != nil || !strings.HasPrefix(v, `\x`) {
			return fmt.Errorf("not a bytea in hexadecimal form")
		}
		b.Append(raw)
	case *array.FixedSizeBinaryBuilder:
		raw, err := hex.DecodeString(strings.ReplaceAll(v, "-", ""))
		if err != nil || len(raw) != 16 {
			return fmt.Errorf("not a uuid")
		}
		b.Append(raw)
	case *array.Date32Builder:
		days, err := parseDate(v)
		if err != nil {
			return err
		}
		b.Append(arrow.Date32(days))
	case *array.Time64Builder:
		micros, rest, err := parseTime(v)
		if err != nil || rest != "" {
			return fmt.Errorf("not a time of day")
		}
		b.Append(arrow.Time64(micros))
	case *array.TimestampBuilder:
		micros, err := parseTimestamp(v)
		if err != nil {
			return err
		}
		b.Append(arrow.Timestamp(micros))
	default:
		return fmt.Errorf("no exact conversion from text to %s", b.Type())
	}
	return nil
}

// syntax keeps the reason of a strconv error and drops the value.
func syntax(err error) error {
	if n, ok := err.(*strconv.NumError); ok {
		return n.Err
	}
	return err
}

func appendDecimalText(b *array.Decimal128Builder, v string, nanToNull bool) error {
	t := b.Type().(*arrow.Decimal128Type)
	if v == "NaN" {
		if !nanToNull {
			return errNaN
		}
		b.AppendNull()
		return nil
	}
	whole, fraction, _ := strings.Cut(v, ".")
	for len(fraction) > int(t.Scale) && fraction[len(fraction)-1] == '0' {
		fraction = fraction[:len(fraction)-1]
	}
	if len(fraction) > int(t.Scale) {
		return fmt.Errorf("more than %d digits after the point", t.Scale)
	}
	n, ok := new(big.Int).SetString(whole+fraction+strings.Repeat("0", int(t.Scale)-len(fraction)), 10)
	if !ok {
		return fmt.Errorf("not a finite number")
	}
	if !fits(n, t.Precision) {
		return fmt.Errorf("more than %d digits", t.Precision)
	}
	b.Append(decimal128.FromBigInt(n))
	return nil
}

// fits says whether n has at most precision decimal digits.
func fits(n *big.Int, precision int32) bool {
	limit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(precision)), nil)
	return n.CmpAbs(limit) < 0
}

var errDate = fmt.Errorf("not a date in ISO form")

// parseDate reads what appendDate writes.
func parseDate(s string) (int64, error) {
	switch s {
	case "infinity":
		return batch.PosInfinityDate, nil
	case "-infinity":
		return batch.NegInfinityDate, nil
	}
	s, bc := strings.CutSuffix(s, " BC")
	days, rest, err := parseDay(s, bc)
	if err == nil && (rest != "" || days > math.MaxInt32 || days < math.MinInt32) {
		err = errDate
	}
	return days, err
}

func parseDay(s string, bc bool) (days int64, rest string, err error) {
	part := strings.SplitN(s, "-", 3)
	if len(part) != 3 || len(part[2]) < 2 {
		return 0, "", errDate
	}
	year, errY := strconv.ParseUint(part[0], 10, 31)
	month, errM := strconv.ParseUint(part[1], 10, 8)
	day, errD := strconv.ParseUint(part[2][:2], 10, 8)
	if errY != nil || errM != nil || errD != nil || month < 1 || month > 12 || day < 1 || day > 31 {
		return 0, "", errDate
	}
	y := int64(year)
	if bc {
		y = 1 - y
	}
	return fromCivil(y, int(month), int(day)), part[2][2:], nil
}

// parseTime reads what appendTime writes and returns what follows it.
func parseTime(s string) (micros int64, rest string, err error) {
	if len(s) < 8 || s[2] != ':' || s[5] != ':' {
		return 0, "", fmt.Errorf("not a time in ISO form")
	}
	hours, errH := strconv.ParseUint(s[0:2], 10, 8)
	minutes, errM := strconv.ParseUint(s[3:5], 10, 8)
	seconds, errS := strconv.ParseUint(s[6:8], 10, 8)
	if errH != nil || errM != nil || errS != nil || hours > 24 || minutes > 59 || seconds > 60 {
		return 0, "", fmt.Errorf("not a time in ISO form")
	}
	micros = int64(hours*3600+minutes*60+seconds) * 1_000_000
	rest = s[8:]
	if strings.HasPrefix(rest, ".") {
		unit := int64(100_000)
		for rest = rest[1:]; rest != "" && rest[0] >= '0' && rest[0] <= '9'; rest = rest[1:] {
			micros += int64(rest[0]-'0') * unit
			unit /= 10
		}
	}
	return micros, rest, nil
}

// parseTimestamp reads what appendTimestamp writes, and any offset from UTC.
func parseTimestamp(s string) (int64, error) {
	switch s {
	case "infinity":
		return batch.PosInfinity, nil
	case "-infinity":
		return batch.NegInfinity, nil
	}
	s, bc := strings.CutSuffix(s, " BC")
	days, rest, err := parseDay(s, bc)
	if err != nil {
		return 0, err
	}
	if !strings.HasPrefix(rest, " ") {
		return 0, fmt.Errorf("not a timestamp in ISO form")
	}
	micros, zone, err := parseTime(rest[1:])
	if err != nil {
		return 0, err
	}
	offset, err := parseOffset(zone)
	if err != nil {
		return 0, err
	}
	at, within := days*microsPerDay, micros-offset*1_000_000
	sum := at + within
	if at/microsPerDay != days || (sum < at) != (within < 0) || sum == batch.PosInfinity || sum == batch.NegInfinity {
		return 0, fmt.Errorf("a moment beyond what microseconds of 64 bits hold")
	}
	return sum, nil
}

// parseOffset reads "", "+05", "-03:30" or "+00:19:32" as seconds.
func parseOffset(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	sign := int64(1)
	switch s[0] {
	case '+':
	case '-':
		sign = -1
	default:
		return 0, fmt.Errorf("not an offset from UTC")
	}
	seconds, unit := int64(0), int64(3600)
	for part := range strings.SplitSeq(s[1:], ":") {
		n, err := strconv.ParseUint(part, 10, 8)
		if err != nil || unit == 0 {
			return 0, fmt.Errorf("not an offset from UTC")
		}
		seconds += int64(n) * unit
		unit /= 60
	}
	return sign * seconds, nil
}

// microsPerDay is the length of a day in the units of a batch.
const microsPerDay = 86_400_000_000

// fromCivil turns a proleptic Gregorian date into days since 1970; year 0 is
// 1 BC.
func fromCivil(year int64, month, day int) int64 {
	if month <= 2 {
		year--
		month += 12
	}
	era := year / 400
	if year < 0 && year%400 != 0 {
		era--
	}
	yearOfEra := year - era*400
	inYear := int64((153*(month-3)+2)/5 + day - 1)
	return era*146097 + yearOfEra*365 + yearOfEra/4 - yearOfEra/100 + inYear - 719468
}
