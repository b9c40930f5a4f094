// Command tidy writes customers in upper case, drops orders of a negative amount
// and makes a row of each tag.
package main

import (
	"bytes"
	"errors"

	"github.com/leat-etl/leat/pdk/go"
)

func init() { pdk.RegisterTransform(plan) }

func main() {}

func plan(in *pdk.PlanInput) (*pdk.Plan, error) {
	id, customer, amount, tags := in.Schema.Column("id"), in.Schema.Column("customer"), in.Schema.Column("amount"), in.Schema.Column("tags")
	if min(id, customer, amount, tags) < 0 {
		return nil, errors.New("this is for tables with the columns id, customer, amount and tags")
	}
	p := pdk.KeepAll(in.Schema)
	p.Filters = true
	p.Rewrite(customer, func(dst, value []byte) ([]byte, error) {
		if len(value) == 0 {
			return nil, errors.New("the customer has no name")
		}
		return append(dst, bytes.ToUpper(value)...), nil
	})
	key := in.Schema.Columns[id]
	key.Key = 0
	tag := p.Compute(pdk.FormatText)
	each := pdk.Table{Table: in.Schema.Table, Columns: []pdk.OutputColumn{
		{Column: key, From: pdk.Pass(id)},
		{Column: pdk.Column{Name: "tag", Format: pdk.FormatText, PG: pdk.Text, Nullable: true}, From: pdk.Computed(tag)},
	}}
	each.Table.Name += "_tags"
	p.Outputs = append(p.Outputs, each)
	money, list := p.Need(amount), p.Need(tags)
	p.Process = func(b *pdk.Batch, o *pdk.Output) error {
		o.Select()
		for row := range b.Len() {
			if v := b.Column(money); v.State(row) == pdk.Value && v.Int64(row) < 0 {
				continue
			}
			o.Emit(row, 0)
			o.Column(tag).AppendNull()
			if v := b.Column(list); v.State(row) == pdk.Value {
				for one := range bytes.SplitSeq(v.Bytes(row), []byte(",")) {
					o.Emit(row, 1)
					o.Column(tag).AppendBytes(one)
				}
			}
		}
		return nil
	}
	return p, nil
}
