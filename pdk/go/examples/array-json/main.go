// Command array-json turns array literals of PostgreSQL, such as
// {1,NULL,"a b"}, into JSON. A row whose literal is broken fails alone.
package main

import (
	"errors"
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
	column := &p.Outputs[0].Columns[i]
	numbers := column.PG.Name == "int2[]" || column.PG.Name == "int4[]" || column.PG.Name == "int8[]"
	column.PG = pdk.Text
	p.Rewrite(i, func(dst, value []byte) ([]byte, error) {
		r := parser{value, 0, dst, numbers}
		if !r.array(1) || r.at != len(value) {
			return nil, errBroken
		}
		return r.out, nil
	})
	return p, nil
}

var errBroken = errors.New("the array literal is broken")

// parser reads a literal and appends JSON to out.
type parser struct {
	in      []byte
	at      int
	out     []byte
	numbers bool
}

func (p *parser) array(depth int) bool {
	if p.at >= len(p.in) || p.in[p.at] != '{' || depth > 6 {
		return false
	}
	p.at++
	p.out = append(p.out, '[')
	if p.at < len(p.in) && p.in[p.at] == '}' {
		p.out = append(p.out, ']')
		p.at++
		return true
	}
	for {
		if p.at >= len(p.in) || !p.element(depth) || p.at >= len(p.in) {
			return false
		}
		c := p.in[p.at]
		p.at++
		if c == '}' {
			p.out = append(p.out, ']')
			return true
		}
		if c != ',' {
			return false
		}
		p.out = append(p.out, ',')
	}
}

func (p *parser) element(depth int) bool {
	switch p.in[p.at] {
	case '{':
		return p.array(depth + 1)
	case '"':
		return p.quoted()
	}
	return p.bare()
}

func (p *parser) quoted() bool {
	p.out = append(p.out, '"')
	for p.at++; p.at < len(p.in) && p.in[p.at] != '"'; p.at++ {
		if p.in[p.at] == '\\' {
			if p.at++; p.at == len(p.in) {
				return false
			}
		}
		p.char(p.in[p.at])
	}
	p.out = append(p.out, '"')
	p.at++
	return p.at <= len(p.in)
}

func (p *parser) bare() bool {
	from := p.at
	for p.at < len(p.in) && p.in[p.at] != ',' && p.in[p.at] != '}' {
		if c := p.in[p.at]; c == '"' || c == '{' || c == '\\' {
			return false
		}
		p.at++
	}
	text := p.in[from:p.at]
	switch {
	case len(text) == 0:
		return false
	case string(text) == "NULL":
		p.out = append(p.out, "null"...)
	case p.numbers && isNumber(text):
		p.out = append(p.out, text...)
	default:
		p.out = append(p.out, '"')
		for _, c := range text {
			p.char(c)
		}
		p.out = append(p.out, '"')
	}
	return true
}

func isNumber(text []byte) bool {
	if text[0] == '-' {
		text = text[1:]
	}
	for _, c := range text {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(text) > 0
}

func (p *parser) char(c byte) {
	if c == '"' || c == '\\' {
		p.out = append(p.out, '\\')
	}
	if c < 0x20 {
		const digits = "0123456789abcdef"
		p.out = append(p.out, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		return
	}
	p.out = append(p.out, c)
}
