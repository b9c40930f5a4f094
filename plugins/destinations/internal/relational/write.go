package relational

import (
	"errors"
	"fmt"
	"strings"

	pdk "github.com/leat-etl/leat/pdk/go"
)

// Write implements pdk.Destination.
func (d *Destination) Write(p *pdk.TablePlan, b *pdk.WriteBatch) error {
	t, ok := p.State.(*table)
	if !ok {
		return fmt.Errorf("the plan of %s is not this destination's", p.Table)
	}
	if err := d.prepare(t, b); err != nil {
		return err
	}
	unkeyed, err := d.lacksKey(t, b)
	if c := d.known[t.quoted()]; c != nil && b.Rows == 0 {
		c.loading = false // this ends a load
	}
	if err != nil || b.Rows == 0 {
		return err
	}
	if err := d.learnShared(t); err != nil {
		return err
	}
	w := &writing{Destination: d, table: t, batch: b}
	if w.apart, err = d.nullsApart(t); err != nil {
		return err
	}
	plainly := unkeyed
	if d.hasState(t) && !unkeyed {
		if plainly, err = w.meetsNone(); err != nil {
			return err
		}
	}
	switch {
	case b.IsTruncate():
		err = w.truncate()
	case d.config.LoadMode == appended:
		err = w.append()
	case t.keyless():
		err = w.wholeRows()
	case d.config.LoadMode == history:
		err = w.versions()
	case plainly:
		err = w.insert("")
	case d.dialect.PhysicalKey && !w.apart && !t.collided && !b.Has("UDK") && len(b.Absent) == 0:
		err = w.insertOrMerge()
	default:
		err = w.merge()
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", t.quoted(), err)
	}
	return nil
}

// hasState says that the target has one row for each key.
func (d *Destination) hasState(t *table) bool { return d.config.LoadMode == merge && len(t.key) > 0 }

// writing is one batch on its way into one table.
type writing struct {
	*Destination
	table *table
	batch *pdk.WriteBatch
	// absent are the columns with a flag in the stage.
	absent []int
	// apart: the table's index does not meet keys with NULL.
	apart bool
}

func (w *writing) ingest(in pdk.IngestInput) error {
	_, err := w.batch.Ingest(in)
	return err
}

func (w *writing) exec(format string, args ...any) error {
	_, err := pdk.Exec(fmt.Sprintf(format, args...))
	return err
}

// insert moves the rows with one of ops, all if it is empty, straight into the
// table.
func (w *writing) insert(ops string) error {
	return w.ingest(pdk.IngestInput{Table: w.table.quoted(), Columns: w.direct(pdk.IngestColumn{Type: w.dialect.Text, From: pdk.FromOp}), Ops: ops})
}

// uniqueViolation is the SQLSTATE of a key that is there already.
const uniqueViolation = "23505"

// insertOrMerge copies rows of new keys straight into the table, which is more
// than twice as fast as merging them.
func (w *writing) insertOrMerge() error {
	done, err := w.insertNew("")
	if err != nil || done {
		return err
	}
	return w.merge()
}

// insertNew copies rows with one of ops straight into the table. The primary key
// tells if one was not new (a row marked as deleted, a repeated load): then
// nothing was done, and the rows of this batch and the table's further ones are
// merged.
func (w *writing) insertNew(ops string) (done bool, _ error) {
	if err := w.exec("SAVEPOINT leat_insert"); err != nil {
		return false, err
	}
	err := w.insert(ops)
	if err == nil {
		return true, w.exec("RELEASE SAVEPOINT leat_insert")
	}
	var failure *pdk.SQLError
	if !errors.As(err, &failure) || failure.Code != uniqueViolation {
		return false, err
	}
	w.table.collided = true
	return false, w.exec("ROLLBACK TO SAVEPOINT leat_insert")
}

// direct lists the columns of an ingest straight into the table. op says
// where the operation comes from.
func (w *writing) direct(op pdk.IngestColumn) []pdk.IngestColumn {
	var out []pdk.IngestColumn
	for i, c := range w.table.columns {
		out = append(out, pdk.IngestColumn{Name: c.name, Type: c.mapping.Type, From: pdk.FromColumn, Column: i, Lossy: c.mapping.Lossy})
	}
	for _, a := range w.written() {
		if a.direct.From == pdk.FromOp {
			a.direct = op
		}
		if a.direct.From != "" {
			a.direct.Name, a.direct.Type = a.name, a.typ
			out = append(out, a.direct)
		}
	}
	return out
}

// Names of the stage's own columns. Those of the table are c0, c1 and so on,
// the flags of absent cells a0, a1.
const stageName = "__leat_stage"

