package main

import (
	"testing"

	"github.com/leat-etl/leat/pdk/go"
)

func TestPlanTouchesArraysOnly(t *testing.T) {
	s := &pdk.Schema{Columns: []pdk.Column{
		{Name: "id", Format: "l", PG: pdk.PGType{Name: "int8"}, Key: 1},
		{Name: "tags", Format: "u", PG: pdk.PGType{Name: "text[]", Kind: "a"}},
		{Name: "note", Format: "u", PG: pdk.PGType{Name: "text"}},
	}}
	p, err := plan(&pdk.PlanInput{Schema: s})
	if err != nil {
		t.Fatal(err)
	}
	k := p.Outputs[0].Columns[1].From.Kernel
	if len(p.Needs) != 0 || k == nil || p.Kernels[*k].Name != "array-json" || p.Outputs[0].Columns[1].PG != pdk.Varchar || p.Outputs[0].Columns[2].From.Column == nil || len(p.Outputs[0].Columns[1].Losses) != 1 || p.Outputs[0].Columns[2].Losses != nil {
		t.Fatalf("plan is %+v", p)
	}
	p, err = plan(&pdk.PlanInput{Schema: s, RawConfig: []byte(`{"format": "postgres"}`)})
	if err != nil || len(p.Needs)+len(p.Kernels)+len(p.Outputs[0].Columns[1].Losses) != 0 || p.Outputs[0].Columns[1].PG != pdk.Varchar {
		t.Fatalf("plan with format postgres is %+v, %v", p, err)
	}
	if _, err := plan(&pdk.PlanInput{Schema: s, RawConfig: []byte(`{"fromat": "json"}`)}); err == nil {
		t.Fatal("an unknown option was accepted")
	}
}
