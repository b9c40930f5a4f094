package main

import (
	"github.com/spf13/cobra"

	"github.com/leat-etl/leat/engine/spec"
)

func (p *program) schemaCommand() *cobra.Command {
	var reference bool
	cmd := &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of pipeline files",
		Long: `Schema prints the JSON Schema of pipeline files, with which an editor completes
and checks them; with --reference the same as Markdown.`,
		Args: exactly(0),
		RunE: func(*cobra.Command, []string) error {
			text := spec.Schema()
			if reference {
				text = []byte(spec.Reference())
			}
			_, err := p.out.Write(text)
			return err
		},
	}
	cmd.Flags().BoolVar(&reference, "reference", false, "print the keys as Markdown")
	return cmd
}
