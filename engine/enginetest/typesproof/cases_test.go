package typesproof

import (
	"fmt"
	"slices"
	"strings"
)

// column is a type of the source with its extremes. Every value travels by
// historical load, by insert and by update.
type column struct {
	typ    string
	values []string
	// textOnly columns have no binary form that Leat decodes.
	textOnly bool
}

const typesSQL = `
CREATE TYPE mood AS ENUM ('sad', 'very happy', 'it''s');
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE DOMAIN price AS numeric(12,2);
CREATE DOMAIN small_price AS price CHECK (VALUE < 100);
CREATE DOMAIN tags AS text[];
CREATE DOMAIN email AS text CHECK (VALUE LIKE '%@%');
CREATE DOMAIN day AS date;
CREATE TYPE textrange AS RANGE (subtype = text);
CREATE TYPE pair AS (a integer, b text);
CREATE TYPE nested AS (p pair, n integer[]);`

var hundred = strings.Repeat("1234567890", 10)

var columns = []column{
	{typ: "boolean", values: []string{"t", "f"}},
	{typ: "smallint", values: []string{"-32768", "0", "32767"}},
	{typ: "integer", values: []string{"-2147483648", "-1", "2147483647"}},
	{typ: "bigint", values: []string{"-9223372036854775808", "9223372036854775807", "0"}},
	{typ: "oid", values: []string{"0", "4294967295"}},
	{typ: "xid", values: []string{"0", "4294967295"}},
	{typ: "cid", values: []string{"7"}},
	{typ: "xid8", values: []string{"18446744073709551615"}},
	{typ: "tid", values: []string{"(4294967295,65535)", "(0,1)"}},
	{typ: "real", values: []string{"0", "-0", "1.5", "3.4028235e38", "1e-45", "NaN", "Infinity", "-Infinity", "1e6", "0.00001"}},
	{typ: "double precision", values: []string{"0", "-0", "0.1", "1.7976931348623157e308", "5e-324", "NaN", "Infinity", "-Infinity", "1e15", "-2.5e-300"}},
	{typ: "numeric", values: []string{"0", "-1.50", "NaN", "Infinity", "-Infinity", hundred, "-0." + hundred, hundred + "." + hundred, "1e-20", "0.10000"}},
	{typ: "numeric(5,2)", values: []string{"NaN", "999.99", "-999.99", "0.00", "-0.01"}},
	{typ: "numeric(38,10)", values: []string{strings.Repeat("9", 28) + "." + strings.Repeat("9", 10), "-" + strings.Repeat("9", 28) + "." + strings.Repeat("9", 10), "0.0000000001", "NaN"}},
	{typ: "numeric(38,0)", values: []string{strings.Repeat("9", 38), "-" + strings.Repeat("9", 38)}},
	{typ: "numeric(38,38)", values: []string{"0." + strings.Repeat("9", 38), "-0." + strings.Repeat("0", 37) + "1"}},
	{typ: "numeric(76,20)", values: []string{strings.Repeat("9", 56) + "." + strings.Repeat("9", 20), "-" + strings.Repeat("9", 56) + "." + strings.Repeat("9", 20), "NaN", "0"}},
	{typ: "numeric(100,2)", values: []string{strings.Repeat("9", 98) + ".99", "NaN"}},
	{typ: "numeric(5,-2)", values: []string{"123456", "-100"}},
	{typ: "numeric(2,4)", values: []string{"0.0012"}},
	{typ: "money", values: []string{"12.34", "-92233720368547758.08", "92233720368547758.07"}, textOnly: true},
	{typ: "text", values: []string{"", "tab\tnewline\nreturn\rback\\slash", "Grüße 東京 🚰 e\u0301", "NULL", `\N`, "'single' \"double\"", " padded ", `\x41`, "\x01\x7f", strings.Repeat("long ", 50_000)}},
	{typ: "varchar(10)", values: []string{"x", "", "ünïcödé  "}},
	{typ: "char(5)", values: []string{"ab", "abcde", ""}},
	{typ: "bpchar", values: []string{"ab  "}},
	{typ: "name", values: []string{"some_name", strings.Repeat("n", 63)}},
	{typ: `"char"`, values: []string{"x", ""}, textOnly: true},
	{typ: "bytea", values: []string{"", `\x00ff10`, `\x5c275c`, `\x` + strings.Repeat("00ff275c", 1<<18)}},
	{typ: "uuid", values: []string{"00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"}},
	{typ: "date", values: []string{"1970-01-01", "4714-11-24 BC", "0001-12-31 BC", "0001-01-01", "9999-12-31", "5874897-12-31", "infinity", "-infinity"}},
	{typ: "time", values: []string{"00:00:00", "23:59:59.999999", "24:00:00", "12:30:00.5"}},
	{typ: "time(3)", values: []string{"12:30:00.123"}},
	{typ: "timetz", values: []string{"00:00:00+00", "23:59:59.999999-15:59:59", "12:00:00+05:30", "24:00:00-03"}},
	{typ: "timestamp", values: []string{"1970-01-01 00:00:00", "2024-02-29 23:59:59.999999", "4714-11-24 00:00:00 BC", "0044-03-15 12:00:00.1 BC", "9999-12-31 23:59:59.999999", "294246-12-31 23:59:59.999999", "infinity", "-infinity"}},
	{typ: "timestamp(0)", values: []string{"2024-02-29 23:59:59"}},
	{typ: "timestamptz", values: []string{"2024-02-29 23:59:59.999999+02", "4714-11-24 00:00:00+00 BC", "0001-01-01 00:00:00+00", "9999-12-31 23:59:59.999999+00", "294246-12-31 23:59:59.999999+00", "infinity", "-infinity", "1969-12-31 23:59:59.999999+00"}},
	{typ: "interval", values: []string{"0", "1 year", "-1 mon 1 day", "100 years 3 mons -4 days 123456:07:08.000009", "-00:00:00.1", "-178000000 years", "2562047788:00:54.775807"}},
	{typ: "interval day to second(3)", values: []string{"1 day 02:03:04.567"}},
	{typ: "json", values: []string{`{"a": [1, 2.50,  null], "a": 1}`, `"x\u0000y"`, "null", "[]", " 1e400 "}},
	{typ: "jsonb", values: []string{`{"a": [1, 2.50, null], "b": "\u00fc"}`, "null", "1e400", `""`}},
	{typ: "jsonpath", values: []string{`$.a[*] ? (@ > 1)`}},
	{typ: "xml", values: []string{"<a>b</a>", `<?xml version="1.0"?><a x="1"/>`, "text only"}, textOnly: true},
	{typ: "inet", values: []string{"0.0.0.0", "192.168.1.5/24", "255.255.255.255/0", "::", "2001:db8::1/64", "::ffff:1.2.3.4"}},
	{typ: "cidr", values: []string{"10.0.0.0/8", "192.168.1.5/32", "2001:db8::/32", "::/0"}},
	{typ: "macaddr", values: []string{"08:00:2b:01:02:03"}},
	{typ: "macaddr8", values: []string{"08:00:2b:01:02:03:04:ff"}},
	{typ: "bit", values: []string{"1"}},
	{typ: "bit(9)", values: []string{"101010101"}},
	{typ: "bit varying", values: []string{"", "1111111100000000101"}},
	{typ: "bit varying(4)", values: []string{"", "1010"}},
	{typ: "pg_lsn", values: []string{"0/0", "FFFFFFFF/FFFFFFFF"}},
	{typ: "point", values: []string{"(1,2.5)", "(NaN,Infinity)", "(-0,1e300)"}},
	{typ: "line", values: []string{"{1,-2,3}"}},
	{typ: "lseg", values: []string{"[(1,2),(3,4)]"}},
	{typ: "box", values: []string{"(3,4),(1,2)"}},
	{typ: "path", values: []string{"[(1,2),(3,4),(5,6.5)]", "((1,2),(3,4))"}},
	{typ: "polygon", values: []string{"((1,2),(3,4),(5,6))"}},
	{typ: "circle", values: []string{"<(1,2),3.5>"}},
	{typ: "tsvector", values: []string{"", `a:1A,2 'it''s':3B,4C,5D 'back\\slash'`}},
	{typ: "tsquery", values: []string{"", "(a | b) & !c", "a <3> (b | c)", "'it''s':*AB"}},
	{typ: "regclass", values: []string{"pg_catalog.pg_class"}, textOnly: true},
	{typ: "regtype", values: []string{"integer"}, textOnly: true},
	{typ: "int2vector", values: []string{"1 2 3"}, textOnly: true},
	{typ: "mood", values: []string{"sad", "very happy", "it's"}},
	{typ: "positive", values: []string{"1", "2147483647"}},
	{typ: "small_price", values: []string{"12.34", "-0.01", "NaN"}[:2]},
	{typ: "email", values: []string{"a@b"}},
	{typ: "day", values: []string{"infinity", "0044-03-15 BC"}},
	{typ: "tags", values: []string{`{a,"b c"}`, "{}"}},
	{typ: "pair", values: []string{`(1,x)`, `(,)`, `(1,"")`, `(2,"a,b (c) \"d\" \\e")`}},
	{typ: "nested", values: []string{`("(1,x)","{1,2}")`, `(,)`}},
	{typ: "int4range", values: []string{"empty", "[1,10)", "(,5)", "(,)"}},
	{typ: "int8range", values: []string{"[-9223372036854775808,9223372036854775807)"}},
	{typ: "numrange", values: []string{"[1.50,2.5]", "[NaN,NaN]"}},
	{typ: "tsrange", values: []string{`["2024-01-01 00:00:00","2024-01-02 00:00:00")`, `[-infinity,infinity]`}},
	{typ: "tstzrange", values: []string{`["2024-01-01 00:00:00+00",)`}},
	{typ: "daterange", values: []string{"[2024-01-01,2024-02-01)"}},
	{typ: "textrange", values: []string{`["","a b")`, `["a,b","c\"d\\e"]`}},
	{typ: "int4multirange", values: []string{"{}", "{[1,3),[5,9)}", "{(,)}"}},
	{typ: "tstzmultirange", values: []string{`{["2024-01-01 00:00:00+00","2024-01-02 00:00:00+00")}`}},

	{typ: "boolean[]", values: []string{"{t,f,NULL}", "{}"}},
	{typ: "smallint[]", values: []string{"{-32768,NULL,32767}"}},
	{typ: "integer[]", values: []string{"{}", "{1,2,NULL}", "{NULL}"}},
	{typ: "bigint[]", values: []string{"{9223372036854775807,-9223372036854775808}"}},
	{typ: "real[]", values: []string{"{NaN,-0,3.4028235e38,1e-45,Infinity,NULL}"}},
	{typ: "double precision[]", values: []string{"{1e20,0.1,NaN,-Infinity,5e-324,-0}"}},
	{typ: "numeric[]", values: []string{"{NaN,Infinity," + hundred + ",0.10}"}},
	{typ: "numeric(10,2)[]", values: []string{"{1.00,-2.50,NULL,99999999.99}", "{NaN}"}},
	{typ: "text[]", values: []string{"{}", `{"",NULL,"NULL","null",a,"a b","a,b","{x}","q\"uote","back\\slash"," lead"}`, "{\"tab\tx\",\"new\nline\",ü,\"東 京\"}"}},
	{typ: "varchar(5)[]", values: []string{`{ab,""}`}},
	{typ: "bytea[]", values: []string{`{"\\x00ff",NULL,"\\x"}`}},
	{typ: "uuid[]", values: []string{"{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11,NULL}"}},
	{typ: "date[]", values: []string{`{2024-01-01,-infinity,"0044-03-15 BC"}`}},
	{typ: "time[]", values: []string{"{12:00:00.5,24:00:00}"}},
	{typ: "timestamp[]", values: []string{`{"0044-03-15 12:00:00 BC",infinity}`}},
	{typ: "timestamptz[]", values: []string{`{"2024-01-01 00:00:00+00",infinity,NULL}`}},
	{typ: "interval[]", values: []string{`{"1 day",00:00:01}`}},
	{typ: "json[]", values: []string{`{"{\"a\":  1}",null,NULL}`}},
	{typ: "jsonb[]", values: []string{`{"{\"a\": \"b c\"}","null"}`}},
	{typ: "inet[]", values: []string{"{10.1.2.3,::1/64}"}},
	{typ: "box[]", values: []string{"{(3,4),(1,2);(7,8),(5,6)}"}},
	{typ: "point[]", values: []string{`{"(1,2)","(3,4)"}`}},
	{typ: "int4range[]", values: []string{`{"[1,3)",empty,NULL}`}},
	{typ: "mood[]", values: []string{`{sad,"very happy"}`}},
	{typ: "price[]", values: []string{"{12.34,-0.01}"}},
	{typ: "pair[]", values: []string{`{"(1,\"a b\")","(2,)"}`}},
	{typ: "money[]", values: []string{"{$1.50,NULL}"}, textOnly: true},
}

