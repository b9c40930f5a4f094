package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/leat-etl/leat/engine/batch"
)

// Publication is what a stream subscribes to.
type Publication struct {
	// Names are the publications: one for tables whose rows the log
	// identifies and one, for inserts and truncates only, for the rest.
	Names []string `json:"names"`
	// Missing are selected tables that no publication holds, Unsafe those
	// whose UPDATE or DELETE fails at the source because a publication that
	// Leat did not create publishes them without a replica identity, Filtered
	// those with a column list or row filter. Only AdoptPublications finds any.
	Missing  []batch.TableID `json:"missing,omitempty"`
	Unsafe   []batch.TableID `json:"unsafe,omitempty"`
	Filtered []batch.TableID `json:"filtered,omitempty"`
	// Foreign says that another role owns one of the publications, or somebody has
	// locked a table that is to leave: it may hold tables beside, which
	// EnsurePublication cannot take out.
	Foreign bool `json:"foreign,omitempty"`
	// Locked are tables, by OID, that could not be published because somebody has
	// locked them.
	Locked map[uint32]Obstacle `json:"-"`
}

// keylessSuffix makes the name of the second publication.
const keylessSuffix = "_keyless"

// EnsurePublication creates or alters the publication name and its sibling so
// that they hold exactly the replicable ones of tables. Both always exist,
// empty or not: the log is decoded with the catalogue of its time, in which a
// publication that came later does not exist. Call it before CreateSlot.
//
// Where the role may not, the error's hint is the SQL for an administrator. A table
// that somebody has locked for longer than patience stays as it is published, or is
// not; 0 waits for it.
//
// test_decoding knows no publications: none is made.
func (s *Source) EnsurePublication(ctx context.Context, name string, tables []*Table, patience time.Duration) (*Publication, error) {
	if s.cfg.Decoder == TestDecoding {
		return &Publication{}, nil
	}
	out := &Publication{Names: []string{name, name + keylessSuffix}}
	err := s.do(ctx, func(conn *pgx.Conn) error {
		statements, err := s.publicationChanges(ctx, conn, name, tables, nil)
		if err == nil {
			err = runPublicationChanges(ctx, conn, statements, patience)
		}
		if isLockTimeout(err) {
			err = s.publishUnlocked(ctx, conn, name, tables, patience, out, err)
		}
		for _, n := range out.Names {
			var have published
			if err == nil {
				have, err = readPublication(ctx, conn, n, s.Version)
			}
			out.Foreign = out.Foreign || !have.mine
		}
		return err
	})
	if err != nil {
		return nil, wrap("ensure publication", name, err)
	}
	return out, nil
}

// publishUnlocked does what can be done without the tables that are locked.
func (s *Source) publishUnlocked(ctx context.Context, conn *pgx.Conn, name string, tables []*Table, patience time.Duration, out *Publication, timeout error) error {
	missing, surplus, err := s.differences(ctx, conn, name, tables)
	if err != nil {
		return err
	}
	locked, err := readLocks(ctx, conn, append(slices.Clone(missing), surplus...))
	if err != nil {
		return err
	}
	if len(locked) == 0 {
		return timeout // released meanwhile
	}
	out.Locked = map[uint32]Obstacle{}
	for _, oid := range missing {
		if o, ok := locked[oid]; ok {
			out.Locked[oid] = o
		}
	}
	for _, oid := range surplus {
		_, held := locked[oid]
		out.Foreign = out.Foreign || held
	}
	statements, err := s.publicationChanges(ctx, conn, name, tables, locked)
	if err != nil {
		return err
	}
	return runPublicationChanges(ctx, conn, statements, patience)
}

// NotPublished returns those of tables, by OID, of whose changes the log has not
// had all so far that EnsurePublication would see to, because the publication name
// or its sibling did not hold them, or only in part. A table that was dropped has
// left it by that.
func (s *Source) NotPublished(ctx context.Context, name string, tables []*Table) (out []uint32, err error) {
	if s.cfg.Decoder == TestDecoding {
		return nil, nil
	}
	err = s.do(ctx, func(conn *pgx.Conn) error {
		wants, err := s.publicationWants(ctx, conn, name, tables, nil)
		for i, want := range wants {
			needed := strings.TrimSuffix(want.actions, ", truncate")
			for _, t := range tables {
				if t.Reason == "" && t.Keyless == want.keyless && want.have.exists && !strings.HasPrefix(want.have.actions, needed) {
					out = append(out, t.OID)
				}
			}
			for _, t := range want.missing {
				if losesKey := i == 1 && slices.Contains(wants[0].have.tables, t.OID); !losesKey {
					out = append(out, t.OID)
				}
			}
		}
		if err != nil || len(out) == 0 {
			return err
		}
		rows, err := conn.Query(ctx, "SELECT oid FROM pg_catalog.pg_class WHERE oid = ANY($1::oid[])", out)
		if err == nil {
			out, err = pgx.CollectRows(rows, pgx.RowTo[uint32])
		}
		return err
	})
	return out, wrap("compare publication", name, err)
}

