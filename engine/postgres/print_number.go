package postgres

import (
	"encoding/binary"
	"math"
	"strconv"
)

func printFloat4(dst, raw []byte) ([]byte, error) {
	if len(raw) != 4 {
		return dst, errSyntax
	}
	return appendFloat(dst, float64(math.Float32frombits(binary.BigEndian.Uint32(raw))), 32, 6), nil
}

func printFloat8(dst, raw []byte) ([]byte, error) {
	if len(raw) != 8 {
		return dst, errSyntax
	}
	return appendFloat8(dst, math.Float64frombits(binary.BigEndian.Uint64(raw))), nil
}

func appendFloat8(dst []byte, v float64) []byte { return appendFloat(dst, v, 64, 15) }

// appendFloat prints the shortest digits that read back as v, as PostgreSQL
// does from version 12: without an exponent from 1e-4 to below 1e(limit).
func appendFloat(dst []byte, v float64, size, limit int) []byte {
	switch {
	case v != v:
		return append(dst, "NaN"...)
	case math.IsInf(v, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(v, -1):
		return append(dst, "-Infinity"...)
	}
	from := len(dst)
	dst = strconv.AppendFloat(dst, v, 'e', -1, size)
	if exponent := exponentOf(dst[from:]); exponent >= -4 && exponent < limit {
		dst = strconv.AppendFloat(dst[:from], v, 'f', -1, size)
	}
	return dst
}

// exponentOf reads the number after the e.
func exponentOf(text []byte) int {
	i := len(text) - 1
	n, unit := 0, 1
	for ; text[i] >= '0' && text[i] <= '9'; i-- {
		n += int(text[i]-'0') * unit
		unit *= 10
	}
	if text[i] == '-' {
		return -n
	}
	return n
}

// printNumeric prints every digit up to the display scale.
func printNumeric(dst, raw []byte) ([]byte, error) {
	n, err := readNumeric(raw)
	if err != nil {
		return dst, err
	}
	switch n.sign {
	case numericNaN:
		return append(dst, "NaN"...), nil
	case numericPosInf:
		return append(dst, "Infinity"...), nil
	case numericNegInf:
		return append(dst, "-Infinity"...), nil
	case numericNegative:
		dst = append(dst, '-')
	}
	if n.weight < 0 {
		dst = append(dst, '0')
	} else {
		dst = strconv.AppendUint(dst, n.at(0), 10)
	}
	for place := 1; place <= n.weight; place++ {
		dst = appendDigits(dst, n.at(place), 4)
	}
	if n.scale == 0 {
		return dst, nil
	}
	dst = append(dst, '.')
	place := n.weight + 1
	for left := n.scale; left > 0; left -= 4 {
		keep := min(left, 4)
		dst = appendDigits(dst, n.at(place)/smallPowers[4-keep], keep)
		place++
	}
	return dst, nil
}

// appendDigits prints v with leading zeros to width digits.
func appendDigits(dst []byte, v uint64, width int) []byte {
	for unit := smallPowers[width-1]; unit > 0; unit /= 10 {
		dst = append(dst, '0'+byte(v/unit%10))
	}
	return dst
}
