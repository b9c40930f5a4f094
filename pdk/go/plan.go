package pdk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// PlanInput is what a transform plans from. Peers are the schemas of the
// same-named tables of the pipeline's other databases, Databases all databases
// of the pipeline.
type PlanInput struct {
	Schema    *Schema
	Peers     []*Schema
	Databases []string
	// Kernels are the names of the kernels that the host has, Features those of
	// what a plan may ask for that not every host of this ABI has, see
	// Plan.Positions.
	Kernels  []string
	Features []string
	// RawConfig is the plugin's configuration as the pipeline gives it.
	RawConfig json.RawMessage
}

// Config decodes the plugin's configuration into v. An unknown key is an
// error.
func (in *PlanInput) Config(v any) error { return DecodeConfig(in.RawConfig, v) }

// DecodeConfig decodes a configuration strictly: an unknown key is an error.
func DecodeConfig(raw json.RawMessage, v any) error {
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return errors.New("decode config: " + strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("decode config: more than one value")
	}
	return nil
}

// Plan says what becomes of a table. The zero Plan has no output: every row
// is dropped.
type Plan struct {
	// Needs are the input columns that Process sees, in this order.
	Needs []int `json:"needs"`
	// Positions says that Process asks where rows stand in the log, see
	// Batch.Place. The host has to have the feature "positions".
	Positions bool `json:"positions,omitempty"`
	// Computed are the formats of the columns that Process returns.
	Computed []string `json:"computed"`
	// Filters says that Process may select rows: drop, repeat or fan out.
	Filters bool `json:"filters"`
	// Kernels are what the host computes for the plugin; see Plan.Kernel.
	Kernels []Kernel `json:"kernels,omitempty"`
	// Outputs are the tables that rows go to. With more than one, Process
	// routes every row.
	Outputs []Table `json:"outputs"`
	// Process is called for each batch if there are computed columns, filters
	// or several outputs. An error fails the whole batch; Output.Fail fails
	// one row.
	Process func(in *Batch, out *Output) error `json:"-"`

	rewrites []rewrite
	widths   []int // of the needed columns
}

// rewrite fills a computed column from the rows that come in.
type rewrite struct {
	out  int
	fill func(*Batch, *Output) error
}

// Table is an output of a plan.
type Table struct {
	Table   TableID        `json:"table"`
	Columns []OutputColumn `json:"columns"`
	// Where is the kernel, of boolean result, that chooses the rows of the
	// output; nil takes all that Process sends there.
	Where *int `json:"where,omitempty"`
}

// OutputColumn is a column of an output and where it comes from.
type OutputColumn struct {
	Column
	From From `json:"from"`
	// Losses say for people what of the input the column cannot hold: leat plan
	// shows them before anything is written.
	Losses []string `json:"losses,omitempty"`
}

// From is the origin of an output column. Exactly one field is set; use Pass,
// Cast, Constant, Null, Computed or FromKernel.
type From struct {
	Column   *int    `json:"column,omitempty"`
	Cast     *int    `json:"cast,omitempty"`
	Constant *string `json:"constant,omitempty"`
	Null     bool    `json:"null,omitempty"`
	Computed *int    `json:"computed,omitempty"`
	Kernel   *int    `json:"kernel,omitempty"`
}

// Pass takes input column i as it is.
func Pass(i int) From { return From{Column: &i} }

// Cast takes input column i, converted by the host without loss to the output
// column's format: to a wider integer, decimal or float, date to timestamp,
// and anything to text in PostgreSQL's text form.
func Cast(i int) From { return From{Cast: &i} }

// Constant fills a text column with one value.
func Constant(value string) From { return From{Constant: &value} }

// Null fills the column with nulls.
func Null() From { return From{Null: true} }

// Computed takes computed column k of Process.
func Computed(k int) From { return From{Computed: &k} }

// KeepAll returns the plan that changes nothing, to be changed from there.
func KeepAll(s *Schema) *Plan {
	t := Table{Table: s.Table, Columns: make([]OutputColumn, len(s.Columns))}
	for i, c := range s.Columns {
		t.Columns[i] = OutputColumn{Column: c, From: Pass(i)}
	}
	return &Plan{Outputs: []Table{t}}
}

// Need asks for input column i and returns its index in the Batch.
func (p *Plan) Need(i int) int {
	for at, c := range p.Needs {
		if c == i {
			return at
		}
	}
	p.Needs = append(p.Needs, i)
	return len(p.Needs) - 1
}

// Compute announces a computed column of the given format and returns its
// index in the Output.
func (p *Plan) Compute(format string) int {
	p.Computed = append(p.Computed, format)
	return len(p.Computed) - 1
}

// Rewrite replaces text or binary column i of the first output, which keeps
// its type, by what rewrite appends for each value. Null stays null, absent
// stays absent, and an error fails the row. Rewrites run before Process; where
// that chooses rows, their columns follow its choice.
func (p *Plan) Rewrite(i int, rewrite func(dst, value []byte) ([]byte, error)) {
	c := &p.Outputs[0].Columns[i]
	in, out := p.Need(i), p.Compute(c.Format)
	c.From = Computed(out)
	p.rewrites = append(p.rewrites, rewriteOf(in, out, rewrite))
}

func rewriteOf(in, out int, f func(dst, value []byte) ([]byte, error)) rewrite {
	return rewrite{out, func(b *Batch, o *Output) error { return MapText(b, in, o, out, f) }}
}

// native says whether the host carries out the plan without Process.
func (p *Plan) native() bool {
	return len(p.Computed) == 0 && !p.Filters && (len(p.Outputs) <= 1 || p.hostRoutes())
}

// hostRoutes says whether the host chooses the rows of every output.
func (p *Plan) hostRoutes() bool {
	for i := range p.Outputs {
		if p.Outputs[i].Where == nil {
			return false
		}
	}
	return len(p.Outputs) > 0
}

// Run does what the host does for each batch: the rewrites, then Process. Tests
// call it.
func (p *Plan) Run(b *Batch, o *Output) error {
	for _, r := range p.rewrites {
		if err := r.fill(b, o); err != nil {
			return err
		}
	}
	if p.Process == nil {
		if len(p.rewrites) == 0 {
			return fmt.Errorf("the plan needs a Process function")
		}
		return nil
	}
	if err := p.Process(b, o); err != nil {
		return err
	}
	if o.selected {
		for _, r := range p.rewrites {
			o.columns[r.out].choose(o.rows)
		}
	}
	return nil
}
