// Command shout is a test guest: it writes the text column that is called name
// in upper case. Its variants, set when it is built with -X main.variant=...,
// differ in single values.
package main

import (
	"bytes"
	"errors"

	"github.com/leat-etl/leat/pdk/go"
)

var variant = "live"

func init() { pdk.RegisterTransform(plan) }

func main() {}

func plan(in *pdk.PlanInput) (*pdk.Plan, error) {
	p := pdk.KeepAll(in.Schema)
	if i := in.Schema.Column("name"); i >= 0 {
		p.Rewrite(i, shout)
	}
	return p, nil
}

func shout(dst, value []byte) ([]byte, error) {
	switch text := string(value); {
	case text == "trap" && variant == "candidate":
		panic("shout meets a trap")
	case text == "refused by "+variant:
		return dst, errors.New("shout does not like it")
	case text == "quiet" && variant == "candidate":
		return append(dst, value...), nil
	}
	return append(dst, bytes.ToUpper(value)...), nil
}
