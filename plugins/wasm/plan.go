package wasm

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/leat-etl/leat/engine/batch"
)

// PlanInput is what a transform plans from: the table's schema, the schemas of
// the same-named tables in the pipeline's other databases, and all databases
// of the pipeline.
type PlanInput struct {
	Schema    *batch.Schema
	Peers     []*batch.Schema
	Databases []string
}

// Plan is a transform's answer for one schema. It is immutable and belongs to
// the Transform that made it.
type Plan struct {
	// Outputs are the tables that rows go to.
	Outputs []*batch.Schema
	// Sees are the names of the columns that enter the guest.
	Sees []string
	// Kernels are what the host computes on the plugin's behalf.
	Kernels []KernelUse
	// Native says that the host carries out the plan by itself: no data enters
	// the guest and Process costs next to nothing.
	Native bool

	id      uint32
	request []byte
	reply   []byte
	input   *batch.Schema
	needs   []int
	// positions: the guest is told where each row stands in the log.
	positions bool
	computed  []arrow.DataType
	filters   bool
	origins   [][]origin         // by output and column
	compared  [][]comparedColumn // by output
	kernels   []boundKernel
	wheres    []int                 // by output: the kernel that chooses its rows, -1 for none
	losses    []map[string][]string // by output and column: what the plugin declares
}

// origin says where a column of an output comes from.
type origin struct {
	kind     originKind
	index    int
	constant string
}

type originKind byte

const (
	fromColumn originKind = iota
	fromCast
	fromConstant
	fromNull
	fromComputed
	fromKernel
)

type planRequest struct {
	ABI       int             `json:"abi"`
	Kind      string          `json:"kind"`
	Plan      uint32          `json:"plan"`
	Config    json.RawMessage `json:"config"`
	Schema    *batch.Schema   `json:"schema"`
	Peers     []*batch.Schema `json:"peers,omitempty"`
	Databases []string        `json:"databases,omitempty"`
	Kernels   []string        `json:"kernels"`
	Features  []string        `json:"features"`
}

// features are what a reply may ask for that the first hosts of this ABI had
// not.
var features = []string{"positions"}

type planReply struct {
	Needs     []int        `json:"needs"`
	Positions bool         `json:"positions"`
	Computed  []string     `json:"computed"`
	Filters   bool         `json:"filters"`
	Kernels   []planKernel `json:"kernels"`
	Outputs   []planOutput `json:"outputs"`
}

type planOutput struct {
	Table   batch.TableID `json:"table"`
	Columns []planColumn  `json:"columns"`
	Where   *int          `json:"where"`
}

type planColumn struct {
	Name     string       `json:"name"`
	Format   string       `json:"format"`
	PG       batch.PGType `json:"pg_type"`
	Nullable bool         `json:"nullable"`
	Key      int          `json:"key"`
	ID       int          `json:"id"`
	Losses   []string     `json:"losses"`
	From     struct {
		Column   *int    `json:"column"`
		Cast     *int    `json:"cast"`
		Constant *string `json:"constant"`
		Null     bool    `json:"null"`
		Computed *int    `json:"computed"`
		Kernel   *int    `json:"kernel"`
	} `json:"from"`
}

// Bounds on what a plan may ask for.
const (
	maxOutputs   = 1024
	maxColumns   = 4096
	maxLosses    = 16  // of a column
	maxLossBytes = 500 // of one
)

// buildPlan checks a guest's reply against the schema it was made for.
func buildPlan(r *planReply, s *batch.Schema, plugin *Plugin) (*Plan, error) {
	p := &Plan{input: s, needs: r.Needs, positions: r.Positions, filters: r.Filters}
	seen := map[int]bool{}
	for _, i := range r.Needs {
		if i < 0 || i >= len(s.Columns) {
			return nil, fmt.Errorf("it needs column %d of a table with %d", i, len(s.Columns))
		}
		if seen[i] {
			return nil, fmt.Errorf("it needs column %q twice", s.Columns[i].Name)
		}
		seen[i] = true
		if !plugin.mayUse(s.Columns[i].Name) {
			return nil, fmt.Errorf("it needs column %q, which the pipeline does not grant to it", s.Columns[i].Name)
		}
		p.Sees = append(p.Sees, s.Columns[i].Name)
	}
	if len(r.Computed) > maxColumns || len(r.Outputs) > maxOutputs {
		return nil, fmt.Errorf("it has %d computed columns and %d outputs, the most are %d and %d", len(r.Computed), len(r.Outputs), maxColumns, maxOutputs)
	}
	for k, format := range r.Computed {
		t, err := batch.ParseFormat(format)
		if err != nil {
			return nil, fmt.Errorf("computed column %d: %w", k, err)
		}
		p.computed = append(p.computed, t)
	}
	if err := p.bindKernels(r.Kernels, plugin); err != nil {
		return nil, err
	}
	tables := map[batch.TableID]bool{}
	for i := range r.Outputs {
		o := &r.Outputs[i]
		if err := p.addOutput(o, s); err != nil {
			return nil, fmt.Errorf("output %d (%s): %w", i, o.Table, err)
		}
		if tables[o.Table] {
			return nil, fmt.Errorf("two outputs have the table %s", o.Table)
		}
		tables[o.Table] = true
	}
	if err := p.checkWheres(); err != nil {
		return nil, err
	}
	for o := range p.Outputs {
		p.compared = append(p.compared, p.comparedColumns(o))
	}
	p.Native = len(p.computed) == 0 && !p.filters && (len(p.Outputs) <= 1 || p.hostRoutes())
	return p, nil
}

