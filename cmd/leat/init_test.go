package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// TestInitForARoleToCome has an administrator make the pipeline of a role that
// does not exist: what is printed makes it, by either way to have the tables
// published, and is enough.
func TestInitForARoleToCome(t *testing.T) {
	server := pgserver.Test(t, pgserver.Options{})
	for _, way := range []string{"joins the owners", "superuser publishes"} {
		t.Run(way, func(t *testing.T) {
			s := newSite(t, server)
			t.Chdir(s.dir)
			t.Setenv("PGPASSWORD", server.Password())
			role := s.role + ` "replica"`
			admin := fmt.Sprintf("postgres://%s@%s:%d/%s?sslmode=disable", server.User(), s.host, s.port, s.database)
			t.Cleanup(func() {
				for _, database := range []string{s.database, "postgres"} {
					_ = server.Exec(t.Context(), database, `DROP OWNED BY "`+s.role+` ""replica"""`, `DROP ROLE "`+s.role+` ""replica"""`) // the server goes away with the test, too
				}
			})
			s.expect(s.leat("init", "-o", "super.toml", admin), exitOK, server.User()+" is a superuser", "--role")
			s.expect(s.leat("init", strings.Replace(admin, server.User()+"@", "nobody@", 1)), exitSource, "still to be made", "--role")
			r := s.leat("init", "-o", "made.toml", "--role", role, admin)
			s.expect(r, exitOK, "makes the role", "CREATE USER", "the password of "+role)
			own, publish, found := strings.Cut(r.out, "-- or a superuser makes")
			if !found {
				t.Fatalf("init says\n%s", r.out)
			}
			script := own
			if way == "superuser publishes" {
				own, _, _ = strings.Cut(own, "  -- Publishing a table")
				script = own + publish
			}
			for line := range strings.Lines(script) {
				if sql := strings.TrimSpace(line); strings.Contains(sql, ";") && !strings.HasPrefix(sql, "--") {
					s.exec(strings.ReplaceAll(sql, "'...'", "'"+strings.ReplaceAll(rolePassword, "'", "''")+"'"))
				}
			}
			r = s.leat("init", "-o", "again.toml", "--role", role, admin)
			s.expect(r, exitOK, "gives the role what replication needs")
			if strings.Contains(r.out, "CREATE USER") {
				t.Errorf("it makes a role that is there:\n%s", r.out)
			}
			t.Setenv("PGPASSWORD", rolePassword)
			s.file = "made.toml"
			s.expect(s.leat("check", s.file), exitOK, "login "+s.database+": "+role)
			s.mended()
		})
	}
}
