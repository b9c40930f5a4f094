package postgres

import (
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
)

// wantItem finds an item by name, and by a part of object where name has one
// ("SELECT t").
func wantItem(t *testing.T, r *Report, name string, outcome Outcome, found, fix string) Item {
	t.Helper()
	name, object, _ := strings.Cut(name, "@")
	for _, i := range r.Items {
		if i.Name == name && strings.Contains(i.Object, object) {
			if i.Outcome != outcome || !strings.Contains(i.Found, found) || !strings.Contains(i.Fix, fix) {
				t.Errorf("%s: %s %q fix %q, want %s %q fix %q", name, i.Outcome, i.Found, i.Fix, outcome, found, fix)
			}
			return i
		}
	}
	t.Errorf("no item %s@%s", name, object)
	return Item{}
}

func TestCheckGood(t *testing.T) {
	f := newFixture(t, `CREATE TABLE t (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED)`, `CREATE TABLE k (v int)`, `CREATE VIEW v AS SELECT 1`)
	r := Check(t.Context(), f.cfg, Requirements{Selection: Selection{Include: []string{"public.*"}}, Slot: "none_yet", Publication: "leat"})
	if !r.OK() {
		t.Errorf("report %+v", r)
	}
	wantItem(t, r, "version", OK, "", "")
	wantItem(t, r, "wal_level", OK, "logical", "")
	wantItem(t, r, "wal_sender_timeout", OK, "any value works", "")
	wantItem(t, r, "replication role", OK, "superuser", "")
	wantItem(t, r, "replication connection", OK, "accepted", "")
	wantItem(t, r, "TLS", Warn, "not encrypted", "verify-full")
	wantItem(t, r, "slot", OK, "not there yet", "")
	wantItem(t, r, "publication", OK, "will be created", "")
	if f.source.Version < generatedVersion {
		wantItem(t, r, "replica identity@.t", Warn, "generated columns are not in the log: twice", "")
	}
	wantItem(t, r, "replicable@.v", Warn, "view", "Exclude")
	// The fix improves what it is for.
	keyless := wantItem(t, r, "replica identity@.k", Warn, "inserts and truncates only", "ADD PRIMARY KEY")
	f.exec(t, strings.Replace(keyless.Fix, "...", "v", 1))
	if f.table(t, "k").Keyless {
		t.Errorf("after %q the table has no identity", keyless.Fix)
	}
	if _, err := json.Marshal(r); err != nil {
		t.Error(err)
	}
}

// TestCheckFixes gives a bare role, applies every fix that the report prints
// and checks again, as an operator would.
func TestCheckFixes(t *testing.T) {
	f := newFixture(t, `CREATE SCHEMA "Shop"`, `CREATE TABLE "Shop".orders (id int PRIMARY KEY)`, `CREATE TABLE "Shop".hidden (id int PRIMARY KEY)`,
		`ALTER TABLE "Shop".hidden ENABLE ROW LEVEL SECURITY`, `CREATE TABLE public.parts (id int PRIMARY KEY) PARTITION BY RANGE (id)`,
		`CREATE TABLE public.parts_1 PARTITION OF parts DEFAULT`)
	cfg := f.role(t, "")
	want := Requirements{Selection: Selection{Include: []string{"*"}}, Publication: "leat", Slot: "fixes"}
	r := Check(t.Context(), cfg, want)
	wantItem(t, r, "replication role", Fail, "no REPLICATION", "REPLICATION")
	wantItem(t, r, "replication connection", Fail, "", "REPLICATION")
	wantItem(t, r, "SELECT@orders", Fail, "no USAGE", `GRANT USAGE ON SCHEMA "Shop"`)
	wantItem(t, r, "SELECT@parts_1", Fail, "not granted", `GRANT SELECT ON "public"."parts_1"`)
	wantItem(t, r, "default privileges@Shop", Warn, "not readable", `ALTER DEFAULT PRIVILEGES FOR ROLE "postgres" IN SCHEMA "Shop"`)
	wantItem(t, r, "publication", Fail, "may not change", "CREATE PUBLICATION")

	for round := 0; !r.OK(); round++ {
		if round == 4 {
			t.Fatalf("the fixes do not help: %+v", r)
		}
		done := make(map[string]bool)
		for _, i := range r.Items {
			if (i.Outcome == Fail || i.Name == "default privileges") && i.Fix != "" && !done[i.Fix] {
				f.exec(t, i.Fix)
				done[i.Fix] = true
			}
		}
		r = Check(t.Context(), cfg, want)
	}
	wantItem(t, r, "default privileges@Shop", OK, "are readable", "")
	f.exec(t, `REVOKE SELECT ON "Shop".orders FROM `+quoteIdent(cfg.User))
	wantItem(t, Check(t.Context(), cfg, want), "SELECT@orders", Fail, "not granted", `GRANT SELECT ON "Shop"."orders"`)
}

