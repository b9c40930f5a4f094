package textbatch

import (
	"strings"
	"testing"
)

// everything is a batch with a cell of each type and each state.
const everything = `op      | id | flag | small  | oid | real   | double  | price | wide                           | bytes  | day        | hour            | moment                     | instant                | uuid                                 | text
insert  | 1  | t    | -32768 | 7   | 0.5    | 1e+300  | 1.50  | -1.00000000000000000000        | \x00ff | 2024-02-29 | 23:59:59.999999 | 2024-02-29 13:05:00.25     | 2024-02-29 13:05:00+00 | 123e4567-e89b-12d3-a456-426614174000 | "null"
update  | 2  | f    | null   | 0   | NaN    | 5e-324  | NaN   | 99999999999999999999999.000001 | \x     | infinity   | 00:00:00        | -infinity                  | infinity               | null                                 | unchanged
old key | 3  | null | null   | 0   | 0      | 0       | -0.01 | null                           | null   | 1969-12-31 | null            | 1960-01-01 00:00:00.000001 | null                   | null                                 | "a|b\n"
`

var columns = []string{
	"id bigint key", "flag boolean", "small smallint", "oid oid", "real real", "double double precision", "price numeric(12,2)", "wide numeric(60,20)", "bytes bytea",
	"day date", "hour time", "moment timestamp", "instant timestamptz", "uuid uuid", "text varchar(20) not null",
}

func TestEveryTypeReadsBack(t *testing.T) {
	s, err := ParseSchema("public.all", columns)
	if err != nil {
		t.Fatal(err)
	}
	g, err := Parse(strings.Replace(everything, "99999999999999999999999.000001", "99999999999999999999999.00000100000000000000", 1))
	if err != nil {
		t.Fatal(err)
	}
	b, err := g.Batch(s)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Release()
	got, err := Of(b)
	if err != nil {
		t.Fatal(err)
	}
	if text := Diff(g, got); text != "" {
		t.Errorf("cells came back otherwise:\n%s", text)
	}
	again, err := Parse(got.String())
	if err != nil || Diff(got, again) != "" {
		t.Errorf("what is printed does not read back: %v\n%s", err, Diff(got, again))
	}
	if pg := s.Columns[14].PG; pg.Name != "varchar" || pg.Typmod != 24 || s.Columns[14].Nullable || s.Columns[0].Nullable || s.Columns[0].Key != 1 {
		t.Errorf("columns are %+v", s.Columns)
	}
	if b.Ordinal[2] != 3 {
		t.Errorf("ordinals are %v", b.Ordinal)
	}
}

func TestFaultsOfTables(t *testing.T) {
	s, err := ParseSchema("shop.public.t", []string{"id bigint key", `"odd name" text`, "list int[]"})
	if err != nil {
		t.Fatal(err)
	}
	if c := s.Columns[2]; c.PG.Name != "int4[]" || c.PG.Kind != "a" || s.Columns[1].Name != "odd name" || s.Table.Database != "shop" {
		t.Errorf("schema is %+v", s)
	}
	for _, c := range []struct{ text, says string }{
		{"id\n1", "does not begin with op"},
		{"op | id\ninsert | x", "row 1, column id: x: want a whole number of 64 bits"},
		{"op | id\nupsert | 1", `row 1: operation "upsert": want insert, update`},
		{"op | id | other\ninsert | 1 | 2", "the header names other, which is no column of shop.public.t"},
		{"op | id\ninsert | 1 | 2", "row 1 has 3 cells, the header 2"},
		{"op | id | list\ninsert | 1 | ", `an empty cell: write null, unchanged, or ""`},
		{"op | id\ninsert | \"1", "is a JSON string"},
	} {
		g, err := Parse(c.text)
		if err == nil {
			_, err = g.Batch(s)
		}
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: %v, want %q", c.text, err, c.says)
		}
	}
	for _, column := range []string{"id", `"id bigint`, "id numeric(x)", " "} {
		if _, err := ParseSchema("public.t", []string{column}); err == nil {
			t.Errorf("the column %q is taken", column)
		}
	}
	for _, table := range []string{"t", "a.b.c.d", ".t"} {
		if _, err := ParseSchema(table, columns); err == nil {
			t.Errorf("the table %q is taken", table)
		}
	}
}

func TestDiffShowsWhatDiffers(t *testing.T) {
	want, _ := Parse("op | id\ninsert | 1\ninsert | 2\ninsert | 4")
	got, _ := Parse("op | id\ninsert | 1\ninsert | 3\ninsert | 4\ninsert | 5")
	const text = `  op     | id
  insert | 1
- insert | 2
+ insert | 3
           ^
  insert | 4
+ insert | 5
`
	if d := Diff(want, got); d != text {
		t.Errorf("the difference is\n%s\nwant\n%s", d, text)
	}
	if Diff(want, want) != "" {
		t.Error("a table differs from itself")
	}
}
