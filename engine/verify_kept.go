package engine

import (
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/leat-etl/leat/engine/batch"
)

// keptColumns are those of a merged table that a source has dropped or renamed
// while another still has them: the rows of that source keep there at the
// destination what they had, which the source can no longer show. It holds the
// indexes of such columns by the database that is without them.
type keptColumns struct {
	// database is the column that says where a row comes from.
	database int
	columns  map[string]map[int]bool
}

// cell says whether a cell of a row is compared with nothing.
func (k *keptColumns) cell(columns []arrow.Array, col, row int) bool {
	if k == nil {
		return false
	}
	names, ok := columns[k.database].(*array.String)
	return ok && names.IsValid(row) && k.columns[names.Value(row)][col]
}

// findKept looks at every source of a merged table.
func (v *verifier) findKept(t *verified) error {
	k := &keptColumns{database: databaseColumn(t.schema), columns: map[string]map[int]bool{}}
	if len(t.tables) < 2 || k.database < 0 {
		return nil
	}
	for n, table := range t.tables {
		history, err := v.p.store.Schemas(table.ID())
		if err != nil {
			return err
		}
		for i, c := range t.schema.Columns {
			if c.Key > 0 || numberIn(t.leaves[n], c.Name) > 0 {
				continue // it has the column
			}
			if name := t.sourceName(c.Name); name != "" && once(history, name) {
				if k.columns[table.ID().Database] == nil {
					k.columns[table.ID().Database] = map[int]bool{}
				}
				k.columns[table.ID().Database][i] = true
			}
		}
	}
	if len(k.columns) > 0 {
		t.kept = k
	}
	return nil
}

// databaseColumn is the index of the column that merging adds, -1 for none.
func databaseColumn(s *batch.Schema) int {
	return slices.IndexFunc(s.Columns, func(c batch.Column) bool {
		return c.ID == 0 && strings.HasSuffix(c.Name, "database_name") && c.Type.ID() == arrow.STRING
	})
}

// numberIn is the number of the source's column behind a column of what its
// chain makes, 0 for none.
func numberIn(leaf *batch.Schema, name string) int {
	if i := leaf.Column(name); i >= 0 {
		return leaf.Columns[i].ID
	}
	return 0
}

// sourceName is what a column of the target is called in the sources that have
// it, empty if none has.
func (t *verified) sourceName(name string) string {
	for n, table := range t.tables {
		if number := numberIn(t.leaves[n], name); number > 0 {
			if i := table.Schema.ColumnID(number); i >= 0 {
				return table.Schema.Columns[i].Name
			}
		}
	}
	return ""
}

// once says whether a table had a column of a name at some time.
func once(history []*batch.Schema, name string) bool {
	return slices.ContainsFunc(history, func(s *batch.Schema) bool { return s.Column(name) >= 0 })
}
