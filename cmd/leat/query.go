package main

import (
	"encoding/json"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leat-etl/leat/engine"
)

func (p *program) queryCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "query FILE SQL",
		Short: "Ask the destination a question in SQL",
		Long: `Query asks the pipeline's destination one question in SQL: through the engine if
it runs, which holds the lock of a DuckDB file, otherwise directly. It only
reads: a statement that would change something is refused.`,
		Example: `  leat query shop.toml "SELECT count(*) FROM orders"`,
		Args:    exactly(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, client, err := p.locate(args[0])
			if err != nil {
				return err
			}
			out := newTable(p.out)
			take := out.rows
			if p.json {
				encoder := json.NewEncoder(p.out)
				take = func(r engine.Rows) error { return encodeObjects(encoder, r) }
			}
			if client != nil {
				err = client.Query(cmd.Context(), args[1], take)
			} else {
				err = engine.Query(cmd.Context(), s, args[1], take)
			}
			if err != nil {
				return err
			}
			return out.end()
		},
	}
}

// encodeObjects writes each row as a JSON object on a line.
func encodeObjects(e *json.Encoder, r engine.Rows) error {
	for _, row := range r.Rows {
		object := make(map[string]*string, len(row))
		for i, cell := range row {
			object[r.Columns[i]] = cell
		}
		if err := e.Encode(object); err != nil {
			return err
		}
	}
	return nil
}

// oneLine keeps a cell inside its line of a table.
func oneLine(s string) string {
	const most = 60
	s = strings.NewReplacer("\n", `\n`, "\t", `\t`, "\r", `\r`).Replace(s)
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}
