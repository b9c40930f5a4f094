package capability

import (
	"context"
	"errors"
	"regexp"

	"github.com/apache/arrow-go/v18/arrow"
)

// duckdbQuestion finds what is asked of DuckDB about its tables.
var duckdbQuestion = regexp.MustCompile(`(?i)^\s*(show\s+(all\s+)?tables|desc(ribe)?|summarize)\b`)

// Ask implements SQL. The server keeps a READ ONLY transaction from changing
// tables; what has no result (COPY to a file, DO, NOTIFY, SET) is refused
// before it runs, and several statements by the server itself.
func (p *postgres) Ask(ctx context.Context, sql string, yield func(arrow.RecordBatch) error) error {
	if p.inTx {
		return nestedTransaction()
	}
	if _, err := p.Exec(ctx, "BEGIN TRANSACTION READ ONLY"); err != nil {
		return err
	}
	p.inTx = true
	described, err := p.conn.Prepare(ctx, "", sql, nil)
	switch {
	case err != nil:
		err = postgresError(err)
	case len(described.Fields) == 0:
		err = refuseAsk("the statement could change something")
	default:
		err = p.Read(ctx, sql, yield)
	}
	var refused *Error
	if errors.As(err, &refused) && refused.Code == "25006" { // read_only_sql_transaction
		refused.Class, refused.Hint = Question, askHint
	} else if refused != nil && refused.Hint == "" && duckdbQuestion.MatchString(sql) {
		refused.Hint = "PostgreSQL asks its catalogue: SELECT table_schema, table_name FROM information_schema.tables, or SELECT column_name, data_type FROM information_schema.columns WHERE table_name = '...'"
	}
	return errors.Join(err, p.Rollback(context.WithoutCancel(ctx)))
}
