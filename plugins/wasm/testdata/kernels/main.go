// Command kernels turns a text around and has the host run a kernel on it.
package main

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/leat-etl/leat/pdk/go"
)

func init() { pdk.RegisterTransform(plan) }

func main() {}

func plan(in *pdk.PlanInput) (*pdk.Plan, error) {
	var c struct {
		Column     int             `json:"column"`
		Kernel     string          `json:"kernel"`
		Parameters json.RawMessage `json:"parameters"`
	}
	if err := in.Config(&c); err != nil {
		return nil, err
	}
	p := pdk.KeepAll(in.Schema)
	column := in.Schema.Columns[c.Column]
	input, out := p.Need(c.Column), p.Compute(pdk.FormatText)
	p.Outputs[0].Columns[c.Column].From = pdk.Computed(out)
	p.Process = func(b *pdk.Batch, o *pdk.Output) error {
		turned := pdk.NewColumn(pdk.FormatText)
		for row := range b.Len() {
			v := b.Column(input)
			put(turned, v, row, func(dst []byte) []byte {
				value := []byte(v.String(row))
				slices.Reverse(value)
				return append(dst, value...)
			})
		}
		r, err := pdk.RunKernel(c.Kernel, c.Parameters, pdk.KernelColumn{Column: column, View: turned.View()})
		if err != nil {
			return err
		}
		if r.Format != pdk.FormatText {
			return fmt.Errorf("the result has format %s", r.Format)
		}
		for _, f := range r.Failed {
			o.Fail(f.Row, f.Message)
		}
		for row := range b.Len() {
			put(o.Column(out), &r.View, row, func(dst []byte) []byte { return append(dst, r.View.Bytes(row)...) })
		}
		return nil
	}
	return p, nil
}

// put appends what is made of a value, and null or absent as they are.
func put(to *pdk.ColumnBuilder, v *pdk.View, row int, value func(dst []byte) []byte) {
	switch v.State(row) {
	case pdk.IsNull:
		to.AppendNull()
	case pdk.Absent:
		to.AppendAbsent()
	default:
		to.AppendWith(func(dst []byte) ([]byte, error) { return value(dst), nil })
	}
}
