// Command filter drops the inserts and updates in which a text column has a
// value.
package main

import (
	"fmt"

	"github.com/leat-etl/leat/pdk/go"
)

type config struct {
	Column string `json:"column"`
	Value  string `json:"value"`
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
	p.Filters = true
	column := p.Need(i)
	p.Process = func(b *pdk.Batch, o *pdk.Output) error {
		o.Select()
		v := b.Column(column)
		for row := range b.Len() {
			if v.State(row) != pdk.Value || v.String(row) != c.Value {
				o.Emit(row, 0)
			}
		}
		return nil
	}
	return p, nil
}
