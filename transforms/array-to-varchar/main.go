// Command array-to-varchar turns every array column into varchar.
package main

import (
	"fmt"
	"strings"

	"github.com/leat-etl/leat/pdk/go"
)

// config is the plugin's configuration; plugin.toml describes it.
type config struct {
	Format string `json:"format"`
}

func init() { pdk.RegisterTransform(plan) }

func main() {}

func plan(in *pdk.PlanInput) (*pdk.Plan, error) {
	c := config{Format: "json"}
	if err := in.Config(&c); err != nil {
		return nil, err
	}
	if c.Format != "json" && c.Format != "postgres" {
		return nil, fmt.Errorf("format: %q is not json or postgres", c.Format)
	}
	p := pdk.KeepAll(in.Schema)
	for i := range in.Schema.Columns {
		column := &in.Schema.Columns[i]
		if !isArray(column.PG) {
			continue
		}
		if column.Format != pdk.FormatText {
			return nil, fmt.Errorf("column %q: an array arrives in format %q, expected PostgreSQL text", column.Name, column.Format)
		}
		p.Outputs[0].Columns[i].PG = pdk.Varchar
		if c.Format == "json" {
			style := styleOf(column.PG)
			p.Rewrite(i, func(dst, value []byte) ([]byte, error) { return appendJSON(dst, value, style) })
		}
	}
	return p, nil
}

func isArray(t pdk.PGType) bool { return t.Kind == "a" || strings.HasSuffix(t.Name, "[]") }

// style says how the elements of an array are written in JSON, and what parts
// them: a semicolon for box, a comma for every other type.
type style struct {
	kind  elementKind
	comma byte
}

type elementKind byte

const (
	quoted elementKind = iota
	number
	boolean
)

// styleOf goes by the name of the element type, which is the array's without
// [] or, in pg_type's own spelling, without the leading underscore.
func styleOf(t pdk.PGType) style {
	name := strings.TrimSuffix(t.Name, "[]")
	if name == t.Name {
		name = strings.TrimPrefix(name, "_")
	}
	name = strings.TrimPrefix(name, "pg_catalog.")
	name, _, _ = strings.Cut(name, "(")
	s := style{comma: ','}
	switch name {
	case "int2", "int4", "int8", "smallint", "integer", "bigint", "float4", "float8", "real", "double precision", "numeric", "oid":
		s.kind = number
	case "bool", "boolean":
		s.kind = boolean
	case "box":
		s.comma = ';'
	}
	return s
}
