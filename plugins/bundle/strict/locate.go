package strict

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Path names a place in a document: strings for keys, ints for the elements
// of arrays.
type Path []any

// Key returns the path of a key below p.
func (p Path) Key(name string) Path { return append(p[:len(p):len(p)], name) }

// Index returns the path of an element of p.
func (p Path) Index(i int) Path { return append(p[:len(p):len(p)], i) }

// String prints the path for people, who count from 1: transforms[1].plugin is the
// plugin of the first transform.
func (p Path) String() string {
	var b strings.Builder
	for _, step := range p {
		switch step := step.(type) {
		case int:
			b.WriteString("[" + strconv.Itoa(step+1) + "]")
		case string:
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(quoteKey(step))
		}
	}
	return b.String()
}

func quoteKey(k string) string {
	if k != "" && strings.IndexFunc(k, func(r rune) bool { return !isBare(r) }) < 0 {
		return k
	}
	return strconv.Quote(k)
}

func isBare(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-'
}

// id is the path as a map key. Names carry their length, so that no name can
// look like two.
func (p Path) id() string {
	var b strings.Builder
	for _, step := range p {
		switch step := step.(type) {
		case int:
			b.WriteString("#" + strconv.Itoa(step) + ";")
		case string:
			b.WriteString(strconv.Itoa(len(step)) + ":" + step)
		}
	}
	return b.String()
}

// locator finds where the keys and array elements of a text stand, as byte
// offsets by Path.id. The text must have passed the TOML parser: the locator
// only follows its structure. On any other text it ends, with a result that
// means nothing.
type locator struct {
	text   string
	at     int
	places map[string]int
	// tables counts the elements of arrays of tables by Path.id.
	tables map[string]int
}

func locate(text string) map[string]int {
	l := &locator{text: text, places: map[string]int{}, tables: map[string]int{}}
	if strings.HasPrefix(text, "\ufeff") {
		l.at = len("\ufeff")
	}
	var table Path
	for l.blank(); l.at < len(l.text); l.blank() {
		start := l.at
		switch {
		case l.accept("[["):
			table = l.header(true)
			l.accept("]]")
		case l.accept("["):
			table = l.header(false)
			l.accept("]")
		default:
			l.keyValue(table)
		}
		if l.at == start {
			break // not TOML
		}
	}
	return l.places
}

func (l *locator) peek() byte {
	if l.at < len(l.text) {
		return l.text[l.at]
	}
	return 0
}

func (l *locator) accept(s string) bool {
	if strings.HasPrefix(l.text[l.at:], s) {
		l.at += len(s)
		return true
	}
	return false
}

// blank passes over white space, line ends and comments.
func (l *locator) blank() {
	for l.at < len(l.text) {
		switch l.text[l.at] {
		case ' ', '\t', '\r', '\n':
			l.at++
		case '#':
			if i := strings.IndexByte(l.text[l.at:], '\n'); i >= 0 {
				l.at += i
			} else {
				l.at = len(l.text)
			}
		default:
			return
		}
	}
}

func (l *locator) space() {
	for l.peek() == ' ' || l.peek() == '\t' {
		l.at++
	}
}

// record keeps the first place where a path is named.
func (l *locator) record(p Path, at int) {
	if _, known := l.places[p.id()]; !known {
		l.places[p.id()] = at
	}
}

type namedAt struct {
	name string
	at   int
}

// header reads the keys of a table header and returns the table's path, in
// which arrays of tables stand for their last element.
func (l *locator) header(array bool) Path {
	var p Path
	keys := l.dotted()
	for i, k := range keys {
		p = p.Key(k.name)
		l.record(p, k.at)
		n := l.tables[p.id()]
		if array && i == len(keys)-1 {
			n++
			l.tables[p.id()] = n
			l.record(p.Index(n-1), k.at)
		}
		if n > 0 {
			p = p.Index(n - 1)
		}
	}
	return p
}

// dotted reads a key, dotted or not, and the space around it.
func (l *locator) dotted() []namedAt {
	var keys []namedAt
	for {
		l.space()
		start := l.at
		keys = append(keys, namedAt{l.simpleKey(), start})
		l.space()
		if !l.accept(".") {
			return keys
		}
	}
}

func (l *locator) simpleKey() string {
	start := l.at
	switch l.peek() {
	case '"':
		l.short(true)
		return unescape(inside(l.text[start:l.at]))
	case '\'':
		l.short(false)
		return inside(l.text[start:l.at])
	}
	for l.at < len(l.text) && !strings.ContainsRune(".=]} \t\r\n\"'#,", rune(l.text[l.at])) {
		l.at++
	}
	return l.text[start:l.at]
}

func (l *locator) keyValue(table Path) {
	p := table
	for _, k := range l.dotted() {
		p = p.Key(k.name)
		l.record(p, k.at)
	}
	if l.accept("=") {
		l.space()
		l.value(p)
	}
}

func (l *locator) value(p Path) {
	switch l.peek() {
	case '"', '\'':
		l.quoted()
	case '[':
		l.at++
		for i := 0; ; i++ {
			l.blank()
			if l.accept("]") || l.at >= len(l.text) {
				return
			}
			l.record(p.Index(i), l.at)
			start := l.at
			l.value(p.Index(i))
			l.blank()
			l.accept(",")
			if l.at == start {
				return // not TOML
			}
		}
	case '{':
		l.at++
		for {
			l.blank()
			if l.accept("}") || l.at >= len(l.text) {
				return
			}
			start := l.at
			l.keyValue(p)
			l.blank()
			l.accept(",")
			if l.at == start {
				return // not TOML
			}
		}
	default:
		for l.at < len(l.text) && !strings.ContainsRune(",]}#\r\n", rune(l.text[l.at])) {
			l.at++
		}
	}
}

// quoted passes over a string of any of the four kinds.
func (l *locator) quoted() {
	q := l.text[l.at : l.at+1]
	long := strings.Repeat(q, 3)
	escapes := q == `"`
	if l.accept(long) {
		for l.at < len(l.text) && !strings.HasPrefix(l.text[l.at:], long) {
			l.character(escapes)
		}
		l.accept(long)
		// Up to two quotes may stand before the closing three.
		for range 2 {
			l.accept(q)
		}
		return
	}
	l.short(escapes)
}

// short passes over a string of one line.
func (l *locator) short(escapes bool) {
	q := l.text[l.at : l.at+1]
	l.at++
	for l.at < len(l.text) && !l.accept(q) {
		l.character(escapes)
	}
}

func (l *locator) character(escapes bool) {
	if escapes && l.text[l.at] == '\\' {
		l.at++
	}
	l.at = min(l.at+1, len(l.text))
}

// inside takes the quotes off a key.
func inside(quoted string) string { return quoted[1:max(1, len(quoted)-1)] }

// unescape reads the inside of a basic string key.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[s[i]]
		if digits > 0 && i+digits < len(s) {
			n, err := strconv.ParseUint(s[i+1:i+1+digits], 16, 32)
			if err == nil {
				b.WriteRune(rune(n))
			}
			i += digits
			continue
		}
		if at := strings.IndexByte("btnfre", s[i]); at >= 0 {
			b.WriteByte("\b\t\n\f\r\x1b"[at])
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// lineColumn counts lines and characters from 1.
func lineColumn(text string, at int) (line, column int) {
	before := text[:max(0, min(at, len(text)))]
	line = strings.Count(before, "\n") + 1
	return line, utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + 1
}
