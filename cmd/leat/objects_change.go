package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/state"
)

const namingHelp = `

A table is named as schema.table or database.schema.table, or several by a
pattern such as public.audit_*. A running engine does it at once; without one
it is noted for the next run.`

// objectsChangeCommands are the verbs that change what becomes of objects.
func (p *program) objectsChangeCommands() []*cobra.Command {
	verbs := []struct{ verb, short, long string }{
		{engine.SkipObjects, "Leave tables out", `Skip takes tables out of the replication until they are included again. Their
rows stay at the destination, and the source keeps no log for them.`},
		{engine.IncludeObjects, "Take tables in that are skipped", `Include takes tables in that were skipped, by an operator or because
include_new_tables is off, and loads them beside the others: what changed in
the meantime is not in the log any more.`},
		{engine.PauseObjects, "Let the changes of tables wait", `Pause keeps the changes of tables on this machine, up to spool_budget, until the
tables are resumed: neither the log at the source nor other tables wait. A table
whose historical load is not done is loaded anew then. In a pipeline that
queries its source the runs leave the tables out.`},
		{engine.ResumeObjects, "Deliver what has waited of tables that are paused", `Resume delivers what has waited of paused tables, in order and beside the log of
the others, and then lets them follow it again.`},
		{engine.RestartObjects, "Load tables again", `Restart takes the rows of tables back at the destination, as a TRUNCATE does, and
loads them again. Other tables go on. In a pipeline that queries its source the
tables are read from the beginning at the next run.`},
	}
	var out []*cobra.Command
	for _, v := range verbs {
		request := engine.ObjectRequest{Verb: v.verb}
		cmd := &cobra.Command{
			Use: v.verb + " FILE TABLE...", Short: v.short, Args: atLeast(2),
			Long: v.long + namingHelp,
			RunE: func(cmd *cobra.Command, args []string) error {
				request.Tables = args[1:]
				return p.changeObjects(cmd.Context(), args[0], request)
			},
		}
		if v.verb == engine.RestartObjects {
			cmd.Flags().BoolVar(&request.Confirmed, "yes", false, "do not ask")
		}
		out = append(out, cmd)
	}
	return append(out, p.objectsSetModeCommand(), p.objectsSetPositionCommand())
}

// changeObjects asks the running engine, or notes it in the state folder.
func (p *program) changeObjects(ctx context.Context, path string, request engine.ObjectRequest) error {
	s, client, err := p.locate(path)
	if err != nil {
		return err
	}
	change := func(r engine.ObjectRequest) ([]state.Object, error) { return client.ChangeObjects(ctx, r) }
	if client == nil {
		store, err := p.stoppedForWriting(s)
		if err != nil {
			return err
		}
		defer store.Close()
		change = func(r engine.ObjectRequest) ([]state.Object, error) { return engine.NoteObjects(ctx, store, s, r) }
	}
	changed, err := change(request)
	var unsaid *engine.UnconfirmedError
	if errors.As(err, &unsaid) && p.agrees(fmt.Sprintf("%v.\nThe rows at the destination are taken back and come again. Go on?", unsaid)) {
		request.Confirmed = true
		changed, err = change(request)
	}
	if err != nil {
		return err
	}
	if p.json {
		return json.NewEncoder(p.out).Encode(changed)
	}
	if err := p.printObjects(changed); err != nil {
		return err
	}
	if client == nil {
		fmt.Fprintf(p.out, "\nthe pipeline does not run: leat run %s does it\n", path)
	}
	return nil
}

// agrees asks a person at the terminal.
func (p *program) agrees(question string) bool {
	if p.json || !isTerminal(p.out) {
		return false
	}
	fmt.Fprintf(p.out, "%s [y/N] ", question)
	answer, _ := bufio.NewReader(os.Stdin).ReadString('\n') // no answer is no
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes"
}
