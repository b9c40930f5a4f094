package postgres

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// objects checks the selected tables, what may be read of them, and how they
// are published.
func (c *checker) objects(ctx context.Context) {
	tables, err := c.source.Tables(ctx, c.want.Selection)
	if err != nil {
		c.error("objects", c.database, err)
		return
	}
	c.add(SelectedItem(c.database, len(tables)))
	var usable []*Table
	for _, t := range tables {
		if t.Reason != "" {
			c.add(Item{Name: "replicable", Object: t.ID().String(), Found: t.Reason, Outcome: Warn, Fix: "Exclude it, or replicate it with mode = \"table\"."})
			continue
		}
		usable = append(usable, t)
	}
	c.privileges(ctx, usable)
	c.publication(ctx, usable)
	for _, t := range usable {
		c.identity(t)
	}
}

// SelectedItem says how many tables of a database a pipeline file selects.
func SelectedItem(database string, n int) Item {
	item := Item{Name: "objects", Object: database, Found: fmt.Sprintf("tables selected: %d", n), Outcome: OK}
	if n == 0 {
		item.Outcome, item.Causes, item.Fix = Warn, []string{"Nothing is replicated until include under [objects] names a table that is there, and exclude does not."}, "Correct include and exclude under [objects]."
	}
	return item
}

// privileges checks CONNECT, which has held, USAGE and SELECT, of partitions
// too: a load reads them one by one.
func (c *checker) privileges(ctx context.Context, tables []*Table) {
	user := quoteIdent(c.cfg.User)
	c.add(Item{Name: "CONNECT", Object: c.database, Found: "granted", Outcome: OK})
	allowed, err := c.allowed(ctx, tables)
	if err != nil {
		c.error("privileges", c.database, err)
		return
	}
	owners := map[string][]uint32{}
	for _, t := range tables {
		for _, l := range t.Leaves {
			item := Item{Name: "SELECT", Object: t.ID().String(), Found: "granted", Outcome: OK}
			if l.OID != t.OID {
				item.Object += " partition " + l.Name
			}
			a := allowed[l.OID]
			switch {
			case !a.usage:
				item.Found, item.Outcome, item.SQLState = "no USAGE on the schema", Fail, "42501"
				item.Fix = fmt.Sprintf("GRANT USAGE ON SCHEMA %s TO %s;", quoteIdent(l.Schema), user)
			case !a.selects:
				item.Found, item.Outcome, item.SQLState = "not granted", Fail, "42501"
				item.Fix = fmt.Sprintf("GRANT SELECT ON %s TO %s;", l.quoted(), user)
			case a.policed:
				item.Found, item.Outcome, item.SQLState = "a row security policy hides rows", Fail, "42501"
				item.Fix = fmt.Sprintf("ALTER ROLE %s BYPASSRLS;", user)
			}
			if item.Outcome == Fail {
				item.Causes = []string{"The historical load reads the table as " + c.cfg.User + "."}
			}
			c.add(item)
		}
		owners[t.ID().Schema] = append(owners[t.ID().Schema], t.OID)
	}
	for _, schema := range slices.Sorted(maps.Keys(owners)) {
		if c.grows(schema) {
			c.defaultPrivileges(ctx, schema, owners[schema])
		}
	}
}

// grows says whether tables that are created later in a schema join.
func (c *checker) grows(schema string) bool {
	selected, err := c.want.Selection.parse()
	return !c.want.Fixed && (len(c.want.Selection.Include) == 0 || err != nil || selected.grows(schema))
}

// access is what the role may do with a relation.
type access struct{ usage, selects, policed bool }

func (c *checker) allowed(ctx context.Context, tables []*Table) (map[uint32]access, error) {
	var oids []uint32
	for _, t := range tables {
		for _, l := range t.Leaves {
			oids = append(oids, l.OID)
		}
	}
	out := make(map[uint32]access)
	err := c.source.do(ctx, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, `SELECT c.oid, has_schema_privilege(c.relnamespace, 'USAGE'), has_table_privilege(c.oid, 'SELECT'),
			row_security_active(c.oid) FROM pg_catalog.pg_class c WHERE c.oid = ANY($1::oid[])`, oids)
		if err != nil {
			return err
		}
		var oid uint32
		var a access
		_, err = pgx.ForEachRow(rows, []any{&oid, &a.usage, &a.selects, &a.policed}, func() error {
			out[oid] = a
			return nil
		})
		return err
	})
	return out, err
}

