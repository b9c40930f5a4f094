package engine

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/plugins/capability"
	"github.com/leat-etl/leat/plugins/wasm"
	"github.com/leat-etl/leat/state"
)

// PlannedTable is what the pipeline would make of a source table.
type PlannedTable struct {
	Source batch.TableID `json:"source"`
	// Reason is why the table is not replicated, empty if it is. Fix is what mends
	// that, where something does: the table is then planned all the same.
	Reason string `json:"reason,omitempty"`
	Fix    string `json:"fix,omitempty"`
	// QueryMode is how the table is read, empty for the log. RestartFrom is how
	// it was read when that has changed: its ingestion starts anew.
	QueryMode string `json:"query_mode,omitempty"`
	// Decided says that an operator has it read so, whatever the file says. In
	// mode logical QueryMode is then the order of the historical load.
	Decided     bool   `json:"decided,omitempty"`
	RestartFrom string `json:"restart_from,omitempty"`
	// TransformsFrom are those that made the rows at the destination, where
	// TransformsTo, those of the pipeline file, are others.
	TransformsFrom string `json:"transforms_from,omitempty"`
	TransformsTo   string `json:"transforms_to,omitempty"`
	// Note says what a table without a key gets, and what would improve it.
	Note string `json:"note,omitempty"`
	// Skipped are columns that are not replicated.
	Skipped []string `json:"skipped,omitempty"`
	// Withheld are new columns that no rule claims.
	Withheld []string `json:"withheld,omitempty"`
	// Sees says which columns enter which plugin, in the order of the chain.
	Sees    []PluginView    `json:"sees,omitempty"`
	Targets []PlannedTarget `json:"targets,omitempty"`
}

// PluginView is the columns of a table that a transform sees.
type PluginView struct {
	Plugin string `json:"plugin"`
	// Columns that enter the plugin's memory; none if it only plans.
	Columns []string `json:"columns"`
	// Kernels are what the host computes for the plugin, and of which columns:
	// those do not enter its memory.
	Kernels []wasm.KernelUse `json:"kernels,omitempty"`
}

// PlannedTarget is a table at the destination.
type PlannedTarget struct {
	Table      string          `json:"table"`
	Columns    []PlannedColumn `json:"columns"`
	Statements []string        `json:"statements"`
	// Reload says why its rows would be loaded again, empty if they would not.
	Reload string `json:"reload,omitempty"`
	// Indexes are those of the source, and its constraints, which Leat does not
	// make.
	Indexes []PlannedIndex `json:"indexes,omitempty"`
}

// PlannedColumn is a column at the destination.
type PlannedColumn struct {
	Name string `json:"name"`
	Type string `json:"type"`
	// Source is the column behind it, empty for one that the destination adds.
	Source     string `json:"source,omitempty"`
	SourceType string `json:"source_type,omitempty"`
	Key        bool   `json:"key,omitempty"`
	// Losses are what the type cannot hold (invariant 6).
	Losses []string `json:"losses,omitempty"`

	number int // of the source's column, 0 for none
}

// ownChain is a chain with a connection to the destination beside those of the
// pipeline, which may be running.
type ownChain struct {
	chain       *Chain
	destination *wasm.Destination
	sql         capability.SQL
}

func (p *Pipeline) openChain(ctx context.Context) (*ownChain, error) {
	own := &ownChain{chain: newChain(p.plugins, Databases(p.Spec), p.Spec.Values)}
	var err error
	if own.destination, _, own.sql, err = p.plugins.openDestination(ctx); err != nil {
		return nil, err
	}
	if err := recall(own.chain, p.store, p.Spec.Source.MergeTables); err != nil {
		own.close(context.WithoutCancel(ctx))
		return nil, err
	}
	own.chain.replan(own.destination)
	return own, nil
}

func (own *ownChain) close(ctx context.Context) {
	_ = errors.Join(own.destination.Close(ctx), own.sql.Close()) // nothing was written
}

// Plan says what the pipeline would create and change, what would be lost and
// which plugin would see which column. It writes nothing to the source, and
// may be called while the pipeline runs.
func (p *Pipeline) Plan(ctx context.Context) (_ []PlannedTable, err error) {
	if p.Spec.Queries() {
		return p.planQueries(ctx)
	}
	cfg, err := SourceConfig(p.Spec)
	if err != nil {
		return nil, err
	}
	own, err := p.openChain(ctx)
	if err != nil {
		return nil, err
	}
	defer own.close(context.WithoutCancel(ctx))
	var tables, refused []*postgres.Table
	withheld := map[batch.TableID][]string{}
	indexes := map[batch.TableID][]postgres.Index{}
	for _, database := range Databases(p.Spec) {
		source, err := postgres.Open(ctx, cfg, database)
		if err != nil {
			return nil, err
		}
		found, err := source.Tables(ctx, selection(p.Spec))
		if err == nil {
			err = markObstacles(ctx, p.Spec, source, found, func(*postgres.Table) bool { return p.Spec.Source.LoadHistoricalData })
		}
		var have map[uint32][]postgres.Index
		if err == nil {
			have, err = indexesOf(ctx, source, found)
		}
		if err := errors.Join(err, source.Close(ctx)); err != nil {
			return nil, err
		}
		kept, err := p.showVisible(ctx, database, found)
		if err != nil {
			return nil, err
		}
		maps.Copy(withheld, kept)
		for _, t := range found {
			indexes[t.ID()] = have[t.OID]
			if t.Reason != "" {
				refused = append(refused, t)
				continue
			}
			own.chain.Announce(t.Schema)
			tables = append(tables, t)
		}
	}
	chains, err := own.chains(ctx)
	if err != nil {
		return nil, err
	}
	records, err := objectRecords(p.store)
	if err != nil {
		return nil, err
	}
	out := make([]PlannedTable, len(tables)+len(refused))
	for i, t := range slices.Concat(tables, refused) {
		if i == len(tables) { // the others do not wait for what these bring to a merged table
			own.announceMendable(refused)
		}
		if out[i], err = own.planTable(ctx, t); err != nil {
			return nil, err
		}
		out[i].Withheld = withheld[t.ID()]
		p.addIndexes(&out[i], indexes[t.ID()])
		if r := records[t.ID()].Reading; r != nil {
			rule := ruleWith(p.Spec, t.ID(), r)
			out[i].QueryMode, out[i].Decided = rule.Identity(""), true
		}
		if was, is := chains[t.ID()], p.plugins.chainOf(t.ID()); was != "" && was != is {
			out[i].TransformsFrom, out[i].TransformsTo = was, is
		}
	}
	return out, nil
}

