package postgres

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/jackc/pgx/v5"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// session connects with the settings of a source session.
func session(t testing.TB, s *pgserver.Server, database string) *pgx.Conn {
	t.Helper()
	cfg, err := pgx.ParseConfig(s.SocketDSN(database))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range sessionSettings() {
		cfg.RuntimeParams[name] = value
	}
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// typeCases are columns and values, written as SQL literals.
var typeCases = []struct {
	typ    string
	values []string
}{
	{"bool", []string{"t", "f"}},
	{"int2", []string{"-32768", "0", "32767"}},
	{"int4", []string{"-2147483648", "-1", "2147483647"}},
	{"int8", []string{"-9223372036854775808", "9223372036854775807", "0"}},
	{"oid", []string{"0", "4294967295"}},
	{"xid", []string{"0", "4294967295"}},
	{"cid", []string{"7"}},
	{"xid8", []string{"18446744073709551615"}},
	{"tid", []string{"(4294967295,65535)", "(0,1)"}},
	{"float4", []string{"0", "-0", "1.5", "3.4028235e38", "1e-45", "NaN", "Infinity", "-Infinity", "123456", "1234567", "1e6", "0.0001", "0.00001"}},
	{"float8", []string{"0", "-0", "0.1", "1.7976931348623157e308", "5e-324", "NaN", "Infinity", "-Infinity", "123456789012345", "1e15", "1e14", "0.0001", "0.00001234", "-2.5e-300"}},
	{"numeric(12,2)", []string{"0", "-0.01", "9999999999.99", "-9999999999.99", "NaN", "1", "0.5", "10000", "12345.60"}},
	{"numeric(4,4)", []string{"0.0001", "-0.9999", "0", "0.01"}},
	{"numeric(9,3)", []string{"0.001", "999999.999", "-100000.1"}},
	{"numeric(38,0)", []string{strings.Repeat("9", 38), "-" + strings.Repeat("9", 38), "1", "10000000000000000000"}},
	{"numeric(38,38)", []string{"0." + strings.Repeat("9", 38), "-0." + strings.Repeat("0", 37) + "1", "NaN"}},
	{"numeric(76,10)", []string{strings.Repeat("9", 66) + "." + strings.Repeat("9", 10), "-" + strings.Repeat("1", 66) + ".5", "NaN", "0", "-1"}},
	{"numeric(39,1)", []string{"-0.1", strings.Repeat("9", 38) + ".9"}},
	{"numeric(77,1)", []string{"12.5", "NaN"}},
	{"numeric(5,-2)", []string{"123456", "-100"}},
	{"numeric(2,4)", []string{"0.0012"}},
	{"numeric", []string{"0", "-1.50", "NaN", "Infinity", "-Infinity", "1e-20", "1e100", strings.Repeat("123456789", 12) + ".000100", "0.00000001", "10000", "0.10000"}},
	{"text", []string{"", "a", "tab\tnewline\nback\\slash", "Grüße 東京 🚰", "NULL", `\N`}},
	{"varchar(10)", []string{"x", ""}},
	{"bpchar(5)", []string{"ab", "abcde"}},
	{"name", []string{"some_name"}},
	{"bytea", []string{"", `\x00ff10`, `\xdeadbeef`}},
	{"uuid", []string{"00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"}},
	{"date", []string{"1970-01-01", "2000-02-29", "4714-11-24 BC", "0001-01-01", "0001-12-31 BC", "5874897-12-31", "infinity", "-infinity", "1969-12-31", "12345-01-02"}},
	{"time", []string{"00:00:00", "23:59:59.999999", "24:00:00", "12:30:00.5", "01:02:03.000010"}},
	{"timetz", []string{"00:00:00+00", "23:59:59.999999-15:59:59", "12:00:00+05:30", "24:00:00-03", "01:02:03+15:59"}},
	{"timestamp", []string{"1970-01-01 00:00:00", "2024-02-29 23:59:59.999999", "4714-11-24 00:00:00 BC", "0001-01-01 00:00:00", "294247-01-09 04:00:54.775806", "infinity", "-infinity", "1969-12-31 23:59:59.999999", "0044-03-15 12:00:00.1 BC"}},
	{"timestamptz", []string{"2024-02-29 23:59:59.999999+02", "4713-01-01 00:00:00+00 BC", "infinity", "-infinity", "10000-01-01 00:00:00+00", "1999-12-31 23:59:59.9+00"}},
	{"interval", []string{"0", "1 year", "-1 year", "1 mon -1 day", "-1 mon 1 day", "1 day -00:00:01", "-1 day +00:00:01", "100 years 3 mons -4 days 123456:07:08.000009", "00:00:00.1", "-00:00:00.1", "1 mon", "2147483647 days", "-178000000 years", "2562047788:00:54.775807", "-1 year -2 mons +3 days -04:05:06.789"}},
	{"json", []string{`{"a": [1, 2.50,  null]}`, `"x"`}},
	{"jsonb", []string{`{"a": [1, 2.50, null], "b": "\u00fc"}`, `1e3`}},
	{"jsonpath", []string{`$.a[*] ? (@ > 1)`}},
	{"inet", []string{"0.0.0.0", "192.168.1.5/24", "10.1.2.3/32", "255.255.255.255/0", "::", "::1", "::ffff:1.2.3.4", "2001:db8::1/64", "1::", "1:0:0:2:0:0:0:3", "::1.2.3.4", "::2:3", "fe80::1:0:0:1", "1:0:2:3:4:5:6:7", "::ffff:0:0", "0:0:0:0:0:0:0:2", "0:1::"}},
	{"cidr", []string{"10.0.0.0/8", "192.168.1.5/32", "2001:db8::/32", "::/0", "::1/128"}},
	{"macaddr", []string{"08:00:2b:01:02:03"}},
	{"macaddr8", []string{"08:00:2b:01:02:03:04:ff"}},
	{"bit(3)", []string{"101", "000"}},
	{"bit(9)", []string{"101010101"}},
	{"varbit", []string{"", "1", "1111111100000000101"}},
	{"pg_lsn", []string{"0/0", "16/B374D848", "FFFFFFFF/FFFFFFFF"}},
	{"point", []string{"(1,2.5)", "(NaN,Infinity)", "(-0,1e300)"}},
	{"lseg", []string{"[(1,2),(3,4)]"}},
	{"box", []string{"(3,4),(1,2)"}},
	{"path", []string{"[(1,2),(3,4),(5,6.5)]", "((1,2),(3,4))"}},
	{"polygon", []string{"((1,2),(3,4),(5,6))", "((0,0))"}},
	{"line", []string{"{1,-2,3}"}},
	{"circle", []string{"<(1,2),3.5>"}},
	{"tsvector", []string{"", "a:1A,2 'it''s':3B,4C,5D 'back\\\\\\\\slash'", "plain words"}},
	{"tsquery", []string{"", "a", "a & b", "a | b & !c", "(a | b) & c", "a <-> b <-> c", "a <3> (b | c)", "a <-> (b <-> c)", "'it''s':*AB", "!(a & b)", "!!a", "(a <-> b) <2> c"}},
	{"int4[]", []string{"{}", "{1,2,NULL}", "{{1,2},{3,4}}", "[0:1]={5,6}", "[-2:-1][3:4]={{1,2},{3,4}}"}},
	{"text[]", []string{"{}", `{"",NULL,"NULL","null",a,"a b","a,b","{x}","q\"uote","back\\slash"," lead","tab	x"}`, `{{{a},{b}},{{c},{d}}}`, `{ü,"東 京"}`}},
	{"numeric(10,2)[]", []string{"{1.00,-2.50,NaN}"}},
	{"timestamptz[]", []string{`{"2024-01-01 00:00:00+00",infinity,NULL}`}},
	{"date[]", []string{`{2024-01-01,-infinity,"0044-03-15 BC"}`}},
	{"box[]", []string{"{(3,4),(1,2);(7,8),(5,6)}"}},
	{"point[]", []string{`{"(1,2)","(3,4)"}`}},
	{"bytea[]", []string{`{"\\x00ff",NULL,"\\x"}`}},
	{"bool[]", []string{"{t,f,NULL}"}},
	{"float8[]", []string{"{1e20,0.1,NaN}"}},
	{"uuid[]", []string{"{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}"}},
	{"jsonb[]", []string{`{"{\"a\": \"b c\"}",null}`}},
	{"interval[]", []string{`{"1 day",00:00:01}`}},
	{"int4range", []string{"empty", "[1,10)", "(,5)", "[3,)", "(,)"}},
	{"numrange", []string{"[1.50,2.5]", "(1,2)", "[NaN,NaN]"}},
	{"tsrange", []string{`["2024-01-01 00:00:00","2024-01-02 00:00:00")`, `[-infinity,infinity]`}},
	{"tstzrange", []string{`["2024-01-01 00:00:00+00",)`}},
	{"daterange", []string{"[2024-01-01,2024-02-01)"}},
	{"textrange", []string{`["","a b")`, `["a,b","c\"d\\e"]`, `["(x)","[y]"]`, `[a,b]`}},
	{"int4multirange", []string{"{}", "{[1,3),[5,9)}", "{(,)}"}},
	{"tstzmultirange", []string{`{["2024-01-01 00:00:00+00","2024-01-02 00:00:00+00")}`}},
	{"int4range[]", []string{`{"[1,3)",empty,NULL}`}},
	{"mood", []string{"sad", "very happy", "it's"}},
	{"mood[]", []string{`{sad,"very happy"}`}},
	{"positive", []string{"1", "2147483647"}},
	{"price", []string{"12.34", "-0.01"}},
	{"price[]", []string{"{12.34,-0.01}"}},
	{"tags", []string{`{a,"b c"}`}},
	{"pair", []string{`(1,x)`, `(,)`, `(1,"")`, `(2,"a,b (c) \"d\" \\e")`, `(3," space")`}},
	{"nested", []string{`("(1,x)","{1,2}")`, `(,)`, `("(2,\"a b\")","{}")`}},
	{"pair[]", []string{`{"(1,\"a b\")","(2,)"}`}},
	{"xml", []string{"<a>b</a>"}},
	{"money", []string{"12.34"}},
	{`"char"`, []string{"x", ""}},
	{"int2vector", []string{"1 2 3"}},
	{"regtype", []string{"int4"}},
}

const typeSetup = `
CREATE TYPE mood AS ENUM ('sad', 'very happy', 'it''s');
CREATE DOMAIN positive AS int4 CHECK (VALUE > 0);
CREATE DOMAIN price AS numeric(12,2);
CREATE DOMAIN tags AS text[];
CREATE TYPE textrange AS RANGE (subtype = text);
CREATE TYPE pair AS (a int4, b text);
CREATE TYPE nested AS (p pair, n int4[]);`

// unsafeInBinary are the types of typeCases that are only read as text.
var unsafeInBinary = map[string]bool{"xml": true, "money": true, `"char"`: true, "int2vector": true, "regtype": true}

// since15 are types and values that PostgreSQL has since version 15, each with
// the nearest that version 14 has.
var since15 = map[string]string{
	"numeric(5,-2)": "numeric", "numeric(2,4)": "numeric", "2562047788:00:54.775807": "2147483647:59:59.999999",
}

// older returns what stands for a type or value on the server of conn.
func older(conn *pgx.Conn, text string) string {
	if instead, ok := since15[text]; ok && conn.PgConn().ParameterStatus("server_version") < "15" {
		return instead
	}
	return text
}

// loadCases makes a table with one column for each of typeCases, n values
// deep, and returns its schema and the text that the server prints: not the
// cast to text, which pads inet and trims bpchar.
func loadCases(t testing.TB, conn *pgx.Conn) (schema *batch.Schema, types *TypeMap, want [][]*string) {
	t.Helper()
	ctx := t.Context()
	if _, err := conn.Exec(ctx, typeSetup); err != nil {
		t.Fatal(err)
	}
	depth := 0
	var columns, texts []string
	for i, c := range typeCases {
		typ := older(conn, c.typ)
		columns = append(columns, fmt.Sprintf("c%d %s", i, typ))
		texts = append(texts, fmt.Sprintf("c%d", i))
		depth = max(depth, len(c.values))
	}
	mustExec(t, conn, "CREATE TABLE cases (id int PRIMARY KEY, "+strings.Join(columns, ", ")+")")
	for row := range depth {
		values := []string{strconv.Itoa(row)}
		for _, c := range typeCases {
			value := "NULL"
			if row < len(c.values) {
				value = "'" + strings.ReplaceAll(older(conn, c.values[row]), "'", "''") + "'"
			}
			values = append(values, value)
		}
		mustExec(t, conn, "INSERT INTO cases VALUES ("+strings.Join(values, ", ")+")")
	}
	types, err := loadTypes(ctx, conn)
	if err != nil {
		t.Fatal(err)
	}
	results, err := conn.PgConn().Exec(ctx, "SELECT "+strings.Join(texts, ", ")+" FROM cases ORDER BY id").ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, cells := range results[0].Rows {
		row := make([]*string, len(texts))
		for i, cell := range cells {
			if cell != nil {
				text := string(cell)
				row[i] = &text
			}
		}
		want = append(want, row)
	}
	return readSchema(t, conn, types, "cases"), types, want
}

func mustExec(t testing.TB, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%.200s: %v", sql, err)
	}
}

