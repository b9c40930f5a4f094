package compare

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Source is a table of a PostgreSQL database.
type Source struct {
	DSN    string
	Schema string // empty is public
	Table  string
	// Database is the name that merged rows carry for this source.
	Database string
}

// String names the table.
func (s Source) String() string { return s.schema() + "." + s.Table }

func (s Source) schema() string {
	if s.Schema == "" {
		return "public"
	}
	return s.Schema
}

const columnsSQL = `
SELECT a.attname, format_type(a.atttypid, NULL), coalesce(array_position(i.indkey::int2[], a.attnum), -1)
FROM pg_attribute a LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
WHERE a.attrelid = $1::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum`

// read fetches the whole table in PostgreSQL's text form.
func (s Source) read(ctx context.Context, o Options) (*table, error) {
	session, err := connect(ctx, s.DSN)
	if err != nil {
		return nil, err
	}
	defer session.close(ctx)
	name := pgx.Identifier{s.schema(), s.Table}.Sanitize()
	t := &table{database: s.Database}
	if err := t.describe(ctx, session.conn, name, o); err != nil {
		return nil, err
	}
	quoted := make([]string, len(t.columns))
	for i, c := range t.columns {
		quoted[i] = pgx.Identifier{c.name}.Sanitize()
	}
	sql := fmt.Sprintf("SELECT %s FROM %s", strings.Join(quoted, ", "), name)
	_, err = session.read(ctx, sql, func(values []*string) {
		w := make(row, len(t.columns))
		for i, v := range values {
			if v == nil {
				w[i].null = true
			} else {
				w[i].text = canonical(*v, t.columns[i].typ)
			}
		}
		t.rows = append(t.rows, w)
	})
	return t, err
}

// describe fills in the columns and the key.
func (t *table) describe(ctx context.Context, conn *pgx.Conn, name string, o Options) error {
	rows, err := conn.Query(ctx, columnsSQL, name)
	if err != nil {
		return err
	}
	var c column
	var place int
	places := map[int]int{}
	_, err = pgx.ForEachRow(rows, []any{&c.name, &c.typ, &place}, func() error {
		if slices.Contains(o.Ignore, c.name) {
			return nil
		}
		if place >= 0 {
			places[place] = len(t.columns)
		}
		t.columns = append(t.columns, c)
		return nil
	})
	for i := range len(places) { // int2vector counts from 0
		t.key = append(t.key, places[i])
	}
	return err
}
