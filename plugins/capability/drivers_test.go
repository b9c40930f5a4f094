package capability

import (
	"context"
	"strings"
	"testing"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

var postgresDialect = dialect{name: "postgres", types: []string{
	"boolean", "smallint", "integer", "bigint", "oid", "real", "double precision", "text", "bytea", "date", "time", "timestamp",
	"timestamp with time zone", "uuid", "numeric(12,2)", "numeric(38,10)", "numeric(76,20)", "json",
}}

func openTestPostgres(t testing.TB) SQL {
	t.Helper()
	server := pgserver.Test(t, pgserver.Options{})
	return connectTestPostgres(t, server, server.Database(t))
}

func connectTestPostgres(t testing.TB, server *pgserver.Server, database string) SQL {
	t.Helper()
	db, err := OpenPostgres(t.Context(), PostgresOptions{
		Host: server.Host(), Port: server.Port(), User: server.User(), Password: server.Password(),
		Database: database, TLSMode: "disable",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func TestPostgresConforms(t *testing.T) {
	for _, f := range failures(t.Context(), openTestPostgres(t), postgresDialect) {
		t.Error(f)
	}
}

// ignoresOps moves rows that it was told to leave.
type ignoresOps struct{ SQL }

func (b ignoresOps) Ingest(ctx context.Context, rows *batch.Batch, in Ingest) (int64, error) {
	in.Ops = ""
	return b.SQL.Ingest(ctx, rows, in)
}

// commitsAll has no transactions.
type commitsAll struct{ SQL }

func (b commitsAll) Rollback(ctx context.Context) error {
	if b.SQL.Commit(ctx) != nil {
		return b.SQL.Rollback(ctx)
	}
	return nil
}

// losesClass reports every failure as internal.
type losesClass struct{ SQL }

func (b losesClass) Exec(ctx context.Context, sql string) (int64, error) {
	n, err := b.SQL.Exec(ctx, sql)
	if e, ok := err.(*Error); ok {
		return n, &Error{Class: Internal, Message: e.Message}
	}
	return n, err
}

func TestConformanceCatchesBrokenDrivers(t *testing.T) {
	for name, c := range map[string]struct {
		broken SQL
		caught string
	}{
		"ignores ops": {ignoresOps{openTestPostgres(t)}, "only the operations asked for"},
		"commits all": {commitsAll{openTestPostgres(t)}, "rollback leaves nothing"},
		"loses class": {losesClass{openTestPostgres(t)}, "errors have their class"},
	} {
		found := strings.Join(failures(t.Context(), c.broken, postgresDialect), "\n")
		if !strings.Contains(found, c.caught) {
			t.Errorf("a driver that %s passes %q; found: %s", name, c.caught, found)
		}
	}
}
