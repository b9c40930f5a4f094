package engine

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/engine/spec"
	"github.com/leat-etl/leat/plugins/capability"
	"github.com/leat-etl/leat/plugins/wasm"
)

// planFix is what mostly mends a transform that has no plan for a table.
const planFix = "Correct the config of the plugin, or name the tables that it is for: tables = [\"schema.table\"] in its [[transforms]] section; leat plugin info NAME shows the settings."

// tryPlans has every selected table planned as the pipeline would, and says for
// which of them a transform or the destination has no plan.
func (c *pluginCheck) tryPlans(ctx context.Context, p *plugins, d *wasm.Destination) error {
	schemas, err := selectedSchemas(ctx, c.spec)
	if err != nil {
		return err
	}
	chain := newChain(p, Databases(c.spec), c.spec.Values)
	chain.replan(d)
	for _, s := range schemas {
		s.Version = math.MaxInt64 // later than what the destination has been given
		chain.Announce(s)
	}
	planned := 0
	for _, s := range schemas {
		_, err := chain.plan(ctx, s)
		var refused *capability.Error
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			planned++
		case errors.As(err, &refused):
			item := postgres.Item{Name: CheckDestination, Object: s.Table.String()}
			c.refused(&item, err)
			c.Items = append(c.Items, item)
		default:
			c.Items = append(c.Items, postgres.Item{Name: CheckPlugin, Object: s.Table.String(), Found: err.Error(), Outcome: postgres.Fail, Fix: planFix})
		}
	}
	if len(c.spec.Transforms) > 0 && planned == len(schemas) {
		c.Items = append(c.Items, postgres.Item{Name: CheckPlugin, Object: "plans", Found: fmt.Sprintf("tables that pass the transforms: %d", planned), Outcome: postgres.OK})
	}
	return nil
}

// selectedSchemas are the tables that the pipeline would replicate, however it
// reads them.
func selectedSchemas(ctx context.Context, s *spec.Spec) (out []*batch.Schema, err error) {
	err = eachSource(ctx, s, func(source *postgres.Source) error {
		found, err := schemasAt(ctx, s, source)
		out = append(out, found...)
		return err
	})
	return out, err
}

func schemasAt(ctx context.Context, s *spec.Spec, source *postgres.Source) (out []*batch.Schema, err error) {
	if !s.Queries() {
		tables, err := source.Tables(ctx, selection(s))
		for _, t := range tables {
			if t.Reason == "" {
				out = append(out, t.Schema)
			}
		}
		return out, err
	}
	source.ByQuery = true
	ruleOf, err := rulesOf(s, nil)
	if err != nil {
		return nil, err
	}
	objects, _, _, err := queryables(ctx, s, source, ruleOf)
	for _, o := range objects {
		out = append(out, o.Schema)
	}
	return out, err
}
