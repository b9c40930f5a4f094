package relational

import (
	"fmt"
	"slices"
	"strings"

	pdk "github.com/leat-etl/leat/pdk/go"
)

// Destination implements pdk.Destination for a dialect.
type Destination struct {
	dialect  *Dialect
	config   Config
	pipeline string
	inTx     bool
	now      *string // when the transaction began, without Dialect.NowDefault
	// owners maps a target to the table that lands there, recorded to the versions
	// of the sources that it was last changed for; nil is to be read again.
	owners   map[string]string
	recorded map[string]map[recordedSource]uint64
	// known maps a target to what is known of its rows.
	known map[string]*contents
	// unkeyed maps a target to its state while its primary key is not made.
	unkeyed map[string]*unkeyed
	// shared says of a target with a physical key whether rows without a key
	// live there, too.
	shared map[string]bool
	// equalNulls: the database has indexes that take NULL for a value. apart
	// says of targets whether theirs does not.
	equalNulls bool
	apart      map[string]bool
	// owed are tables whose DDL waits for the end of the current transaction,
	// asked those that are to be made before the next rows.
	owed, asked []*table
	// inventory is nil until a table is looked for in the current transaction.
	inventory *inventory
	// changed counts the changes of each target.
	changed map[string]int
	// pending are the tables whose DDL the current transaction holds.
	pending []*table
}

// Open makes the destination's own tables and returns it.
func Open(dialect *Dialect, pipeline string, c Config) (*Destination, error) {
	if err := c.complete(dialect); err != nil {
		return nil, err
	}
	d := &Destination{dialect: dialect, config: c, pipeline: pipeline, owners: map[string]string{}, known: map[string]*contents{}, unkeyed: map[string]*unkeyed{}, shared: map[string]bool{}, apart: map[string]bool{}, changed: map[string]int{}}
	key, schemaKey, columnKey := "", "", ""
	if dialect.PhysicalKey {
		key, schemaKey = `, PRIMARY KEY ("pipeline", "key")`, `, PRIMARY KEY ("pipeline", "target", "source")`
		columnKey = `, PRIMARY KEY ("pipeline", "target", "source", "id")`
	}
	if dialect.EqualNulls != "" {
		rows, err := pdk.Query(dialect.EqualNulls)
		if err != nil {
			return nil, fmt.Errorf("ask the database for its version: %w", err)
		}
		d.equalNulls = len(rows.Rows) > 0
	}
	statements, err := d.createSchema(c.Schema)
	if err != nil {
		return nil, err
	}
	for _, s := range append(statements,
		fmt.Sprintf(`CREATE TABLE IF NOT EXISTS %s ("pipeline" %[2]s NOT NULL, "key" %[2]s NOT NULL, "value" %[2]s NOT NULL%s)`, d.checkpoints(), dialect.Text, key),
		fmt.Sprintf(`CREATE TABLE IF NOT EXISTS %s ("pipeline" %[2]s NOT NULL, "target" %[2]s NOT NULL, "source" %[2]s NOT NULL, "version" BIGINT NOT NULL%s)`, d.schemas(), dialect.Text, schemaKey),
		fmt.Sprintf(`CREATE TABLE IF NOT EXISTS %s ("pipeline" %[2]s NOT NULL, "target" %[2]s NOT NULL, "source" %[2]s NOT NULL, "id" BIGINT NOT NULL, "name" %[2]s NOT NULL, "dropped" BOOLEAN NOT NULL%s)`, d.record(), dialect.Text, columnKey),
	) {
		if _, err := pdk.Exec(s); err != nil {
			return nil, fmt.Errorf("prepare schema %q: %w", c.Schema, err)
		}
	}
	d.inventory = nil // it lacks what was made
	return d, d.loadOwners()
}

func (d *Destination) checkpoints() string {
	return Quote(d.config.Schema) + "." + Quote("__leat_checkpoints")
}

func (d *Destination) schemas() string { return Quote(d.config.Schema) + "." + Quote("__leat_schemas") }

// loadOwners reads which table lands where from what earlier runs recorded.
func (d *Destination) loadOwners() error {
	if err := d.readRecorded(); err != nil {
		return err
	}
	for target, sources := range d.recorded {
		for s := range sources {
			_, source, _ := strings.Cut(s.source, "/")
			d.owners[target] = source
		}
	}
	return nil
}

