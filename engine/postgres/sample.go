package postgres

import (
	"context"
	"fmt"

	"github.com/leat-etl/leat/engine/batch"
)

// Sample reads some rows of a table as they are now, as one batch of Reads.
// Of the columns only those in columns are sent; the others are null. The
// caller releases the batch, which is nil for an empty table; ordinals count
// its rows from 1. Rows that no batch can hold are left out.
func (s *Source) Sample(ctx context.Context, t *Table, columns map[string]bool, rows int) (out *batch.Batch, err error) {
	snapshot, err := s.TakeSnapshot(ctx)
	if err != nil {
		return nil, err
	}
	defer snapshot.Close(context.WithoutCancel(ctx))
	r, err := snapshot.Join(ctx)
	if err != nil {
		return nil, err
	}
	defer r.Close(context.WithoutCancel(ctx))
	instead := map[string]string{}
	for _, c := range t.Schema.Columns {
		if !columns[c.Name] { // a null of the column's type
			instead[c.Name] = fmt.Sprintf("CASE WHEN false THEN %s END", quoteIdent(c.Name))
		}
	}
	from := fmt.Sprintf("FROM %s LIMIT %d", quoteName(t.ID().Schema, t.ID().Name), rows)
	_, err = r.copyRows(ctx, t.Schema, instead, from, Limit{Rows: rows, Bytes: 1 << 30}, func(b *batch.Batch, _ []RawFailure) error {
		if out == nil && b != nil {
			out = b
			for i := range b.Ordinal { // so that what becomes of a row can be told
				b.Ordinal[i] = uint64(i + 1)
			}
		} else if b != nil {
			b.Release()
		}
		return nil
	})
	if err != nil {
		if out != nil {
			out.Release()
		}
		return nil, wrap("read rows of", t.ID().String(), err)
	}
	return out, nil
}
