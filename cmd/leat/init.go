package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/engine/spec"
)

func (p *program) initCommand() *cobra.Command {
	var o initOptions
	cmd := &cobra.Command{
		Use:   "init DSN",
		Short: "Write a pipeline file for a database, and print the GRANTs it needs",
		Long: `Init connects to a database, looks at its tables, writes a pipeline file that
replicates them into a DuckDB file beside it, and prints the statements that
give the role of the DSN what replication needs. With --role the pipeline is one
of another role, which may be still to be made: the statements make it, and the
DSN is that of an administrator, say, which the file says nothing of. Init
changes nothing at the database. On a terminal it asks for the password that
neither the DSN nor PGPASSWORD nor the password file has.`,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.initialise(cmd.Context(), args[0], o)
		},
	}
	cmd.Flags().StringVar(&o.role, "role", "", "role that replicates, there or still to be made (default the role of the DSN)")
	cmd.Flags().StringVarP(&o.output, "output", "o", "", "pipeline file to write (default DATABASE.toml)")
	cmd.Flags().StringVar(&o.destination, "duckdb", "", "DuckDB file to replicate into (default DATABASE.duckdb)")
	cmd.Flags().StringVar(&o.ssh.server, "ssh", "", "SSH server USER@HOST[:PORT] to go through")
	cmd.Flags().StringVar(&o.ssh.key, "ssh-key", "", "its private key (default the SSH agent); the passphrase of an encrypted one is taken from SSH_KEY_PASSPHRASE")
	cmd.Flags().StringVar(&o.ssh.knownHosts, "ssh-known-hosts", "", "file that has its host key (default ~/.ssh/known_hosts)")
	return cmd
}

type initOptions struct {
	role, output, destination string
	ssh                       sshFlags
}

func (p *program) initialise(ctx context.Context, dsn string, o initOptions) (err error) {
	cfg, err := postgres.ParseDSN(dsn)
	if err != nil {
		return err
	}
	tunnel, err := o.ssh.config()
	if err != nil {
		return err
	}
	if tunnel != nil {
		cfg.Tunnel = postgres.NewTunnel(*tunnel)
	}
	database := cfg.Database
	source, err := postgres.Open(ctx, &cfg.Config, database)
	if isPasswordMissing(err) && cfg.Password == "" && term.IsTerminal(int(os.Stdin.Fd())) {
		var refused *postgres.Error
		if errors.As(err, &refused) {
			fmt.Fprintln(p.err, strings.Join(refused.Causes, "\n"))
		}
		password, askErr := p.askSecret("password of role " + cfg.User + ": ")
		if askErr != nil {
			return errors.Join(err, askErr)
		}
		cfg.Password = string(password)
		source, err = postgres.Open(ctx, &cfg.Config, database)
	}
	if err != nil {
		return withRoleHint(err, o.role)
	}
	defer func() { err = errors.Join(err, source.Close(context.WithoutCancel(ctx))) }()
	tables, err := source.Tables(ctx, postgres.Selection{Include: []string{"*"}})
	if err != nil {
		return err
	}
	o.output, o.destination = cmp.Or(o.output, database+".toml"), cmp.Or(o.destination, database+".duckdb")
	if o.role != "" {
		cfg.User, cfg.Password = o.role, passwordToFill
	}
	f, err := os.OpenFile(o.output, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, os.ErrExist) {
		return errUsage{fmt.Errorf("%s exists: remove it, or name another file with --output", o.output)}
	}
	if err != nil {
		return err
	}
	section, err := sourceSection(cfg, tunnel)
	if err == nil {
		_, err = f.WriteString(section + pipelineFile(o.destination, tables))
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write pipeline file: %w", err)
	}
	fmt.Fprintf(p.out, "wrote %s\n\n", o.output)
	if err := p.printGrants(ctx, source, cfg.User, o.output, tables); err != nil {
		return err
	}
	then, export := "Then", ""
	if o.role != "" {
		then += ", with the password of " + o.role
	}
	if cfg.Password != "" && (cfg.Service == "" || o.role != "") {
		export = "export PGPASSWORD=..., "
	}
	fmt.Fprintf(p.out, "\n%[3]s: %[2]sleat check %[1]s, leat plan %[1]s, leat run %[1]s\n", o.output, export, then)
	return nil
}

