package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Index is an index of a table, or a constraint, beside the primary key.
type Index struct {
	Name string
	// Definition is what the server prints: CREATE INDEX ..., or that of a
	// constraint, whose Kind then says which.
	Definition string
	// Kind is "index", "check", "foreign key" or "exclusion".
	Kind string
	// Method is that of an index: btree, gin and so on.
	Method string
	Unique bool
	// Columns are the numbers of the columns, 0 for an expression; of an index
	// in their order and without those that are only included. Descending and
	// NullsFirst go with them.
	Columns                []int
	Descending, NullsFirst []bool
	// Included says that there are further columns, Partial that only some rows
	// are in it, Special that a column has an operator class or collation of its own.
	Included, Partial, Special bool
}

const indexesQuery = `
SELECT i.indrelid, x.relname, pg_catalog.pg_get_indexdef(i.indexrelid), 'index', m.amname, i.indisunique,
       (i.indkey::int2[])[0:i.indnkeyatts - 1]::int4[], (i.indoption::int2[])::int4[],
       i.indnatts > i.indnkeyatts, i.indpred IS NOT NULL,
       EXISTS (SELECT FROM pg_catalog.unnest(i.indclass::oid[]) c JOIN pg_catalog.pg_opclass o ON o.oid = c WHERE NOT o.opcdefault)
         OR EXISTS (SELECT FROM ROWS FROM (pg_catalog.unnest(i.indkey::int2[]), pg_catalog.unnest(i.indcollation::oid[])) AS k (num, col)
                      JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.num WHERE k.col <> 0 AND k.col <> a.attcollation)
  FROM pg_catalog.pg_index i
  JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
  JOIN pg_catalog.pg_am m ON m.oid = x.relam
 WHERE i.indrelid = ANY ($1) AND NOT i.indisprimary AND i.indisvalid
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint c WHERE c.conindid = i.indexrelid AND c.contype = 'x')
UNION ALL
SELECT c.conrelid, c.conname, pg_catalog.pg_get_constraintdef(c.oid), CASE c.contype WHEN 'c' THEN 'check' WHEN 'f' THEN 'foreign key' ELSE 'exclusion' END, '', false,
       coalesce(c.conkey, '{}')::int4[], '{}', false, false, false
  FROM pg_catalog.pg_constraint c
 WHERE c.conrelid = ANY ($1) AND c.contype IN ('c', 'f', 'x')
 ORDER BY 1, 4 DESC, 2`

// Indexes returns what tables have beside their primary keys, by OID.
func (s *Source) Indexes(ctx context.Context, tables []uint32) (map[uint32][]Index, error) {
	out := map[uint32][]Index{}
	if len(tables) == 0 || s.Version < 110000 { // which had no included columns to tell apart
		return out, nil
	}
	err := s.do(ctx, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, indexesQuery, tables)
		if err != nil {
			return err
		}
		var table uint32
		var i Index
		var options []int32
		_, err = pgx.ForEachRow(rows, []any{&table, &i.Name, &i.Definition, &i.Kind, &i.Method, &i.Unique, &i.Columns, &options, &i.Included, &i.Partial, &i.Special}, func() error {
			one := i
			one.Columns = append([]int{}, i.Columns...)
			for n := range one.Columns {
				option := int32(0) // pg_index: 1 is DESC, 2 NULLS FIRST
				if n < len(options) {
					option = options[n]
				}
				one.Descending, one.NullsFirst = append(one.Descending, option&1 != 0), append(one.NullsFirst, option&2 != 0)
			}
			out[table] = append(out[table], one)
			return nil
		})
		return err
	})
	return out, wrap("read indexes of", "database "+s.Database, err)
}
