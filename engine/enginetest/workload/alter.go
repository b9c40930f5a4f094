package workload

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
)

// mostAltered bounds how often a table is altered.
const mostAltered = 10

// extra is a column that ALTER TABLE has brought. Its name says its number.
type extra struct{ name, typ string }

func (e extra) number() (n int) {
	fmt.Sscanf(strings.SplitN(e.name, "_", 2)[1], "%d", &n) // every name has one
	return n
}

// kind is a type of such columns.
type kind struct {
	typ  string // as format_type prints it
	rest string // of the column's definition
	draw func(*rand.Rand) string
	next []string // the types that it may be changed to
}

var kinds = []kind{
	{typ: "text", draw: text},
	{typ: "integer", rest: "DEFAULT 7", draw: whole, next: []string{"bigint", "text"}},
	{typ: "timestamp with time zone", rest: "NOT NULL DEFAULT '2020-02-02 02:02:02.020202+00'", draw: func(*rand.Rand) string { return "'2021-01-01 00:00:00+00'" }},
	{typ: "numeric(10,3)", draw: amount, next: []string{"numeric(14,3)", "numeric(16,5)"}},
	{typ: "text[]", rest: "DEFAULT '{new,NULL}'", draw: texts},
	{typ: "character varying(40)", rest: "DEFAULT 'it''s'", draw: text, next: []string{"text"}},
	{typ: "boolean", rest: "NOT NULL DEFAULT true", draw: boolean},
	{typ: "numeric(14,3)", rest: "DEFAULT 2.5", draw: amount, next: []string{"numeric(16,5)"}},
	{typ: "jsonb", rest: `DEFAULT '{"new": [1, null]}'`, draw: document},
	{typ: "bigint", rest: "DEFAULT -1", draw: whole, next: []string{"text"}},
	{typ: "numeric(16,5)", draw: amount},
	{typ: "double precision", rest: "DEFAULT 0.5", draw: float},
}

func kindOf(typ string) kind {
	return kinds[slices.IndexFunc(kinds, func(k kind) bool { return k.typ == typ })]
}

// alter changes the columns of a table.
func (t *transaction) alter(s *shape, m *tableModel) {
	m.altered++
	if t.w.options.Keys && len(s.key) > 0 && t.r.IntN(3) == 0 {
		t.changeIdentity(s, m)
		return
	}
	switch n := t.r.IntN(10); {
	case t.w.options.OnlyAdded || len(m.extras) == 0 || n < 4 && len(m.extras) < 4:
		t.addColumn(s, m)
	case n < 6:
		t.rename(s, m)
	case n < 8:
		t.dropColumn(s, m)
	default:
		t.retype(s, m)
	}
}

// addColumn adds a column, at times one under the name of another that is
// gone. The type goes by the number in the name.
func (t *transaction) addColumn(s *shape, m *tableModel) {
	m.brought++
	e := extra{fmt.Sprintf("added_%d", m.brought), kinds[(m.brought-1)%len(kinds)].typ}
	if len(m.gone) > 0 && t.r.IntN(3) == 0 {
		e = m.gone[0]
		m.gone = m.gone[1:]
	}
	m.extras = append(m.extras, e)
	t.say("ALTER TABLE %s ADD COLUMN %s %s %s", t.w.table(s), e.name, e.typ, kindOf(e.typ).rest)
}

// rename gives a column a name that none had before, or lets two of one type
// exchange theirs.
func (t *transaction) rename(s *shape, m *tableModel) {
	i := t.r.IntN(len(m.extras))
	for j := range i {
		if m.extras[j].typ != m.extras[i].typ {
			continue
		}
		a, b := m.extras[i].name, m.extras[j].name
		for _, names := range [][2]string{{a, "on_the_way"}, {b, a}, {"on_the_way", b}} {
			t.say("ALTER TABLE %s RENAME COLUMN %s TO %s", t.w.table(s), names[0], names[1])
		}
		m.extras[i].name, m.extras[j].name = b, a
		return
	}
	m.brought++
	typ := regexp.MustCompile(`\W+`).ReplaceAllString(m.extras[i].typ, "_") // tables that are merged have one type under one name
	name := fmt.Sprintf("renamed_%d_%s", m.brought, typ)
	t.say("ALTER TABLE %s RENAME COLUMN %s TO %s", t.w.table(s), m.extras[i].name, name)
	m.extras[i].name = name
}

func (t *transaction) dropColumn(s *shape, m *tableModel) {
	i := t.r.IntN(len(m.extras))
	e := m.extras[i]
	t.say("ALTER TABLE %s DROP COLUMN %s", t.w.table(s), e.name)
	m.extras, m.gone = slices.Delete(m.extras, i, i+1), append(m.gone, e)
}

// retype gives a column a type that has all its values.
func (t *transaction) retype(s *shape, m *tableModel) {
	i := t.r.IntN(len(m.extras))
	next := kindOf(m.extras[i].typ).next
	if len(next) == 0 {
		t.addColumn(s, m)
		return
	}
	m.extras[i].typ = next[t.r.IntN(len(next))]
	t.say("ALTER TABLE %s ALTER COLUMN %s TYPE %s", t.w.table(s), m.extras[i].name, m.extras[i].typ)
}
