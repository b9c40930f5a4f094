package relational

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// evolution is the way of a target from what it is to what a table wants.
// Where the database changes tables apart from rows every statement but the
// last is a transaction of its own, so that a crash may come between any two:
// the order and what is noted in between let the next attempt go on from there.
//
//  1. moves: columns get their names, two that exchange theirs by way of a
//     third;
//  2. the record of what is called how;
//  3. arrivals: the last step of exchanges, new columns, types, defaults;
//  4. the values of rows that are there, together with the final record.
type evolution struct {
	d *Destination
	t *table
	l *layout

	moves, arrivals []string
	sets            map[string]string // columns of this source's rows and their new values
	copied          map[string]string // columns of this source's rows that get the values of others, and which
	between, own    map[int]string
	gone            map[int]bool
	types           map[string]string // of the columns by folded name, after the moves
	reload          []string
}

// evolve decides everything and settles the names and types in t.
func (d *Destination) evolve(t *table, l *layout) (*evolution, error) {
	e := &evolution{d: d, t: t, l: l, own: maps.Clone(l.own), gone: map[int]bool{}, types: map[string]string{}, sets: map[string]string{}, copied: map[string]string{}}
	for _, c := range l.columns {
		e.types[d.dialect.fold(c.name)] = c.typ
	}
	l.shared = l.shared || e.brought()
	if err := e.move(); err != nil {
		return nil, err
	}
	for i := range t.columns {
		if err := e.column(&t.columns[i]); err != nil {
			return nil, err
		}
	}
	for to, from := range e.copied {
		e.sets[to] = e.converted(from, to)
	}
	e.drop()
	if len(e.sets) > 0 && l.shared && t.ownRows("x") == "" {
		e.again("the target has rows of several sources and no column that tells them apart")
		clear(e.sets)
	}
	for _, a := range d.added(t) {
		if _, ok := l.find(d.dialect, a.name); !ok {
			e.alter("ADD COLUMN %s %s%s", Quote(a.name), a.typ, a.suffix)
		}
	}
	return e, nil
}

// statements are those that change the target, for people.
func (e *evolution) statements() []string {
	out := append(slices.Clone(e.moves), e.arrivals...)
	if fill := e.fill(); fill != "" {
		out = append(out, fill)
	}
	return out
}

// fill is the UPDATE of this source's rows, empty if there is none.
func (e *evolution) fill() string {
	if len(e.sets) == 0 {
		return ""
	}
	var sets []string
	for _, name := range slices.Sorted(maps.Keys(e.sets)) {
		sets = append(sets, Quote(name)+" = "+e.sets[name])
	}
	return fmt.Sprintf("UPDATE %s SET %s%s", e.t.quoted(), strings.Join(sets, ", "), e.t.ownRows(" WHERE "))
}

// renamed is the name that a column of the target has in the end.
func (e *evolution) renamed(name string) string {
	if id, ok := e.l.owner[e.d.dialect.fold(name)]; ok && !e.l.shared {
		return e.own[id]
	}
	return name
}

// recorded says whether the record is already what it should be.
func (e *evolution) recorded() bool {
	for id, gone := range e.gone {
		if gone != e.l.gone[id] {
			return false
		}
	}
	return !e.l.inherited && maps.Equal(e.own, e.l.own)
}

// ids are the wanted names by ID.
func (t *table) ids() map[int]string {
	out := map[int]string{}
	for _, c := range t.columns {
		if c.id > 0 {
			out[c.id] = c.name
		}
	}
	return out
}

// brought says whether a column is to get the name of one that another source
// of the target has brought, of whose rows none has come yet.
func (e *evolution) brought() bool {
	fold := e.d.dialect.fold
	for id, name := range e.t.ids() {
		from, known := e.l.own[id]
		_, own := e.l.owner[fold(name)]
		if known && !own && e.types[fold(from)] != "" && e.types[fold(name)] != "" {
			return e.t.ownRows("x") != ""
		}
	}
	return false
}

// move brings recorded columns under their wanted names.
func (e *evolution) move() error {
	if e.l.shared {
		return e.copyMoved()
	}
	fold, wanted := e.d.dialect.fold, e.t.ids()
	to := map[int]string{}
	for id, name := range wanted {
		if from, ok := e.own[id]; ok && fold(from) != fold(name) {
			to[id] = name
		}
	}
	for _, c := range e.t.columns { // whose name a dropped column has
		id, taken := e.l.owner[fold(c.name)]
		if _, lives := wanted[id]; taken && !lives && id != c.id {
			to[id] = e.l.aside(e.d.dialect, c.name, id)
		}
	}
	for id, name := range to { // done already, before a crash
		if e.types[fold(e.own[id])] == "" && e.types[fold(name)] != "" {
			e.own[id] = name
			delete(to, id)
		}
	}
	return e.order(to)
}

