package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/leat-etl/leat/engine/postgres"
)

// PlannedIndex is an index or a constraint of the source's table in terms of
// the target. Leat makes none but the key: the statement is for the user to
// run once the historical load has ended.
type PlannedIndex struct {
	Name string `json:"name"`
	// Statement makes it at the destination; empty where Leat knows no statement
	// that does the same there.
	Statement string `json:"statement,omitempty"`
	// Source is how the source defines it, Note what is different and why.
	Source string `json:"source"`
	Note   string `json:"note,omitempty"`
}

// indexesOf asks a source for the indexes of tables.
func indexesOf(ctx context.Context, source *postgres.Source, tables []*postgres.Table) (map[uint32][]postgres.Index, error) {
	oids := make([]uint32, 0, len(tables))
	for _, t := range tables {
		if mendable(t) {
			oids = append(oids, t.OID)
		}
	}
	return source.Indexes(ctx, oids)
}

// addIndexes gives the targets of a planned table what the source's has.
func (p *Pipeline) addIndexes(out *PlannedTable, indexes []postgres.Index) {
	for t := range out.Targets {
		target := &out.Targets[t]
		for _, index := range indexes {
			target.Indexes = append(target.Indexes, plannedIndex(index, target, p.plugins.target.Manifest.Driver))
		}
	}
}

func plannedIndex(index postgres.Index, target *PlannedTarget, driver string) PlannedIndex {
	out := PlannedIndex{Name: index.Name, Source: index.Definition}
	var columns []string
	for n, number := range index.Columns {
		i := slices.IndexFunc(target.Columns, func(c PlannedColumn) bool { return number > 0 && c.number == number })
		if i < 0 {
			out.Note = "it needs an expression or a column that the destination has not"
			return out
		}
		column := `"` + strings.ReplaceAll(target.Columns[i].Name, `"`, `""`) + `"`
		if driver == "postgres" && index.Method == "btree" {
			column += order(index.Descending[n], index.NullsFirst[n])
		}
		columns = append(columns, column)
	}
	switch {
	case index.Kind != "index":
		out.Note = "a " + index.Kind + " holds at the end of the source's transactions; rows come table by table, and rows that the source deleted may stay"
	case index.Partial:
		out.Note = "its condition is the source's: write it for the destination's types"
	case index.Special:
		out.Note = "it has an operator class or a collation of its own"
	case index.Method != "btree" && driver != "postgres":
		out.Note = fmt.Sprintf("the destination has no %s index", index.Method)
	default:
		using := ""
		if index.Method != "btree" {
			using = " USING " + index.Method
		}
		out.Statement = fmt.Sprintf("CREATE INDEX \"%s\" ON %s%s (%s)", strings.ReplaceAll(index.Name, `"`, `""`), target.Table, using, strings.Join(columns, ", "))
		out.Note = differences(index, driver)
	}
	return out
}

// order is that of a column of an index, where it is not the default.
func order(descending, nullsFirst bool) string {
	switch {
	case descending && !nullsFirst:
		return " DESC NULLS LAST"
	case descending:
		return " DESC"
	case nullsFirst:
		return " NULLS FIRST"
	}
	return ""
}

// differences says what the statement leaves out, and what it costs.
func differences(index postgres.Index, driver string) string {
	var notes []string
	if driver == "duckdb" {
		notes = append(notes, "DuckDB alters no table that has an index: drop it before a column of the source changes")
	}
	if index.Unique {
		notes = append(notes, "unique at the source; not here, where rows that the source deleted may stay beside their successors")
	}
	if index.Included {
		notes = append(notes, "without the included columns")
	}
	return strings.Join(notes, "; ")
}
