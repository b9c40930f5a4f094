// Command mask-email keeps the first letter and the domain of an e-mail address.
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
	p.Rewrite(i, mask)
	return p, nil
}

func mask(dst, value []byte) ([]byte, error) {
	at := bytes.LastIndexByte(value, '@')
	if at < 1 || value[0] >= 0x80 { // no address, or no letter of one byte
		return append(dst, "***"...), nil
	}
	dst = append(append(dst, value[0]), "***"...)
	return append(dst, value[at:]...), nil
}
