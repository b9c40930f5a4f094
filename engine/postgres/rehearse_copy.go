package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/leat-etl/leat/engine/batch"
)

// find returns the copy of a table, made when it is first named, nil for a
// table that the pipeline does not select.
func (r *rehearsal) find(ctx context.Context, n ddlName, mayMiss bool) (*stagedTable, error) {
	schemas := r.path
	if n.schema != "" {
		schemas = []string{n.schema}
	}
	for _, schema := range schemas {
		for _, c := range r.copies {
			if c.schema == schema && c.name == n.name && !c.dropped {
				return c, nil
			}
		}
		var oid uint32
		err := r.tx.QueryRow(ctx, `SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
			WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p', 'f', 'v', 'm')`, schema, n.name).Scan(&oid)
		if errors.Is(err, pgx.ErrNoRows) || err == nil && slices.ContainsFunc(r.copies, func(c *stagedTable) bool { return c.table != nil && c.table.OID == oid }) {
			continue // not there, or no longer under this name
		}
		if err != nil {
			return nil, err
		}
		if !r.choose.matches(schema, n.name) {
			r.note("the pipeline does not select %s", quoteName(schema, n.name))
			return nil, nil
		}
		return r.copy(ctx, oid)
	}
	if mayMiss {
		return nil, nil
	}
	return nil, fmt.Errorf("there is no table %s", n)
}

// copy makes the empty copy of a table.
func (r *rehearsal) copy(ctx context.Context, oid uint32) (*stagedTable, error) {
	found, err := r.source.load(ctx, r.tx.Conn(), []uint32{oid})
	if err != nil {
		return nil, err
	}
	t := found[0]
	if t.Reason != "" {
		r.note("%s is not replicated: %s", t.ID(), t.Reason)
		return nil, nil
	}
	c := &stagedTable{schema: t.ID().Schema, name: t.ID().Name, table: t}
	if slices.ContainsFunc(r.copies, func(o *stagedTable) bool { return o.name == c.name && !o.dropped }) {
		return nil, fmt.Errorf("two tables of the name %s in different schemas: plan their changes one after the other", quoteIdent(c.name))
	}
	sql := fmt.Sprintf("CREATE TEMPORARY TABLE %s (LIKE %s INCLUDING ALL EXCLUDING INDEXES EXCLUDING COMMENTS)", quoteIdent(c.name), t.quoted())
	if t.Kind == PartitionedTable {
		var key string
		if err := r.tx.QueryRow(ctx, "SELECT pg_catalog.pg_get_partkeydef($1)", t.OID).Scan(&key); err != nil {
			return nil, err
		}
		rows := "DEFAULT"
		if strings.HasPrefix(key, "HASH") {
			rows = "FOR VALUES WITH (MODULUS 1, REMAINDER 0)"
		}
		sql += fmt.Sprintf(" PARTITION BY %s; CREATE TEMPORARY TABLE %s PARTITION OF pg_temp.%s %s", key, quoteIdent("leat rows of "+c.name), quoteIdent(c.name), rows)
	}
	if err := r.exec(ctx, sql); err != nil {
		return nil, err
	}
	if err := r.copyIndexes(ctx, c); err != nil {
		return nil, err
	}
	return c, r.stage(ctx, c)
}

// stage takes a copy in as it is now.
func (r *rehearsal) stage(ctx context.Context, c *stagedTable) error {
	err := r.tx.QueryRow(ctx, `SELECT oid FROM pg_catalog.pg_class WHERE relnamespace = pg_catalog.pg_my_temp_schema() AND relname = $1`, c.name).Scan(&c.oid)
	if err != nil {
		return err
	}
	r.copies = append(r.copies, c)
	found, err := r.source.load(ctx, r.tx.Conn(), []uint32{c.oid})
	if err == nil {
		c.start = found[0]
	}
	return err
}

