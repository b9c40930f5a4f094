package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/leat-etl/leat/engine"
)

// table prints rows in aligned columns.
type table struct {
	w      *tabwriter.Writer
	cuts   bool // long cells: a line is to fit a screen
	headed bool
	n      int64
}

func newTable(w io.Writer) *table {
	return &table{w: tabwriter.NewWriter(w, 0, 4, 2, ' ', 0), cuts: isTerminal(w)}
}

func (t *table) head(names ...string) {
	fmt.Fprintln(t.w, strings.ToUpper(strings.Join(names, "\t")))
	t.headed = true
}

func (t *table) row(cells ...any) {
	text := make([]string, len(cells))
	for i, c := range cells {
		text[i] = t.cell(fmt.Sprint(c))
	}
	fmt.Fprintln(t.w, strings.Join(text, "\t"))
	t.n++
}

// rows prints a part of a result.
func (t *table) rows(r engine.Rows) error {
	if !t.headed {
		t.head(r.Columns...)
	}
	for _, row := range r.Rows {
		cells := make([]any, len(row))
		for i, c := range row {
			cells[i] = "NULL"
			if c != nil {
				cells[i] = *c
			}
		}
		t.row(cells...)
	}
	return nil
}

// cell keeps a text inside its line.
func (t *table) cell(text string) string {
	const most = 60
	text = strings.NewReplacer("\n", `\n`, "\t", `\t`, "\r", `\r`).Replace(text)
	if r := []rune(text); t.cuts && len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return text
}

func (t *table) end() error { return t.w.Flush() }
