package compare

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// canonicalArray gives an array, whether it is PostgreSQL's literal or JSON,
// as nested brackets with the canonical text of each element quoted. Bounds
// other than from 1 are dropped: JSON has none.
func canonicalArray(text, element string) string {
	literal := text
	if strings.HasPrefix(text, "[") {
		if _, after, ok := strings.Cut(text, "]={"); ok && !strings.Contains(text[:len(text)-len(after)], `"`) {
			literal = "{" + after
		} else {
			return canonicalJSONArray(text, element)
		}
	}
	p := literalParser{text: literal, element: element}
	if !p.array() || p.at != len(literal) {
		return text
	}
	return p.out.String()
}

// literalParser reads PostgreSQL's array literal.
type literalParser struct {
	text    string
	at      int
	element string
	out     strings.Builder
}

// array reads {...} and says whether it was one.
func (p *literalParser) array() bool {
	if !p.take('{') {
		return false
	}
	p.out.WriteByte('[')
	for first := true; !p.take('}'); first = false {
		if !first {
			separator := byte(',')
			if p.element == "box" {
				separator = ';'
			}
			if !p.take(separator) {
				return false
			}
			p.out.WriteByte(',')
		}
		if p.at == len(p.text) {
			return false
		}
		if p.text[p.at] == '{' {
			if !p.array() {
				return false
			}
		} else if !p.value() {
			return false
		}
	}
	p.out.WriteByte(']')
	return true
}

func (p *literalParser) take(c byte) bool {
	if p.at < len(p.text) && p.text[p.at] == c {
		p.at++
		return true
	}
	return false
}

// value reads one element, quoted or bare.
func (p *literalParser) value() bool {
	var v strings.Builder
	quoted := p.take('"')
	for ; p.at < len(p.text); p.at++ {
		switch c := p.text[p.at]; {
		case c == '\\' && p.at+1 < len(p.text):
			p.at++
			v.WriteByte(p.text[p.at])
		case quoted && c == '"':
			p.at++
			p.write(v.String())
			return true
		case !quoted && (c == ',' || c == '}' || c == ';'):
			if strings.EqualFold(v.String(), "NULL") {
				p.out.WriteString("null")
			} else {
				p.write(v.String())
			}
			return true
		default:
			v.WriteByte(c)
		}
	}
	return false
}

func (p *literalParser) write(v string) { fmt.Fprintf(&p.out, "%q", canonicalElement(v, p.element)) }

func canonicalElement(text, element string) string {
	if element == "json" || element == "jsonb" { // embedded JSON may be spaced otherwise
		var b bytes.Buffer
		if json.Compact(&b, []byte(text)) == nil {
			return b.String()
		}
	}
	return canonical(text, element)
}

func canonicalJSONArray(text, element string) string {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var out strings.Builder
	var v []json.RawMessage
	if err := d.Decode(&v); err != nil {
		return text
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return text
	}
	out.WriteByte('[')
	for i, e := range v {
		if i > 0 {
			out.WriteByte(',')
		}
		writeJSON(&out, e, element)
	}
	out.WriteByte(']')
	return out.String()
}

// writeJSON writes an element of a JSON array in the canonical form.
func writeJSON(out *strings.Builder, raw json.RawMessage, element string) {
	var s string
	switch {
	case string(raw) == "null":
		out.WriteString("null")
	case raw[0] == '[':
		out.WriteString(canonicalJSONArray(string(raw), element))
	case json.Unmarshal(raw, &s) == nil:
		fmt.Fprintf(out, "%q", canonicalElement(s, element))
	default: // a number, boolean or object
		fmt.Fprintf(out, "%q", canonicalElement(string(raw), element))
	}
}
