package relational

import (
	"slices"
	"strings"

	pdk "github.com/leat-etl/leat/pdk/go"
)

// metadata are the names of the columns that Leat adds; one that a table has
// not is empty.
type metadata struct {
	op, modified, loaded, marked                    string
	database, schema, ingested                      string
	id, lsn, ordinal, unchanged, validFrom, validTo string
}

// selectable are the columns that the setting metadata chooses from; the
// others come with the load mode or with a table that has no key.
var selectable = []string{"op_type", "source_modified_at", "loaded_at", "ingested_at", "database_name", "schema_name", "position"}

// usual are those that tables get where the setting is not given.
var usual = selectable[:3]

// metadata returns the columns of a table with a key, or without.
func (c *Config) metadata(keyless bool) metadata {
	name := func(name string, wanted bool) string {
		if wanted {
			return c.MetadataPrefix + name
		}
		return ""
	}
	chosen := func(s string) string { return name(s, slices.Contains(c.Metadata, s)) }
	events, versions := c.LoadMode == appended, c.LoadMode == history
	position := events || versions || slices.Contains(c.Metadata, "position")
	return metadata{
		op:       name("op_type", events || slices.Contains(c.Metadata, "op_type")),
		modified: chosen("source_modified_at"), loaded: chosen("loaded_at"), ingested: chosen("ingested_at"),
		database: chosen("database_name"), schema: chosen("schema_name"),
		marked: name("marked_deleted", c.marks()), id: name("id", keyless),
		lsn: name("lsn", position), ordinal: name("ordinal", position), unchanged: name("unchanged", events),
		validFrom: name("valid_from", versions), validTo: name("valid_to", versions),
	}
}

// added is a column that Leat adds: its definition, what fills it when rows go
// straight into the table (nothing: its default), and its value where they
// come from the stage s.
type added struct {
	name, typ, suffix string
	direct            pdk.IngestColumn
	staged            string
}

// added lists the columns that Leat adds to a table, in order.
func (d *Destination) added(t *table) []added {
	m, dialect := t.meta, d.dialect
	database, schema := t.source.Database, t.source.Schema
	loaded := added{name: m.loaded, typ: dialect.Timestamp, staged: "CURRENT_TIMESTAMP"}
	if dialect.NowDefault {
		loaded.suffix = " DEFAULT CURRENT_TIMESTAMP"
	} else {
		loaded.direct = pdk.IngestColumn{From: pdk.FromConstant, Value: d.now}
	}
	all := []added{
		{m.op, dialect.Text, "", pdk.IngestColumn{From: pdk.FromOp}, "s.op"},
		{m.modified, dialect.Timestamp, "", pdk.IngestColumn{From: pdk.FromCommitTime}, "s.at"},
		loaded,
		{m.ingested, dialect.Timestamp, "", pdk.IngestColumn{From: pdk.FromIngestTime}, "s.ingested"},
		{m.database, dialect.Text, "", pdk.IngestColumn{From: pdk.FromConstant, Value: &database}, Literal(database)},
		{m.schema, dialect.Text, "", pdk.IngestColumn{From: pdk.FromConstant, Value: &schema}, Literal(schema)},
		{m.marked, dialect.Boolean, " DEFAULT false", pdk.IngestColumn{}, "s.op = 'D'"},
		{m.id, dialect.Text, "", pdk.IngestColumn{From: pdk.FromRowID}, "s.id"},
		{m.validFrom, dialect.Timestamp, "", pdk.IngestColumn{From: pdk.FromCommitTime}, "s.at"},
		{m.validTo, dialect.Timestamp, "", pdk.IngestColumn{}, "NULL"},
		{m.lsn, "BIGINT", "", pdk.IngestColumn{From: pdk.FromLSN}, "s.lsn"},
		{m.ordinal, "BIGINT", "", pdk.IngestColumn{From: pdk.FromOrdinal}, "s.ordinal"},
		{m.unchanged, dialect.Text, "", pdk.IngestColumn{}, "NULL"},
	}
	return slices.DeleteFunc(all, func(a added) bool { return a.name == "" })
}

// written are the columns that rows get beside those of their table: what Leat
// adds, and nothing in the columns of other sources, whose defaults are not
// for them.
func (w *writing) written() []added {
	all := w.added(w.table)
	for _, c := range w.table.foreign {
		all = append(all, added{c.name, c.typ, "", pdk.IngestColumn{From: pdk.FromConstant}, "NULL"})
	}
	return all
}

// foreign are the columns of a shared target, as it stands, that only other
// sources have.
func (d *Destination) foreign(t *table, l *layout) (out []present) {
	if !l.shared {
		return nil
	}
	known := map[string]bool{}
	for _, name := range l.own {
		known[d.dialect.fold(name)] = true
	}
	for _, c := range t.columns {
		known[d.dialect.fold(c.name)] = true
	}
	for _, a := range d.added(t) {
		known[d.dialect.fold(a.name)] = true
	}
	prefix := d.dialect.fold(d.config.MetadataPrefix)
	for _, c := range l.columns {
		if name := d.dialect.fold(c.name); !known[name] && (prefix == "" || !strings.HasPrefix(name, prefix)) {
			out = append(out, c)
		}
	}
	return out
}

// reserve makes sure that no column of the source has the name of one that
// Leat adds. A column with the name of the database, which merge_tables brings,
// is the source's own.
func (d *Destination) reserve(t *table, columns []pdk.Column) error {
	for _, c := range columns {
		if d.dialect.fold(c.Name) == d.dialect.fold(t.meta.database) {
			t.meta.database = ""
		}
	}
	for _, a := range d.added(t) {
		for _, c := range columns {
			if d.dialect.fold(c.Name) == d.dialect.fold(a.name) {
				return schemaError("table %s.%s has a column %q, the name of a column that Leat adds: set metadata_prefix to another prefix, or rename the column with a transform",
					t.source.Schema, t.source.Name, c.Name)
			}
		}
	}
	return nil
}