// Demote moves the tables of the publication name whose rows the log does not
// identify any more to its sibling, so that their updates and deletes do not
// fail, and returns them by name. It asks little and may be called often, at a
// standby too, where it does nothing. patience is as with EnsurePublication.
func (s *Source) Demote(ctx context.Context, name string, patience time.Duration) (demoted []string, err error) {
	if s.cfg.Decoder == TestDecoding {
		return nil, nil
	}
	var have published
	err = s.do(ctx, func(conn *pgx.Conn) (err error) {
		have, err = readPublication(ctx, conn, name, s.Version)
		return err
	})
	if err != nil || len(have.tables) == 0 {
		return nil, wrap("look at publication", name, err)
	}
	oids, err := s.Keyless(ctx, have.tables)
	if err != nil || len(oids) == 0 {
		return nil, err
	}
	err = s.do(ctx, func(conn *pgx.Conn) error {
		var standby bool
		if err := conn.QueryRow(ctx, "SELECT pg_catalog.pg_is_in_recovery()").Scan(&standby); err != nil || standby {
			return err
		}
		names, err := publishedNames(ctx, conn, oids)
		if err != nil {
			return err
		}
		list := strings.Join(names, ", ")
		err = runPublicationChanges(ctx, conn, publicationChanges{together: []string{
			fmt.Sprintf("ALTER PUBLICATION %s DROP TABLE %s", quoteIdent(name), list),
			fmt.Sprintf("ALTER PUBLICATION %s ADD TABLE %s", quoteIdent(name+keylessSuffix), list),
		}}, patience)
		for _, name := range names {
			if err == nil {
				demoted = append(demoted, strings.TrimPrefix(name, "ONLY "))
			}
		}
		return err
	})
	return demoted, wrap("change publication", name, err)
}

// MadePublication is a publication of EnsurePublication that is there.
type MadePublication struct {
	Name   string `json:"name"`
	Tables int    `json:"tables"`
	// Kept is why DropPublication would not do and what would, empty if it would.
	Kept string `json:"kept,omitempty"`
}

// MadePublications returns those of the publication name and its sibling that are
// there.
func (s *Source) MadePublications(ctx context.Context, name string) ([]MadePublication, error) {
	out := []MadePublication{}
	err := s.do(ctx, func(conn *pgx.Conn) error {
		var standby bool
		if err := conn.QueryRow(ctx, "SELECT pg_catalog.pg_is_in_recovery()").Scan(&standby); err != nil {
			return err
		}
		for _, name := range []string{name, name + keylessSuffix} {
			have, err := readPublication(ctx, conn, name, s.Version)
			if err != nil {
				return err
			}
			if !have.exists {
				continue
			}
			made := MadePublication{Name: name, Tables: len(have.tables)}
			switch {
			case have.allTables:
				made.Kept = "it is FOR ALL TABLES, which Leat does not make"
			case standby:
				made.Kept = fmt.Sprintf("this is a standby; at the primary: DROP PUBLICATION %s;", quoteIdent(name))
			case !have.mine:
				made.Kept = fmt.Sprintf("it belongs to another role, which may: DROP PUBLICATION %s;", quoteIdent(name))
			}
			out = append(out, made)
		}
		return nil
	})
	return out, wrap("look for publication", name, err)
}

// DropPublication drops a publication; one that does not exist is no error.
func (s *Source) DropPublication(ctx context.Context, name string) error {
	err := s.do(ctx, func(conn *pgx.Conn) error {
		return pgx.BeginTxFunc(ctx, conn, writing, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, "DROP PUBLICATION IF EXISTS "+quoteIdent(name))
			return err
		})
	})
	return wrap("drop publication", name, err)
}

// forgetfulVersion is the first version whose walsender looks again what is
// published of a relation after that was attached to a partitioned table or
// detached from it. An older one goes by what held when it first met a change
// of the relation.
const forgetfulVersion = 150000

