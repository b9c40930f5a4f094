package postgres

import (
	"context"
	"fmt"
	"iter"
	"maps"
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
		_, err := conn.Exec(ctx, "DROP PUBLICATION IF EXISTS "+quoteIdent(name))
		return err
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

// publishedAtOnce is how many tables one statement adds to a publication. It
// locks them all until its transaction ends, of what max_locks_per_transaction
// leaves the whole server: 6,400 locks by default.
const publishedAtOnce = 1000

// runPublicationChanges runs the statements, each of which waits for a table that is
// locked as long as patience says, 0 for ever. A table that moves from one
// publication to the other is in one of them at any time.
func runPublicationChanges(ctx context.Context, conn *pgx.Conn, changes publicationChanges, patience time.Duration) error {
	statements := changes.all()
	run := func(sql ...string) error {
		if len(sql) == 0 {
			return nil
		}
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			for _, sql := range append([]string{fmt.Sprintf("SET LOCAL lock_timeout = %d", patience.Milliseconds())}, sql...) {
				if _, err := tx.Exec(ctx, sql); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := run(changes.together...)
	for _, sql := range changes.apart {
		if err == nil {
			err = run(sql)
		}
	}
	if err == nil {
		return nil
	}
	e := Classify(err)
	if e.SQLState == "42501" {
		e.Op, e.Code, e.Class = "publish the tables", CodePrerequisite, Stop
		e.Causes = []string{"The role owns not all of the tables, or lacks CREATE on the database."}
		e.Hint = "Run as the tables' owner or a superuser:\n" + strings.Join(statements, ";\n") + ";"
	}
	return e
}

// published is a publication as it stands.
type published struct {
	exists, allTables, viaRoot bool
	generated                  bool // stored generated columns are published
	mine                       bool // the role may change it
	actions                    string
	tables                     []uint32
}

// publicationChanges are the statements that change both publications: those
// that are one transaction, then those that are one each.
type publicationChanges struct{ together, apart []string }

func (c *publicationChanges) all() []string { return append(slices.Clone(c.together), c.apart...) }

func (c *publicationChanges) add(apart bool, sql string) {
	if apart {
		c.apart = append(c.apart, sql)
	} else {
		c.together = append(c.together, sql)
	}
}

// publicationChanges compares both publications with what they should be, but for
// the tables of besides, which stay as they are. Tables are removed first, so that
// one may move from one to the other.
func (s *Source) publicationChanges(ctx context.Context, conn *pgx.Conn, name string, tables []*Table, besides map[uint32]Obstacle) (out publicationChanges, err error) {
	wants, err := s.publicationWants(ctx, conn, name, tables, besides)
	if err != nil {
		return out, err
	}
	moves := map[uint32]bool{}
	for i := range wants {
		for _, t := range wants[1-i].missing {
			_, moves[t.OID] = slices.BinarySearch(wants[i].surplus, t.OID)
		}
		if err := wants[i].remove(ctx, conn, &out, moves); err != nil {
			return out, err
		}
	}
	for i := range wants {
		wants[i].set(&out, s.Version)
	}
	for i := range wants {
		wants[i].add(&out, moves)
	}
	return out, nil
}

// publicationWants compares both publications with what they should be.
func (s *Source) publicationWants(ctx context.Context, conn *pgx.Conn, name string, tables []*Table, besides map[uint32]Obstacle) (wants []publicationWant, err error) {
	if len(name+keylessSuffix) > 63 {
		return nil, settingsError(fmt.Errorf("publication name %q is longer than %d bytes", name, 63-len(keylessSuffix)), "Names of PostgreSQL have 63 bytes.", "")
	}
	truncate := ", truncate"
	if s.Version < 110000 {
		truncate = ""
	}
	wants = []publicationWant{
		{name: name, actions: "insert, update, delete" + truncate, viaRoot: !s.cfg.ByLeaf},
		{name: name + keylessSuffix, actions: "insert" + truncate, keyless: true, viaRoot: !s.cfg.ByLeaf},
	}
	for i := range wants {
		want := &wants[i]
		if want.have, err = readPublication(ctx, conn, want.name, s.Version); err != nil {
			return nil, err
		}
		if want.have.allTables {
			return nil, &Error{Op: "alter publication", Object: want.name, Class: Stop, Err: fmt.Errorf("it is FOR ALL TABLES"),
				Causes: []string{"Somebody created it FOR ALL TABLES, which Leat does not change."},
				Hint:   fmt.Sprintf("Name it in the pipeline as an existing publication, or: DROP PUBLICATION %s;", quoteIdent(want.name))}
		}
		want.compare(tables, besides)
	}
	return wants, nil
}

// differences are the OIDs of the tables that are to be added and removed.
func (s *Source) differences(ctx context.Context, conn *pgx.Conn, name string, tables []*Table) (missing, surplus []uint32, err error) {
	wants, err := s.publicationWants(ctx, conn, name, tables, nil)
	for _, want := range wants {
		missing = append(missing, oidsOf(want.missing)...)
		surplus = append(surplus, want.surplus...)
	}
	return missing, surplus, err
}

// publicationWant is a publication as it should be, and what it is.
type publicationWant struct {
	name, actions    string
	keyless, viaRoot bool
	have             published
	missing          []*Table
	surplus          []uint32
}

// compare finds the tables that are to be added and removed, but for those of besides.
func (p *publicationWant) compare(tables []*Table, besides map[uint32]Obstacle) {
	left := make(map[uint32]bool, len(p.have.tables))
	for _, oid := range p.have.tables {
		if _, stays := besides[oid]; !stays {
			left[oid] = true
		}
	}
	for _, t := range tables {
		_, stays := besides[t.OID]
		switch {
		case stays:
		case t.Reason != "" || t.Keyless != p.keyless:
		case left[t.OID]:
			delete(left, t.OID)
		default:
			p.missing = append(p.missing, t)
		}
	}
	if p.have.mine {
		p.surplus = slices.Sorted(maps.Keys(left))
	}
}

// remove appends the statements that remove tables.
func (p *publicationWant) remove(ctx context.Context, conn *pgx.Conn, out *publicationChanges, moves map[uint32]bool) error {
	for part, apart := range parts(p.surplus, func(oid uint32) bool { return moves[oid] }) {
		names, err := publishedNames(ctx, conn, part)
		if err != nil {
			return err
		}
		out.add(apart, fmt.Sprintf("ALTER PUBLICATION %s DROP TABLE %s", quoteIdent(p.name), strings.Join(names, ", ")))
	}
	return nil
}

// set appends the statement that makes the publication, or sets its options.
func (p *publicationWant) set(out *publicationChanges, version int) {
	options := "publish = " + quoteLiteral(p.actions)
	if version >= partitionRootVersion {
		options += fmt.Sprintf(", publish_via_partition_root = %t", p.viaRoot)
	}
	if version >= generatedVersion {
		options += ", publish_generated_columns = stored"
	}
	name := quoteIdent(p.name)
	switch {
	case !p.have.exists:
		first := ""
		if n := min(publishedAtOnce, len(p.missing)); n > 0 {
			first, p.missing = " FOR TABLE "+publishedList(p.missing[:n]), p.missing[n:]
		}
		out.add(false, fmt.Sprintf("CREATE PUBLICATION %s%s WITH (%s)", name, first, options))
	case p.have.actions != p.actions, p.have.viaRoot != p.viaRoot && version >= partitionRootVersion, !p.have.generated && version >= generatedVersion:
		out.add(false, fmt.Sprintf("ALTER PUBLICATION %s SET (%s)", name, options))
	}
}

// add appends the statements that add tables.
func (p *publicationWant) add(out *publicationChanges, moves map[uint32]bool) {
	for part, apart := range parts(p.missing, func(t *Table) bool { return moves[t.OID] }) {
		out.add(apart, fmt.Sprintf("ALTER PUBLICATION %s ADD TABLE %s", quoteIdent(p.name), publishedList(part)))
	}
}

// parts parts tables into those that move from one publication to the other,
// with the rest if there are few, and the others, as many as one transaction may
// lock.
func parts[T any](all []T, moves func(T) bool) iter.Seq2[[]T, bool] {
	return func(yield func([]T, bool) bool) {
		var here, rest []T
		for _, one := range all {
			if moves(one) || len(all) <= publishedAtOnce {
				here = append(here, one)
			} else {
				rest = append(rest, one)
			}
		}
		if len(here) > 0 && !yield(here, false) {
			return
		}
		for part := range slices.Chunk(rest, publishedAtOnce) {
			if !yield(part, true) {
				return
			}
		}
	}
}

func publishedList(tables []*Table) string {
	names := make([]string, len(tables))
	for i, t := range tables {
		names[i] = t.published()
	}
	return strings.Join(names, ", ")
}

// published writes the table for FOR TABLE. ONLY keeps children of an
// inheritance parent out: they are objects of their own.
func (t *Table) published() string {
	if t.Kind == PartitionedTable {
		return t.quoted()
	}
	return "ONLY " + t.quoted()
}

func readPublication(ctx context.Context, conn *pgx.Conn, name string, version int) (published, error) {
	truncate, viaRoot, generated := "p.pubtruncate", "p.pubviaroot", "p.pubgencols = 's'"
	if version < generatedVersion {
		generated = "false"
	}
	if version < 110000 {
		truncate = "false"
	}
	if version < partitionRootVersion {
		viaRoot = "false"
	}
	p := published{exists: true}
	err := conn.QueryRow(ctx, fmt.Sprintf(`SELECT p.puballtables, pg_catalog.pg_has_role(p.pubowner, 'usage'), %s, %s, concat_ws(', ', CASE WHEN p.pubinsert THEN 'insert' END,
			CASE WHEN p.pubupdate THEN 'update' END, CASE WHEN p.pubdelete THEN 'delete' END, CASE WHEN %s THEN 'truncate' END),
			coalesce((SELECT array_agg(r.prrelid) FROM pg_catalog.pg_publication_rel r WHERE r.prpubid = p.oid), '{}')
		FROM pg_catalog.pg_publication p WHERE p.pubname = $1`, viaRoot, generated, truncate), name).
		Scan(&p.allTables, &p.mine, &p.viaRoot, &p.generated, &p.actions, &p.tables)
	if err == pgx.ErrNoRows {
		return published{}, nil
	}
	return p, err
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
	if version >= 150000 {
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
