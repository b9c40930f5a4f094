package typesproof

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// pairs is what hstore is in DuckDB.
const pairs = "MAP(VARCHAR, VARCHAR)"

// extensionColumns are types by the extension that has them, with what they
// are at the destinations: in DuckDB, and in PostgreSQL with the extension.
var extensionColumns = []struct {
	extension string
	column
	duckdb, postgres string
}{
	{"hstore", column{typ: "hstore", values: []string{"", `"a"=>"b c", "n"=>NULL, "q\"" => "x\\y"`, `""=>""`, `"ü, \"=>\""=>"NULL", "東"=>"🚰"`}}, pairs, "hstore"},
	{"hstore", column{typ: "hstore[]", values: []string{`{"\"a\"=>\"b\"",NULL,""}`}}, "VARCHAR[]", "hstore[]"},
	{"hstore", column{typ: "pairs_domain", values: []string{`"a"=>"1"`}}, "VARCHAR", "text"},
	{"ltree", column{typ: "ltree", values: []string{"Top.Science.Astronomy", "", "a"}}, "VARCHAR", "ltree"},
	{"ltree", column{typ: "lquery", values: []string{"Top.*{1,2}.!x|y@"}}, "VARCHAR", "lquery"},
	{"ltree", column{typ: "ltxtquery", values: []string{"Europe & Russia*@ & !Transportation"}}, "VARCHAR", "ltxtquery"},
	{"ltree", column{typ: "ltree[]", values: []string{"{a.b,NULL,c}"}}, "VARCHAR[]", "ltree[]"},
	{"citext", column{typ: "citext", values: []string{"MiXed", "", "ÄÖ ß"}}, "VARCHAR", "citext"},
	{"citext", column{typ: "citext[]", values: []string{`{A,b,"c d"}`}}, "VARCHAR[]", "citext[]"},
	{"citext", column{typ: "name_domain", values: []string{"MiXed"}}, "VARCHAR", "text"},
	{"vector", column{typ: "vector(3)", values: []string{"[1,2.5,-3e-20]", "[0.1,123456789,1e30]"}}, "FLOAT[]", "vector(3)"},
	{"vector", column{typ: "vector(2)[]", values: []string{`{"[1,2]",NULL}`}}, "VARCHAR[]", "vector(2)[]"},
	{"postgis", column{typ: "geometry", values: []string{"POINT(1 2.5)", "SRID=4326;POLYGON((0 0,0 1,1 1,0 0))", "POINT EMPTY", "LINESTRING Z (1 2 3,4 5 6)"}}, "VARCHAR", "geometry"},
	{"postgis", column{typ: "geometry(Point,4326)", values: []string{"SRID=4326;POINT(1 2)"}}, "VARCHAR", "geometry"},
	{"postgis", column{typ: "geography", values: []string{"SRID=4326;POINT(-71 42)"}}, "VARCHAR", "geography"},
	{"postgis", column{typ: "geometry[]", values: []string{"{0101000000000000000000F03F0000000000000440:0101000000000000000000F03F0000000000000440}"}}, "VARCHAR", "geometry[]"},
}

// domainsOf are what the columns need besides an extension.
var domainsOf = map[string]string{
	"hstore": "CREATE DOMAIN pairs_domain AS hstore", "citext": "CREATE DOMAIN name_domain AS citext",
}

// installed makes the extensions in the source that its server has. What it
// has not is said: the decoders of its types are proved on recorded bytes.
func installed(t *testing.T, source *pgx.Conn) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	for _, c := range extensionColumns {
		if _, known := out[c.extension]; known {
			continue
		}
		out[c.extension] = available(t, source, c.extension)
		if !out[c.extension] {
			t.Logf("the server has no extension %q: its types travel only where it is installed", c.extension)
		}
	}
	run(t, source, create(out)...)
	for extension, has := range out {
		if has && domainsOf[extension] != "" {
			run(t, source, domainsOf[extension])
		}
	}
	return out
}

func available(t *testing.T, conn *pgx.Conn, extension string) (has bool) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), "SELECT count(*) > 0 FROM pg_available_extensions WHERE name = $1", extension).Scan(&has); err != nil {
		t.Fatal(err)
	}
	return has
}

func create(extensions map[string]bool) (statements []string) {
	for extension, has := range extensions {
		if has {
			statements = append(statements, "CREATE EXTENSION "+extension)
		}
	}
	return statements
}

func columnsOf(extensions map[string]bool) (out []column) {
	for _, c := range extensionColumns {
		if extensions[c.extension] {
			out = append(out, c.column)
		}
	}
	return out
}

// typesOfExtensions asserts which types the columns have got, and that a
// destination without the extension is said to be.
func (p *pipeline) typesOfExtensions(t *testing.T, s *sample) {
	t.Helper()
	_, plan := p.plan(t, "public", s.name)
	for i, name := range s.names {
		for _, c := range extensionColumns {
			if c.typ != s.columns[i].typ || p.transform != "" && isArray(c.typ) {
				continue
			}
			want := c.duckdb
			if p.destination == "postgres" {
				want = "text"
			}
			if p.extensions {
				want = c.postgres
			}
			got := plan[name]
			if got.Type != want {
				t.Errorf("%s is %s, want %s", c.typ, got.Type, want)
			}
			missing := p.destination == "postgres" && !p.extensions && c.postgres != "text"
			if said := strings.Contains(strings.Join(got.Losses, ""), "no extension "+c.extension); said != missing {
				t.Errorf("%s, losses %q: missing extension said %v, want %v", c.typ, got.Losses, said, missing)
			}
		}
	}
}
