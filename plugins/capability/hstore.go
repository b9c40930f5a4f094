package capability

import (
	"errors"
	"strings"

	"github.com/apache/arrow-go/v18/arrow/array"
)

var errHstoreSyntax = errors.New("not the text of an hstore")

// eachPair calls yield for the pairs of an hstore's text, as its output
// function prints it, in order. The bytes are valid only inside the call;
// scratch is reused and returned for the next text.
func eachPair(text string, scratch []byte, yield func(key, value []byte, null bool)) ([]byte, error) {
	for first := true; text != ""; first = false {
		ok := true
		if !first {
			text, ok = strings.CutPrefix(text, ", ")
		}
		key, rest := 0, ""
		if ok {
			scratch, rest, ok = quotedText(text, scratch[:0])
			key = len(scratch)
		}
		if ok {
			text, ok = strings.CutPrefix(rest, "=>")
		}
		if !ok {
			return scratch, errHstoreSyntax
		}
		if after, null := strings.CutPrefix(text, "NULL"); null {
			text = after
			yield(scratch[:key], nil, true)
			continue
		}
		if scratch, text, ok = quotedText(text, scratch); !ok {
			return scratch, errHstoreSyntax
		}
		yield(scratch[:key], scratch[key:], false)
	}
	return scratch, nil
}

// quotedText appends what stands between quotes at the beginning of text.
func quotedText(text string, dst []byte) (_ []byte, rest string, ok bool) {
	if !strings.HasPrefix(text, `"`) {
		return dst, text, false
	}
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '"':
			return dst, text[i+1:], true
		case '\\':
			if i++; i == len(text) {
				return dst, "", false
			}
		}
		dst = append(dst, text[i])
	}
	return dst, "", false
}

// HstoreText is a map of texts as hstore prints the same pairs; ok is false for
// any other map.
func HstoreText(m *array.Map, row int) (text string, ok bool) {
	keys, okKeys := m.Keys().(*array.String)
	values, okValues := m.Items().(*array.String)
	if !okKeys || !okValues {
		return "", false
	}
	var out strings.Builder
	from, to := m.ValueOffsets(row)
	for i := int(from); i < int(to); i++ {
		if i > int(from) {
			out.WriteString(", ")
		}
		writeQuoted(&out, keys.Value(i))
		out.WriteString("=>")
		if values.IsNull(i) {
			out.WriteString("NULL")
		} else {
			writeQuoted(&out, values.Value(i))
		}
	}
	return out.String(), true
}

func writeQuoted(out *strings.Builder, text string) {
	out.WriteByte('"')
	for i := range len(text) {
		if text[i] == '"' || text[i] == '\\' {
			out.WriteByte('\\')
		}
		out.WriteByte(text[i])
	}
	out.WriteByte('"')
}