// order writes the renames so that no name is given before it is free: one
// after the other where that is possible, otherwise by way of moving.
func (e *evolution) order(to map[int]string) error {
	fold := e.d.dialect.fold
	rename := func(id int, name string) string {
		from := e.own[id]
		e.own[id], e.types[fold(name)] = name, e.types[fold(from)]
		delete(e.types, fold(from))
		return fmt.Sprintf("ALTER TABLE %s RENAME COLUMN %s TO %s", e.t.quoted(), Quote(from), Quote(name))
	}
	onTheWay := func(id int) bool { return e.own[id] == moving(id) }
	for {
		ids := slices.DeleteFunc(slices.Sorted(maps.Keys(to)), onTheWay)
		if len(ids) == 0 {
			break
		}
		if i := slices.IndexFunc(ids, func(id int) bool { return e.types[fold(to[id])] == "" }); i >= 0 {
			e.moves = append(e.moves, rename(ids[i], to[ids[i]]))
			delete(to, ids[i])
		} else {
			e.moves = append(e.moves, rename(ids[0], moving(ids[0])))
		}
	}
	e.between = maps.Clone(e.own)
	for _, id := range slices.Sorted(maps.Keys(to)) {
		if e.types[fold(to[id])] != "" {
			return schemaError("column %q of %s is to be called %q, but the target has another column of this name: rename that one", e.l.own[id], e.t.quoted(), to[id])
		}
		e.arrivals = append(e.arrivals, rename(id, to[id]))
	}
	return nil
}

// copyMoved does for one of several sources what renaming does for one alone:
// the others keep their columns, so the values of this source's rows move.
func (e *evolution) copyMoved() error {
	fold, wanted := e.d.dialect.fold, e.t.ids()
	left := map[string]bool{}
	for id, from := range e.l.own {
		name, lives := wanted[id]
		if !lives || fold(from) == fold(name) {
			continue
		}
		e.own[id] = name
		left[from] = true
		e.copied[name] = from
	}
	for _, c := range e.t.columns {
		if c.id > 0 {
			delete(left, c.name)
		}
		id, taken := e.l.owner[fold(c.name)]
		if _, lives := wanted[id]; taken && !lives && id != c.id {
			delete(e.own, id) // its values give way
			if _, moved := e.l.own[c.id]; !moved {
				e.put(&c)
			}
		}
	}
	for name := range left {
		e.sets[name] = "NULL"
	}
	return nil
}

// put gives this source's rows the value that rows older than a column have.
func (e *evolution) put(c *column) {
	value := e.d.value(c)
	if value == "" {
		e.again(fmt.Sprintf("the default of column %q has no form in %s", c.name, e.d.dialect.Driver))
		value = "NULL"
	}
	e.sets[c.name] = value
}

// converted is a column's value as another column takes it, once all columns have
// their types.
func (e *evolution) converted(from, to string) string {
	is, want := e.settled(from), e.settled(to)
	if strings.EqualFold(is, want) {
		return Quote(from)
	}
	if !e.d.dialect.Widens(is, want) {
		e.again(fmt.Sprintf("column %q has another type than column %q", to, from))
	}
	return fmt.Sprintf("CAST(%s AS %s)", Quote(from), want)
}

// settled is the type that a column has in the end.
func (e *evolution) settled(name string) string {
	for _, c := range e.t.columns {
		if c.name == name {
			return c.mapping.Type
		}
	}
	return e.types[e.d.dialect.fold(name)]
}

// hold lets a column also hold the values that are copied into it.
func (e *evolution) hold(c *column) {
	from, ok := e.copied[c.name]
	is, want := e.types[e.d.dialect.fold(from)], c.mapping.Type
	switch {
	case !ok || strings.EqualFold(is, want) || e.d.dialect.Widens(is, want):
	case e.d.dialect.Widens(want, is):
		c.keep(is, e.d.dialect)
	default:
		c.keep(e.d.dialect.Text, e.d.dialect)
	}
}

// again notes why the table has to be loaded again.
func (e *evolution) again(why string) {
	if !slices.Contains(e.reload, why) {
		e.reload = append(e.reload, why)
	}
}