// shapes are arrays that a list of one dimension cannot hold.
var shapes = []column{
	{typ: "integer[]", values: []string{"{{1,2},{3,NULL}}", "[0:1]={5,6}", "[-2:-1][3:4]={{1,2},{3,4}}", "{7}"}},
	{typ: "text[]", values: []string{`{{{a},{"b c"}},{{c},{"d,\"e\""}}}`, "[5:5]={x}", "{{NULL,\"NULL\"}}", "{y}"}},
	{typ: "double precision[]", values: []string{"{{NaN,1},{2,-0}}", "[2:3]={1,2}", "{{{Infinity}}}", "{1}"}},
}

// beyond are values that a batch cannot hold: no destination gets them, and
// they are failed events.
var beyond = []column{
	{typ: "timestamp", values: []string{"294276-12-31 23:59:59.999999", "294247-01-11 00:00:00"}},
	{typ: "timestamptz", values: []string{"294276-12-31 23:59:59.999999+00", "294247-01-11 00:00:00+00"}},
}

// since15 are types and values that PostgreSQL has since version 15, each with
// the nearest that version 14 has.
var since15 = map[string]string{
	"numeric(5,-2)": "numeric", "numeric(2,4)": "numeric", "2562047788:00:54.775807": "2147483647:59:59.999999",
}

// on returns the columns as a server of a major version takes them.
func on(major int, columns []column) []column {
	if major >= 15 {
		return columns
	}
	older := slices.Clone(columns)
	for i := range older {
		c := &older[i]
		if typ, ok := since15[c.typ]; ok {
			c.typ = typ
		}
		c.values = slices.Clone(c.values)
		for j, v := range c.values {
			if value, ok := since15[v]; ok {
				c.values[j] = value
			}
		}
	}
	return older
}

// named gives the columns names c0, c1, ... in the order of the list.
func named(list []column, keep func(column) bool) (names []string, kept []column) {
	for i, c := range list {
		if keep(c) {
			names, kept = append(names, fmt.Sprintf("c%d", i)), append(kept, c)
		}
	}
	return names, kept
}

func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
