// Command fields adds, sets, splits, renames and drops columns.
package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/leat-etl/leat/pdk/go"
)

// config is the plugin's configuration; config.schema.json describes it. What
// it asks for is done in the order of its fields; expressions and splits see the
// columns as they come in.
type config struct {
	Set    []setting         `json:"set"`
	Add    []setting         `json:"add"`
	Split  []split           `json:"split"`
	Drop   []string          `json:"drop"`
	Keep   []string          `json:"keep"`
	Rename map[string]string `json:"rename"`
}

// setting is a column with either a value or an expression.
type setting struct {
	Name       string  `json:"name"`
	Value      *string `json:"value"`
	Expression string  `json:"expression"`
	Type       string  `json:"type"`
}

type split struct {
	Column    string   `json:"column"`
	Separator string   `json:"separator"`
	Into      []string `json:"into"`
	Rest      bool     `json:"rest"`
}

func init() { pdk.RegisterTransform(plan) }

func main() {}

// planner changes the one output of a plan.
type planner struct {
	schema *pdk.Schema
	plan   *pdk.Plan
	table  *pdk.Table
}

func plan(in *pdk.PlanInput) (*pdk.Plan, error) {
	var c config
	if err := in.Config(&c); err != nil {
		return nil, err
	}
	plan := pdk.KeepAll(in.Schema)
	p := &planner{in.Schema, plan, &plan.Outputs[0]}
	for _, s := range c.Set {
		if err := p.set(s); err != nil {
			return nil, fmt.Errorf("set: %w", err)
		}
	}
	for _, s := range c.Add {
		if err := p.add(s); err != nil {
			return nil, fmt.Errorf("add: %w", err)
		}
	}
	for _, s := range c.Split {
		if err := p.split(s); err != nil {
			return nil, fmt.Errorf("split: %w", err)
		}
	}
	if err := p.remove(c.Drop, c.Keep); err != nil {
		return nil, err
	}
	return plan, p.rename(c.Rename)
}

// find returns a column of the output.
func (p *planner) find(name string) (int, error) {
	i := slices.IndexFunc(p.table.Columns, func(c pdk.OutputColumn) bool { return c.Name == name })
	if i < 0 {
		return 0, fmt.Errorf("table %s has no column %q", p.schema.Table.Name, name)
	}
	return i, nil
}

// set gives a column another value of the same type.
func (p *planner) set(s setting) error {
	i, err := p.find(s.Name)
	if err != nil {
		return err
	}
	c := &p.table.Columns[i]
	if c.Key > 0 {
		return fmt.Errorf("column %q is part of the key: a delete has the key alone, so that it cannot be computed", s.Name)
	}
	if s.Type != "" {
		return fmt.Errorf("column %q keeps its type; add a column of another type and drop this one", s.Name)
	}
	c.Nullable = true
	c.From, err = p.value(s, c.Column)
	return err
}

func (p *planner) add(s setting) error {
	if _, err := p.find(s.Name); err == nil {
		return fmt.Errorf("table %s already has a column %q: set changes it", p.schema.Table.Name, s.Name)
	}
	if s.Type == "" {
		s.Type = "text"
	}
	c, err := pdk.ParseType(s.Type)
	if err != nil {
		return fmt.Errorf("column %q: %w", s.Name, err)
	}
	c.Name = s.Name
	from, err := p.value(s, c)
	p.table.Columns = append(p.table.Columns, pdk.OutputColumn{Column: c, From: from})
	return err
}

// value is what a column is set to.
func (p *planner) value(s setting, c pdk.Column) (pdk.From, error) {
	switch {
	case (s.Value != nil) == (s.Expression != ""):
		return pdk.From{}, fmt.Errorf("column %q: give either value or expression", s.Name)
	case s.Value != nil && c.Format != pdk.FormatText:
		return pdk.From{}, fmt.Errorf("column %q has type %s: a value is text, give an expression", s.Name, c.PG.Name)
	case s.Value != nil:
		return pdk.Constant(*s.Value), nil
	}
	as := c.Format
	_, scale, decimal := pdk.ParseDecimal(c.Format)
	switch {
	case decimal, c.Format == pdk.FormatFloat32:
		as = pdk.FormatFloat64
	case c.Format == pdk.FormatInt16, c.Format == pdk.FormatInt32:
		as = pdk.FormatInt64
	case c.Format == pdk.FormatDate:
		as = pdk.FormatTimestamp
	}
	k := p.plan.Kernel("expression", map[string]string{"source": s.Expression, "as": as}, pdk.AllColumns(p.schema)...)
	if decimal {
		k = p.plan.Kernel("round", map[string]int{"digits": scale}, pdk.Result(k))
	}
	if as != c.Format {
		k = p.plan.Kernel("cast", map[string]string{"to": c.Format}, pdk.Result(k))
	}
	return pdk.FromKernel(k), nil
}

// split adds the parts of a text as columns.
func (p *planner) split(s split) error {
	i := p.schema.Column(s.Column)
	switch {
	case i < 0:
		return fmt.Errorf("table %s has no column %q", p.schema.Table.Name, s.Column)
	case p.schema.Columns[i].Format != pdk.FormatText:
		return fmt.Errorf("column %q has type %s: only text can be split", s.Column, p.schema.Columns[i].PG.Name)
	case len(s.Into) == 0:
		return errors.New("into: name at least one column")
	}
	for part, name := range s.Into {
		if _, err := p.find(name); err == nil {
			return fmt.Errorf("table %s already has a column %q", p.schema.Table.Name, name)
		}
		parameters := map[string]any{"separator": s.Separator, "part": part + 1, "rest": s.Rest && part == len(s.Into)-1}
		k := p.plan.Kernel("split", parameters, pdk.InputColumn(i))
		c := pdk.Column{Name: name, Format: pdk.FormatText, PG: pdk.Text, Nullable: true}
		p.table.Columns = append(p.table.Columns, pdk.OutputColumn{Column: c, From: pdk.FromKernel(k)})
	}
	return nil
}

// remove leaves columns out: those of drop, or all but keep and the key.
func (p *planner) remove(drop, keep []string) error {
	if len(drop) > 0 && len(keep) > 0 {
		return errors.New("give drop or keep, not both")
	}
	for _, name := range slices.Concat(drop, keep) {
		i, err := p.find(name)
		if err != nil {
			return err
		}
		if len(drop) > 0 && p.table.Columns[i].Key > 0 {
			return fmt.Errorf("drop: column %q is part of the key, without which no row is known", name)
		}
	}
	p.table.Columns = slices.DeleteFunc(p.table.Columns, func(c pdk.OutputColumn) bool {
		return slices.Contains(drop, c.Name) || len(keep) > 0 && c.Key == 0 && !slices.Contains(keep, c.Name)
	})
	return nil
}

// rename takes all names at once, so that two columns may swap theirs.
func (p *planner) rename(names map[string]string) error {
	for from, to := range names {
		if to == "" {
			return fmt.Errorf("rename: column %q has no new name", from)
		}
		if _, err := p.find(from); err != nil {
			return fmt.Errorf("rename: %w", err)
		}
	}
	seen := map[string]bool{}
	for i := range p.table.Columns {
		c := &p.table.Columns[i]
		if to := names[c.Name]; to != "" {
			c.Name = to
		}
		if seen[c.Name] {
			return fmt.Errorf("rename: two columns would be called %q", c.Name)
		}
		seen[c.Name] = true
	}
	return nil
}
