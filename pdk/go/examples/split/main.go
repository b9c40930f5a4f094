// Command split makes a row of each word of a text column, in the table
// NAME_words beside the source table. A change of words shows as new rows: use
// it for tables that are only inserted into.
package main

import (
	"bytes"
	"fmt"

	"github.com/leat-etl/leat/pdk/go"
)

type config struct {
	Column string `json:"column"`
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
	text, word := p.Need(i), p.Compute(pdk.FormatText)
	words := pdk.Table{Table: in.Schema.Table}
	words.Table.Name += "_words"
	for _, k := range in.Schema.Key() {
		key := in.Schema.Columns[k]
		key.Key = 0
		words.Columns = append(words.Columns, pdk.OutputColumn{Column: key, From: pdk.Pass(k)})
	}
	words.Columns = append(words.Columns, pdk.OutputColumn{
		Column: pdk.Column{Name: "word", Format: pdk.FormatText, PG: pdk.Text, Nullable: true}, From: pdk.Computed(word)})
	p.Outputs = append(p.Outputs, words)
	p.Process = func(b *pdk.Batch, o *pdk.Output) error {
		split(b.Column(text), o, o.Column(word))
		return nil
	}
	return p, nil
}

func split(v *pdk.View, o *pdk.Output, word *pdk.ColumnBuilder) {
	for row := range v.Len() {
		o.Emit(row, 0)
		word.AppendNull() // the first table takes no word
		if v.State(row) != pdk.Value {
			continue
		}
		for w := range bytes.SplitSeq(v.Bytes(row), []byte(" ")) {
			if len(w) > 0 {
				o.Emit(row, 1)
				word.AppendBytes(w)
			}
		}
	}
}
