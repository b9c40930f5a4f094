package capability

import (
	"fmt"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// pgTexts is a batch of one text column and a null.
func pgTexts(values ...string) *batch.Batch {
	b := batch.NewBuilder(&batch.Schema{Columns: []batch.Column{{Name: "v", Type: arrow.BinaryTypes.String}}})
	for _, v := range values {
		b.Column(0).AppendBytes([]byte(v))
		b.EndRow(batch.Insert, 1, 1, 1)
	}
	b.Column(0).AppendNull()
	b.EndRow(batch.Insert, 1, 1, 1)
	return b.Finish(batch.Position{})
}

func TestPostgresTextOfEveryOtherType(t *testing.T) {
	db := openTestPostgres(t)
	for _, c := range []struct{ typ, in string }{
		{"text[]", `{a,"x,y",NULL,"q\"\\"}`},
		{"integer[]", `[2:3]={1,2}`},
		{"int4range", `[1,5)`},
		{"interval", `1 year 2 mons 3 days 04:05:06.789`},
		{"inet", `192.168.0.1/24`},
		{"time with time zone", `01:02:03+05:30`},
		{"bit varying", `10101`},
		{"tsvector", `'a':1 'b':2`},
		{"numeric", `-12345678901234567890.000000000123`},
		{"numeric", `1000000000000000000000000000000000000000000000000000000000000000000000000000000`},
		{"numeric", `0.00000000000000000000000000000000000001`},
		{"numeric", `Infinity`},
		{"numeric", `-Infinity`},
		{"numeric", `NaN`},
		{"numeric", `0`},
		{"numeric", `10000`},
		{"numeric", `0.0001`},
		{"numeric(10,2)", `12.30`},
		{"jsonb", `{"a": 1}`},
		{"varchar(5)", `abcde`},
		{"character(5)", `abc  `},
	} {
		columns := []IngestColumn{{Name: "v", Type: c.typ, From: FromColumn}}
		b := pgTexts(c.in)
		_, err := db.Ingest(t.Context(), b, Ingest{Table: "texts", Temporary: true, Columns: columns})
		b.Release()
		if err != nil {
			t.Errorf("%s from %q: %v", c.typ, c.in, err)
			continue
		}
		rows, err := db.Query(t.Context(), "SELECT v FROM texts")
		if err != nil {
			t.Fatal(err)
		}
		if got := rows.Rows[0][0]; got == nil || *got != c.in || rows.Rows[1][0] != nil {
			t.Errorf("%s from %q: %v", c.typ, c.in, rows.Rows)
		}
	}
}

func TestPostgresRefusesToRound(t *testing.T) {
	db := openTestPostgres(t)
	for _, c := range []struct {
		typ, in string
		want    Class
	}{
		{"numeric(10,2)", `1.234`, Data},
		{"numeric(4,2)", `123.45`, Data},
		{"varchar(2)", `abc`, Data},
		{"integer[]", `{1,x}`, Data},
		{"numeric", `1e5`, Data},
		{"no_such_type", `1`, Schema},
	} {
		b := pgTexts(c.in)
		_, err := db.Ingest(t.Context(), b, Ingest{Table: "rounded", Temporary: true, Columns: []IngestColumn{{Name: "v", Type: c.typ, From: FromColumn}}})
		b.Release()
		if classOf(err) != c.want {
			t.Errorf("%q as %s: %v, want class %s", c.in, c.typ, err, c.want)
		}
	}
	b := everyRow()
	defer b.Release()
	_, err := db.Ingest(t.Context(), b, Ingest{Table: "rounded", Temporary: true, Columns: []IngestColumn{{Name: "v", Type: "numeric(12,1)", From: FromColumn, Column: 14}}})
	if classOf(err) != Schema {
		t.Errorf("decimal(12,2) as numeric(12,1): %v", err)
	}
}

func TestPostgresConnectErrors(t *testing.T) {
	good := openTestPostgres(t).(*postgres)
	host, port := good.conn.Conn().RemoteAddr().String(), 0
	host, _, _ = strings.Cut(host, ":")
	if addr := good.conn.Conn().RemoteAddr().String(); addr != "" {
		port = int(number(addr[strings.LastIndex(addr, ":")+1:]))
	}
	const secret = "s3cret-of-nobody"
	for _, c := range []struct {
		o    PostgresOptions
		want Class
	}{
		{PostgresOptions{Host: host, Port: port, User: "postgres", Password: secret, Database: "postgres", TLSMode: "disable"}, Permission},
		{PostgresOptions{Host: host, Port: 1, User: "postgres", Password: secret, Database: "postgres", TLSMode: "disable"}, Connection},
		{PostgresOptions{Host: host, Port: port, User: "postgres", Password: secret, TLSMode: "nonsense"}, Schema},
	} {
		_, err := OpenPostgres(t.Context(), c.o)
		if classOf(err) != c.want {
			t.Errorf("port %d: %v, want class %s", c.o.Port, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("the error shows the password")
		}
	}
}

func TestCopyCostsNoAllocationPerRow(t *testing.T) {
	b := accounts(0, 10_000)
	defer b.Release()
	var r copyReader
	buf := make([]byte, 64<<10)
	n := testing.AllocsPerRun(5, func() {
		r.reset(nil, b.Len(), true)
		for _, c := range columnsOf(b.Schema, accountTypes) {
			if err := r.add(b, c); err != nil {
				t.Fatal(err)
			}
		}
		for {
			if _, err := r.Read(buf); err != nil {
				return
			}
		}
	})
	if n > 200 {
		t.Errorf("%v allocations for %d rows", n, b.Len())
	}
}

func TestOpenSQL(t *testing.T) {
	for _, c := range []struct{ driver, config, shows string }{
		{"oracle", `{}`, "oracle"},
		{"postgres", `{"port": "s3cret"}`, "port"},
		{"postgres", `{"prot": 1}`, "not valid"},
	} {
		_, err := OpenSQL(t.Context(), c.driver, []byte(c.config))
		if classOf(err) != Schema || !strings.Contains(err.Error(), c.shows) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s %s: %v", c.driver, c.config, err)
		}
	}
	server := pgserver.Test(t, pgserver.Options{})
	db, err := OpenSQL(t.Context(), "postgres", fmt.Appendf(nil, `{"host": %q, "port": %d, "user": %q, "password": %q, "database": %q, "tls": {"mode": "disable"}}`,
		server.Host(), server.Port(), server.User(), server.Password(), server.Database(t)))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(t.Context(), "SELECT 1")
	if err != nil || *rows.Rows[0][0] != "1" {
		t.Errorf("%v, %v", rows, err)
	}
}

func TestPostgresClasses(t *testing.T) {
	for code, want := range map[string]Class{
		"08006": Connection, "40001": Connection, "40P01": Connection, "57P01": Connection, "22003": Data, "23505": Data, "22P03": Schema,
		"28P01": Permission, "42501": Permission, "42P01": Schema, "3D000": Schema, "53100": Resource, "53200": Resource, "58030": Resource, "XX000": Internal, "": Internal,
	} {
		if got := postgresClass(code); got != want {
			t.Errorf("%s is %s, want %s", code, got, want)
		}
	}
}
