package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/leat-etl/leat/engine/batch"
)

// Row reads the row of a table with a key as it is now; key has the text of
// each column that the table is identified by. Where there is none it returns
// the deletion of that row, with nothing but its key. The caller releases the
// batch.
func (s *Source) Row(ctx context.Context, t *Table, key map[string]string) (_ *batch.Batch, found bool, err error) {
	snapshot, err := s.TakeSnapshot(ctx)
	if err != nil {
		return nil, false, err
	}
	defer snapshot.Close(context.WithoutCancel(ctx))
	r, err := snapshot.Join(ctx)
	if err != nil {
		return nil, false, err
	}
	defer r.Close(context.WithoutCancel(ctx))
	var out *batch.Batch
	read := func(instead map[string]string, from string) error {
		_, err := r.copyRows(ctx, t.Schema, instead, from, Limit{Rows: 2, Bytes: 1 << 30}, func(b *batch.Batch, failed []RawFailure) error {
			if len(failed) > 0 {
				return fmt.Errorf("the row cannot be read into a batch: %w", &failed[0])
			}
			if out == nil {
				out = b
			} else if b != nil {
				b.Release()
			}
			return nil
		})
		if err != nil {
			return wrap("read a row of", t.ID().String(), err)
		}
		return nil
	}
	name := quoteName(t.ID().Schema, t.ID().Name)
	var conditions []string
	for _, i := range t.Schema.Key() {
		c := t.Schema.Columns[i].Name
		conditions = append(conditions, quoteIdent(c)+" = "+quoteLiteral(key[c]))
	}
	if err := read(nil, fmt.Sprintf("FROM %s WHERE %s", name, strings.Join(conditions, " AND "))); err != nil || out != nil {
		return out, out != nil && err == nil, err
	}
	instead := map[string]string{}
	for _, c := range t.Schema.Columns {
		typed := fmt.Sprintf("(NULL::%s).%s", name, quoteIdent(c.Name))
		if c.Key > 0 { // as the column's type, whatever that is
			typed = fmt.Sprintf("CASE WHEN false THEN %s ELSE %s END", typed, quoteLiteral(key[c.Name]))
		}
		instead[c.Name] = typed
	}
	if err := read(instead, ""); err != nil {
		return nil, false, err
	}
	out.Ops[0] = batch.Delete
	for i, c := range t.Schema.Columns {
		if c.Key == 0 {
			out.Present[i] = batch.NewBitmap(1)
		}
	}
	return out, false, nil
}
