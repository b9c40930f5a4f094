// Command shout is a test guest: it writes the text column that is called name
// in upper case. Its variants, set when it is built with -X main.variant=...,
// differ in single values; the broken one does not come to an end with some,
// and cannot plan some tables.
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
	if variant == "broken" && in.Schema.Column("unplanned") >= 0 {
		return nil, errors.New("shout has no plan")
	}
	if variant == "broken" && in.Schema.Column("outside") >= 0 {
		p.Outputs[0].Columns[0].From = pdk.Pass(99)
	}
	if i := in.Schema.Column("name"); i >= 0 {
		p.Rewrite(i, shout)
	}
	return p, nil
}

// hoard keeps what the broken variant takes.
var hoard [][]byte

func shout(dst, value []byte) ([]byte, error) {
	if variant == "broken" {
		switch string(value) {
		case "loop":
			for {
			}
		case "hoard":
			for {
				hoard = append(hoard, make([]byte, 1<<20))
			}
		case "trap":
			panic("shout meets a trap")
		}
	}
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
