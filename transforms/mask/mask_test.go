package main

import (
	"testing"

	"github.com/leat-etl/leat/pdk/go"
)

var schema = &pdk.Schema{Columns: []pdk.Column{
	{Name: "id", Format: "l", PG: pdk.PGType{Name: "int8"}, Key: 1},
	{Name: "email", Format: "u", PG: pdk.PGType{Name: "varchar", Typmod: 20}},
}}

// run masks one text column of which the second cell is null and the third
// absent.
func run(t *testing.T, config, value string) (*pdk.Plan, pdk.View) {
	t.Helper()
	p, err := plan(&pdk.PlanInput{Schema: schema, RawConfig: []byte(config)})
	if err != nil {
		t.Fatal(err)
	}
	c := pdk.NewColumn(pdk.FormatText)
	c.AppendString(value)
	c.AppendNull()
	c.AppendAbsent()
	b := pdk.NewBatch("IUU", c.View())
	o := pdk.NewOutput(p, b)
	if err := p.Run(b, o); err != nil {
		t.Fatal(err)
	}
	return p, o.Column(0).View()
}

func TestMethods(t *testing.T) {
	for _, c := range []struct{ config, value, want string }{
		{`{"columns": ["email"]}`, "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
		{`{"columns": ["email"], "salt": "ab"}`, "c", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
		{`{"columns": ["email"], "method": "redact"}`, "abc", "***"},
		{`{"columns": ["email"], "method": "redact", "text": ""}`, "abc", ""},
		{`{"columns": ["email"], "method": "keep-domain"}`, "ann@b@example.org", "***@example.org"},
		{`{"columns": ["email"], "method": "keep-domain"}`, "no address", "***"},
	} {
		p, v := run(t, c.config, c.value)
		if got := v.String(0); got != c.want {
			t.Errorf("%s of %q is %q, want %q", c.config, c.value, got, c.want)
		}
		if v.State(1) != pdk.IsNull || v.State(2) != pdk.Absent {
			t.Errorf("%s: null became %v and absent %v", c.config, v.State(1), v.State(2))
		}
		if len(p.Needs) != 1 || p.Outputs[0].Columns[1].PG != pdk.Text {
			t.Errorf("%s: plan %+v", c.config, p)
		}
	}
}

func TestRefusals(t *testing.T) {
	for _, config := range []string{
		`{}`, `{"columns": []}`, `{"columns": ["nobody"]}`, `{"columns": ["id"]}`, `{"columns": ["email"], "method": "rot13"}`, `{"column": "email"}`,
	} {
		if _, err := plan(&pdk.PlanInput{Schema: schema, RawConfig: []byte(config)}); err == nil {
			t.Errorf("%s was accepted", config)
		}
	}
}
