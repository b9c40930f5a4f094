package relational

import (
	"fmt"
	"strings"

	pdk "github.com/leat-etl/leat/pdk/go"
)

// ddl returns the statements that bring the target to what t wants, from what
// it is now. Where the target has a wider type than t wants, t takes it.
func (d *Destination) ddl(t *table) ([]string, error) {
	have, err := d.existing(t)
	if err != nil {
		return nil, err
	}
	if len(have) == 0 {
		schema, err := d.createSchema(t.schema)
		return append(schema, d.createTable(t)...), err
	}
	var out []string
	for i := range t.columns {
		statement, err := d.evolve(t, &t.columns[i], have)
		if err != nil {
			return nil, err
		}
		if statement != "" {
			out = append(out, statement)
		}
	}
	for _, a := range d.added(t) {
		if have[d.dialect.fold(a.name)] == "" {
			out = append(out, fmt.Sprintf("ALTER TABLE %s ADD COLUMN %s %s%s", t.quoted(), Quote(a.name), a.typ, a.suffix))
		}
	}
	rekey, err := d.rekey(t, t.keyless() || have[d.dialect.fold(d.config.MetadataPrefix+"id")] != "")
	return append(out, rekey...), err
}

// createSchema returns the statement that makes a schema, none if it exists:
// IF NOT EXISTS would ask for the right to make one all the same.
func (d *Destination) createSchema(name string) ([]string, error) {
	rows, err := pdk.Query(d.dialect.HasSchema(name))
	if err != nil {
		return nil, fmt.Errorf("look for schema %q: %w", name, err)
	}
	if len(rows.Rows) > 0 {
		return nil, nil
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
	switch {
	case t.keyLater:
		d.keep(t)
	case !d.hasKey(t):
	case !t.nullableKey:
		lines = append(lines, "PRIMARY KEY ("+t.keyList("")+")")
	}
	out := []string{fmt.Sprintf("CREATE TABLE %s (%s)", t.quoted(), strings.Join(lines, ", "))}
	if d.hasKey(t) && t.nullableKey {
		out = append(out, keyIndex{columns: t.keyNames(), nullable: true}.create(d, t))
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

// evolve returns the statement for one column that is missing or has another
// type.
func (d *Destination) evolve(t *table, c *column, have map[string]string) (string, error) {
	is, want := have[d.dialect.fold(c.name)], c.mapping.Type
	switch {
	case is == "":
		return fmt.Sprintf("ALTER TABLE %s ADD COLUMN %s %s", t.quoted(), Quote(c.name), want), nil
	case strings.EqualFold(is, want):
		return "", nil
	case d.dialect.Widens(want, is):
		c.mapping.Type = is
		return "", nil
	case d.dialect.Widens(is, want):
		return fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s TYPE %s", t.quoted(), Quote(c.name), want), nil
	}
	return "", schemaError("column %q of %s has type %s, the source now needs %s, and neither holds every value of the other: run ALTER TABLE %s ALTER COLUMN %s TYPE %s, or rename the table and restart the object",
		c.name, t.quoted(), is, want, t.quoted(), Quote(c.name), d.dialect.Text)
}

// schemaError is a failure that an operator has to mend; the text says how.
func schemaError(format string, args ...any) error {
	return &pdk.SQLError{Class: pdk.ClassSchema, Message: fmt.Sprintf(format, args...)}
}

// prepare makes the target of a table ready for rows, once: it runs the DDL
// and begins the transaction of the rows. It looks at the target again:
// another version or a rollback may have come between.
func (d *Destination) prepare(t *table, b *pdk.WriteBatch) error {
	if d.dialect.SeparateDDL && t.ready == planned {
		if err := d.changeApart(t); err != nil || b.Rows == 0 {
			return err
		}
	}
	if err := d.begin(); err != nil || t.ready != planned {
		return err
	}
	if !d.dialect.SeparateDDL {
		d.keyAfterLoad(t, b)
		if u := d.unkeyed[t.quoted()]; u != nil && !u.made && t.keyless() {
			if err := d.makeKey(u.table); err != nil {
				return err
			}
		}
		statements, err := d.ddl(t)
		if err == nil {
			err = d.change(t, statements)
		}
		if err != nil {
			return err
		}
	}
	if err := d.recordSchema(t); err != nil {
		return err
	}
	if t.keyless() {
		d.shared[t.quoted()] = true
	}
	t.ready = inTransaction
	d.pending = append(d.pending, t)
	return nil
}

func (d *Destination) change(t *table, statements []string) error {
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
// come again.
func (d *Destination) changeApart(t *table) error {
	statements, err := d.ddl(t)
	if err != nil || len(statements) == 0 {
		return err
	}
	if d.inTx {
		d.owed = append(d.owed, t)
		return &pdk.SQLError{Class: pdk.ClassConnection, Message: "table " + t.quoted() + " is changed before rows are written: the delivery is made again"}
	}
	return d.change(t, append(append([]string{"CHECKPOINT"}, statements...), "CHECKPOINT"))
}

// payOwed runs the DDL that transactions with rows were taken back for.
func (d *Destination) payOwed() error {
	owed := d.owed
	d.owed = nil
	for _, t := range owed {
		if err := d.changeApart(t); err != nil {
			return err
		}
	}
	return nil
}

// keyList is the key's columns with a prefix, separated by commas.
func (t *table) keyList(prefix string) string {
	names := make([]string, len(t.key))
	for i, k := range t.key {
		names[i] = prefix + Quote(t.columns[k].name)
	}
	return strings.Join(names, ", ")
}
