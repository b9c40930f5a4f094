package capability

import (
	"errors"
	"strings"
)

// errArrayShape says that a PostgreSQL array is not a plain list.
var errArrayShape = errors.New("array with more than one dimension or explicit bounds has no list form; let the array-to-varchar plugin turn the column into text")

var errArraySyntax = errors.New("not a PostgreSQL array literal")

// Elements returns the elements of a PostgreSQL array literal or of a vector,
// nil for NULL. ok is false for one that a list cannot hold: of several
// dimensions, or with explicit bounds.
func Elements(literal string) (elements []*string, ok bool) {
	_, err := eachElement(literal, nil, func(v []byte, null bool) error {
		if null {
			elements = append(elements, nil)
			return nil
		}
		text := string(v)
		elements = append(elements, &text)
		return nil
	})
	return elements, err == nil
}

// eachElement calls yield for the elements of a PostgreSQL array literal of
// one dimension, or of a vector, in order. The bytes are valid only inside the
// call; scratch is reused for elements with escapes and returned for the next
// literal.
func eachElement(literal string, scratch []byte, yield func(v []byte, null bool) error) ([]byte, error) {
	if strings.HasPrefix(literal, "[") {
		if strings.HasSuffix(literal, "]") { // an array with bounds ends with a brace
			return eachOfVector(literal[1:len(literal)-1], scratch, yield)
		}
		return scratch, errArrayShape
	}
	if len(literal) < 2 || literal[0] != '{' || literal[len(literal)-1] != '}' {
		return scratch, errArraySyntax
	}
	body := literal[1 : len(literal)-1]
	if body == "" {
		return scratch, nil
	}
	for i := 0; ; i++ {
		if i < len(body) && body[i] == '{' {
			return scratch, errArrayShape
		}
		scratch = scratch[:0]
		quoted := i < len(body) && body[i] == '"'
		if quoted {
			i++
		}
		closed := !quoted
		for ; i < len(body); i++ {
			c := body[i]
			if quoted && c == '"' {
				closed = true
				i++
				break
			}
			if !quoted && c == ',' {
				break
			}
			if c == '\\' {
				if i++; i == len(body) {
					return scratch, errArraySyntax
				}
				c = body[i]
			}
			scratch = append(scratch, c)
		}
		if !closed || (i < len(body) && body[i] != ',') || (!quoted && len(scratch) == 0) {
			return scratch, errArraySyntax
		}
		if err := yield(scratch, !quoted && string(scratch) == "NULL"); err != nil {
			return scratch, err
		}
		if i >= len(body) {
			return scratch, nil
		}
	}
}

// eachOfVector is eachElement for what stands between the brackets of
// pgvector's vector: numbers with commas between them.
func eachOfVector(body string, scratch []byte, yield func(v []byte, null bool) error) ([]byte, error) {
	for more := true; more; {
		var number string
		number, body, more = strings.Cut(body, ",")
		scratch = append(scratch[:0], number...)
		if err := yield(scratch, false); err != nil {
			return scratch, err
		}
	}
	return scratch, nil
}