// value is what rows older than the column have, as SQL: NULL, or empty if the
// database has no way to write it.
func (d *Destination) value(c *column) string {
	if c.missing == nil {
		return "NULL"
	}
	return d.dialect.Value(*c.missing, c.mapping.Type)
}

// column adds a column or brings it to its type.
func (e *evolution) column(c *column) error {
	_, known := e.l.own[c.id]
	if c.id > 0 {
		e.own[c.id] = c.name
	}
	if known && e.l.gone[c.id] {
		e.again(fmt.Sprintf("column %q is there again", c.name))
	}
	e.hold(c)
	is, want := e.types[e.d.dialect.fold(c.name)], c.mapping.Type
	if is == "" {
		e.add(c, known)
		return nil
	}
	if c.id > 0 && !known && c.missing != nil && e.l.shared && e.l.version > 0 { // another source brought it
		e.put(c)
	}
	switch {
	case strings.EqualFold(is, want):
	case e.d.dialect.Widens(want, is) || strings.EqualFold(is, e.d.dialect.Text):
		c.keep(is, e.d.dialect)
	case e.d.dialect.Widens(is, want):
		e.retype(c)
	default:
		c.keep(e.d.dialect.Text, e.d.dialect)
		c.mapping.Losses = append(c.mapping.Losses, fmt.Sprintf("its type: no %s holds what it had as %s", want, is))
		e.retype(c)
	}
	return nil
}

// keep gives a column a type that the target has, and that holds every value.
func (c *column) keep(typ string, d *Dialect) {
	c.mapping.Type = typ
	if strings.EqualFold(typ, d.Text) {
		c.mapping.Losses, c.mapping.Lossy = nil, nil
	}
}

func (e *evolution) alter(format string, args ...any) {
	e.arrivals = append(e.arrivals, fmt.Sprintf("ALTER TABLE %s ", e.t.quoted())+fmt.Sprintf(format, args...))
}

// add makes a column. Its default stays: rows that the source wrote before the
// column may still come.
func (e *evolution) add(c *column, known bool) {
	value := e.d.value(c)
	switch {
	case known && !e.l.shared:
		e.again(fmt.Sprintf("somebody has dropped column %q at the destination", c.name))
	case c.id > 0 && len(e.l.own) == 0 && e.l.version > 0:
		e.again(fmt.Sprintf("column %q may be another one renamed: an older Leat made the target", c.name))
	case c.missing != nil && value == "":
		e.again(fmt.Sprintf("the default of column %q has no form in %s", c.name, e.d.dialect.Driver))
	}
	switch {
	case c.missing == nil || value == "" || known:
		e.alter("ADD COLUMN %s %s", Quote(c.name), c.mapping.Type)
	case e.l.shared:
		e.alter("ADD COLUMN %s %s", Quote(c.name), c.mapping.Type)
		e.alter("ALTER COLUMN %s SET DEFAULT %s", Quote(c.name), value)
		e.put(c)
	default:
		e.alter("ADD COLUMN %s %s DEFAULT %s", Quote(c.name), c.mapping.Type, value)
	}
}

// retype changes the type of a column. As text, values read as the type before
// wrote them, and those of a merged table may be of sources with another one.
func (e *evolution) retype(c *column) {
	if strings.EqualFold(c.mapping.Type, e.d.dialect.Text) {
		e.again(fmt.Sprintf("column %q becomes text, and its values stand as %s wrote the type before", c.name, e.d.dialect.Driver))
	}
	e.alter("ALTER COLUMN %s DROP DEFAULT", Quote(c.name)) // it may not fit the new type
	e.alter("ALTER COLUMN %[1]s TYPE %[2]s USING CAST(%[1]s AS %[2]s)", Quote(c.name), c.mapping.Type)
	if value := e.d.value(c); c.missing != nil && value != "" {
		e.alter("ALTER COLUMN %s SET DEFAULT %s", Quote(c.name), value)
	}
}

// drop leaves columns that the source no longer has as they are, without a
// default: they are NULL from then on.
func (e *evolution) drop() {
	wanted := e.t.ids()
	for _, id := range slices.Sorted(maps.Keys(e.own)) {
		_, lives := wanted[id]
		if e.gone[id] = !lives; lives || e.l.gone[id] || e.l.shared {
			continue
		}
		e.alter("ALTER COLUMN %s DROP DEFAULT", Quote(e.own[id]))
	}
}
