package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leat-etl/leat/state"
)

func (p *program) objectsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "objects", Short: "The source tables of a pipeline: list, include, skip, load again"}
	cmd.AddCommand(p.objectsRunNowCommand())
	cmd.AddCommand(p.objectsChangeCommands()...)
	cmd.AddCommand(&cobra.Command{
		Use:   "list FILE",
		Short: "List the tables, their state and the historical load",
		Args:  exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, client, err := p.locate(args[0])
			if err != nil {
				return err
			}
			var objects []state.Object
			if client != nil {
				objects, err = client.Objects(cmd.Context())
			} else {
				var store *state.Store
				if store, err = p.stopped(s); err != nil {
					return err
				}
				defer store.Close()
				objects, err = store.Objects()
			}
			if err != nil {
				return err
			}
			if p.json {
				return json.NewEncoder(p.out).Encode(append([]state.Object{}, objects...))
			}
			return p.printObjects(objects)
		},
	})
	return cmd
}

// readingText is how an operator has a table read.
func readingText(r *state.Reading) string {
	columns := slices.DeleteFunc([]string{r.IncrementingColumn, r.TimestampColumn}, func(c string) bool { return c == "" })
	if len(columns) == 0 {
		return r.QueryMode
	}
	return r.QueryMode + " (" + strings.Join(columns, ", ") + ")"
}

func (p *program) printObjects(objects []state.Object) error {
	if len(objects) == 0 {
		fmt.Fprintln(p.out, "no table is selected")
		return nil
	}
	out := newTable(p.out)
	out.head("table", "state", "rows loaded", "loaded", "reason", "what to do")
	for _, o := range objects {
		loaded := size(o.BytesLoaded)
		if o.State == state.HistoricalLoad && o.BytesTotal > 0 {
			loaded = fmt.Sprintf("%s of about %s", loaded, size(o.BytesTotal))
		}
		reason := o.Reason
		if o.Reading != nil && reason == "" {
			reason = "read by " + readingText(o.Reading) + ", as an operator decided"
		}
		if len(o.Withheld) > 0 {
			reason = strings.TrimSpace(reason + " withheld until claimed: " + strings.Join(o.Withheld, ", "))
		}
		out.row(o.Table, o.State, o.RowsLoaded, loaded, reason, o.Fix)
	}
	if err := out.end(); err != nil {
		return err
	}
	for _, o := range objects { // a cell is cut, what is to be copied is not
		if cell := o.Reason + o.Fix; o.Fix != "" && out.cell(o.Reason)+out.cell(o.Fix) != cell {
			fmt.Fprintf(p.out, "%s: %s\n  what to do: %s\n", o.Table, o.Reason, hanging(o.Fix, 14))
		}
	}
	return nil
}
