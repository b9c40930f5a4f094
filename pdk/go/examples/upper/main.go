// Command upper writes the ASCII letters of a text column in upper case.
package main

import (
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
	p.Rewrite(i, upper)
	return p, nil
}

func upper(dst, value []byte) ([]byte, error) {
	from := len(dst)
	dst = append(dst, value...)
	for i, c := range dst[from:] {
		if c >= 'a' && c <= 'z' {
			dst[from+i] = c - 32
		}
	}
	return dst, nil
}
