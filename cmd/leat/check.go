package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/engine/postgres"
)

func (p *program) checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE",
		Short: "Test the connection and every prerequisite at the source",
		Long: `Check looks at everything that the source must have for the pipeline to run:
what was found, whether it will do, and the statement or the line of a
configuration file that mends it. It changes nothing.`,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := p.load(args[0])
			if err != nil {
				return err
			}
			report, err := engine.Check(cmd.Context(), s)
			if err != nil {
				return err
			}
			if p.json {
				err = json.NewEncoder(p.out).Encode(report)
			} else {
				p.printReport(report)
			}
			if err == nil && !report.OK() {
				return errReported(exitSource)
			}
			return err
		},
	}
}

var marks = map[postgres.Outcome]string{postgres.OK: "ok     ", postgres.Warn: "warn   ", postgres.Fail: "FAIL   ", postgres.Unknown: "unknown"}

func (p *program) printReport(r *postgres.Report) {
	failed := 0
	for _, i := range r.Items {
		name := i.Name
		if i.Object != "" {
			name += " " + i.Object
		}
		fmt.Fprintf(p.out, "%s  %s: %s\n", marks[i.Outcome], name, i.Found)
		if i.Outcome == postgres.OK {
			continue
		}
		if i.Outcome == postgres.Fail {
			failed++
		}
		if i.Code != 0 || i.SQLState != "" {
			fmt.Fprintf(p.out, "         code %d, SQLSTATE %s\n", i.Code, i.SQLState)
		}
		for _, c := range i.Causes {
			fmt.Fprintf(p.out, "         possible cause: %s\n", c)
		}
		if i.Fix != "" {
			fmt.Fprintf(p.out, "         fix: %s\n", strings.ReplaceAll(i.Fix, "\n", "\n              "))
		}
	}
	if r.OK() {
		fmt.Fprintln(p.out, "everything that the pipeline needs is there")
		return
	}
	fmt.Fprintf(p.out, "%d of %d checks failed\n", failed, len(r.Items))
}