// recordSchema stores the version of a table beside its rows.
func (d *Destination) recordSchema(t *table) error {
	target, source := Literal(d.target(t)), Literal(t.sourceName())
	_, err := pdk.Exec(fmt.Sprintf(
		`DELETE FROM %[1]s WHERE "pipeline" = %[2]s AND "target" = %[3]s AND "source" = %[4]s; INSERT INTO %[1]s ("pipeline", "target", "source", "version") VALUES (%[2]s, %[3]s, %[4]s, %[5]d)`,
		d.schemas(), Literal(d.pipeline), target, source, t.version))
	if err != nil {
		return fmt.Errorf("record schema of %s: %w", t.quoted(), err)
	}
	d.hasRecorded(t)
	return nil
}

func (d *Destination) begin() error {
	if d.inTx {
		return nil
	}
	if err := pdk.Begin(); err != nil {
		return err
	}
	d.inTx = true
	if d.dialect.NowDefault {
		return nil
	}
	rows, err := pdk.Query("SELECT CAST(CURRENT_TIMESTAMP AS " + d.dialect.Text + ")")
	if err != nil {
		return fmt.Errorf("ask for the time: %w", err)
	}
	for _, r := range rows.Rows {
		d.now = r[0]
	}
	return nil
}

// statementRows is how many values a statement has at most.
const statementRows = 1000

// Commit implements pdk.Destination.
func (d *Destination) Commit(entries []pdk.Checkpoint) error {
	if err := d.makeAsked(); err != nil {
		return err
	}
	if err := d.begin(); err != nil {
		return err
	}
	for part := range slices.Chunk(entries, statementRows) {
		if err := d.store(part); err != nil {
			return fmt.Errorf("store checkpoint: %w", err)
		}
	}
	if err := pdk.CommitSQL(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	d.inTx, d.inventory = false, nil
	for _, t := range d.pending {
		t.ready = committed
	}
	d.pending = d.pending[:0]
	d.settleKeys(true)
	return nil
}

// store stores or removes entries in the current transaction.
func (d *Destination) store(entries []pdk.Checkpoint) error {
	var keys, values []string
	for _, e := range entries {
		keys = append(keys, Literal(e.Key))
		if e.Value != nil {
			values = append(values, fmt.Sprintf("(%s, %s, %s)", Literal(d.pipeline), Literal(e.Key), Literal(*e.Value)))
		}
	}
	statement := fmt.Sprintf(`DELETE FROM %s WHERE "pipeline" = %s AND "key" IN (%s)`, d.checkpoints(), Literal(d.pipeline), strings.Join(keys, ", "))
	if len(values) > 0 {
		statement += fmt.Sprintf(`; INSERT INTO %s ("pipeline", "key", "value") VALUES %s`, d.checkpoints(), strings.Join(values, ", "))
	}
	_, err := pdk.Exec(statement)
	return err
}

// Checkpoint implements pdk.Destination.
func (d *Destination) Checkpoint() ([]pdk.Checkpoint, error) {
	rows, err := pdk.Query(fmt.Sprintf(`SELECT "key", "value" FROM %s WHERE "pipeline" = %s ORDER BY "key"`, d.checkpoints(), Literal(d.pipeline)))
	if err != nil {
		return nil, fmt.Errorf("read checkpoints: %w", err)
	}
	out := make([]pdk.Checkpoint, len(rows.Rows))
	for i, r := range rows.Rows {
		out[i] = pdk.Checkpoint{Key: *r[0], Value: r[1]}
	}
	return out, nil
}

// Rollback implements pdk.Destination.
func (d *Destination) Rollback() error {
	for _, t := range d.pending {
		t.ready = planned
		d.changed[d.target(t)]++ // the changes are taken back
	}
	d.pending = d.pending[:0]
	d.settleKeys(false)
	clear(d.shared)
	d.inTx, d.inventory, d.recorded, d.asked = false, nil, nil, nil
	if err := pdk.RollbackSQL(); err != nil {
		return err
	}
	return d.payOwed()
}

// Close implements pdk.Destination.
func (d *Destination) Close() error { return d.Rollback() }
