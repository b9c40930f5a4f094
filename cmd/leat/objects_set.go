package main

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/state"
)

// objectsSetModeCommand decides how tables are read, whatever the file says.
func (p *program) objectsSetModeCommand() *cobra.Command {
	var reading state.Reading
	var reset bool
	request := engine.ObjectRequest{Verb: engine.SetMode}
	cmd := &cobra.Command{
		Use: "set-mode FILE TABLE...", Short: "Decide how tables are read", Args: atLeast(2),
		Long: `Set-mode has tables read in another way than the pipeline file says. The decision
is kept in the state folder and wins over the file until --reset takes it back.

  full_load, xmin           need nothing
  delta_timestamp           needs --timestamp-column
  incrementing_append_only  needs --incrementing-column
  change_data_capture       needs both

In a pipeline that queries its source the tables are read from the beginning at
the next run, which --yes agrees to. In one that follows the log it is the order
of the next historical load. The source is asked whether it has such columns; if
it does not answer, the next run finds out.` + namingHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			request.Tables = args[1:]
			switch {
			case reset && reading != (state.Reading{}):
				return errUsage{errors.New("--reset goes back to the pipeline file: it takes no mode and no column")}
			case !reset && reading.QueryMode == "":
				return errUsage{errors.New("name the mode with --query-mode (" + strings.Join(engine.QueryModes, ", ") + "), or go back to the file with --reset")}
			case !reset:
				request.Reading = &reading
			}
			return p.changeObjects(cmd.Context(), args[0], request)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&reading.QueryMode, "query-mode", "", strings.Join(engine.QueryModes, ", "))
	flags.StringVar(&reading.TimestampColumn, "timestamp-column", "", "column that every change of a row moves forward")
	flags.StringVar(&reading.IncrementingColumn, "incrementing-column", "", "column that has a greater value in each new row")
	flags.BoolVar(&reset, "reset", false, "read the tables as the pipeline file says")
	flags.BoolVar(&request.Confirmed, "yes", false, "do not ask")
	return cmd
}

// objectsSetPositionCommand moves the cursor of a table.
func (p *program) objectsSetPositionCommand() *cobra.Command {
	request := engine.ObjectRequest{Verb: engine.SetPosition, Cursor: &engine.SetCursor{}}
	cmd := &cobra.Command{
		Use: "set-position FILE TABLE VALUE", Short: "Decide from which value of its cursor a table is read", Args: exactly(3),
		Long: `Set-position lets the next run read a table from a value of its cursor column on,
rows with that value included. What lies before it and has not been read is left
out; what lies behind it comes again: by key, or as further rows of a table
without one. --yes agrees to that. The source is asked whether the column can have
the value; if it does not answer, the next run finds out.

Only tables that are read by a column have such a position, in the form of the
column's values: it is no place in the log, as leat status prints one. A table that
follows the log has none of its own: leat objects restart loads it again.` + namingHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			request.Tables, request.Cursor.Value = args[1:2], args[2]
			return p.changeObjects(cmd.Context(), args[0], request)
		},
	}
	cmd.Flags().StringVar(&request.Cursor.Column, "column", "", "the cursor, where the table has two")
	cmd.Flags().BoolVar(&request.Confirmed, "yes", false, "do not ask")
	return cmd
}
