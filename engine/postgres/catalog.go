package postgres

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/leat-etl/leat/engine/batch"
)

// MinVersion is the oldest server whose log can be read: pgoutput came with
// PostgreSQL 10.
const MinVersion = 100000

// Source is one database of the server: its catalogue, its types and the
// connection that asks for them. It is safe for concurrent use; questions
// wait for each other.
type Source struct {
	// Database is the database's name, Version the server_version_num.
	Database string
	Version  int
	// Waits, if not nil, is told for whose transaction the making of a slot or of a
	// snapshot waits, and what ends that; twice nothing once it does not any more.
	Waits func(who, end string)
	// ByQuery says that tables are read by queries: those count too that are
	// not in the log, and generated columns. It is set before the first question.
	ByQuery bool
	// Missed is what the servers answered that were asked before the one that
	// the source talks to.
	Missed []error

	cfg       *Config // after Open that of one server
	unencoded bool    // see sqlASCII; as Version, later only read

	mu    sync.Mutex // guards conn and types
	conn  *pgx.Conn
	types *TypeMap
}

// Open connects to a database. The caller closes the Source.
func Open(ctx context.Context, cfg *Config, database string) (*Source, error) {
	own := *cfg
	own.fellSilent = new(atomic.Bool)
	s := &Source{Database: database, cfg: &own}
	if err := s.do(ctx, func(*pgx.Conn) error { return nil }); err != nil {
		return nil, err
	}
	return s, nil
}

// FellSilent says whether a connection of this source was given up because
// nothing came over it. Its error does not always tell: pgconn replaces what
// ends a simple query.
func (s *Source) FellSilent() bool { return s.cfg.fellSilent.Load() }

// Close ends the connection.
func (s *Source) Close(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil {
		return nil
	}
	err := s.conn.Close(ctx)
	s.conn = nil
	return err
}

// ReplicationConfig returns the settings of a logical replication connection
// to the server that this source has found.
func (s *Source) ReplicationConfig() (*pgconn.Config, error) {
	return s.cfg.ReplicationConfig(s.Database)
}

// Types returns the types known now. A later TableByOID may know more.
func (s *Source) Types() *TypeMap {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.types
}

// do runs fn with the connection, which it opens again where it was lost.
func (s *Source) do(ctx context.Context, fn func(*pgx.Conn) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil || s.conn.IsClosed() {
		if err := s.connect(ctx); err != nil {
			return err
		}
	}
	return fn(s.conn)
}

func (s *Source) connect(ctx context.Context) error {
	conn, cfg, missed, err := s.cfg.connectFirst(ctx, s.Database)
	if err != nil {
		return err
	}
	if cfg != s.cfg { // once, in Open: snapshots and slots are one server's, so all connections go there
		s.cfg, s.Missed = cfg, missed
	}
	version, err := serverVersion(ctx, conn)
	if err == nil && version >= 110000 {
		// Where there are many tables the planner takes questions about a few for
		// expensive ones, and compiling them takes a hundred times what they take.
		_, err = conn.Exec(ctx, "SET jit = off")
	}
	if err == nil {
		s.types, err = loadTypes(ctx, conn)
	}
	if err != nil {
		conn.Close(ctx)
		return wrap("open", "database "+s.Database, err)
	}
	if s.Version == 0 { // later only read, without the lock
		s.Version = version
		s.unencoded = conn.PgConn().ParameterStatus("server_encoding") == sqlASCII
	}
	s.conn = conn
	return nil
}

func serverVersion(ctx context.Context, conn *pgx.Conn) (int, error) {
	var version int
	err := conn.QueryRow(ctx, `SELECT pg_catalog.current_setting('server_version_num')::int`).Scan(&version)
	if err == nil && version < MinVersion {
		err = &Error{Op: "open", Code: CodePrerequisite, Class: Stop, Err: fmt.Errorf("server version %d has no pgoutput", version),
			Causes: []string{"The server is older than PostgreSQL 10."}, Hint: "Upgrade the server."}
	}
	return version, err
}

// Tables lists the objects that sel chooses, ordered by name, those that
// cannot be replicated with the reason.
func (s *Source) Tables(ctx context.Context, sel Selection) ([]*Table, error) {
	choose, err := sel.parse()
	if err != nil {
		return nil, err
	}
	var out []*Table
	err = s.do(ctx, func(conn *pgx.Conn) error {
		oids, err := chosenOIDs(ctx, conn, s.cfg.ByLeaf, s.Version, choose)
		if err != nil {
			return err
		}
		out, err = s.load(ctx, conn, oids)
		return err
	})
	return out, wrap("list tables of", "database "+s.Database, err)
}

// Names lists every relation that could be an object, ordered by name.
func (s *Source) Names(ctx context.Context) ([]batch.TableID, error) {
	var out []batch.TableID
	err := s.do(ctx, func(conn *pgx.Conn) error {
		return eachRelation(ctx, conn, s.cfg.ByLeaf, s.Version, func(_ uint32, schema, name string) {
			out = append(out, batch.TableID{Database: s.Database, Schema: schema, Name: name})
		})
	})
	return out, wrap("list tables of", "database "+s.Database, err)
}

