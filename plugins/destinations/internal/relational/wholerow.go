package relational

import (
	"fmt"
	"strings"

	pdk "github.com/leat-etl/leat/pdk/go"
)

// wholeRows applies a batch of a table without a key. New rows are appended.
// An old row (K before its update, D) takes exactly one of the rows that are
// equal to it: they are found by the id of the row, the SHA-256 of all it
// holds, and where the table has changed since they were written by their
// values. Equal rows stand for each other, so the order inside the batch does
// not matter: what a batch takes away was there before or is in the batch.
func (w *writing) wholeRows() error {
	if w.batch.Has("IUR") {
		if err := w.ingest(pdk.IngestInput{Table: w.table.quoted(), Ops: "IUR", Columns: w.direct(pdk.IngestColumn{From: pdk.FromOp})}); err != nil {
			return err
		}
	}
	gone, wanted := "K", int64(w.batch.Ops["K"])
	if w.config.Deletes != ignore {
		gone, wanted = "KD", wanted+int64(w.batch.Ops["D"])
	}
	if wanted == 0 {
		return nil
	}
	if w.dialect.PhysicalKey {
		if err := w.exec("CREATE INDEX IF NOT EXISTS %s ON %s (%s)", Quote(Name(w.table.name+"_"+w.table.meta.id)), w.table.quoted(), Quote(w.table.meta.id)); err != nil {
			return err
		}
	}
	w.absent = nil
	if err := w.fillStage(gone); err != nil {
		return err
	}
	if err := w.findPlaces(wanted, w.live()); err != nil {
		return err
	}
	t, rowID := w.table, w.dialect.RowID
	if t.meta.validTo != "" {
		which := ""
		if w.config.Deletes == hard {
			if err := w.exec(`DELETE FROM %s AS t USING %s AS s WHERE t.%s = s.place AND s.op = 'D'`, t.quoted(), w.stage(), rowID); err != nil {
				return err
			}
			which = " AND s.op = 'K'"
		}
		return w.exec(`UPDATE %s AS t SET %s FROM %s AS s WHERE t.%s = s.place%s`, t.quoted(), w.closing("s"), w.stage(), rowID, which)
	}
	if t.meta.marked != "" && w.batch.Has("D") {
		if err := w.exec(`UPDATE %s AS t SET %s FROM %s AS s WHERE t.%s = s.place AND s.op = 'D'`, t.quoted(), w.marking("'D'"), w.stage(), rowID); err != nil {
			return err
		}
		gone = "K"
	}
	if !w.batch.Has(gone) {
		return nil
	}
	return w.exec(`DELETE FROM %s AS t USING %s AS s WHERE t.%s = s.place AND s.op IN ('%s')`, t.quoted(), w.stage(), rowID, strings.Join(strings.Split(gone, ""), "', '"))
}

// live is the condition on the rows t that the source still has.
func (w *writing) live() string {
	if validTo := w.table.meta.validTo; validTo != "" {
		return "t." + Quote(validTo) + " IS NULL"
	}
	if w.table.meta.marked == "" {
		return "true"
	}
	return "NOT t." + Quote(w.table.meta.marked)
}

// findPlaces gives each row of the stage the place of one row of the target
// that is equal and for which live holds.
func (w *writing) findPlaces(wanted int64, live string) error {
	t, stage := w.table, w.stage()
	id := Quote(t.meta.id)
	found, err := pdk.Exec(w.pair("s.id", "t."+id, "true", fmt.Sprintf("t.%s IN (SELECT id FROM %s) AND %s", id, stage, live)))
	if err != nil || found == wanted {
		return err
	}
	lacking, err := pdk.Query(fmt.Sprintf("SELECT 1 FROM %s WHERE id IS NULL LIMIT 1", stage))
	if err != nil {
		return err
	}
	if len(lacking.Rows) > 0 {
		return schemaError("rows of %s that are updated or deleted come without a key and without all of their cells: a transform has taken the key away; keep it, or set load_mode = \"append\"", t.quoted())
	}
	cells, values := make([]string, len(t.columns)), make([]string, len(t.columns))
	for i, c := range t.columns {
		cells[i], values[i] = "s."+cell(i), "t."+Quote(c.name)
	}
	_, err = pdk.Exec(w.pair(w.dialect.WholeRow(cells), w.dialect.WholeRow(values), "s.place IS NULL",
		fmt.Sprintf("%s AND t.%s NOT IN (SELECT place FROM %s WHERE place IS NOT NULL)", live, w.dialect.RowID, stage)))
	return err
}

// pair writes into the stage the places of rows of the target that are equal
// under two expressions: the first of them to the first, and so on, versions
// in the order in which they began.
func (w *writing) pair(staged, stored, among, live string) string {
	oldest := ""
	if m := w.table.meta; m.validTo != "" {
		oldest = fmt.Sprintf(" ORDER BY t.%s, t.%s", Quote(m.lsn), Quote(m.ordinal))
	}
	return fmt.Sprintf(`UPDATE %[1]s AS s SET place = m.place FROM (SELECT s.n, t.place FROM `+
		`(SELECT s.n, %[2]s AS same, row_number() OVER (PARTITION BY %[2]s ORDER BY s.n) AS nth FROM %[1]s AS s WHERE %[3]s) AS s JOIN `+
		`(SELECT t.%[4]s AS place, %[5]s AS same, row_number() OVER (PARTITION BY %[5]s%[8]s) AS nth FROM %[6]s AS t WHERE %[7]s) AS t `+
		`ON t.same = s.same AND t.nth = s.nth) AS m WHERE m.n = s.n`,
		w.stage(), staged, among, w.dialect.RowID, stored, w.table.quoted(), live, oldest)
}
