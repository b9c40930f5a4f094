package relational

import (
	"fmt"
	"strings"

	pdk "github.com/leat-etl/leat/pdk/go"
)

// table is where the batches of one schema version land.
type table struct {
	schema, name string
	source       pdk.TableID
	version      uint64
	columns      []column
	key          []int // indexes in columns
	nullableKey  bool
	ready        readiness
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
}

// readiness says how far the DDL of a table has got.
type readiness int

const (
	planned readiness = iota
	inTransaction
	committed
)

func (t *table) quoted() string { return Quote(t.schema) + "." + Quote(t.name) }

// metadata are the columns that Leat adds, in order.
type metadata struct {
	op, modified, loaded, marked, lsn, ordinal, unchanged string
}

func (c *Config) metadata() metadata {
	m := metadata{op: c.MetadataPrefix + "op_type", modified: c.MetadataPrefix + "source_modified_at", loaded: c.MetadataPrefix + "loaded_at"}
	if c.marks() {
		m.marked = c.MetadataPrefix + "marked_deleted"
	}
	if c.LoadMode == appended {
		m.lsn, m.ordinal, m.unchanged = c.MetadataPrefix+"lsn", c.MetadataPrefix+"ordinal", c.MetadataPrefix+"unchanged"
	}
	return m
}

// target is a metadata column as DDL.
type target struct{ name, typ, suffix string }

func (d *Destination) metadataColumns() []target {
	m := d.meta
	out := []target{
		{m.op, d.dialect.Text, ""},
		{m.modified, d.dialect.Timestamp, ""},
		{m.loaded, d.dialect.Timestamp, ""},
	}
	if d.dialect.NowDefault {
		out[2].suffix = " DEFAULT CURRENT_TIMESTAMP"
	}
	if m.marked != "" {
		out = append(out, target{m.marked, d.dialect.Boolean, " DEFAULT false"})
	}
	if m.lsn != "" {
		out = append(out, target{m.lsn, "BIGINT", ""}, target{m.ordinal, "BIGINT", ""}, target{m.unchanged, d.dialect.Text, ""})
	}
	return out
}

// newTable decides names and types for a schema.
func (d *Destination) newTable(s *pdk.Schema) *table {
	t := &table{
		schema: d.dialect.schema(s.Table.Schema, d.config.Schema), name: Name(s.Table.Name),
		source: s.Table, version: s.Version,
	}
	var reserved []string
	for _, m := range d.metadataColumns() {
		reserved = append(reserved, m.name)
	}
	for i, name := range d.dialect.names(s.Columns, reserved) {
		c := s.Columns[i]
		t.columns = append(t.columns, column{name: name, source: c.Name, mapping: d.dialect.Type(c), key: c.Key > 0})
	}
	if d.config.LoadMode == merge {
		t.key = s.Key()
		for _, i := range t.key {
			t.nullableKey = t.nullableKey || s.Columns[i].Nullable
		}
	}
	return t
}

// Plan implements pdk.Destination.
func (d *Destination) Plan(s *pdk.Schema) (*pdk.TablePlan, error) {
	t := d.newTable(s)
	if err := d.claim(t); err != nil {
		return nil, err
	}
	statements, err := d.ddl(t)
	if err != nil {
		return nil, err
	}
	p := &pdk.TablePlan{Table: t.quoted(), Statements: statements, Read: d.read(t), State: t}
	if p.Statements == nil {
		p.Statements = []string{}
	}
	for _, c := range t.columns {
		p.Columns = append(p.Columns, pdk.TargetColumn{Name: c.name, Type: c.mapping.Type, Source: c.source, Losses: c.mapping.Losses})
	}
	for _, m := range d.metadataColumns() {
		p.Columns = append(p.Columns, pdk.TargetColumn{Name: m.name, Type: m.typ})
	}
	return p, nil
}

// claim refuses a target that a table of another name already has. Tables of
// one name from several databases share theirs.
func (d *Destination) claim(t *table) error {
	target := d.dialect.fold(t.schema) + "." + d.dialect.fold(t.name)
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
	switch {
	case d.meta.marked != "" && len(t.key) > 0:
		return fmt.Sprintf("SELECT %s FROM %s WHERE NOT %s", list, t.quoted(), Quote(d.meta.marked))
	case d.config.LoadMode == merge && len(t.key) > 0:
		return fmt.Sprintf("SELECT %s FROM %s", list, t.quoted())
	}
	var key []string
	for _, c := range t.columns {
		if c.key {
			key = append(key, Quote(c.name))
		}
	}
	if len(key) == 0 || d.meta.lsn == "" {
		return fmt.Sprintf("SELECT %s FROM %s WHERE %s IN ('I', 'R', 'U')", list, t.quoted(), Quote(d.meta.op))
	}
	return fmt.Sprintf(`SELECT %s FROM (SELECT *, row_number() OVER (PARTITION BY %s ORDER BY %s DESC, %s DESC) AS "__leat_age" FROM %s) AS "v" WHERE "__leat_age" = 1 AND %s IN ('I', 'R', 'U')`,
		list, strings.Join(key, ", "), Quote(d.meta.lsn), Quote(d.meta.ordinal), t.quoted(), Quote(d.meta.op))
}
