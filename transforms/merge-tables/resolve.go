package main

import (
	"fmt"
	"strings"

	"github.com/leat-etl/leat/pdk/go"
)

// common is the narrowest column that holds every value of a and b: it is
// associative, so the order of the databases does not matter.
func common(a, b pdk.Column) pdk.Column {
	c := a
	c.Nullable = a.Nullable || b.Nullable
	if a.Format == b.Format && a.PG.Name == b.PG.Name && a.PG.Typmod == b.PG.Typmod {
		return c
	}
	if f, pg, ok := commonNumber(a, b); ok {
		c.Format, c.PG = f, pg
		return c
	}
	if a.Format == b.Format && isCharacter(a.PG) && isCharacter(b.PG) {
		c.PG = commonCharacter(a.PG, b.PG)
		return c
	}
	if a.Format == b.Format && a.PG.Name == b.PG.Name {
		// The same type with two modifiers, such as timestamp(3) and (6).
		c.PG.Typmod = -1
		return c
	}
	if isDateOrTimestamp(a.Format) && isDateOrTimestamp(b.Format) {
		c.Format, c.PG = pdk.FormatTimestamp, pdk.PGType{Name: "timestamp", OID: 1114, Typmod: -1, Kind: "b"}
		return c
	}
	c.Format, c.PG = pdk.FormatText, pdk.Text
	return c
}

func isDateOrTimestamp(format string) bool {
	return format == pdk.FormatDate || format == pdk.FormatTimestamp
}

// integers are the integer formats by width and what they are called.
var integers = []struct {
	format string
	digits int
	pg     pdk.PGType
}{
	{pdk.FormatInt16, 5, pdk.PGType{Name: "int2", OID: 21, Typmod: -1, Kind: "b"}},
	{pdk.FormatInt32, 10, pdk.PGType{Name: "int4", OID: 23, Typmod: -1, Kind: "b"}},
	{pdk.FormatInt64, 19, pdk.PGType{Name: "int8", OID: 20, Typmod: -1, Kind: "b"}},
}

func integerWidth(c pdk.Column) int {
	for i := range integers {
		if integers[i].format == c.Format && integers[i].pg.Name == c.PG.Name {
			return i
		}
	}
	return -1
}

// commonNumber joins two integers, an integer and a decimal, two decimals
// (numeric of any size where no decimal holds both), or two floats. A decimal and a float have no common number: neither holds the
// other.
func commonNumber(a, b pdk.Column) (string, pdk.PGType, bool) {
	wa, wb := integerWidth(a), integerWidth(b)
	if wa >= 0 && wb >= 0 {
		w := integers[max(wa, wb)]
		return w.format, w.pg, true
	}
	if isFloat(a.Format) && isFloat(b.Format) {
		return pdk.FormatFloat64, pdk.PGType{Name: "float8", OID: 701, Typmod: -1, Kind: "b"}, true
	}
	if isNumber(a) && isNumber(b) && (a.Format == pdk.FormatText || b.Format == pdk.FormatText) {
		return pdk.FormatText, anyNumeric, true
	}
	wholeA, scaleA, okA := decimalShape(a)
	wholeB, scaleB, okB := decimalShape(b)
	if !okA || !okB {
		return "", pdk.PGType{}, false
	}
	scale := max(scaleA, scaleB)
	precision := max(wholeA, wholeB) + scale
	numeric := pdk.PGType{Name: "numeric", OID: 1700, Typmod: int32(precision<<16|scale) + 4, Kind: "b"}
	switch {
	case precision <= 38:
		return fmt.Sprintf("d:%d,%d", precision, scale), numeric, true
	case precision <= 76:
		return fmt.Sprintf("d:%d,%d,256", precision, scale), numeric, true
	}
	return pdk.FormatText, anyNumeric, true
}

// anyNumeric is numeric of any size, which travels as text.
var anyNumeric = pdk.PGType{Name: "numeric", OID: 1700, Typmod: -1, Kind: "b"}

// isNumber says whether every value of a column is one of numeric.
func isNumber(c pdk.Column) bool {
	_, _, decimal := decimalShape(c)
	return decimal || c.PG.Name == "numeric"
}

func isFloat(format string) bool { return format == pdk.FormatFloat32 || format == pdk.FormatFloat64 }

// decimalShape is the digits before and after the point that a column needs.
func decimalShape(c pdk.Column) (whole, scale int, ok bool) {
	if w := integerWidth(c); w >= 0 {
		return integers[w].digits, 0, true
	}
	if !strings.HasPrefix(c.Format, "d:") {
		return 0, 0, false
	}
	var precision int
	if _, err := fmt.Sscanf(c.Format, "d:%d,%d", &precision, &scale); err != nil {
		return 0, 0, false
	}
	return precision - scale, scale, true
}

func isCharacter(t pdk.PGType) bool {
	switch t.Name {
	case "varchar", "bpchar", "text":
		return true
	}
	return false
}

// commonCharacter is varchar of the larger length, or text if one has no
// length or blanks that count differently.
func commonCharacter(a, b pdk.PGType) pdk.PGType {
	if a.Name != "varchar" || b.Name != "varchar" {
		return pdk.Text
	}
	if a.Typmod < 0 || b.Typmod < 0 {
		return pdk.Varchar
	}
	a.Typmod = max(a.Typmod, b.Typmod)
	return a
}
