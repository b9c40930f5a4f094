package postgres

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// publishedAtOnce is how many tables one statement adds to a publication. It
// locks them all until its transaction ends, of what max_locks_per_transaction
// leaves the whole server: 6,400 locks by default.
const publishedAtOnce = 1000

// writing are the options of a transaction that changes publications, also where
// default_transaction_read_only is on for the role.
var writing = pgx.TxOptions{AccessMode: pgx.ReadWrite}

// runPublicationChanges runs the statements, each of which waits for a table that is
// locked as long as patience says, 0 for ever. A table that moves from one
// publication to the other is in one of them at any time.
func runPublicationChanges(ctx context.Context, conn *pgx.Conn, changes publicationChanges, patience time.Duration) error {
	statements := changes.all()
	run := func(sql ...string) error {
		if len(sql) == 0 {
			return nil
		}
		return pgx.BeginTxFunc(ctx, conn, writing, func(tx pgx.Tx) error {
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
	if renamedMeanwhile(err) {
		e.Class, e.Causes = Object, []string{"Tables got other names while the publication was changed."}
	}
	if e.SQLState == "42501" {
		e.Op, e.Code, e.Class = "publish the tables", CodePrerequisite, Stop
		e.Causes = []string{"The role owns not all of the tables, or lacks CREATE on the database."}
		e.Hint = "Run as the tables' owner or a superuser:\n" + strings.Join(statements, ";\n") + ";"
	}
	return e
}

// renamedMeanwhile says whether a statement found in a publication what it was to
// add, or not there what it was to take out: its names are those of other tables
// since it was written.
func renamedMeanwhile(err error) bool {
	var server *pgconn.PgError
	return errors.As(err, &server) && (server.Code == "42710" && server.Routine == "publication_add_relation" || server.Code == "42704" && server.Routine == "PublicationDropTables")
}

// published is a publication as it stands.
type published struct {
	exists, allTables, viaRoot bool
	generated                  bool // stored generated columns are published
	mine                       bool // the role may change it
	actions                    string
	tables                     []uint32
	filtered                   []uint32 // those of tables that have a row filter or a column list
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

// compare finds the tables that are to be added and removed, but for those of
// besides. A table that somebody has given a row filter or a column list is both.
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
		case left[t.OID] && !(p.have.mine && slices.Contains(p.have.filtered, t.OID)):
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

// filterVersion is the first version that has row filters and column lists.
const filterVersion = 150000

func readPublication(ctx context.Context, conn *pgx.Conn, name string, version int) (published, error) {
	truncate, viaRoot, generated, filtered := "p.pubtruncate", "p.pubviaroot", "p.pubgencols = 's'", "r.prqual IS NOT NULL OR r.prattrs IS NOT NULL"
	if version < generatedVersion {
		generated = "false"
	}
	if version < 110000 {
		truncate = "false"
	}
	if version < partitionRootVersion {
		viaRoot = "false"
	}
	if version < filterVersion {
		filtered = "false"
	}
	p := published{exists: true}
	err := conn.QueryRow(ctx, fmt.Sprintf(`SELECT p.puballtables, pg_catalog.pg_has_role(p.pubowner, 'usage'), %s, %s, concat_ws(', ', CASE WHEN p.pubinsert THEN 'insert' END,
			CASE WHEN p.pubupdate THEN 'update' END, CASE WHEN p.pubdelete THEN 'delete' END, CASE WHEN %s THEN 'truncate' END),
			coalesce((SELECT array_agg(r.prrelid) FROM pg_catalog.pg_publication_rel r WHERE r.prpubid = p.oid), '{}'),
			coalesce((SELECT array_agg(r.prrelid) FROM pg_catalog.pg_publication_rel r WHERE r.prpubid = p.oid AND (%s)), '{}')
		FROM pg_catalog.pg_publication p WHERE p.pubname = $1`, viaRoot, generated, truncate, filtered), name).
		Scan(&p.allTables, &p.mine, &p.viaRoot, &p.generated, &p.actions, &p.tables, &p.filtered)
	if err == pgx.ErrNoRows {
		return published{}, nil
	}
	return p, err
}
