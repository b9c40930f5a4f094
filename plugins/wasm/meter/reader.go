package meter

import (
	"fmt"
	"unicode/utf8"
)

// reader is a bounds-checked cursor over a part of the module. The first
// error sticks and every later read returns zero, so that callers check once.
type reader struct {
	b   []byte
	pos int
	err error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
		r.pos = len(r.b)
	}
}

func (r *reader) done() bool { return r.pos >= len(r.b) }

func (r *reader) left() int { return len(r.b) - r.pos }

func (r *reader) byte() byte {
	if r.pos >= len(r.b) {
		r.fail("unexpected end")
		return 0
	}
	c := r.b[r.pos]
	r.pos++
	return c
}

// take returns the next n bytes, aliasing the module.
func (r *reader) take(n uint32) []byte {
	if uint64(n) > uint64(r.left()) {
		r.fail("unexpected end")
		return nil
	}
	s := r.b[r.pos : r.pos+int(n)]
	r.pos += int(n)
	return s
}

// skip passes over n bytes.
func (r *reader) skip(n uint32) { r.take(n) }

func (r *reader) u32() uint32 {
	if r.pos < len(r.b) && r.b[r.pos] < 0x80 { // nearly always
		r.pos++
		return uint32(r.b[r.pos-1])
	}
	var v uint32
	for shift := 0; shift < 35; shift += 7 {
		c := r.byte()
		if shift == 28 && c > 0x0f {
			break
		}
		v |= uint32(c&0x7f) << shift
		if c < 0x80 {
			return v
		}
	}
	r.fail("malformed unsigned 32-bit integer")
	return 0
}

// signed reads a signed LEB128 integer of the given width.
func (r *reader) signed(width int) int64 {
	var v int64
	for shift := 0; shift < width; shift += 7 {
		c := r.byte()
		v |= int64(c&0x7f) << shift
		if c >= 0x80 {
			continue
		}
		used := min(width-shift, 7)
		// The bits beyond width must repeat the sign.
		if sign := int8(c<<1) >> used; used < 7 && sign != 0 && sign != -1 {
			break
		}
		if shift+7 < 64 && c&0x40 != 0 {
			v |= -1 << (shift + 7)
		}
		return v
	}
	r.fail("malformed signed %d-bit integer", width)
	return 0
}

// maxItems bounds every vector of the module, and so what decoding allocates.
const maxItems = 1_000_000

// count reads the length of a vector whose elements take at least one byte.
func (r *reader) count(what string) int {
	n := r.u32()
	if n > maxItems || uint64(n) > uint64(r.left()) {
		r.fail("%s count %d exceeds its section or the limit of %d", what, n, maxItems)
		return 0
	}
	return int(n)
}

func (r *reader) name() string {
	b := r.take(r.u32())
	if !utf8.Valid(b) {
		r.fail("name is not valid UTF-8")
		return ""
	}
	return string(b)
}

func appendU32(b []byte, v uint32) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

func appendSigned(b []byte, v int64) []byte {
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if (v == 0 && c&0x40 == 0) || (v == -1 && c&0x40 != 0) {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}

func appendName(b []byte, s string) []byte {
	return append(appendU32(b, uint32(len(s))), s...)
}

func appendSection(b []byte, id byte, body []byte) []byte {
	if body == nil {
		return b
	}
	return append(appendU32(append(b, id), uint32(len(body))), body...)
}