func (p *Plan) addOutput(o *planOutput, s *batch.Schema) error {
	if o.Table.Name == "" {
		return fmt.Errorf("the table has no name")
	}
	if len(o.Columns) > maxColumns {
		return fmt.Errorf("%d columns are more than %d", len(o.Columns), maxColumns)
	}
	out := &batch.Schema{Table: o.Table, Version: s.Version, OID: s.OID, Columns: make([]batch.Column, len(o.Columns))}
	origins := make([]origin, len(o.Columns))
	names, losses := map[string]bool{}, map[string][]string{}
	for i := range o.Columns {
		c := &o.Columns[i]
		if c.Name == "" || !utf8.ValidString(c.Name) || names[c.Name] {
			return fmt.Errorf("column %d: the name %q is empty or taken", i, c.Name)
		}
		names[c.Name] = true
		t, err := batch.ParseFormat(c.Format)
		if err != nil {
			return fmt.Errorf("column %q: %w", c.Name, err)
		}
		if origins[i], err = p.originOf(c, t, s); err != nil {
			return fmt.Errorf("column %q: %w", c.Name, err)
		}
		if err := checkLosses(c.Losses); err != nil {
			return fmt.Errorf("column %q: %w", c.Name, err)
		}
		losses[c.Name] = c.Losses
		out.Columns[i] = batch.Column{Name: c.Name, Type: t, PG: c.PG, Nullable: c.Nullable, Key: c.Key}
		if id, missing := identityOf(c, origins[i], s); out.ColumnID(id) < 0 { // else it is a second copy
			out.Columns[i].ID, out.Columns[i].Missing = id, missing
		}
	}
	if err := checkKey(out); err != nil {
		return err
	}
	where := -1
	if o.Where != nil {
		if where = *o.Where; where < 0 || where >= len(p.kernels) {
			return fmt.Errorf("its rows are chosen by kernel %d of %d", where, len(p.kernels))
		}
		if t := p.kernels[where].Output; t.ID() != arrow.BOOL {
			return fmt.Errorf("its rows are chosen by kernel %d, whose result is %s and not bool", where, t)
		}
	}
	p.wheres = append(p.wheres, where)
	out.Arrow()
	p.Outputs, p.origins, p.losses = append(p.Outputs, out), append(p.origins, origins), append(p.losses, losses)
	return nil
}

// identityOf is which column of the source an output column is, and what rows
// older than that have: the guest is believed only for what it computes, and
// only if it names a column that there is.
func identityOf(c *planColumn, from origin, s *batch.Schema) (id int, missing *string) {
	switch from.kind {
	case fromColumn, fromCast:
		return s.Columns[from.index].ID, s.Columns[from.index].Missing
	case fromComputed, fromKernel:
		if s.ColumnID(c.ID) >= 0 {
			return c.ID, nil
		}
	}
	return 0, nil
}

// withoutValues is a schema as transforms are told of it: the values that
// Missing holds are data.
func withoutValues(s *batch.Schema) *batch.Schema {
	if s == nil {
		return nil
	}
	out := &batch.Schema{Table: s.Table, Version: s.Version, OID: s.OID, Columns: slices.Clone(s.Columns)}
	for i := range out.Columns {
		out.Columns[i].Missing = nil
	}
	return out
}

// checkKey makes sure that the key places are 1, 2, ... without gaps.
func checkKey(s *batch.Schema) error {
	places := map[int]bool{}
	for _, c := range s.Columns {
		if c.Key == 0 {
			continue
		}
		if c.Key < 0 || places[c.Key] {
			return fmt.Errorf("column %q: the place %d in the key is negative or taken", c.Name, c.Key)
		}
		places[c.Key] = true
	}
	for i := 1; i <= len(places); i++ {
		if !places[i] {
			return fmt.Errorf("the key has %d columns but no place %d", len(places), i)
		}
	}
	return nil
}