// defaultPrivileges warns where tables of the future would not be readable: those
// that the owners of today's create.
func (c *checker) defaultPrivileges(ctx context.Context, schema string, tables []uint32) {
	var unread []string
	if !c.query(ctx, "default privileges", `SELECT coalesce(array_agg(o.rolname::text ORDER BY 1), '{}') FROM pg_catalog.pg_roles o
			WHERE o.oid IN (SELECT relowner FROM pg_catalog.pg_class WHERE oid = ANY($2::oid[]))
			AND NOT pg_catalog.pg_has_role(o.oid, 'usage')
			AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_roles g WHERE g.rolname = 'pg_read_all_data' AND pg_catalog.pg_has_role(g.oid, 'usage'))
			AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_default_acl d LEFT JOIN pg_catalog.pg_namespace n ON n.oid = d.defaclnamespace,
				LATERAL pg_catalog.aclexplode(d.defaclacl) a
				WHERE d.defaclrole = o.oid AND d.defaclobjtype = 'r' AND (n.nspname IS NULL OR n.nspname = $1) AND a.privilege_type = 'SELECT'
				AND (a.grantee = 0 OR pg_catalog.pg_has_role(a.grantee, 'usage')))`, []any{schema, tables}, &unread) {
		return
	}
	item := Item{Name: "default privileges", Object: c.database + "." + schema, Found: "tables created later are readable", Outcome: OK}
	if len(unread) > 0 {
		item.Found, item.Outcome = "tables that "+strings.Join(unread, ", ")+" creates later are not readable", Warn
		item.Fix = strings.Join(defaultGrants(schema, unread, c.cfg.User), "\n")
	}
	c.add(item)
}

// publication checks that the publications are there or may be made.
func (c *checker) publication(ctx context.Context, tables []*Table) {
	if len(c.want.Adopt) > 0 {
		c.adopted(ctx, tables)
		return
	}
	if c.want.Publication == "" {
		return
	}
	item := Item{Name: "publication", Object: c.want.Publication, Found: "in place", Outcome: OK}
	missing, err := c.source.PublicationSQL(ctx, c.want.Publication, tables)
	if err != nil {
		c.error("publication", c.want.Publication, err)
		return
	}
	if len(missing) > 0 {
		var may, standby bool
		if !c.query(ctx, "publication", `SELECT pg_catalog.pg_is_in_recovery(), has_database_privilege(current_database(), 'CREATE')
				AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_class WHERE oid = ANY($1::oid[]) AND NOT pg_catalog.pg_has_role(relowner, 'usage'))
				AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_publication WHERE pubname = ANY($2) AND NOT pg_catalog.pg_has_role(pubowner, 'usage'))`,
			[]any{oidsOf(tables), []string{c.want.Publication, c.want.Publication + keylessSuffix}}, &standby, &may) {
			return
		}
		item.Found = "will be created or altered"
		if standby {
			item.Found, item.Outcome, item.Code = "not as it should be, and the server is a standby, which takes no change", Fail, CodePrerequisite
			item.Causes = []string{"The publication has to be made at the primary."}
			item.Fix = strings.Join(missing, ";\n") + "; -- at the primary"
		} else if !may {
			item.Found, item.Outcome, item.Code, item.SQLState = "not as it should be, and the role may not change it", Fail, CodePrerequisite, "42501"
			item.Causes = []string{"Publishing a table takes its ownership, creating a publication CREATE on the database."}
			item.Fix = strings.Join(missing, ";\n") + ";"
			choices, err := c.source.PublicationFix(ctx, c.want.Publication, tables)
			if err != nil {
				c.error("publication", c.want.Publication, err)
				return
			}
			if len(choices) > 0 {
				item.Fix = strings.Join(choices, "\n")
			}
		}
	}
	c.add(item)
}

