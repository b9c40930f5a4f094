package main

import (
	"reflect"
	"strings"
	"testing"

	"github.com/leat-etl/leat/pdk/go"
)

func column(name, format, pg string, typmod int32, key int) pdk.Column {
	return pdk.Column{Name: name, Format: format, PG: pdk.PGType{Name: pg, Typmod: typmod}, Key: key}
}

func TestCommonTypesLoseNothing(t *testing.T) {
	for _, c := range []struct {
		a, b       pdk.Column
		format, pg string
		typmod     int32
	}{
		{column("c", "i", "int4", -1, 0), column("c", "l", "int8", -1, 0), "l", "int8", -1},
		{column("c", "s", "int2", -1, 0), column("c", "i", "int4", -1, 0), "i", "int4", -1},
		{column("c", "d:12,2", "numeric", 12<<16|2+4, 0), column("c", "g", "float8", -1, 0), "u", "text", -1},
		{column("c", "u", "numeric", -1, 0), column("c", "g", "float8", -1, 0), "u", "text", -1},
		{column("c", "u", "numeric", -1, 0), column("c", "l", "int8", -1, 0), "u", "numeric", -1},
		{column("c", "u", "numeric", -1, 0), column("c", "d:12,2", "numeric", 0, 0), "u", "numeric", -1},
		{column("c", "u", "public.mood", -1, 0), column("c", "u", "text", -1, 0), "u", "text", -1},
		{column("c", "u", "int4[]", -1, 0), column("c", "i", "int4", -1, 0), "u", "text", -1},
		{column("c", "tsu:", "timestamp", -1, 0), column("c", "tsu:UTC", "timestamptz", -1, 0), "u", "text", -1},
		{column("c", "d:12,2", "numeric", 0, 0), column("c", "d:10,5", "numeric", 0, 0), "d:15,5", "numeric", 15<<16 | 5 + 4},
		{column("c", "l", "int8", -1, 0), column("c", "d:10,5", "numeric", 0, 0), "d:24,5", "numeric", 24<<16 | 5 + 4},
		{column("c", "d:38,0", "numeric", 0, 0), column("c", "d:38,10", "numeric", 0, 0), "d:48,10,256", "numeric", 48<<16 | 10 + 4},
		{column("c", "d:76,0,256", "numeric", 0, 0), column("c", "d:38,10", "numeric", 0, 0), "u", "numeric", -1},
		{column("c", "f", "float4", -1, 0), column("c", "g", "float8", -1, 0), "g", "float8", -1},
		{column("c", "tdD", "date", -1, 0), column("c", "tsu:", "timestamp", -1, 0), "tsu:", "timestamp", -1},
		{column("c", "tdD", "date", -1, 0), column("c", "tsu:UTC", "timestamptz", -1, 0), "u", "text", -1},
		{column("c", "u", "varchar", 104, 0), column("c", "u", "varchar", 504, 0), "u", "varchar", 504},
		{column("c", "u", "varchar", 104, 0), column("c", "u", "varchar", -1, 0), "u", "varchar", -1},
		{column("c", "u", "varchar", 104, 0), column("c", "u", "text", -1, 0), "u", "text", -1},
		{column("c", "i", "int4", -1, 0), column("c", "u", "text", -1, 0), "u", "text", -1},
		{column("c", "u", "jsonb", -1, 0), column("c", "u", "json", -1, 0), "u", "text", -1},
		{column("c", "i", "int4", -1, 0), column("c", "g", "float8", -1, 0), "u", "text", -1},
		{column("c", "tsu:", "timestamp", 3, 0), column("c", "tsu:", "timestamp", 6, 0), "tsu:", "timestamp", -1},
		{column("c", "u", "int4[]", -1, 0), column("c", "u", "int4[]", -1, 0), "u", "int4[]", -1},
	} {
		for _, got := range []pdk.Column{common(c.a, c.b), common(c.b, c.a)} {
			if got.Format != c.format || got.PG.Name != c.pg || got.PG.Typmod != c.typmod {
				t.Errorf("%s(%d) + %s(%d) = %s %s(%d), want %s %s(%d)", c.a.PG.Name, c.a.PG.Typmod, c.b.PG.Name, c.b.PG.Typmod,
					got.Format, got.PG.Name, got.PG.Typmod, c.format, c.pg, c.typmod)
			}
		}
	}
}

func table(database string, columns ...pdk.Column) *pdk.Schema {
	return &pdk.Schema{Table: pdk.TableID{Database: database, Schema: "public", Name: "orders"}, Columns: columns}
}

func shape(p *pdk.Plan) []pdk.Column {
	var out []pdk.Column
	for _, c := range p.Outputs[0].Columns {
		out = append(out, c.Column)
	}
	return out
}

