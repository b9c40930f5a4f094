package workload

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// model is what the workload knows of the committed state.
type model struct{ tables []tableModel }

type tableModel struct {
	live    []key
	dead    []key   // some deleted keys, for re-inserts
	extras  []extra // columns that ALTER TABLE has brought
	gone    []extra // and taken away
	brought int     // the number of the last of them
	altered int     // how often
	identity
}

func newModel() model { return model{make([]tableModel, len(shapes))} }

func (m model) clone() model {
	out := model{slices.Clone(m.tables)}
	for i := range out.tables {
		out.tables[i].live = slices.Clone(out.tables[i].live)
		out.tables[i].dead = slices.Clone(out.tables[i].dead)
		out.tables[i].extras = slices.Clone(out.tables[i].extras)
		out.tables[i].gone = slices.Clone(out.tables[i].gone)
	}
	return out
}

// take removes and returns a random live key.
func (t *tableModel) take(r *rand.Rand) key {
	i := r.IntN(len(t.live))
	k := t.live[i]
	t.live = slices.Delete(t.live, i, i+1)
	return k
}

// bury keeps a deleted key for a re-insert.
func (t *tableModel) bury(k key) {
	const most = 50
	if t.dead = append(t.dead, k); len(t.dead) > most {
		t.dead = t.dead[1:]
	}
}

// transaction is one step: its statements, and the state after its commit.
type transaction struct {
	w          *Workload
	r          *rand.Rand
	model      model
	statements []string
	commits    bool
}

// draw makes the next transaction.
func (w *Workload) draw() *transaction {
	t := &transaction{w: w, r: w.random, model: w.model.clone(), commits: w.random.IntN(12) > 0}
	t.say("BEGIN")
	for range 1 + t.r.IntN(6) {
		if t.r.IntN(6) == 0 {
			t.savepoint(1)
		} else {
			t.change()
		}
	}
	if t.commits {
		t.say("COMMIT")
	} else {
		t.say("ROLLBACK")
	}
	return t
}

func (t *transaction) say(format string, args ...any) {
	sql := fmt.Sprintf(format, args...)
	if t.w.options.FlatArrays {
		sql = strings.ReplaceAll(sql, deepArray, "'{4,5}'")
	}
	t.statements = append(t.statements, sql)
}

// savepoint makes changes inside a savepoint, at times inside another one, and
// takes half of them back.
func (t *transaction) savepoint(depth int) {
	before := t.model.clone()
	t.say("SAVEPOINT s%d", depth)
	for range 1 + t.r.IntN(4) {
		t.change()
	}
	if depth < 3 && t.r.IntN(3) == 0 {
		t.savepoint(depth + 1)
	}
	if t.r.IntN(2) == 0 {
		t.say("ROLLBACK TO s%d", depth)
		t.model = before
	} else {
		t.say("RELEASE s%d", depth)
	}
}

// change makes one change to one table.
func (t *transaction) change() {
	i := t.r.IntN(len(shapes))
	s, m := shapes[i], &t.model.tables[i]
	switch n := t.r.IntN(1000); {
	case n < 8 && !t.w.options.NoTruncate:
		t.truncate(i)
		return
	case n < 8+t.w.options.Alters && !t.w.options.NoDDL && m.altered < mostAltered:
		t.alter(s, m)
		return
	}
	if len(s.key) == 0 {
		t.insert(s, m, 1+t.r.IntN(3))
		return
	}
	switch n := t.r.IntN(100); {
	case len(m.live) < 3 || n < 25 && len(m.live) < t.w.options.Rows:
		t.insert(s, m, 1+t.r.IntN(3))
	case n < 29 && len(m.live) < t.w.options.Rows:
		t.insert(s, m, 20+t.r.IntN(60))
	case n < 35:
		t.reinsert(s, m)
	case n < 65:
		t.update(s, m)
	case n < 75:
		t.changeKey(s, m)
	case n < 81:
		t.swapKeys(s, m)
	case n < 84: // to and fro: an update and a delete of a row of this transaction
		t.insert(s, m, 1)
		k := m.live[len(m.live)-1]
		t.updateRows(s, m, []key{k})
		t.delete(s, m, []key{k})
	default:
		t.delete(s, m, t.some(m, 1+t.r.IntN(4)))
	}
}

// some returns up to n different live keys.
func (t *transaction) some(m *tableModel, n int) []key {
	var out []key
	for _, i := range t.r.Perm(len(m.live))[:min(n, len(m.live))] {
		out = append(out, m.live[i])
	}
	return out
}

func (t *transaction) freshKey(s *shape) key {
	t.w.next++
	k := make(key, len(s.key))
	for i, c := range s.key {
		k[i] = c.nth(t.w.next)
	}
	return k
}

func (t *transaction) insert(s *shape, m *tableModel, n int) {
	keys := make([]key, n)
	for i := range keys {
		keys[i] = t.freshKey(s)
	}
	t.insertKeys(s, m, keys)
}

