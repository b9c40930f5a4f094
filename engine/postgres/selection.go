package postgres

import (
	"fmt"
	"slices"
)

// Selection chooses tables: those that an Include pattern names and no
// Exclude pattern does.
//
// A pattern is schema.table. In it * stands for any number of characters and ?
// for one; what stands in double quotes is taken literally ("a.b"."c""d").
// Case counts. A name without a dot is a table of the schema public; * alone
// is every table.
type Selection struct {
	Include []string
	Exclude []string
}

// selector is a Selection that has been parsed.
type selector struct{ include, exclude []tablePattern }

type tablePattern struct{ schema, table pattern }

func (s Selection) parse() (*selector, error) {
	out := new(selector)
	for _, list := range []struct {
		from []string
		to   *[]tablePattern
	}{{s.Include, &out.include}, {s.Exclude, &out.exclude}} {
		for _, text := range list.from {
			p, err := parsePattern(text)
			if err != nil {
				return nil, &Error{Op: "read object pattern", Class: Stop, Err: err,
					Hint: `"public.*", "public.orders" or "\"odd.schema\".\"odd \"\"name\"\"\""`}
			}
			*list.to = append(*list.to, p)
		}
	}
	return out, nil
}

func (s *selector) matches(schema, table string) bool {
	return matchesAny(s.include, schema, table) && !matchesAny(s.exclude, schema, table)
}

// grows says whether a table that is created later in a schema may be selected:
// one that no pattern names in full.
func (s *selector) grows(schema string) bool {
	return slices.ContainsFunc(s.include, func(p tablePattern) bool {
		return p.schema.match([]rune(schema)) && (slices.Contains(p.table, anyRun) || slices.Contains(p.table, anyRune))
	})
}

func matchesAny(list []tablePattern, schema, table string) bool {
	for _, p := range list {
		if p.schema.match([]rune(schema)) && p.table.match([]rune(table)) {
			return true
		}
	}
	return false
}

// The two wildcards in a pattern, which is otherwise literal text.
const (
	anyRun  rune = -1
	anyRune rune = -2
)

type pattern []rune

func parsePattern(text string) (tablePattern, error) {
	if text == "*" {
		return tablePattern{pattern{anyRun}, pattern{anyRun}}, nil
	}
	parts := []pattern{nil}
	quoted := false
	runes := []rune(text)
	for i := 0; i < len(runes); i++ {
		last := len(parts) - 1
		switch r := runes[i]; {
		case r == '"' && quoted && i+1 < len(runes) && runes[i+1] == '"':
			parts[last] = append(parts[last], '"')
			i++
		case r == '"':
			quoted = !quoted
		case quoted:
			parts[last] = append(parts[last], r)
		case r == '.':
			parts = append(parts, nil)
		case r == '*':
			parts[last] = append(parts[last], anyRun)
		case r == '?':
			parts[last] = append(parts[last], anyRune)
		default:
			parts[last] = append(parts[last], r)
		}
	}
	if quoted {
		return tablePattern{}, fmt.Errorf("pattern %q: a double quote is not closed", text)
	}
	if len(parts) == 1 {
		parts = []pattern{pattern("public"), parts[0]}
	}
	if len(parts) != 2 || len(parts[0]) == 0 || len(parts[1]) == 0 {
		return tablePattern{}, fmt.Errorf("pattern %q: want schema.table", text)
	}
	return tablePattern{parts[0], parts[1]}, nil
}

// match goes back to the last * when the text after it does not fit.
func (p pattern) match(name []rune) bool {
	i, star, mark := 0, -1, 0
	for j := 0; j < len(name); {
		switch {
		case i < len(p) && p[i] == anyRun:
			star, mark = i, j
			i++
		case i < len(p) && (p[i] == anyRune || p[i] == name[j]):
			i++
			j++
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	return allRuns(p[i:])
}

func allRuns(p pattern) bool {
	for _, r := range p {
		if r != anyRun {
			return false
		}
	}
	return true
}
