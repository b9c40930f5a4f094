package capability

import (
	"strings"

	"github.com/leat-etl/leat/engine/batch"
)

// selected returns the numbers of the rows of b whose operation is in ops, and
// all = true without a list where that is every row.
func selected(b *batch.Batch, ops string) (rows []int, all bool) {
	if ops == "" {
		return nil, true
	}
	var want [256]bool
	for i := range len(ops) {
		want[ops[i]] = true
	}
	n := 0
	for _, op := range b.Ops {
		if want[op] {
			n++
		}
	}
	if n == len(b.Ops) {
		return nil, true
	}
	rows = make([]int, 0, n)
	for i, op := range b.Ops {
		if want[op] {
			rows = append(rows, i)
		}
	}
	return rows, false
}

// sqlType is a column type as a guest wrote it, taken apart.
type sqlType struct {
	// name is lower case with single spaces, without pg_catalog and modifiers.
	name string
	// precision and scale are -1 where the type has none.
	precision, scale int32
	list             bool
}

// parseSQLType reads "numeric(10,2)", "pg_catalog.int4", "time(3) without time
// zone", "VARCHAR[]".
func parseSQLType(s string) sqlType {
	t := sqlType{precision: -1, scale: -1}
	s = strings.ToLower(strings.Join(strings.Fields(s), " "))
	s, t.list = strings.CutSuffix(s, "[]")
	s = strings.TrimPrefix(s, "pg_catalog.")
	before, rest, ok := strings.Cut(s, "(")
	if !ok {
		t.name = s
		return t
	}
	inside, after, _ := strings.Cut(rest, ")")
	p, sc, two := strings.Cut(inside, ",")
	t.precision, t.scale = number(p), 0
	if two {
		t.scale = number(sc)
	}
	t.name = strings.Join(strings.Fields(before+after), " ")
	return t
}

func number(s string) int32 {
	n := int32(0)
	for _, c := range strings.TrimSpace(s) {
		if c < '0' || c > '9' || n > 1<<20 {
			return -1
		}
		n = n*10 + int32(c-'0')
	}
	return n
}

// quoteName writes a name as an SQL identifier.
func quoteName(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// quoteText writes text as an SQL string.
func quoteText(s string) string { return `'` + strings.ReplaceAll(s, `'`, `''`) + `'` }
