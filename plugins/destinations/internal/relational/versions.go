package relational

import (
	"fmt"
	"strings"

	pdk "github.com/leat-etl/leat/pdk/go"
)

// loadOrdinal is where the ordinals of rows begin that a load has read: they
// stand for the snapshot, before every change that commits at its LSN.
const loadOrdinal = 1 << 36

// versions adds the states of a batch to the history of their keys: a change
// closes the version that is current, an insert or update opens one. Each
// version has the position of the change that made it, so that a change that
// comes again does nothing, and a row that is read again opens no version
// where it has not changed.
func (w *writing) versions() error {
	t := w.table
	c, err := w.contents(t)
	if err != nil {
		return err
	}
	own := c.database == t.source.Database || t.ownRows("x") != ""
	if c.loading = c.loading && own && !w.batch.Has("IUDK"); c.loading && len(w.batch.Absent) == 0 {
		return w.insert("")
	}
	if w.dialect.PhysicalKey {
		if err := w.exec("CREATE INDEX IF NOT EXISTS %s ON %s (%s)", Quote(Name(t.name+"_"+w.config.MetadataPrefix+"versions")), t.quoted(), t.keyList("")); err != nil {
			return err
		}
	}
	w.absent = w.batch.Absent
	if err := w.fillStage(""); err != nil {
		return err
	}
	for _, s := range w.versionStatements() {
		if err := w.exec("%s", s); err != nil {
			return err
		}
	}
	return nil
}

// versionStatements bring the states in the stage into the table.
func (w *writing) versionStatements() []string {
	t, stage, m := w.table, w.stage(), w.table.meta
	target, current := t.quoted(), "t."+Quote(m.validTo)+" IS NULL"
	var out []string
	if w.config.Deletes == ignore && w.batch.Has("D") {
		out = append(out, fmt.Sprintf(`DELETE FROM %s WHERE op = 'D'`, stage))
	}
	if len(w.absent) > 0 {
		var set, some []string
		for _, i := range w.absent {
			set = append(set, fmt.Sprintf("%[1]s = CASE WHEN s.%[2]s THEN t.%[3]s ELSE s.%[1]s END", cell(i), absence(i), Quote(t.columns[i].name)))
			some = append(some, "s."+absence(i))
		}
		out = append(out, fmt.Sprintf(`UPDATE %[1]s AS s SET %[2]s FROM %[1]s AS k, %[3]s AS t WHERE k.n = s.origin AND s.op IN ('I', 'U', 'R') AND (%[4]s) AND %[5]s AND %[6]s`,
			stage, strings.Join(set, ", "), target, strings.Join(some, " OR "), w.match("k"), current))
	}
	out = append(out, fmt.Sprintf(`DELETE FROM %s AS s USING %s AS t WHERE %s AND (t.%[4]s = s.lsn AND t.%[5]s = s.ordinal OR %[6]s AND (t.%[4]s > s.lsn OR t.%[4]s = s.lsn AND t.%[5]s >= s.ordinal AND t.%[5]s < %[7]d))`,
		stage, target, w.match("s"), Quote(m.lsn), Quote(m.ordinal), current, loadOrdinal))
	if !w.batch.Has("IDK") { // what a load has read
		out = append(out, fmt.Sprintf(`DELETE FROM %s AS s USING %s AS t WHERE s.ordinal >= %d AND %s AND %s AND %s`, stage, target, loadOrdinal, w.match("s"), current, w.sameRow()))
	}
	if w.config.Deletes == hard && w.batch.Has("D") {
		out = append(out,
			fmt.Sprintf(`DELETE FROM %s AS t USING %s AS s WHERE s.op = 'D' AND %s AND %s`, target, stage, w.match("s"), w.older("t")),
			fmt.Sprintf(`DELETE FROM %[1]s AS s USING %[1]s AS d WHERE d.op = 'D' AND s.n <= d.n AND %[2]s`, stage, w.sameKey("s", "d")))
	}
	return append(out, w.closeStatement(current), w.openStatement())
}

