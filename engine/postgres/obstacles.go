package postgres

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Obstacle is why one table cannot be replicated by the role, with the
// statement that mends it.
type Obstacle struct{ Reason, Fix string }

// owned is who may publish and read a relation.
type owned struct {
	owner string
	mine  bool // the role asked for is the owner, or has the owner's rights
	super bool // the owner is a superuser, whose rights nobody should be given
	access
}

// Obstacles finds the tables that the role cannot read, where load says that
// it has to, or publish as EnsurePublication would: publishing a table takes
// its ownership, and changing a publication that of the publication. name is
// empty where nothing is published. The other tables need not wait for these.
func (s *Source) Obstacles(ctx context.Context, name string, tables []*Table, load func(*Table) bool) (map[uint32]Obstacle, error) {
	out := make(map[uint32]Obstacle)
	err := s.do(ctx, func(conn *pgx.Conn) error {
		relations, err := readOwned(ctx, conn, tables, s.cfg.User)
		if err != nil {
			return err
		}
		have := map[bool]published{}
		publishes := name != "" && s.cfg.Decoder != TestDecoding
		for keyless, n := range map[bool]string{false: name, true: name + keylessSuffix} {
			if !publishes {
				break
			}
			if have[keyless], err = readPublication(ctx, conn, n, s.Version); err != nil {
				return err
			}
		}
		for _, t := range tables {
			if t.Reason != "" {
				continue
			}
			o, ok := s.unreadable(t, relations)
			if !ok || !load(t) {
				o, ok = s.unpublishable(t, name, have[t.Keyless], relations[t.OID])
				ok = ok && publishes
			}
			if ok {
				out[t.OID] = o
			}
		}
		return nil
	})
	return out, wrap("read the rights on tables of", "database "+s.Database, err)
}

// unreadable is what keeps the role from reading a table or a partition of it. Fix
// has the statements for all of them, a line each.
func (s *Source) unreadable(t *Table, relations map[uint32]owned) (Obstacle, bool) {
	user := quoteIdent(s.cfg.User)
	var reasons, fixes, unread []string
	add := func(to *[]string, text string) {
		if !slices.Contains(*to, text) {
			*to = append(*to, text)
		}
	}
	policed := false
	for _, l := range t.Leaves {
		a := relations[l.OID]
		if !a.usage {
			add(&reasons, "the role has no USAGE on the schema")
			add(&fixes, fmt.Sprintf("GRANT USAGE ON SCHEMA %s TO %s;", quoteIdent(l.Schema), user))
		}
		if !a.selects {
			add(&unread, l.quoted())
		}
		policed = policed || a.policed
	}
	if len(unread) > 0 {
		add(&reasons, "the role may not SELECT it")
		add(&fixes, fmt.Sprintf("GRANT SELECT ON %s TO %s;", strings.Join(unread, ", "), user))
	}
	if policed {
		add(&reasons, "a row security policy hides rows from the role")
		add(&fixes, fmt.Sprintf("ALTER ROLE %s BYPASSRLS;", user))
	}
	return Obstacle{strings.Join(reasons, ", "), strings.Join(fixes, "\n")}, len(reasons) > 0
}

func (s *Source) unpublishable(t *Table, name string, have published, is owned) (Obstacle, bool) {
	if t.Keyless {
		name += keylessSuffix
	}
	add := fmt.Sprintf("ALTER PUBLICATION %s ADD TABLE %s;", quoteIdent(name), t.published())
	switch {
	case slices.Contains(have.tables, t.OID), have.allTables:
		return Obstacle{}, false
	case have.exists && !have.mine:
		return Obstacle{fmt.Sprintf("publication %s belongs to another role and does not hold it", quoteIdent(name)), add + " -- as a superuser"}, true
	case !is.mine:
		fix := fmt.Sprintf("GRANT %s TO %s;", quoteIdent(is.owner), quoteIdent(s.cfg.User))
		switch {
		case is.super && have.exists:
			fix = add + " -- as a superuser"
		case is.super:
			fix = fmt.Sprintf("ALTER TABLE %s OWNER TO %s; -- or a superuser makes the publications that leat check prints", t.quoted(), quoteIdent(s.cfg.User))
		case have.exists:
			fix += " -- or, as a superuser: " + add
		}
		return Obstacle{fmt.Sprintf("it belongs to role %s, and publishing a table takes its ownership", quoteIdent(is.owner)), fix}, true
	}
	return Obstacle{}, false
}

