package relational

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	pdk "github.com/leat-etl/leat/pdk/go"
)

// layout is a target as it stands, and which column of which source each of
// its columns is.
type layout struct {
	columns []present
	// own maps the identity of a column of the source to the name that it has
	// here; owner is the same by folded name.
	own   map[int]string
	owner map[string]int
	// gone are the columns in own that the source has dropped.
	gone map[int]bool
	// inherited says that own is not as it is noted.
	inherited bool
	// shared says that rows of other sources are here as well.
	shared bool
	// version is the last of this source that the target was changed for.
	version uint64
}

// present is a column of the target.
type present struct{ name, typ string }

// find returns the column called name.
func (l *layout) find(d *Dialect, name string) (present, bool) {
	i := slices.IndexFunc(l.columns, func(c present) bool { return d.fold(c.name) == d.fold(name) })
	if i < 0 {
		return present{}, false
	}
	return l.columns[i], true
}

// record is where Leat notes which column of the target is which of a source.
func (d *Destination) record() string { return Quote(d.config.Schema) + "." + Quote("__leat_columns") }

var escapeDatabase = strings.NewReplacer("%", "%25", "/", "%2F")

// source names the table behind t in Leat's own tables: database/schema.table,
// with no slash in the name of the database.
func (t *table) sourceName() string {
	return escapeDatabase.Replace(t.source.Database) + "/" + t.source.Schema + "." + t.source.Name
}

// target names the table in Leat's own tables.
func (d *Destination) target(t *table) string { return d.place(t.schema, t.name) }

// layout reads the target; it has no columns if there is none.
func (d *Destination) layout(t *table) (*layout, error) {
	l := &layout{own: map[int]string{}, owner: map[string]int{}, gone: map[int]bool{}}
	there, err := d.has(t.schema, t.name)
	if err != nil || !there {
		return l, err
	}
	rows, err := pdk.Query(d.dialect.Columns(t.schema, t.name))
	if err != nil {
		return nil, fmt.Errorf("read columns of %s: %w", t.quoted(), err)
	}
	for _, r := range rows.Rows {
		l.columns = append(l.columns, present{*r[0], *r[1]})
	}
	if len(l.columns) == 0 {
		return l, nil
	}
	rows, err = pdk.Query(fmt.Sprintf(`SELECT "pipeline", "source", "version" FROM %s WHERE "target" = %s`, d.schemas(), Literal(d.target(t))))
	if err != nil {
		return nil, fmt.Errorf("read schemas of %s: %w", t.quoted(), err)
	}
	for _, r := range rows.Rows {
		if *r[0] != d.pipeline || *r[1] != t.sourceName() {
			l.shared = true
			continue
		}
		if l.version, err = strconv.ParseUint(*r[2], 10, 64); err != nil {
			return nil, fmt.Errorf("version of %s: %w", t.quoted(), err)
		}
	}
	rows, err = pdk.Query(fmt.Sprintf(`SELECT "pipeline", "source", "id", "name", CASE WHEN "dropped" THEN 1 ELSE 0 END FROM %s WHERE "target" = %s`, d.record(), Literal(d.target(t))))
	if err != nil {
		return nil, fmt.Errorf("read recorded columns of %s: %w", t.quoted(), err)
	}
	for _, r := range rows.Rows {
		if *r[0] != d.pipeline || *r[1] != t.sourceName() {
			continue
		}
		id, err := strconv.Atoi(*r[2])
		if err != nil {
			return nil, fmt.Errorf("recorded column of %s: %w", t.quoted(), err)
		}
		l.own[id], l.gone[id] = *r[3], *r[4] == "1"
	}
	l.inherit(d.dialect, t)
	l.settle(d.dialect)
	return l, nil
}

// identity is a column of the source, whichever relation had it: the number of
// a column alone is also that of another one in a table that was dropped and
// made again.
func identity(relation uint32, number int) int {
	if number == 0 {
		return 0
	}
	return int(relation)<<numberBits | number
}

// numberBits is more than a number in pg_attribute has.
const numberBits = 16

// parts are what identity was made of.
func parts(id int) (relation uint32, number int) {
	return uint32(id >> numberBits), id & (1<<numberBits - 1)
}

// inherit lets a table that was made again under its name have the columns of
// the one before, by their names. Those that it has not stay known as dropped.
func (l *layout) inherit(d *Dialect, t *table) {
	names := map[string]int{}
	for _, c := range t.wanted {
		names[d.fold(c.name)] = c.id
	}
	for id, name := range l.own {
		relation, number := parts(id)
		if relation == t.relation {
			continue
		}
		heir := names[d.fold(name)]
		if relation == 0 { // noted by a Leat that did not know relations apart
			heir = identity(t.relation, number)
		} else if l.gone[id] {
			continue
		}
		if _, known := l.own[heir]; heir == 0 || known {
			continue
		}
		l.own[heir], l.gone[heir] = name, l.gone[id]
		delete(l.own, id)
		delete(l.gone, id)
		l.inherited = true
	}
}

// settle takes up moves that a crash has cut off: a column stands under the
// name of its way.
func (l *layout) settle(d *Dialect) {
	for id := range l.own {
		if c, ok := l.find(d, moving(id)); ok {
			l.own[id] = c.name
		}
	}
	for id, name := range l.own {
		l.owner[d.fold(name)] = id
	}
}

// moving is the name of a column whose old or new name another one still has.
func moving(id int) string { return "__leat_moving_" + strconv.Itoa(id) }

// aside is the name of a column that the source has dropped and whose name a
// later one has taken.
func (l *layout) aside(d *Dialect, name string, id int) string {
	relation, number := parts(id)
	short := Name(fmt.Sprintf("%s_dropped_%d", name, number))
	if other, taken := l.owner[d.fold(short)]; taken && other != id {
		return Name(fmt.Sprintf("%s_dropped_%d_%d", name, relation, number))
	}
	return short
}

// remember is the SQL that notes what the columns of the target are. Columns
// that the source has dropped stay noted.
func (d *Destination) remember(t *table, own map[int]string, gone map[int]bool) string {
	where := fmt.Sprintf(`"pipeline" = %s AND "target" = %s AND "source" = %s`, Literal(d.pipeline), Literal(d.target(t)), Literal(t.sourceName()))
	sql := fmt.Sprintf("DELETE FROM %s WHERE %s", d.record(), where)
	ids := make([]int, 0, len(own))
	for id := range own {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for i, id := range ids {
		separator := ", "
		if i == 0 {
			separator = fmt.Sprintf(`; INSERT INTO %s ("pipeline", "target", "source", "id", "name", "dropped") VALUES `, d.record())
		}
		sql += fmt.Sprintf("%s(%s, %s, %s, %d, %s, %t)", separator, Literal(d.pipeline), Literal(d.target(t)), Literal(t.sourceName()), id, Literal(own[id]), gone[id])
	}
	return sql
}
