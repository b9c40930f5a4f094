package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/engine/server"
	"github.com/leat-etl/leat/engine/spec"
)

// planDDL shows what statements would do, and ends with a code of its own if
// the pipeline would stop at them.
func (p *program) planDDL(ctx context.Context, s *spec.Spec, client *server.Client, ddl string) (err error) {
	var plan *engine.DDLPlan
	if client != nil {
		plan, err = client.PlanDDL(ctx, ddl)
	} else {
		err = p.withPipeline(ctx, s, func(pipeline *engine.Pipeline) error {
			plan, err = pipeline.PlanDDL(ctx, ddl)
			return err
		})
	}
	if err != nil {
		return err
	}
	if p.json {
		err = json.NewEncoder(p.out).Encode(plan)
	} else {
		p.printDDL(plan)
	}
	if err == nil && plan.Stops {
		return errReported(exitChange)
	}
	return err
}

func (p *program) printDDL(plan *engine.DDLPlan) {
	for _, t := range plan.Tables {
		fmt.Fprintf(p.out, "%s\n", t.Source)
		for _, c := range t.Changes {
			fmt.Fprintf(p.out, "  %s: %s\n", strings.ToUpper(c.Policy), c)
		}
		if len(t.Changes) == 0 && t.Reload == "" {
			fmt.Fprintf(p.out, "  nothing that travels changes\n")
		}
		if t.Reload != "" {
			fmt.Fprintf(p.out, "  LOADED AGAIN: %s\n", t.Reload)
		}
		if t.Fault != "" {
			fmt.Fprintf(p.out, "  STOPS: %s\n", t.Fault)
		}
		for _, w := range t.Warnings {
			fmt.Fprintf(p.out, "  note: %s\n", w)
		}
		for _, target := range t.Targets {
			fmt.Fprintf(p.out, "  -> %s\n", target.Table)
			for _, c := range target.Losses {
				fmt.Fprintf(p.out, "     LOSS: %s %s: %s\n", c.Name, c.Type, strings.Join(c.Losses, "; "))
			}
			for _, sql := range target.Statements {
				fmt.Fprintf(p.out, "     %s;\n", hanging(sql, 5))
			}
		}
		fmt.Fprintln(p.out)
	}
	for _, note := range plan.Notes {
		fmt.Fprintf(p.out, "note: %s\n", note)
	}
	verdict := "the pipeline would go on"
	if plan.Stops {
		verdict = "the pipeline would STOP"
	}
	fmt.Fprintf(p.out, "%s would change; %s. Tried on empty copies: whether the rows fit is not known\n", counted(len(plan.Tables), "table"), verdict)
}