// readOwned reads who owns relations, and what the session may do with them. role
// need not exist.
func readOwned(ctx context.Context, conn *pgx.Conn, tables []*Table, role string) (map[uint32]owned, error) {
	oids := oidsOf(tables)
	for _, t := range tables {
		for _, l := range t.Leaves {
			oids = append(oids, l.OID)
		}
	}
	// A standby publishes nothing by itself: what is missing there is another message.
	rows, err := conn.Query(ctx, `SELECT c.oid, pg_catalog.pg_get_userbyid(c.relowner)::text,
			coalesce((SELECT pg_catalog.pg_has_role(r.oid, c.relowner, 'usage') FROM pg_catalog.pg_roles r WHERE r.rolname = $2), false) OR pg_catalog.pg_is_in_recovery(), o.rolsuper,
			pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE'), pg_catalog.has_table_privilege(c.oid, 'SELECT'), pg_catalog.row_security_active(c.oid)
		FROM pg_catalog.pg_class c JOIN pg_catalog.pg_roles o ON o.oid = c.relowner WHERE c.oid = ANY($1::oid[])`, oids, role)
	if err != nil {
		return nil, err
	}
	out := make(map[uint32]owned)
	var oid uint32
	var o owned
	_, err = pgx.ForEachRow(rows, []any{&oid, &o.owner, &o.mine, &o.super, &o.usage, &o.selects, &o.policed}, func() error {
		out[oid] = o
		return nil
	})
	return out, err
}

// Creators are the schemas of tables with the owners of these, who will create
// others: all but role itself.
func (s *Source) Creators(ctx context.Context, role string, tables []*Table) ([]GrantedSchema, error) {
	owners := map[string][]string{}
	err := s.do(ctx, func(conn *pgx.Conn) error {
		relations, err := readOwned(ctx, conn, tables, role)
		for _, t := range tables {
			schema, owner := t.ID().Schema, relations[t.OID].owner
			known := owners[schema]
			if owner != role && !slices.Contains(known, owner) {
				known = append(known, owner)
			}
			owners[schema] = known
		}
		return err
	})
	var out []GrantedSchema
	for _, schema := range slices.Sorted(maps.Keys(owners)) {
		slices.Sort(owners[schema])
		out = append(out, GrantedSchema{schema, owners[schema]})
	}
	return out, wrap("read the owners of tables of", "database "+s.Database, err)
}

// PublicationFix is PublicationChoices for a role that may also lack CREATE on the
// database, without which it makes no publication.
func (s *Source) PublicationFix(ctx context.Context, name string, tables []*Table) ([]string, error) {
	choices, err := s.PublicationChoices(ctx, name, s.cfg.User, tables)
	if err != nil {
		return nil, err
	}
	var creates, there bool
	err = s.do(ctx, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `SELECT has_database_privilege(current_database(), 'CREATE'),
			(SELECT count(*) = 2 FROM pg_catalog.pg_publication WHERE pubname = ANY($1))`, []string{name, name + keylessSuffix}).Scan(&creates, &there)
	})
	if err != nil || creates || there {
		return choices, wrap("read the rights on", "database "+s.Database, err)
	}
	grant := fmt.Sprintf("GRANT CREATE ON DATABASE %s TO %s;", quoteIdent(s.Database), quoteIdent(s.cfg.User))
	switch {
	case len(choices) == 0:
		missing, err := s.PublicationSQL(ctx, name, tables)
		return append([]string{grant, superuserPublishes}, strings.Split(strings.Join(missing, ";\n")+";", "\n")...), err
	case slices.Contains(choices, superuserPublishes): // the role has a way to do it
		return slices.Insert(choices, 1, grant), nil
	}
	return choices, nil
}

// superuserPublishes stands before the second way to have tables published.
const superuserPublishes = "-- or a superuser makes the publications, and adds each table that comes later:"

// PublicationChoices are the ways for a role to have its tables published that
// owns not all of them: statements for an administrator, and comments that
// tell them apart. It returns nothing where the role may publish them all.
func (s *Source) PublicationChoices(ctx context.Context, name, role string, tables []*Table) ([]string, error) {
	var owners []string
	joins := true
	err := s.do(ctx, func(conn *pgx.Conn) error {
		relations, err := readOwned(ctx, conn, tables, role)
		for _, t := range tables {
			if o := relations[t.OID]; t.Reason == "" && !o.mine && !slices.Contains(owners, o.owner) {
				owners, joins = append(owners, o.owner), joins && !o.super
			}
		}
		return err
	})
	if err != nil {
		return nil, wrap("read the owners of tables of", "database "+s.Database, err)
	}
	if len(owners) == 0 {
		return nil, nil
	}
	missing, err := s.PublicationSQL(ctx, name, tables)
	if err != nil || len(missing) == 0 {
		return nil, err
	}
	slices.Sort(owners)
	if !joins {
		out := []string{"-- Publishing a table takes its ownership: a superuser makes the publications, and adds each table that comes later:"}
		return append(out, strings.Split(strings.Join(missing, ";\n")+";", "\n")...), nil
	}
	out := []string{"-- Publishing a table takes its ownership. Either the role joins the owners (it may then write their tables, too):"}
	for _, owner := range owners {
		out = append(out, fmt.Sprintf("GRANT %s TO %s;", quoteIdent(owner), quoteIdent(role)))
	}
	out = append(out, superuserPublishes)
	return append(out, strings.Split(strings.Join(missing, ";\n")+";", "\n")...), nil
}