// RefreshPublications has walsenders, wherever they are in the log, look anew at
// what the publication name and its sibling publish of partitions that were
// attached or detached: from the place of this call in the log on.
func (s *Source) RefreshPublications(ctx context.Context, name string) error {
	if s.cfg.Decoder == TestDecoding || s.Version >= forgetfulVersion || s.Version < partitionRootVersion {
		return nil
	}
	err := s.do(ctx, func(conn *pgx.Conn) error {
		var statements []string
		for _, name := range []string{name, name + keylessSuffix} {
			have, err := readPublication(ctx, conn, name, s.Version)
			if err != nil {
				return err
			}
			if !have.exists {
				continue // what comes later starts with a fresh look
			}
			statements = append(statements, fmt.Sprintf("ALTER PUBLICATION %s SET (publish = %s)", quoteIdent(name), quoteLiteral(have.actions)))
		}
		return runPublicationChanges(ctx, conn, publicationChanges{together: statements}, 0)
	})
	return wrap("have partitions published", "database "+s.Database, err)
}

// PublicationSQL returns the statements that EnsurePublication would run, for
// plan and for an administrator; none if everything is in place.
func (s *Source) PublicationSQL(ctx context.Context, name string, tables []*Table) ([]string, error) {
	if s.cfg.Decoder == TestDecoding {
		return nil, nil
	}
	var out []string
	err := s.do(ctx, func(conn *pgx.Conn) error {
		changes, err := s.publicationChanges(ctx, conn, name, tables, nil)
		out = changes.all()
		return err
	})
	return out, wrap("compare publication", name, err)
}

func publishedNames(ctx context.Context, conn *pgx.Conn, oids []uint32) ([]string, error) {
	rows, err := conn.Query(ctx, `SELECT CASE WHEN c.relkind = 'p' THEN '' ELSE 'ONLY ' END || format('%I.%I', n.nspname, c.relname)
		FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY($1::oid[]) ORDER BY 1`, oids)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// AdoptPublications takes publications that an administrator created, changes
// nothing, and reports what does not fit tables.
func (s *Source) AdoptPublications(ctx context.Context, names []string, tables []*Table) (*Publication, error) {
	out := &Publication{Names: names}
	err := s.do(ctx, func(conn *pgx.Conn) error {
		for _, name := range names {
			have, err := readPublication(ctx, conn, name, s.Version)
			if err != nil {
				return err
			}
			if !have.exists {
				statements, err := s.publicationChanges(ctx, conn, name, tables, nil)
				if err != nil {
					return err
				}
				return &Error{Op: "adopt publication", Object: name, Class: Stop, Err: fmt.Errorf("it does not exist"),
					Causes: []string{"The name is wrong, or it is in another database."}, Hint: strings.Join(statements.all(), ";\n") + ";"}
			}
		}
		holds, err := readMembership(ctx, conn, names, s.Version)
		if err != nil {
			return err
		}
		for _, t := range tables {
			if t.Reason != "" {
				continue
			}
			m, ok := holds[t.OID]
			if !ok {
				out.Missing = append(out.Missing, t.ID())
			}
			if m.changes && t.Keyless {
				out.Unsafe = append(out.Unsafe, t.ID())
			}
			if m.filtered {
				out.Filtered = append(out.Filtered, t.ID())
			}
		}
		return nil
	})
	if err != nil {
		return nil, wrap("adopt publications", strings.Join(names, ", "), err)
	}
	return out, nil
}

// membership is how a table is part of publications.
type membership struct{ changes, filtered bool }

// readMembership returns the tables of the publications by OID. A publication
// that does not publish via the root lists partitions; they do not count as
// the root.
func readMembership(ctx context.Context, conn *pgx.Conn, names []string, version int) (map[uint32]membership, error) {
	filtered := "false"
	if version >= filterVersion {
		filtered = "coalesce(r.prqual IS NOT NULL OR r.prattrs IS NOT NULL, false)"
	}
	rows, err := conn.Query(ctx, fmt.Sprintf(`SELECT g.relid::oid, bool_or(p.pubupdate OR p.pubdelete), bool_or(%s)
		FROM pg_catalog.pg_publication p CROSS JOIN LATERAL pg_catalog.pg_get_publication_tables(p.pubname) g
		LEFT JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = g.relid
		WHERE p.pubname = ANY($1) GROUP BY 1`, filtered), names)
	if err != nil {
		return nil, err
	}
	out := make(map[uint32]membership)
	var oid uint32
	var m membership
	_, err = pgx.ForEachRow(rows, []any{&oid, &m.changes, &m.filtered}, func() error {
		out[oid] = m
		return nil
	})
	return out, err
}
