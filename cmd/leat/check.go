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
		Short: "Test the connections and every prerequisite at the source, plugins and destination",
		Long: `Check looks at everything that the pipeline needs to run: the source, the
patterns of its file, the plugins with their settings, what these make of each
table, and the destination, to which it writes in a transaction that it takes
back. It says what was found, whether it will do, and the statement or the line
of a configuration file that mends it. It changes nothing. Where the pipeline runs
and holds its destination, leat plan has what its plugins make of each table.`,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := p.load(args[0])
			if err != nil {
				return err
			}
			running, err := p.held(s)
			if err != nil {
				return err
			}
			report, err := engine.Check(cmd.Context(), s, engine.CheckOptions{StateDir: p.stateDir, Running: running})
			if err != nil {
				return err
			}
			if p.json {
				err = json.NewEncoder(p.out).Encode(report)
			} else {
				p.printReport(report)
			}
			if err == nil && !report.OK() {
				return errReported(failedCheck(report))
			}
			return err
		},
	}
}

// failedCheck is the exit code for the first item that failed.
func failedCheck(r *postgres.Report) int {
	for _, i := range r.Items {
		switch {
		case i.Outcome != postgres.Fail:
		case i.Name == engine.CheckPlugin:
			return exitPlugin
		case i.Name == engine.CheckDestination:
			return exitDestination
		default:
			return exitSource
		}
	}
	return exitSource
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
		if codes := codesOf(i); codes != "" {
			fmt.Fprintf(p.out, "         %s\n", codes)
		}
		for _, c := range i.Causes {
			fmt.Fprintf(p.out, "         possible cause: %s\n", c)
		}
		if i.Fix != "" {
			fmt.Fprintf(p.out, "         fix: %s\n", hanging(i.Fix, 14))
		}
	}
	if r.OK() {
		fmt.Fprintln(p.out, "everything that the pipeline needs is there")
		return
	}
	fmt.Fprintf(p.out, "%d of %d checks failed\n", failed, len(r.Items))
}

// codesOf are the codes of an item, as far as it has any.
func codesOf(i postgres.Item) string {
	var codes []string
	if i.Code != 0 {
		codes = append(codes, fmt.Sprintf("code %d", i.Code))
	}
	if i.SQLState != "" {
		codes = append(codes, "SQLSTATE "+i.SQLState)
	}
	return strings.Join(codes, ", ")
}
