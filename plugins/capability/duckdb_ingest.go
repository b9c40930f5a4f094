//go:build duckdb_arrow

package capability

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/leat-etl/leat/engine/batch"
)

// duckIngest builds the Arrow view of one batch and the SELECT over it.
type duckIngest struct {
	batch  *batch.Batch
	fields []arrow.Field
	arrays []arrow.Array
	// made are the arrays that this ingest owns and releases.
	made   []arrow.Array
	exprs  []string
	names  []string
	rowOps bool
}

// Ingest implements SQL. Without a transaction it runs in its own.
func (d *duckDB) Ingest(ctx context.Context, b *batch.Batch, in Ingest) (int64, error) {
	g := &duckIngest{batch: b}
	defer g.release()
	for _, c := range in.Columns {
		if err := g.add(c); err != nil {
			return 0, err
		}
	}
	rows, all := selected(b, in.Ops)
	want := int64(b.Len())
	if !all {
		want = int64(len(rows))
	}
	if want == 0 && !in.Temporary {
		return 0, nil
	}
	where := ""
	if !all {
		// A function: DuckDB would leave a plain comparison to the Arrow scan,
		// which does not filter.
		where = " WHERE chr(" + g.opColumn() + ") IN (" + opList(in.Ops) + ")"
	}
	if d.inTx {
		return want, d.ingest(ctx, g, in, where, want)
	}
	if err := d.Begin(ctx); err != nil {
		return 0, err
	}
	err := d.ingest(ctx, g, in, where, want)
	if err == nil {
		err = d.Commit(ctx)
	}
	if err != nil {
		return 0, errors.Join(err, d.Rollback(ctx))
	}
	return want, nil
}

func (d *duckDB) ingest(ctx context.Context, g *duckIngest, in Ingest, where string, want int64) error {
	if len(g.arrays) == 0 {
		g.opColumn() // a view needs a column even if every expression is constant
	}
	schema := arrow.NewSchema(g.fields, nil)
	record := array.NewRecordBatch(schema, g.arrays, int64(g.batch.Len()))
	defer record.Release()
	var pinner runtime.Pinner
	defer pinner.Unpin()
	for _, a := range g.arrays {
		pin(&pinner, a.Data())
	}
	reader, err := array.NewRecordReader(schema, []arrow.RecordBatch{record})
	if err != nil {
		return fmt.Errorf("read batch of %s: %w", g.batch.Schema.Table, err)
	}
	defer reader.Release()
	release, err := d.arrow.RegisterView(reader, d.view)
	if err != nil {
		return duckError(ctx, err)
	}
	defer release()
	moved, err := d.Exec(ctx, g.statement(in, quoteName(d.view), where))
	if err != nil {
		return err
	}
	if !in.Temporary && moved != want {
		return &Error{Class: Internal, Message: fmt.Sprintf("ingest into %s moved %d rows of %d", in.Table, moved, want)}
	}
	_, err = d.Exec(ctx, "DROP VIEW "+quoteName(d.view))
	return err
}

// statement adds no rows to those of the view, by a function of which DuckDB
// cannot tell the parts. That keeps it from inserting in parallel: it would
// fill tables of its own first, and copy one batch, which is less than a row
// group, from there into the transaction.
func (g *duckIngest) statement(in Ingest, view, where string) string {
	var s strings.Builder
	if in.Temporary {
		fmt.Fprintf(&s, "CREATE OR REPLACE TEMP TABLE %s AS SELECT ", in.Table)
	} else {
		fmt.Fprintf(&s, "INSERT INTO %s (", in.Table)
		for i, n := range g.names {
			if i > 0 {
				s.WriteString(", ")
			}
			s.WriteString(quoteName(n))
		}
		s.WriteString(") SELECT ")
	}
	for i, e := range g.exprs {
		if i > 0 {
			s.WriteString(", ")
		}
		fmt.Fprintf(&s, "%s AS %s", e, quoteName(g.names[i]))
	}
	s.WriteString(" FROM " + view + where)
	s.WriteString(" UNION ALL SELECT NULL" + strings.Repeat(", NULL", max(0, len(g.exprs)-1)) + " FROM range(0)")
	return s.String()
}

// pin keeps Go memory in place while DuckDB holds pointers to it. Memory that
// is not Go's (a guest's, mapped by the host) cannot move and is not pinned.
func pin(p *runtime.Pinner, d arrow.ArrayData) {
	for _, b := range d.Buffers() {
		if b != nil && b.Len() > 0 {
			pinGo(p, &b.Bytes()[0])
		}
	}
	for _, child := range d.Children() {
		pin(p, child)
	}
}

func pinGo(p *runtime.Pinner, first *byte) {
	defer func() { _ = recover() }() // Pin panics for memory that is not Go's
	p.Pin(first)
}

func (g *duckIngest) release() {
	for _, a := range g.made {
		a.Release()
	}
}

