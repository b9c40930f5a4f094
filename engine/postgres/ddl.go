package postgres

import (
	"fmt"
	"slices"
	"strings"
)

// This file takes statements of a migration apart as far as Rehearse needs it:
// what each does, and where the name of its table stands.

// ddlToken is a word, a name, a literal or a sign of a statement.
type ddlToken struct {
	start, end int
	// word is an unquoted word in capitals, or the sign itself; name is what a
	// word or a quoted identifier stands for as a name.
	word, name string
}

// scanDDL cuts SQL into tokens, without comments.
func scanDDL(sql string) ([]ddlToken, error) {
	var out []ddlToken
	for i := 0; i < len(sql); {
		c := sql[i]
		end, err := i+1, error(nil)
		t := ddlToken{start: i}
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f':
			i++
			continue
		case strings.HasPrefix(sql[i:], "--"):
			for i < len(sql) && sql[i] != '\n' {
				i++
			}
			continue
		case strings.HasPrefix(sql[i:], "/*"):
			if i, err = skipComment(sql, i); err != nil {
				return nil, err
			}
			continue
		case c == '"':
			end, err = quotedEnd(sql, i, '"', false)
			if err == nil {
				t.name = strings.ReplaceAll(sql[i+1:end-1], `""`, `"`)
			}
		case c == '\'':
			escapes := i > 0 && (sql[i-1] == 'e' || sql[i-1] == 'E') && len(out) > 0 && out[len(out)-1].end == i
			end, err = quotedEnd(sql, i, '\'', escapes)
			t.word = "'"
		case c == '$' && dollarTag(sql[i:]) != "":
			tag := dollarTag(sql[i:])
			close := strings.Index(sql[i+len(tag):], tag)
			if close < 0 {
				return nil, fmt.Errorf("a text that %s begins does not end", tag)
			}
			end, t.word = i+2*len(tag)+close, "'"
		case isWordByte(c):
			for end < len(sql) && (isWordByte(sql[end]) || sql[end] == '$') {
				end++
			}
			t.word, t.name = strings.ToUpper(sql[i:end]), strings.ToLower(sql[i:end])
		default:
			t.word = sql[i:end]
		}
		if err != nil {
			return nil, err
		}
		t.end = end
		out = append(out, t)
		i = end
	}
	return out, nil
}

func isWordByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

func skipComment(sql string, i int) (int, error) {
	depth := 0
	for ; i < len(sql); i++ {
		switch {
		case strings.HasPrefix(sql[i:], "/*"):
			depth++
			i++
		case strings.HasPrefix(sql[i:], "*/"):
			i++
			if depth--; depth == 0 {
				return i + 1, nil
			}
		}
	}
	return i, fmt.Errorf("a comment does not end")
}

// quotedEnd is behind the quote that closes the one at i.
func quotedEnd(sql string, i int, quote byte, escapes bool) (int, error) {
	for j := i + 1; j < len(sql); j++ {
		switch {
		case escapes && sql[j] == '\\':
			j++
		case sql[j] == quote && j+1 < len(sql) && sql[j+1] == quote:
			j++
		case sql[j] == quote:
			return j + 1, nil
		}
	}
	return len(sql), fmt.Errorf("a quote %c does not end", quote)
}

// dollarTag returns the $tag$ that text begins with.
func dollarTag(text string) string {
	for i := 1; i < len(text); i++ {
		if text[i] == '$' {
			return text[:i+1]
		}
		if !isWordByte(text[i]) || i == 1 && text[i] >= '0' && text[i] <= '9' {
			return ""
		}
	}
	return ""
}

// ddlStatement is one statement with its tokens.
type ddlStatement struct {
	sql    string
	tokens []ddlToken // places in sql
}

// splitDDL cuts SQL at its semicolons.
func splitDDL(sql string) ([]ddlStatement, error) {
	tokens, err := scanDDL(sql)
	if err != nil {
		return nil, err
	}
	var out []ddlStatement
	for len(tokens) > 0 {
		n := slices.IndexFunc(tokens, func(t ddlToken) bool { return t.word == ";" })
		next := n + 1
		if n < 0 {
			n, next = len(tokens), len(tokens)
		}
		if n > 0 {
			from := tokens[0].start
			one := ddlStatement{sql: sql[from:tokens[n-1].end]}
			for _, t := range tokens[:n] {
				t.start, t.end = t.start-from, t.end-from
				one.tokens = append(one.tokens, t)
			}
			out = append(out, one)
		}
		tokens = tokens[next:]
	}
	return out, nil
}

// is says whether the tokens from i on are these words.
func (s *ddlStatement) is(i int, words ...string) bool {
	if i+len(words) > len(s.tokens) {
		return false
	}
	for k, w := range words {
		if s.tokens[i+k].word != w {
			return false
		}
	}
	return true
}

