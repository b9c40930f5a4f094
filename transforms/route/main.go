// Command route sends rows to other tables: under another name, or to several
// by conditions.
package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/leat-etl/leat/pdk/go"
)

// config is the plugin's configuration; config.schema.json describes it.
type config struct {
	Schema string  `json:"schema"`
	Table  string  `json:"table"`
	Routes []route `json:"routes"`
	Rest   *bool   `json:"rest"`
}

// route is where the rows go for which a condition holds.
type route struct {
	Where  string `json:"where"`
	Schema string `json:"schema"`
	Table  string `json:"table"`
}

func init() { pdk.RegisterTransform(plan) }

func main() {}

func plan(in *pdk.PlanInput) (*pdk.Plan, error) {
	c := config{Schema: "{schema}", Table: "{table}"}
	if err := in.Config(&c); err != nil {
		return nil, err
	}
	own, err := name(in.Schema.Table, c.Schema, c.Table)
	if err != nil {
		return nil, err
	}
	if len(c.Routes) == 0 && c.Rest != nil {
		return nil, errors.New("rest: it says what becomes of rows that no route takes, and there are no routes")
	}
	p := pdk.KeepAll(in.Schema)
	columns := p.Outputs[0].Columns
	p.Outputs[0].Table = own
	if len(c.Routes) == 0 {
		return p, nil
	}
	p.Outputs = nil
	var conditions []pdk.KernelInput
	for i, r := range c.Routes {
		if r.Where == "" || r.Table == "" {
			return nil, fmt.Errorf("routes[%d]: where and table are needed", i)
		}
		if r.Schema == "" {
			r.Schema = c.Schema
		}
		to, err := name(in.Schema.Table, r.Schema, r.Table)
		if err != nil {
			return nil, fmt.Errorf("routes[%d]: %w", i, err)
		}
		p.Outputs = append(p.Outputs, pdk.Table{Table: to, Columns: columns})
		p.Choose(i, "expression", map[string]string{"source": r.Where, "as": pdk.FormatBool}, pdk.AllColumns(in.Schema)...)
		conditions = append(conditions, pdk.Result(len(p.Kernels)-1))
	}
	if c.Rest == nil || *c.Rest {
		p.Outputs = append(p.Outputs, pdk.Table{Table: own, Columns: columns})
		p.Choose(len(p.Outputs)-1, "any", map[string]bool{"not": true}, conditions...)
	}
	return p, nil
}

// name fills in the templates of a table.
func name(t pdk.TableID, schema, table string) (pdk.TableID, error) {
	fill := strings.NewReplacer("{database}", t.Database, "{schema}", t.Schema, "{table}", t.Name)
	to := pdk.TableID{Database: t.Database, Schema: fill.Replace(schema), Name: fill.Replace(table)}
	if to.Schema == "" || to.Name == "" {
		return to, errors.New("schema and table cannot be empty")
	}
	return to, nil
}
