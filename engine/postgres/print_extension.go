package postgres

import (
	"encoding/binary"
	"encoding/hex"
	"unicode/utf8"
)

// printHstore prints pairs of hstore: their number, then for each the length
// of the key, the key, the length of the value or -1 for NULL, the value.
func printHstore(dst, raw []byte) ([]byte, error) {
	if len(raw) < 4 {
		return dst, errSyntax
	}
	n := binary.BigEndian.Uint32(raw)
	raw = raw[4:]
	if int64(n) > int64(len(raw)/8) {
		return dst, errSyntax
	}
	for i := range n {
		key, rest, ok := lengthPrefixed(raw)
		if !ok || key == nil {
			return dst, errSyntax
		}
		value, rest, ok := lengthPrefixed(rest)
		if !ok {
			return dst, errSyntax
		}
		if !utf8.Valid(key) || !utf8.Valid(value) {
			return dst, errEncoding
		}
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst = append(appendHstoreText(dst, key), "=>"...)
		if value == nil {
			dst = append(dst, "NULL"...)
		} else {
			dst = appendHstoreText(dst, value)
		}
		raw = rest
	}
	if len(raw) > 0 {
		return dst, errSyntax
	}
	return dst, nil
}

// lengthPrefixed takes a length of four bytes and so many bytes off raw. A
// length of -1 is nil.
func lengthPrefixed(raw []byte) (value, rest []byte, ok bool) {
	if len(raw) < 4 {
		return nil, nil, false
	}
	n := int64(int32(binary.BigEndian.Uint32(raw)))
	raw = raw[4:]
	switch {
	case n == -1:
		return nil, raw, true
	case n < 0 || n > int64(len(raw)):
		return nil, nil, false
	}
	return raw[:n:n], raw[n:], true
}

func appendHstoreText(dst, text []byte) []byte {
	dst = append(dst, '"')
	for _, c := range text {
		if c == '"' || c == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, c)
	}
	return append(dst, '"')
}

// printVector prints pgvector's vector: its dimensions and an unused number in
// two bytes each, then the elements as real.
func printVector(dst, raw []byte) (_ []byte, err error) {
	if len(raw) < 4 || len(raw) != 4+4*int(binary.BigEndian.Uint16(raw)) {
		return dst, errSyntax
	}
	dst = append(dst, '[')
	for i := 4; i < len(raw); i += 4 {
		if i > 4 {
			dst = append(dst, ',')
		}
		if dst, err = printFloat4(dst, raw[i:i+4]); err != nil {
			return dst, err
		}
	}
	return append(dst, ']'), nil
}

// printEWKB prints PostGIS' geometry and geography, which are sent as the
// extended well-known binary that their text is in hexadecimal digits.
func printEWKB(dst, raw []byte) ([]byte, error) {
	from := len(dst)
	dst = hex.AppendEncode(dst, raw)
	for i := from; i < len(dst); i++ {
		if dst[i] >= 'a' {
			dst[i] -= 'a' - 'A'
		}
	}
	return dst, nil
}