// skip returns the place behind the words, i if others stand there.
func (s *ddlStatement) skip(i int, words ...string) int {
	if s.is(i, words...) {
		return i + len(words)
	}
	return i
}

// has says whether a word stands anywhere outside of parentheses.
func (s *ddlStatement) has(word string) bool {
	depth := 0
	for _, t := range s.tokens {
		switch {
		case t.word == "(":
			depth++
		case t.word == ")":
			depth--
		case depth == 0 && t.word == word:
			return true
		}
	}
	return false
}

// ddlName is a name that may have a schema, and where it stands.
type ddlName struct {
	schema, name string
	start, end   int
}

// String prints the name as SQL.
func (n ddlName) String() string {
	if n.schema == "" {
		return quoteIdent(n.name)
	}
	return quoteName(n.schema, n.name)
}

// nameAt reads a name at i and returns the place behind it.
func (s *ddlStatement) nameAt(i int) (ddlName, int, error) {
	if i >= len(s.tokens) || s.tokens[i].name == "" {
		return ddlName{}, i, fmt.Errorf("no name where one is expected in: %s", s.sql)
	}
	out := ddlName{name: s.tokens[i].name, start: s.tokens[i].start, end: s.tokens[i].end}
	if s.is(i+1, ".") && i+2 < len(s.tokens) && s.tokens[i+2].name != "" {
		out.schema, out.name, out.end = out.name, s.tokens[i+2].name, s.tokens[i+2].end
		i += 2
	}
	return out, i + 1, nil
}

// behindParentheses is the place behind the group that opens at i, i if none
// does.
func (s *ddlStatement) behindParentheses(i int) int {
	if !s.is(i, "(") {
		return i
	}
	depth := 0
	for j := i; j < len(s.tokens); j++ {
		switch s.tokens[j].word {
		case "(":
			depth++
		case ")":
			if depth--; depth == 0 {
				return j + 1
			}
		}
	}
	return len(s.tokens)
}

// replaced is the statement with the bytes from start to end exchanged.
func (s *ddlStatement) replaced(start, end int, by string) (ddlStatement, error) {
	out, err := splitDDL(s.sql[:start] + by + s.sql[end:])
	if err != nil {
		return ddlStatement{}, err
	}
	if len(out) != 1 {
		return ddlStatement{}, fmt.Errorf("not one statement: %s", s.sql)
	}
	return out[0], nil
}

// withoutReferences leaves out foreign keys: what they refer to is not
// rehearsed, and they change no row. i is where the actions or columns begin.
// It returns false if nothing is left to do.
func (s *ddlStatement) withoutReferences(i int) (ddlStatement, bool, error) {
	for j := i; j < len(s.tokens); j++ {
		from, behind := j, j
		switch {
		case s.is(j, "FOREIGN", "KEY"):
			behind = s.behindReference(s.behindParentheses(j + 2))
		case s.is(j, "REFERENCES"):
			behind = s.behindReference(j)
		default:
			continue
		}
		if from >= 2 && s.tokens[from-2].word == "CONSTRAINT" {
			from -= 2
		}
		// A constraint of a table goes with its comma, and with ADD.
		if s.is(j, "FOREIGN") {
			if s.tokens[from-1].word == "ADD" {
				from--
			}
			switch {
			case from > i && s.tokens[from-1].word == ",":
				from--
			case behind < len(s.tokens) && s.tokens[behind].word == ",":
				behind++
			case from <= i && behind >= len(s.tokens):
				return ddlStatement{}, false, nil
			}
		}
		next, err := s.replaced(s.tokens[from].start, s.tokens[behind-1].end, "")
		if err != nil {
			return ddlStatement{}, false, err
		}
		return next.withoutReferences(i)
	}
	return *s, true, nil
}

// behindReference is the place behind REFERENCES and what belongs to it.
func (s *ddlStatement) behindReference(i int) int {
	_, i, err := s.nameAt(i + 1)
	if err != nil {
		return len(s.tokens)
	}
	i = s.behindParentheses(i)
	for i < len(s.tokens) {
		switch {
		case s.is(i, "MATCH"), s.is(i, "NOT", "DEFERRABLE"), s.is(i, "NOT", "VALID"), s.is(i, "INITIALLY"):
			i += 2
		case s.is(i, "DEFERRABLE"):
			i++
		case s.is(i, "ON") && (s.is(i+2, "NO", "ACTION") || s.is(i+2, "SET")):
			i = s.behindParentheses(i + 4)
		case s.is(i, "ON"):
			i += 3
		default:
			return i
		}
	}
	return i
}
