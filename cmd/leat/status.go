package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/spec"
	"github.com/leat-etl/leat/state"
)

func (p *program) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status FILE",
		Short: "Show where a pipeline stands",
		Long: `Status shows where a pipeline stands, running or not, and which of its tables are
in which state.

The destination has everything up to the durable position, and goes on from there
after whatever happens. Behind is how much log the server has written since, for
whomever: a change of these tables need not be in it. Retained WAL is the log that
the server keeps for this pipeline. The position of a table is that of its last
change.` + positionHelp,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, client, err := p.locate(args[0])
			if err != nil {
				return err
			}
			if client == nil {
				store, err := p.stopped(s)
				if err != nil {
					return err
				}
				defer store.Close()
				return p.printStopped(s, store)
			}
			status, err := client.Status(cmd.Context())
			if err != nil {
				return err
			}
			if p.json {
				return json.NewEncoder(p.out).Encode(map[string]any{"pipeline": s.Name, "running": true, "status": status})
			}
			return p.printStatus(s, status)
		},
	}
}

func (p *program) printStatus(file *spec.Spec, s engine.Status) error {
	fmt.Fprintf(p.out, "%s has been running for %s\n%s\n", file.Name, time.Since(s.Started).Round(time.Second), setAside(file, s.SetAside))
	out := newTable(p.out)
	out.head("database", "phase", "durable position", "behind", "retained wal", "error")
	for _, d := range s.Databases {
		out.row(d.Database, d.Phase, placeOf(d.Durable), size(d.LagBytes), size(d.RetainedWAL), d.Error)
	}
	if err := out.end(); err != nil {
		return err
	}
	for _, d := range s.Databases {
		if d.Fix != "" {
			fmt.Fprintf(p.out, "%s is %s\n  what to do: %s\n", d.Database, d.Phase, hanging(d.Fix, 14))
		}
		if d.Awaits != "" {
			fmt.Fprintf(p.out, "%s: %s\n  what to do: %s\n", d.Database, d.Awaits, hanging(d.AwaitsFix, 14))
		}
		if d.Waits != "" {
			fmt.Fprintf(p.out, "%s: waits for the end of %s\n", d.Database, d.Waits)
		}
	}
	if s.Destination != "" {
		fmt.Fprintf(p.out, "destination: %s\n", s.Destination)
	}
	fmt.Fprintln(p.out)
	slices.SortFunc(s.Tables, func(a, b engine.TableProgress) int { return strings.Compare(a.Table.String(), b.Table.String()) })
	out = newTable(p.out)
	for _, d := range s.Databases {
		if !d.NextRun.IsZero() {
			fmt.Fprintf(p.out, "%s: last run %s, next run %s\n", d.Database, moment(d.LastRun), moment(d.NextRun))
		}
	}
	for _, d := range s.Databases {
		if d.DDLCapture != "" {
			fmt.Fprintf(p.out, "%s: schema changes are captured: %s\n", d.Database, d.DDLCapture)
		}
	}
	for _, t := range s.Tables {
		if t.NullCursors > 0 || t.Waiting > 0 {
			fmt.Fprintf(p.out, "%s: %d rows without a value of the cursor column are not replicated, %d wait because theirs lies ahead\n", t.Table, t.NullCursors, t.Waiting)
		}
	}
	if err := printStates(p.out, s.Objects); err != nil {
		return err
	}
	out.head("table", "loaded", "inserts", "updates", "deletes", "truncates", "bytes", "position")
	for _, t := range s.Tables {
		out.row(t.Table, t.Loaded, t.Inserts, t.Updates, t.Deletes, t.Truncates, size(t.Bytes), t.Position)
	}
	if err := out.end(); err != nil {
		return err
	}
	printShadows(p.out, s.Shadows)
	return p.printBills(s.Plugins)
}

// printBills says what each plugin has done and cost.
func (p *program) printBills(bills []engine.PluginBill) error {
	fmt.Fprintln(p.out)
	out := newTable(p.out)
	out.head("plugin", "rows in", "rows out", "changed", "refused", "calls", "time", "fuel", "memory", "copied", "host calls")
	for _, b := range bills {
		out.row(b.Plugin, b.Rows, b.RowsOut, b.RowsChanged, b.RowsFailed, b.Calls, time.Duration(b.Nanoseconds).Round(time.Microsecond), b.Fuel,
			size(int64(b.MemoryBytes)), size(int64(b.BytesIn+b.BytesOut)), b.HostCalls)
	}
	return out.end()
}

