// Command rows is a transform for the host's tests. Build line:
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -ldflags "-s -w" -o rows.wasm ./plugins/wasm/testdata/rows
//
// Its config names what it does with a table whose first column is a bigint id
// and whose second is a text: "echo" every column, "filter" odd ids, "route"
// odd ids to another table, "explode" each row by the letters of its text,
// "fail" and "panic" at id 3, "exhaust" the memory, "nothing" at all.
package main

import (
	"errors"
	"fmt"

	"github.com/leat-etl/leat/pdk/go"
)

type config struct {
	Mode string `json:"mode"`
}

func init() { pdk.RegisterTransform(plan) }

func main() {}

func plan(in *pdk.PlanInput) (*pdk.Plan, error) {
	var c config
	if err := in.Config(&c); err != nil {
		return nil, err
	}
	p := pdk.KeepAll(in.Schema)
	id := p.Need(0)
	switch c.Mode {
	case "echo":
		echoAll(p, in.Schema)
	case "nothing":
		p.Compute(pdk.FormatText)
		p.Process = func(b *pdk.Batch, o *pdk.Output) error {
			for range b.Len() {
				o.Column(0).AppendString("")
			}
			return nil
		}
	case "filter":
		p.Filters = true
		p.Process = func(b *pdk.Batch, o *pdk.Output) error {
			return pdk.EachRow(b, o, func(r *pdk.Row) error {
				if r.Int64(id).Or(0)%2 != 0 {
					r.Drop()
				}
				return nil
			})
		}
	case "route":
		odd := p.Outputs[0]
		odd.Table.Name += "_odd"
		p.Outputs = append(p.Outputs, odd)
		p.Process = func(b *pdk.Batch, o *pdk.Output) error {
			return pdk.EachRow(b, o, func(r *pdk.Row) error {
				r.Route(int(r.Int64(id).Or(0) % 2))
				return nil
			})
		}
	case "explode":
		explode(p)
	case "fail", "panic", "exhaust":
		text := p.Need(1)
		out := p.Compute(pdk.FormatText)
		p.Outputs[0].Columns[1].From = pdk.Computed(out)
		p.Process = func(b *pdk.Batch, o *pdk.Output) error {
			return pdk.EachRow(b, o, func(r *pdk.Row) error { return spoil(c.Mode, r, id, text, out) })
		}
	default:
		return nil, fmt.Errorf("mode %q is unknown", c.Mode)
	}
	return p, nil
}

func spoil(mode string, r *pdk.Row, id, text, out int) error {
	v := r.Text(text).Or("none")
	r.SetText(out, "<"+v+">")
	if r.Int64(id).Or(0) != 3 {
		return nil
	}
	switch mode {
	case "fail":
		return errors.New("three is refused")
	case "exhaust":
		var all [][]byte
		for {
			all = append(all, make([]byte, 1<<20))
		}
	}
	var none map[string]int
	none["x"] = 1
	return nil
}

// echoAll computes a copy of every column.
func echoAll(p *pdk.Plan, s *pdk.Schema) {
	type pair struct{ in, out int }
	var pairs []pair
	for i, c := range s.Columns {
		k := p.Compute(c.Format)
		pairs = append(pairs, pair{p.Need(i), k})
		p.Outputs[0].Columns[i].From = pdk.Computed(k)
	}
	p.Process = func(b *pdk.Batch, o *pdk.Output) error {
		for i, x := range pairs {
			echo(b.Column(x.in), o.Column(x.out), s.Columns[i].Format)
		}
		return nil
	}
}

func echo(v *pdk.View, c *pdk.ColumnBuilder, format string) {
	for row := range v.Len() {
		switch v.State(row) {
		case pdk.IsNull:
			c.AppendNull()
			continue
		case pdk.Absent:
			c.AppendAbsent()
			continue
		}
		switch format {
		case pdk.FormatBool:
			c.AppendBool(v.Bool(row))
		case pdk.FormatInt16:
			c.AppendInt16(v.Int16s()[row])
		case pdk.FormatInt32, pdk.FormatDate:
			c.AppendInt32(v.Int32s()[row])
		case pdk.FormatUint32:
			c.AppendInt32(int32(v.Uint32s()[row]))
		case pdk.FormatInt64, pdk.FormatTime, pdk.FormatTimestamp, pdk.FormatTimestampTZ:
			c.AppendInt64(v.Int64(row))
		case pdk.FormatFloat32:
			c.AppendFloat32(v.Float32s()[row])
		case pdk.FormatFloat64:
			c.AppendFloat64(v.Float64(row))
		case pdk.FormatText:
			c.AppendString(v.String(row))
		case pdk.FormatBinary:
			c.AppendBytes(v.Bytes(row))
		default:
			c.AppendFixed(v.Bytes(row))
		}
	}
}

// explode makes a row for each letter of the text.
func explode(p *pdk.Plan) {
	p.Filters = true
	text, out := p.Need(1), p.Compute(pdk.FormatText)
	p.Outputs[0].Columns[1].From = pdk.Computed(out)
	p.Process = func(b *pdk.Batch, o *pdk.Output) error {
		o.Select()
		v, c := b.Column(text), o.Column(out)
		for row := range b.Len() {
			if v.State(row) != pdk.Value {
				o.Emit(row, 0)
				c.AppendAbsent()
				continue
			}
			for _, letter := range v.String(row) {
				o.Emit(row, 0)
				c.AppendString(string(letter))
			}
		}
		return nil
	}
}
