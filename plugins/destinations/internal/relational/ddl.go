package relational

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	pdk "github.com/leat-etl/leat/pdk/go"
)

// change is what brings a target to what a table wants, from what it is now.
type change struct {
	// create makes a table that is not there, evolution changes one that is;
	// rekey follows either.
	create    []string
	evolution *evolution
	rekey     []string
	// adopted: the target is of a later version of the table. Rows go to the
	// columns as they are now, and evolution only adds what none has brought.
	adopted bool
	// noted: Leat's own tables already say what the target becomes.
	noted bool
}

// changeOf decides what a table's target needs, and settles the names and
// types in t.
func (d *Destination) changeOf(t *table) (*change, error) {
	t.columns, t.foreign = slices.Clone(t.wanted), nil
	l, err := d.layout(t)
	if err != nil {
		return nil, err
	}
	if len(l.columns) == 0 {
		schema, err := d.createSchema(t.schema)
		return &change{create: append(schema, d.createTable(t)...)}, err
	}
	if t.version < l.version {
		c := d.fit(t, l)
		if c == nil {
			return nil, schemaError("rows of version %d of %s.%s do not fit into %s, which has gone on to version %d", t.version, t.source.Schema, t.source.Name, t.quoted(), l.version)
		}
		t.foreign = d.foreign(t, l)
		return c, d.adoptOwn(t)
	}
	c := &change{}
	foreign := d.foreign(t, l)
	if c.evolution, err = d.evolve(t, l); err != nil {
		return nil, err
	}
	t.foreign = slices.DeleteFunc(foreign, func(c present) bool {
		return slices.ContainsFunc(t.columns, func(own column) bool { return d.dialect.fold(own.name) == d.dialect.fold(c.name) })
	})
	_, spared := l.find(d.dialect, d.config.MetadataPrefix+"id")
	c.rekey, err = d.rekey(t, t.keyless() || spared, c.evolution.renamed)
	c.noted = l.version == t.version && c.evolution.recorded()
	return c, err
}

// fit lets a table write into a target of a later version, nil if it cannot. A
// column that has been renamed since is found by its ID. One that was not in any
// row that came is added: it was withheld, or is one that a transform makes now.
func (d *Destination) fit(t *table, l *layout) *change {
	e := &evolution{d: d, t: t, l: l, own: maps.Clone(l.own), gone: maps.Clone(l.gone)}
	columns := slices.Clone(t.columns)
	for i := range columns {
		c := &columns[i]
		name, known := l.own[c.id]
		if known && c.id > 0 {
			c.name = name
		}
		is, ok := l.find(d.dialect, c.name)
		switch {
		case !ok && !known:
			e.alter("ADD COLUMN %s %s", Quote(c.name), c.mapping.Type)
			if c.id > 0 {
				e.own[c.id] = c.name
			}
		case !ok, !known && c.id > 0: // somebody has dropped it, or it has the name of another one
			return nil
		case strings.EqualFold(is.typ, c.mapping.Type):
		case d.dialect.Widens(c.mapping.Type, is.typ) || strings.EqualFold(is.typ, d.dialect.Text):
			c.keep(is.typ, d.dialect)
		default:
			return nil
		}
	}
	t.columns = columns
	if len(e.arrivals) == 0 {
		return &change{adopted: true}
	}
	return &change{adopted: true, evolution: e}
}

// statements are those that change the target, for people.
func (c *change) statements() []string {
	out := slices.Clone(c.create)
	if c.evolution != nil {
		out = append(out, c.evolution.statements()...)
	}
	return append(out, c.rekey...)
}

// alters says that the change is more than new values of rows.
func (c *change) alters() bool {
	return len(c.create)+len(c.rekey) > 0 || c.evolution != nil && len(c.evolution.moves)+len(c.evolution.arrivals) > 0
}

// record is the SQL that notes what the target has become.
func (d *Destination) recordOf(t *table, c *change) string {
	switch {
	case c.adopted && c.evolution == nil:
		return ""
	case c.evolution == nil:
		return d.remember(t, t.ids(), nil)
	case c.evolution.recorded():
		return ""
	}
	return d.remember(t, c.evolution.own, c.evolution.gone)
}

