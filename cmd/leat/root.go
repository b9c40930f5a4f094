package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/lmittmann/tint"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/leat-etl/leat/engine/spec"
)

// version is set by the build.
var version = "dev"

// program is what every verb shares: where it writes and how.
type program struct {
	out, err io.Writer
	json     bool
	logJSON  bool
	verbose  bool
	stateDir string
}

func execute(ctx context.Context, args []string, out, errOut io.Writer) int {
	if isTerminal(errOut) {
		errOut = &screen{w: errOut}
	}
	out = printable{out}
	p := &program{out: out, err: errOut}
	root := p.root()
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.ExecuteContext(ctx)
	if err != nil && strings.HasPrefix(err.Error(), "unknown command ") { // cobra has no type for it
		err = errUsage{err}
	}
	if err != nil {
		report(printable{errOut}, err)
	}
	return exitCode(err)
}

func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "leat",
		Short: "Replicate PostgreSQL through WebAssembly plugins",
		Long: `Leat reads PostgreSQL's write-ahead log and tables and passes every batch through
sandboxed WebAssembly plugins: transforms that shape it and a destination that
stores it, exactly once.

A pipeline is one TOML file. Start with leat demo, or leat init DSN.`,
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.PersistentFlags().BoolVar(&p.json, "json", false, "print results as JSON")
	root.PersistentFlags().BoolVar(&p.logJSON, "log-json", false, "write the log as JSON lines")
	root.PersistentFlags().BoolVarP(&p.verbose, "verbose", "v", false, "log details")
	root.PersistentFlags().StringVar(&p.stateDir, "state-dir", "", "state folder (default .leat/NAME beside the pipeline file)")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return errUsage{err} })
	root.AddCommand(p.demoCommand(), p.initCommand(), p.checkCommand(), p.planCommand(), p.runCommand(),
		p.statusCommand(), p.objectsCommand(), p.failedCommand(), p.verifyCommand(), p.explainCommand(), p.queryCommand(),
		p.dropCommand(), p.schemaCommand(), p.pluginCommand(), p.marketplaceCommand())
	root.AddCommand(&cobra.Command{Use: "exit-codes", Short: "The exit codes of leat", Long: exitCodeHelp})
	addExamples(root)
	for _, c := range root.Commands() {
		if c.HasSubCommands() && !c.Runnable() {
			c.SuggestionsMinimumDistance = 2
			c.Args, c.RunE = noneUnknown, func(c *cobra.Command, _ []string) error { return c.Help() }
		}
	}
	return root
}

// positionHelp explains what the verbs print as a position.
const positionHelp = `

A position such as 1:0/16B3748+12 is a place in the log of the source. 1 is the
timeline of the server: a failover begins the next one. 0/16B3748 is the place in
the log (LSN) at which a transaction was committed, in the form of
pg_current_wal_lsn(). +12 is the twelfth change of that transaction, +0 the place
before its first; without it the whole transaction is meant.`

// noneUnknown refuses the name of a subcommand that its command has not;
// cobra does so for the root only.
func noneUnknown(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := ""
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = fmt.Sprintf("; did you mean %q?", near[0])
	}
	return errUsage{fmt.Errorf("unknown command %q for %q%s", args[0], cmd.CommandPath(), hint)}
}

// exactly is cobra.ExactArgs with a usage error that says what is missing.
func exactly(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := cobra.ExactArgs(n)(cmd, args); err != nil {
			return errUsage{err}
		}
		return nil
	}
}

// log writes to standard error as the pipeline file says, unless a flag says
// otherwise: text, coloured on a terminal, or JSON lines.
func (p *program) log(o spec.Log) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(o.Level)); err != nil {
		level = slog.LevelInfo
	}
	if p.verbose {
		level = slog.LevelDebug
	}
	if p.logJSON || o.Format == "json" {
		return slog.New(slog.NewJSONHandler(p.err, &slog.HandlerOptions{Level: level}))
	}
	return slog.New(tint.NewHandler(p.err, &tint.Options{Level: level, NoColor: !colours(p.err), TimeFormat: "15:04:05"}))
}

func isTerminal(w io.Writer) bool {
	if p, ok := w.(printable); ok {
		w = p.w
	}
	if s, ok := w.(*screen); ok {
		w = s.w
	}
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// colours says whether w may be coloured: a terminal, without NO_COLOR.
func colours(w io.Writer) bool {
	return isTerminal(w) && os.Getenv("NO_COLOR") == ""
}
