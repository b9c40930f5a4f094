package main

import (
	"fmt"
	"io"
	"strings"
)

// printable writes text to a terminal, or to what may end in one. What leat
// prints comes from plugins, their bundles and the rows of tables, too, and a
// control character in it could wipe the screen or forge a line: each becomes
// its number.
type printable struct{ w io.Writer }

// Write implements io.Writer.
func (p printable) Write(text []byte) (int, error) {
	if _, err := p.w.Write(escaped(text)); err != nil {
		return 0, err
	}
	return len(text), nil
}

// escaped replaces what is neither a printed character nor a line's end or a
// tab. Bytes 0x80 to 0x9f are control characters behind a 0xc2.
func escaped(text []byte) []byte {
	var out []byte
	from := 0
	for i, c := range text {
		after := func(b byte) bool { return i+1 < len(text) && text[i+1] == b }
		first := i
		switch {
		case c == '\n', c == '\t', c == '\r' && after('\n'):
			continue
		case c < 0x20, c == 0x7f:
		case c >= 0x80 && c <= 0x9f && i > 0 && text[i-1] == 0xc2:
			first--
		default:
			continue
		}
		out = fmt.Appendf(append(out, text[from:first]...), `\x%02x`, c)
		from = i + 1
	}
	if from == 0 {
		return text
	}
	return append(out, text[from:]...)
}

// counted is a number of things in words.
func counted[N int | int64 | uint64](n N, one string) string {
	if n == 1 {
		return "1 " + one
	}
	if strings.HasSuffix(one, "ch") {
		one += "e"
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// short is a text in one line that can be read at a glance; … stands for what is
// left out.
func short(text string) string {
	const most = 100
	line, _, _ := strings.Cut(text, "\n")
	if r := []rune(line); len(r) > most {
		line = string(r[:most])
	}
	if line != text {
		line += "…"
	}
	return line
}

// hanging is a text whose further lines stand in a column below its first.
func hanging(text string, column int) string {
	return strings.ReplaceAll(text, "\n", "\n"+strings.Repeat(" ", column))
}
