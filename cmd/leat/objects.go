package main

import (
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/leat-etl/leat/state"
)

func (p *program) objectsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "objects", Short: "The source tables of a pipeline"}
	cmd.AddCommand(p.objectsRunNowCommand())
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
				return json.NewEncoder(p.out).Encode(objects)
			}
			out := newTable(p.out)
			out.head("table", "state", "rows loaded", "loaded", "reason")
			for _, o := range objects {
				out.row(o.Table, o.State, o.RowsLoaded, size(o.BytesLoaded), o.Reason)
			}
			return out.end()
		},
	})
	return cmd
}