// copyIndexes gives a copy the constraints and the unique indexes of its
// table, under their names, and its replica identity. What a constraint of
// another kind says does not matter, that it can be dropped does.
func (r *rehearsal) copyIndexes(ctx context.Context, c *stagedTable) error {
	rows, err := r.tx.Query(ctx, `SELECT pg_catalog.format('ALTER TABLE pg_temp.%I ADD CONSTRAINT %I %s', $2::text, conname,
			CASE WHEN contype IN ('p', 'u') THEN pg_catalog.pg_get_constraintdef(oid) ELSE 'CHECK (true)' END)
		FROM pg_catalog.pg_constraint WHERE conrelid = $1 AND contype IN ('p', 'u', 'f', 'x')
		UNION ALL SELECT pg_catalog.pg_get_indexdef(i.indexrelid) FROM pg_catalog.pg_index i
		WHERE i.indrelid = $1 AND i.indisunique AND i.indisvalid AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conindid = i.indexrelid AND k.conrelid = $1)`, c.table.OID, c.name)
	if err != nil {
		return err
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, sql := range list {
		if err := r.copyIndex(ctx, c, sql); err != nil {
			return err
		}
	}
	switch c.table.Identity {
	case IdentityFull, IdentityNothing:
		return r.exec(ctx, "ALTER TABLE "+c.quoted()+" REPLICA IDENTITY "+strings.ToUpper(string(c.table.Identity)))
	case IdentityIndex:
		var index string
		err := r.tx.QueryRow(ctx, `SELECT c.relname::text FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = $1 AND i.indisreplident`, c.table.OID).Scan(&index)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil // the index was dropped: the table has no identity
		}
		if err != nil {
			return err
		}
		return r.exec(ctx, "ALTER TABLE "+c.quoted()+" REPLICA IDENTITY USING INDEX "+quoteIdent(index))
	}
	return nil
}

func (r *rehearsal) copyIndex(ctx context.Context, c *stagedTable, sql string) error {
	if strings.HasPrefix(sql, "ALTER") {
		return r.exec(ctx, sql)
	}
	list, err := splitDDL(sql)
	if err != nil {
		return err
	}
	st := list[0]
	on := slices.IndexFunc(st.tokens, func(t ddlToken) bool { return t.word == "ON" })
	n, _, err := st.nameAt(st.skip(on+1, "ONLY"))
	if err != nil {
		return err
	}
	return r.execOn(ctx, st, n, c)
}

// load reads the copy and makes it look like the table.
func (r *rehearsal) load(ctx context.Context, c *stagedTable) (*Table, error) {
	found, err := r.source.load(ctx, r.tx.Conn(), []uint32{c.oid})
	if err != nil {
		return nil, err
	}
	t := found[0]
	t.Reason, t.OID = "", 0 // a copy is a temporary table
	t.Schema.Table = batch.TableID{Database: r.source.Database, Schema: c.schema, Name: c.name}
	t.Schema.OID = 0
	if c.table == nil {
		return t, nil
	}
	t.OID, t.Schema.OID = c.table.OID, c.table.OID
	last := 0
	for _, a := range c.table.attributes {
		last = max(last, a.id)
	}
	copied := 0
	for _, a := range c.start.attributes {
		copied = max(copied, a.id)
	}
	for i := range t.Schema.Columns {
		column := &t.Schema.Columns[i]
		if column.ID > copied {
			column.ID += last - copied
			continue
		}
		name := attributeNamed(c.start.attributes, column.ID)
		column.ID = attributeID(c.table.attributes, name)
		if at := c.table.Schema.ColumnID(column.ID); at >= 0 && column.Missing == nil {
			column.Missing = c.table.Schema.Columns[at].Missing
		}
	}
	return t, nil
}

func attributeNamed(list []attribute, id int) string {
	for _, a := range list {
		if a.id == id {
			return a.name
		}
	}
	return ""
}

func attributeID(list []attribute, name string) int {
	for _, a := range list {
		if a.name == name && !a.dropped {
			return a.id
		}
	}
	return 0
}

// rewritten compares the copy now with how it was made.
func (c *stagedTable) rewritten(now *Table) bool {
	return c.table != nil && c.start.Storage() != now.Storage() && c.start.Definition() != now.Definition()
}