// add turns one column of the ingest into an Arrow column and an expression.
func (g *duckIngest) add(c IngestColumn) error {
	g.names = append(g.names, c.Name)
	b := g.batch
	switch c.From {
	case FromColumn:
		if c.Column < 0 || c.Column >= len(b.Schema.Columns) {
			return columnError(Schema, c, fmt.Errorf("the batch has no column %d", c.Column))
		}
		return g.addColumn(c)
	case FromConstant:
		value := "NULL"
		if c.Value != nil {
			value = quoteText(*c.Value)
		}
		g.exprs = append(g.exprs, fmt.Sprintf("CAST(%s AS %s)", value, c.Type))
	case FromOp:
		g.cast(c, "chr("+g.opColumn()+")")
	case FromLSN:
		g.cast(c, g.own(uint64Array(b.LSN)))
	case FromOrdinal:
		g.cast(c, g.own(uint64Array(b.Ordinal)))
	case FromCommitTime:
		g.cast(c, g.own(commitTimes(b.CommitTime, parseSQLType(c.Type).name != "timestamp")))
	case FromIngestTime:
		g.cast(c, g.own(commitTimes(repeated(b.Ingested, b.Len()), true)))
	case FromOrigin:
		g.cast(c, g.own(plainArray(arrow.PrimitiveTypes.Int64, b.Len(), arrow.Int64Traits.CastToBytes(batch.Origins(b)))))
	case FromRow:
		g.cast(c, g.own(rowNumbers(b.Len())))
	case FromAbsent:
		if c.Column < 0 || c.Column >= len(b.Present) {
			return columnError(Schema, c, fmt.Errorf("the batch has no column %d", c.Column))
		}
		if present := b.Present[c.Column]; present != nil {
			g.cast(c, g.own(absent(present, b.Len())))
		} else {
			g.cast(c, "false")
		}
	case FromRowID:
		ids, err := newRowIDs(b)
		if err != nil {
			return columnError(Schema, c, err)
		}
		g.cast(c, g.own(ids.column(b.Len())))
	default:
		return columnError(Schema, c, fmt.Errorf("unknown source %q", c.From))
	}
	return nil
}

func (g *duckIngest) cast(c IngestColumn, expr string) {
	g.exprs = append(g.exprs, fmt.Sprintf("CAST(%s AS %s)", expr, c.Type))
}

// own adds an array made here and returns its name in the view.
func (g *duckIngest) own(a arrow.Array) string {
	g.made = append(g.made, a)
	return g.field(a, arrow.Metadata{})
}

func (g *duckIngest) field(a arrow.Array, meta arrow.Metadata) string {
	name := fmt.Sprintf("c%d", len(g.fields))
	g.fields = append(g.fields, arrow.Field{Name: name, Type: a.DataType(), Nullable: true, Metadata: meta})
	g.arrays = append(g.arrays, a)
	return name
}

// opColumn adds the operations, once, as numbers.
func (g *duckIngest) opColumn() string {
	if !g.rowOps {
		g.rowOps = true
		ops := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(g.batch.Ops))), len(g.batch.Ops))
		a := plainArray(arrow.PrimitiveTypes.Uint8, len(ops), ops)
		g.made = append(g.made, a)
		g.fields = append(g.fields, arrow.Field{Name: "op", Type: a.DataType()})
		g.arrays = append(g.arrays, a)
	}
	return "op"
}

func opList(ops string) string {
	list := make([]string, len(ops))
	for i := range len(ops) {
		list[i] = quoteText(ops[i : i+1])
	}
	return strings.Join(list, ", ")
}

// plainArray wraps data, which must stay as it is, as a column without nulls.
func plainArray(t arrow.DataType, n int, data []byte) arrow.Array {
	d := array.NewData(t, n, []*memory.Buffer{nil, memory.NewBufferBytes(data)}, nil, 0, 0)
	defer d.Release()
	return array.MakeFromData(d)
}

func uint64Array(v []uint64) arrow.Array {
	return plainArray(arrow.PrimitiveTypes.Uint64, len(v), arrow.Uint64Traits.CastToBytes(v))
}

func commitTimes(v []int64, utc bool) arrow.Array {
	t := &arrow.TimestampType{Unit: arrow.Microsecond}
	if utc {
		t.TimeZone = "UTC"
	}
	return plainArray(t, len(v), arrow.Int64Traits.CastToBytes(v))
}

func repeated(v int64, n int) []int64 {
	out := make([]int64, n)
	for i := range out {
		out[i] = v
	}
	return out
}

func rowNumbers(n int) arrow.Array {
	rows := make([]int64, n)
	for i := range rows {
		rows[i] = int64(i)
	}
	return plainArray(arrow.PrimitiveTypes.Int64, n, arrow.Int64Traits.CastToBytes(rows))
}

func absent(present batch.Bitmap, n int) arrow.Array {
	not := batch.NewBitmap(n)
	for i := range not {
		not[i] = ^present[i]
	}
	return plainArray(arrow.FixedWidthTypes.Boolean, n, not)
}
