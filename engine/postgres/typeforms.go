package postgres

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// A value of an enum is a number on disk and its label in the log, one of a
// composite type has the attributes that its type has when it is read. So ALTER
// TYPE changes what all rows are read as, and the log tells nothing of it.

// typeForm is what decides how values of a type read: the labels of an enum, the
// attributes of a composite.
type typeForm struct {
	oid   uint32
	name  string
	parts []typePart // by number
}

// typePart is a label of an enum or an attribute of a composite.
type typePart struct {
	number uint32 // of an enum's label that of its row, which a new name keeps
	text   string
}

// firstUserOID is the first that an object can have which came after initdb.
const firstUserOID = 16384

// loadTypeForms finds the types behind the columns of tables whose values may
// come to read otherwise.
func (s *Source) loadTypeForms(ctx context.Context, conn *pgx.Conn, tables map[uint32]*Table) error {
	var relations []uint32
	for oid, t := range tables {
		if slices.ContainsFunc(t.attributes, func(a attribute) bool { return !a.dropped && a.typeOID >= firstUserOID }) {
			relations = append(relations, oid)
		}
	}
	if len(relations) == 0 {
		return nil
	}
	ranges := "SELECT r.rngsubtype FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid"
	if s.Version >= 140000 {
		ranges = "SELECT r.rngsubtype FROM pg_catalog.pg_range r WHERE t.oid IN (r.rngtypid, r.rngmultitypid)"
	}
	rows, err := conn.Query(ctx, `WITH RECURSIVE used(relation, oid) AS (
			SELECT a.attrelid, a.atttypid FROM pg_catalog.pg_attribute a WHERE a.attrelid = ANY($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid >= $2
			UNION SELECT u.relation, part.oid FROM used u JOIN pg_catalog.pg_type t ON t.oid = u.oid CROSS JOIN LATERAL (
				SELECT t.typelem UNION ALL SELECT t.typbasetype UNION ALL `+ranges+`
				UNION ALL SELECT a.atttypid FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) part(oid)
			WHERE part.oid >= $2)
		SELECT u.relation, t.oid, pg_catalog.format_type(t.oid, NULL), p.number, p.form FROM used u JOIN pg_catalog.pg_type t ON t.oid = u.oid JOIN (
			SELECT e.enumtypid, e.oid::bigint, e.enumlabel::text FROM pg_catalog.pg_enum e
			UNION ALL SELECT c.reltype, a.attnum, concat_ws(' ', a.atttypid, a.atttypmod) FROM pg_catalog.pg_attribute a
				JOIN pg_catalog.pg_class c ON c.oid = a.attrelid WHERE c.relkind = 'c' AND a.attnum > 0 AND NOT a.attisdropped) p(type, number, form) ON p.type = t.oid
		ORDER BY u.relation, t.oid, p.number`, relations, firstUserOID)
	if err != nil {
		return err
	}
	var relation, oid uint32
	var name, text string
	var number int64
	_, err = pgx.ForEachRow(rows, []any{&relation, &oid, &name, &number, &text}, func() error {
		t := tables[relation]
		if n := len(t.forms); n == 0 || t.forms[n-1].oid != oid {
			t.forms = append(t.forms, typeForm{oid: oid, name: name})
		}
		f := &t.forms[len(t.forms)-1]
		f.parts = append(f.parts, typePart{uint32(number), text})
		return nil
	})
	return err
}

// upTo is a digest of the parts whose number is not above last.
func (f *typeForm) upTo(last uint32) uint64 {
	h := fnv.New64a()
	for _, p := range f.parts {
		if p.number <= last {
			fmt.Fprintf(h, "%d %q ", p.number, p.text)
		}
	}
	return h.Sum64()
}

// last is the greatest number of a part.
func (f *typeForm) last() uint32 { return f.parts[len(f.parts)-1].number }

// isEnum says whether parts are labels: another one changes no value.
func (f *typeForm) isEnum() bool { return f.parts[0].number >= firstUserOID }

// Forms names how values of the table's columns read, as far as their types can
// change that; empty if none can.
func (t *Table) Forms() string {
	out := make([]string, len(t.forms))
	for i := range t.forms {
		f := &t.forms[i]
		out[i] = fmt.Sprintf("%d:%d:%x", f.oid, f.last(), f.upTo(f.last()))
	}
	return strings.Join(out, " ")
}

// FormsMoved says why rows read otherwise than when Forms was this, empty if they
// do not.
func (t *Table) FormsMoved(forms string) string {
	before := map[uint32][2]uint64{}
	for _, text := range strings.Fields(forms) {
		var oid uint32
		var last, digest uint64
		if _, err := fmt.Sscanf(text, "%d:%d:%x", &oid, &last, &digest); err == nil {
			before[oid] = [2]uint64{last, digest}
		}
	}
	for i := range t.forms {
		f := &t.forms[i]
		was, known := before[f.oid]
		last := f.last()
		if f.isEnum() {
			last = uint32(was[0])
		}
		if known && f.upTo(last) != was[1] {
			return fmt.Sprintf("type %s was altered, and its rows read otherwise", f.name)
		}
	}
	return ""
}
