package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Keyless returns those of some tables of which the log identifies no row, as
// Table.Keyless does, in the order of their OIDs. It asks for nothing else and
// may be asked often: a table that has lost its key while its updates are
// published fails them at the source.
func (s *Source) Keyless(ctx context.Context, oids []uint32) (out []uint32, err error) {
	err = s.do(ctx, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, `WITH RECURSIVE tree(root, oid) AS (
			SELECT o, o FROM unnest($1::oid[]) o
			UNION ALL SELECT t.root, i.inhrelid FROM tree t JOIN pg_catalog.pg_inherits i ON i.inhparent = t.oid
			JOIN pg_catalog.pg_class child ON child.oid = i.inhrelid WHERE child.relispartition)
		SELECT t.root FROM tree t JOIN pg_catalog.pg_class c ON c.oid = t.oid
		LEFT JOIN LATERAL (SELECT bool_or(indisprimary) pk, bool_or(indisreplident) ident FROM pg_catalog.pg_index i
			WHERE i.indrelid = c.oid AND i.indisvalid AND i.indimmediate AND (indisprimary OR indisreplident)) k ON true
		GROUP BY t.root
		HAVING NOT bool_and(CASE c.relreplident WHEN 'd' THEN coalesce(k.pk, false) WHEN 'i' THEN coalesce(k.ident, false) WHEN 'f' THEN true ELSE false END)
		ORDER BY t.root`, oids)
		if err == nil {
			out, err = pgx.CollectRows(rows, pgx.RowTo[uint32])
		}
		return err
	})
	return out, wrap("look for the keys of", "database "+s.Database, err)
}
