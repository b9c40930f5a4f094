package relational

import (
	"fmt"
	"strconv"

	pdk "github.com/leat-etl/leat/pdk/go"
)

// A target that somebody has dropped is not made again for the rows that come
// next: those that came before would be missing without a word. Only a TRUNCATE
// makes it, which is also how a load that starts anew begins. Tables of other
// databases that land there as well are lost with it, until they begin anew, too.

// recordedSource is a table that lands in a target.
type recordedSource struct{ pipeline, source string }

// lostVersion is recorded for a table whose target was made again without its
// rows.
const lostVersion = 0

func (d *Destination) readRecorded() error {
	rows, err := pdk.Query(fmt.Sprintf(`SELECT "target", "pipeline", "source", "version" FROM %s`, d.schemas()))
	if err != nil {
		return fmt.Errorf("read schemas: %w", err)
	}
	d.recorded = map[string]map[recordedSource]uint64{}
	for _, r := range rows.Rows {
		version, err := strconv.ParseUint(*r[3], 10, 64)
		if err != nil {
			return fmt.Errorf("version of %s: %w", *r[0], err)
		}
		d.recordAs(*r[0], recordedSource{*r[1], *r[2]}, version)
	}
	return nil
}

func (d *Destination) recordAs(target string, s recordedSource, version uint64) {
	if d.recorded[target] == nil {
		d.recorded[target] = map[recordedSource]uint64{}
	}
	d.recorded[target][s] = version
}

// hasRecorded notes what the current transaction has recorded of t.
func (d *Destination) hasRecorded(t *table) {
	if d.recorded != nil {
		d.recordAs(d.target(t), recordedSource{d.pipeline, t.sourceName()}, t.version)
	}
}

// lost says that rows of the table came before and are not there any more.
func (d *Destination) lost(t *table) (bool, error) {
	if d.recorded == nil {
		if err := d.readRecorded(); err != nil {
			return false, err
		}
	}
	version, known := d.recorded[d.target(t)][recordedSource{d.pipeline, t.sourceName()}]
	if !known || version == lostVersion {
		return known, nil
	}
	there, err := d.has(t.schema, t.name)
	return !there, err
}

// refuseLost refuses rows of a table that is lost. wait: the batch has none.
func (d *Destination) refuseLost(t *table, b *pdk.WriteBatch) (wait bool, err error) {
	lost, err := d.lost(t)
	switch {
	case err != nil || !lost || b.IsTruncate():
		return false, err
	case b.Rows == 0:
		return true, nil
	}
	return false, schemaError("the rows of %s.%s that came before are not in %s any more: put that back as it was, or load the table again with leat objects restart", t.source.Schema, t.source.Name, t.quoted())
}

// loseOthers records that a target is made without the rows of other tables that
// were there.
func (d *Destination) loseOthers(t *table) error {
	own := recordedSource{d.pipeline, t.sourceName()}
	for s, version := range d.recorded[d.target(t)] {
		if s == own || version == lostVersion {
			continue
		}
		if _, err := pdk.Exec(fmt.Sprintf(`UPDATE %s SET "version" = %d WHERE "pipeline" = %[3]s AND "target" = %[4]s AND "source" = %[5]s; DELETE FROM %[6]s WHERE "pipeline" = %[3]s AND "target" = %[4]s AND "source" = %[5]s`,
			d.schemas(), lostVersion, Literal(s.pipeline), Literal(d.target(t)), Literal(s.source), d.record())); err != nil {
			return fmt.Errorf("record that %s was made again: %w", t.quoted(), err)
		}
		d.recordAs(d.target(t), s, lostVersion)
	}
	return nil
}
