package postgres

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// fixture is a database of the shared server and the source that reads it as
// the superuser.
type fixture struct {
	server   *pgserver.Server
	database string
	cfg      *Config
	source   *Source
	conn     *pgx.Conn
}

func configOf(s *pgserver.Server, databases ...string) *Config {
	return &Config{Host: s.Host(), Port: uint16(s.Port()), User: s.User(), Password: s.Password(), Databases: databases}
}

// newFixture makes a database and runs statements in it.
func newFixture(t *testing.T, statements ...string) *fixture {
	t.Helper()
	return fixtureOn(t, pgserver.Test(t, pgserver.Options{}), statements...)
}

func fixtureOn(t *testing.T, server *pgserver.Server, statements ...string) *fixture {
	t.Helper()
	f := &fixture{server: server, database: server.Database(t)}
	f.cfg = configOf(server, f.database)
	f.conn = f.connect(t)
	f.exec(t, statements...)
	var err error
	if f.source, err = Open(t.Context(), f.cfg, f.database); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.source.Close(context.Background()) })
	return f
}

// connect opens another session of the superuser.
func (f *fixture) connect(t *testing.T) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), f.server.DSN(f.database))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func (f *fixture) exec(t *testing.T, statements ...string) {
	t.Helper()
	for _, sql := range statements {
		if _, err := f.conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

// role makes a role that goes away with the database and returns its
// settings.
func (f *fixture) role(t *testing.T, options string) *Config {
	t.Helper()
	cfg := *f.cfg
	cfg.User, cfg.Password = f.database+"_role", "role's \\secret"
	f.exec(t, fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD %s %s", quoteIdent(cfg.User), quoteLiteral(cfg.Password), options))
	f.dropLater(t, cfg.User)
	return &cfg
}

// dropLater removes a role when the test has ended.
func (f *fixture) dropLater(t *testing.T, user string) {
	t.Cleanup(func() {
		ctx := context.Background()
		conn, err := pgx.Connect(ctx, f.server.DSN(f.database))
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close(ctx)
		if _, err := conn.Exec(ctx, fmt.Sprintf("DROP OWNED BY %[1]s CASCADE; DROP ROLE %[1]s", quoteIdent(user))); err != nil {
			t.Error(err)
		}
	})
}

func (f *fixture) tables(t *testing.T, include ...string) []*Table {
	t.Helper()
	tables, err := f.source.Tables(t.Context(), Selection{Include: include})
	if err != nil {
		t.Fatal(err)
	}
	return tables
}

func (f *fixture) table(t *testing.T, pattern string) *Table {
	t.Helper()
	tables := f.tables(t, pattern)
	if len(tables) != 1 {
		t.Fatalf("%s names %d tables", pattern, len(tables))
	}
	return tables[0]
}

// TestRoleSettings gives the role settings under which a session of its own would
// publish nothing, and print names otherwise.
func TestRoleSettings(t *testing.T) {
	f := newFixture(t, `CREATE TABLE a (id int PRIMARY KEY, r regclass)`, `INSERT INTO a VALUES (1, 'a')`)
	cfg := f.role(t, "REPLICATION")
	user := quoteIdent(cfg.User)
	f.exec(t, `ALTER TABLE a OWNER TO `+user, fmt.Sprintf(`GRANT ALL ON DATABASE %s TO %s`, quoteIdent(f.database), user),
		`ALTER ROLE `+user+` SET default_transaction_read_only = on`, `ALTER ROLE `+user+` SET quote_all_identifiers = on`)
	source, err := Open(t.Context(), cfg, f.database)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close(context.Background())
	if _, err := source.EnsurePublication(t.Context(), "role_settings", f.tables(t, "public.a"), time.Minute); err != nil {
		t.Error(err)
	}
	if err := source.DropPublication(t.Context(), "role_settings"); err != nil {
		t.Error(err)
	}
	snapshot, err := source.TakeSnapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer snapshot.Close(context.Background())
	if rows, _ := f.readAll(t, snapshot, f.table(t, "public.a")); rows["1|a"] != 1 {
		t.Errorf("read %v", rows)
	}
}
