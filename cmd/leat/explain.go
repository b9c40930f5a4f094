package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leat-etl/leat/engine"
)

func (p *program) explainCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "explain", Short: "Say what made a row at the destination"}
	cmd.AddCommand(&cobra.Command{
		Use:   "row FILE TABLE KEY",
		Short: "Say what made a row, and make it again from the source",
		Long: `Row shows a row as the destination has it, where in the log it comes from, and the
plugins with their versions, digests and settings that it passes; then it passes
the source's row of now through them and says whether the same comes out, and why it
may not. Exit code 7 says that it does not.

TABLE is the source's, schema.table or database.schema.table. KEY is column=value, with
commas between, such as id=1,region=eu, or the value alone if the key is one column. A
value with a comma stands in quotes.

Of the source's values only those are shown that are at the destination or come out of
the transforms. The position of a row is kept where the destination's config has
metadata = [..., "position"], and in the load modes append and history.` + positionHelp,
		Args: exactly(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, client, err := p.locate(args[0])
			if err != nil {
				return err
			}
			var x *engine.RowExplanation
			if client != nil {
				x, err = client.ExplainRow(cmd.Context(), args[1], args[2])
			} else {
				err = p.withPipeline(cmd.Context(), s, func(pipeline *engine.Pipeline) error {
					x, err = pipeline.ExplainRow(cmd.Context(), args[1], args[2])
					return err
				})
			}
			if err != nil {
				return err
			}
			if p.json {
				err = json.NewEncoder(p.out).Encode(x)
			} else {
				err = p.printExplanation(x)
			}
			if err == nil && !x.Equal() {
				return errReported(exitDifferent)
			}
			return err
		},
	})
	return cmd
}

func (p *program) printExplanation(x *engine.RowExplanation) error {
	at := "the source has the row"
	if !x.AtSource {
		at = "the source has no such row"
	}
	fmt.Fprintf(p.out, "%s, %s: %s; the destination has the log up to %s\n\n", x.Table, x.Key, at, x.Delivered)
	out := newTable(p.out)
	out.head("plugin", "digest", "config")
	for _, plugin := range x.Plugins {
		out.row(plugin.Plugin, plugin.Digest, string(plugin.Config))
	}
	if err := out.end(); err != nil {
		return err
	}
	for i := range x.Landings {
		if err := p.printLanding(&x.Landings[i]); err != nil {
			return err
		}
	}
	fmt.Fprintln(p.out)
	if x.Refused != "" {
		fmt.Fprintf(p.out, "a plugin refuses the row: %s\n", x.Refused)
	}
	for _, note := range x.Notes {
		fmt.Fprintf(p.out, "note: %s\n", note)
	}
	return nil
}

// verdicts are the states of a landing in words.
var verdicts = map[string]string{
	engine.LandingEqual:     "the source's row comes to the same bytes",
	engine.LandingDifferent: "the source's row comes to something else",
	engine.LandingMissing:   "the source's row comes here, and is not there",
	engine.LandingDeleted:   "deleted, as at the source",
	engine.LandingExtra:     "there, and not at the source",
}

func (p *program) printLanding(l *engine.Landing) error {
	fmt.Fprintf(p.out, "\n%s: %s\n", l.Table, verdicts[l.State])
	if l.Rows > 1 {
		fmt.Fprintf(p.out, "%d rows of the key; this is the newest\n", l.Rows)
	}
	if l.Position != "" {
		fmt.Fprintf(p.out, "position: %s\n", l.Position)
	}
	var added []string
	for _, name := range slices.Sorted(maps.Keys(l.Metadata)) {
		if name != "lsn" && name != "ordinal" {
			added = append(added, name+" "+l.Metadata[name])
		}
	}
	if len(added) > 0 {
		fmt.Fprintln(p.out, strings.Join(added, ", "))
	}
	if len(l.Cells) == 0 {
		return nil
	}
	out := newTable(p.out)
	out.head("column", "destination", "made again")
	for _, c := range l.Cells {
		again := "the same"
		if !c.Equal {
			again = shown(c.Again)
			if l.State == engine.LandingDeleted || l.State == engine.LandingExtra {
				again = ""
			}
		}
		out.row(c.Column, shown(c.Destination), again)
	}
	return out.end()
}

func shown(value *string) string {
	if value == nil {
		return "NULL"
	}
	return *value
}
