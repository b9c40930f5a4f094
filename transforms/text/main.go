// Command text changes texts: it trims, replaces, cuts and sets the case.
package main

import (
	"errors"
	"fmt"

	"github.com/leat-etl/leat/pdk/go"
)

// config is the plugin's configuration; config.schema.json describes it. What
// it asks for is done in the order of its fields.
type config struct {
	Columns   []string      `json:"columns"`
	Trim      bool          `json:"trim"`
	Replace   []replacement `json:"replace"`
	Substring *substring    `json:"substring"`
	Case      string        `json:"case"`
	Language  string        `json:"language"`
}

// replacement has either find, a text, or pattern, a regular expression.
type replacement struct {
	Find    string `json:"find"`
	Pattern string `json:"pattern"`
	With    string `json:"with"`
}

type substring struct {
	From   *int `json:"from,omitempty"`
	Length *int `json:"length,omitempty"`
}

func init() { pdk.RegisterTransform(plan) }

func main() {}

func plan(in *pdk.PlanInput) (*pdk.Plan, error) {
	var c config
	if err := in.Config(&c); err != nil {
		return nil, err
	}
	if len(c.Columns) == 0 || !c.Trim && len(c.Replace) == 0 && c.Substring == nil && c.Case == "" {
		return nil, errors.New("name columns, and at least one of trim, replace, substring and case")
	}
	if c.Language != "" && c.Case == "" {
		return nil, errors.New("language: it is for case")
	}
	p := pdk.KeepAll(in.Schema)
	for _, name := range c.Columns {
		i := in.Schema.Column(name)
		if i < 0 {
			return nil, fmt.Errorf("table %s has no column %q", in.Schema.Table.Name, name)
		}
		column := &p.Outputs[0].Columns[i]
		if column.Format != pdk.FormatText {
			return nil, fmt.Errorf("column %q has type %s: text works on text columns", name, column.PG.Name)
		}
		if err := c.change(p, i); err != nil {
			return nil, err
		}
		column.PG = pdk.Text // a length may no longer hold
	}
	return p, nil
}

// change adds the kernels of one column.
func (c *config) change(p *pdk.Plan, i int) error {
	if c.Trim {
		p.RewriteByKernel(i, "trim", nil)
	}
	for k, r := range c.Replace {
		switch {
		case (r.Find == "") == (r.Pattern == ""):
			return fmt.Errorf("replace[%d]: give either find or pattern", k)
		case r.Find != "":
			p.RewriteByKernel(i, "replace", map[string]string{"find": r.Find, "with": r.With})
		default:
			p.RewriteByKernel(i, "regex", map[string]string{"pattern": r.Pattern, "action": "replace", "with": r.With})
		}
	}
	if c.Substring != nil {
		p.RewriteByKernel(i, "substring", c.Substring)
	}
	if c.Case == "" {
		return nil
	}
	parameters := map[string]string{"to": c.Case}
	if c.Language != "" {
		parameters["language"] = c.Language
	}
	p.RewriteByKernel(i, "case", parameters)
	return nil
}