func (w *writing) stage() string {
	if w.dialect.StageSchema == "" {
		return Quote(stageName)
	}
	return w.dialect.StageSchema + "." + Quote(stageName)
}

// fillStage moves the rows with one of ops into the stage.
func (w *writing) fillStage(ops string) error {
	var columns []pdk.IngestColumn
	for i, c := range w.table.columns {
		columns = append(columns, pdk.IngestColumn{Name: cell(i), Type: c.mapping.Type, From: pdk.FromColumn, Column: i, Lossy: c.mapping.Lossy})
	}
	for _, i := range w.absent {
		columns = append(columns, pdk.IngestColumn{Name: absence(i), Type: w.dialect.Boolean, From: pdk.FromAbsent, Column: i})
	}
	columns = append(columns,
		pdk.IngestColumn{Name: "op", Type: w.dialect.Text, From: pdk.FromOp},
		pdk.IngestColumn{Name: "at", Type: w.dialect.Timestamp, From: pdk.FromCommitTime},
		pdk.IngestColumn{Name: "n", Type: "BIGINT", From: pdk.FromRow})
	columns = append(append(columns, w.staged()...), w.origin()...)
	return w.ingest(pdk.IngestInput{Table: Quote(stageName), Temporary: true, Columns: columns, Ops: ops})
}

// staged are the columns of the stage that only some tables need.
func (w *writing) staged() []pdk.IngestColumn {
	var out []pdk.IngestColumn
	m := w.table.meta
	if m.lsn != "" {
		out = append(out,
			pdk.IngestColumn{Name: "lsn", Type: "BIGINT", From: pdk.FromLSN},
			pdk.IngestColumn{Name: "ordinal", Type: "BIGINT", From: pdk.FromOrdinal})
	}
	if m.ingested != "" {
		out = append(out, pdk.IngestColumn{Name: "ingested", Type: w.dialect.Timestamp, From: pdk.FromIngestTime})
	}
	if m.id != "" {
		out = append(out,
			pdk.IngestColumn{Name: "id", Type: w.dialect.Text, From: pdk.FromRowID},
			pdk.IngestColumn{Name: "place", Type: w.dialect.RowIDType, From: pdk.FromConstant})
	}
	return out
}

func cell(i int) string    { return fmt.Sprintf("c%d", i) }
func absence(i int) string { return fmt.Sprintf("a%d", i) }

// merge replaces the rows of every key in the batch.
func (w *writing) merge() error {
	w.absent = w.batch.Absent
	if w.config.Deletes == soft && w.batch.Has("D") {
		w.absent = w.absent[:0:0] // a marked row keeps what it was
		for i, c := range w.table.columns {
			if !c.key {
				w.absent = append(w.absent, i)
			}
		}
	}
	if w.byKind() {
		return w.mergeByKind()
	}
	if err := w.fillStage(""); err != nil {
		return err
	}
	for _, s := range w.mergeStatements() {
		if err := w.exec("%s", s); err != nil {
			return err
		}
	}
	return nil
}

// mergeStatements bring the rows of the stage into the table.
func (w *writing) mergeStatements() []string {
	out := append(w.ignoreStatements(), w.fillMoved()...)
	out = append(out, w.fillOwn()...)
	out = append(out, w.deleteReplaced()...)
	live := "s.op NOT IN ('K', 'D')"
	if w.table.meta.marked != "" {
		live = "s.op <> 'K'"
	}
	return append(out, w.insertStatement(live))
}

// ignoreStatements take deletes out of the stage that are not to be applied.
func (w *writing) ignoreStatements() (out []string) {
	if w.config.Deletes != ignore || !w.batch.Has("D") {
		return nil
	}
	if w.batch.Has("K") { // an ignored delete leaves the row where it was
		out = append(out, fmt.Sprintf(`DELETE FROM %[1]s AS k USING %[1]s AS d WHERE k.op = 'K' AND d.op = 'D' AND k.n = d.n - 1`, w.stage()))
	}
	return append(out, fmt.Sprintf(`DELETE FROM %s WHERE op = 'D'`, w.stage()))
}

// deleteReplaced removes the rows that are to go, or to be inserted again.
func (w *writing) deleteReplaced() []string {
	which := w.replaced()
	if which == "none" {
		return nil
	}
	return []string{fmt.Sprintf(`DELETE FROM %s AS t USING %s AS s WHERE %s%s`, w.table.quoted(), w.stage(), w.match("s"), which)}
}

