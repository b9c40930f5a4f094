package postgres

import (
	"encoding/binary"
	"math"

	"github.com/leat-etl/leat/engine/batch"
)

// PostgreSQL counts from 2000-01-01, a batch from 1970-01-01.
const (
	epochDays    = 10957
	secondMicros = 1_000_000
	minuteMicros = 60 * secondMicros
	hourMicros   = 60 * minuteMicros
	dayMicros    = 24 * hourMicros
	epochMicros  = epochDays * dayMicros
)

// daysOf returns the days from 1970-01-01 to a date of the proleptic Gregorian
// calendar; year 0 is 1 BC.
func daysOf(year, month, day int64) int64 {
	if month <= 2 {
		year--
		month += 12
	}
	era := floorDiv(year, 400)
	yoe := year - era*400
	doy := (153*(month-3)+2)/5 + day - 1
	return era*146097 + yoe*365 + yoe/4 - yoe/100 + doy - 719468
}

// dateOf is the inverse of daysOf.
func dateOf(days int64) (year, month, day int64) {
	days += 719468
	era := floorDiv(days, 146097)
	doe := days - era*146097
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	day = doy - (153*mp+2)/5 + 1
	year, month = yoe+era*400, mp+3
	if month > 12 {
		month -= 12
		year++
	}
	return year, month, day
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// timeReader reads the parts of ISO dates and times; the first part that does
// not fit makes it bad.
type timeReader struct {
	rest []byte
	bad  bool
}

// number reads from lo to hi digits.
func (r *timeReader) number(lo, hi int) int64 {
	var v int64
	n := 0
	for n < len(r.rest) && n < hi && r.rest[n]-'0' <= 9 {
		v = v*10 + int64(r.rest[n]-'0')
		n++
	}
	if n < lo {
		r.bad = true
	}
	r.rest = r.rest[n:]
	return v
}

// below reads a number of exactly two digits that is at most limit.
func (r *timeReader) pair(limit int64) int64 {
	v := r.number(2, 2)
	if v > limit {
		r.bad = true
	}
	return v
}

// accept reads b if it comes next.
func (r *timeReader) accept(b byte) bool {
	if len(r.rest) == 0 || r.rest[0] != b {
		return false
	}
	r.rest = r.rest[1:]
	return true
}

func (r *timeReader) expect(b byte) {
	if !r.accept(b) {
		r.bad = true
	}
}

// yearMonthDay reads YYYY-MM-DD; the year has four to seven digits.
func (r *timeReader) yearMonthDay() (year, month, day int64) {
	year = r.number(4, 7)
	r.expect('-')
	month = r.pair(12)
	r.expect('-')
	day = r.pair(31)
	return year, month, day
}

// clock reads HH:MM:SS with up to six decimals, in microseconds.
func (r *timeReader) clock() int64 {
	micros := r.pair(24) * hourMicros
	r.expect(':')
	micros += r.pair(59) * minuteMicros
	r.expect(':')
	micros += r.pair(60) * secondMicros
	if r.accept('.') {
		before := len(r.rest)
		v := r.number(1, 6)
		for n := before - len(r.rest); n < 6; n++ {
			v *= 10
		}
		micros += v
	}
	return micros
}

// zone reads a signed offset from UTC, in microseconds east.
func (r *timeReader) zone() int64 {
	negative := r.accept('-')
	if !negative {
		r.expect('+')
	}
	v := r.pair(99) * hourMicros
	if r.accept(':') {
		v += r.pair(59) * minuteMicros
	}
	if r.accept(':') {
		v += r.pair(59) * secondMicros
	}
	if negative {
		return -v
	}
	return v
}

// era turns a year of the text into an astronomical one: 1 BC is 0.
func (r *timeReader) era(year int64) int64 {
	if len(r.rest) == 3 && string(r.rest) == " BC" {
		r.rest = nil
		return 1 - year
	}
	return year
}

// end says whether everything was read and fitted.
func (r *timeReader) end() bool { return !r.bad && len(r.rest) == 0 }

func appendDateText(c *batch.ColumnBuilder, raw []byte) error {
	switch string(raw) {
	case "infinity":
		c.AppendUint32(batch.PosInfinityDate)
		return nil
	case "-infinity":
		c.AppendUint32(negInfinityDate)
		return nil
	}
	r := timeReader{rest: raw}
	year, month, day := r.yearMonthDay()
	year = r.era(year)
	if !r.end() {
		return errSyntax
	}
	c.AppendUint32(uint32(int32(daysOf(year, month, day))))
	return nil
}

// The bits of the negative sentinels.
const (
	negInfinityDate = uint32(1<<32 + batch.NegInfinityDate)
	negInfinity     = uint64(1<<64 + batch.NegInfinity)
)

func appendDateBinary(c *batch.ColumnBuilder, raw []byte) error {
	if len(raw) != 4 {
		return errSyntax
	}
	switch v := int32(binary.BigEndian.Uint32(raw)); v {
	case math.MaxInt32:
		c.AppendUint32(batch.PosInfinityDate)
	case math.MinInt32:
		c.AppendUint32(negInfinityDate)
	default:
		if v > math.MaxInt32-1-epochDays {
			return errRange
		}
		c.AppendUint32(uint32(v + epochDays))
	}
	return nil
}

func appendTimeText(c *batch.ColumnBuilder, raw []byte) error {
	r := timeReader{rest: raw}
	v := r.clock()
	if !r.end() || v > dayMicros {
		return errSyntax
	}
	c.AppendUint64(uint64(v))
	return nil
}

func appendTimeBinary(c *batch.ColumnBuilder, raw []byte) error {
	if len(raw) != 8 {
		return errSyntax
	}
	v := binary.BigEndian.Uint64(raw)
	if v > dayMicros {
		return errSyntax
	}
	c.AppendUint64(v)
	return nil
}

// appendTimestampText reads timestamps with and without time zone.
func appendTimestampText(c *batch.ColumnBuilder, raw []byte) error {
	switch string(raw) {
	case "infinity":
		c.AppendUint64(batch.PosInfinity)
		return nil
	case "-infinity":
		c.AppendUint64(negInfinity)
		return nil
	}
	r := timeReader{rest: raw}
	year, month, day := r.yearMonthDay()
	r.expect(' ')
	micros := r.clock()
	if len(r.rest) > 0 && r.rest[0] != ' ' {
		micros -= r.zone()
	}
	year = r.era(year)
	if !r.end() {
		return errSyntax
	}
	v, ok := joinMicros(daysOf(year, month, day), micros)
	if !ok {
		return errRange
	}
	c.AppendUint64(uint64(v))
	return nil
}

// joinMicros returns days and microseconds as one count, not ok where it would
// reach a sentinel or overflow.
func joinMicros(days, micros int64) (v int64, ok bool) {
	const lastDay, lastMicros = math.MaxInt64 / dayMicros, math.MaxInt64 % dayMicros
	if micros < 0 {
		days--
		micros += dayMicros
	}
	if days > lastDay || days == lastDay && micros >= lastMicros || days <= -lastDay {
		return 0, false
	}
	return days*dayMicros + micros, true
}

func appendTimestampBinary(c *batch.ColumnBuilder, raw []byte) error {
	if len(raw) != 8 {
		return errSyntax
	}
	switch v := int64(binary.BigEndian.Uint64(raw)); v {
	case math.MaxInt64:
		c.AppendUint64(batch.PosInfinity)
	case math.MinInt64:
		c.AppendUint64(negInfinity)
	default:
		if v >= math.MaxInt64-epochMicros || v < -math.MaxInt64+dayMicros {
			return errRange
		}
		c.AppendUint64(uint64(v + epochMicros))
	}
	return nil
}
