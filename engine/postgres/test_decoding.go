package postgres

import (
	"bytes"
	"errors"
)

// The text of contrib/test_decoding, the only decoder of servers before
// PostgreSQL 10:
//
//	BEGIN 693
//	table public.t: INSERT: id[integer]:1 v[text]:'it''s'
//	table public.t: UPDATE: old-key: id[integer]:1 new-tuple: id[integer]:2 v[text]:unchanged-toast-datum
//	table public.t: DELETE: id[integer]:2
//	table public.t, public.u: TRUNCATE: (no-flags)
//	COMMIT 693 (at 2026-01-02 03:04:05.678901+00)
//
// One message holds one line; a value may contain line breaks.

// textChange is a line about tables. Its parts alias the message and are
// valid until the next one is parsed.
type textChange struct {
	kind   byte        // 'I', 'U', 'D' or 'T'
	tables [][2]string // schema and name; more than one only for 'T'
	hasOld bool
	old    []textColumn // those that are not null
	row    []textColumn
}

// textColumn is a column with its value.
type textColumn struct {
	name, typeName []byte
	tag            byte // as in a tuple of pgoutput
	value          []byte
}

var errTextLine = errors.New("the line is not in the form of test_decoding")

// textLine reads a line from its start.
type textLine struct {
	rest []byte
	bad  bool
}

func (l *textLine) skip(prefix string) bool {
	if !bytes.HasPrefix(l.rest, []byte(prefix)) {
		return false
	}
	l.rest = l.rest[len(prefix):]
	return true
}

func (l *textLine) want(prefix string) {
	if !l.skip(prefix) {
		l.bad = true
	}
}

// until takes what stands before the first of the bytes in set.
func (l *textLine) until(set string) []byte {
	n := bytes.IndexAny(l.rest, set)
	if n < 0 {
		n = len(l.rest)
	}
	out := l.rest[:n]
	l.rest = l.rest[n:]
	return out
}

// quoted takes what stands between two marks; a doubled one is one of its
// text.
func (l *textLine) quoted(mark byte) []byte {
	l.want(string(mark))
	var copied []byte
	for {
		n := bytes.IndexByte(l.rest, mark)
		if n < 0 {
			l.bad = true
			return nil
		}
		part := l.rest[:n]
		l.rest = l.rest[n+1:]
		if len(l.rest) == 0 || l.rest[0] != mark {
			if copied == nil {
				return part
			}
			return append(copied, part...)
		}
		copied = append(append(copied, part...), mark)
		l.rest = l.rest[1:]
	}
}

func (l *textLine) identifier(ends string) []byte {
	if len(l.rest) > 0 && l.rest[0] == '"' {
		return l.quoted('"')
	}
	out := l.until(ends)
	if len(out) == 0 {
		l.bad = true
	}
	return out
}

// typeName takes a type in brackets; it may hold brackets of its own, and
// quoted names with any.
func (l *textLine) typeName() []byte {
	l.want("[")
	start, depth := l.rest, 1
	for depth > 0 && !l.bad {
		l.until(`[]"`)
		switch {
		case len(l.rest) == 0:
			l.bad = true
		case l.rest[0] == '"':
			l.quoted('"')
		case l.skip("["):
			depth++
		case l.skip("]"):
			depth--
		}
	}
	if l.bad {
		return nil
	}
	return start[:len(start)-len(l.rest)-1]
}

func (l *textLine) column() textColumn {
	c := textColumn{name: l.identifier("["), typeName: l.typeName(), tag: cellText}
	l.want(":")
	switch {
	case len(l.rest) > 0 && l.rest[0] == '\'':
		c.value = l.quoted('\'')
	case l.skip("B'"):
		c.value = l.until("'")
		l.want("'")
	default:
		c.value = l.until(" ")
		switch string(c.value) {
		case "null":
			c.tag, c.value = cellNull, nil
		case "unchanged-toast-datum":
			c.tag, c.value = cellUnchanged, nil
		case "true":
			c.value = c.value[:1]
		case "false":
			c.value = c.value[:1]
		}
	}
	return c
}

// columns takes columns, each after a space, until there are no more or end
// follows.
func (l *textLine) columns(into []textColumn, end string) []textColumn {
	into = into[:0]
	for len(l.rest) > 0 && !l.bad {
		if end != "" && l.skip(end) {
			return into
		}
		l.want(" ")
		into = append(into, l.column())
	}
	if end != "" {
		l.bad = true
	}
	return into
}

// parse reads a line that begins with "table ".
func (c *textChange) parse(line []byte) error {
	l := textLine{rest: line}
	c.tables, c.hasOld, c.old, c.row = c.tables[:0], false, c.old[:0], c.row[:0]
	l.want("table ")
	for more := true; more && !l.bad; more = l.skip(", ") {
		schema := string(l.identifier("."))
		l.want(".")
		c.tables = append(c.tables, [2]string{schema, string(l.identifier(":,"))})
	}
	l.want(": ")
	switch {
	case l.skip("INSERT:"):
		c.kind = 'I'
	case l.skip("UPDATE:"):
		c.kind = 'U'
		if c.hasOld = l.skip(" old-key:"); c.hasOld {
			c.old = l.columns(c.old, " new-tuple:")
		}
	case l.skip("DELETE:"):
		c.kind, c.hasOld = 'D', true
		if l.skip(" (no-tuple-data)") {
			c.hasOld = false
		}
		c.old = l.columns(c.old, "")
	case l.skip("TRUNCATE:"):
		c.kind = 'T'
		l.rest = nil
	default:
		l.bad = true
	}
	if c.kind == 'I' || c.kind == 'U' {
		if l.skip(" (no-tuple-data)") {
			l.bad = true // a row without data cannot be applied, and servers write none
		}
		c.row = l.columns(c.row, "")
	}
	if l.bad || len(l.rest) > 0 || c.kind != 'T' && len(c.tables) != 1 {
		return errTextLine
	}
	return nil
}
