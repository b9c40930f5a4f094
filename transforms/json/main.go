// Command json takes values out of JSON columns into columns of their own.
package main

import (
	"errors"
	"fmt"

	"github.com/leat-etl/leat/pdk/go"
)

// config is the plugin's configuration; config.schema.json describes it.
type config struct {
	Column string  `json:"column"`
	Fields []field `json:"fields"`
	Drop   bool    `json:"drop"`
}

type field struct {
	Name   string `json:"name"`
	Path   string `json:"path"`
	Type   string `json:"type"`
	Layout string `json:"layout"`
}

func init() { pdk.RegisterTransform(plan) }

func main() {}

func plan(in *pdk.PlanInput) (*pdk.Plan, error) {
	var c config
	if err := in.Config(&c); err != nil {
		return nil, err
	}
	source := in.Schema.Column(c.Column)
	switch {
	case len(c.Fields) == 0:
		return nil, errors.New("fields: name at least one field to take out")
	case source < 0:
		return nil, fmt.Errorf("table %s has no column %q", in.Schema.Table.Name, c.Column)
	case in.Schema.Columns[source].Format != pdk.FormatText:
		return nil, fmt.Errorf("column %q has type %s, which is not JSON", c.Column, in.Schema.Columns[source].PG.Name)
	case c.Drop && in.Schema.Columns[source].Key > 0:
		return nil, fmt.Errorf("column %q is part of the key, without which no row is known", c.Column)
	}
	p := pdk.KeepAll(in.Schema)
	t := &p.Outputs[0]
	for i, f := range c.Fields {
		column, from, err := f.take(p, source)
		if err != nil {
			return nil, fmt.Errorf("fields[%d]: %w", i, err)
		}
		t.Columns = append(t.Columns, pdk.OutputColumn{Column: column, From: from})
	}
	if c.Drop {
		t.Columns = append(t.Columns[:source:source], t.Columns[source+1:]...)
	}
	return p, nil
}

// take adds the kernels of a field.
func (f *field) take(p *pdk.Plan, source int) (pdk.Column, pdk.From, error) {
	if f.Name == "" || f.Path == "" {
		return pdk.Column{}, pdk.From{}, errors.New("name and path are needed")
	}
	if f.Type == "" {
		f.Type = "text"
	}
	column, err := pdk.ParseType(f.Type)
	if err != nil {
		return pdk.Column{}, pdk.From{}, err
	}
	column.Name = f.Name
	as := "text"
	if f.Type == "jsonb" {
		as = "json"
	}
	k := p.Kernel("json-path", map[string]string{"path": f.Path, "as": as}, pdk.InputColumn(source))
	switch {
	case column.Format != pdk.FormatText:
		parameters := map[string]string{"to": column.Format}
		if f.Layout != "" {
			parameters["layout"] = f.Layout
		}
		k = p.Kernel("cast", parameters, pdk.Result(k))
	case f.Layout != "":
		return pdk.Column{}, pdk.From{}, errors.New("layout: it is for date, timestamp and timestamptz")
	}
	return column, pdk.FromKernel(k), nil
}
