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
	var schemas []*batch.Schema
	err := eachSource(ctx, c.spec, func(source *postgres.Source) error {
		found, items, err := selectedAt(ctx, c.spec, source)
		schemas, c.Items = append(schemas, found...), append(c.Items, items...)
		return err
	})
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

// selectedAt are the tables that the pipeline would replicate, however it reads
// them, and what is to be said of those whose load it cannot order.
func selectedAt(ctx context.Context, s *spec.Spec, source *postgres.Source) (out []*batch.Schema, items []postgres.Item, err error) {
	ruleOf, err := rulesOf(s, nil)
	if err != nil {
		return nil, nil, err
	}
	if !s.Queries() {
		tables, err := source.Tables(ctx, selection(s))
		for _, t := range tables {
			if t.Reason != "" {
				continue
			}
			out = append(out, t.Schema)
			if err := orderLoad(source, t, ruleOf(t.ID())); err != nil {
				items = append(items, postgres.Item{Name: "load order", Object: t.ID().String(), Found: causeOf(err), Outcome: postgres.Warn,
					Causes: []string{"The table is loaded in the order of its blocks."}, Fix: fixOf(err)})
			}
		}
		return out, items, err
	}
	source.ByQuery = true
	objects, _, _, err := queryables(ctx, s, source, ruleOf)
	for _, o := range objects {
		out = append(out, o.Schema)
	}
	return out, nil, err
}
