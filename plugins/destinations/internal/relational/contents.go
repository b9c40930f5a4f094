package relational

import (
	"fmt"

	pdk "github.com/leat-etl/leat/pdk/go"
)

// contents is what is known of the rows of a target without a physical key,
// so that rows which can meet no other of their key are inserted without a
// look for it. What is known stays true when a transaction is rolled back.
type contents struct {
	// loading: the target was empty, and all that has come since is Reads of
	// one load, whose keys differ.
	loading bool
	// unmarked: no row is marked as deleted.
	unmarked bool
	database string
}

// contents looks at a target once.
func (d *Destination) contents(t *table) (*contents, error) {
	name := t.quoted()
	if c := d.known[name]; c != nil {
		return c, nil
	}
	none := func(where string) (bool, error) {
		rows, err := pdk.Query(fmt.Sprintf("SELECT 1 FROM %s%s LIMIT 1", name, where))
		if err != nil {
			return false, fmt.Errorf("look into %s: %w", name, err)
		}
		return len(rows.Rows) == 0, nil
	}
	c := &contents{database: t.source.Database}
	var err error
	if c.loading, err = none(""); err != nil {
		return nil, err
	}
	if c.unmarked = c.loading || t.meta.marked == ""; !c.unmarked {
		if c.unmarked, err = none(" WHERE " + Quote(t.meta.marked)); err != nil {
			return nil, err
		}
	}
	d.known[name] = c
	return c, nil
}

// meetsNone says that no row of the batch can have the key of a row that is
// at the target, and notes what the batch leaves there.
func (w *writing) meetsNone() (bool, error) {
	if w.dialect.PhysicalKey || !w.config.insertsAreNew() {
		return false, nil
	}
	c, err := w.contents(w.table)
	if err != nil {
		return false, err
	}
	if w.batch.Has("IUDKT") || (c.database != w.table.source.Database && w.table.ownRows("x") == "") {
		c.loading = false
	}
	if w.batch.Has("DT") && w.table.meta.marked != "" {
		c.unmarked = false
	}
	if w.batch.Has("UDKT") {
		return false, nil
	}
	return len(w.batch.Absent) == 0 && c.unmarked && (c.loading || !w.batch.Has("R")), nil
}
