package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// CheckConnection looks at the way to a database. The caller closes the
// Source, which is nil where it was not reached.
func CheckConnection(ctx context.Context, cfg *Config, database string) (*Report, *Source) {
	c := &checker{Report: new(Report), cfg: cfg, database: database}
	if !c.connect(ctx) {
		return c.Report, nil
	}
	return c.Report, c.source
}

// CheckReadable looks at what the role may read.
func (s *Source) CheckReadable(ctx context.Context, tables []*Table) []Item {
	c := &checker{Report: new(Report), cfg: s.cfg, database: s.Database, source: s}
	c.privileges(ctx, tables)
	return c.Items
}

// cursorFacts asks of a column whether an index starts with it, and how many
// values each session takes of its sequence at once.
const cursorFacts = `SELECT
	EXISTS (SELECT 1 FROM pg_catalog.pg_index i WHERE i.indrelid = a.attrelid AND i.indisvalid AND i.indpred IS NULL AND i.indkey[0] = a.attnum),
	coalesce((SELECT max(s.seqcache) FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_sequence s ON s.seqrelid = d.objid
		WHERE d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum AND d.deptype IN ('a', 'i')), 1)
	FROM pg_catalog.pg_attribute a WHERE a.attrelid = $1 AND a.attname = $2`

// CheckCursor looks at what reading by a cursor needs of its column.
func (s *Source) CheckCursor(ctx context.Context, o *Queryable, c *Cursor) []Item {
	column := o.Schema.Columns[c.index]
	item := Item{Name: "cursor", Object: o.ID().String() + "." + c.Column, Found: column.PG.Name, Outcome: OK}
	if o.Table == nil || o.Table.foreign {
		item.Found += "; whether an index serves it is not known"
		return []Item{item}
	}
	var indexed bool
	var cached int64
	if err := s.do(ctx, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, cursorFacts, o.Table.OID, c.Column).Scan(&indexed, &cached)
	}); err != nil {
		r := new(Report)
		r.error("cursor", item.Object, err)
		return r.Items
	}
	items := []Item{item}
	warn := func(found, cause, fix string) {
		items = append(items, Item{Name: "cursor", Object: item.Object, Found: found, Outcome: Warn, Causes: []string{cause}, Fix: fix})
	}
	table, name := o.Table.quoted(), quoteIdent(c.Column)
	if indexed {
		items[0].Found += ", indexed"
	} else {
		warn("no index starts with it", "Each run reads and sorts the whole table.", fmt.Sprintf("CREATE INDEX CONCURRENTLY ON %s (%s);", table, name))
	}
	if column.Nullable {
		warn("may be NULL", "Rows with NULL there are counted by each run and not replicated.", fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s SET NOT NULL;", table, name))
	} else {
		items[0].Found += ", not null"
	}
	if cached > 1 {
		warn(fmt.Sprintf("its sequence gives %d values to a session at once", cached), "Rows get smaller values than rows that were read before; only those of transactions that ran at that time are found.",
			fmt.Sprintf("ALTER SEQUENCE ... CACHE 1; or read %s with query_mode = \"xmin\".", table))
	}
	return items
}
