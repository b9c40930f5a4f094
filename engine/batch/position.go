package batch

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// Position is a place in the write-ahead log: every change up to and
// including it has been seen. LSN is the commit LSN of the transaction, so
// positions are monotonic although the LSNs of interleaved records are not.
// Ordinal counts the changes inside the transaction from 1; EndOfTransaction
// marks the commit itself.
type Position struct {
	Timeline uint32
	LSN      uint64
	Ordinal  uint64
}

// EndOfTransaction is the Ordinal of a position that lies on a commit
// boundary.
const EndOfTransaction = 1<<63 - 1

// Compare orders positions by LSN, then ordinal. The timeline does not take
// part: a change of timeline is an event that the source reports, not an
// order.
func (p Position) Compare(o Position) int {
	if c := cmp.Compare(p.LSN, o.LSN); c != 0 {
		return c
	}
	return cmp.Compare(p.Ordinal, o.Ordinal)
}

// IsZero says whether p is the position before every change.
func (p Position) IsZero() bool { return p.LSN == 0 && p.Ordinal == 0 }

// String prints the position as timeline:LSN, with +ordinal inside a
// transaction, for example 1:0/16B3748+12.
func (p Position) String() string {
	s := fmt.Sprintf("%d:%s", p.Timeline, FormatLSN(p.LSN))
	if p.Ordinal != EndOfTransaction {
		s += "+" + strconv.FormatUint(p.Ordinal, 10)
	}
	return s
}

// MarshalText implements encoding.TextMarshaler.
func (p Position) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Position) UnmarshalText(text []byte) error {
	q, err := ParsePosition(string(text))
	if err != nil {
		return err
	}
	*p = q
	return nil
}

// ParsePosition reads what Position.String prints.
func ParsePosition(s string) (Position, error) {
	fail := func() (Position, error) {
		return Position{}, fmt.Errorf("position %q: want timeline:LSN or timeline:LSN+ordinal, for example 1:0/16B3748", s)
	}
	tl, rest, ok := strings.Cut(s, ":")
	if !ok {
		return fail()
	}
	timeline, err := strconv.ParseUint(tl, 10, 32)
	if err != nil {
		return fail()
	}
	p := Position{Timeline: uint32(timeline), Ordinal: EndOfTransaction}
	lsn, ordinal, inside := strings.Cut(rest, "+")
	if inside {
		if p.Ordinal, err = strconv.ParseUint(ordinal, 10, 64); err != nil {
			return fail()
		}
	}
	if p.LSN, err = ParseLSN(lsn); err != nil {
		return fail()
	}
	return p, nil
}

// FormatLSN prints an LSN the way PostgreSQL does.
func FormatLSN(lsn uint64) string { return fmt.Sprintf("%X/%X", lsn>>32, uint32(lsn)) }

// ParseLSN reads PostgreSQL's text form of an LSN.
func ParseLSN(s string) (uint64, error) {
	hi, lo, ok := strings.Cut(s, "/")
	h, errHi := strconv.ParseUint(hi, 16, 32)
	l, errLo := strconv.ParseUint(lo, 16, 32)
	if !ok || errHi != nil || errLo != nil {
		return 0, fmt.Errorf("LSN %q: want two hexadecimal numbers and a slash, for example 0/16B3748", s)
	}
	return h<<32 | l, nil
}
