package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leat-etl/leat/engine"
)

func (p *program) planCommand() *cobra.Command {
	ddl, indexes := "", false
	cmd := &cobra.Command{
		Use:   "plan FILE",
		Short: "Show what would be created, changed and lost, and which plugin sees which column",
		Args:  exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, client, err := p.locate(args[0])
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("ddl") {
				return p.planDDL(cmd.Context(), s, client, ddl)
			}
			var tables []engine.PlannedTable
			if client != nil {
				tables, err = client.Plan(cmd.Context())
			} else {
				err = p.withPipeline(cmd.Context(), s, func(pipeline *engine.Pipeline) error {
					tables, err = pipeline.Plan(cmd.Context())
					return err
				})
			}
			if err != nil {
				return err
			}
			switch {
			case p.json:
				err = json.NewEncoder(p.out).Encode(tables)
			case indexes:
				p.printIndexes(tables)
			default:
				err = p.printPlan(tables)
			}
			idle, idleErr := engine.IdlePatterns(cmd.Context(), s)
			for _, pattern := range idle {
				fmt.Fprintf(p.err, "warning: %s\n", pattern)
			}
			deselected, deselectedErr := engine.Deselected(cmd.Context(), s, p.stateDir)
			for _, one := range deselected {
				fmt.Fprintf(p.err, "warning: leat run refuses: %s\n  what to do: %s\n", one.Reason, one.Hint)
			}
			uncaptured, uncapturedErr := engine.Uncaptured(cmd.Context(), s)
			for _, one := range uncaptured {
				fmt.Fprintf(p.err, "warning: %s\n", one)
			}
			return errors.Join(err, idleErr, deselectedErr, uncapturedErr)
		},
	}
	cmd.Flags().BoolVar(&indexes, "indexes", false, "print, for the destination, the indexes and constraints of the source's tables as SQL; Leat runs none of it (with --json they are part of the plan)")
	cmd.Flags().StringVar(&ddl, "ddl", "", "statements to try on empty copies of the source's tables: show what they would do; exit 9 if the pipeline would stop")
	return cmd
}

// printIndexes writes a script for the user to run at the destination: what has
// no statement there is a comment.
func (p *program) printIndexes(tables []engine.PlannedTable) {
	fmt.Fprintln(p.out, "-- Leat makes only the keys. These are the source's other indexes and constraints; run what you want once the historical load has ended.")
	printed := map[string]bool{}
	for _, t := range tables {
		for _, target := range t.Targets {
			for _, i := range target.Indexes {
				lines := fmt.Sprintf("\n-- %s: %s\n", t.Source, strings.Join(strings.Fields(i.Source), " "))
				if i.Note != "" {
					lines += fmt.Sprintf("-- %s\n", i.Note)
				}
				switch {
				case i.Statement == "":
					fmt.Fprint(p.out, lines)
				case !printed[i.Statement]: // one for all sources of a merged table
					printed[i.Statement] = true
					fmt.Fprintf(p.out, "%s%s;\n", lines, i.Statement)
				}
			}
		}
	}
}

func (p *program) printPlan(tables []engine.PlannedTable) error {
	losses := 0
	for _, t := range tables {
		switch {
		case t.Fix != "":
			fmt.Fprintf(p.out, "%s is not replicated yet: %s: %s\n", t.Source, t.Reason, t.Fix)
		case t.Reason != "":
			fmt.Fprintf(p.out, "%s is not replicated: %s\n\n", t.Source, t.Reason)
			continue
		default:
			fmt.Fprintf(p.out, "%s\n", t.Source)
		}
		if t.QueryMode != "" {
			decided := ""
			if t.Decided {
				decided = ", as an operator decided: leat objects set-mode --reset goes back to the file"
			}
			fmt.Fprintf(p.out, "  read by %s%s\n", t.QueryMode, decided)
		}
		if t.RestartFrom != "" {
			fmt.Fprintf(p.out, "  RESTART: it was read by %s; leat run --restart-changed ingests it anew\n", t.RestartFrom)
		}
		if t.TransformsFrom != "" {
			fmt.Fprintf(p.out, "  CHANGED: the rows at the destination were made by %s, new ones by %s; leat objects restart, or leat run --restart-changed, loads the table again\n", t.TransformsFrom, t.TransformsTo)
		}
		if t.Note != "" {
			fmt.Fprintf(p.out, "  note: %s\n", t.Note)
		}
		for _, c := range t.Skipped {
			fmt.Fprintf(p.out, "  column %s is not replicated: it is generated\n", c)
		}
		for _, c := range t.Withheld {
			fmt.Fprintf(p.out, "  column %s is WITHHELD: claim = [%q] in [objects.%q] lets it travel\n", c, c, t.Source.Schema+"."+t.Source.Name)
		}
		for _, v := range t.Sees {
			columns := "no column"
			if len(v.Columns) > 0 {
				columns = strings.Join(v.Columns, ", ")
			}
			fmt.Fprintf(p.out, "  %s sees %s\n", v.Plugin, columns)
			for _, k := range v.Kernels {
				fmt.Fprintf(p.out, "    the host's kernel %s works for it on %s\n", k.Kernel, strings.Join(k.Columns, ", "))
			}
		}
		for _, target := range t.Targets {
			fmt.Fprintf(p.out, "  -> %s\n", target.Table)
			out := newTable(p.out)
			for _, c := range target.Columns {
				key := ""
				if c.Key {
					key = "key"
				}
				loss := strings.Join(c.Losses, "; ")
				if loss != "" {
					losses++
					loss = "LOSS: " + loss
				}
				out.row("     "+c.Name, c.Type, c.SourceType, key, loss)
			}
			if err := out.end(); err != nil {
				return err
			}
			for _, c := range target.Columns { // a cell is cut, a loss is not
				if loss := "LOSS: " + strings.Join(c.Losses, "; "); len(c.Losses) > 0 && out.cell(loss) != loss {
					fmt.Fprintf(p.out, "     %s: %s\n", c.Name, loss)
				}
			}
			if target.Reload != "" {
				fmt.Fprintf(p.out, "     LOADED AGAIN: %s\n", target.Reload)
			}
			for _, sql := range target.Statements {
				fmt.Fprintf(p.out, "     %s;\n", hanging(sql, 5))
			}
		}
		fmt.Fprintln(p.out)
	}
	if len(tables) == 0 {
		fmt.Fprintln(p.out, "no table is selected: include under [objects] of the pipeline file names none that is there, or exclude takes it out")
		return nil
	}
	fmt.Fprintf(p.out, "%s, %s with a loss\n", counted(len(tables), "table"), counted(losses, "column"))
	return nil
}