// TableByOID returns one object, an *Error of class Object if it is gone. Types
// that were created since are read first.
func (s *Source) TableByOID(ctx context.Context, oid uint32) (*Table, error) {
	var out []*Table
	err := s.do(ctx, func(conn *pgx.Conn) error {
		var err error
		out, err = s.load(ctx, conn, []uint32{oid})
		return err
	})
	if err == nil && len(out) == 0 {
		err = &Error{Op: "read table", Object: fmt.Sprintf("with OID %d", oid), Class: Object, Err: fmt.Errorf("it does not exist"),
			Causes: []string{"The table was dropped."}, Hint: "Run leat objects list."}
	}
	if err != nil {
		return nil, wrap("read table", fmt.Sprintf("with OID %d", oid), err)
	}
	return out[0], nil
}

// Exist says which of these relations there are.
func (s *Source) Exist(ctx context.Context, oids []uint32) (map[uint32]bool, error) {
	out := map[uint32]bool{}
	if len(oids) == 0 {
		return out, nil
	}
	err := s.do(ctx, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, `SELECT oid FROM pg_catalog.pg_class WHERE oid = ANY($1::oid[])`, oids)
		if err != nil {
			return err
		}
		var oid uint32
		_, err = pgx.ForEachRow(rows, []any{&oid}, func() error {
			out[oid] = true
			return nil
		})
		return err
	})
	return out, wrap("look for tables of", "database "+s.Database, err)
}

// Part is why a relation is no object by itself, empty where it may be one, and the
// table at the top if it is a partition.
type Part struct {
	Why  string
	Root batch.TableID
}

// Parts looks for relations by name: those that are there.
func (s *Source) Parts(ctx context.Context, names []batch.TableID) (map[batch.TableID]Part, error) {
	schemas, tables := make([]string, len(names)), make([]string, len(names))
	for i, id := range names {
		schemas[i], tables[i] = id.Schema, id.Name
	}
	out := map[batch.TableID]Part{}
	err := s.do(ctx, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, `SELECT n.nspname::text, c.relname::text, c.relkind = 'p', c.relispartition, rn.nspname::text, r.relname::text
			FROM unnest($1::text[], $2::text[]) AS named(schema, name)
			JOIN pg_catalog.pg_namespace n ON n.nspname = named.schema JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = named.name,
			LATERAL (WITH RECURSIVE up(oid, level) AS (SELECT c.oid, 0
				UNION ALL SELECT i.inhparent, level + 1 FROM up JOIN pg_catalog.pg_inherits i ON c.relispartition AND i.inhrelid = up.oid)
				SELECT oid FROM up ORDER BY level DESC LIMIT 1) top
			JOIN pg_catalog.pg_class r ON r.oid = top.oid JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace`, schemas, tables)
		if err != nil {
			return err
		}
		id, root := batch.TableID{Database: s.Database}, batch.TableID{Database: s.Database}
		var parted, part bool
		_, err = pgx.ForEachRow(rows, []any{&id.Schema, &id.Name, &parted, &part, &root.Schema, &root.Name}, func() error {
			why := ""
			switch {
			case part && !s.cfg.ByLeaf:
				why = fmt.Sprintf("it is a partition of %s.%s: its rows are replicated as that table's", root.Schema, root.Name)
			case parted && s.cfg.ByLeaf:
				why = `its partitions are replicated instead, each by itself: partitions = "leaf"`
			}
			out[id] = Part{why, root}
			return nil
		})
		return err
	})
	return out, wrap("look for tables of", "database "+s.Database, err)
}

// chosenOIDs lists the relations that could be an object and that choose
// takes.
func chosenOIDs(ctx context.Context, conn *pgx.Conn, byLeaf bool, version int, choose *selector) (oids []uint32, err error) {
	err = eachRelation(ctx, conn, byLeaf, version, func(oid uint32, schema, name string) {
		if choose.matches(schema, name) {
			oids = append(oids, oid)
		}
	})
	return oids, err
}

// eachRelation calls take for the relations that could be an object. A
// partition is none where its root can be published, and with byLeaf is one
// instead of the root.
func eachRelation(ctx context.Context, conn *pgx.Conn, byLeaf bool, version int, take func(oid uint32, schema, name string)) error {
	const list = `SELECT c.oid, n.nspname::text, c.relname::text
		FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND (NOT c.relispartition OR $1) AND NOT (c.relkind = 'p' AND $2)
		AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname !~ '^pg_toast_temp_'
		ORDER BY n.nspname, c.relname`
	rows, err := conn.Query(ctx, list, byLeaf || version < partitionRootVersion, byLeaf)
	if err != nil {
		return err
	}
	var (
		oid          uint32
		schema, name string
	)
	_, err = pgx.ForEachRow(rows, []any{&oid, &schema, &name}, func() error {
		take(oid, schema, name)
		return nil
	})
	return err
}