// defaultPrivilegesOfOwners has another role create tables: what the
// administrator's own get by default does not help there, the owner's rights do,
// and it counts only where later tables join.
func defaultPrivilegesOfOwners(t *testing.T, f *fixture, cfg *Config) {
	t.Helper()
	app := f.database + " app"
	f.dropLater(t, app)
	f.exec(t, "CREATE ROLE "+quoteIdent(app), "CREATE TABLE theirs (id int PRIMARY KEY)", "ALTER TABLE theirs OWNER TO "+quoteIdent(app), "GRANT SELECT ON theirs TO "+quoteIdent(cfg.User))
	want := Requirements{Selection: Selection{Include: []string{"public.*"}}}
	fix := fmt.Sprintf(`ALTER DEFAULT PRIVILEGES FOR ROLE %s IN SCHEMA "public" GRANT SELECT ON TABLES TO %s;`, quoteIdent(app), quoteIdent(cfg.User))
	wantItem(t, Check(t.Context(), cfg, want), "default privileges", Warn, app+" creates later are not readable", fix)
	fixed := want
	fixed.Fixed = true
	named := Requirements{Selection: Selection{Include: []string{"public.theirs", "other.*"}}}
	for _, r := range []*Report{Check(t.Context(), cfg, fixed), Check(t.Context(), cfg, named)} {
		if slices.ContainsFunc(r.Items, func(i Item) bool { return i.Name == "default privileges" }) {
			t.Errorf("speaks of tables that never join: %+v", r)
		}
	}
	f.exec(t, fmt.Sprintf("GRANT %s TO %s", quoteIdent(app), quoteIdent(cfg.User)))
	wantItem(t, Check(t.Context(), cfg, want), "default privileges", OK, "are readable", "")
	f.exec(t, fmt.Sprintf("REVOKE %s FROM %s", quoteIdent(app), quoteIdent(cfg.User)), fix)
	wantItem(t, Check(t.Context(), cfg, want), "default privileges", OK, "are readable", "")
}

func TestGrantsAreEnough(t *testing.T) {
	f := newFixture(t, `CREATE TABLE t (id int PRIMARY KEY)`)
	cfg := *f.cfg
	cfg.User, cfg.Password = f.database+" role", "..."
	f.dropLater(t, cfg.User)
	for _, sql := range Grants(cfg.User, false, []string{f.database}, []GrantedSchema{{"public", []string{f.cfg.User}}}) {
		if !strings.HasPrefix(sql, `\`) {
			f.exec(t, sql)
		}
	}
	f.exec(t, `CREATE TABLE later (id int PRIMARY KEY)`)
	want := Requirements{Selection: Selection{Include: []string{"*"}}}
	r := Check(t.Context(), &cfg, want)
	if !r.OK() {
		t.Errorf("report %+v", r)
	}
	wantItem(t, r, "default privileges", OK, "are readable", "")
	defaultPrivilegesOfOwners(t, f, &cfg)

	source, err := Open(t.Context(), &cfg, f.database)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close(t.Context())
	snapshot, err := source.CreateSlot(t.Context(), f.database, true)
	if err != nil {
		t.Fatal(err)
	}
	defer snapshot.Close(t.Context())
	if _, err := source.System(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := source.Heartbeat(t.Context(), ""); err != nil {
		t.Error(err)
	}
	if err := source.DropSlot(t.Context(), f.database); err != nil {
		t.Error(err)
	}
}

func TestCheckGoesAsFarAsItCan(t *testing.T) {
	f := newFixture(t)
	cfg := *f.cfg
	cfg.Databases = []string{"no_such_database", f.database}
	r := Check(t.Context(), &cfg, Requirements{})
	if i := wantItem(t, r, "database@no_such_database", Fail, "no_such_database", "pg_database"); i.Code != CodeNoDatabase || i.SQLState != "3D000" {
		t.Errorf("item %+v", i)
	}
	wantItem(t, r, "login@no_such_database", OK, "", "")
	wantItem(t, r, "wal_level", OK, "logical", "")
	wantItem(t, r, "replication connection@"+f.database, OK, "accepted", "")

	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Port = uint16(closed.Addr().(*net.TCPAddr).Port)
	closed.Close()
	r = Check(t.Context(), &cfg, Requirements{})
	if i := wantItem(t, r, "server reachable", Fail, "", "pg_isready"); i.Code != CodeUnreachable {
		t.Errorf("item %+v", i)
	}
	wantItem(t, r, "login", Unknown, "", "")
	if r := Check(t.Context(), &Config{}, Requirements{}); r.OK() || r.Items[0].Code != CodeDatabaseName {
		t.Errorf("without a database: %+v", r)
	}
}

func TestCheckAdopted(t *testing.T) {
	f := newFixture(t, `CREATE TABLE a (id int PRIMARY KEY)`, `CREATE TABLE b (v int)`, `CREATE TABLE c (id int PRIMARY KEY)`,
		`CREATE PUBLICATION theirs FOR TABLE a, b`)
	want := Requirements{Selection: Selection{Include: []string{"*"}}, Adopt: []string{"theirs"}}
	r := Check(t.Context(), f.cfg, want)
	f.exec(t, wantItem(t, r, "published@.c", Fail, "in none", "ADD TABLE").Fix,
		strings.Replace(wantItem(t, r, "published@.b", Fail, "without a key", "ADD PRIMARY KEY").Fix, "...", "v", 1))
	if r := Check(t.Context(), f.cfg, want); !r.OK() {
		t.Errorf("after the fixes: %+v", r)
	}
}

// TestCheckTooManyConnections finds a server that answers, and takes no more
// sessions of the role.
func TestCheckTooManyConnections(t *testing.T) {
	f := newFixture(t)
	r := Check(t.Context(), f.role(t, "CONNECTION LIMIT 0"), Requirements{})
	wantItem(t, r, "server reachable", OK, "", "")
	wantItem(t, r, "login", Fail, "too many connections", "CONNECTION LIMIT")
}
