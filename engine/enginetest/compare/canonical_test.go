package compare

import "testing"

func TestCanonicalTextsOfOneValueAreEqual(t *testing.T) {
	for _, c := range []struct {
		typ   string
		texts []string
	}{
		{"numeric", []string{"1.50", "1.5", "15e-1", "+1.5"}},
		{"numeric", []string{"NaN", "nan"}},
		{"bigint", []string{"7", "7.0"}},
		{"double precision", []string{"1e+20", "100000000000000000000", "1E20"}},
		{"double precision", []string{"Infinity", "inf"}},
		{"boolean", []string{"t", "true", "1"}},
		{"timestamp with time zone", []string{"2025-06-01 12:00:00+00", "2025-06-01 14:00:00+02", "2025-06-01T06:30:00.000000-05:30", "2025-06-01 12:00:00Z"}},
		{"timestamp without time zone", []string{"0044-03-15 12:00:00.5 BC", "0044-03-15 (BC) 12:00:00.500000"}},
		{"timestamp without time zone", []string{"infinity", "Infinity"}},
		{"date", []string{"2025-06-01", "2025-06-01 00:00:00"}},
		{"time without time zone", []string{"12:00:00", "12:00:00.000"}},
		{"bytea", []string{`\xdeadbeef`, `\xDEADBEEF`}},
		{"uuid", []string{"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"}},
		{"integer[]", []string{"{1,NULL,3}", "[1,null,3]", `["1", null, "3"]`, "[0:2]={1,NULL,3}"}},
		{"text[]", []string{`{a,"b,\"c\\",NULL,"NULL",""}`, `["a","b,\"c\\",null,"NULL",""]`}},
		{"numeric[]", []string{"{{1.50,2},{3,4}}", "[[1.5,2.0],[3,4]]"}},
		{"boolean[]", []string{"{t,f}", "[true,false]"}},
		{"jsonb[]", []string{`{"{\"a\": 1}"}`, `[{"a":1}]`, `["{\"a\": 1}"]`}},
		{"timestamp with time zone[]", []string{`{"2025-06-01 12:00:00+00"}`, `["2025-06-01T12:00:00Z"]`}},
		{"integer[]", []string{"{}", "[]"}},
	} {
		first := canonical(c.texts[0], c.typ)
		for _, text := range c.texts[1:] {
			if got := canonical(text, c.typ); got != first {
				t.Errorf("%s: %q gives %s, %q gives %s", c.typ, c.texts[0], first, text, got)
			}
		}
	}
}

func TestCanonicalTextsOfDifferentValuesDiffer(t *testing.T) {
	for _, c := range []struct{ typ, a, b string }{
		{"numeric", "1.5", "1.50000000000000000001"},
		{"numeric", "NaN", "0"},
		{"bigint", "9223372036854775807", "9223372036854775806"},
		{"boolean", "t", "f"},
		{"timestamp with time zone", "2025-06-01 12:00:00+00", "2025-06-01 12:00:00.000001+00"},
		{"timestamp with time zone", "2025-06-01 12:00:00+00", "2025-06-01 12:00:00+02"},
		{"timestamp without time zone", "0044-03-15 12:00:00 BC", "0044-03-15 12:00:00"},
		{"timestamp without time zone", "infinity", "-infinity"},
		{"time without time zone", "12:00:00.1", "12:00:00.01"},
		{"bytea", `\x00`, `\x`},
		{"text", "a", "a "},
		{"jsonb", `{"a": 1}`, `{"a": 2}`},
		{"text[]", "{NULL}", `{"NULL"}`},
		{"text[]", `{"a,b"}`, `{a,b}`},
		{"text[]", "{{a,b}}", "{a,b}"},
		{"integer[]", "{1,2}", "{2,1}"},
		{"integer[]", "{}", "{NULL}"},
		{"text[]", "{a}", "{a"},
	} {
		if a, b := canonical(c.a, c.typ), canonical(c.b, c.typ); a == b {
			t.Errorf("%s: %q and %q both give %s", c.typ, c.a, c.b, a)
		}
	}
}
