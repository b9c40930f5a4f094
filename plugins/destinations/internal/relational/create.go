package relational

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	pdk "github.com/leat-etl/leat/pdk/go"
)

// Where tables are changed apart from rows, an empty batch asks for a table and
// all that were asked for are made together before the next rows: a checkpoint
// writes what the database knows of every table it has.

// creation is a table that is to be made.
type creation struct {
	table  *table
	change *change
}

// prepareApart brings a table up to date outside the transaction of the rows. A
// table that is only asked for, by an empty batch, is made with the others.
func (d *Destination) prepareApart(t *table, b *pdk.WriteBatch) error {
	if b.Rows > 0 {
		if err := d.makeAsked(); err != nil {
			return err
		}
	}
	if t.ready != planned || t.seen == d.changed[d.target(t)] {
		return nil
	}
	if b.Rows == 0 && !d.inTx {
		if slices.Contains(d.asked, t) {
			return nil
		}
		there, err := d.has(t.schema, t.name)
		if err != nil {
			return err
		}
		if !there {
			d.asked = append(d.asked, t)
			return nil
		}
	}
	return d.changeApart(t)
}

// makeAsked makes the tables that were asked for. Of two that land in one, as
// tables of several databases may, the second changes what the first has made.
func (d *Destination) makeAsked() error {
	for len(d.asked) > 0 {
		var all []creation
		targets := map[string]bool{}
		var later []*table
		for _, t := range d.asked {
			if targets[d.target(t)] {
				later = append(later, t)
				continue
			}
			targets[d.target(t)] = true
			c, err := d.changeOf(t)
			if err != nil {
				return err
			}
			if c.create == nil { // somebody has made it
				later = append(later, t)
				continue
			}
			all = append(all, creation{t, c})
		}
		if len(all) == 0 {
			d.asked = nil
			for _, t := range later {
				if err := d.changeApart(t); err != nil {
					return err
				}
			}
			return nil
		}
		if err := d.makeTables(all); err != nil {
			return err
		}
		d.asked = later
	}
	return nil
}

// makeTables makes tables in one transaction between two checkpoints, and notes
// them in another. A table that a crash leaves without its note is taken up as
// one that was there.
func (d *Destination) makeTables(all []creation) error {
	first := all[0].table
	if err := d.run(first, "CHECKPOINT"); err != nil {
		return err
	}
	err := d.alone(func() error {
		for _, c := range all {
			if err := d.run(c.table, c.change.create...); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := d.run(first, "CHECKPOINT"); err != nil {
		return err
	}
	err = d.alone(func() error {
		for part := range slices.Chunk(all, statementRows/10) {
			if err := d.noteMade(part); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := d.run(first, "CHECKPOINT"); err != nil {
		return err
	}
	for _, c := range all {
		t := c.table
		d.made(t)
		d.settled(t, true)
		t.ready = committed
		d.known[t.quoted()] = &contents{loading: true, unmarked: true, database: t.source.Database}
	}
	return nil
}

// noteMade records tables that were made, as note does for one.
func (d *Destination) noteMade(all []creation) error {
	pipeline := Literal(d.pipeline)
	var places, versions, columns []string
	for _, c := range all {
		place := Literal(d.target(c.table)) + ", " + Literal(c.table.sourceName())
		places = append(places, "("+place+")")
		versions = append(versions, fmt.Sprintf("(%s, %s, %d)", pipeline, place, c.table.version))
		ids := c.table.ids()
		for _, id := range slices.Sorted(maps.Keys(ids)) {
			columns = append(columns, fmt.Sprintf("(%s, %s, %d, %s, false)", pipeline, place, id, Literal(ids[id])))
		}
	}
	statements := []string{
		fmt.Sprintf(`DELETE FROM %s WHERE "pipeline" = %s AND ("target", "source") IN (%s)`, d.schemas(), pipeline, strings.Join(places, ", ")),
		fmt.Sprintf(`INSERT INTO %s ("pipeline", "target", "source", "version") VALUES %s`, d.schemas(), strings.Join(versions, ", ")),
		fmt.Sprintf(`DELETE FROM %s WHERE "pipeline" = %s AND ("target", "source") IN (%s)`, d.record(), pipeline, strings.Join(places, ", ")),
	}
	if len(columns) > 0 {
		statements = append(statements, fmt.Sprintf(`INSERT INTO %s ("pipeline", "target", "source", "id", "name", "dropped") VALUES %s`, d.record(), strings.Join(columns, ", ")))
	}
	for _, s := range statements {
		if _, err := pdk.Exec(s); err != nil {
			return fmt.Errorf("record the schemas of %d tables: %w", len(all), err)
		}
	}
	for _, c := range all {
		if err := d.loseOthers(c.table); err != nil {
			return err
		}
		d.hasRecorded(c.table)
	}
	return nil
}
