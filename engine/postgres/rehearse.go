package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Rehearsal is what statements would make of the tables of a database.
type Rehearsal struct {
	Tables []Rehearsed
	// Notes are sentences about statements that change nothing for Leat.
	Notes []string
}

// Rehearsed is a table before and after the statements: Before is nil for one
// that they create, After for one that they drop.
type Rehearsed struct {
	Before, After *Table
	// Rewritten: the server writes the rows of the table anew, which is not in
	// the log.
	Rewritten bool
}

// DDLError says that the statements of a rehearsal are at fault, not the server.
type DDLError struct{ Cause *Error }

// Error implements error.
func (e *DDLError) Error() string { return e.Cause.Error() }

// Unwrap returns the cause.
func (e *DDLError) Unwrap() error { return e.Cause }

// The bounds of a rehearsal: it waits for no lock and works on empty tables.
const rehearsalBounds = "SET LOCAL lock_timeout = '5s'; SET LOCAL statement_timeout = '60s'"

// Rehearse runs statements that change tables on empty copies of the tables
// that sel chooses, in a transaction that is rolled back, and reads what the
// catalogue makes of them. The tables themselves are neither locked nor
// rewritten, so it may be done on a server in use and by a role that does not
// own them; that is why it does not run the statements on the tables and roll
// that back. What only the rows tell (whether they fit a type or a constraint),
// and what hangs on a table from outside (views, foreign keys), is not found.
// The role needs TEMPORARY on the database.
func (s *Source) Rehearse(ctx context.Context, ddl string, sel Selection) (*Rehearsal, error) {
	statements, err := splitDDL(ddl)
	if err == nil && len(statements) == 0 {
		err = errors.New("it is empty")
	}
	if err != nil {
		return nil, &DDLError{&Error{Op: "read DDL", Class: Stop, Err: err, Hint: `give statements such as --ddl 'ALTER TABLE public.orders ADD note text'`}}
	}
	choose, err := sel.parse()
	if err != nil {
		return nil, err
	}
	var out *Rehearsal
	err = s.do(ctx, func(conn *pgx.Conn) error {
		types := s.types
		defer func() { s.types = types }() // without those that the transaction made
		tx, err := conn.Begin(ctx)
		if err != nil {
			return err
		}
		r := &rehearsal{source: s, tx: tx, choose: choose}
		out, err = r.run(ctx, statements)
		return errors.Join(err, tx.Rollback(context.WithoutCancel(ctx)))
	})
	return out, wrap("rehearse DDL in", "database "+s.Database, err)
}

// rehearsal is the transaction. It belongs to one goroutine.
type rehearsal struct {
	source *Source
	tx     pgx.Tx
	choose *selector
	path   []string
	copies []*stagedTable
	notes  []string
}

// stagedTable is a table and its copy in pg_temp, whose name is always that
// which the table would have.
type stagedTable struct {
	schema, name string
	table        *Table // nil: the statements create it
	oid          uint32 // of the copy
	start        *Table // the copy before the statements
	dropped      bool
}

func (c *stagedTable) quoted() string { return "pg_temp." + quoteIdent(c.name) }

