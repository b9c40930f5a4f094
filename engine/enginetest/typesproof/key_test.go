package typesproof

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// keyed are tables whose key takes values of different bytes for equal, and
// one whose key has a type of an extension.
var keyed = []struct{ table, create string }{
	{"by_citext", "CREATE TABLE by_citext (k citext PRIMARY KEY, v text)"},
	{"by_collation", "CREATE TABLE by_collation (k text COLLATE nocase PRIMARY KEY, v text)"},
	{"by_ltree", "CREATE TABLE by_ltree (k ltree PRIMARY KEY, v text)"},
	{"by_hstore", "CREATE TABLE by_hstore (k hstore PRIMARY KEY, v text)"},
}

// keyValues are values for the key of each: the first two are equal to the
// server where the type says so.
var keyValues = map[string][4]string{
	"by_citext":    {"Abc", "aBC", "x", "y"},
	"by_collation": {"Abc", "aBC", "x", "y"},
	"by_ltree":     {"Abc.d", "aBC.d", "x", "y.z"},
	"by_hstore":    {`"A"=>"1"`, `"a"=>"1"`, "", `"x"=>NULL`},
}

// TestKeysThatAreEqualInOtherBytes changes the spelling of keys, and deletes
// one spelling and inserts the other in one transaction and across two: no
// destination doubles or loses a row, whatever its types take for equal.
func TestKeysThatAreEqualInOtherBytes(t *testing.T) {
	server := pgserver.Test(t, pgserver.Options{})
	database := server.Database(t)
	source := connect(t, server.DSN(database))
	run(t, source, "CREATE EXTENSION citext; CREATE EXTENSION ltree; CREATE EXTENSION hstore",
		"CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
	for _, k := range keyed {
		run(t, source, k.create)
		v := keyValues[k.table]
		run(t, source, fmt.Sprintf("INSERT INTO %s VALUES (%s, 'first'), (%s, 'third'), (%s, 'fourth')", k.table, literal(v[0]), literal(v[2]), literal(v[3])))
	}
	var pipelines []*pipeline
	for _, way := range []way{
		{name: "keys-duckdb", destination: "duckdb", settings: `, deletes = "soft"`}, {name: "keys-postgres", destination: "postgres", settings: `, deletes = "soft"`},
		{name: "keys-postgres-hard", destination: "postgres", settings: `, deletes = "hard"`},
	} {
		way.format = "auto"
		p := newPipeline(t, server, database, way)
		if p.destination == "postgres" {
			run(t, connect(t, server.DSN(p.target)), "CREATE EXTENSION citext; CREATE EXTENSION ltree; CREATE EXTENSION hstore")
		}
		pipelines = append(pipelines, p)
	}
	catchUp(t, pipelines...)
	for _, steps := range [][]string{
		{"UPDATE %T SET k = %1, v = 'spelled' WHERE k = %0", "BEGIN; DELETE FROM %T WHERE k = %1; INSERT INTO %T VALUES (%0, 'again'); COMMIT"},
		{"BEGIN; UPDATE %T SET k = %1 WHERE k = %0; UPDATE %T SET v = 'twice' WHERE k = %1; UPDATE %T SET k = %0 WHERE k = %1; COMMIT", "DELETE FROM %T WHERE k = %0"},
		{"INSERT INTO %T VALUES (%1, 'last')", "UPDATE %T SET v = v || '!'"},
	} {
		for _, step := range steps {
			for _, k := range keyed {
				sql := strings.ReplaceAll(step, "%T", k.table)
				for i, v := range keyValues[k.table] {
					sql = strings.ReplaceAll(sql, fmt.Sprintf("%%%d", i), literal(v))
				}
				run(t, source, sql)
			}
		}
		catchUp(t, pipelines...)
	}
	for _, p := range pipelines {
		for _, k := range keyed {
			p.sameKeys(t, source, k.table)
		}
		if v := p.verify(t); !v.Equal() {
			t.Errorf("%s: leat verify: %+v", p.name, v.Tables)
		}
		if failed := p.failed(t); len(failed) > 0 {
			t.Errorf("%s: failed events %v", p.name, failed)
		}
	}
}

// sameKeys compares the live rows of a table.
func (p *pipeline) sameKeys(t *testing.T, source *pgx.Conn, table string) {
	t.Helper()
	want := readPostgres(t, source, "SELECT k::text || '|' || v AS r FROM "+table)
	where := ""
	if strings.Contains(p.settings, "soft") {
		where = " WHERE NOT __leat_marked_deleted"
	}
	got := p.read(t, "SELECT CAST(k AS VARCHAR) || '|' || v AS r FROM "+table+where)
	if w, g := sortedKeys(want), sortedKeys(got); !slices.Equal(w, g) {
		t.Errorf("%s, %s: %q at the destination, want %q", p.name, table, g, w)
	}
}

// read asks the destination.
func (p *pipeline) read(t *testing.T, query string) cells {
	t.Helper()
	if p.destination == "duckdb" {
		return p.readDuck(t, query)
	}
	return readPostgres(t, connect(t, p.server.DSN(p.target)), query)
}

func sortedKeys(c cells) (out []string) {
	for key := range c {
		out = append(out, key)
	}
	slices.Sort(out)
	return out
}

// TestMaskOnExtensionTypes masks columns of extension types, whose values the
// transform sees as their text.
func TestMaskOnExtensionTypes(t *testing.T) {
	server := pgserver.Test(t, pgserver.Options{})
	database := server.Database(t)
	source := connect(t, server.DSN(database))
	run(t, source, "CREATE EXTENSION citext; CREATE EXTENSION hstore",
		`CREATE TABLE people (id integer PRIMARY KEY, email citext, traits hstore)`,
		`INSERT INTO people VALUES (1, 'Ann@Example.com', '"secret"=>"1"')`)
	const mask = "[[transforms]]\nplugin = \"mask\"\nconfig = { columns = [\"email\", \"traits\"], method = \"hash\" }"
	var pipelines []*pipeline
	for _, destination := range []string{"duckdb", "postgres"} {
		p := newPipeline(t, server, database, way{name: "mask-" + destination, destination: destination, format: "auto", transform: mask})
		if destination == "postgres" {
			run(t, connect(t, server.DSN(p.target)), "CREATE EXTENSION citext; CREATE EXTENSION hstore")
		}
		pipelines = append(pipelines, p)
	}
	catchUp(t, pipelines...)
	run(t, source, `INSERT INTO people VALUES (2, 'bob@example.com', '"secret"=>"2"')`)
	catchUp(t, pipelines...)
	for _, p := range pipelines {
		rows := p.read(t, "SELECT CAST(id AS VARCHAR) AS id, CAST(email AS VARCHAR) || CAST(traits AS VARCHAR) AS v FROM people")
		if len(rows) != 2 {
			t.Fatalf("%s: %d rows, want 2", p.name, len(rows))
		}
		for id, row := range rows {
			if v := row["v"]; v == nil || strings.Contains(strings.ToLower(*v), "example") || strings.Contains(*v, "secret") {
				t.Errorf("%s: row %s is not masked", p.name, id)
			}
		}
		if v := p.verify(t); !v.Equal() {
			t.Errorf("%s: leat verify: %+v", p.name, v.Tables)
		}
	}
}
