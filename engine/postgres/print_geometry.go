package postgres

import (
	"encoding/binary"
	"math"
)

// appendPoints prints (x,y) pairs with commas between them. raw holds whole
// points.
func appendPoints(dst, raw []byte) []byte {
	for at := 0; at < len(raw); at += 16 {
		if at > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '(')
		dst = append(appendFloats(dst, raw[at:at+16]), ')')
	}
	return dst
}

// appendFloats prints numbers with commas between them.
func appendFloats(dst, raw []byte) []byte {
	for at := 0; at < len(raw); at += 8 {
		if at > 0 {
			dst = append(dst, ',')
		}
		dst = appendFloat8(dst, math.Float64frombits(binary.BigEndian.Uint64(raw[at:])))
	}
	return dst
}

func printPoint(dst, raw []byte) ([]byte, error) {
	if len(raw) != 16 {
		return dst, errSyntax
	}
	return appendPoints(dst, raw), nil
}

func printSegment(dst, raw []byte) ([]byte, error) {
	if len(raw) != 32 {
		return dst, errSyntax
	}
	return append(appendPoints(append(dst, '['), raw), ']'), nil
}

func printBox(dst, raw []byte) ([]byte, error) {
	if len(raw) != 32 {
		return dst, errSyntax
	}
	return appendPoints(dst, raw), nil
}

// printPath prints a closed path in parentheses, an open one in brackets.
func printPath(dst, raw []byte) ([]byte, error) {
	if len(raw) < 1 {
		return dst, errSyntax
	}
	if raw[0] != 0 {
		return appendCounted(dst, raw[1:], '(', ')')
	}
	return appendCounted(dst, raw[1:], '[', ']')
}

func printPolygon(dst, raw []byte) ([]byte, error) { return appendCounted(dst, raw, '(', ')') }

// appendCounted prints a point count and the points.
func appendCounted(dst, raw []byte, opening, closing byte) ([]byte, error) {
	if len(raw) < 4 || int64(len(raw)-4) != 16*int64(binary.BigEndian.Uint32(raw)) {
		return dst, errSyntax
	}
	return append(appendPoints(append(dst, opening), raw[4:]), closing), nil
}

func printLine(dst, raw []byte) ([]byte, error) {
	if len(raw) != 24 {
		return dst, errSyntax
	}
	return append(appendFloats(append(dst, '{'), raw), '}'), nil
}

func printCircle(dst, raw []byte) ([]byte, error) {
	if len(raw) != 24 {
		return dst, errSyntax
	}
	dst = appendPoints(append(dst, '<'), raw[:16])
	return append(appendFloats(append(dst, ','), raw[16:]), '>'), nil
}