// createSchema returns the statement that makes a schema, none if it exists:
// IF NOT EXISTS would ask for the right to make one all the same.
func (d *Destination) createSchema(name string) ([]string, error) {
	there, err := d.has(name, "")
	if err != nil || there {
		return nil, err
	}
	return []string{"CREATE SCHEMA IF NOT EXISTS " + Quote(name)}, nil
}

func (d *Destination) createTable(t *table) []string {
	var lines []string
	for _, c := range t.columns {
		line := Quote(c.name) + " " + c.mapping.Type
		if c.key && t.keyLater {
			line += " NOT NULL"
		}
		lines = append(lines, line)
	}
	for _, a := range d.added(t) {
		lines = append(lines, Quote(a.name)+" "+a.typ+a.suffix)
	}
	delete(d.unkeyed, t.quoted())
	delete(d.apart, t.quoted())
	t.ownKey = ""
	switch {
	case t.keyLater:
		d.keep(t)
	case !d.hasKey(t):
	case !t.nullableKey:
		lines = append(lines, "PRIMARY KEY ("+t.keyList("")+")")
	}
	out := []string{fmt.Sprintf("CREATE TABLE %s (%s)", t.quoted(), strings.Join(lines, ", "))}
	if d.hasKey(t) && t.nullableKey {
		out = append(out, d.index(t, false).create(d, t))
	}
	return out
}

// hasKey says that the target has a physical key.
func (d *Destination) hasKey(t *table) bool {
	return d.dialect.PhysicalKey && d.hasState(t)
}

// existing returns the target's columns by folded name, none if it does not
// exist.
func (d *Destination) existing(t *table) (map[string]string, error) {
	rows, err := pdk.Query(d.dialect.Columns(t.schema, t.name))
	if err != nil {
		return nil, fmt.Errorf("read columns of %s: %w", t.quoted(), err)
	}
	have := map[string]string{}
	for _, r := range rows.Rows {
		have[d.dialect.fold(*r[0])] = *r[1]
	}
	return have, nil
}

// keyList is the key's columns with a prefix, separated by commas.
func (t *table) keyList(prefix string) string {
	names := make([]string, len(t.key))
	for i, k := range t.key {
		names[i] = prefix + Quote(t.columns[k].name)
	}
	return strings.Join(names, ", ")
}

// schemaError is a failure that an operator has to mend; the text says how.
func schemaError(format string, args ...any) error {
	return &pdk.SQLError{Class: pdk.ClassSchema, Message: fmt.Sprintf(format, args...)}
}

// prepare makes the target of a table ready for rows: it runs the DDL, once
// for each time that the target was changed, and begins the transaction of the
// rows. It looks at the target again: another version or a rollback may have
// come between.
func (d *Destination) prepare(t *table, b *pdk.WriteBatch) error {
	if t.seen != d.changed[d.target(t)] {
		t.ready = planned
	}
	if t.ready == planned {
		if wait, err := d.refuseLost(t, b); err != nil || wait {
			return err
		}
	}
	if d.dialect.SeparateDDL {
		if err := d.prepareApart(t, b); err != nil || b.Rows == 0 && !(t.owes && t.ready == planned && b.IsChange()) {
			return err // a transaction begins with rows: until then other tables can change
		}
	}
	if err := d.begin(); err != nil || t.ready != planned {
		return err
	}
	if !d.dialect.SeparateDDL {
		d.keyAfterLoad(t, b)
		if u := d.unkeyed[t.quoted()]; u != nil && !u.made && (t.keyless() || !slices.Equal(u.table.keyNames(), t.keyNames())) {
			if err := d.makeKey(u.table); err != nil {
				return err
			}
		}
	}
	c, err := d.changeOf(t)
	if err != nil {
		return err
	}
	if err := d.run(t, c.statements()...); err != nil {
		return err
	}
	if u := d.unkeyed[t.quoted()]; u != nil && t.nullableKey {
		u.made = true // an index stands in its place
	}
	if err := d.note(t, c); err != nil {
		return err
	}
	if t.keyless() || c.create != nil {
		d.shared[t.quoted()] = t.keyless()
	}
	if c.create != nil {
		d.made(t)
	}
	d.settled(t, len(c.statements()) > 0)
	t.ready = inTransaction
	d.pending = append(d.pending, t)
	return nil
}

