package main

import (
	"testing"

	"github.com/leat-etl/leat/pdk/go"
)

func schema(key int) *pdk.Schema {
	return &pdk.Schema{Table: pdk.TableID{Database: "shop_eu", Name: "orders"}, Columns: []pdk.Column{{Name: "id", Format: "l", Key: key}}}
}

func TestTheColumnIsAConstant(t *testing.T) {
	for _, c := range []struct {
		config    string
		key, want int
	}{{`{}`, 1, 0}, {`{"key": true}`, 1, 2}, {`{"key": true}`, 0, 0}} {
		p, err := plan(&pdk.PlanInput{Schema: schema(c.key), RawConfig: []byte(c.config)})
		if err != nil {
			t.Fatal(err)
		}
		added := p.Outputs[0].Columns[1]
		if added.Name != "__leat_database_name" || *added.From.Constant != "shop_eu" || added.Key != c.want || len(p.Needs) != 0 {
			t.Errorf("%s: added %+v", c.config, added)
		}
	}
}

func TestATakenNameIsRefused(t *testing.T) {
	if _, err := plan(&pdk.PlanInput{Schema: schema(1), RawConfig: []byte(`{"column": "id"}`)}); err == nil {
		t.Fatal("a second column id was accepted")
	}
}
