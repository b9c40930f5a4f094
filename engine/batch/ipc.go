package batch

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// Marshal writes a batch as one Arrow IPC stream: the row columns, then
// operation, LSN, ordinal and commit time, then a boolean column for each
// presence bitmap. Schema and Position are in the stream's metadata.
func Marshal(b *Batch) ([]byte, error) {
	schema, err := json.Marshal(b.Schema)
	if err != nil {
		return nil, fmt.Errorf("marshal batch of %s: %w", b.Schema.Table, err)
	}
	fields := append([]arrow.Field(nil), b.Schema.Arrow().Fields()...)
	columns := append([]arrow.Array(nil), b.Rows.Columns()...)
	add := func(name string, t arrow.DataType, n int, buf []byte) {
		data := array.NewData(t, n, []*memory.Buffer{nil, memory.NewBufferBytes(buf)}, nil, 0, 0)
		fields = append(fields, arrow.Field{Name: name, Type: t})
		columns = append(columns, array.MakeFromData(data))
	}
	n := b.Len()
	add("leat.op", arrow.PrimitiveTypes.Uint8, n, arrow.Uint8Traits.CastToBytes(opBytes(b.Ops)))
	add("leat.lsn", arrow.PrimitiveTypes.Uint64, n, arrow.Uint64Traits.CastToBytes(b.LSN))
	add("leat.ordinal", arrow.PrimitiveTypes.Uint64, n, arrow.Uint64Traits.CastToBytes(b.Ordinal))
	add("leat.commit_time", arrow.PrimitiveTypes.Int64, n, arrow.Int64Traits.CastToBytes(b.CommitTime))
	for i, p := range b.Present {
		if p != nil {
			add(fmt.Sprintf("leat.present.%d", i), arrow.FixedWidthTypes.Boolean, n, p)
		}
	}
	meta := arrow.NewMetadata([]string{"leat.schema", "leat.position", "leat.ingested"}, []string{string(schema), b.Position.String(), strconv.FormatInt(b.Ingested, 10)})
	full := arrow.NewSchema(fields, &meta)
	record := array.NewRecordBatch(full, columns, int64(n))
	defer record.Release()
	var out bytes.Buffer
	w := ipc.NewWriter(&out, ipc.WithSchema(full))
	if err := w.Write(record); err != nil {
		return nil, fmt.Errorf("marshal batch of %s: %w", b.Schema.Table, err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("marshal batch of %s: %w", b.Schema.Table, err)
	}
	return out.Bytes(), nil
}

func opBytes(ops []Op) []uint8 {
	out := make([]uint8, len(ops))
	for i, op := range ops {
		out[i] = uint8(op)
	}
	return out
}

// Unmarshal reads what Marshal wrote.
func Unmarshal(data []byte) (*Batch, error) {
	r, err := ipc.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("unmarshal batch: %w", err)
	}
	defer r.Release()
	if !r.Next() {
		return nil, fmt.Errorf("unmarshal batch: no record: %w", r.Err())
	}
	record := r.RecordBatch()
	b := &Batch{Schema: new(Schema)}
	meta := r.Schema().Metadata()
	schema, _ := meta.GetValue("leat.schema")
	if err := json.Unmarshal([]byte(schema), b.Schema); err != nil {
		return nil, fmt.Errorf("unmarshal batch: schema: %w", err)
	}
	position, _ := meta.GetValue("leat.position")
	if b.Position, err = ParsePosition(position); err != nil {
		return nil, fmt.Errorf("unmarshal batch: %w", err)
	}
	ingested, _ := meta.GetValue("leat.ingested")
	b.Ingested, _ = strconv.ParseInt(ingested, 10, 64) // older ones have none
	width := len(b.Schema.Columns)
	if int(record.NumCols()) < width+4 {
		return nil, fmt.Errorf("unmarshal batch: %d columns, want at least %d", record.NumCols(), width+4)
	}
	ops, okOps := record.Column(width).(*array.Uint8)
	lsn, okLSN := record.Column(width + 1).(*array.Uint64)
	ordinal, okOrdinal := record.Column(width + 2).(*array.Uint64)
	at, okTime := record.Column(width + 3).(*array.Int64)
	if !okOps || !okLSN || !okOrdinal || !okTime {
		return nil, fmt.Errorf("unmarshal batch: position columns have the wrong types")
	}
	for _, op := range ops.Uint8Values() {
		b.Ops = append(b.Ops, Op(op))
	}
	b.LSN = append(b.LSN, lsn.Uint64Values()...)
	b.Ordinal = append(b.Ordinal, ordinal.Uint64Values()...)
	b.CommitTime = append(b.CommitTime, at.Int64Values()...)
	b.Present = make([]Bitmap, width)
	for i := width + 4; i < int(record.NumCols()); i++ {
		var col int
		if _, err := fmt.Sscanf(r.Schema().Field(i).Name, "leat.present.%d", &col); err != nil || col < 0 || col >= width {
			return nil, fmt.Errorf("unmarshal batch: unexpected column %q", r.Schema().Field(i).Name)
		}
		present, ok := record.Column(i).(*array.Boolean)
		if !ok {
			return nil, fmt.Errorf("unmarshal batch: presence of column %d has the wrong type", col)
		}
		b.Present[col] = NewBitmap(present.Len())
		for row := range present.Len() {
			if present.Value(row) {
				b.Present[col].Set(row)
			}
		}
	}
	b.Rows = array.NewRecordBatch(b.Schema.Arrow(), record.Columns()[:width], record.NumRows())
	for _, col := range record.Columns() {
		for _, buf := range col.Data().Buffers() {
			if buf != nil {
				b.Bytes += int64(buf.Len())
			}
		}
	}
	return b, nil
}
