package relational

import (
	"errors"
	"fmt"

	pdk "github.com/leat-etl/leat/pdk/go"
)

// unkeyed is a target that a first load fills before its primary key is made:
// one sort at the end costs far less than a place in the index for each row.
// Only Reads of one load, whose keys differ, go into it meanwhile.
type unkeyed struct {
	table    *table
	database string
	// made: the current transaction has made the key.
	made bool
}

// keyAfterLoad decides, before the table of the batch is made, whether its key
// can wait. Until then the key's columns are NOT NULL as they will be.
func (d *Destination) keyAfterLoad(t *table, b *pdk.WriteBatch) {
	t.keyLater = d.hasKey(t) && !t.nullableKey && d.onlyReads(t, b)
}

// onlyReads says that the rows of the batch differ in their keys from each
// other and from all others that a first load has.
func (d *Destination) onlyReads(t *table, b *pdk.WriteBatch) bool {
	if b.Rows == 0 || b.Has("IUDKT") || len(b.Absent) > 0 {
		return false
	}
	u := d.unkeyed[t.quoted()]
	return u == nil || u.database == t.source.Database || t.ownRows(" ") != ""
}

// keep notes that a table is made without its key.
func (d *Destination) keep(t *table) {
	d.unkeyed[t.quoted()] = &unkeyed{table: t, database: t.source.Database}
}

// lacksKey says whether the target has no key yet. Where the batch needs one,
// or is the empty one that ends a load, it is made now.
func (d *Destination) lacksKey(t *table, b *pdk.WriteBatch) (bool, error) {
	u := d.unkeyed[t.quoted()]
	if u == nil || u.made {
		return false, nil
	}
	if d.onlyReads(t, b) {
		return true, nil
	}
	return false, d.makeKey(t)
}

func (t *table) addKey() string {
	return fmt.Sprintf("ALTER TABLE %s ADD PRIMARY KEY (%s)", t.quoted(), t.keyList(""))
}

// makeKey adds the primary key. Rows of one key can be there where a
// transform gives several rows of a load one key: then the last of them
// stays, as it would have with a key from the start.
func (d *Destination) makeKey(t *table) error {
	if _, err := pdk.Exec("SAVEPOINT leat_key"); err != nil {
		return err
	}
	_, err := pdk.Exec(t.addKey())
	var failure *pdk.SQLError
	if errors.As(err, &failure) && failure.Code == uniqueViolation {
		err = d.makeKeyOfLast(t, err)
	}
	if err == nil {
		_, err = pdk.Exec("RELEASE SAVEPOINT leat_key")
	}
	if err != nil {
		return fmt.Errorf("make the primary key of %s: %w", t.quoted(), err)
	}
	if u := d.unkeyed[t.quoted()]; u != nil {
		u.made = true
	}
	return nil
}

// makeKeyOfLast removes all but the last row of each key of a load. Rows that
// came in another way are nobody's to remove: they keep the failure.
func (d *Destination) makeKeyOfLast(t *table, failure error) error {
	if _, err := pdk.Exec("ROLLBACK TO SAVEPOINT leat_key"); err != nil {
		return err
	}
	if t.meta.op == "" {
		return failure
	}
	others, err := pdk.Query(fmt.Sprintf("SELECT 1 FROM %s WHERE %s IS DISTINCT FROM 'R' LIMIT 1", t.quoted(), Quote(t.meta.op)))
	if err != nil || len(others.Rows) > 0 {
		return errors.Join(failure, err)
	}
	_, err = pdk.Exec(fmt.Sprintf("DELETE FROM %[1]s AS a USING %[1]s AS b WHERE (%[2]s) = (%[3]s) AND a.ctid < b.ctid", t.quoted(), t.keyList("a."), t.keyList("b.")))
	if err == nil {
		_, err = pdk.Exec(t.addKey())
	}
	return err
}

// settleKeys notes how the transaction of new keys has ended.
func (d *Destination) settleKeys(committed bool) {
	for name, u := range d.unkeyed {
		if u.made && committed {
			delete(d.unkeyed, name)
		}
		u.made = false
	}
}
