// Command database-name adds a column with the name of the database that a
// row comes from.
package main

import (
	"fmt"

	"github.com/leat-etl/leat/pdk/go"
)

// config is the plugin's configuration; plugin.toml describes it.
type config struct {
	Column string `json:"column"`
	Key    bool   `json:"key"`
}

func init() { pdk.RegisterTransform(plan) }

func main() {}

func plan(in *pdk.PlanInput) (*pdk.Plan, error) {
	c := config{Column: "__leat_database_name"}
	if err := in.Config(&c); err != nil {
		return nil, err
	}
	if in.Schema.Column(c.Column) >= 0 {
		return nil, fmt.Errorf("table %s already has a column %q; choose another name with the option column", in.Schema.Table.Name, c.Column)
	}
	p := pdk.KeepAll(in.Schema)
	added := pdk.Column{Name: c.Column, Format: pdk.FormatText, PG: pdk.Text}
	// A table without identity stays without: the name alone identifies no row.
	if key := in.Schema.Key(); c.Key && len(key) > 0 {
		added.Key = len(key) + 1
	}
	t := &p.Outputs[0]
	t.Columns = append(t.Columns, pdk.OutputColumn{Column: added, From: pdk.Constant(in.Schema.Table.Database)})
	return p, nil
}
