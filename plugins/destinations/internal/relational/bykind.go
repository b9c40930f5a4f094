package relational

import (
	"fmt"
	"strings"

	pdk "github.com/leat-etl/leat/pdk/go"
)

// A database with physical keys takes a batch one kind of change after the other:
// new rows are copied straight into the table, those that are there are updated
// in place, and only what neither reaches goes through an insertion that looks for
// conflicts, which costs far more. Rows that wait for an absent cell take it in the
// same update.

// byKind says that the key finds every row of the table.
func (w *writing) byKind() bool {
	t := w.table
	return w.dialect.PhysicalKey && !w.apart && !t.nullableKey && t.ownKey == "" && !w.shared[t.quoted()]
}

func (w *writing) mergeByKind() error {
	staged := ""
	if w.batch.Has("IR") && !w.table.collided {
		done, err := w.insertNew("IR")
		if err != nil {
			return err
		}
		if done {
			staged = "UDK"
		}
	}
	if err := w.fillStage(staged); err != nil {
		return err
	}
	statements := append(w.ignoreStatements(), w.fillMoved()...)
	for _, s := range append(statements, w.deleteReplaced()...) {
		if err := w.exec("%s", s); err != nil {
			return err
		}
	}
	var rest []string // each alone: of an OR the planner would read the whole table
	if staged == "" && w.batch.Has("IR") {
		rest = append(rest, "s.op IN ('I', 'R')")
	}
	missing, err := w.update()
	if err != nil {
		return err
	}
	if missing != "" {
		rest = append(rest, missing)
	}
	for _, live := range rest {
		if err := w.exec("%s", w.insertStatement(live)); err != nil {
			return err
		}
	}
	return nil
}

// update changes the rows that are there, and returns the condition on those of
// the stage that were not, empty if all were.
func (w *writing) update() (missing string, err error) {
	ops, rows := "s.op = 'U'", w.batch.Ops["U"]
	if w.table.meta.marked != "" {
		ops, rows = "s.op IN ('U', 'D')", rows+w.batch.Ops["D"]
	}
	if rows == 0 {
		return "", nil
	}
	absent := map[int]bool{}
	for _, i := range w.absent {
		absent[i] = true
	}
	var set []string
	for i, c := range w.table.columns {
		switch name := Quote(c.name); {
		case c.key:
		case absent[i]:
			set = append(set, fmt.Sprintf("%[1]s = CASE WHEN s.%[2]s THEN t.%[1]s ELSE s.%[3]s END", name, absence(i), cell(i)))
		default:
			set = append(set, name+" = s."+cell(i))
		}
	}
	for _, a := range w.written() {
		set = append(set, Quote(a.name)+" = "+a.staged)
	}
	t := w.table.quoted()
	if len(set) > 0 { // else a row is all key
		changed, err := pdk.Exec(fmt.Sprintf("UPDATE %s AS t SET %s FROM %s AS s WHERE %s AND %s", t, strings.Join(set, ", "), w.stage(), ops, w.match("s")))
		if err != nil || changed == int64(rows) {
			return "", err
		}
	}
	return fmt.Sprintf("%s AND NOT EXISTS (SELECT 1 FROM %s AS t WHERE %s)", ops, t, w.match("s")), nil
}