func oidsOf(tables []*Table) []uint32 {
	oids := make([]uint32, len(tables))
	for i, t := range tables {
		oids[i] = t.OID
	}
	return oids
}

// adopted checks publications that Leat does not own.
func (c *checker) adopted(ctx context.Context, tables []*Table) {
	name := strings.Join(c.want.Adopt, ", ")
	pub, err := c.source.AdoptPublications(ctx, c.want.Adopt, tables)
	if err != nil {
		c.error("publication", name, err)
		return
	}
	c.add(Item{Name: "publication", Object: name, Found: "exists", Outcome: OK})
	first := quoteIdent(c.want.Adopt[0])
	for _, id := range pub.Missing {
		c.add(Item{Name: "published", Object: id.String(), Found: "in none of the publications", Outcome: Fail, Code: CodePrerequisite,
			Fix: fmt.Sprintf("ALTER PUBLICATION %s ADD TABLE %s;", first, quoteName(id.Schema, id.Name))})
	}
	for _, id := range pub.Unsafe {
		c.add(Item{Name: "published", Object: id.String(), Found: "with updates and deletes but without a key", Outcome: Fail,
			Causes: []string{"Every UPDATE and DELETE of the table fails at the source, or under REPLICA IDENTITY FULL cannot be applied."},
			Fix:    fmt.Sprintf("ALTER TABLE %s ADD PRIMARY KEY (...);", quoteName(id.Schema, id.Name))})
	}
	for _, id := range pub.Filtered {
		c.add(Item{Name: "published", Object: id.String(), Found: "with a column list or row filter", Outcome: Warn,
			Causes: []string{"The historical load reads all rows and columns, the log carries a part."}})
	}
}

// KeylessFix says why the log identifies no row of a table that is Keyless, and
// the statement that mends it.
func (t *Table) KeylessFix() (cause, fix string) {
	full := fmt.Sprintf("ALTER TABLE %s REPLICA IDENTITY FULL;", t.quoted())
	switch {
	case t.hasPrimaryKey && t.Identity == IdentityNothing:
		return neitherKey, fmt.Sprintf("ALTER TABLE %s REPLICA IDENTITY DEFAULT;", t.quoted())
	case t.hasPrimaryKey && !t.immediateKey:
		return "The primary key is DEFERRABLE: the log cannot identify rows by it.", full + " -- or make the key NOT DEFERRABLE"
	case t.Identity == IdentityFull:
		return "The table is under REPLICA IDENTITY FULL, a partition of it is not.", "ALTER TABLE ... REPLICA IDENTITY FULL; -- each partition"
	}
	return neitherKey, fmt.Sprintf("ALTER TABLE %s ADD PRIMARY KEY (...); -- or, if it has none: %s", t.quoted(), full)
}

const neitherKey = "The table, or a partition of it, has neither a primary key nor a replica identity by index."

// identity says what the log will carry of updates and deletes, and what would
// improve it.
func (c *checker) identity(t *Table) {
	item := Item{Name: "replica identity", Object: t.ID().String(), Outcome: OK}
	switch {
	case !t.Keyless && t.Identity == IdentityFull && t.immediateKey:
		item.Found = "full: updates and deletes by the primary key"
	case !t.Keyless && t.Identity == IdentityFull:
		item.Found = "full, without a usable key: updates and deletes by the whole row, each of one row that is equal"
		item.Fix = fmt.Sprintf("ALTER TABLE %s ADD PRIMARY KEY (...); -- less log, and faster", t.quoted())
		if t.hasPrimaryKey {
			item.Found = "full, and the primary key is DEFERRABLE: updates and deletes by the whole row, each of one row that is equal"
		}
	case !t.Keyless:
		item.Found = fmt.Sprintf("%s: updates and deletes by key", t.Identity)
	default:
		item.Outcome, item.Found = Warn, "none: inserts and truncates only"
		cause, fix := t.KeylessFix()
		item.Causes, item.Fix = []string{cause}, fix
	}
	if len(t.Skipped) > 0 {
		item.Found += "; generated columns are not in the log: " + strings.Join(t.Skipped, ", ")
		item.Outcome = Warn
	}
	c.add(item)
}
