package postgres

import (
	"slices"
	"strconv"
	"unicode/utf8"
)

// printTSVector prints lexemes in quotes with their positions and weights:
// 'cat':3A,5 'sat'.
func printTSVector(dst, raw []byte) ([]byte, error) {
	r := reader{rest: raw}
	n := r.uint32()
	for i := uint32(0); i < n && !r.bad; i++ {
		if i > 0 {
			dst = append(dst, ' ')
		}
		lexeme := r.text()
		if !utf8.Valid(lexeme) {
			return dst, errEncoding
		}
		dst = appendLexeme(dst, lexeme)
		positions := r.uint16()
		for j := uint16(0); j < positions && !r.bad; j++ {
			if j == 0 {
				dst = append(dst, ':')
			} else {
				dst = append(dst, ',')
			}
			p := r.uint16()
			dst = strconv.AppendUint(dst, uint64(p&0x3fff), 10)
			if weight := p >> 14; weight > 0 {
				dst = append(dst, "DCBA"[weight])
			}
		}
	}
	if r.bad || len(r.rest) > 0 {
		return dst, errSyntax
	}
	return dst, nil
}

// appendLexeme prints a word in single quotes, doubling quotes and
// backslashes.
func appendLexeme(dst, word []byte) []byte {
	dst = append(dst, '\'')
	for _, b := range word {
		if b == '\'' || b == '\\' {
			dst = append(dst, b)
		}
		dst = append(dst, b)
	}
	return append(dst, '\'')
}

// Items and operators of a tsquery's binary form.
const (
	queryValue    = 1
	queryOperator = 2
	queryNot      = 1
	queryAnd      = 2
	queryOr       = 3
	queryPhrase   = 4
)

// queryPriority is how tightly an operator binds.
var queryPriority = [5]int{queryNot: 4, queryAnd: 2, queryOr: 1, queryPhrase: 3}

// maxQueryDepth bounds the recursion into a tsquery.
const maxQueryDepth = 10_000

// printTSQuery prints the tree, which is sent with each operator before its
// operands, the right one first, in infix notation.
func printTSQuery(dst, raw []byte) ([]byte, error) {
	r := reader{rest: raw}
	if n := r.uint32(); n == 0 && !r.bad && len(r.rest) == 0 {
		return dst, nil
	}
	dst, err := appendQuery(dst, &r, 0, false, maxQueryDepth)
	if err == nil && (r.bad || len(r.rest) > 0) {
		err = errSyntax
	}
	return dst, err
}

// appendQuery prints the next node inside an operator of priority parent.
func appendQuery(dst []byte, r *reader, parent int, rightOfPhrase bool, depth int) ([]byte, error) {
	if depth == 0 {
		return dst, errSyntax
	}
	switch r.uint8() {
	case queryValue:
		return appendQueryWord(dst, r)
	case queryOperator:
	default:
		return dst, errSyntax
	}
	operator := r.uint8()
	if operator < queryNot || operator > queryPhrase {
		return dst, errSyntax
	}
	priority := queryPriority[operator]
	if operator == queryNot {
		return appendQuery(append(dst, '!'), r, priority, false, depth-1)
	}
	var distance uint16
	if operator == queryPhrase {
		distance = r.uint16()
	}
	parentheses := priority < parent || rightOfPhrase && operator == queryPhrase
	if parentheses {
		dst = append(dst, "( "...)
	}
	from := len(dst)
	dst, err := appendQuery(dst, r, priority, operator == queryPhrase, depth-1)
	if err != nil {
		return dst, err
	}
	middle := len(dst)
	if dst, err = appendQuery(dst, r, priority, false, depth-1); err != nil {
		return dst, err
	}
	switch {
	case operator == queryAnd:
		dst = append(dst, " & "...)
	case operator == queryOr:
		dst = append(dst, " | "...)
	case distance == 1:
		dst = append(dst, " <-> "...)
	default:
		dst = append(strconv.AppendUint(append(dst, " <"...), uint64(distance), 10), "> "...)
	}
	rotate(dst[from:], middle-from) // right, left, operator -> left, operator, right
	if parentheses {
		dst = append(dst, " )"...)
	}
	return dst, nil
}

// rotate moves the first n bytes of b to its end.
func rotate(b []byte, n int) {
	slices.Reverse(b[:n])
	slices.Reverse(b[n:])
	slices.Reverse(b)
}

// appendQueryWord prints a word with its weights and its prefix mark:
// 'cat':*AB.
func appendQueryWord(dst []byte, r *reader) ([]byte, error) {
	weights, prefix := r.uint8(), r.uint8()
	word := r.text()
	if r.bad {
		return dst, errSyntax
	}
	if !utf8.Valid(word) {
		return dst, errEncoding
	}
	dst = appendLexeme(dst, word)
	if weights == 0 && prefix == 0 {
		return dst, nil
	}
	dst = append(dst, ':')
	if prefix != 0 {
		dst = append(dst, '*')
	}
	for i := range 4 {
		if weights&(8>>i) != 0 {
			dst = append(dst, "ABCD"[i])
		}
	}
	return dst, nil
}
