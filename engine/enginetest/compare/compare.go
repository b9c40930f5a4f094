// Package compare proves a source table and a destination table equal, row by
// row, for the tests. It shares no code with what it checks: the source is
// read as PostgreSQL's own text, the destination as text by its own SQL,
// and both are brought to one canonical form by the source's declared type:
// numbers by value, timestamps as microseconds in UTC, bytea as hexadecimal,
// arrays element by element whether they arrive as a literal or as JSON.
//
// Rows are matched by primary key; tables without one are compared as
// multisets.
package compare

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Options say what of the destination takes part.
type Options struct {
	// IgnorePrefix marks the destination's metadata columns, such as
	// "__leat_".
	IgnorePrefix string
	// Ignore names further columns that are left out on both sides.
	Ignore []string
	// DeletedColumn is a boolean column of the destination; rows where it is
	// true are left out. Empty counts every row.
	DeletedColumn string
	// DatabaseColumn is the destination's column of the database name, for
	// tables merged from several sources. It becomes part of the key.
	DatabaseColumn string
	// Kept says that the destination keeps columns that a source has dropped:
	// they take no part.
	Kept bool
	// Limit bounds the differences that are kept, 20 if it is 0; all are
	// counted.
	Limit int
}

// Kind is what kind of difference there is.
type Kind string

// The kinds. Missing and Extra are rows only at the source and only at the
// destination, Duplicate a key that the destination has again.
const (
	Missing       Kind = "missing"
	Extra         Kind = "extra"
	Changed       Kind = "changed"
	Duplicate     Kind = "duplicate"
	MissingColumn Kind = "missing column"
	ExtraColumn   Kind = "extra column"
)

// Difference is one place where the sides differ. Key is the row's key, or the
// whole row where there is none.
type Difference struct {
	Kind        Kind
	Key         string
	Column      string
	Source      string
	Destination string
}

// String prints the difference on one line.
func (d Difference) String() string {
	switch d.Kind {
	case Changed:
		return fmt.Sprintf("changed %s: %s is %s at the source, %s at the destination", d.Key, d.Column, d.Source, d.Destination)
	case MissingColumn, ExtraColumn:
		return fmt.Sprintf("%s %s", d.Kind, d.Column)
	}
	return fmt.Sprintf("%s %s", d.Kind, d.Key)
}

// Result is the outcome of a comparison.
type Result struct {
	SourceRows, DestinationRows int
	// Differences are the first Options.Limit of Total.
	Differences []Difference
	Total       int

	limit int
}

// Equal says whether there is no difference.
func (r *Result) Equal() bool { return r.Total == 0 }

// String prints the counts and the differences that were kept.
func (r *Result) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d rows at the source, %d at the destination, %d differences", r.SourceRows, r.DestinationRows, r.Total)
	for _, d := range r.Differences {
		fmt.Fprintf(&b, "\n  %s", d)
	}
	return b.String()
}

func (r *Result) add(d Difference) {
	r.Total++
	if len(r.Differences) < r.limit {
		r.Differences = append(r.Differences, d)
	}
}

// Tables compares a destination table with the union of its sources, which is
// one table unless tables are merged.
func Tables(ctx context.Context, d Destination, o Options, sources ...Source) (*Result, error) {
	r := &Result{limit: o.Limit}
	if r.limit == 0 {
		r.limit = 20
	}
	if len(sources) > 1 && o.DatabaseColumn == "" {
		return nil, fmt.Errorf("compare %s: %d sources need Options.DatabaseColumn", d.table, len(sources))
	}
	var tables []*table
	for _, s := range sources {
		t, err := s.read(ctx, o)
		if err != nil {
			return nil, fmt.Errorf("read source %s: %w", s, err)
		}
		tables = append(tables, t)
		r.SourceRows += len(t.rows)
	}
	columns := union(tables)
	rows, err := d.read(ctx, o, tables, columns, r)
	if err != nil {
		return nil, fmt.Errorf("read destination %s: %w", d.table, err)
	}
	for _, list := range rows {
		r.DestinationRows += len(list)
	}
	for i, t := range tables {
		if places := t.widen(columns); o.Kept {
			blank(rows[i], places)
		}
		if len(t.key) == 0 {
			compareMultisets(t.rows, rows[i], columns, r)
		} else {
			compareByKey(t, rows[i], columns, r)
		}
	}
	for _, row := range rows[len(tables)] { // of no known database
		r.add(Difference{Kind: Extra, Key: row.print(columns)})
	}
	return r, nil
}

