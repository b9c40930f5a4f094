package compare

import (
	"context"
	"database/sql"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// connect opens a PostgreSQL connection whose text does not depend on the
// server's configuration.
func connect(ctx context.Context, dsn string) (postgresSession, error) {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return postgresSession{}, err
	}
	if _, err := conn.Exec(ctx, postgresSettings); err != nil {
		conn.Close(ctx)
		return postgresSession{}, err
	}
	return postgresSession{conn}, nil
}

const postgresSettings = `SET timezone = 'UTC'; SET datestyle = 'ISO, YMD'; SET intervalstyle = 'postgres'; SET extra_float_digits = 1; SET bytea_output = 'hex'`

type postgresSession struct{ conn *pgx.Conn }

// read takes the results as PostgreSQL's output functions write them.
func (s postgresSession) read(ctx context.Context, query string, yield func(values []*string)) ([]string, error) {
	result := s.conn.PgConn().ExecParams(ctx, query, nil, nil, nil, nil)
	var names []string
	for _, f := range result.FieldDescriptions() {
		names = append(names, f.Name)
	}
	for result.NextRow() {
		yield(texts(result))
	}
	_, err := result.Close()
	return names, err
}

func texts(result *pgconn.ResultReader) []*string {
	values := make([]*string, len(result.Values()))
	for i, v := range result.Values() {
		if v != nil {
			text := string(v)
			values[i] = &text
		}
	}
	return values
}

func (s postgresSession) close(ctx context.Context) { s.conn.Close(ctx) }

type sqlSession struct{ conn *sql.Conn }

func (s sqlSession) read(ctx context.Context, query string, yield func(values []*string)) ([]string, error) {
	rows, err := s.conn.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	values := make([]*string, len(names))
	into := make([]any, len(names))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		yield(values)
	}
	return names, rows.Err()
}

func (s sqlSession) close(context.Context) { s.conn.Close() }