// settled notes that t fits its target, which was changed or not.
func (d *Destination) settled(t *table, changed bool) {
	if changed {
		d.changed[d.target(t)]++
	}
	t.seen = d.changed[d.target(t)]
}

// note records in the current transaction what the target is. One of a later
// version stays that.
func (d *Destination) note(t *table, c *change) error {
	if sql := d.recordOf(t, c); sql != "" {
		if err := d.run(t, sql); err != nil {
			return err
		}
	}
	if c.adopted {
		return nil
	}
	if c.create != nil {
		if err := d.loseOthers(t); err != nil {
			return err
		}
	}
	return d.recordSchema(t)
}

func (d *Destination) run(t *table, statements ...string) error {
	for _, s := range statements {
		var err error
		if d.dialect.PhysicalKey && s == t.addKey() {
			err = d.makeKey(t)
		} else {
			_, err = pdk.Exec(s)
		}
		if err != nil {
			return fmt.Errorf("change %s to version %d: %w", t.quoted(), t.version, err)
		}
	}
	return nil
}

// changeApart runs the DDL of a table outside the transaction of the rows. If
// that has begun it is taken back: Rollback runs the DDL then, and the rows
// come again. What an evolution does to rows that are there is left to the
// transaction, and so is the note of one that alters nothing, or was cut off
// after that: rows of the version before may still come in it.
func (d *Destination) changeApart(t *table) error {
	c, err := d.changeOf(t)
	if err != nil {
		return err
	}
	t.owes = c.evolution != nil && (c.evolution.fill() != "" || !c.alters() && !c.noted)
	if !c.alters() {
		d.settled(t, false)
		return nil
	}
	if d.inTx {
		d.owed = append(d.owed, t)
		return &pdk.SQLError{Class: pdk.ClassConnection, Message: "table " + t.quoted() + " is changed before rows are written: the delivery is made again"}
	}
	if c.evolution == nil {
		return d.makeTables([]creation{{t, c}})
	}
	if err := d.evolveApart(t, c); err != nil {
		return err
	}
	if !t.owes {
		if err := d.alone(func() error { return d.note(t, c) }); err != nil {
			return err
		}
	}
	if err := d.run(t, "CHECKPOINT"); err != nil {
		return err
	}
	d.settled(t, true)
	return nil
}

// evolveApart runs the steps of an evolution so that the next attempt can go
// on after any of them.
func (d *Destination) evolveApart(t *table, c *change) error {
	e := c.evolution
	if len(e.moves) > 0 {
		if err := d.checkpointed(t, e.moves); err != nil {
			return err
		}
		if err := d.alone(func() error { return d.run(t, d.remember(t, e.between, e.l.gone)) }); err != nil {
			return err
		}
	}
	return d.checkpointed(t, append(slices.Clone(e.arrivals), c.rekey...))
}

// checkpointed runs every statement alone between two checkpoints.
func (d *Destination) checkpointed(t *table, statements []string) error {
	for _, s := range statements {
		if err := d.run(t, "CHECKPOINT", s, "CHECKPOINT"); err != nil {
			return err
		}
	}
	return nil
}

// alone runs what is no DDL in a transaction of its own.
func (d *Destination) alone(work func() error) error {
	if err := pdk.Begin(); err != nil {
		return err
	}
	if err := work(); err != nil {
		return errors.Join(err, pdk.RollbackSQL())
	}
	return pdk.CommitSQL()
}

// payOwed runs the DDL that transactions with rows were taken back for.
func (d *Destination) payOwed() error {
	d.asked, d.owed = append(d.asked, d.owed...), nil
	return d.makeAsked()
}
