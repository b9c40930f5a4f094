package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/leat-etl/leat/engine"
)

func (p *program) verifyCommand() *cobra.Command {
	var keys int
	cmd := &cobra.Command{
		Use:   "verify FILE",
		Short: "Prove that source and destination are equal, row by row",
		Long: `Verify reads the source, passes its rows through the transforms and compares
every one with the destination's. It needs bounded memory whatever the size of
the tables. Keys that differ are named, and the exit code is 7.

Where one of several databases takes no connection the others are compared, and
the exit code is 3.

While the pipeline runs, rows that are on their way are waited for: how many keys
were not the same at first and are by now is said. The exit code is 3 if the role
may not read a table, or its settings do not fit it, and 1 if there was none to compare.`,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, client, err := p.locate(args[0])
			if err != nil {
				return err
			}
			var v *engine.Verification
			if client != nil {
				v, err = client.Verify(cmd.Context())
			} else {
				err = p.withPipeline(cmd.Context(), s, func(pipeline *engine.Pipeline) error {
					v, err = pipeline.Verify(cmd.Context(), nil, nil)
					return err
				})
			}
			if v == nil {
				return err
			}
			var unprinted error
			if p.json {
				unprinted = json.NewEncoder(p.out).Encode(v)
			} else {
				unprinted = p.printVerification(v, keys)
			}
			err = cmp.Or(err, unprinted)
			switch {
			case err == nil && !v.Equal():
				return errReported(exitDifferent)
			case err == nil && slices.ContainsFunc(v.LeftOut, func(l engine.LeftOut) bool { return l.Refused }):
				return errReported(exitSource)
			case err == nil && len(v.Tables) == 0:
				return errReported(exitFailure)
			}
			return err
		},
	}
	cmd.Flags().IntVar(&keys, "keys", 20, "name at most this many keys of each table")
	return cmd
}

func (p *program) printVerification(v *engine.Verification, most int) error {
	out := newTable(p.out)
	out.head("table", "source rows", "destination rows", "set aside", "differing keys")
	for _, t := range v.Tables {
		out.row(t.Target, t.SourceRows, t.DestinationRows, t.SetAside, t.Different)
	}
	if err := out.end(); err != nil {
		return err
	}
	for i := range v.Tables {
		p.printDifferences(&v.Tables[i], most)
	}
	departed, excused := false, false
	for _, t := range v.Tables {
		for _, d := range t.Departed {
			departed = true
			fmt.Fprintf(p.out, "%s: %s of database %s not compared: %s\n", t.Target, counted(d.Rows, "row"), d.Database, d.Reason)
		}
		if t.Excused > 0 {
			excused = true
			fmt.Fprintf(p.out, "%s: %s differing as the query mode allows: without detect_deletes deleted rows stay, and incrementing_append_only takes no later change\n", t.Target, counted(t.Excused, "key"))
		}
	}
	for _, l := range v.LeftOut {
		fmt.Fprintf(p.out, "%s is not compared: %s\n", l.Table, l.Reason)
	}
	for _, database := range v.Away {
		fmt.Fprintf(p.out, "database %s is not compared: it takes no connection\n", database)
	}
	switch {
	case len(v.Tables) == 0:
		fmt.Fprintln(p.out, "nothing is proven: no table was compared")
	case v.Equal() && (departed || len(v.LeftOut) > 0 || len(v.Away) > 0):
		fmt.Fprintln(p.out, "what was compared is equal")
	case v.Equal() && excused:
		fmt.Fprintln(p.out, "the destination has what the query modes promise")
	case v.Equal():
		fmt.Fprintln(p.out, "source and destination are equal")
	}
	return nil
}

// printDifferences names the keys of a table that differ, by their cause, and
// counts the rest.
func (p *program) printDifferences(t *engine.TableVerification, most int) {
	if t.Changed > 0 {
		fmt.Fprintf(p.out, "%s: %s changed while both sides were read, which the row counts show, and the rows are the same by now\n", t.Target, counted(t.Changed, "key"))
	}
	named := t.Keys[:min(len(t.Keys), most)]
	var causes []string
	of := map[string][]engine.KeyDifference{}
	for _, k := range named {
		if of[k.Cause] == nil {
			causes = append(causes, k.Cause)
		}
		of[k.Cause] = append(of[k.Cause], k)
	}
	for _, cause := range causes {
		if one := of[cause]; len(one) == 1 {
			fmt.Fprintf(p.out, "%s: %s: %s: %s\n", t.Target, one[0].Key, one[0].What, cause)
			continue
		}
		fmt.Fprintf(p.out, "%s: %d keys: %s\n", t.Target, len(of[cause]), cause)
		for _, k := range of[cause] {
			fmt.Fprintf(p.out, "  %s: %s\n", k.Key, k.What)
		}
	}
	if rest := t.Different - int64(len(named)); rest > 0 {
		fmt.Fprintf(p.out, "%s: %d more\n", t.Target, rest)
	}
}