// passwordToFill stands for the password of a role that is still to be made. A
// pipeline file takes any password from the environment.
const passwordToFill = "..."

// withRoleHint says how a pipeline is made for a role that does not exist yet.
func withRoleHint(err error, role string) error {
	var source *postgres.Error
	if role == "" && errors.As(err, &source) && source.Code == postgres.CodePassword {
		source.Hint += "\nIf the role is still to be made: leat init with the DSN of a role that is there, and --role for the new one"
	}
	return err
}

// printGrants prints what makes a role fit to replicate tables.
func (p *program) printGrants(ctx context.Context, source *postgres.Source, name, file string, tables []*postgres.Table) error {
	role, err := source.Role(ctx, name)
	if err != nil {
		return err
	}
	if role.Superuser {
		fmt.Fprintf(p.out, "%s is a superuser, and needs no rights. leat init with --role NAME makes a pipeline of a role that may do no more than it has to, and prints what makes that role\n", name)
		return nil
	}
	creators, err := source.Creators(ctx, name, slices.DeleteFunc(slices.Clone(tables), func(t *postgres.Table) bool { return t.Reason != "" }))
	if err != nil {
		return err
	}
	makes := "An administrator makes the role, and gives it what replication needs, with (psql):"
	if role.Exists {
		makes = "An administrator gives the role what replication needs with (psql):"
	}
	fmt.Fprintf(p.out, "%s\n\n", makes)
	for _, sql := range postgres.Grants(name, role.Exists, []string{source.Database}, creators) {
		fmt.Fprintf(p.out, "  %s\n", sql)
	}
	return p.printPublication(ctx, source, name, file, tables)
}

// isPasswordMissing says whether a server wants a password that it did not get.
func isPasswordMissing(err error) bool {
	var source *postgres.Error
	return errors.As(err, &source) && source.Code == postgres.CodePassword
}

// printPublication prints what it takes to publish tables that a role does
// not own.
func (p *program) printPublication(ctx context.Context, source *postgres.Source, role, file string, tables []*postgres.Table) error {
	s, err := spec.Load(file)
	if err != nil {
		return err
	}
	choices, err := source.PublicationChoices(ctx, engine.PublicationName(s, source.Database), role, tables)
	if len(choices) > 0 {
		fmt.Fprintln(p.out)
	}
	for _, sql := range choices {
		fmt.Fprintf(p.out, "  %s\n", sql)
	}
	return err
}

func schemasOf(tables []*postgres.Table) []string {
	var out []string
	for _, t := range tables {
		if t.Reason == "" && !slices.Contains(out, t.ID().Schema) {
			out = append(out, t.ID().Schema)
		}
	}
	return out
}

// pipelineFile is what follows the source in a pipeline for the tables of a
// database.
func pipelineFile(destination string, tables []*postgres.Table) string {
	var s strings.Builder
	s.WriteString("\n[objects]\ninclude = [")
	for i, schema := range schemasOf(tables) {
		if i > 0 {
			s.WriteString(", ")
		}
		s.WriteString(quoted(pattern(schema) + ".*"))
	}
	s.WriteString("]\n")
	for _, t := range tables {
		switch {
		case t.Reason != "":
			fmt.Fprintf(&s, "# %s.%s is not replicated: %s\n", t.ID().Schema, t.ID().Name, t.Reason)
		case t.Keyless:
			fmt.Fprintf(&s, "# %s.%s has no key: only its inserts and truncates are replicated\n", t.ID().Schema, t.ID().Name)
		}
	}
	fmt.Fprintf(&s, "\n[[transforms]]\nplugin = \"array-to-varchar\"\n\n[destination]\nplugin = \"duckdb\"\nconfig = { path = %s }\n", quoted(destination))
	return s.String()
}

// quoted is a TOML basic string.
func quoted(s string) string { return strconv.Quote(s) }

// pattern quotes a name for an object pattern.
func pattern(name string) string {
	if strings.ContainsAny(name, `.*?" ,;`) {
		return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
	}
	return name
}
