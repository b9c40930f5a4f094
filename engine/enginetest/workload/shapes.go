package workload

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// key is the primary key of a row as SQL literals.
type key []string

// column is a column and how a value for it is drawn, as an SQL expression.
type column struct {
	name  string
	draw  func(*rand.Rand) string
	large bool // lies outside the row: most updates leave it alone
}

// keyColumn is a column of a primary key and its value for the n-th key.
type keyColumn struct {
	name string
	nth  func(n int) string
}

// shape is a table; %T in create stands for its qualified name.
type shape struct {
	name    string
	create  string
	key     []keyColumn // empty: rows are only inserted
	beside  string      // a column that is never NULL and may be part of the key; may be empty
	columns []column
}

func number(n int) string { return fmt.Sprintf("'%d'", n) }

var shapes = []*shape{
	{
		name:   Accounts,
		create: `CREATE TABLE %T (id int PRIMARY KEY, owner text, balance numeric(20,4), score float8, opened timestamptz, active boolean NOT NULL)`,
		key:    []keyColumn{{"id", number}},
		beside: "active",
		columns: []column{
			{name: "owner", draw: text}, {name: "balance", draw: amount}, {name: "score", draw: float},
			{name: "opened", draw: moment}, {name: "active", draw: boolean},
		},
	},
	{
		name:   Places,
		create: `CREATE TABLE %T (label text, country text, ref uuid, position jsonb, codes int[], aliases text[], since date, PRIMARY KEY (country, ref))`,
		key: []keyColumn{
			{"country", func(n int) string { return fmt.Sprintf("'%s'", []string{"de", "fr", "it''s", "日本"}[n%4]) }},
			{"ref", func(n int) string { return fmt.Sprintf("'%08x-0000-4000-8000-%012x'", n*2654435761%(1<<32), n) }},
		},
		columns: []column{
			{name: "label", draw: text}, {name: "position", draw: document}, {name: "codes", draw: numbers},
			{name: "aliases", draw: texts}, {name: "since", draw: date},
		},
	},
	{
		name: Profiles,
		create: `CREATE TABLE %T (id bigint PRIMARY KEY, name text, data jsonb, biography text, seen timestamptz, rating numeric);
			ALTER TABLE %T ALTER biography SET STORAGE EXTERNAL, REPLICA IDENTITY FULL`,
		key: []keyColumn{{"id", func(n int) string { return fmt.Sprintf("'%d'", 9_000_000_000+n) }}},
		columns: []column{
			{name: "name", draw: text}, {name: "data", draw: document}, {name: "biography", draw: large, large: true},
			{name: "seen", draw: moment}, {name: "rating", draw: amount},
		},
	},
	{
		name: Documents,
		create: `CREATE TABLE %T (revision int NOT NULL, body text, id int PRIMARY KEY, raw bytea, attachments text[], title varchar(200));
			ALTER TABLE %T ALTER body SET STORAGE EXTERNAL, ALTER raw SET STORAGE EXTERNAL, ALTER attachments SET STORAGE EXTERNAL`,
		key:    []keyColumn{{"id", number}},
		beside: "revision",
		columns: []column{
			{name: "revision", draw: whole}, {name: "title", draw: text},
			{name: "body", draw: large, large: true}, {name: "raw", draw: largeBytes, large: true}, {name: "attachments", draw: largeArray, large: true},
		},
	},
	{
		name:   Journal,
		create: `CREATE TABLE %T (written timestamptz, entry text, amount numeric(12,2), tags text[])`,
		columns: []column{
			{name: "written", draw: moment}, {name: "entry", draw: text}, {name: "amount", draw: amount}, {name: "tags", draw: texts},
		},
	},
}

// nullable makes one in n values NULL.
func nullable(r *rand.Rand, n int, value string) string {
	if r.IntN(n) == 0 {
		return "NULL"
	}
	return value
}

var words = []string{"", "a", "NULL", "o''brien", `back\slash`, `"quoted", comma`, "{brace}", "tab\tnewline\n", "žluťoučký kůň", "🐘🐘", " padded ", "0"}

func word(r *rand.Rand) string { return words[r.IntN(len(words))] }

func text(r *rand.Rand) string {
	return nullable(r, 8, fmt.Sprintf("'%s%d'", word(r), r.IntN(1000)))
}

func whole(r *rand.Rand) string { return fmt.Sprint(r.IntN(1<<31) - 1<<30) }

func amount(r *rand.Rand) string {
	return nullable(r, 8, fmt.Sprintf("%d.%02d", r.IntN(2_000_000)-1_000_000, r.IntN(100)))
}

func float(r *rand.Rand) string { return nullable(r, 8, fmt.Sprintf("%g", r.NormFloat64()*1e6)) }

func boolean(r *rand.Rand) string { return fmt.Sprint(r.IntN(2) == 0) }

func moment(r *rand.Rand) string {
	if r.IntN(40) == 0 {
		return "'infinity'"
	}
	return nullable(r, 10, fmt.Sprintf("timestamptz '2000-01-01 00:00:00+00' + %d * interval '1 microsecond'", r.Int64N(800_000_000_000_000)))
}

func date(r *rand.Rand) string {
	return nullable(r, 10, fmt.Sprintf("date '1900-01-01' + %d", r.IntN(60_000)))
}

func document(r *rand.Rand) string {
	return nullable(r, 8, fmt.Sprintf(`'{"n": %d, "list": [1, null, "x%d"], "deep": {"flag": %t}, "text": "žlu \"q\" \\ \n"}'`, r.IntN(1000), r.IntN(1000), r.IntN(2) == 0))
}

const deepArray = "'{{1,2},{3,4}}'"

func numbers(r *rand.Rand) string {
	return nullable(r, 8, []string{"'{}'", "'{1,NULL,3}'", deepArray, fmt.Sprintf("ARRAY[%d, %d]", r.IntN(1000), r.IntN(1000))}[r.IntN(4)])
}

func texts(r *rand.Rand) string {
	parts := make([]string, r.IntN(4))
	for i := range parts {
		parts[i] = nullable(r, 5, "'"+word(r)+"'")
	}
	return nullable(r, 8, "ARRAY["+strings.Join(parts, ", ")+"]::text[]")
}

// large draws 3 to 12 kB that do not fit into a row; the statement stays
// short and its value the same each time.
func large(r *rand.Rand) string {
	return nullable(r, 12, fmt.Sprintf("(SELECT string_agg(md5((%d + i)::text), ' ') FROM generate_series(1, %d) i)", r.IntN(1_000_000), 100+r.IntN(280)))
}

func largeBytes(r *rand.Rand) string {
	return nullable(r, 4, fmt.Sprintf("(SELECT string_agg(decode(md5((%d + i)::text), 'hex'), '\\x00ff') FROM generate_series(1, %d) i)", r.IntN(1_000_000), 200+r.IntN(300)))
}

func largeArray(r *rand.Rand) string {
	return nullable(r, 3, fmt.Sprintf("(SELECT array_agg(md5((%d + i)::text)) FROM generate_series(1, %d) i)", r.IntN(1_000_000), 100+r.IntN(100)))
}
