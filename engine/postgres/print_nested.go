package postgres

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
)

// reader takes binary values apart; the first field that is not there makes
// it bad.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.rest) {
		r.bad, r.rest = true, nil
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) uint8() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// value reads a length and so many bytes; null where the length is -1.
func (r *reader) value() (b []byte, null bool) {
	n := int32(r.uint32())
	if n == -1 {
		return nil, true
	}
	return r.take(int(n)), false
}

// text reads up to a zero byte.
func (r *reader) text() []byte {
	end := bytes.IndexByte(r.rest, 0)
	if end < 0 {
		r.bad, r.rest = true, nil
		return nil
	}
	b := r.rest[:end]
	r.rest = r.rest[end+1:]
	return b
}

// maxDimensions is PostgreSQL's MAXDIM.
const maxDimensions = 6

// arrayPrinter prints arrays of any dimension and bounds.
func (m *TypeMap) arrayPrinter(t *TypeInfo) (printer, error) {
	element, err := m.printer(t.Of)
	if err != nil {
		return nil, err
	}
	info, _ := m.base(t.Of, -1)
	return arrayWriter{element, info.Delimiter}.print, nil
}

type arrayWriter struct {
	element   printer
	delimiter byte
}

// print reads the number of dimensions, a flag for nulls, the element type, a
// size and a lower bound for each dimension, then the elements.
func (w arrayWriter) print(dst, raw []byte) ([]byte, error) {
	r := reader{rest: raw}
	dimensions := int(int32(r.uint32()))
	r.take(8)
	if r.bad || dimensions < 0 || dimensions > maxDimensions {
		return dst, errSyntax
	}
	if dimensions == 0 {
		return append(dst, "{}"...), nil
	}
	var sizes [maxDimensions]int
	var bounds [maxDimensions]int64
	plain := true
	for i := range dimensions {
		sizes[i] = int(int32(r.uint32()))
		bounds[i] = int64(int32(r.uint32()))
		plain = plain && bounds[i] == 1
		if r.bad || sizes[i] < 1 {
			return dst, errSyntax
		}
	}
	if !plain {
		for i := range dimensions {
			dst = strconv.AppendInt(append(dst, '['), bounds[i], 10)
			dst = strconv.AppendInt(append(dst, ':'), bounds[i]+int64(sizes[i])-1, 10)
			dst = append(dst, ']')
		}
		dst = append(dst, '=')
	}
	dst, err := w.printLevel(dst, &r, sizes[:dimensions])
	if err == nil && (r.bad || len(r.rest) > 0) {
		err = errSyntax
	}
	return dst, err
}

func (w arrayWriter) printLevel(dst []byte, r *reader, sizes []int) ([]byte, error) {
	dst = append(dst, '{')
	var err error
	for i := range sizes[0] {
		if i > 0 {
			dst = append(dst, w.delimiter)
		}
		if len(sizes) > 1 {
			dst, err = w.printLevel(dst, r, sizes[1:])
		} else {
			dst, err = w.printElement(dst, r)
		}
		if err != nil {
			return dst, err
		}
	}
	return append(dst, '}'), nil
}

func (w arrayWriter) printElement(dst []byte, r *reader) ([]byte, error) {
	raw, null := r.value()
	if r.bad {
		return dst, errSyntax
	}
	if null {
		return append(dst, "NULL"...), nil
	}
	from := len(dst)
	dst, err := w.element(dst, raw)
	if err != nil {
		return dst, err
	}
	text := dst[from:]
	if len(text) > 0 && !bytes.EqualFold(text, []byte("NULL")) && !needsQuotes(text, `"\{}`, w.delimiter) {
		return dst, nil
	}
	return quote(dst, from, '\\'), nil
}

// needsQuotes says whether text has white space, the delimiter or one of
// special in it.
func needsQuotes(text []byte, special string, delimiter byte) bool {
	for _, b := range text {
		if b == delimiter || b == ' ' || b >= '\t' && b <= '\r' {
			return true
		}
		for i := range len(special) {
			if b == special[i] {
				return true
			}
		}
	}
	return false
}

