// Package workbench is what the author of a plugin works with: it runs the
// cases beside a plugin and those of the host's own, and measures what the
// plugin costs.
package workbench

import (
	"context"
	"errors"
	"fmt"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/wasm"
	"github.com/leat-etl/leat/plugins/workbench/golden"
	"github.com/leat-etl/leat/plugins/workbench/property"
	"github.com/leat-etl/leat/plugins/workbench/textbatch"
)

// Report says how a plugin did in its tests.
type Report struct {
	Plugin string `json:"plugin"`
	// Seed makes the same cases of the host's own again.
	Seed    uint64   `json:"seed"`
	Results []Result `json:"results"`
}

// Result is one case.
type Result struct {
	// Group is the file of the case, or the table that the host's own are about.
	Group  string `json:"group"`
	Case   string `json:"case"`
	Passed bool   `json:"passed"`
	// Detail is what came out otherwise than it had to.
	Detail string `json:"detail,omitempty"`
}

// Failed is the number of cases that did not pass.
func (r *Report) Failed() int {
	n := 0
	for _, one := range r.Results {
		if !one.Passed {
			n++
		}
	}
	return n
}

func (r *Report) add(group, name string, err error) {
	one := Result{Group: group, Case: name, Passed: err == nil}
	if err != nil {
		one.Detail = err.Error()
	}
	r.Results = append(r.Results, one)
}

// Test runs the cases of the folder dir against b, and those of the host's
// own. The error is that something else went wrong.
func Test(ctx context.Context, h *wasm.Host, b *bundle.Bundle, dir string, seed uint64) (*Report, error) {
	files, err := golden.Load(dir)
	if err != nil {
		return nil, err
	}
	r := &Report{Plugin: b.Manifest.Ref().String(), Seed: seed}
	if b.Manifest.Kind == bundle.Destination {
		return r, r.testDestination(ctx, h, b, files)
	}
	return r, r.testTransform(ctx, h, b, files)
}

func (r *Report) testTransform(ctx context.Context, h *wasm.Host, b *bundle.Bundle, files []*golden.File) error {
	for _, f := range files {
		for i := range f.Cases {
			r.add(f.Name(), f.Cases[i].Name, golden.Transform(ctx, h, b, f, &f.Cases[i]))
		}
	}
	subjects, err := subjectsOf(b, files)
	if err != nil {
		return err
	}
	for _, s := range subjects {
		problems, err := property.Transform(ctx, h, b, s, r.Seed)
		if err != nil {
			return err
		}
		for _, p := range problems {
			r.add(s.Name, p.Batch, errors.New(p.Detail))
		}
		if len(problems) == 0 {
			r.add(s.Name, "cases of the host's own", nil)
		}
	}
	return nil
}

// everyType is a table for plugins whose author has written no case: a column
// of each type.
var everyType = []string{
	"id bigint key", "text text", "flag boolean", "small smallint", "number integer", "big bigint", "oid oid", "real real", "double float8",
	"price numeric(12,2)", "wide numeric(60,20)", "free numeric", "bytes bytea", "day date", "hour time", "moment timestamp", "instant timestamptz",
	"uuid uuid", "doc jsonb", "span interval", "list int4[]", "words text[]",
}

// subjectsOf are the tables and settings to try: those of the author's cases,
// as they are and with a column of each type besides.
func subjectsOf(b *bundle.Bundle, files []*golden.File) ([]property.Subject, error) {
	var out []property.Subject
	seen := map[string]bool{}
	for _, f := range files {
		for i := range f.Cases {
			c := &f.Cases[i]
			key := fmt.Sprint(c.Table, c.Columns, string(c.Settings()))
			if c.Error != "" || seen[key] || bundle.ValidateConfig(b.Manifest, c.Settings()) != nil {
				continue
			}
			seen[key] = true
			s, err := c.Schema()
			if err != nil {
				return nil, err
			}
			var samples []*textbatch.Grid
			for _, text := range c.Inputs {
				if g, err := textbatch.Parse(text); err == nil {
					samples = append(samples, g)
				}
			}
			plugin, err := golden.PluginOf(b, c)
			if err != nil {
				return nil, err
			}
			out = append(out,
				property.Subject{Name: c.Table + " as in " + quoted(c.Name), Schema: s, Plugin: plugin, Samples: samples},
				property.Subject{Name: c.Table + " with every type, as in " + quoted(c.Name), Schema: widened(s), Plugin: plugin, Samples: samples})
		}
	}
	if out != nil {
		return out, nil
	}
	s, err := textbatch.ParseSchema("public.every_type", everyType)
	if err != nil {
		return nil, err
	}
	bare := golden.Bare
	if bundle.ValidateConfig(b.Manifest, bare.Settings()) != nil {
		return nil, nil // it takes settings, and there is no case that shows some
	}
	plugin, err := golden.PluginOf(b, &bare)
	return []property.Subject{{Name: "a table with every type", Schema: s, Plugin: plugin}}, err
}

func quoted(s string) string { return `"` + s + `"` }

// widened is a schema with a column of each type added.
func widened(s *batch.Schema) *batch.Schema {
	all, err := textbatch.ParseSchema("public.every_type", everyType)
	if err != nil {
		panic(err) // a programming error
	}
	out := &batch.Schema{Table: s.Table, Version: s.Version, Columns: append([]batch.Column{}, s.Columns...)}
	for _, c := range all.Columns[1:] {
		c.Name = "also_" + c.Name
		c.ID += 1000
		out.Columns = append(out.Columns, c)
	}
	return out
}
