package kernel

import (
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/leat-etl/leat/engine/batch"
)

// bindArrayJSON prints PostgreSQL array literals as JSON arrays.
func bindArrayJSON(b *binding) (*Kernel, error) {
	if err := b.decode(&struct{}{}); err != nil {
		return nil, err
	}
	if err := b.text(); err != nil {
		return nil, err
	}
	s := styleOf(b.inputs[0].PG)
	return mapsText(func() mapper {
		return func(dst, value []byte) ([]byte, error) { return appendJSON(dst, value, s) }
	}), nil
}

// style says how the elements of an array are written in JSON, and what parts
// them: a semicolon for box, a comma for every other type.
type style struct {
	kind  elementKind
	comma byte
}

type elementKind byte

const (
	quoted elementKind = iota
	number
	boolean
)

// styleOf goes by the name of the element type, which is the array's without
// [] or, in pg_type's own spelling, without the leading underscore. What parts
// the elements of other types is the schema's to say.
func styleOf(t batch.PGType) style {
	name := strings.TrimSuffix(t.Name, "[]")
	if name == t.Name {
		name = strings.TrimPrefix(name, "_")
	}
	name = strings.TrimPrefix(name, "pg_catalog.")
	name, _, _ = strings.Cut(name, "(")
	s := style{comma: ','}
	if t.Delimiter != "" {
		s.comma = t.Delimiter[0]
	}
	switch name {
	case "int2", "int4", "int8", "smallint", "integer", "bigint", "float4", "float8", "real", "double precision", "numeric", "oid":
		s.kind = number
	case "bool", "boolean":
		s.kind = boolean
	case "box":
		s.comma = ';'
	}
	return s
}

var (
	errBounds  = errors.New("array literal: the bounds before = cannot be read")
	errElement = errors.New("array literal: an element or a brace is missing")
	errQuote   = errors.New("array literal: a quoted element does not end")
	errRest    = errors.New("array literal: something follows the closing brace")
	errDepth   = errors.New("array literal: more than 6 dimensions")
)

// maxDepth is PostgreSQL's MAXDIM.
const maxDepth = 6

// appendJSON appends the JSON form of a PostgreSQL array literal to dst. Bounds
// in front of the literal, as in [2:3]={a,b}, are left out: JSON has none.
func appendJSON(dst, literal []byte, s style) ([]byte, error) {
	i, err := skipBounds(literal)
	if err != nil {
		return nil, err
	}
	depth := 0
	// element says that an element or an opening brace must or may come next.
	element := true
	empty := false // the last byte was an opening brace
	for i < len(literal) {
		switch c := literal[i]; {
		case c == '{':
			if !element {
				return nil, errElement
			}
			if depth == maxDepth {
				return nil, errDepth
			}
			depth++
			dst, empty = append(dst, '['), true
			i++
		case c == '}':
			if depth == 0 || element && !empty {
				return nil, errElement
			}
			depth--
			dst, element, empty = append(dst, ']'), false, false
			i++
			if depth == 0 {
				if i != len(literal) {
					return nil, errRest
				}
				return dst, nil
			}
		case c == s.comma:
			if element || depth == 0 {
				return nil, errElement
			}
			dst, element = append(dst, ','), true
			i++
		case !element || depth == 0:
			return nil, errElement
		case c == '"':
			if dst, i, err = appendQuoted(dst, literal, i+1); err != nil {
				return nil, err
			}
			element, empty = false, false
		default:
			dst, i = appendBare(dst, literal, i, s)
			element, empty = false, false
		}
	}
	return nil, errElement
}

// skipBounds returns where the braces begin.
func skipBounds(literal []byte) (int, error) {
	if len(literal) == 0 || literal[0] != '[' {
		return 0, nil
	}
	for i, c := range literal {
		switch {
		case c == '=' && literal[i-1] == ']':
			return i + 1, nil
		case c >= '0' && c <= '9', c == '[', c == ']', c == ':', c == '-', c == '+':
		default:
			return 0, errBounds
		}
	}
	return 0, errBounds
}

// appendQuoted appends the element that starts after its opening quote at i.
func appendQuoted(dst, literal []byte, i int) ([]byte, int, error) {
	dst = append(dst, '"')
	start := i
	for i < len(literal) {
		switch c := literal[i]; {
		case c == '"':
			dst = append(dst, literal[start:i]...)
			return append(dst, '"'), i + 1, nil
		case c == '\\':
			dst = append(dst, literal[start:i]...)
			if i+1 == len(literal) {
				return nil, 0, errQuote
			}
			_, size := utf8.DecodeRune(literal[i+1:])
			dst = appendEscaped(dst, literal[i+1:i+1+size])
			i += 1 + size
			start = i
		case c < 0x20:
			dst = appendEscaped(append(dst, literal[start:i]...), literal[i:i+1])
			i++
			start = i
		default:
			i++
		}
	}
	return nil, 0, errQuote
}

const hexDigits = "0123456789abcdef"

// appendEscaped appends text as it stands inside a JSON string.
func appendEscaped(dst, text []byte) []byte {
	for _, c := range text {
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		case c == '\t':
			dst = append(dst, '\\', 't')
		case c < 0x20:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// appendBare appends the unquoted element at i. PostgreSQL quotes what holds a
// brace, a quote, a backslash, the comma or white space.
func appendBare(dst, literal []byte, i int, s style) ([]byte, int) {
	start := i
	for i < len(literal) && literal[i] != s.comma && literal[i] != '}' && literal[i] != '{' && literal[i] != '"' {
		i++
	}
	text := literal[start:i]
	switch {
	case isNull(text):
		return append(dst, "null"...), i
	case s.kind == number && isNumber(text):
		return append(dst, text...), i
	case s.kind == boolean && string(text) == "t":
		return append(dst, "true"...), i
	case s.kind == boolean && string(text) == "f":
		return append(dst, "false"...), i
	}
	return append(appendEscaped(append(dst, '"'), text), '"'), i
}

func isNull(text []byte) bool {
	return len(text) == 4 && text[0]|0x20 == 'n' && text[1]|0x20 == 'u' && text[2]|0x20 == 'l' && text[3]|0x20 == 'l'
}

// isNumber says whether text is a number in JSON too: NaN and Infinity are not.
func isNumber(text []byte) bool {
	i := 0
	digits := func() bool {
		start := i
		for i < len(text) && text[i] >= '0' && text[i] <= '9' {
			i++
		}
		return i > start
	}
	if i < len(text) && text[i] == '-' {
		i++
	}
	whole := i
	if !digits() || text[whole] == '0' && i > whole+1 {
		return false
	}
	if i < len(text) && text[i] == '.' {
		if i++; !digits() {
			return false
		}
	}
	if i < len(text) && text[i] == 'e' {
		if i++; i < len(text) && (text[i] == '+' || text[i] == '-') {
			i++
		}
		if !digits() {
			return false
		}
	}
	return i == len(text)
}
