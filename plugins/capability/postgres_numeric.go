package capability

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// Signs of PostgreSQL's binary numeric.
const (
	numericNegative = 0x4000
	numericNaN      = 0xC000
	numericPosInf   = 0xD000
	numericNegInf   = 0xF000
)

func putNaN(dst []byte) []byte { return putSpecial(dst, numericNaN) }

func putSpecial(dst []byte, sign uint16) []byte {
	dst = append(dst, 0, 0, 0, 8, 0, 0, 0, 0)
	return append(be.AppendUint16(dst, sign), 0, 0)
}

// appendDigits128 writes an unsigned 128-bit number in decimal.
func appendDigits128(dst []byte, high, low uint64) []byte {
	if high == 0 {
		return strconv.AppendUint(dst, low, 10)
	}
	const unit = 1_000_000_000_000_000_000 // 10^18
	quotientHigh, rest := high/unit, high%unit
	quotientLow, remainder := bits.Div64(rest, low, unit)
	dst = appendDigits128(dst, quotientHigh, quotientLow)
	for limit := uint64(unit / 10); limit > remainder && limit > 1; limit /= 10 {
		dst = append(dst, '0')
	}
	return strconv.AppendUint(dst, remainder, 10)
}

// putNumeric encodes digits, of which the last scale stand after the point, as
// a length and a numeric: groups of four decimal digits aligned at the point.
func putNumeric(dst, digits []byte, scale int, negative bool) []byte {
	sign := uint16(0)
	if negative {
		sign = numericNegative
	}
	lead := 0
	for lead < len(digits) && digits[lead] == '0' {
		lead++
	}
	digits = digits[lead:]
	if len(digits) == 0 {
		dst = append(dst, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0)
		return be.AppendUint16(dst, uint16(scale))
	}
	// whole is how many digits stand before the point, negative if zeros
	// follow the point first.
	whole := len(digits) - scale
	weight := floorDiv(whole-1, 4)
	skew := (weight+1)*4 - whole // zeros to put before the first digit
	head := len(dst)
	dst = append(dst, 0, 0, 0, 0, 0, 0)
	dst = be.AppendUint16(dst, uint16(int16(weight)))
	dst = be.AppendUint16(dst, sign)
	dst = be.AppendUint16(dst, uint16(scale))
	groups := 0
	end := len(dst)
	for at := -skew; at < len(digits); at += 4 {
		v := uint16(0)
		for i := at; i < at+4; i++ {
			v *= 10
			if i >= 0 && i < len(digits) {
				v += uint16(digits[i] - '0')
			}
		}
		dst = be.AppendUint16(dst, v)
		groups++
		if v != 0 {
			end = len(dst)
		}
	}
	groups -= (len(dst) - end) / 2 // trailing zero groups are not stored
	dst = dst[:end]
	be.PutUint32(dst[head:], uint32(len(dst)-head-4))
	be.PutUint16(dst[head+4:], uint16(groups))
	return dst
}

func floorDiv(a, b int) int {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// putNumericText encodes a number in PostgreSQL's text form. limit is the
// scale of the target type, -1 without one; a number with more digits after
// the point is refused instead of rounded.
func putNumericText(dst, digits []byte, v string, limit int32) ([]byte, []byte, error) {
	switch v {
	case "NaN":
		return putNaN(dst), digits, nil
	case "Infinity":
		return putSpecial(dst, numericPosInf), digits, nil
	case "-Infinity":
		return putSpecial(dst, numericNegInf), digits, nil
	}
	rest, negative := strings.CutPrefix(v, "-")
	whole, fraction, _ := strings.Cut(rest, ".")
	digits = append(append(digits[:0], whole...), fraction...)
	if len(digits) == 0 || len(fraction) > 16383 || len(whole) > 131072 {
		return dst, digits, fmt.Errorf("not a number that numeric can hold")
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return dst, digits, fmt.Errorf("not a number in plain decimal form")
		}
	}
	if limit >= 0 && len(strings.TrimRight(fraction, "0")) > int(limit) {
		return dst, digits, fmt.Errorf("more than %d digits after the point", limit)
	}
	return putNumeric(dst, digits, len(fraction), negative), digits, nil
}
