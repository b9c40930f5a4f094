package strict

import (
	"strings"
	"testing"
)

type namedTable struct {
	Name  string `toml:"@"`
	Value int    `toml:"value" doc:"A number."`
}

type openTable struct {
	First string       `toml:"first" doc:"A text."`
	Rest  []namedTable `toml:"*" contains:"." name:"a.b" doc:"Named tables."`
}

func TestTablesUnderOtherNames(t *testing.T) {
	var o openTable
	d, err := Decode("f", []byte("first = \"x\"\n[\"z.z\"]\nvalue = 1\n[\"a.a\"]\nvalue = 2\n"), &o)
	if err != nil || d.Err() != nil {
		t.Fatal(err, d.Err())
	}
	if len(o.Rest) != 2 || o.Rest[0] != (namedTable{"z.z", 1}) || o.Rest[1] != (namedTable{"a.a", 2}) {
		t.Errorf("got %+v, want the tables in the order of the file", o.Rest)
	}
	d, err = Decode("f", []byte("frist = \"x\"\n\"a.b\" = 3\n[\"c.d\"]\nvalu = 1\n"), &o)
	if err != nil {
		t.Fatal(err)
	}
	want := `f:1:1: key "frist" is unknown: did you mean "first"?
f:2:1: key "\"a.b\"" must be a table, not an integer
f:4:1: key "\"c.d\".valu" is unknown: did you mean "value"?`
	if d.Err() == nil || d.Err().Error() != want {
		t.Errorf("got\n%v\nwant\n%s", d.Err(), want)
	}
	if s := string(Schema(o, "", "")); !strings.Contains(s, `"patternProperties"`) {
		t.Errorf("the schema has no pattern:\n%s", s)
	}
}