// readSchema describes a table's columns without the one called id.
func readSchema(t testing.TB, conn *pgx.Conn, types *TypeMap, table string) *batch.Schema {
	t.Helper()
	rows, err := conn.Query(t.Context(), `SELECT attname::text, atttypid, atttypmod FROM pg_attribute
		WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped AND attname <> 'id' ORDER BY attnum`, table)
	if err != nil {
		t.Fatal(err)
	}
	s := &batch.Schema{Table: batch.TableID{Schema: "public", Name: table}}
	var name string
	var oid uint32
	var typmod int32
	if _, err := pgx.ForEachRow(rows, []any{&name, &oid, &typmod}, func() error {
		s.Columns = append(s.Columns, types.Column(name, oid, typmod, true))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return s
}

// pick returns a schema of some columns.
func pick(s *batch.Schema, keep func(i int) bool) *batch.Schema {
	out := &batch.Schema{Table: s.Table}
	for i, c := range s.Columns {
		if keep(i) {
			out.Columns = append(out.Columns, c)
		}
	}
	return out
}

// copyRows reads a schema's columns with COPY, handing the decoder pieces of
// the given size.
func copyRows(t testing.TB, conn *pgx.Conn, s *batch.Schema, types *TypeMap, binary bool, piece int) *batch.Batch {
	t.Helper()
	var names []string
	for _, c := range s.Columns {
		names = append(names, quoteIdent(c.Name))
	}
	format := "text"
	if binary {
		format = "binary"
	}
	var data bytes.Buffer
	sql := fmt.Sprintf("COPY (SELECT %s FROM %s ORDER BY id) TO STDOUT (FORMAT %s)", strings.Join(names, ", "), s.Table.Name, format)
	if _, err := conn.PgConn().CopyTo(t.Context(), &data, sql); err != nil {
		t.Fatal(err)
	}
	d, err := newCopyDecoder(s, types, binary)
	if err != nil {
		t.Fatal(err)
	}
	b := batch.NewBuilder(s)
	for input := data.Bytes(); len(input) > 0; {
		n := min(piece, len(input))
		if err := d.Decode(input[:n], b, 1, 2); err != nil {
			t.Fatal(err)
		}
		input = input[n:]
	}
	if err := d.Finish(); err != nil {
		t.Fatal(err)
	}
	for _, f := range d.TakeFailed() {
		t.Errorf("%s", f.Error())
	}
	return b.Finish(batch.Position{})
}

// canonical prints a cell as the server would.
func canonical(t testing.TB, b *batch.Batch, col, row int) *string {
	t.Helper()
	a := b.Rows.Column(col)
	if a.IsNull(row) {
		return nil
	}
	var out []byte
	switch a := a.(type) {
	case *array.Boolean:
		out = strconv.AppendBool(nil, a.Value(row))
	case *array.Int16:
		out = strconv.AppendInt(nil, int64(a.Value(row)), 10)
	case *array.Int32:
		out = strconv.AppendInt(nil, int64(a.Value(row)), 10)
	case *array.Int64:
		out = strconv.AppendInt(nil, a.Value(row), 10)
	case *array.Uint32:
		out = strconv.AppendUint(nil, uint64(a.Value(row)), 10)
	case *array.Float32:
		out = appendFloat(nil, float64(a.Value(row)), 32, 6)
	case *array.Float64:
		out = appendFloat8(nil, a.Value(row))
	case *array.String:
		out = []byte(a.Value(row))
	case *array.Binary:
		out = hex.AppendEncode([]byte(`\x`), a.Value(row))
	case *array.FixedSizeBinary:
		out, _ = printUUID(nil, a.Value(row))
	case *array.Decimal128:
		if out = []byte("NaN"); a.Value(row) != batch.NaN128 {
			out = []byte(a.Value(row).ToString(a.DataType().(*arrow.Decimal128Type).Scale))
		}
	case *array.Decimal256:
		if out = []byte("NaN"); a.Value(row) != batch.NaN256 {
			out = []byte(a.Value(row).ToString(a.DataType().(*arrow.Decimal256Type).Scale))
		}
	case *array.Date32:
		out = canonicalDate(int64(a.Value(row)))
	case *array.Time64:
		out = appendClock(nil, uint64(a.Value(row)))
	case *array.Timestamp:
		out = canonicalTimestamp(int64(a.Value(row)), a.DataType().(*arrow.TimestampType).TimeZone != "")
	default:
		t.Fatalf("column %d is %T", col, a)
	}
	s := string(out)
	return &s
}

func canonicalDate(days int64) []byte {
	switch days {
	case batch.PosInfinityDate:
		return []byte("infinity")
	case batch.NegInfinityDate:
		return []byte("-infinity")
	}
	out, bc := appendDate(nil, days)
	if bc {
		out = append(out, " BC"...)
	}
	return out
}

func canonicalTimestamp(micros int64, zone bool) []byte {
	switch micros {
	case batch.PosInfinity:
		return []byte("infinity")
	case batch.NegInfinity:
		return []byte("-infinity")
	}
	days := floorDiv(micros, dayMicros)
	out, bc := appendDate(nil, days)
	out = appendClock(append(out, ' '), uint64(micros-days*dayMicros))
	if zone {
		out = append(out, "+00"...)
	}
	if bc {
		out = append(out, " BC"...)
	}
	return out
}

func TestEveryTypeDecodesToWhatTheServerPrints(t *testing.T) {
	server := pgserver.Test(t, pgserver.Options{})
	conn := session(t, server, server.Database(t))
	schema, types, want := loadCases(t, conn)

	for i, c := range typeCases {
		if got := types.binarySafe(schema.Columns[i].PG.OID); got == unsafeInBinary[c.typ] {
			t.Errorf("type %s: binarySafe = %v", c.typ, got)
		}
	}
	safe := func(i int) bool { return !unsafeInBinary[typeCases[i].typ] }
	for _, run := range []struct {
		name   string
		binary bool
		piece  int
	}{{"text", false, math.MaxInt}, {"text in pieces", false, 7}, {"binary", true, math.MaxInt}, {"binary in pieces", true, 5}} {
		t.Run(run.name, func(t *testing.T) {
			keep := func(i int) bool { return !run.binary || safe(i) }
			b := copyRows(t, conn, pick(schema, keep), types, run.binary, run.piece)
			if b.Len() != len(want) {
				t.Fatalf("%d rows, want %d", b.Len(), len(want))
			}
			col := 0
			for i, c := range typeCases {
				if !keep(i) {
					continue
				}
				for row := range want {
					compareCell(t, c.typ, row, canonical(t, b, col, row), want[row][i])
				}
				col++
			}
		})
	}
}

func compareCell(t *testing.T, typ string, row int, got, want *string) {
	t.Helper()
	switch {
	case got == nil && want == nil:
	case got == nil || want == nil:
		t.Errorf("%s row %d: got null: %v, want null: %v", typ, row, got == nil, want == nil)
	case *got != *want && !sameNumber(typ, *got, *want):
		t.Errorf("%s row %d: got %q, want %q", typ, row, *got, *want)
	}
}

// sameNumber allows for the display scale, which a decimal does not print
// the way the server does, and for the names of booleans.
func sameNumber(typ, got, want string) bool {
	if typ == "bool" {
		return got[:1] == want[:1]
	}
	trim := func(s string) string {
		if strings.Contains(s, ".") {
			s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
		}
		return s
	}
	return (typ == "price" || strings.HasPrefix(typ, "numeric(")) && trim(got) == trim(want)
}

func TestTimestampsBeyondMicrosecondsSince1970AreRowFailures(t *testing.T) {
	server := pgserver.Test(t, pgserver.Options{})
	conn := session(t, server, server.Database(t))
	mustExec(t, conn, `CREATE TABLE late (id int PRIMARY KEY, at timestamp, n int)`)
	mustExec(t, conn, `INSERT INTO late VALUES (1, '294276-12-31 23:59:59.999999', 1), (2, '294247-01-10 04:00:54.775807', 2),
		(3, '294247-01-10 04:00:54.775806', 3), (4, 'infinity', 4)`)
	types, err := loadTypes(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	schema := readSchema(t, conn, types, "late")
	for _, binary := range []bool{false, true} {
		d, err := newCopyDecoder(schema, types, binary)
		if err != nil {
			t.Fatal(err)
		}
		format := map[bool]string{false: "text", true: "binary"}[binary]
		b := batch.NewBuilder(schema)
		sink := writer(func(p []byte) error { return d.Decode(p, b, 1, 2) })
		if _, err := conn.PgConn().CopyTo(t.Context(), sink, "COPY (SELECT at, n FROM late ORDER BY id) TO STDOUT (FORMAT "+format+")"); err != nil {
			t.Fatal(err)
		}
		failed := d.TakeFailed()
		out := b.Finish(batch.Position{})
		if len(failed) != 2 || failed[0].Column != 0 || failed[0].Reason != errRange {
			t.Fatalf("%s: failures %v", format, failed)
		}
		at := out.Rows.Column(0).(*array.Timestamp)
		if out.Len() != 2 || at.Value(0) != math.MaxInt64-1 || at.Value(1) != batch.PosInfinity {
			t.Fatalf("%s: rows %v", format, at)
		}
		if n := out.Rows.Column(1).(*array.Int32); n.Value(0) != 3 || n.Value(1) != 4 {
			t.Fatalf("%s: other column %v", format, n)
		}
	}
}

type writer func(p []byte) error

var _ io.Writer = writer(nil)

func (w writer) Write(p []byte) (int, error) { return len(p), w(p) }

func TestDatesInvert(t *testing.T) {
	for days := int64(-2_500_000); days < 2_500_000; days += 97 {
		y, m, d := dateOf(days)
		if got := daysOf(y, m, d); got != days {
			t.Fatalf("day %d is %d-%d-%d, which is day %d", days, y, m, d, got)
		}
	}
}
