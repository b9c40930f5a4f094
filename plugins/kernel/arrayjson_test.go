package kernel

import (
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/leat-etl/leat/engine/batch"
)

func TestLiteralsBecomeJSON(t *testing.T) {
	for _, c := range []struct{ pg, literal, want string }{
		{"int4[]", `{}`, `[]`},
		{"int4[]", `{1,NULL,-3}`, `[1,null,-3]`},
		{"_int4", `{1,2}`, `[1,2]`},
		{"numeric[]", `{1.50,NaN,Infinity,-Infinity}`, `[1.50,"NaN","Infinity","-Infinity"]`},
		{"numeric[]", `{12345678901234567890123456789.000000000000000001}`, `[12345678901234567890123456789.000000000000000001]`},
		{"float8[]", `{1e+20,-1e-07}`, `[1e+20,-1e-07]`},
		{"bool[]", `{t,f,NULL}`, `[true,false,null]`},
		{"text[]", `{a,"b c","say \"hi\"","back\\slash",NULL,"NULL",""}`, `["a","b c","say \"hi\"","back\\slash",null,"NULL",""]`},
		{"text[]", `{null,Null}`, `[null,null]`},
		{"text[]", `{nulls,1,t}`, `["nulls","1","t"]`},
		{"text[]", "{\"line\nbreak\",\"tab\there\",\"\x01\"}", `["line\nbreak","tab\there","\u0001"]`},
		{"text[]", `{"é\"ü","{x}","a,b"}`, `["é\"ü","{x}","a,b"]`},
		{"int4[]", `{{1,2},{3,4}}`, `[[1,2],[3,4]]`},
		{"text[]", `{{{a}},{{NULL}}}`, `[[["a"]],[[null]]]`},
		{"int4[]", `[2:3]={7,8}`, `[7,8]`},
		{"int4[]", `[-1:0][2:3]={{7,8},{9,10}}`, `[[7,8],[9,10]]`},
		{"box[]", `{(1,1),(0,0);(3,3),(2,2)}`, `["(1,1),(0,0)","(3,3),(2,2)"]`},
		{"jsonb[]", `{"{\"a\": [1, \"x\\\\y\"]}"}`, `["{\"a\": [1, \"x\\\\y\"]}"]`},
		{"uuid[]", `{6f1c9c2e-0d1c-4f0e-9a53-0123456789ab}`, `["6f1c9c2e-0d1c-4f0e-9a53-0123456789ab"]`},
		{"numeric(10,2)[]", `{1.25}`, `[1.25]`},
	} {
		got, err := appendJSON(nil, []byte(c.literal), styleOf(batch.PGType{Name: c.pg, Kind: "a"}))
		if err != nil || string(got) != c.want {
			t.Errorf("%s %s: got %s, %v, want %s", c.pg, c.literal, got, err, c.want)
		}
		if !json.Valid(got) {
			t.Errorf("%s %s: %s is not JSON", c.pg, c.literal, got)
		}
	}
}

func TestBrokenLiteralsAreRefused(t *testing.T) {
	for _, literal := range []string{
		``, `{`, `}`, `{}}`, `{1`, `{1,}`, `{,1}`, `{{1}`, `{1}{2}`, `{"a}`, `{"a\`, `1,2`, `[1:2={1,2}`, `[x]={1}`, `[1:1]`, `{1{2}}`, `{"a"b}`, `{{{{{{{1}}}}}}}`,
	} {
		if got, err := appendJSON(nil, []byte(literal), style{comma: ','}); err == nil {
			t.Errorf("%s: accepted as %s", literal, got)
		}
	}
}

func FuzzAppendJSON(f *testing.F) {
	for _, s := range []string{`{1,NULL}`, `{"a\"b",{x}}`, `[2:3]={7,8}`, `{{t},{f}}`, "{\"\\\x80\"}"} {
		f.Add(s, byte(0))
		f.Add(s, byte(1))
	}
	f.Fuzz(func(t *testing.T, s string, kind byte) {
		got, err := appendJSON(nil, []byte(s), style{kind: elementKind(kind % 3), comma: ','})
		if err == nil && utf8.ValidString(s) && !json.Valid(got) {
			t.Fatalf("%q became %q, which is not JSON", s, got)
		}
	})
}
