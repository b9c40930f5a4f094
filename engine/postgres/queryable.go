package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/leat-etl/leat/engine/batch"
)

// XminColumn is the name of the column with the number of the transaction
// that wrote a row.
const XminColumn = "__leat_xmin"

// Queryable is what a Session reads: a table, a view, or the result of a
// query. It has a schema of its own, in which the key may be one that a
// pipeline file names.
type Queryable struct {
	Schema *batch.Schema
	// Table is nil for the result of a query.
	Table *Table

	from string // what stands behind FROM
	xmin bool   // the schema ends with XminColumn
}

// ID names the object.
func (o *Queryable) ID() batch.TableID { return o.Schema.Table }

// HasBlocks says whether the object can be read by ranges of blocks and by
// xmin: not so a view, a foreign table or a query.
func (o *Queryable) HasBlocks() bool {
	return o.Table != nil && !o.Table.foreign && len(o.Table.Leaves) > 0
}

// stored is the schema without columns that the object does not have.
func (o *Queryable) stored() *batch.Schema {
	if !o.xmin {
		return o.Schema
	}
	return &batch.Schema{Table: o.Schema.Table, Columns: o.Schema.Columns[:len(o.Schema.Columns)-1]}
}

// expressions are what stands in the place of columns that the object does
// not have.
func (o *Queryable) expressions(now visible) map[string]string {
	if !o.xmin {
		return nil
	}
	return map[string]string{XminColumn: fullXmin(now)}
}

// Queryable returns the table as queries read it. With xmin it has a column
// XminColumn. key names the columns of its key where it has no primary key.
func (t *Table) Queryable(xmin bool, key []string) (*Queryable, error) {
	s := *t.Schema
	s.Columns = slices.Clone(t.Schema.Columns)
	o := &Queryable{Schema: &s, Table: t, from: t.quoted(), xmin: xmin}
	if t.Kind == OrdinaryTable {
		o.from = "ONLY " + o.from
	}
	if err := o.setKey(key); err != nil {
		return nil, err
	}
	if xmin {
		if !o.HasBlocks() {
			return nil, &Error{Op: "read", Object: t.ID().String(), Class: Object, Err: fmt.Errorf("a %s has no xmin", t.Kind),
				Hint: fmt.Sprintf("Give [objects.%q] another query_mode.", t.ID().Schema+"."+t.ID().Name)}
		}
		s.Columns = append(s.Columns, batch.Column{Name: XminColumn, Type: columnType(batch.PGType{OID: oidInt8}),
			PG: batch.PGType{Name: "int8", OID: oidInt8, Typmod: -1, Kind: "b"}, Nullable: true})
	}
	return o, nil
}

func (o *Queryable) setKey(key []string) error {
	if len(key) == 0 {
		return nil
	}
	for i := range o.Schema.Columns {
		o.Schema.Columns[i].Key = 0
	}
	for n, name := range key {
		i := o.Schema.Column(name)
		if i < 0 {
			return missingColumn(o, name, "key")
		}
		o.Schema.Columns[i].Key, o.Schema.Columns[i].Nullable = n+1, false
	}
	return nil
}

// missingColumn says that a column of the pipeline file does not exist, and
// which one may be meant.
func missingColumn(o *Queryable, name, setting string) error {
	names := make([]string, len(o.Schema.Columns))
	for i, c := range o.Schema.Columns {
		names[i] = c.Name
	}
	return &Error{Op: "read", Object: o.ID().String(), Class: Object, Err: fmt.Errorf("%s names column %q, which does not exist", setting, name),
		Causes: []string{"The column was renamed or dropped, or its name is mistyped: case counts."},
		Hint:   "Its columns are " + strings.Join(names, ", ") + "."}
}

// QueryError says what the server holds against the query of a pipeline file.
type QueryError struct {
	Cause *Error
	// Position is the character of the query that is at fault, from 1; 0 where
	// the server names none.
	Position int
}

// Error implements error.
func (e *QueryError) Error() string { return e.Cause.Error() }

// Unwrap returns the error without the position.
func (e *QueryError) Unwrap() error { return e.Cause }

// Query describes a query as an object called id. The server decides what is a
// query: one statement that a cursor can be declared for and that runs in a
// transaction that may not write.
func (s *Source) Query(ctx context.Context, id batch.TableID, query string, key []string) (*Queryable, error) {
	var o *Queryable
	err := s.do(ctx, func(conn *pgx.Conn) (err error) {
		o, err = s.describe(ctx, conn, id, strings.TrimRight(query, "; \t\r\n"))
		return err
	})
	if err != nil {
		return nil, queryError(id, err)
	}
	return o, o.setKey(key)
}

// errParameters says that a query has a $1.
var errParameters = errors.New("the query has parameters ($1): there is nothing to put in their place")

func (s *Source) describe(ctx context.Context, conn *pgx.Conn, id batch.TableID, query string) (*Queryable, error) {
	p := conn.PgConn()
	described, err := p.Prepare(ctx, "", query, nil) // takes one statement only
	if err != nil {
		return nil, err
	}
	if len(described.ParamOIDs) > 0 {
		return nil, errParameters
	}
	if _, err := p.Exec(ctx, "BEGIN READ ONLY").ReadAll(); err != nil {
		return nil, err
	}
	err = p.ExecParams(ctx, declare+query, nil, nil, nil, nil).Read().Err
	if _, e := p.Exec(ctx, "ROLLBACK").ReadAll(); err == nil {
		err = e
	}
	if err != nil {
		return nil, err
	}
	for _, f := range described.Fields {
		if !s.types.Has(f.DataTypeOID) {
			if s.types, err = loadTypes(ctx, conn); err != nil {
				return nil, err
			}
			break
		}
	}
	out := &Queryable{Schema: &batch.Schema{Table: id}, from: "(" + query + "\n) AS q"}
	for _, f := range described.Fields {
		if out.Schema.Column(f.Name) >= 0 || f.Name == "?column?" {
			return nil, fmt.Errorf("column %q has no name of its own: name it with AS", f.Name)
		}
		out.Schema.Columns = append(out.Schema.Columns, s.types.Column(f.Name, f.DataTypeOID, f.TypeModifier, true))
	}
	if len(out.Schema.Columns) == 0 {
		return nil, errors.New("the query returns no column")
	}
	return out, nil
}

// declare stands before a query: only for what is one can a cursor be
// declared.
const declare = "DECLARE leat NO SCROLL CURSOR FOR "

// queryError turns what the server said into the query's error.
func queryError(id batch.TableID, err error) error {
	var known *Error
	if errors.As(err, &known) {
		return err
	}
	out := &QueryError{Cause: &Error{Op: "describe query", Object: id.String(), Code: CodeSettings, Class: Stop, Err: err,
		Hint: "[source] query takes one SELECT, WITH, VALUES or TABLE that writes nothing; try it with psql."}}
	var server *pgconn.PgError
	if !errors.As(err, &server) {
		if isConnectionLost(err) {
			return wrap("describe query", id.String(), err)
		}
		return out
	}
	if e := Classify(err); e.Class == Retry {
		e.Op, e.Object = "describe query", id.String()
		return e
	}
	out.Cause.SQLState, out.Position = server.Code, int(server.Position)
	return out
}
