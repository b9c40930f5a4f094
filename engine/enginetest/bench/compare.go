package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/leat-etl/leat/plugins/capability"
)

// variant is which plugins a pipeline has.
type variant string

const (
	plain    variant = "no plugin"
	features variant = "bundled features"
	mask     variant = "mask"
)

// checksum of rows that are texts: their number and a sum over their digests.
const (
	sourceSum = "SELECT count(*) || ' rows, sum ' || coalesce(sum(('x' || substr(md5(%s), 1, 7))::bit(28)::int::bigint), 0) FROM %s"
	duckSum   = "SELECT count(*) || ' rows, sum ' || coalesce(sum(('0x' || substr(md5(%s), 1, 7))::BIGINT), 0) AS sum FROM %s"
)

// sourceRow is the text of a row as the plugins of v leave it.
func (t *table) sourceRow(v variant) string {
	row := t.source
	if v == mask {
		for _, column := range t.masked {
			row = strings.Replace(row, ", "+column, fmt.Sprintf(", encode(sha256(convert_to(%s, 'UTF8')), 'hex')", column), 1)
		}
	}
	switch {
	case t.array == "":
	case v == features:
		row += " || '|' || " + t.arrayJSON
	default:
		row += " || '|' || " + t.array
	}
	return row
}

func (t *table) duckRow(v variant) string {
	switch {
	case t.array == "":
		return t.duck
	case v == features:
		return t.duck + " || '|' || tags"
	}
	return t.duck + " || '|' || " + t.duckArray
}

// copyRow is the text of a row in a PostgreSQL destination.
func (t *table) copyRow(v variant) string {
	switch {
	case t.array == "":
		return t.source
	case v == features:
		return t.source + " || '|' || tags"
	}
	return t.source + " || '|' || " + t.array
}

// compareDuckDB makes sure that the live rows in a file are the source's.
func (b *bench) compareDuckDB(ctx context.Context, database, path string, t *table, v variant) (err error) {
	want, err := ask(ctx, b.source, database, fmt.Sprintf(sourceSum, t.sourceRow(v), t.name))
	if err != nil {
		return err
	}
	sql, err := capability.OpenDuckDB(ctx, capability.DuckDBOptions{Path: path, ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sql.Close()) }()
	rows, err := sql.Query(ctx, fmt.Sprintf(duckSum, t.duckRow(v), t.name+" WHERE NOT __leat_marked_deleted"))
	if err != nil {
		return err
	}
	return same(want, *rows.Rows[0][0])
}

// comparePostgres does the same for a database of the destination.
func (b *bench) comparePostgres(ctx context.Context, database, copied string, t *table, v variant) error {
	want, err := ask(ctx, b.source, database, fmt.Sprintf(sourceSum, t.sourceRow(v), t.name))
	if err != nil {
		return err
	}
	got, err := ask(ctx, b.destination, copied, fmt.Sprintf(sourceSum, t.copyRow(v), t.name))
	if err != nil {
		return err
	}
	return same(want, got)
}

func same(want, got string) error {
	if want != got {
		return fmt.Errorf("wrong result: the source has %s, the destination %s", want, got)
	}
	return nil
}
