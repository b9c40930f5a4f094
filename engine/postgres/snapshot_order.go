package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// OrderLoad lets the historical load of a table read its rows in the order of
// a column that setting names: PlanChunks then cuts by its values instead of
// by blocks.
func (s *Source) OrderLoad(t *Table, setting, column string, timestamp bool) error {
	c, err := s.Cursor(&Queryable{Schema: t.Schema, Table: t}, setting, column, timestamp, time.Duration(0))
	if err == nil {
		t.order = c
	}
	return err
}

// Ordered says whether OrderLoad has been asked for.
func (t *Table) Ordered() bool { return t.order != nil }

// samplePages is how many blocks the cuts of a large table are drawn from.
const samplePages = 10_000

// orderedChunks cuts one leaf by the values of the column. Together the chunks
// take every row, those with NULL last.
func (s *Source) orderedChunks(ctx context.Context, l *Leaf, c *Cursor, seq int, targetBytes int64) ([]Chunk, error) {
	n := max(1, l.Bytes/max(1, targetBytes))
	sample := 100.0
	if l.Pages > samplePages {
		sample = 100 * samplePages / float64(l.Pages)
	}
	places := make([]float64, n-1)
	for i := range places {
		places[i] = float64(i+1) / float64(n)
	}
	var cuts []string
	err := s.do(ctx, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, fmt.Sprintf(`SELECT DISTINCT ON (v) v::text FROM (SELECT unnest(percentile_disc($1::float8[]) WITHIN GROUP (ORDER BY %s)) AS v
			FROM ONLY %s TABLESAMPLE SYSTEM (%g) WHERE %s) AS cuts WHERE v IS NOT NULL ORDER BY v`, c.quoted(), l.quoted(), sample, c.usable()), places)
		if err != nil {
			return err
		}
		cuts, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	if err != nil {
		return nil, wrap("cut table", l.quoted(), err)
	}
	out := make([]Chunk, len(cuts)+1)
	for i := range out {
		out[i] = Chunk{Seq: seq + i, Leaf: l.OID, Schema: l.Schema, Name: l.Name, Filenode: l.Filenode, Bytes: l.Bytes / int64(len(out)), Rows: c.valuesBetween(cuts, i)}
	}
	return out, nil
}

// valuesBetween selects the rows of the i-th of the parts that cuts make.
func (c *Cursor) valuesBetween(cuts []string, i int) string {
	from := "true"
	if i > 0 {
		from = c.quoted() + " >= " + c.literal(cuts[i-1])
	}
	if i < len(cuts) {
		return "(" + from + " AND " + c.quoted() + " < " + c.literal(cuts[i]) + ")"
	}
	return "(" + from + " OR " + c.quoted() + " IS NULL)"
}
