package relational

import (
	"fmt"
	"strings"

	pdk "github.com/leat-etl/leat/pdk/go"
)

// append adds every row of the batch. An old key is the deletion of its row.
func (w *writing) append() error {
	deleted := "D"
	if len(w.batch.Absent) > 0 && w.table.meta.unchanged != "" {
		return w.appendStaged()
	}
	err := w.ingest(pdk.IngestInput{Table: w.table.quoted(), Ops: "IURD", Columns: w.direct(pdk.IngestColumn{Type: w.dialect.Text, From: pdk.FromOp})})
	if err != nil || !w.batch.Has("K") {
		return err
	}
	return w.ingest(pdk.IngestInput{Table: w.table.quoted(), Ops: "K", Columns: w.direct(pdk.IngestColumn{Type: w.dialect.Text, From: pdk.FromConstant, Value: &deleted})})
}

// appendStaged appends rows of which some have absent cells and writes the
// names of these into the column unchanged: NULL there must not be taken for
// the source's NULL.
func (w *writing) appendStaged() error {
	w.absent = w.batch.Absent
	if err := w.fillStage("IURDK"); err != nil {
		return err
	}
	var names, values, unchanged []string
	for i, c := range w.table.columns {
		names, values = append(names, Quote(c.name)), append(values, "s."+cell(i))
	}
	for _, i := range w.absent {
		unchanged = append(unchanged, fmt.Sprintf("CASE WHEN s.%s THEN %s END", absence(i), Literal(w.table.columns[i].name)))
	}
	for _, a := range w.written() {
		switch a.name {
		case w.table.meta.op:
			a.staged = "CASE WHEN s.op = 'K' THEN 'D' ELSE s.op END"
		case w.table.meta.unchanged:
			a.staged = fmt.Sprintf("CASE WHEN s.op IN ('K', 'D') THEN NULL ELSE NULLIF(concat_ws(',', %s), '') END", strings.Join(unchanged, ", "))
		}
		names, values = append(names, Quote(a.name)), append(values, a.staged)
	}
	return w.exec(`INSERT INTO %s (%s) SELECT %s FROM %s AS s ORDER BY s.n`, w.table.quoted(), strings.Join(names, ", "), strings.Join(values, ", "), w.stage())
}

// truncate does to the table what the source did, as the configuration wants
// it.
func (w *writing) truncate() error {
	t := w.table
	switch w.config.Truncate {
	case ignore:
		return nil
	case empty:
		return w.exec("DELETE FROM %s%s", t.quoted(), t.ownRows(" WHERE "))
	}
	if w.config.LoadMode == appended {
		return w.ingest(pdk.IngestInput{Table: t.quoted(), Columns: w.direct(pdk.IngestColumn{Type: w.dialect.Text, From: pdk.FromOp})})
	}
	if t.meta.validTo != "" {
		return w.truncateVersions()
	}
	w.absent = nil
	if err := w.fillStage(""); err != nil {
		return err
	}
	return w.exec(`UPDATE %s SET %s FROM %s AS s WHERE NOT %s%s`, t.quoted(), w.marking("'T'"), w.stage(), Quote(t.meta.marked), t.ownRows(" AND "))
}

// marking assigns what a row gets that is marked as deleted, from row s of the
// stage.
func (w *writing) marking(op string) string {
	m := w.table.meta
	set := []string{Quote(m.marked) + " = true"}
	for _, v := range []struct{ name, value string }{{m.op, op}, {m.modified, "s.at"}, {m.loaded, "CURRENT_TIMESTAMP"}, {m.ingested, "s.ingested"}} {
		if v.name != "" {
			set = append(set, Quote(v.name)+" = "+v.value)
		}
	}
	return strings.Join(set, ", ")
}

// ownRows is the condition that keeps a TRUNCATE in one database from the
// rows of the others where tables are merged: such a table has a column with
// the name of the database, which is part of the key if there is one.
func (t *table) ownRows(conjunction string) string {
	name := t.ownColumn()
	if name == "" {
		return ""
	}
	return fmt.Sprintf("%s%s.%s = %s", conjunction, t.quoted(), Quote(name), Literal(t.source.Database))
}

// ownColumn is the column that names the database of a row, empty where there is
// none.
func (t *table) ownColumn() string {
	name := t.meta.database
	for _, c := range t.columns {
		if c.key && strings.HasSuffix(c.source, "database_name") || c.source == t.databaseColumn {
			name = c.name
		}
	}
	return name
}
