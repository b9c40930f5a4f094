package engine

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/plugins/wasm"
)

// comparison holds what two plugins made of one batch against each other.
type comparison struct {
	report *ShadowReport
	input  *batch.Batch
}

// shapes notes how the planned tables differ, each difference once.
func (c *comparison) shapes(live, candidate []*batch.Schema) {
	note := func(format string, args ...any) {
		if line := fmt.Sprintf(format, args...); !slices.Contains(c.report.Shapes, line) {
			c.report.Shapes = append(c.report.Shapes, line)
		}
	}
	for _, l := range live {
		other := schemaOf(candidate, l.Table)
		if other == nil {
			note("table %s: only the live plugin makes it", l.Table)
			continue
		}
		for _, column := range l.Columns {
			at := other.Column(column.Name)
			switch {
			case at < 0:
				note("table %s: only the live plugin has column %s", l.Table, column.Name)
			case !arrow.TypeEqual(column.Type, other.Columns[at].Type):
				note("table %s: column %s is %s, of the candidate %s", l.Table, column.Name, column.Type, other.Columns[at].Type)
			case column.Key != other.Columns[at].Key:
				note("table %s: column %s has another place in the key", l.Table, column.Name)
			}
		}
		for _, column := range other.Columns {
			if l.Column(column.Name) < 0 {
				note("table %s: only the candidate has column %s", l.Table, column.Name)
			}
		}
	}
	for _, o := range candidate {
		if schemaOf(live, o.Table) == nil {
			note("table %s: only the candidate makes it", o.Table)
		}
	}
}

func schemaOf(schemas []*batch.Schema, t batch.TableID) *batch.Schema {
	for _, s := range schemas {
		if s.Table == t {
			return s
		}
	}
	return nil
}

// refusals compares the input rows that were refused.
func (c *comparison) refusals(live, candidate []wasm.RowError) {
	refused := func(in []wasm.RowError, row int) bool {
		return slices.ContainsFunc(in, func(e wasm.RowError) bool { return e.Row == row })
	}
	for _, f := range live {
		if !refused(candidate, f.Row) {
			c.report.FailedLive++
			c.example(c.input, f.Row, "only the live plugin refuses it")
		}
	}
	for _, f := range candidate {
		if !refused(live, f.Row) {
			c.report.FailedCandidate++
			c.example(c.input, f.Row, "only the candidate refuses it: "+f.Message)
		}
	}
}

// outputs compares the rows of each table.
func (c *comparison) outputs(live, candidate []*batch.Batch) {
	left := map[batch.TableID]*batch.Batch{}
	for _, b := range candidate {
		left[b.Schema.Table] = b
	}
	for _, l := range live {
		other := left[l.Schema.Table]
		delete(left, l.Schema.Table)
		c.rows(l, other)
	}
	for _, b := range candidate {
		if left[b.Schema.Table] != nil {
			c.rows(nil, b)
		}
	}
}

// rows pairs the rows of two outputs, either of which may be nil, by their
// position; equal positions pair in order.
func (c *comparison) rows(live, candidate *batch.Batch) {
	n, m := lengthOf(live), lengthOf(candidate)
	c.report.Rows += int64(max(n, m))
	var columns []pairedColumn
	if n > 0 && m > 0 {
		columns = pairColumns(live, candidate)
	}
	for i, j := 0, 0; i < n || j < m; {
		order := 0
		switch {
		case j == m:
			order = -1
		case i == n:
			order = 1
		default:
			order = cmp.Or(cmp.Compare(live.LSN[i], candidate.LSN[j]), cmp.Compare(live.Ordinal[i], candidate.Ordinal[j]), cmp.Compare(live.Ops[i], candidate.Ops[j]))
		}
		switch {
		case order < 0:
			c.report.OnlyLive++
			c.example(live, i, "only the live plugin has it")
			i++
		case order > 0:
			c.report.OnlyCandidate++
			c.example(candidate, j, "only the candidate has it")
			j++
		default:
			c.row(live, i, j, columns)
			i, j = i+1, j+1
		}
	}
}

func lengthOf(b *batch.Batch) int {
	if b == nil {
		return 0
	}
	return b.Len()
}

// pairedColumn is a column that both outputs have with one type and that is not
// the same in all rows.
type pairedColumn struct {
	name              string
	live, other       arrow.Array
	present, presence batch.Bitmap
}

func pairColumns(live, candidate *batch.Batch) []pairedColumn {
	var out []pairedColumn
	for i, column := range live.Schema.Columns {
		at := candidate.Schema.Column(column.Name)
		if at < 0 || !arrow.TypeEqual(column.Type, candidate.Schema.Columns[at].Type) {
			continue // a difference of shapes
		}
		p := pairedColumn{column.Name, live.Rows.Column(i), candidate.Rows.Column(at), live.Present[i], candidate.Present[at]}
		if live.Len() != candidate.Len() || !bytes.Equal(p.present, p.presence) || !array.Equal(p.live, p.other) {
			out = append(out, p)
		}
	}
	return out
}

// row compares one pair of rows in the columns that are not the same anyway.
func (c *comparison) row(live *batch.Batch, i, j int, columns []pairedColumn) {
	var differ []string
	for _, p := range columns {
		was, is := p.present == nil || p.present.Get(i), p.presence == nil || p.presence.Get(j)
		if was == is && (!was || bytes.Equal(batch.AppendCell(nil, p.live, i), batch.AppendCell(nil, p.other, j))) {
			continue
		}
		differ = append(differ, p.name)
		if c.report.Columns == nil {
			c.report.Columns = map[string]int64{}
		}
		c.report.Columns[live.Schema.Table.Schema+"."+live.Schema.Table.Name+"."+p.name]++
	}
	if len(differ) > 0 {
		c.report.Differing++
		c.example(live, i, "", differ...)
	}
}

func (c *comparison) example(b *batch.Batch, row int, reason string, columns ...string) {
	if len(c.report.Examples) == maxShadowExamples {
		return
	}
	c.report.Examples = append(c.report.Examples, ShadowExample{
		Table: b.Schema.Table, Columns: columns, Reason: reason,
		Position: batch.Position{Timeline: b.Position.Timeline, LSN: b.LSN[row], Ordinal: b.Ordinal[row]},
	})
}
