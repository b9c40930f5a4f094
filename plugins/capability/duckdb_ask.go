//go:build duckdb_arrow

package capability

import (
	"context"
	"errors"
	"regexp"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	duckdb "github.com/duckdb/duckdb-go/v2"
)

// Ask implements SQL. A transaction that only reads keeps the tables as they
// are, and the kind of the prepared statement what no transaction guards:
// COPY to a file, ATTACH, INSTALL, settings of the instance.
func (d *duckDB) Ask(ctx context.Context, sql string, yield func(arrow.RecordBatch) error) error {
	if err := d.isQuestion(sql); err != nil {
		return err
	}
	if d.inTx {
		return nestedTransaction()
	}
	if _, err := d.Exec(ctx, "BEGIN TRANSACTION READ ONLY"); err != nil {
		return err
	}
	d.inTx = true
	if !isSelect(sql) {
		return errors.Join(d.readAll(ctx, sql, yield), d.Rollback(context.WithoutCancel(ctx)))
	}
	err := d.keepResult(ctx, sql)
	if err == nil {
		err = d.Commit(ctx)
	}
	if err != nil {
		return errors.Join(err, d.Rollback(context.WithoutCancel(ctx)))
	}
	return d.readResult(ctx, yield)
}

// export finds EXPORT DATABASE, which makes a folder when it is prepared.
var export = regexp.MustCompile(`(?is)^(\s|--[^\n]*\n|/\*.*?\*/)*export\b`)

// isQuestion refuses what is not one statement that reads. EXPLAIN ANALYZE
// runs its statement, so that it is judged by that.
func (d *duckDB) isQuestion(sql string) error {
	if export.MatchString(sql) {
		return refuseAsk("the statement would write files")
	}
	kind, err := d.kind(sql)
	if err != nil {
		return err
	}
	if kind == duckdb.STATEMENT_TYPE_EXPLAIN {
		head := explainHead.FindString(sql)
		if head == "" {
			return refuseAsk("the statement does not begin with its EXPLAIN")
		}
		if kind, err = d.kind(sql[len(head):]); err != nil {
			return err
		}
	}
	if kind != duckdb.STATEMENT_TYPE_SELECT {
		return refuseAsk("the statement could change something")
	}
	return nil
}

// kind prepares a statement, which runs nothing.
func (d *duckDB) kind(sql string) (duckdb.StmtType, error) {
	prepared, err := d.conn.Prepare(sql)
	if err != nil {
		var own *duckdb.Error
		if errors.As(err, &own) && strings.Contains(own.Msg, "disabled by configuration") {
			return 0, refuseAsk("the statement reaches files other than the pipeline's own, or could change something")
		}
		if errors.As(err, &own) {
			return 0, duckError(context.Background(), err) // preparing is not interrupted
		}
		return 0, refuseAsk("this is not one statement") // the driver prepares several only to run them
	}
	kind, err := prepared.(*duckdb.Stmt).StatementType()
	return kind, errors.Join(err, prepared.Close())
}
