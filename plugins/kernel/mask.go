package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
)

// bindMask hides all or part of a value. A value that is no longer than what
// would be kept is hidden whole.
func bindMask(b *binding) (*Kernel, error) {
	p := struct {
		Method string `json:"method"`
		Text   string `json:"text"`
		Keep   int    `json:"keep"`
	}{Method: "redact", Text: "***"}
	if err := errors.Join(b.takes(1), b.decode(&p)); err != nil {
		return nil, err
	}
	if b.inputs[0].Type.ID() == arrow.BINARY {
		return nil, fmt.Errorf("it hides text, %s is binary", b.inputs[0])
	}
	if p.Keep < 0 {
		return nil, fmt.Errorf("keep: %d characters cannot be kept", p.Keep)
	}
	var f mapper
	switch p.Method {
	case "redact":
		f = func(dst, _ []byte) ([]byte, error) { return append(dst, p.Text...), nil }
	case "keep-domain":
		f = func(dst, value []byte) ([]byte, error) {
			dst = append(dst, p.Text...)
			if at := bytes.LastIndexByte(value, '@'); at >= 0 {
				dst = append(dst, value[at:]...)
			}
			return dst, nil
		}
	case "keep-first":
		f = func(dst, value []byte) ([]byte, error) {
			if n := skip(value, p.Keep); n < len(value) {
				dst = append(dst, value[:n]...)
			}
			return append(dst, p.Text...), nil
		}
	case "keep-last":
		f = func(dst, value []byte) ([]byte, error) {
			dst = append(dst, p.Text...)
			if hidden := utf8.RuneCount(value) - p.Keep; hidden > 0 {
				dst = append(dst, value[skip(value, hidden):]...)
			}
			return dst, nil
		}
	default:
		return nil, fmt.Errorf("method: %q is not redact, keep-domain, keep-first or keep-last", p.Method)
	}
	return mapsText(func() mapper { return f }), nil
}

// skip is the bytes of the first n characters of a text, of all if it has
// fewer.
func skip(text []byte, n int) int {
	at := 0
	for ; n > 0 && at < len(text); n-- {
		_, size := utf8.DecodeRune(text[at:])
		at += size
	}
	return at
}