// sameRow compares row s of the stage with row t of the target.
func (w *writing) sameRow() string {
	cells, values := make([]string, len(w.table.columns)), make([]string, len(w.table.columns))
	for i, c := range w.table.columns {
		cells[i], values[i] = "s."+cell(i), "t."+Quote(c.name)
	}
	return w.dialect.WholeRow(cells) + " = " + w.dialect.WholeRow(values)
}

// sameKey compares the keys of two rows of the stage.
func (w *writing) sameKey(a, b string) string {
	parts := make([]string, len(w.table.key))
	for i, k := range w.table.key {
		parts[i] = w.table.columns[k].equal(a+"."+cell(k), b+"."+cell(k))
	}
	return strings.Join(parts, " AND ")
}

// byKey is the window over the rows of the stage of one key.
func (w *writing) byKey() string {
	cells := make([]string, len(w.table.key))
	for i, k := range w.table.key {
		cells[i] = "s." + cell(k)
	}
	return fmt.Sprintf("OVER (PARTITION BY %s ORDER BY s.n)", strings.Join(cells, ", "))
}

// closing assigns the end of a version, from row f of the stage.
func (w *writing) closing(f string) string {
	set := fmt.Sprintf("%s = %s.at", Quote(w.table.meta.validTo), f)
	if marked := w.table.meta.marked; marked != "" {
		set += fmt.Sprintf(", %s = %s.op IN ('D', 'T')", Quote(marked), f)
	}
	return set
}

// closeStatement ends the current version of each key with the first change
// of the key.
func (w *writing) closeStatement(current string) string {
	return fmt.Sprintf(`UPDATE %s AS t SET %s FROM (SELECT s.*, row_number() %s AS nth FROM %s AS s) AS f WHERE f.nth = 1 AND %s AND %s`,
		w.table.quoted(), w.closing("f"), w.byKey(), w.stage(), w.match("f"), current)
}

// openStatement adds the versions of the batch; all but the last of a key end
// where the next change begins.
func (w *writing) openStatement() string {
	var names, values []string
	for i, c := range w.table.columns {
		names, values = append(names, Quote(c.name)), append(values, "s."+cell(i))
	}
	for _, a := range w.written() {
		switch a.name {
		case w.table.meta.validTo:
			a.staged = "s.until"
		case w.table.meta.marked:
			a.staged = "coalesce(s.next = 'D', false)"
		}
		names, values = append(names, Quote(a.name)), append(values, a.staged)
	}
	return fmt.Sprintf(`INSERT INTO %s (%s) SELECT %s FROM (SELECT s.*, lead(s.at) %[4]s AS until, lead(s.op) %[4]s AS next FROM %[5]s AS s) AS s WHERE s.op IN ('I', 'U', 'R') ORDER BY s.n`,
		w.table.quoted(), strings.Join(names, ", "), strings.Join(values, ", "), w.byKey(), w.stage())
}

// truncateVersions closes every version that is current and older than the
// TRUNCATE.
func (w *writing) truncateVersions() error {
	t, m := w.table, w.table.meta
	w.absent = nil
	if err := w.fillStage(""); err != nil {
		return err
	}
	return w.exec(`UPDATE %[1]s SET %[2]s FROM %[3]s AS s WHERE %[1]s.%[4]s IS NULL AND %[5]s%[6]s`, t.quoted(), w.closing("s"), w.stage(), Quote(m.validTo), w.older(t.quoted()), t.ownRows(" AND "))
}

// older says that a version began before the change s of the stage.
func (w *writing) older(version string) string {
	m := w.table.meta
	return fmt.Sprintf("(%[1]s.%[2]s < s.lsn OR %[1]s.%[2]s = s.lsn AND (%[1]s.%[3]s < s.ordinal OR %[1]s.%[3]s >= %[4]d))", version, Quote(m.lsn), Quote(m.ordinal), loadOrdinal)
}

// origin is the stage's column that says which row of the batch names the row
// at the target that absent cells come from.
func (w *writing) origin() []pdk.IngestColumn {
	if w.table.meta.validTo == "" || len(w.absent) == 0 {
		return nil
	}
	return []pdk.IngestColumn{{Name: "origin", Type: "BIGINT", From: pdk.FromOrigin}}
}
