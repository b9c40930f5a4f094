// Command filter keeps the rows for which a condition holds.
package main

import (
	"errors"

	"github.com/leat-etl/leat/pdk/go"
)

// config is the plugin's configuration; config.schema.json describes it.
type config struct {
	Where string `json:"where"`
}

func init() { pdk.RegisterTransform(plan) }

func main() {}

func plan(in *pdk.PlanInput) (*pdk.Plan, error) {
	var c config
	if err := in.Config(&c); err != nil {
		return nil, err
	}
	if c.Where == "" {
		return nil, errors.New(`where: give a condition, such as "total > 100"`)
	}
	p := pdk.KeepAll(in.Schema)
	p.Choose(0, "expression", map[string]string{"source": c.Where, "as": pdk.FormatBool}, pdk.AllColumns(in.Schema)...)
	return p, nil
}
