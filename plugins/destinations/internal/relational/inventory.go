package relational

import (
	"fmt"

	pdk "github.com/leat-etl/leat/pdk/go"
)

// inventory is which schemas and tables there are, by folded name. A database
// of thousands of tables is asked once for all that a transaction meets, not
// once for each: DuckDB goes through its whole catalogue every time.
type inventory struct {
	// there has what was found. A name that it lacks is not there, if all says
	// that everything was listed.
	there map[string]bool
	all   bool
}

// mostListed is the size up to which a database is listed. In a larger one each
// name is asked for.
const mostListed = 50_000

func (d *Destination) place(schema, table string) string {
	return d.dialect.fold(schema) + "." + d.dialect.fold(table)
}

// has says whether there is a table, or with an empty name whether there is a
// schema. What it knows it forgets at the end of the transaction: others make
// tables, too.
func (d *Destination) has(schema, table string) (bool, error) {
	if d.inventory == nil {
		if err := d.list(); err != nil {
			return false, err
		}
	}
	there := d.inventory.there[d.place(schema, table)]
	if there || d.inventory.all {
		return there, nil
	}
	is := func(column, name string) string {
		if d.dialect.FoldsCase {
			column = "lower(" + column + ")"
		}
		return column + " = " + Literal(d.dialect.fold(name))
	}
	rows, err := pdk.Query(fmt.Sprintf(`SELECT 1 FROM (%s) AS n WHERE %s AND %s`, d.dialect.Names, is(`"schema"`, schema), is(`"name"`, table)))
	if err != nil {
		return false, fmt.Errorf("look for %s.%s: %w", Quote(schema), Quote(table), err)
	}
	return len(rows.Rows) > 0, nil
}

func (d *Destination) list() error {
	rows, err := pdk.Query(fmt.Sprintf(`SELECT "schema", "name" FROM (%s) AS n LIMIT %d`, d.dialect.Names, mostListed+1))
	if err != nil {
		return fmt.Errorf("list tables: %w", err)
	}
	d.inventory = &inventory{there: make(map[string]bool, len(rows.Rows)), all: len(rows.Rows) <= mostListed}
	for _, r := range rows.Rows {
		d.inventory.there[d.place(*r[0], *r[1])] = true
	}
	return nil
}

// made notes a table that this transaction has made.
func (d *Destination) made(t *table) {
	if d.inventory != nil {
		d.inventory.there[d.place(t.schema, "")] = true
		d.inventory.there[d.place(t.schema, t.name)] = true
	}
}
