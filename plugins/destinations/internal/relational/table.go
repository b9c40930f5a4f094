package relational

import (
	"fmt"
	"slices"
	"strings"

	pdk "github.com/leat-etl/leat/pdk/go"
)

// table is where the batches of one schema version land.
type table struct {
	schema, name string
	source       pdk.TableID
	relation     uint32 // OID of the source's table, 0 if it is not known
	version      uint64
	wanted       []column // as the schema would have them
	columns      []column // as the target has them
	meta         metadata
	// databaseColumn is what merge_tables adds to tables without a key, too.
	databaseColumn string
	key            []int // indexes in columns
	// foreign are the columns of the target that only other sources have.
	foreign     []present
	nullableKey bool
	// ownKey is the condition on the rows of the source, where these have a unique
	// index of their own.
	ownKey string
	ready  readiness
	seen   int // how often the target had been changed when t was settled, neverSeen before
	// owes: the change of the target leaves values for rows that are there, or
	// its note, to the transaction.
	owes bool
	// keyLater: if the table is to be made now, its key is made after the load.
	keyLater bool
	// collided says that an insert has met a key that was there.
	collided bool
}

// column is a column of the source at the destination.
type column struct {
	name    string
	source  string
	mapping Mapping
	key     bool
	null    bool    // it may be NULL
	id      int     // see identity
	missing *string // see pdk.Column
}

// readiness says how far the DDL of a table has got.
type readiness int

const (
	planned readiness = iota
	inTransaction
	committed
)

// neverSeen is no number of changes.
const neverSeen = -1

func (t *table) quoted() string { return Quote(t.schema) + "." + Quote(t.name) }

// keyless says that rows are told apart only by all that they hold.
func (t *table) keyless() bool { return t.meta.id != "" }

// newTable decides names and types for a schema.
func (d *Destination) newTable(s *pdk.Schema) (*table, error) {
	t := &table{
		schema: d.dialect.schema(s.Table.Schema, d.config.Schema), name: Name(s.Table.Name),
		source: s.Table, relation: s.OID, version: s.Version, seen: neverSeen, meta: d.config.metadata(len(s.Key()) == 0), databaseColumn: d.config.MetadataPrefix + "database_name",
	}
	if err := d.reserve(t, s.Columns); err != nil {
		return nil, err
	}
	for i, name := range d.dialect.names(s.Columns) {
		c := s.Columns[i]
		t.wanted = append(t.wanted, column{name: name, source: c.Name, mapping: d.dialect.Type(c), key: c.Key > 0, null: c.Nullable, id: identity(s.OID, c.ID), missing: c.Missing})
	}
	t.columns = slices.Clone(t.wanted)
	if d.config.LoadMode != appended {
		t.key = s.Key()
		for _, i := range t.key {
			t.nullableKey = t.nullableKey || s.Columns[i].Nullable
		}
	}
	return t, nil
}

// Plan implements pdk.Destination.
func (d *Destination) Plan(s *pdk.Schema) (*pdk.TablePlan, error) {
	t, err := d.newTable(s)
	if err != nil {
		return nil, err
	}
	if err := d.claim(t); err != nil {
		return nil, err
	}
	c, err := d.changeOf(t)
	if err != nil {
		return nil, err
	}
	p := &pdk.TablePlan{Table: t.quoted(), Statements: c.statements(), Read: d.read(t), State: t}
	if c.evolution != nil {
		p.Reload = strings.Join(c.evolution.reload, "; ")
	}
	if p.Statements == nil {
		p.Statements = []string{}
	}
	for _, c := range t.columns {
		p.Columns = append(p.Columns, pdk.TargetColumn{Name: c.name, Type: c.mapping.Type, Source: c.source, Losses: c.mapping.Losses})
	}
	for _, a := range d.added(t) {
		p.Columns = append(p.Columns, pdk.TargetColumn{Name: a.name, Type: a.typ})
	}
	return p, nil
}

// claim refuses a target that a table of another name already has. Tables of
// one name from several databases share theirs.
func (d *Destination) claim(t *table) error {
	target := d.target(t)
	source := t.source.Schema + "." + t.source.Name
	if other, ok := d.owners[target]; ok && other != source {
		return schemaError("tables %s and %s would both land in %s: rename one of them with a transform, or exclude it", other, source, t.quoted())
	}
	d.owners[target] = source
	return nil
}

// read selects the rows that the source has now.
func (d *Destination) read(t *table) string {
	names := make([]string, len(t.columns))
	for i, c := range t.columns {
		names[i] = Quote(c.name)
	}
	list := strings.Join(names, ", ")
	if t.meta.validTo != "" {
		return fmt.Sprintf("SELECT %s FROM %s WHERE %s IS NULL", list, t.quoted(), Quote(t.meta.validTo))
	}
	if d.config.LoadMode == merge {
		where := ""
		if t.meta.marked != "" {
			where = " WHERE NOT " + Quote(t.meta.marked)
		}
		return fmt.Sprintf("SELECT %s FROM %s%s", list, t.quoted(), where)
	}
	return d.readEvents(t, list)
}

// readEvents selects the rows that the events of a table leave: of each key
// the last state, of rows without a key as many as have come and not gone. Of a
// merged table it is the rows of this source: another may have another key.
func (d *Destination) readEvents(t *table, list string) string {
	m, from := t.meta, t.quoted()+t.ownRows(" WHERE ")
	if t.keyless() {
		return fmt.Sprintf(`SELECT %s FROM (SELECT *, row_number() OVER (PARTITION BY %s, %s IN ('I', 'R', 'U')) AS "__leat_age", sum(CASE WHEN %[3]s = 'D' THEN 1 ELSE 0 END) OVER (PARTITION BY %[2]s) AS "__leat_gone" FROM %[4]s) AS "v" WHERE %[3]s IN ('I', 'R', 'U') AND "__leat_age" > "__leat_gone"`,
			list, Quote(m.id), Quote(m.op), from)
	}
	var key []string
	for _, c := range t.columns {
		if c.key {
			key = append(key, Quote(c.name))
		}
	}
	// A change of key has one position, also where the database takes the two keys
	// for equal, as 1.0 and 1.00.
	return fmt.Sprintf(`SELECT %s FROM (SELECT *, row_number() OVER (PARTITION BY %s ORDER BY %s DESC, %s DESC, %s = 'D') AS "__leat_age" FROM %s) AS "v" WHERE "__leat_age" = 1 AND %[5]s IN ('I', 'R', 'U')`,
		list, strings.Join(key, ", "), Quote(m.lsn), Quote(m.ordinal), Quote(m.op), from)
}
