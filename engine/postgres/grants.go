package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Role is what the server knows of a role.
type Role struct{ Exists, Superuser bool }

// Role looks for a role.
func (s *Source) Role(ctx context.Context, name string) (out Role, err error) {
	err = s.do(ctx, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, "SELECT count(*) > 0, coalesce(bool_or(rolsuper), false) FROM pg_catalog.pg_roles WHERE rolname = $1", name).Scan(&out.Exists, &out.Superuser)
	})
	return out, wrap("look for role", name, err)
}

// GrantedSchema is a schema with the roles that create tables in it, as far as
// they are known.
type GrantedSchema struct {
	Name     string
	Creators []string
}

// Grants returns the statements that make a role, where it does not exist, and give
// it what logical replication needs, for `leat init` to print. Those of a database
// follow a psql \connect line. The password is left to be filled in.
func Grants(user string, exists bool, databases []string, schemas []GrantedSchema) []string {
	role := quoteIdent(user)
	var out []string
	if !exists {
		out = append(out, fmt.Sprintf("CREATE USER %s LOGIN PASSWORD '...';", role))
	}
	out = append(out, fmt.Sprintf("ALTER ROLE %s REPLICATION; -- on Amazon RDS: GRANT rds_replication TO %[1]s;", role))
	for _, database := range databases {
		out = append(out, fmt.Sprintf(`\connect %s`, quoteIdent(database)),
			fmt.Sprintf("GRANT CONNECT ON DATABASE %s TO %s;", quoteIdent(database), role),
			fmt.Sprintf("GRANT CREATE ON DATABASE %s TO %s; -- to create the publication, unless a superuser does", quoteIdent(database), role))
		for _, schema := range schemas {
			s := quoteIdent(schema.Name)
			out = append(out,
				fmt.Sprintf("GRANT USAGE ON SCHEMA %s TO %s;", s, role),
				fmt.Sprintf("GRANT SELECT ON ALL TABLES IN SCHEMA %s TO %s;", s, role))
			out = append(out, defaultGrants(schema.Name, schema.Creators, user)...)
		}
	}
	return out
}

// defaultGrants lets a role read the tables that others will create.
func defaultGrants(schema string, creators []string, user string) []string {
	var out []string
	for _, creator := range creators {
		out = append(out, fmt.Sprintf("ALTER DEFAULT PRIVILEGES FOR ROLE %s IN SCHEMA %s GRANT SELECT ON TABLES TO %s;", quoteIdent(creator), quoteIdent(schema), quoteIdent(user)))
	}
	return out
}
