// Command array-to-varchar turns every array column into varchar.
package main

import (
	"fmt"
	"strings"

	"github.com/leat-etl/leat/pdk/go"
)

// config is the plugin's configuration; plugin.toml describes it.
type config struct {
	Format string `json:"format"`
}

func init() { pdk.RegisterTransform(plan) }

func main() {}

func plan(in *pdk.PlanInput) (*pdk.Plan, error) {
	c := config{Format: "json"}
	if err := in.Config(&c); err != nil {
		return nil, err
	}
	if c.Format != "json" && c.Format != "postgres" {
		return nil, fmt.Errorf("format: %q is not json or postgres", c.Format)
	}
	p := pdk.KeepAll(in.Schema)
	for i := range in.Schema.Columns {
		column := &in.Schema.Columns[i]
		if !isArray(column.PG) {
			continue
		}
		if column.Format != pdk.FormatText {
			return nil, fmt.Errorf("column %q: an array arrives in format %q, expected PostgreSQL text", column.Name, column.Format)
		}
		p.Outputs[0].Columns[i].PG = pdk.Varchar
		if c.Format == "json" {
			p.RewriteByKernel(i, "array-json", nil)
			p.Outputs[0].Columns[i].Losses = []string{boundsLoss}
		}
	}
	return p, nil
}

// boundsLoss is what JSON has no form for.
const boundsLoss = `bounds other than from 1 are left out of an array (format = "postgres" keeps them)`

func isArray(t pdk.PGType) bool { return t.Kind == "a" || strings.HasSuffix(t.Name, "[]") }
