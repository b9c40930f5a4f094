package postgres

import (
	"encoding/binary"
	"math/bits"

	"github.com/leat-etl/leat/engine/batch"
)

// Signs of numeric's binary form.
const (
	numericNegative = 0x4000
	numericNaN      = 0xc000
	numericPosInf   = 0xd000
	numericNegInf   = 0xf000
)

// decimal decodes numeric(precision, scale) into a decimal of width bytes.
type decimal struct {
	precision, scale int32
	width            int
}

// limbs is an unsigned integer, least significant word first.
type limbs [4]uint64

// powers are 10^0 .. 10^76.
var powers = func() (p [77]limbs) {
	p[0] = limbs{1}
	for i := 1; i < len(p); i++ {
		p[i] = p[i-1]
		p[i].mulAdd(10, 0)
	}
	return p
}()

// smallPowers are 10^0 .. 10^18.
var smallPowers = func() (p [19]uint64) {
	for i := range p {
		p[i] = powers[i][0]
	}
	return p
}()

// mulAdd makes l = l*m + a and says whether it did not fit.
func (l *limbs) mulAdd(m, a uint64) (overflow bool) {
	carry := a
	for i := range l {
		hi, lo := bits.Mul64(l[i], m)
		var c uint64
		l[i], c = bits.Add64(lo, carry, 0)
		carry = hi + c
	}
	return carry != 0
}

func (l *limbs) less(o *limbs) bool {
	for i := len(l) - 1; i >= 0; i-- {
		if l[i] != o[i] {
			return l[i] < o[i]
		}
	}
	return false
}

// magnitude collects decimal digits: up to 18 in a word, then in the limbs.
type magnitude struct {
	total    limbs
	word     uint64
	digits   int // in word
	spilled  bool
	overflow bool
}

// put appends the n <= 4 decimal digits of v.
func (m *magnitude) put(v uint64, n int) {
	if m.digits+n > 18 {
		m.spill()
	}
	if m.word == 0 && v == 0 && !m.spilled {
		return // leading zeros
	}
	m.word = m.word*smallPowers[n] + v
	m.digits += n
}

func (m *magnitude) spill() {
	if m.total.mulAdd(smallPowers[m.digits], m.word) {
		m.overflow = true
	}
	m.word, m.digits, m.spilled = 0, 0, true
}

// shift appends n zeros.
func (m *magnitude) shift(n int32) {
	for ; n >= 4; n -= 4 {
		m.put(0, 4)
	}
	if n > 0 {
		m.put(0, int(n))
	}
}

func (d decimal) append(c *batch.ColumnBuilder, m *magnitude, negative bool) error {
	m.spill()
	if m.overflow || !m.total.less(&powers[d.precision]) {
		return errPrecision
	}
	l := m.total
	if negative {
		var borrow uint64
		for i := range l {
			l[i], borrow = bits.Sub64(0, l[i], borrow)
		}
	}
	d.appendLimbs(c, l)
	return nil
}

func (d decimal) appendLimbs(c *batch.ColumnBuilder, l limbs) {
	var out [32]byte
	for i, w := range l {
		binary.LittleEndian.PutUint64(out[i*8:], w)
	}
	c.AppendFixed(out[:d.width])
}

func (d decimal) appendNaN(c *batch.ColumnBuilder) {
	if d.width == 16 {
		d.appendLimbs(c, limbs{batch.NaN128.LowBits(), uint64(batch.NaN128.HighBits())})
		return
	}
	d.appendLimbs(c, limbs(batch.NaN256.Array()))
}

func (d decimal) appendText(c *batch.ColumnBuilder, raw []byte) error {
	if string(raw) == "NaN" {
		d.appendNaN(c)
		return nil
	}
	negative := len(raw) > 0 && raw[0] == '-'
	if negative {
		raw = raw[1:]
	}
	var m magnitude
	seen, fraction, point := 0, int32(0), false
	for _, b := range raw {
		if b == '.' && !point {
			point = true
			continue
		}
		if b -= '0'; b > 9 {
			return errSyntax
		}
		seen++
		if point {
			if fraction == d.scale {
				if b != 0 {
					return errPrecision
				}
				continue
			}
			fraction++
		}
		m.put(uint64(b), 1)
	}
	if seen == 0 {
		return errSyntax
	}
	m.shift(d.scale - fraction)
	return d.append(c, &m, negative)
}

// appendBinary reads numeric_send: digit count, weight of the first digit,
// sign, display scale, then digits to the base of 10,000.
func (d decimal) appendBinary(c *batch.ColumnBuilder, raw []byte) error {
	n, err := readNumeric(raw)
	if err != nil {
		return err
	}
	switch n.sign {
	case numericNaN:
		d.appendNaN(c)
		return nil
	case numericPosInf, numericNegInf:
		return errRange
	}
	if n.weight > 19 {
		return errPrecision
	}
	var m magnitude
	for place := 0; place <= n.weight; place++ {
		m.put(n.at(place), 4)
	}
	left := d.scale
	for place := n.weight + 1; place < n.count; place++ {
		keep := min(left, 4) // of the four digits, so many are inside the scale
		beyond := smallPowers[4-keep]
		v := n.at(place)
		if v%beyond != 0 {
			return errPrecision
		}
		m.put(v/beyond, int(keep))
		left -= keep
	}
	m.shift(left)
	return d.append(c, &m, n.sign == numericNegative)
}

// numericValue is a view of numeric's binary form. The digit at place i counts
// 10000^(weight-i).
type numericValue struct {
	count, weight int
	sign          uint16
	scale         int
	digits        []byte
}

func readNumeric(raw []byte) (numericValue, error) {
	if len(raw) < 8 {
		return numericValue{}, errSyntax
	}
	n := numericValue{
		count:  int(binary.BigEndian.Uint16(raw)),
		weight: int(int16(binary.BigEndian.Uint16(raw[2:]))),
		sign:   binary.BigEndian.Uint16(raw[4:]),
		scale:  int(binary.BigEndian.Uint16(raw[6:])),
		digits: raw[8:],
	}
	if len(n.digits) != 2*n.count {
		return numericValue{}, errSyntax
	}
	switch n.sign {
	case 0, numericNegative, numericNaN, numericPosInf, numericNegInf:
	default:
		return numericValue{}, errSyntax
	}
	for i := range n.count {
		if n.at(i) > 9999 {
			return numericValue{}, errSyntax
		}
	}
	return n, nil
}

// at returns the digit at place i, zero outside the stored digits.
func (n *numericValue) at(i int) uint64 {
	if i < 0 || i >= n.count {
		return 0
	}
	return uint64(binary.BigEndian.Uint16(n.digits[2*i:]))
}
