package capability

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// PostgresOptions says which PostgreSQL database to use and how to reach it.
type PostgresOptions struct {
	Host     string
	Port     int // 0 is 5432
	User     string
	Password string
	Database string
	// TLSMode is one of PostgreSQL's sslmodes; empty is "prefer".
	TLSMode         string
	CAFile          string
	CertificateFile string
	KeyFile         string
}

// postgres is one connection to a PostgreSQL database.
type postgres struct {
	conn *pgconn.PgConn
	inTx bool
	// stages holds the shape of each temporary table that this connection has
	// made, by its name: a stage of the same shape is emptied and used again.
	stages map[string]string
	copy   copyReader
	// What watches long statements has connections of its own, by config.
	config *pgconn.Config
	tell   func(doing string) // see Tell
	moved  movement
	noSign time.Duration
	silent atomic.Bool // the connection was given up
}

// OpenPostgres connects to a PostgreSQL database. The session is set so that
// text means the same whatever the server's defaults.
func OpenPostgres(ctx context.Context, o PostgresOptions) (SQL, error) {
	config, err := pgconn.ParseConfig(o.dsn())
	if err != nil {
		return nil, &Error{Class: Schema, Message: fmt.Sprintf("connect to PostgreSQL at %s: the settings are not valid (host, port or TLS files)", o.Host)}
	}
	config.Password = o.Password
	for name, value := range map[string]string{
		"application_name": "leat", "client_encoding": "UTF8", "DateStyle": "ISO, YMD", "IntervalStyle": "postgres",
		"TimeZone": "UTC", "extra_float_digits": "3", "bytea_output": "hex", "standard_conforming_strings": "on",
		"client_min_messages": "warning",
	} {
		config.RuntimeParams[name] = value
	}
	p := &postgres{stages: map[string]string{}, config: config, noSign: noSign}
	counted := config.Copy()
	p.moved.through(counted)
	if p.conn, err = pgconn.ConnectConfig(ctx, counted); err != nil {
		return nil, postgresConnectError(o, err)
	}
	return p, nil
}

// dsn leaves the password out: it must not appear in a parser's error.
func (o PostgresOptions) dsn() string {
	var s strings.Builder
	set := func(key, value string) {
		value = strings.ReplaceAll(strings.ReplaceAll(value, `\`, `\\`), `'`, `\'`)
		fmt.Fprintf(&s, "%s='%s' ", key, value)
	}
	mode, port := o.TLSMode, o.Port
	if mode == "" {
		mode = "prefer"
	}
	if port == 0 {
		port = 5432
	}
	set("host", o.Host)
	set("port", strconv.Itoa(port))
	set("user", o.User)
	set("dbname", o.Database)
	set("sslmode", mode)
	for key, file := range map[string]string{"sslrootcert": o.CAFile, "sslcert": o.CertificateFile, "sslkey": o.KeyFile} {
		if file != "" {
			set(key, file)
		}
	}
	return s.String()
}

// Exec implements SQL.
func (p *postgres) Exec(ctx context.Context, sql string) (int64, error) {
	defer p.watch(ctx)()
	results := p.conn.Exec(ctx, sql)
	var affected int64
	for results.NextResult() {
		tag, err := results.ResultReader().Close()
		if err != nil {
			return 0, p.fail(results.Close(), err)
		}
		affected = tag.RowsAffected()
	}
	if err := results.Close(); err != nil {
		return 0, p.fail(err, nil)
	}
	return affected, nil
}

// Query implements SQL.
func (p *postgres) Query(ctx context.Context, sql string) (*Rows, error) {
	defer p.watch(ctx)()
	results := p.conn.Exec(ctx, sql)
	out := &Rows{}
	var over error
	left := MaxQueryBytes
	for results.NextResult() {
		r := results.ResultReader()
		out = &Rows{}
		for _, f := range r.FieldDescriptions() {
			out.Columns = append(out.Columns, f.Name)
		}
		for r.NextRow() {
			if len(out.Rows) == MaxQueryRows {
				over = cmp.Or[error](over, tooManyRows())
			}
			for _, v := range r.Values() {
				over = cmp.Or(over, tooManyBytes(&left, len(v)))
			}
			if over == nil {
				out.Rows = append(out.Rows, textRow(r.Values()))
			}
		}
	}
	if err := results.Close(); err != nil {
		return nil, p.fail(err, nil)
	}
	if over != nil {
		return nil, over
	}
	return out, nil
}

func textRow(values [][]byte) []*string {
	row := make([]*string, len(values))
	for i, v := range values {
		if v != nil {
			text := string(v)
			row[i] = &text
		}
	}
	return row
}

// Begin implements SQL.
func (p *postgres) Begin(ctx context.Context) error {
	if p.inTx {
		return nestedTransaction()
	}
	_, err := p.Exec(ctx, "BEGIN")
	p.inTx = err == nil
	return err
}

// Commit implements SQL. A transaction that an error has broken is rolled
// back by the server and reported as a failure.
func (p *postgres) Commit(ctx context.Context) error {
	if p.conn.TxStatus() == 'E' {
		return &Error{Class: Internal, Message: "commit of a transaction that has failed", Hint: "roll back first"}
	}
	_, err := p.Exec(ctx, "COMMIT")
	if err == nil {
		p.inTx = false
	}
	return err
}

// Rollback implements SQL. Without a transaction it does nothing.
func (p *postgres) Rollback(ctx context.Context) error {
	p.inTx = false
	clear(p.stages) // a stage made in the transaction is gone with it
	if p.conn.TxStatus() == 'I' {
		return nil
	}
	_, err := p.Exec(ctx, "ROLLBACK")
	return err
}

// Close implements SQL. An open transaction is rolled back.
func (p *postgres) Close() error {
	return p.conn.Close(context.Background())
}

// fail classifies the first of two errors of one statement.
func (p *postgres) fail(err, other error) error {
	if p.silent.Load() {
		return &Error{Class: Connection, Message: fmt.Sprintf("nothing has come over the connection for %s, and the server is not at work on what it was sent", p.noSign),
			Hint: "look for a proxy, firewall or tunnel between here and the destination that drops connections without closing them"}
	}
	if err == nil {
		err = other
	}
	return postgresError(err)
}

// copyFrom runs a COPY FROM STDIN whose data comes from r.
func (p *postgres) copyFrom(ctx context.Context, sql string, r io.Reader) (int64, error) {
	defer p.watch(ctx)()
	tag, err := p.conn.CopyFrom(ctx, r, sql)
	if err != nil {
		return 0, p.fail(err, nil)
	}
	return tag.RowsAffected(), nil
}
