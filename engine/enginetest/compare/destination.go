package compare

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
)

// Destination is a table to compare with, see Postgres and DuckDB.
type Destination struct {
	table string // as it stands in SQL: quoted, and qualified if need be
	text  func(column, sourceType string) string
	open  func(ctx context.Context) (session, error)
}

// session reads a destination as text, from one connection.
type session interface {
	// read runs a query, hands each row to yield, which must not keep it, and
	// returns the names of the columns. A nil value is NULL.
	read(ctx context.Context, query string, yield func(values []*string)) ([]string, error)
	close(ctx context.Context)
}

// Postgres is a table of a PostgreSQL destination. The name is as it stands in
// SQL.
func Postgres(dsn, table string) Destination {
	return Destination{
		table: table,
		text: func(column, _ string) string { // format keeps the padding of char(n), a cast does not
			return fmt.Sprintf("CASE WHEN num_nulls(%[1]s) = 0 THEN format('%%s', %[1]s) END", column)
		},
		open: func(ctx context.Context) (session, error) { return connect(ctx, dsn) },
	}
}

// DuckDB is a table of a DuckDB destination. The name is as it stands in SQL.
// One connection of db is set to UTC.
func DuckDB(db *sql.DB, table string) Destination {
	return Destination{table: table, text: duckText, open: func(ctx context.Context) (session, error) {
		conn, err := db.Conn(ctx)
		if err != nil {
			return nil, err
		}
		if _, err := conn.ExecContext(ctx, "SET TimeZone = 'UTC'"); err != nil {
			conn.Close()
			return nil, err
		}
		return sqlSession{conn}, nil
	}}
}

// duckText is the expression that gives a quoted column as text, knowing the
// type at the source.
func duckText(column, sourceType string) string {
	switch {
	case sourceType == "bytea":
		return fmt.Sprintf(`CASE WHEN typeof(%[1]s) = 'BLOB' THEN '\x' || lower(hex(%[1]s)) ELSE CAST(%[1]s AS VARCHAR) END`, column)
	case strings.HasSuffix(sourceType, "[]"):
		return fmt.Sprintf(`CASE WHEN typeof(%[1]s) = 'VARCHAR' THEN CAST(%[1]s AS VARCHAR) ELSE CAST(to_json(%[1]s) AS VARCHAR) END`, column)
	}
	return fmt.Sprintf("CAST(%s AS VARCHAR)", column)
}

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// read fetches the rows, in the columns of the union, by the source that they
// belong to; those of no known database are the last list. Columns that only
// one side has go to the result.
func (d Destination) read(ctx context.Context, o Options, tables []*table, columns []column, r *Result) ([][]row, error) {
	conn, err := d.open(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.close(ctx)
	here, err := conn.read(ctx, "SELECT * FROM "+d.table+" LIMIT 0", func([]*string) {})
	if err != nil {
		return nil, err
	}
	d.reportColumns(here, columns, o, r)
	var exprs []string
	for _, c := range columns {
		if slices.Contains(here, c.name) {
			exprs = append(exprs, d.text(quote(c.name), c.typ))
		} else {
			exprs = append(exprs, "NULL")
		}
	}
	exprs = append(exprs, "NULL")
	if o.DatabaseColumn != "" {
		exprs[len(columns)] = d.text(quote(o.DatabaseColumn), "text")
	}
	query := fmt.Sprintf("SELECT %s FROM %s", strings.Join(exprs, ", "), d.table)
	if o.DeletedColumn != "" {
		query += fmt.Sprintf(" WHERE NOT coalesce(%s, false)", quote(o.DeletedColumn))
	}
	out := make([][]row, len(tables)+1)
	_, err = conn.read(ctx, query, func(values []*string) {
		owner := 0
		if o.DatabaseColumn != "" {
			owner = ownerOf(values[len(columns)], tables)
		}
		w := make(row, len(columns))
		for i, c := range columns {
			if values[i] == nil {
				w[i].null = true
			} else {
				w[i].text = canonical(*values[i], typeIn(tables, owner, c))
			}
		}
		out[owner] = append(out[owner], w)
	})
	return out, err
}

func (d Destination) reportColumns(here []string, columns []column, o Options, r *Result) {
	for _, c := range columns {
		if !slices.Contains(here, c.name) {
			r.add(Difference{Kind: MissingColumn, Column: c.name})
		}
	}
	for _, name := range here {
		known := slices.ContainsFunc(columns, func(c column) bool { return c.name == name })
		meta := o.IgnorePrefix != "" && strings.HasPrefix(name, o.IgnorePrefix) || name == o.DatabaseColumn || name == o.DeletedColumn
		if !known && !meta && !o.Kept && !slices.Contains(o.Ignore, name) {
			r.add(Difference{Kind: ExtraColumn, Column: name})
		}
	}
}

// ownerOf is the place of the source with a database name, len(tables) if
// there is none.
func ownerOf(database *string, tables []*table) int {
	for i, t := range tables {
		if database != nil && t.database == *database {
			return i
		}
	}
	return len(tables)
}

// typeIn is the type that a column has in the source that a row belongs to.
func typeIn(tables []*table, owner int, c column) string {
	if owner < len(tables) {
		for _, own := range tables[owner].columns {
			if own.name == c.name {
				return own.typ
			}
		}
	}
	return c.typ
}