// replaced is the condition on the rows that are to be deleted, "none" if the
// insertion replaces them by itself.
func (w *writing) replaced() string {
	switch {
	case !w.dialect.PhysicalKey && w.config.insertsAreNew() && !w.batch.Has("UDRK"):
		return " AND t." + Quote(w.table.meta.marked) // else the key was not there
	case !w.dialect.PhysicalKey:
		return ""
	}
	var some []string
	switch {
	case w.batch.Has("D") && w.config.Deletes == hard:
		some = append(some, "s.op IN ('K', 'D')")
	case w.batch.Has("K"):
		some = append(some, "s.op = 'K'")
	}
	if w.apart {
		for _, k := range w.table.key {
			some = append(some, "s."+cell(k)+" IS NULL")
		}
	}
	switch len(some) {
	case 0:
		return "none"
	case 1:
		return " AND " + some[0]
	}
	return " AND (" + strings.Join(some, " OR ") + ")"
}

// match compares the target's key with the key in the stage.
func (w *writing) match(stage string) string {
	parts := make([]string, len(w.table.key))
	for i, k := range w.table.key {
		c := w.table.columns[k]
		parts[i] = c.equal("t."+Quote(c.name), stage+"."+cell(k))
	}
	return strings.Join(parts, " AND ")
}

// equal compares two values of the column, of which both may be NULL where it may
// be. PostgreSQL can only join by the columns that may not.
func (c *column) equal(a, b string) string {
	operator := "="
	if c.null {
		operator = "IS NOT DISTINCT FROM"
	}
	return a + " " + operator + " " + b
}

// fills are the assignments that put the cells of a row t of the target into the
// absent ones of the stage, and the condition that there is one.
func (w *writing) fills() (set, some string) {
	var all, any []string
	for _, i := range w.absent {
		all = append(all, fmt.Sprintf("%[1]s = CASE WHEN s.%[2]s THEN t.%[3]s ELSE s.%[1]s END", cell(i), absence(i), Quote(w.table.columns[i].name)))
		any = append(any, "s."+absence(i))
	}
	return strings.Join(all, ", "), "(" + strings.Join(any, " OR ") + ")"
}

// fillMoved fills the absent cells of rows that come with an old key from the row
// under that, where it is there: no other has them.
func (w *writing) fillMoved() []string {
	if len(w.absent) == 0 || !w.batch.Has("K") {
		return nil
	}
	set, some := w.fills()
	for _, i := range w.absent {
		set += fmt.Sprintf(", %s = false", absence(i))
	}
	return []string{fmt.Sprintf(`UPDATE %[1]s AS s SET %[2]s FROM %[1]s AS k, %[3]s AS t WHERE k.op = 'K' AND k.n = s.n - 1 AND s.op <> 'K' AND %[4]s AND %[5]s`,
		w.stage(), set, w.table.quoted(), some, w.match("k"))}
}

// fillOwn fills those of the other rows from the row of their key.
func (w *writing) fillOwn() []string {
	if len(w.absent) == 0 {
		return nil
	}
	set, some := w.fills()
	own := ""
	if w.batch.Has("K") {
		own = fmt.Sprintf(` AND NOT EXISTS (SELECT 1 FROM %s AS k WHERE k.op = 'K' AND k.n = s.n - 1)`, w.stage())
	}
	return []string{fmt.Sprintf(`UPDATE %s AS s SET %s FROM %s AS t WHERE s.op <> 'K' AND %s AND %s%s`, w.stage(), set, w.table.quoted(), some, w.match("s"), own)}
}

// insertStatement inserts the rows s of the stage for which live holds.
func (w *writing) insertStatement(live string) string {
	var names, values, set []string
	put := func(name, value string, key bool) {
		names = append(names, Quote(name))
		values = append(values, value)
		if !key {
			set = append(set, fmt.Sprintf("%[1]s = EXCLUDED.%[1]s", Quote(name)))
		}
	}
	for i, c := range w.table.columns {
		put(c.name, "s."+cell(i), c.key)
	}
	for _, a := range w.written() {
		put(a.name, a.staged, false)
	}
	statement := fmt.Sprintf(`INSERT INTO %s (%s) SELECT %s FROM %s AS s WHERE %s`,
		w.table.quoted(), strings.Join(names, ", "), strings.Join(values, ", "), w.stage(), live)
	if w.dialect.PhysicalKey {
		key := w.index(w.table, w.shared[w.table.quoted()])
		action := "UPDATE SET " + strings.Join(set, ", ")
		if len(set) == 0 {
			action = "NOTHING"
		}
		statement += fmt.Sprintf(` ON CONFLICT (%s)%s DO %s`, quoteAll(key.columns), key.where(w.Destination), action)
	}
	return statement
}
