package spec

import (
	"errors"
	"fmt"
	"slices"
)

// Pattern selects tables: schema.table, where * stands for any characters, ?
// for one, and what stands in double quotes for itself ("" is a quote).
type Pattern struct {
	text          string
	schema, table []glob
}

// glob is one character of a pattern.
type glob struct {
	char rune
	kind globKind
}

type globKind byte

const (
	literal globKind = iota
	anyOne
	anyMany
)

// anyTable selects every table.
var anyTable = Pattern{text: "*.*", schema: []glob{{'*', anyMany}}, table: []glob{{'*', anyMany}}}

// ParsePattern reads a pattern.
func ParsePattern(text string) (Pattern, error) {
	p := Pattern{text: text}
	parts := [][]glob{nil}
	quoted, wasQuoted := false, false
	chars := []rune(text)
	for i := 0; i < len(chars); i++ {
		last := &parts[len(parts)-1]
		switch c := chars[i]; {
		case c == '"' && quoted && i+1 < len(chars) && chars[i+1] == '"':
			i++
			*last = append(*last, glob{'"', literal})
		case c == '"':
			quoted, wasQuoted = !quoted, true
		case quoted:
			*last = append(*last, glob{c, literal})
		case c == '.':
			parts = append(parts, nil)
		case c == '*':
			*last = append(*last, glob{c, anyMany})
		case c == '?':
			*last = append(*last, glob{c, anyOne})
		case c == ' ' || c == ',' || c == ';':
			return Pattern{}, fmt.Errorf("pattern %q holds %q outside double quotes: write one pattern an entry, and quote names that hold it", text, c)
		default:
			*last = append(*last, glob{c, literal})
		}
	}
	switch {
	case quoted:
		return Pattern{}, fmt.Errorf("pattern %q opens a double quote and does not close it", text)
	case len(parts) == 1 && len(parts[0]) > 0 && !wasQuoted:
		return Pattern{}, fmt.Errorf("pattern %q has no schema: want schema.table, for example public.%s", text, text)
	case len(parts) != 2:
		return Pattern{}, fmt.Errorf("pattern %q: want schema.table; quote a name that holds a dot", text)
	case len(parts[0]) == 0 || len(parts[1]) == 0:
		return Pattern{}, fmt.Errorf("pattern %q: schema or table is empty; * stands for any", text)
	}
	p.schema, p.table = parts[0], parts[1]
	return p, nil
}

// Match says whether the pattern selects a table. Names are compared as they
// stand in the catalogue, capitals included.
func (p Pattern) Match(schema, table string) bool {
	return matchGlob(p.schema, []rune(schema)) && matchGlob(p.table, []rune(table))
}

// literal says whether the pattern has no wildcard.
func (p Pattern) literal() bool {
	wild := func(g glob) bool { return g.kind != literal }
	return !slices.ContainsFunc(p.schema, wild) && !slices.ContainsFunc(p.table, wild)
}

// matchGlob goes back to the last star only: time is the product of the
// lengths at most.
func matchGlob(pattern []glob, name []rune) bool {
	p, n, star, from := 0, 0, -1, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p].kind == anyMany:
			star, from = p, n
			p++
		case p < len(pattern) && (pattern[p].kind == anyOne || pattern[p].char == name[n]):
			p, n = p+1, n+1
		case star >= 0:
			from++
			p, n = star+1, from
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p].kind == anyMany {
		p++
	}
	return p == len(pattern)
}

// String returns the pattern as it was written.
func (p Pattern) String() string { return p.text }

// MarshalText implements encoding.TextMarshaler.
func (p Pattern) MarshalText() ([]byte, error) { return []byte(p.text), nil }

// FromTOML implements strict.Value.
func (p *Pattern) FromTOML(v any) error {
	text, ok := v.(string)
	if !ok {
		return errors.New("must be a string with a pattern schema.table")
	}
	parsed, err := ParsePattern(text)
	if err != nil {
		return fmt.Errorf("is wrong: %w", err)
	}
	*p = parsed
	return nil
}

// TypeName implements strict.Value.
func (*Pattern) TypeName() string { return "a pattern schema.table" }

// JSONSchema implements strict.Value.
func (*Pattern) JSONSchema() map[string]any {
	return map[string]any{"type": "string", "pattern": `^("[^"]*"|[^". ,;])+\.("[^"]*"|[^". ,;])+$`, "examples": []string{"public.*"}}
}

// Selection selects tables by patterns: those that Include names and Exclude
// does not.
type Selection struct{ Include, Exclude []Pattern }

// Match says whether a table is selected.
func (s Selection) Match(schema, table string) bool {
	matches := func(p Pattern) bool { return p.Match(schema, table) }
	return slices.ContainsFunc(s.Include, matches) && !slices.ContainsFunc(s.Exclude, matches)
}
