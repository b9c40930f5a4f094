package capability

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow/array"
)

// arrayElement is an element type whose arrays go through a binary COPY.
type arrayElement struct {
	oid uint32
	// append adds an element without its length.
	append func(dst, text []byte) ([]byte, error)
}

// arrayElements lists the common ones. One column in text would have the
// server read all columns of the COPY as text.
var arrayElements = map[string]arrayElement{
	"text":     {25, appendAsIs},
	"varchar":  {1043, appendAsIs},
	"smallint": {21, appendInteger(16)},
	"integer":  {23, appendInteger(32)},
	"bigint":   {20, appendInteger(64)},
}

func appendAsIs(dst, text []byte) ([]byte, error) { return append(dst, text...), nil }

func appendInteger(bits int) func(dst, text []byte) ([]byte, error) {
	return func(dst, text []byte) ([]byte, error) {
		v, err := strconv.ParseInt(string(text), 10, bits)
		if err != nil {
			return dst, errors.New("an element of the array is no integer of its type")
		}
		switch bits {
		case 16:
			return be.AppendUint16(dst, uint16(v)), nil
		case 32:
			return be.AppendUint32(dst, uint32(v)), nil
		}
		return be.AppendUint64(dst, uint64(v)), nil
	}
}

// hasBinaryArrays says whether every literal of a column can be sent as an
// array of the element type t. Others are the server's to read.
func hasBinaryArrays(a *array.String, t sqlType) bool {
	if _, ok := arrayElements[t.name]; !ok {
		return false
	}
	for i := range a.Len() {
		if a.IsValid(i) && !isPlainLiteral(a.Value(i)) {
			return false
		}
	}
	return true
}

// isPlainLiteral says that eachElement reads a literal as PostgreSQL does: it
// has one dimension without bounds, and outside of quotes neither blanks nor
// NULL in another spelling.
func isPlainLiteral(s string) bool {
	if len(s) < 2 || s[0] != '{' || s[len(s)-1] != '}' {
		return false
	}
	body := s[1 : len(s)-1]
	quoted, start := false, 0
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case c == '\\':
			i++
		case c == '"' && quoted:
			if quoted = false; i+1 < len(body) && body[i+1] != ',' {
				return false
			}
		case quoted:
		case c == '"' && i == start:
			quoted = true
		case c == '{' || c == '}' || c == '"' || c == ' ' || c >= '\t' && c <= '\r':
			return false
		case c == ',':
			if isOddNull(body[start:i]) {
				return false
			}
			start = i + 1
		}
	}
	return !quoted && !isOddNull(body[min(start, len(body)):])
}

func isOddNull(element string) bool {
	return len(element) == 4 && element != "NULL" && strings.EqualFold(element, "NULL")
}

// binaryArray encodes array literals in array_send's format.
func binaryArray(a *array.String, element arrayElement) copyCell {
	var scratch []byte
	return func(dst []byte, row int) ([]byte, error) {
		start := len(dst)
		dst = append(dst, make([]byte, 4+12+8)...)
		n, nulls := 0, uint32(0)
		var err error
		scratch, err = eachElement(a.Value(row), scratch, func(v []byte, null bool) (err error) {
			n++
			if null {
				nulls = 1
				dst = putNull(dst)
				return nil
			}
			at := len(dst)
			dst, err = element.append(append(dst, 0, 0, 0, 0), v)
			binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
			return err
		})
		if err != nil {
			return dst, fmt.Errorf("encode array: %w", err)
		}
		head := dst[start:]
		dimensions := uint32(1)
		if n == 0 {
			dst, dimensions = dst[:start+4+12], 0
		} else {
			be.PutUint32(head[16:], uint32(n))
			be.PutUint32(head[20:], 1) // the lower bound
		}
		be.PutUint32(head[4:], dimensions)
		be.PutUint32(head[8:], nulls)
		be.PutUint32(head[12:], element.oid)
		be.PutUint32(head, uint32(len(dst)-start-4))
		return dst, nil
	}
}