// quote puts what stands in dst after from into double quotes. Quotes and
// backslashes inside are preceded by escape, or doubled where escape is 0.
func quote(dst []byte, from int, escape byte) []byte {
	extra := 2
	for _, b := range dst[from:] {
		if b == '"' || b == '\\' {
			extra++
		}
	}
	end := len(dst)
	for range extra {
		dst = append(dst, '"')
	}
	to := len(dst) - 1
	for i := end - 1; i >= from; i-- {
		to--
		dst[to] = dst[i]
		if b := dst[i]; b == '"' || b == '\\' {
			to--
			if dst[to] = escape; escape == 0 {
				dst[to] = b
			}
		}
	}
	dst[from] = '"'
	dst[len(dst)-1] = '"'
	return dst
}

// Flags of a range's binary form.
const (
	rangeEmpty          = 0x01
	rangeLowerInclusive = 0x02
	rangeUpperInclusive = 0x04
	rangeLowerInfinite  = 0x08
	rangeUpperInfinite  = 0x10
)

func (m *TypeMap) rangePrinter(t *TypeInfo) (printer, error) {
	bound, err := m.printer(t.Of)
	if err != nil {
		return nil, err
	}
	return func(dst, raw []byte) ([]byte, error) {
		r := reader{rest: raw}
		flags := r.uint8()
		if flags&rangeEmpty != 0 {
			return append(dst, "empty"...), nil
		}
		opening, closing := byte('('), byte(')')
		if flags&rangeLowerInclusive != 0 {
			opening = '['
		}
		if flags&rangeUpperInclusive != 0 {
			closing = ']'
		}
		dst = append(dst, opening)
		var err error
		if flags&rangeLowerInfinite == 0 {
			if dst, err = printQuoted(dst, &r, bound, `"\()[]`); err != nil {
				return dst, err
			}
		}
		dst = append(dst, ',')
		if flags&rangeUpperInfinite == 0 {
			if dst, err = printQuoted(dst, &r, bound, `"\()[]`); err != nil {
				return dst, err
			}
		}
		if r.bad || len(r.rest) > 0 {
			return dst, errSyntax
		}
		return append(dst, closing), nil
	}, nil
}

// printQuoted prints the next value of r, which must not be null, as a range
// bound or the field of a record.
func printQuoted(dst []byte, r *reader, p printer, special string) ([]byte, error) {
	raw, null := r.value()
	if r.bad || null {
		return dst, errSyntax
	}
	from := len(dst)
	dst, err := p(dst, raw)
	if err != nil {
		return dst, err
	}
	if text := dst[from:]; len(text) > 0 && !needsQuotes(text, special, ',') {
		return dst, nil
	}
	return quote(dst, from, 0), nil
}

func (m *TypeMap) multirangePrinter(t *TypeInfo) (printer, error) {
	element, err := m.printer(t.Of)
	if err != nil {
		return nil, err
	}
	return func(dst, raw []byte) ([]byte, error) {
		r := reader{rest: raw}
		n := r.uint32()
		dst = append(dst, '{')
		for i := uint32(0); i < n && !r.bad; i++ {
			if i > 0 {
				dst = append(dst, ',')
			}
			raw, null := r.value()
			if r.bad || null {
				return dst, errSyntax
			}
			var err error
			if dst, err = element(dst, raw); err != nil {
				return dst, err
			}
		}
		if r.bad || len(r.rest) > 0 {
			return dst, errSyntax
		}
		return append(dst, '}'), nil
	}, nil
}

// recordPrinter prints composites: (field,field), an empty field for null.
func (m *TypeMap) recordPrinter(t *TypeInfo) (printer, error) {
	fields := make([]printer, len(t.Attributes))
	for i, oid := range t.Attributes {
		var err error
		if fields[i], err = m.printer(oid); err != nil {
			return nil, fmt.Errorf("type %q: %w", t.Name, err)
		}
	}
	return func(dst, raw []byte) ([]byte, error) {
		r := reader{rest: raw}
		if n := r.uint32(); int64(n) != int64(len(fields)) {
			return dst, errSyntax
		}
		dst = append(dst, '(')
		for i, p := range fields {
			if i > 0 {
				dst = append(dst, ',')
			}
			if r.uint32() != t.Attributes[i] {
				return dst, errSyntax
			}
			if len(r.rest) >= 4 && binary.BigEndian.Uint32(r.rest) == 1<<32-1 {
				r.take(4)
				continue
			}
			var err error
			if dst, err = printQuoted(dst, &r, p, `"\()`); err != nil {
				return dst, err
			}
		}
		if r.bad || len(r.rest) > 0 {
			return dst, errSyntax
		}
		return append(dst, ')'), nil
	}, nil
}
