package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/spec"
	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/wasm"
	"github.com/leat-etl/leat/plugins/workbench/textbatch"
)

func (p *program) pluginRunCommand() *cobra.Command {
	var o authorOptions
	var file, table string
	var limit int
	cmd := &cobra.Command{
		Use:   "run [FOLDER] --pipeline FILE --table SCHEMA.TABLE",
		Short: "Show what a transform makes of rows of the source",
		Long: `Run compiles the transform in a folder, reads some rows of a table of the source and
shows them before and after, side by side. It writes nothing anywhere. The pipeline
file names the source, and has the plugin by its path among its transforms: its
settings and the columns it may see are taken from there; other transforms are left
out. Of the table only the columns that the plugin's plan declares are read, and the
key.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if file == "" || table == "" {
				return errUsage{fmt.Errorf("leat plugin run needs --pipeline FILE and --table SCHEMA.TABLE")}
			}
			dir := folderOf(args)
			return p.again(cmd.Context(), dir, o, func(ctx context.Context, h *wasm.Host, _ *bundle.Bundle) error {
				s, err := p.load(file)
				if err != nil {
					return err
				}
				return p.sideBySide(ctx, h, s, dir, table, limit)
			})
		},
	}
	o.flags(cmd)
	cmd.Flags().StringVar(&file, "pipeline", "", "pipeline file that names the source and has the plugin")
	cmd.Flags().StringVar(&table, "table", "", "table to take rows from, schema.table or database.schema.table")
	cmd.Flags().IntVar(&limit, "limit", 20, "the most rows")
	return cmd
}

// fate is a row of the source and what became of it.
type fate struct {
	Before map[string]string `json:"before"`
	After  []landing         `json:"after"`
	// Refused is why the plugin refused the row.
	Refused string `json:"refused,omitempty"`
}

// landing is a row that came out, in the columns that are not as they were.
type landing struct {
	Table string            `json:"table"`
	Row   map[string]string `json:"row"`
}

func (p *program) sideBySide(ctx context.Context, h *wasm.Host, s *spec.Spec, dir, table string, limit int) error {
	t, err := engine.Try(ctx, s, h, dir, table, limit)
	if err != nil {
		return err
	}
	defer t.Release()
	fates, before, err := fatesOf(t)
	if err != nil {
		return err
	}
	if p.json {
		return json.NewEncoder(p.out).Encode(map[string]any{"sees": t.Plan.Sees, "rows": fates})
	}
	fmt.Fprintf(p.out, "%s: %s, the plugin sees %s\n", table, counted(len(fates), "row"), orNothing(t.Plan.Sees))
	for i, out := range t.Plan.Outputs {
		if err := p.printLandings(fates, before, tableName(out), t.Plan.Makes(i)); err != nil {
			return err
		}
	}
	for i, f := range fates {
		switch {
		case f.Refused != "":
			fmt.Fprintf(p.out, "row %d is refused: %s\n", i+1, f.Refused)
		case len(f.After) == 0:
			fmt.Fprintf(p.out, "row %d goes nowhere\n", i+1)
		}
	}
	return nil
}

// printLandings prints the rows that went to one table beside what they were.
func (p *program) printLandings(fates []fate, before []string, name string, makes []string) error {
	fmt.Fprintf(p.out, "\nto %s\n", name)
	out := newTable(p.out)
	head := []string{"row"}
	head = append(head, before...)
	for _, column := range makes {
		head = append(head, "-> "+column)
	}
	out.head(head...)
	for i, f := range fates {
		for _, l := range f.After {
			if l.Table != name {
				continue
			}
			cells := []any{i + 1}
			for _, column := range before {
				cells = append(cells, f.Before[column])
			}
			for _, column := range makes {
				cells = append(cells, l.Row[column])
			}
			out.row(cells...)
		}
	}
	return out.end()
}

// fatesOf follows every row, and names the columns that were read.
func fatesOf(t *engine.Trial) ([]fate, []string, error) {
	if t.Input == nil {
		return nil, nil, nil
	}
	uses := t.Plan.Uses()
	for _, i := range t.Input.Schema.Key() {
		if name := t.Input.Schema.Columns[i].Name; !slices.Contains(uses, name) {
			uses = append([]string{name}, uses...)
		}
	}
	rows, err := cellsOf(t.Input, uses)
	if err != nil {
		return nil, nil, err
	}
	fates := make([]fate, len(rows))
	for i, row := range rows {
		fates[i] = fate{Before: row, After: []landing{}}
	}
	for i, s := range t.Plan.Outputs {
		for _, b := range t.Result.Batches {
			if b.Schema != s {
				continue
			}
			made, err := cellsOf(b, t.Plan.Makes(i))
			if err != nil {
				return nil, nil, err
			}
			for n, row := range made {
				at := &fates[b.Ordinal[n]-1]
				at.After = append(at.After, landing{tableName(s), row})
			}
		}
	}
	for _, f := range t.Result.Failed {
		fates[f.Row].Refused = f.Message
	}
	return fates, uses, nil
}

// cellsOf prints some columns of a batch, row by row.
func cellsOf(b *batch.Batch, columns []string) ([]map[string]string, error) {
	g, err := textbatch.Of(b)
	if err != nil {
		return nil, err
	}
	out := make([]map[string]string, len(g.Rows))
	for r, row := range g.Rows {
		out[r] = map[string]string{}
		for _, name := range columns {
			if i := b.Schema.Column(name); i >= 0 {
				out[r][name] = row[i+1]
			}
		}
	}
	return out, nil
}

func tableName(s *batch.Schema) string {
	if s.Table.Schema == "" {
		return s.Table.Name
	}
	return s.Table.Schema + "." + s.Table.Name
}

func orNothing(columns []string) string {
	if len(columns) == 0 {
		return "no column"
	}
	return strings.Join(columns, ", ")
}
