package batch

import (
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// Project returns b with those columns alone that s has: columns says where
// each stands in b. Values are shared. It takes over the reference to b.
func Project(b *Batch, s *Schema, columns []int) *Batch {
	defer b.Release()
	out := &Batch{Schema: s, Ops: b.Ops, LSN: b.LSN, Ordinal: b.Ordinal, CommitTime: b.CommitTime,
		Present: make([]Bitmap, len(columns)), Position: b.Position, Bytes: b.Bytes, Ingested: b.Ingested, Compacted: b.Compacted}
	arrays := make([]arrow.Array, len(columns))
	for i, c := range columns {
		arrays[i], out.Present[i] = b.Rows.Column(c), b.Present[c]
	}
	out.Rows = array.NewRecordBatch(s.Arrow(), arrays, b.Rows.NumRows())
	return out
}
