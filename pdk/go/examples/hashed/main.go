// Command hashed hashes a text column regardless of case and drops the rows that
// a condition does not hold for. Kernels of the host do both: no cell enters the
// plugin.
package main

import (
	"fmt"

	"github.com/leat-etl/leat/pdk/go"
)

type config struct {
	Column string `json:"column"`
	Where  string `json:"where"`
}

func init() { pdk.RegisterTransform(plan) }

func main() {}

func plan(in *pdk.PlanInput) (*pdk.Plan, error) {
	var c config
	if err := in.Config(&c); err != nil {
		return nil, err
	}
	i := in.Schema.Column(c.Column)
	if i < 0 || in.Schema.Columns[i].Format != pdk.FormatText {
		return nil, fmt.Errorf("table %s has no text column %s", in.Schema.Table.Name, c.Column)
	}
	p := pdk.KeepAll(in.Schema)
	p.RewriteByKernel(i, "case", map[string]string{"to": "lower"})
	p.RewriteByKernel(i, "hash", map[string]string{"algorithm": "md5"})
	p.Choose(0, "expression", map[string]string{"source": c.Where, "as": pdk.FormatBool}, pdk.AllColumns(in.Schema)...)
	return p, nil
}
