package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

// bindCase changes the case of letters by the rules of Unicode.
func bindCase(b *binding) (*Kernel, error) {
	p := struct {
		To       string `json:"to"`
		Language string `json:"language"`
	}{To: "lower", Language: "und"}
	if err := b.text(); err != nil {
		return nil, err
	}
	if err := b.decode(&p); err != nil {
		return nil, err
	}
	tag, err := language.Parse(p.Language)
	if err != nil {
		return nil, fmt.Errorf("language: %q is not a language, such as en or tr", p.Language)
	}
	makers := map[string]func(language.Tag, ...cases.Option) cases.Caser{"upper": cases.Upper, "lower": cases.Lower, "title": cases.Title}
	start := makers[p.To]
	if start == nil {
		return nil, fmt.Errorf("to: %q is not lower, upper or title", p.To)
	}
	plain := p.To != "title" && p.Language == "und"
	first, last := byte('A'), byte('Z')
	if p.To == "upper" {
		first, last = 'a', 'z'
	}
	return mapsText(func() mapper {
		caser := start(tag) // keeps a state: one for each run
		return func(dst, value []byte) ([]byte, error) {
			if !plain || !isASCII(value) {
				return append(dst, caser.Bytes(value)...), nil
			}
			at := len(dst)
			dst = append(dst, value...)
			for i, c := range dst[at:] {
				if c >= first && c <= last {
					dst[at+i] = c ^ 0x20
				}
			}
			return dst, nil
		}
	}), nil
}

func isASCII(text []byte) bool {
	for _, c := range text {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// bindTrim takes characters off the ends, white space by default.
func bindTrim(b *binding) (*Kernel, error) {
	p := struct {
		Characters string `json:"characters"`
		Side       string `json:"side"`
	}{Side: "both"}
	if err := b.text(); err != nil {
		return nil, err
	}
	if err := b.decode(&p); err != nil {
		return nil, err
	}
	if p.Side != "both" && p.Side != "left" && p.Side != "right" {
		return nil, fmt.Errorf("side: %q is not both, left or right", p.Side)
	}
	if p.Characters == "" {
		p.Characters = " \t\n\r\v\f\u0085\u00a0"
	}
	set := map[rune]bool{}
	for _, r := range p.Characters {
		set[r] = true
	}
	in := func(r rune) bool { return set[r] }
	return mapsText(func() mapper {
		return func(dst, value []byte) ([]byte, error) {
			if p.Side != "right" {
				value = bytes.TrimLeftFunc(value, in)
			}
			if p.Side != "left" {
				value = bytes.TrimRightFunc(value, in)
			}
			return append(dst, value...), nil
		}
	}), nil
}

// bindSubstring takes characters out of the middle, counted from 1.
func bindSubstring(b *binding) (*Kernel, error) {
	p := struct {
		From   int  `json:"from"`
		Length *int `json:"length"`
	}{From: 1}
	if err := b.text(); err != nil {
		return nil, err
	}
	if err := b.decode(&p); err != nil {
		return nil, err
	}
	if p.From < 1 || p.Length != nil && *p.Length < 0 {
		return nil, errors.New("from counts from 1, and length is not negative")
	}
	return mapsText(func() mapper {
		return func(dst, value []byte) ([]byte, error) {
			value = value[skip(value, p.From-1):]
			if p.Length != nil {
				value = value[:skip(value, *p.Length)]
			}
			return append(dst, value...), nil
		}
	}), nil
}

// bindReplace replaces every occurrence of a text.
func bindReplace(b *binding) (*Kernel, error) {
	var p struct {
		Find string `json:"find"`
		With string `json:"with"`
	}
	if err := b.text(); err != nil {
		return nil, err
	}
	if err := b.decode(&p); err != nil {
		return nil, err
	}
	if p.Find == "" {
		return nil, errors.New("find is empty")
	}
	find := []byte(p.Find)
	return mapsTextWithin(func(out *result) mapper {
		return func(dst, value []byte) ([]byte, error) {
			for {
				if len(dst)+len(value) > out.Bytes {
					return dst, ErrTooLarge
				}
				at := bytes.Index(value, find)
				if at < 0 {
					return append(dst, value...), nil
				}
				dst = append(append(dst, value[:at]...), p.With...)
				value = value[at+len(find):]
			}
		}
	}), nil
}

// bindSplit takes one part of a text; where there is no such part the result
// is null.
func bindSplit(b *binding) (*Kernel, error) {
	p := struct {
		Separator string `json:"separator"`
		Part      int    `json:"part"`
		Rest      bool   `json:"rest"`
	}{Part: 1}
	if err := b.text(); err != nil {
		return nil, err
	}
	if err := b.decode(&p); err != nil {
		return nil, err
	}
	if p.Separator == "" || p.Part == 0 || p.Rest && p.Part < 0 {
		return nil, errors.New("separator is empty, or part is 0: parts count from 1, or from the end with -1, which has no rest")
	}
	separator := []byte(p.Separator)
	return mapsText(func() mapper {
		return func(dst, value []byte) ([]byte, error) {
			part := p.Part
			if part < 0 {
				if part += bytes.Count(value, separator) + 2; part < 1 {
					return dst, errNull
				}
			}
			for ; part > 1; part-- {
				_, after, found := bytes.Cut(value, separator)
				if !found {
					return dst, errNull
				}
				value = after
			}
			if !p.Rest {
				value, _, _ = bytes.Cut(value, separator)
			}
			return append(dst, value...), nil
		}
	}), nil
}