func (own *ownChain) announceMendable(tables []*postgres.Table) {
	for _, t := range tables {
		if mendable(t) {
			own.chain.Announce(t.Schema)
		}
	}
}

// mendable says whether a table is replicated, or is as soon as the role may.
func mendable(t *postgres.Table) bool { return t.Reason == "" || t.Fix != "" }

func (own *ownChain) planTable(ctx context.Context, t *postgres.Table) (PlannedTable, error) {
	out := PlannedTable{Source: t.ID(), Reason: t.Reason, Fix: t.Fix, Skipped: t.Skipped}
	if !mendable(t) {
		return out, nil
	}
	switch {
	case t.Keyless:
		out.Note = "the log identifies no row of this table: inserts and truncates are replicated, updates and deletes are not; a primary key, REPLICA IDENTITY USING INDEX or FULL makes them (leat check has the statement)"
	case len(t.Schema.Key()) == 0:
		out.Note = "under REPLICA IDENTITY FULL without a key updates and deletes are applied by the whole row; a primary key makes less log and is faster"
	}
	err := own.planTargets(ctx, t.Schema, &out)
	var refused *PluginFailure
	if errors.As(err, &refused) { // it is paused by itself, and the others are replicated
		out.Reason, out.Fix, err = refused.Error(), refused.Hint(), nil
	}
	return out, err
}

// planTargets adds where the rows of a schema land.
func (own *ownChain) planTargets(ctx context.Context, s *batch.Schema, out *PlannedTable) error {
	root, err := own.chain.plan(ctx, s)
	if err != nil {
		return err
	}
	root.describe(out, root.values.losses())
	return nil
}

// describe walks a planned chain. losses are those of the policies, and then of
// the transforms, by column.
func (s *step) describe(out *PlannedTable, losses map[string][]string) {
	if s.target == nil {
		out.Sees = append(out.Sees, PluginView{s.transform.loaded.identity(), s.plan.Sees, s.plan.Kernels})
		for i, next := range s.next {
			next.describe(out, s.plan.Losses(i, losses))
		}
		return
	}
	target := PlannedTarget{Table: s.target.Table, Statements: s.target.Statements, Reload: s.target.Reload}
	for _, c := range s.target.Columns {
		planned := PlannedColumn{Name: c.Name, Type: c.Type, Source: c.Source, Losses: slices.Concat(losses[c.Source], c.Losses)}
		if i := s.schema.Column(c.Source); c.Source != "" && i >= 0 {
			planned.SourceType, planned.number = s.schema.Columns[i].PG.Name, s.schema.Columns[i].ID
			planned.Key = s.schema.Columns[i].Key > 0
		}
		target.Columns = append(target.Columns, planned)
	}
	out.Targets = append(out.Targets, target)
}

// DescribedEvent is a failed event with its row for people.
type DescribedEvent struct {
	Event state.Failed   `json:"event"`
	Rows  []DescribedRow `json:"rows"`
}

// DescribedRow is a row of a failed event: the old key of a change of key, or
// the row itself.
type DescribedRow struct {
	Op    string          `json:"operation"`
	Cells []DescribedCell `json:"cells"`
}

// DescribedCell is a cell in one of the states value, null and absent.
type DescribedCell struct {
	Column string `json:"column"`
	State  string `json:"state"`
	Value  string `json:"value,omitempty"`
	Key    bool   `json:"key,omitempty"`
}

// values are those of the rows by column, of the key alone if that is asked for.
func (e *DescribedEvent) values(key bool) (out []map[string]string) {
	for _, row := range e.Rows {
		values := map[string]string{}
		for _, cell := range row.Cells {
			if cell.State == "value" && (cell.Key || !key) {
				values[cell.Column] = cell.Value
			}
		}
		out = append(out, values)
	}
	return out
}

// Describe reads the row of a failed event.
func Describe(f state.Failed) (*DescribedEvent, error) {
	out := &DescribedEvent{Event: f}
	if len(f.Payload) == 0 || f.Payload[0] == '{' {
		return out, nil // half of a change of key, or not decodable
	}
	b, err := batch.Unmarshal(f.Payload)
	if err != nil {
		return nil, err
	}
	defer b.Release()
	for r := range b.Ops {
		row := DescribedRow{Op: b.Ops[r].String()}
		for i, c := range b.Schema.Columns {
			cell := DescribedCell{Column: c.Name, State: "value", Key: c.Key > 0}
			switch arr := b.Rows.Column(i); {
			case !b.IsPresent(i, r):
				cell.State = "absent"
			case arr.IsNull(r):
				cell.State = "null"
			default:
				cell.Value = strings.Clone(arr.ValueStr(r))
			}
			row.Cells = append(row.Cells, cell)
		}
		out.Rows = append(out.Rows, row)
	}
	return out, nil
}