func (r *rehearsal) note(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

func (r *rehearsal) run(ctx context.Context, statements []ddlStatement) (*Rehearsal, error) {
	if _, err := r.tx.Exec(ctx, rehearsalBounds); err != nil {
		return nil, err
	}
	if err := r.tx.QueryRow(ctx, "SELECT pg_catalog.current_schemas(false)::text[]").Scan(&r.path); err != nil {
		return nil, err
	}
	for i, st := range statements {
		if err := r.statement(ctx, st); err != nil {
			return nil, r.refused(i+1, st.sql, err)
		}
	}
	out := &Rehearsal{Notes: r.notes}
	for _, c := range r.copies {
		one := Rehearsed{Before: c.table}
		if !c.dropped {
			after, err := r.load(ctx, c)
			if err != nil {
				return nil, err
			}
			one.After, one.Rewritten = after, c.rewritten(after)
		}
		if one.Before != nil || one.After != nil {
			out.Tables = append(out.Tables, one)
		}
	}
	return out, nil
}

// refused says which statement the server, or Leat, does not take: a DDLError,
// unless another role, server or moment would do.
func (r *rehearsal) refused(n int, sql string, err error) error {
	e := *Classify(err)
	passing := e.Class == Retry || e.Class == Canceled
	e.Op, e.Object, e.Class = fmt.Sprintf("statement %d", n), "("+firstLine(sql)+")", Stop
	switch {
	case passing:
		return &e
	case e.SQLState == "42501" && strings.Contains(err.Error(), "temporary"):
		e.Causes = []string{"The statements are tried on empty copies, for which the role needs TEMPORARY."}
		e.Hint = fmt.Sprintf("GRANT TEMPORARY ON DATABASE %s TO %s;", quoteIdent(r.source.Database), quoteIdent(r.source.cfg.User))
		return &e
	case e.SQLState == "25006":
		e.Causes, e.Hint = []string{"The server is a standby, or read-only: nothing can be tried there."}, "run leat plan --ddl against the primary server"
		return &e
	case e.SQLState != "":
		e.Causes, e.Hint = nil, "the source would refuse the statement, too"
	}
	if e.SQLState == "42501" {
		return &e
	}
	return &DDLError{&e}
}

func firstLine(sql string) string {
	line, rest, _ := strings.Cut(sql, "\n")
	if rest != "" || len(line) > 100 {
		line = strings.ToValidUTF8(line[:min(len(line), 100)], "") + "..."
	}
	return line
}

// statement rehearses one statement.
func (r *rehearsal) statement(ctx context.Context, st ddlStatement) error {
	switch {
	case st.is(0, "ALTER", "TABLE"):
		return r.alterTable(ctx, st)
	case st.is(0, "DROP", "TABLE"):
		return r.dropTables(ctx, st)
	case st.is(0, "CREATE", "TABLE"):
		return r.createTable(ctx, st)
	case st.is(0, "CREATE", "INDEX"), st.is(0, "CREATE", "UNIQUE", "INDEX"):
		return r.createIndex(ctx, st)
	case st.is(0, "DROP", "INDEX"):
		return r.dropIndex(ctx, st)
	case st.is(0, "CREATE", "TYPE"), st.is(0, "CREATE", "DOMAIN"):
		return r.exec(ctx, st.sql)
	case st.is(0, "ALTER", "TYPE") && st.has("ADD") && st.has("VALUE"):
		r.note("a value of an enum travels as text: nothing changes for tables that have the type")
	case st.is(0, "DROP", "TYPE"), st.is(0, "DROP", "DOMAIN"), st.is(0, "COMMENT", "ON"), st.is(0, "GRANT"), st.is(0, "REVOKE"), st.is(0, "ALTER", "INDEX"),
		st.is(0, "CREATE", "SEQUENCE"), st.is(0, "ALTER", "SEQUENCE"), st.is(0, "CREATE", "VIEW"), st.is(0, "CREATE", "OR", "REPLACE", "VIEW"), st.is(0, "DROP", "VIEW"),
		st.is(0, "BEGIN"), st.is(0, "COMMIT"), st.is(0, "SET"), st.is(0, "START", "TRANSACTION"):
		r.note("not tried, it changes no replicated row: %s", firstLine(st.sql))
	default:
		return errors.New("plan --ddl tries ALTER, CREATE and DROP of tables, indexes and types, nothing else")
	}
	return nil
}

// exec runs SQL in a subtransaction: what it changes in the catalogue bears
// another number than what stood before.
func (r *rehearsal) exec(ctx context.Context, sql string) error {
	return pgx.BeginFunc(ctx, r.tx, func(sub pgx.Tx) error {
		_, err := sub.Exec(ctx, sql)
		return err
	})
}

// execOn runs a statement with the name of its table replaced by the copy's.
func (r *rehearsal) execOn(ctx context.Context, st ddlStatement, n ddlName, c *stagedTable) error {
	st, err := st.replaced(n.start, n.end, c.quoted())
	if err != nil {
		return err
	}
	return r.exec(ctx, st.sql)
}

// notForUs are words of actions of ALTER TABLE that change nothing that
// travels; notTried are those that a copy cannot show.
var (
	notForUs = []string{"OWNER", "TABLESPACE", "CLUSTER", "TRIGGER", "RULE", "STATISTICS", "STORAGE", "COMPRESSION", "VALIDATE", "ROW", "RESET"}
	notTried = []string{"LOGGED", "UNLOGGED", "ATTACH", "DETACH", "INHERIT", "OF"}
)

func (r *rehearsal) alterTable(ctx context.Context, st ddlStatement) error {
	i := st.skip(2, "IF", "EXISTS")
	i = st.skip(i, "ONLY")
	n, behind, err := st.nameAt(i)
	if err != nil {
		return err
	}
	behind = st.skip(behind, "*")
	for _, word := range notTried {
		if st.has(word) {
			return fmt.Errorf("%s cannot be tried on a copy", word)
		}
	}
	c, err := r.find(ctx, n, st.is(2, "IF", "EXISTS"))
	if err != nil || c == nil {
		return err
	}
	switch {
	case st.is(behind, "SET", "SCHEMA"):
		to, _, err := st.nameAt(behind + 2)
		if err == nil {
			c.schema = to.name
		}
		return err
	case slices.ContainsFunc(notForUs, st.has) && !st.has("ADD") && !st.has("DROP") && !st.has("TYPE"):
		r.note("not tried, it changes no replicated row: %s", firstLine(st.sql))
		return nil
	}
	st, left, err := st.withoutReferences(behind)
	if err != nil || !left {
		return err
	}
	if err := r.execOn(ctx, st, n, c); err != nil {
		return err
	}
	if st.is(behind, "RENAME", "TO") {
		to, _, err := st.nameAt(behind + 2)
		if err == nil {
			c.name = to.name
		}
		return err
	}
	return nil
}

func (r *rehearsal) dropTables(ctx context.Context, st ddlStatement) error {
	for i := st.skip(2, "IF", "EXISTS"); ; i++ {
		n, behind, err := st.nameAt(i)
		if err != nil {
			return err
		}
		c, err := r.find(ctx, n, st.is(2, "IF", "EXISTS"))
		if err != nil {
			return err
		}
		if c != nil {
			if err := r.exec(ctx, "DROP TABLE "+c.quoted()+" CASCADE"); err != nil {
				return err
			}
			c.dropped = true
		}
		if i = behind; !st.is(i, ",") {
			return nil
		}
	}
}

func (r *rehearsal) createTable(ctx context.Context, st ddlStatement) error {
	n, behind, err := st.nameAt(st.skip(2, "IF", "NOT", "EXISTS"))
	if err != nil {
		return err
	}
	for _, word := range []string{"AS", "OF", "INHERITS"} {
		if st.has(word) && !(word == "OF" && st.has("PARTITION")) {
			return fmt.Errorf("CREATE TABLE with %s is not tried", word)
		}
	}
	if st.is(behind, "PARTITION", "OF") {
		r.note("a new partition belongs to its root: %s", firstLine(st.sql))
		return nil
	}
	schema := n.schema
	if schema == "" && len(r.path) > 0 {
		schema = r.path[0]
	}
	if !r.choose.matches(schema, n.name) {
		r.note("the pipeline does not select %s", quoteName(schema, n.name))
		return nil
	}
	if st, _, err = st.withoutReferences(behind); err != nil {
		return err
	}
	c := &stagedTable{schema: schema, name: n.name}
	if err := r.execOn(ctx, st, n, c); err != nil {
		return err
	}
	return r.stage(ctx, c)
}

func (r *rehearsal) createIndex(ctx context.Context, st ddlStatement) error {
	on := slices.IndexFunc(st.tokens, func(t ddlToken) bool { return t.word == "ON" })
	if on < 0 {
		return errors.New("an index of which table?")
	}
	n, _, err := st.nameAt(st.skip(on+1, "ONLY"))
	if err != nil {
		return err
	}
	c, err := r.find(ctx, n, false)
	if err != nil || c == nil {
		return err
	}
	if k := slices.IndexFunc(st.tokens[:on], func(t ddlToken) bool { return t.word == "CONCURRENTLY" }); k >= 0 {
		word := st.tokens[k]
		cut := word.end - word.start
		if st, err = st.replaced(word.start, word.end, ""); err != nil {
			return err
		}
		n.start, n.end = n.start-cut, n.end-cut
	}
	return r.execOn(ctx, st, n, c)
}

// dropIndex drops the index of a copy: it may be the replica identity.
func (r *rehearsal) dropIndex(ctx context.Context, st ddlStatement) error {
	i := st.skip(2, "CONCURRENTLY")
	n, _, err := st.nameAt(st.skip(i, "IF", "EXISTS"))
	if err != nil {
		return err
	}
	schemas := r.path
	if n.schema != "" {
		schemas = []string{n.schema}
	}
	var table ddlName
	err = r.tx.QueryRow(ctx, `SELECT tn.nspname::text, t.relname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid JOIN pg_catalog.pg_class t ON t.oid = i.indrelid JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
		WHERE c.relname = $1 AND n.nspname = ANY($2) ORDER BY array_position($2, n.nspname::text) LIMIT 1`, n.name, schemas).Scan(&table.schema, &table.name)
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("there is no index %s", n)
	}
	if err != nil {
		return err
	}
	c, err := r.find(ctx, table, false)
	if err != nil || c == nil {
		return err
	}
	return r.exec(ctx, "DROP INDEX IF EXISTS pg_temp."+quoteIdent(n.name))
}
