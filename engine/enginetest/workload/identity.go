package workload

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// identity is what the log identifies rows of a table by. The zero value is a
// table under REPLICA IDENTITY DEFAULT that has a primary key.
type identity struct {
	keyless bool // it has no primary key
	by      byte // pg_class.relreplident, or 0
}

// changeIdentity gives a table another primary key, takes it away where the log
// does not need it, or changes the replica identity. Keys are the columns of the
// shape, in any order, alone or with one beside them: the rows are always unique.
func (t *transaction) changeIdentity(s *shape, m *tableModel) {
	table := t.w.table(s)
	columns := func() string {
		var names []string
		for _, k := range s.key {
			names = append(names, k.name)
		}
		if s.beside != "" && t.r.IntN(2) == 0 {
			names = append(names, s.beside)
		}
		t.r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		return strings.Join(names, ", ")
	}
	constraint := pgx.Identifier{s.name + "_pkey"}.Sanitize()
	switch n := t.r.IntN(6); {
	case n == 0:
		t.say("ALTER TABLE %s REPLICA IDENTITY FULL", table)
		m.by = 'f'
	case n == 1 && !m.keyless:
		t.say("ALTER TABLE %s REPLICA IDENTITY DEFAULT", table)
		m.by = 'd'
	case n == 2 && m.by != 'i':
		index := pgx.Identifier{s.name + "_identity"}
		t.say("DROP INDEX IF EXISTS %s", pgx.Identifier{t.w.options.Schema, index[0]}.Sanitize())
		t.say("CREATE UNIQUE INDEX %s ON %s (%s)", index.Sanitize(), table, columns())
		t.say("ALTER TABLE %s REPLICA IDENTITY USING INDEX %s", table, index.Sanitize())
		m.by = 'i'
	case n == 3 && !m.keyless && (m.by == 'f' || m.by == 'i'):
		t.say("ALTER TABLE %s DROP CONSTRAINT %s", table, constraint)
		m.keyless = true
	default:
		t.say("ALTER TABLE %s DROP CONSTRAINT IF EXISTS %s, ADD CONSTRAINT %[2]s PRIMARY KEY (%[3]s)", table, constraint, columns())
		m.keyless = false
	}
}

// readIdentity asks the server what a table has.
func readIdentity(ctx context.Context, conn *pgx.Conn, table string) (i identity, err error) {
	var by string
	err = conn.QueryRow(ctx, `SELECT relreplident::text, NOT EXISTS (SELECT FROM pg_index WHERE indrelid = c.oid AND indisprimary) FROM pg_class c WHERE c.oid = $1::regclass`, table).Scan(&by, &i.keyless)
	if err != nil {
		return i, fmt.Errorf("read identity: %w", err)
	}
	i.by = by[0]
	return i, nil
}
