// Command convert gives columns other types: it parses and prints numbers and
// times, rounds, moves and cuts times, and turns types of PostgreSQL's own into
// text that others read.
package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/leat-etl/leat/pdk/go"
)

// config is the plugin's configuration; config.schema.json describes it. What
// it asks for is done in the order of its fields.
type config struct {
	Readable []string       `json:"readable"`
	Types    []conversion   `json:"types"`
	Round    map[string]int `json:"round"`
	Times    []adjustment   `json:"times"`
}

type conversion struct {
	Column string `json:"column"`
	Type   string `json:"type"`
	Layout string `json:"layout"`
	Empty  string `json:"empty"`
}

type adjustment struct {
	Column string `json:"column"`
	change
}

// change is as the kernel time takes it.
type change struct {
	Zone     string `json:"zone,omitempty"`
	Months   int    `json:"months,omitempty"`
	Days     int    `json:"days,omitempty"`
	Shift    string `json:"shift,omitempty"`
	Truncate string `json:"truncate,omitempty"`
}

func init() { pdk.RegisterTransform(plan) }

func main() {}

func plan(in *pdk.PlanInput) (*pdk.Plan, error) {
	var c config
	if err := in.Config(&c); err != nil {
		return nil, err
	}
	if len(c.Readable)+len(c.Types)+len(c.Round)+len(c.Times) == 0 {
		return nil, errors.New("give at least one of readable, types, round and times")
	}
	p := pdk.KeepAll(in.Schema)
	for i := range in.Schema.Columns {
		c.makeReadable(p, i)
	}
	for _, t := range c.Types {
		if err := t.convert(in.Schema, p); err != nil {
			return nil, err
		}
	}
	for i := range p.Outputs[0].Columns { // in the order of the table, not of the map
		if digits, ok := c.Round[p.Outputs[0].Columns[i].Name]; ok {
			if err := round(p, i, digits); err != nil {
				return nil, err
			}
		}
	}
	for name := range c.Round {
		if in.Schema.Column(name) < 0 {
			return nil, missing(in.Schema, name)
		}
	}
	for _, t := range c.Times {
		if err := t.adjust(in.Schema, p); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func missing(s *pdk.Schema, name string) error {
	return fmt.Errorf("table %s has no column %q", s.Table.Name, name)
}

// forms are the kernels that print types of PostgreSQL's own.
var forms = map[string]string{
	"interval": "interval-iso",
	"point":    "geojson", "lseg": "geojson", "box": "geojson", "path": "geojson", "polygon": "geojson",
}

// makeReadable prints column i if it is of one of the kinds that are asked for.
func (c *config) makeReadable(p *pdk.Plan, i int) {
	column := &p.Outputs[0].Columns[i]
	name := column.PG.Name
	kernel := forms[name]
	switch {
	case column.PG.Kind == "a" || strings.HasSuffix(name, "[]"):
		kernel = "array-json"
	case column.PG.Kind == "r" || column.PG.Kind == "m" || strings.HasSuffix(name, "range"):
		kernel = "range-json"
	}
	kind := map[string]string{"array-json": "arrays", "range-json": "ranges", "interval-iso": "intervals", "geojson": "geometry"}[kernel]
	for _, asked := range c.Readable {
		if asked == kind && column.Format == pdk.FormatText {
			p.RewriteByKernel(i, kernel, nil)
			column.PG = pdk.Text
			return
		}
	}
}

func (t *conversion) convert(s *pdk.Schema, p *pdk.Plan) error {
	i := s.Column(t.Column)
	if i < 0 {
		return missing(s, t.Column)
	}
	to, err := pdk.ParseType(t.Type)
	if err != nil {
		return fmt.Errorf("column %q: %w", t.Column, err)
	}
	column := &p.Outputs[0].Columns[i]
	parameters := map[string]string{"to": to.Format}
	if t.Layout != "" {
		parameters["layout"] = t.Layout
	}
	if t.Empty != "" {
		parameters["empty"] = t.Empty
	}
	p.RewriteByKernel(i, "cast", parameters)
	column.Format, column.PG = to.Format, to.PG
	if t.Empty == "null" {
		if column.Key > 0 {
			return fmt.Errorf("column %q is part of the key, which cannot be null", t.Column)
		}
		column.Nullable = true
	}
	return nil
}

// round announces the type that the kernel gives.
func round(p *pdk.Plan, i, digits int) error {
	column := &p.Outputs[0].Columns[i]
	if precision, scale, ok := pdk.ParseDecimal(column.Format); ok && digits < scale {
		limit := 38
		if precision > 38 {
			limit = 76
		}
		precision = min(limit, precision-scale+digits+1)
		column.PG = pdk.NumericType(precision, digits)
		if column.Format = fmt.Sprintf("d:%d,%d", precision, digits); limit == 76 {
			column.Format += ",256"
		}
	} else if column.Format == pdk.FormatText && column.PG.Name != "numeric" {
		return fmt.Errorf("column %q has type %s, which has nothing to round: give it a type first", column.Name, column.PG.Name)
	}
	p.RewriteByKernel(i, "round", map[string]int{"digits": digits})
	return nil
}

func (t adjustment) adjust(s *pdk.Schema, p *pdk.Plan) error {
	i := s.Column(t.Column)
	if i < 0 {
		return missing(s, t.Column)
	}
	column := &p.Outputs[0].Columns[i]
	p.RewriteByKernel(i, "time", t.change)
	if t.Zone != "" {
		local, err := pdk.ParseType("timestamp")
		if err != nil {
			return err
		}
		column.Format, column.PG = local.Format, local.PG
	}
	return nil
}
