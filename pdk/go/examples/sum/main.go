// Command sum adds two bigint columns into a new one; an overflow fails its row.
package main

import (
	"errors"
	"fmt"

	"github.com/leat-etl/leat/pdk/go"
)

type config struct {
	A    string `json:"a"`
	B    string `json:"b"`
	Into string `json:"into"`
}

func init() { pdk.RegisterTransform(plan) }

func main() {}

var bigint = pdk.PGType{Name: "int8", OID: 20, Typmod: -1, Kind: "b"}

func plan(in *pdk.PlanInput) (*pdk.Plan, error) {
	var c config
	if err := in.Config(&c); err != nil {
		return nil, err
	}
	p := pdk.KeepAll(in.Schema)
	var needs [2]int
	for k, name := range []string{c.A, c.B} {
		i := in.Schema.Column(name)
		if i < 0 || in.Schema.Columns[i].Format != pdk.FormatInt64 {
			return nil, fmt.Errorf("there is no bigint column %s", name)
		}
		needs[k] = p.Need(i)
	}
	out := p.Compute(pdk.FormatInt64)
	p.Outputs[0].Columns = append(p.Outputs[0].Columns, pdk.OutputColumn{
		Column: pdk.Column{Name: c.Into, Format: pdk.FormatInt64, PG: bigint, Nullable: true}, From: pdk.Computed(out)})
	p.Process = func(b *pdk.Batch, o *pdk.Output) error {
		return sum(b.Column(needs[0]), b.Column(needs[1]), o, o.Column(out))
	}
	return p, nil
}

var errRange = errors.New("the sum is out of range for bigint")

func sum(a, b *pdk.View, o *pdk.Output, into *pdk.ColumnBuilder) error {
	for row := range a.Len() {
		switch max(a.State(row), b.State(row)) {
		case pdk.Absent:
			into.AppendAbsent()
			continue
		case pdk.IsNull:
			into.AppendNull()
			continue
		}
		x, y := a.Int64(row), b.Int64(row)
		total := x + y
		if (x > 0) == (y > 0) && (total > 0) != (x > 0) && x != 0 && y != 0 {
			o.Fail(row, errRange.Error())
		}
		into.AppendInt64(total)
	}
	return nil
}
