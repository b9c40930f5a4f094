package compare

import (
	"encoding/hex"
	"fmt"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// canonical brings the text of a value to the one form that all texts of that
// value share. Text that is none of the type's is left as it is, so that it
// differs from every good value.
func canonical(text, typ string) string {
	if element, ok := strings.CutSuffix(typ, "[]"); ok {
		return canonicalArray(text, element)
	}
	switch typ {
	case "smallint", "integer", "bigint", "numeric", "oid":
		return canonicalNumber(text)
	case "real":
		return canonicalFloat(text, 32)
	case "double precision":
		return canonicalFloat(text, 64)
	case "boolean":
		switch strings.ToLower(text) {
		case "t", "true", "1":
			return "true"
		case "f", "false", "0":
			return "false"
		}
	case "timestamp with time zone", "timestamp without time zone", "date":
		return canonicalMoment(text)
	case "time without time zone":
		if whole, fraction, ok := strings.Cut(text, "."); ok {
			return strings.TrimRight(whole+"."+strings.TrimRight(fraction, "0"), ".")
		}
	case "bytea":
		if digits, ok := strings.CutPrefix(text, `\x`); ok {
			if _, err := hex.DecodeString(digits); err == nil {
				return `\x` + strings.ToLower(digits)
			}
		}
	case "uuid":
		return strings.ToLower(text)
	}
	return text
}

var (
	numberPattern = regexp.MustCompile(`^[+-]?[0-9]*\.?[0-9]*([eE][+-]?[0-9]{1,5})?$`)
	special       = map[string]string{
		"nan": "NaN", "infinity": "Infinity", "inf": "Infinity", "+infinity": "Infinity", "-infinity": "-Infinity", "-inf": "-Infinity",
	}
)

func canonicalNumber(text string) string {
	if s, ok := special[strings.ToLower(text)]; ok {
		return s
	}
	if !numberPattern.MatchString(text) {
		return text
	}
	r, ok := new(big.Rat).SetString(text)
	if !ok {
		return text
	}
	return r.RatString()
}

func canonicalFloat(text string, bits int) string {
	if s, ok := special[strings.ToLower(text)]; ok {
		return s
	}
	f, err := strconv.ParseFloat(text, bits)
	if err != nil {
		return text
	}
	return strconv.FormatFloat(f, 'g', -1, bits)
}

// momentPattern reads the ISO text of PostgreSQL, where BC stands at the end,
// and of DuckDB, where (BC) follows the date.
var momentPattern = regexp.MustCompile(`^(\d+)-(\d\d)-(\d\d)( \(BC\))?(?:[ T](\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?)?(?:Z|([+-])(\d\d)(?::?(\d\d))?(?::?(\d\d))?)?( BC)?$`)

// canonicalMoment gives a date or timestamp as microseconds since 1970 in UTC.
func canonicalMoment(text string) string {
	if s, ok := special[strings.ToLower(text)]; ok {
		return s
	}
	m := momentPattern.FindStringSubmatch(text)
	if m == nil {
		return text
	}
	year := number(m[1])
	if m[4] != "" || m[13] != "" {
		year = 1 - year
	}
	micros := number((m[8] + "000000")[:6])
	offset := number(m[10])*3600 + number(m[11])*60 + number(m[12])
	if m[9] == "-" {
		offset = -offset
	}
	seconds := time.Date(year, time.Month(number(m[2])), number(m[3]), number(m[5]), number(m[6]), number(m[7]), 0, time.UTC).Unix() - int64(offset)
	return fmt.Sprintf("%dus", seconds*1_000_000+int64(micros))
}

// number reads digits that a pattern has matched; none are 0.
func number(digits string) int {
	n, _ := strconv.Atoi(digits)
	return n
}
