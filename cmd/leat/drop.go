package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/engine/postgres"
)

func (p *program) dropCommand() *cobra.Command {
	yes, capture, rows := false, false, false
	cmd := &cobra.Command{
		Use:   "drop FILE [DATABASE...]",
		Short: "Give up a pipeline: drop what it made at the source",
		Long: `Drop removes what a pipeline has made at its source, and asks before: the slot of
each database, for which the server keeps log for as long as it is there, and the
publications. With databases it does so in these only, also in one that is no
longer in the pipeline file.

Rows at the destination stay, and so does the state folder. A later run has to
load every table again: leat run FILE --resync does it beside the rows that are
there. With --rows the rows of databases that have left the pipeline file are
taken out of the tables that they shared with others, as a TRUNCATE would at the
source: marked deleted, unless truncate of the destination says otherwise.`,
		Args: atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, client, err := p.locate(args[0])
			if err != nil {
				return err
			}
			if client != nil {
				return errUsage{fmt.Errorf("pipeline %q is running: stop it first", s.Name)}
			}
			if rows && len(args) == 1 {
				return errUsage{errors.New("--rows needs the databases whose rows are meant")}
			}
			for _, database := range args[1:] {
				if rows {
					if err := engine.HasLeft(s, database); err != nil {
						return err
					}
				}
			}
			made, err := engine.FindMade(cmd.Context(), s, p.stateDir, args[1:])
			if err != nil {
				return err
			}
			if !p.json {
				p.printMade(made, capture, rows)
			}
			droppable := rows || slices.ContainsFunc(made, func(m engine.Made) bool { return m.Droppable() || capture && m.Capture })
			if droppable && !yes && !p.agrees("Drop this?") {
				return errUsage{errors.New("nothing was dropped: --yes says that it is meant")}
			}
			for _, m := range made {
				if err := m.Drop(cmd.Context(), s, p.stateDir, capture); err != nil {
					return err
				}
			}
			if rows {
				if err := p.withPipeline(cmd.Context(), s, func(pipeline *engine.Pipeline) error {
					for _, database := range args[1:] {
						if err := pipeline.TakeRows(cmd.Context(), database); err != nil {
							return err
						}
					}
					return nil
				}); err != nil {
					return err
				}
			}
			switch {
			case p.json:
				return json.NewEncoder(p.out).Encode(made)
			case rows:
				fmt.Fprintf(p.out, "dropped, and the rows of %s are taken out. The state folder is still there: %s\n", strings.Join(args[1:], ", "), engine.StateDir(s, p.stateDir))
			case droppable:
				fmt.Fprintf(p.out, "dropped. The rows at the destination are still there, and so is the state folder %s\n", engine.StateDir(s, p.stateDir))
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&rows, "rows", false, "take the rows of the named databases, which have left the pipeline file, out of merged tables, too")
	cmd.Flags().BoolVar(&capture, "ddl-capture", false, "remove DDL capture, too, which serves all pipelines of a database; takes a role that may")
	return cmd
}

// printMade shows what is dropped, and what is not and why.
func (p *program) printMade(all []engine.Made, capture, rows bool) {
	for _, m := range all {
		fmt.Fprintf(p.out, "%s\n", m.Database)
		if m.Slot == nil && len(m.Publications) == 0 {
			fmt.Fprintln(p.out, "  nothing of this pipeline")
		}
		if m.Slot != nil {
			fmt.Fprintf(p.out, "  slot %s, for which the server keeps %s of log\n", m.Slot.Name, size(m.Slot.RetainedBytes))
		}
		for _, made := range m.Publications {
			fmt.Fprintf(p.out, "  publication %s of %s\n", made.Name, counted(made.Tables, "table"))
			if made.Kept != "" {
				fmt.Fprintf(p.out, "    stays: %s\n", made.Kept)
			}
		}
		if rows {
			fmt.Fprintln(p.out, "  its rows in merged tables, as after a TRUNCATE")
		}
		switch {
		case m.Capture && capture:
			fmt.Fprintln(p.out, "  DDL capture, the schema leat_ddl")
		case m.Capture:
			fmt.Fprintf(p.out, "  DDL capture stays, for other pipelines of the database; --ddl-capture, or a superuser with this, removes it:\n    %s\n",
				strings.ReplaceAll(postgres.CaptureRemovalSQL, "; ", ";\n    "))
		}
	}
}