func TestEverySourceGetsTheSameTable(t *testing.T) {
	eu := table("eu", column("id", "i", "int4", -1, 1), column("vat", "u", "text", -1, 0))
	us := table("us", column("id", "l", "int8", -1, 1), column("state", "u", "varchar", 6, 2))
	asia := table("asia", column("id", "s", "int2", -1, 1))
	schemas := []*pdk.Schema{eu, us, asia}
	var want []pdk.Column
	for i, s := range schemas {
		p, err := plan(&pdk.PlanInput{Schema: s, Peers: append(append([]*pdk.Schema{}, schemas[i+1:]...), schemas[:i]...)})
		if err != nil {
			t.Fatal(err)
		}
		if got := shape(p); want == nil {
			want = got
		} else if !reflect.DeepEqual(got, want) {
			t.Errorf("%s becomes %+v, the first became %+v", s.Table.Database, got, want)
		}
		if len(p.Needs) != 0 || p.Outputs[0].Table.Name != "orders" {
			t.Errorf("%s: plan %+v", s.Table.Database, p)
		}
	}
	if len(want) != 3 || want[0].Name != "id" || want[0].Format != "l" || want[0].Key != 1 || want[2].Name != "state" || want[2].Key != 2 || !want[2].Nullable {
		t.Errorf("merged table is %+v", want)
	}
}

func TestASourceWithoutKeyLeavesTheOthersTheirs(t *testing.T) {
	eu, us := table("eu", column("id", "i", "int4", -1, 1)), table("us", column("id", "i", "int4", -1, 0))
	us.Columns[0].Nullable = true
	p, err := plan(&pdk.PlanInput{Schema: eu, Peers: []*pdk.Schema{us}})
	if err != nil || p.Outputs[0].Columns[0].Key != 1 || p.Outputs[0].Columns[0].Nullable {
		t.Errorf("with a key: %+v, %v", p, err)
	}
	if p, err = plan(&pdk.PlanInput{Schema: us, Peers: []*pdk.Schema{eu}}); err != nil || p.Outputs[0].Columns[0].Key != 0 {
		t.Errorf("without: %+v, %v", p, err)
	}
}

// TestKeysThatDoNotFindTheirRows refuses a table whose deletes lack a column of
// the union key.
func TestKeysThatDoNotFindTheirRows(t *testing.T) {
	eu := table("eu", column("id", "i", "int4", -1, 1), column("revision", "i", "int4", -1, 0))
	us := table("us", column("id", "i", "int4", -1, 2), column("revision", "i", "int4", -1, 1))
	for _, in := range []*pdk.PlanInput{{Schema: eu, Peers: []*pdk.Schema{us}}, {Schema: us, Peers: []*pdk.Schema{eu}}} {
		if _, err := plan(in); err == nil || !strings.Contains(err.Error(), "(revision, id) in database us and (id) in database eu, where revision is a column beside the key") {
			t.Errorf("the plan of %s: %v", in.Schema.Table.Database, err)
		}
	}
	for s, want := range map[*pdk.Schema][]int{eu: {1, 0}, us: {1, 2}} {
		peer := map[*pdk.Schema]*pdk.Schema{eu: us, us: eu}[s]
		p, err := plan(&pdk.PlanInput{Schema: s, Peers: []*pdk.Schema{peer}, RawConfig: []byte(`{"own_keys": true}`)})
		if err != nil {
			t.Fatal(err)
		}
		if got := shape(p); got[0].Key != want[0] || got[1].Key != want[1] {
			t.Errorf("own keys of %s: %+v", s.Table.Database, got)
		}
	}
	us.Columns[1].Key = 0
	us.Columns[0].Key = 1
	if _, err := plan(&pdk.PlanInput{Schema: eu, Peers: []*pdk.Schema{us}}); err != nil {
		t.Error(err)
	}
}

func TestNames(t *testing.T) {
	for _, c := range []struct{ config, want string }{
		{`{"merge": false}`, "eu_orders"},
		{`{"merge": false, "name": "{schema}.{table}@{database}"}`, "public.orders@eu"},
		{`{"name": "all_{table}"}`, "all_orders"},
	} {
		p, err := plan(&pdk.PlanInput{Schema: table("eu", column("id", "i", "int4", -1, 1)), RawConfig: []byte(c.config)})
		if err != nil || p.Outputs[0].Table.Name != c.want {
			t.Errorf("%s: %+v, %v", c.config, p, err)
		}
	}
	for _, config := range []string{`{"name": "{databse}_{table}", "merge": false}`, `{"name": "{database}_{table}"}`, `{"naem": "x"}`} {
		if _, err := plan(&pdk.PlanInput{Schema: table("eu"), RawConfig: []byte(config)}); err == nil {
			t.Errorf("%s was accepted", config)
		}
	}
}

func TestColumnsKeepTheirOwnNumber(t *testing.T) {
	seven := "7"
	eu, us := table("eu", column("id", "i", "int4", -1, 1), column("a", "i", "int4", -1, 0), column("b", "i", "int4", -1, 0)), table("us", column("id", "i", "int4", -1, 1), column("b", "i", "int4", -1, 0))
	for _, s := range []*pdk.Schema{eu, us} {
		for i := range s.Columns {
			s.Columns[i].ID = i + 1
		}
	}
	us.Columns[1].Missing = &seven
	for s, want := range map[*pdk.Schema]map[string]int{eu: {"id": 1, "a": 2, "b": 3}, us: {"id": 1, "a": 0, "b": 2}} {
		peer := map[*pdk.Schema]*pdk.Schema{eu: us, us: eu}[s]
		p, err := plan(&pdk.PlanInput{Schema: s, Peers: []*pdk.Schema{peer}})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range shape(p) {
			if c.ID != want[c.Name] || (c.Missing != nil) != (s == us && c.Name == "b") {
				t.Errorf("%s: column %s has number %d and the missing value %v", s.Table.Database, c.Name, c.ID, c.Missing)
			}
		}
	}
}