// printStates says how many tables are in which state, and names those that an
// operator may want to look at.
func printStates(w io.Writer, objects []state.Object) error {
	out := newTable(w)
	out.head("tables", "state", "of them")
	for _, one := range state.ObjectStates {
		var names []string
		n := 0
		for _, o := range objects {
			if o.State != one {
				continue
			}
			if n++; one != state.Streaming && one != state.Active && len(names) < 3 {
				names = append(names, o.Table.String())
			}
		}
		if n > 0 {
			out.row(n, one, strings.Join(names, ", "))
		}
	}
	if err := out.end(); err != nil {
		return err
	}
	shown := 0
	for _, o := range objects {
		if o.State != state.Inaccessible && o.State != state.FailedState {
			continue
		}
		if shown++; shown > 10 {
			fmt.Fprintln(w, "leat objects list has the rest, with reasons and what mends them")
			break
		}
		fmt.Fprintf(w, "%s is %s: %s\n", o.Table, o.State, o.Reason)
		if o.Fix != "" {
			fmt.Fprintf(w, "  fix: %s\n", hanging(o.Fix, 7))
		}
	}
	for _, o := range objects {
		if o.Reading != nil {
			fmt.Fprintf(w, "%s is read by %s, as an operator decided\n", o.Table, readingText(o.Reading))
		}
	}
	fmt.Fprintln(w)
	return nil
}

// setAside is the line about failed events: rows that the destination has not.
func setAside(file *spec.Spec, n int64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%s: %s: rows that are set aside and not at the destination; leat failed list %s shows them\n", file.Name, counted(n, "failed event"), file.Path)
}

// placeOf prints a position, a dash for none: a pipeline that queries has none.
func placeOf(p batch.Position) string {
	if p.IsZero() {
		return "-"
	}
	return p.String()
}

// moment prints a time for people, a dash for none.
func moment(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format(time.DateTime)
}

// stoppedStatus is what is known of a pipeline that does not run.
type stoppedStatus struct {
	Pipeline string         `json:"pipeline"`
	Running  bool           `json:"running"`
	Sources  []state.Source `json:"sources"`
	Runs     []state.Run    `json:"runs"`
	Objects  []state.Object `json:"objects"`
	Failed   int64          `json:"failed"`
	// Due is when each database of a pipeline with a frequency is to be read:
	// at once if that has passed.
	Due map[string]time.Time `json:"due,omitempty"`
}

func (p *program) printStopped(file *spec.Spec, store *state.Store) (err error) {
	s := stoppedStatus{Pipeline: file.Name, Due: map[string]time.Time{}}
	if s.Sources, err = store.Sources(); err != nil {
		return err
	}
	if s.Objects, err = store.Objects(); err != nil {
		return err
	}
	if s.Runs, err = store.Runs(5); err != nil {
		return err
	}
	counts, err := store.FailedCounts()
	if err != nil {
		return err
	}
	for _, n := range counts {
		s.Failed += n
	}
	for _, r := range s.Runs {
		if _, newer := s.Due[r.Database]; r.Database != "" && !newer && !file.Source.Frequency.Continuous() {
			s.Due[r.Database] = r.Started.Add(file.Source.Frequency.Every)
		}
	}
	if p.json {
		return json.NewEncoder(p.out).Encode(s)
	}
	fmt.Fprintf(p.out, "%s is not running\n%s\n", file.Name, setAside(file, s.Failed))
	for _, database := range slices.Sorted(maps.Keys(s.Due)) {
		fmt.Fprintf(p.out, "%s: next run due %s\n", database, moment(s.Due[database]))
	}
	out := newTable(p.out)
	out.head("database", "slot", "durable position")
	for _, d := range s.Sources {
		if d.Slot == "" {
			out.row(d.Database, "given up with leat drop", "-")
			continue
		}
		out.row(d.Database, d.Slot, placeOf(d.Durable))
	}
	if err := out.end(); err != nil {
		return err
	}
	fmt.Fprintln(p.out)
	if err := printStates(p.out, s.Objects); err != nil {
		return err
	}
	out = newTable(p.out)
	out.head("last runs", "database", "took", "rows", "outcome")
	cut := false
	for _, r := range s.Runs {
		took, outcome := "", short(r.Outcome)
		cut = cut || out.cell(outcome) != r.Outcome
		if r.Ended.IsZero() {
			outcome = "killed"
		} else {
			took = r.Ended.Sub(r.Started).Round(time.Millisecond).String()
		}
		out.row(r.Started.Format(time.DateTime), r.Database, took, r.Rows, outcome)
	}
	if err := out.end(); err != nil {
		return err
	}
	if cut {
		fmt.Fprintf(p.out, "leat status %s --json has the outcomes in full\n", file.Path)
	}
	return nil
}
