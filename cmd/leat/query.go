package main

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"strconv"
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
reads: a statement that would change something is refused.

Values are printed as PostgreSQL prints them, times in UTC, and NULL as NULL. On a
terminal long ones are cut, in a pipe or a file they are whole. --json writes an
object for each row: booleans and numbers as such where no reader of JSON changes
them, which are integers up to 2^53, floats and decimals of up to 15 digits; NULL
as null, and every other value as a string.`,
		Args: exactly(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, client, err := p.locate(args[0])
			if err != nil {
				return err
			}
			out := newTable(p.out)
			take := out.rows
			if p.json {
				take = func(r engine.Rows) error { return writeObjects(p.out, r) }
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

// writeObjects writes each row as a JSON object on a line, its columns in their
// order.
func writeObjects(w io.Writer, r engine.Rows) error {
	var line bytes.Buffer
	for _, row := range r.Rows {
		line.Reset()
		for i, cell := range row {
			name, err := json.Marshal(r.Columns[i])
			if err != nil {
				return err
			}
			line.WriteByte("{,"[min(i, 1)])
			line.Write(name)
			line.WriteByte(':')
			value, err := jsonValue(r.Kinds[i], cell)
			if err != nil {
				return err
			}
			line.WriteString(value)
		}
		line.WriteString("}\n")
		if _, err := line.WriteTo(w); err != nil {
			return err
		}
	}
	return nil
}

// exactIntegers is up to where every reader of JSON has each integer.
const exactIntegers = 1 << 53

// jsonValue is a cell in JSON: what a reader of JSON that has only floats would
// change is a string.
func jsonValue(kind engine.CellKind, cell *string) (string, error) {
	if cell == nil {
		return "null", nil
	}
	switch kind {
	case engine.KindBoolean:
		return *cell, nil
	case engine.KindInteger:
		if n, err := strconv.ParseInt(*cell, 10, 64); err == nil && -exactIntegers <= n && n <= exactIntegers {
			return *cell, nil
		}
	case engine.KindNumber:
		if f, err := strconv.ParseFloat(*cell, 64); err == nil && !math.IsNaN(f) && !math.IsInf(f, 0) {
			return *cell, nil
		}
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(*cell)
	return strings.TrimSuffix(text.String(), "\n"), err
}