// column is a column of a source table.
type column struct {
	name string
	typ  string // PostgreSQL's name without type modifiers, [] for arrays
}

// cell is a canonical value.
type cell struct {
	text string
	null bool
}

func (c cell) String() string {
	if c.null {
		return "NULL"
	}
	const most = 80
	if len(c.text) > most {
		return fmt.Sprintf("%q... (%d bytes)", c.text[:most], len(c.text))
	}
	return fmt.Sprintf("%q", c.text)
}

type row []cell

func (r row) print(columns []column) string {
	var b strings.Builder
	for i, c := range r {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s=%s", columns[i].name, c)
	}
	return b.String()
}

// identity is a string that two rows share only if they are equal at the
// given places.
func (r row) identity(places []int) string {
	var b strings.Builder
	for _, i := range places {
		if r[i].null {
			b.WriteString("N,")
		} else {
			fmt.Fprintf(&b, "%d:%s,", len(r[i].text), r[i].text)
		}
	}
	return b.String()
}

// table is a source table as it was read.
type table struct {
	database string
	columns  []column
	key      []int // places of the primary key, empty without one
	rows     []row
}

// union lists the columns of all sources by first appearance.
func union(tables []*table) []column {
	var out []column
	for _, t := range tables {
		for _, c := range t.columns {
			if !slices.ContainsFunc(out, func(o column) bool { return o.name == c.name }) {
				out = append(out, c)
			}
		}
	}
	return out
}

// blank makes the cells of columns that a source lacks NULL.
func blank(rows []row, places []int) {
	for _, w := range rows {
		for i, p := range places {
			if p < 0 {
				w[i] = cell{null: true}
			}
		}
	}
}

// widen brings the rows to the columns of the union: a column that a source
// lacks is NULL there. It returns the source's places of the columns.
func (t *table) widen(columns []column) []int {
	places := make([]int, len(columns))
	for i, c := range columns {
		places[i] = slices.IndexFunc(t.columns, func(o column) bool { return o.name == c.name })
	}
	for n, old := range t.rows {
		wide := make(row, len(columns))
		for i, p := range places {
			if p < 0 {
				wide[i].null = true
			} else {
				wide[i] = old[p]
			}
		}
		t.rows[n] = wide
	}
	for i, k := range t.key {
		t.key[i] = slices.Index(places, k)
	}
	return places
}

func compareByKey(t *table, rows []row, columns []column, r *Result) {
	keyColumns := make([]column, len(t.key))
	for i, k := range t.key {
		keyColumns[i] = columns[k]
	}
	label := func(w row) string {
		key := make(row, len(t.key))
		for i, k := range t.key {
			key[i] = w[k]
		}
		return strings.TrimPrefix(t.database+" ", " ") + key.print(keyColumns)
	}
	byKey := make(map[string]row, len(rows))
	for _, w := range rows {
		id := w.identity(t.key)
		if _, twice := byKey[id]; twice {
			r.add(Difference{Kind: Duplicate, Key: label(w)})
		}
		byKey[id] = w
	}
	for _, want := range t.rows {
		id := want.identity(t.key)
		got, ok := byKey[id]
		if !ok {
			r.add(Difference{Kind: Missing, Key: label(want)})
			continue
		}
		delete(byKey, id)
		for i := range columns {
			if want[i] != got[i] {
				r.add(Difference{Changed, label(want), columns[i].name, want[i].String(), got[i].String()})
			}
		}
	}
	for _, w := range rows { // in their order, for a stable report
		id := w.identity(t.key)
		if _, left := byKey[id]; left {
			r.add(Difference{Kind: Extra, Key: label(w)})
			delete(byKey, id)
		}
	}
}

func compareMultisets(want, got []row, columns []column, r *Result) {
	all := make([]int, len(columns))
	for i := range all {
		all[i] = i
	}
	count := make(map[string]int, len(want))
	for _, w := range want {
		count[w.identity(all)]++
	}
	for _, g := range got {
		id := g.identity(all)
		if count[id] == 0 {
			r.add(Difference{Kind: Extra, Key: g.print(columns)})
			continue
		}
		count[id]--
	}
	for _, w := range want {
		if id := w.identity(all); count[id] > 0 {
			count[id]--
			r.add(Difference{Kind: Missing, Key: w.print(columns)})
		}
	}
}