// reinsert brings back a deleted key, one deleted just now if there is no
// other.
func (t *transaction) reinsert(s *shape, m *tableModel) {
	if len(m.dead) == 0 {
		t.delete(s, m, t.some(m, 1))
	}
	last := len(m.dead) - 1
	k := m.dead[last]
	m.dead = m.dead[:last]
	t.insertKeys(s, m, []key{k})
}

func (t *transaction) insertKeys(s *shape, m *tableModel, keys []key) {
	var names, rows []string
	for _, c := range s.key {
		names = append(names, c.name)
	}
	columns := t.columns(s, m)
	for _, c := range columns {
		names = append(names, c.name)
	}
	for _, k := range keys {
		values := slices.Clone([]string(k))
		for _, c := range columns {
			values = append(values, c.draw(t.r))
		}
		rows = append(rows, "("+strings.Join(values, ", ")+")")
	}
	t.say("INSERT INTO %s (%s) VALUES %s", t.w.table(s), strings.Join(names, ", "), strings.Join(rows, ", "))
	if len(s.key) > 0 {
		m.live = append(m.live, keys...)
	}
}

// columns are those of the shape and of ALTER TABLE.
func (t *transaction) columns(s *shape, m *tableModel) []column {
	out := slices.Clone(s.columns)
	for _, e := range m.extras {
		out = append(out, column{name: e.name, draw: kindOf(e.typ).draw})
	}
	return out
}

func (t *transaction) update(s *shape, m *tableModel) {
	t.updateRows(s, m, t.some(m, 1+t.r.IntN(3)*t.r.IntN(4)))
}

// updateRows changes some columns of rows, the large ones seldom.
func (t *transaction) updateRows(s *shape, m *tableModel, keys []key) {
	var sets []string
	for _, c := range t.columns(s, m) {
		if c.large && t.r.IntN(5) == 0 || !c.large && t.r.IntN(2) == 0 {
			sets = append(sets, c.name+" = "+c.draw(t.r))
		}
	}
	if len(sets) == 0 {
		c := s.columns[0]
		sets = append(sets, c.name+" = "+c.draw(t.r))
	}
	t.say("UPDATE %s SET %s WHERE %s", t.w.table(s), strings.Join(sets, ", "), s.is(keys...))
}

// is the condition for rows with one of the keys.
func (s *shape) is(keys ...key) string {
	var names, tuples []string
	for _, c := range s.key {
		names = append(names, c.name)
	}
	for _, k := range keys {
		tuples = append(tuples, "("+strings.Join(k, ", ")+")")
	}
	return fmt.Sprintf("(%s) IN (%s)", strings.Join(names, ", "), strings.Join(tuples, ", "))
}

// changeKey gives a row a fresh key or that of a deleted row, at times with
// other columns.
func (t *transaction) changeKey(s *shape, m *tableModel) {
	from := m.take(t.r)
	to := t.freshKey(s)
	if len(m.dead) > 0 && t.r.IntN(2) == 0 {
		last := len(m.dead) - 1
		to, m.dead = m.dead[last], m.dead[:last]
	}
	t.move(s, from, to, t.r.IntN(2) == 0)
	m.bury(from)
	m.live = append(m.live, to)
}

func (t *transaction) move(s *shape, from, to key, more bool) {
	var sets []string
	for i, c := range s.key {
		sets = append(sets, c.name+" = "+to[i])
	}
	if more {
		c := s.columns[t.r.IntN(len(s.columns))]
		sets = append(sets, c.name+" = "+c.draw(t.r))
	}
	t.say("UPDATE %s SET %s WHERE %s", t.w.table(s), strings.Join(sets, ", "), s.is(from))
}

// swapKeys exchanges the keys of two rows by way of a third.
func (t *transaction) swapKeys(s *shape, m *tableModel) {
	two := t.some(m, 2)
	aside := t.freshKey(s)
	t.move(s, two[0], aside, false)
	t.move(s, two[1], two[0], t.r.IntN(2) == 0)
	t.move(s, aside, two[1], false)
}

func (t *transaction) delete(s *shape, m *tableModel, keys []key) {
	t.say("DELETE FROM %s WHERE %s", t.w.table(s), s.is(keys...))
	for _, k := range keys {
		m.live = slices.DeleteFunc(m.live, func(l key) bool { return slices.Equal(l, k) })
		m.bury(k)
	}
}

// truncate empties a table, at times together with a second one.
func (t *transaction) truncate(i int) {
	places := []int{i}
	if second := t.r.IntN(len(shapes)); second != i && t.r.IntN(2) == 0 {
		places = append(places, second)
	}
	var names []string
	for _, p := range places {
		names = append(names, t.w.table(shapes[p]))
		m := &t.model.tables[p]
		for _, k := range m.live {
			m.bury(k)
		}
		m.live = nil
	}
	t.say("TRUNCATE %s", strings.Join(names, ", "))
}
