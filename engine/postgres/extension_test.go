package postgres

import (
	"encoding/hex"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// extensionValues are values of types that extensions bring.
var extensionValues = []struct{ extension, typ, value string }{
	{"hstore", "hstore", ``},
	{"hstore", "hstore", `"a"=>"b c", "n"=>NULL, "q\""=>"x\\y", ""=>"", "ü"=>"NULL"`},
	{"hstore", "hstore[]", `{"\"a\"=>\"1\"",NULL}`},
	{"ltree", "ltree", `Top.Science.Astronomy`},
	{"ltree", "ltree", ``},
	{"ltree", "lquery", `Top.*{1,2}.!x|y@`},
	{"ltree", "ltxtquery", `Europe & Russia*@ & !Transportation`},
	{"citext", "citext", `MiXed`},
	{"vector", "vector", `[1,2.5,-3e-20]`},
	{"vector", "vector", `[0.1,1e+06,-0]`},
	{"vector", "vector[]", `{"[1,2]",NULL}`},
	{"postgis", "geometry", `POINT(1 2.5)`},
	{"postgis", "geometry", `SRID=4326;POLYGON((0 0,0 1,1 1,0 0))`},
	{"postgis", "geometry[]", `{0101000000000000000000F03F0000000000000440:0101000000000000000000F03F0000000000000440}`},
	{"postgis", "geography", `SRID=4326;POINT(-71 42)`},
}

// TestExtensionsPrintWhatTheServerPrints compares the text made of binary values
// with the server's own. Extensions that the server has not are said.
func TestExtensionsPrintWhatTheServerPrints(t *testing.T) {
	server := pgserver.Test(t, pgserver.Options{})
	conn := session(t, server, server.Database(t))
	has := map[string]bool{}
	for _, v := range extensionValues {
		if _, asked := has[v.extension]; asked {
			continue
		}
		var n int
		if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_available_extensions WHERE name = $1", v.extension).Scan(&n); err != nil {
			t.Fatal(err)
		}
		if has[v.extension] = n > 0; n == 0 {
			t.Logf("the server has no extension %q: its types are decoded from recorded values only", v.extension)
		} else if _, err := conn.Exec(t.Context(), "CREATE EXTENSION "+v.extension); err != nil {
			t.Fatal(err)
		}
	}
	types, err := loadTypes(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range extensionValues {
		if !has[v.extension] {
			continue
		}
		oid, raw := valueOf(t, conn, v.typ, v.value, 1)
		_, want := valueOf(t, conn, v.typ, v.value, 0)
		p, err := types.printer(oid)
		if err != nil {
			t.Errorf("%s: %v", v.typ, err)
			continue
		}
		got, err := p(nil, raw)
		if err != nil || string(got) != string(want) {
			t.Errorf("%s %q: printed %q, %v, the server prints %q", v.typ, v.value, got, err, want)
		}
		t.Logf("recorded: %s %s %q", v.typ, hex.EncodeToString(raw), want)
	}
}

// valueOf asks for a value in text (0) or binary (1).
func valueOf(t *testing.T, conn *pgx.Conn, typ, value string, format int16) (oid uint32, raw []byte) {
	t.Helper()
	result := conn.PgConn().ExecParams(t.Context(), "SELECT $1::text::"+typ, [][]byte{[]byte(value)}, nil, nil, []int16{format})
	for result.NextRow() {
		oid, raw = result.FieldDescriptions()[0].DataTypeOID, append([]byte{}, result.Values()[0]...)
	}
	if _, err := result.Close(); err != nil {
		t.Fatalf("%s %q: %v", typ, value, err)
	}
	return oid, raw
}

// recordedValues are what servers sent: PostgreSQL 15 with hstore and ltree of
// the same, PostGIS 3.3 and pgvector 0.8.
var recordedValues = []struct {
	output, send string
	raw, text    string
}{
	{"c:hstore:hstore_out", "c:hstore:hstore_send", "00000000", ""},
	{"c:hstore:hstore_out", "c:hstore:hstore_send", "000000050000000000000000000000016100000003622063000000016effffffff00000002712200000003785c7900000002c3bc000000044e554c4c", `""=>"", "a"=>"b c", "n"=>NULL, "q\""=>"x\\y", "ü"=>"NULL"`},
	{"c:ltree:ltree_out", "c:ltree:ltree_send", "01546f702e536369656e63652e417374726f6e6f6d79", "Top.Science.Astronomy"},
	{"c:ltree:ltree_out", "c:ltree:ltree_send", "01", ""},
	{"c:ltree:lquery_out", "c:ltree:lquery_send", "01546f702e2a7b312c327d2e21787c7940", "Top.*{1,2}.!x|y@"},
	{"c:ltree:ltxtq_out", "c:ltree:ltxtq_send", "014575726f7065202620527573736961402a202620215472616e73706f72746174696f6e", "Europe & Russia@* & !Transportation"},
	{"c:vector:vector_out", "c:vector:vector_send", "000300003f800000402000009f0dabc6", "[1,2.5,-3e-20]"},
	{"c:vector:vector_out", "c:vector:vector_send", "000300003dcccccd4974240080000000", "[0.1,1e+06,-0]"},
	{"c:postgis:LWGEOM_out", "c:postgis:LWGEOM_send", "0101000000000000000000f03f0000000000000440", "0101000000000000000000F03F0000000000000440"},
	{"c:postgis:geography_out", "c:postgis:geography_send", "0101000020e61000000000000000c051c00000000000004540", "0101000020E61000000000000000C051C00000000000004540"},
}

// TestRecordedValuesOfExtensions decodes what servers sent, and none of it cut
// off or with more behind it.
func TestRecordedValuesOfExtensions(t *testing.T) {
	for _, v := range recordedValues {
		p := scalarPrinters[[2]string{v.output, v.send}]
		if p == nil {
			t.Errorf("%s: no decoder", v.send)
			continue
		}
		raw, err := hex.DecodeString(v.raw)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := p([]byte("x"), raw); err != nil || string(got) != "x"+v.text {
			t.Errorf("%s: %q, %v, want %q", v.send, got, err, v.text)
		}
		if v.send == "c:hstore:hstore_send" || v.send == "c:vector:vector_send" { // whose bytes count themselves
			for n := range raw {
				if got, err := p(nil, raw[:n]); err == nil {
					t.Errorf("%s, cut off after %d bytes: %q", v.send, n, got)
				}
			}
			if got, err := p(nil, append(raw, 0)); err == nil {
				t.Errorf("%s, with a byte too many: %q", v.send, got)
			}
		}
	}
}