func (p *Plan) originOf(c *planColumn, t arrow.DataType, s *batch.Schema) (origin, error) {
	var found []origin
	source := func(i *int, kind originKind) {
		if i != nil {
			found = append(found, origin{kind: kind, index: *i})
		}
	}
	source(c.From.Column, fromColumn)
	source(c.From.Cast, fromCast)
	source(c.From.Computed, fromComputed)
	source(c.From.Kernel, fromKernel)
	if c.From.Constant != nil {
		found = append(found, origin{kind: fromConstant, constant: *c.From.Constant})
	}
	if c.From.Null {
		found = append(found, origin{kind: fromNull})
	}
	if len(found) != 1 {
		return origin{}, fmt.Errorf("from has %d members, expected 1", len(found))
	}
	o := found[0]
	var from arrow.DataType
	switch o.kind {
	case fromColumn, fromCast:
		if o.index < 0 || o.index >= len(s.Columns) {
			return o, fmt.Errorf("it comes from column %d of a table with %d", o.index, len(s.Columns))
		}
		from = s.Columns[o.index].Type
	case fromComputed:
		if o.index < 0 || o.index >= len(p.computed) {
			return o, fmt.Errorf("it is computed column %d of %d", o.index, len(p.computed))
		}
		from = p.computed[o.index]
	case fromKernel:
		if o.index < 0 || o.index >= len(p.kernels) {
			return o, fmt.Errorf("it is kernel %d of %d", o.index, len(p.kernels))
		}
		from = p.kernels[o.index].Output
	case fromConstant:
		from = arrow.BinaryTypes.String
		if len(o.constant) > textBound {
			return o, fmt.Errorf("its constant has %d bytes, the most are %d", len(o.constant), textBound)
		}
	case fromNull:
		return o, nil
	}
	if o.kind == fromCast {
		return o, castable(from, t)
	}
	if !arrow.TypeEqual(from, t) {
		return o, fmt.Errorf("its format is not that of what it comes from (%s)", from)
	}
	return o, nil
}

// ensurePlan makes sure that the instance has made the plan, by replaying it,
// and that it still answers the same.
func (in *instance) ensurePlan(ctx context.Context, p *Plan) error {
	if in.plans[p.id] {
		return nil
	}
	reply, err := in.callJSON(ctx, "plan", "leat_plan", p.request)
	if err != nil {
		return err
	}
	if string(reply) != string(p.reply) {
		return in.module.failure("plan", KindContract, "another instance planned %s differently from the same request", p.input.Table)
	}
	in.plans[p.id] = true
	return nil
}

// Uses are the names of the input columns whose values the plan needs, in the
// guest or in the host: what passes as it is is not among them.
func (p *Plan) Uses() []string {
	used := make([]bool, len(p.input.Columns))
	for _, i := range p.needs {
		used[i] = true
	}
	for _, origins := range p.origins {
		for _, o := range origins {
			if o.kind == fromCast {
				used[o.index] = true
			}
		}
	}
	for _, k := range p.Kernels {
		for _, name := range k.Columns {
			if i := p.input.Column(name); i >= 0 {
				used[i] = true
			}
		}
	}
	var names []string
	for i, u := range used {
		if u {
			names = append(names, p.input.Columns[i].Name)
		}
	}
	return names
}

// Filters says that the guest chooses rows: an update that it leaves out leaves
// the row at the destination as it is.
func (p *Plan) Filters() bool { return p.filters }

// Makes are the names of the columns of output o that are not input columns as
// they are.
func (p *Plan) Makes(o int) []string {
	var names []string
	for i, from := range p.origins[o] {
		if from.kind != fromColumn {
			names = append(names, p.Outputs[o].Columns[i].Name)
		}
	}
	return names
}

// checkLosses bounds what a plugin says about a column.
func checkLosses(losses []string) error {
	if len(losses) > maxLosses {
		return fmt.Errorf("it declares %d losses, the most are %d", len(losses), maxLosses)
	}
	for _, l := range losses {
		if l == "" || len(l) > maxLossBytes || !utf8.ValidString(l) {
			return fmt.Errorf("a declared loss has %d bytes: want UTF-8 text of 1 to %d", len(l), maxLossBytes)
		}
	}
	return nil
}

// Losses returns what the columns of an output cannot hold, by name: what the
// plan declares, after what was lost of the columns that they come from.
func (p *Plan) Losses(output int, before map[string][]string) map[string][]string {
	out := map[string][]string{}
	for i, c := range p.Outputs[output].Columns {
		source := c.Name
		switch o := p.origins[output][i]; o.kind {
		case fromColumn, fromCast:
			source = p.input.Columns[o.index].Name
		case fromConstant, fromNull:
			source = ""
		}
		if all := slices.Concat(before[source], p.losses[output][c.Name]); len(all) > 0 {
			out[c.Name] = all
		}
	}
	return out
}
