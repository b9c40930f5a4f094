package postgres

import (
	"fmt"
	"math"
)

// Window selects row versions by the transaction that wrote them: From is the
// first number, Below the one after the last, both of 64 bits. From 0 is every
// transaction until Below, Below 0 every one from From on.
//
// A row has the lower 32 bits of the number only. The server's age(xmin) is
// its distance to the next number, which tells all numbers of the last 2^31
// apart, whatever the epoch. Rows whose number is older were frozen: they
// count as older than any From, unless their bits look like a newer number;
// such a row is then read once more than needed.
type Window struct{ From, Below uint64 }

// firstNormal is the first number of an ordinary transaction; what is below it
// was always there.
const firstNormal = 3

// ageOf is the age of a transaction as the server computes it for a row.
func ageOf(xid uint64) string {
	return fmt.Sprintf("pg_catalog.age('%d'::xid)", max(uint32(xid), firstNormal))
}

// condition is SQL, empty where every row is selected.
func (w Window) condition(now visible) string {
	old := w.From == 0 || now.xmax-w.From >= math.MaxInt32
	switch {
	case old && w.Below == 0:
		return ""
	case old:
		return fmt.Sprintf("NOT pg_catalog.age(xmin) BETWEEN 1 AND %s", ageOf(w.Below))
	case w.Below == 0:
		return fmt.Sprintf("pg_catalog.age(xmin) BETWEEN 1 AND %s", ageOf(w.From))
	}
	// From <= xid < Below; the age of Below itself is already too young.
	return fmt.Sprintf("pg_catalog.age(xmin) BETWEEN 1 + %s AND %s", ageOf(w.Below), ageOf(w.From))
}

// fullXmin is an expression for the 64-bit number of the transaction that
// wrote a row. Rows older than every ordinary transaction have 1 or 2.
func fullXmin(now visible) string {
	base := max(now.xmax, firstNormal)
	if uint32(base) < firstNormal {
		base += firstNormal
	}
	return fmt.Sprintf(`CASE WHEN pg_catalog.age(xmin) = %d THEN xmin::text::bigint ELSE %d + %s - pg_catalog.age(xmin)::bigint - CASE WHEN pg_catalog.age(xmin) < 0 THEN %d ELSE 0 END END`,
		math.MaxInt32, base, ageOf(base), int64(1)<<32)
}
