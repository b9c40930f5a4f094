package strict

import (
	"strings"
	"unicode/utf8"
)

// InText returns line and column of the char-th character, from 1, of the
// string at p, wherever escapes and line ends of the file put it.
func (d *Document) InText(p Path, char int) (line, column int) {
	at, ok := d.places[p.id()]
	if !ok {
		return 0, 0
	}
	equals := strings.IndexByte(d.text[at:], '=')
	if equals < 0 {
		return lineColumn(d.text, at)
	}
	at += equals + 1
	at += len(d.text[at:]) - len(strings.TrimLeft(d.text[at:], " \t"))
	quote := `'`
	for _, q := range []string{`"""`, `'''`, `"`} {
		if strings.HasPrefix(d.text[at:], q) {
			quote = q
			break
		}
	}
	at += len(quote)
	if len(quote) == 3 {
		rest := strings.TrimPrefix(d.text[at:], "\r")
		at += len(d.text[at:]) - len(strings.TrimPrefix(rest, "\n"))
	}
	for n := 1; n < char && at < len(d.text); n++ {
		at += charLength(d.text[at:], quote[0] == '"')
	}
	return lineColumn(d.text, min(at, len(d.text)))
}

// charLength is the length in the file of what stands for the next character.
func charLength(text string, escapes bool) int {
	if !escapes || text[0] != '\\' || len(text) < 2 {
		_, n := utf8.DecodeRuneInString(text)
		return n
	}
	switch text[1] {
	case 'u':
		return min(6, len(text))
	case 'U':
		return min(10, len(text))
	case '\n', '\r', ' ', '\t': // the line goes on
		rest := strings.TrimLeft(text[1:], " \t\r\n")
		_, n := utf8.DecodeRuneInString(rest)
		return len(text) - len(rest) + n
	}
	return 2
}
