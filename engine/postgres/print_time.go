package postgres

import (
	"encoding/binary"
	"math"
	"strconv"
)

func appendYear(dst []byte, year int64) []byte {
	if year <= 0 {
		year = 1 - year
	}
	if year >= 10000 {
		return strconv.AppendInt(dst, year, 10)
	}
	return appendDigits(dst, uint64(year), 4)
}

// appendDate prints days since 1970 without the era.
func appendDate(dst []byte, days int64) (out []byte, bc bool) {
	year, month, day := dateOf(days)
	dst = append(appendYear(dst, year), '-')
	dst = append(appendDigits(dst, uint64(month), 2), '-')
	return appendDigits(dst, uint64(day), 2), year <= 0
}

// appendClock prints HH:MM:SS and the microseconds without trailing zeros.
func appendClock(dst []byte, micros uint64) []byte {
	hours := micros / hourMicros
	if hours < 100 {
		dst = appendDigits(dst, hours, 2)
	} else {
		dst = strconv.AppendUint(dst, hours, 10)
	}
	dst = appendDigits(append(dst, ':'), micros/minuteMicros%60, 2)
	dst = appendDigits(append(dst, ':'), micros/secondMicros%60, 2)
	fraction := micros % secondMicros
	if fraction == 0 {
		return dst
	}
	dst = appendDigits(append(dst, '.'), fraction, 6)
	for dst[len(dst)-1] == '0' {
		dst = dst[:len(dst)-1]
	}
	return dst
}

func printDate(dst, raw []byte) ([]byte, error) {
	if len(raw) != 4 {
		return dst, errSyntax
	}
	v := int32(binary.BigEndian.Uint32(raw))
	switch v {
	case math.MaxInt32:
		return append(dst, "infinity"...), nil
	case math.MinInt32:
		return append(dst, "-infinity"...), nil
	}
	dst, bc := appendDate(dst, int64(v)+epochDays)
	if bc {
		dst = append(dst, " BC"...)
	}
	return dst, nil
}

func printTime(dst, raw []byte) ([]byte, error) {
	if len(raw) != 8 {
		return dst, errSyntax
	}
	v := binary.BigEndian.Uint64(raw)
	if v > dayMicros {
		return dst, errSyntax
	}
	return appendClock(dst, v), nil
}

// printTimetz prints the time and its zone, which is sent in seconds west.
func printTimetz(dst, raw []byte) ([]byte, error) {
	if len(raw) != 12 {
		return dst, errSyntax
	}
	dst, err := printTime(dst, raw[:8])
	if err != nil {
		return dst, err
	}
	west := int64(int32(binary.BigEndian.Uint32(raw[8:])))
	east := uint64(-west)
	if west > 0 {
		dst = append(dst, '-')
		east = uint64(west)
	} else {
		dst = append(dst, '+')
	}
	if east >= 100*3600 {
		return dst, errSyntax
	}
	dst = appendDigits(dst, east/3600, 2)
	if east%3600 != 0 {
		dst = appendDigits(append(dst, ':'), east/60%60, 2)
	}
	if east%60 != 0 {
		dst = appendDigits(append(dst, ':'), east%60, 2)
	}
	return dst, nil
}

func printTimestamp(dst, raw []byte) ([]byte, error) { return appendTimestamp(dst, raw, "") }

func printTimestamptz(dst, raw []byte) ([]byte, error) { return appendTimestamp(dst, raw, "+00") }

func appendTimestamp(dst, raw []byte, zone string) ([]byte, error) {
	if len(raw) != 8 {
		return dst, errSyntax
	}
	v := int64(binary.BigEndian.Uint64(raw))
	switch v {
	case math.MaxInt64:
		return append(dst, "infinity"...), nil
	case math.MinInt64:
		return append(dst, "-infinity"...), nil
	}
	days := floorDiv(v, dayMicros)
	dst, bc := appendDate(dst, days+epochDays)
	dst = appendClock(append(dst, ' '), uint64(v-days*dayMicros))
	dst = append(dst, zone...)
	if bc {
		dst = append(dst, " BC"...)
	}
	return dst, nil
}

// printInterval prints IntervalStyle postgres: microseconds, days and months
// each with a sign of its own. Version 17 knows infinite intervals.
func printInterval(dst, raw []byte) ([]byte, error) {
	if len(raw) != 16 {
		return dst, errSyntax
	}
	micros := int64(binary.BigEndian.Uint64(raw))
	days := int64(int32(binary.BigEndian.Uint32(raw[8:])))
	months := int64(int32(binary.BigEndian.Uint32(raw[12:])))
	switch {
	case micros == math.MaxInt64 && days == math.MaxInt32 && months == math.MaxInt32:
		return append(dst, "infinity"...), nil
	case micros == math.MinInt64 && days == math.MinInt32 && months == math.MinInt32:
		return append(dst, "-infinity"...), nil
	}
	from := len(dst)
	afterNegative := false
	part := func(v int64, unit string) {
		if v == 0 {
			return
		}
		if len(dst) > from {
			dst = append(dst, ' ')
		}
		if afterNegative && v > 0 {
			dst = append(dst, '+')
		}
		dst = append(strconv.AppendInt(dst, v, 10), unit...)
		if v != 1 {
			dst = append(dst, 's')
		}
		afterNegative = v < 0
	}
	part(months/12, " year")
	part(months%12, " mon")
	part(days, " day")
	if micros == 0 && len(dst) > from {
		return dst, nil
	}
	if len(dst) > from {
		dst = append(dst, ' ')
	}
	size := uint64(micros)
	switch {
	case micros < 0:
		dst = append(dst, '-')
		size = -size
	case afterNegative:
		dst = append(dst, '+')
	}
	return appendClock(dst, size), nil
}
