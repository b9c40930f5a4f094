package engine

import (
	"context"
	"errors"
	"slices"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
)

// DDLPlan says what statements would do to a pipeline if they were run at its
// source.
type DDLPlan struct {
	Tables []ChangedTable `json:"tables"`
	// Notes are about statements that change nothing that is replicated.
	Notes []string `json:"notes,omitempty"`
	// Stops says that the pipeline would end at one of the changes.
	Stops bool `json:"stops"`
}

// ChangedTable is what would become of one source table.
type ChangedTable struct {
	Source  batch.TableID   `json:"source"`
	Changes []DecidedChange `json:"changes"`
	// Reload says why the rows at the destination would be loaded again, empty
	// if changing the table there is enough.
	Reload string `json:"reload,omitempty"`
	// Warnings are what the statements would break, or leave unprotected.
	Warnings []string `json:"warnings,omitempty"`
	// Fault is why a plugin could not take the table.
	Fault   string             `json:"fault,omitempty"`
	Targets []ChangedPlacement `json:"targets,omitempty"`
}

// DecidedChange is a change with what the pipeline file says of its kind.
type DecidedChange struct {
	SchemaChange
	Policy string `json:"policy"`
}

// ChangedPlacement is what would be done to a table at the destination.
type ChangedPlacement struct {
	Table      string   `json:"table"`
	Statements []string `json:"statements"`
	// Losses are the columns whose type there would lose something that it does
	// not lose now.
	Losses []PlannedColumn `json:"losses,omitempty"`
}

// PlanDDL says what statements would do. It tries them at the source on empty
// copies of the tables (see postgres.Source.Rehearse) and changes nothing
// there or at the destination.
func (p *Pipeline) PlanDDL(ctx context.Context, ddl string) (*DDLPlan, error) {
	cfg, err := SourceConfig(p.Spec)
	if err != nil {
		return nil, err
	}
	own, err := p.openChain(ctx)
	if err != nil {
		return nil, err
	}
	defer own.close(context.WithoutCancel(ctx))
	out := new(DDLPlan)
	var changed []postgres.Rehearsed
	for _, database := range Databases(p.Spec) {
		r, err := p.rehearse(ctx, own, cfg, database, ddl)
		if err != nil {
			return nil, err
		}
		changed = append(changed, r.Tables...)
		for _, note := range r.Notes {
			if !slices.Contains(out.Notes, note) {
				out.Notes = append(out.Notes, note)
			}
		}
	}
	before := make([]PlannedTable, len(changed))
	for i, t := range changed {
		if t.Before != nil {
			if before[i], err = own.planTable(ctx, t.Before); err != nil {
				return nil, err
			}
		}
	}
	for _, t := range changed {
		if t.After != nil {
			own.chain.Announce(t.After.Schema)
		}
	}
	for i, t := range changed {
		one, err := p.planChange(ctx, own, t, before[i])
		if err != nil {
			return nil, err
		}
		out.Tables = append(out.Tables, *one)
		out.Stops = out.Stops || one.stops()
	}
	return out, nil
}

func (p *Pipeline) rehearse(ctx context.Context, own *ownChain, cfg *postgres.Config, database, ddl string) (_ *postgres.Rehearsal, err error) {
	source, err := postgres.Open(ctx, cfg, database)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, source.Close(context.WithoutCancel(ctx))) }()
	tables, err := source.Tables(ctx, selection(p.Spec))
	if err != nil {
		return nil, err
	}
	for _, t := range tables {
		if t.Reason == "" {
			own.chain.Announce(t.Schema)
		}
	}
	return source.Rehearse(ctx, ddl, selection(p.Spec))
}

// stops says whether the pipeline would end at the table.
func (t *ChangedTable) stops() bool {
	return t.Fault != "" || slices.ContainsFunc(t.Changes, func(c DecidedChange) bool { return c.Policy == "block" })
}

func (p *Pipeline) decide(changes ...SchemaChange) (out []DecidedChange) {
	for _, c := range changes {
		out = append(out, DecidedChange{c, policyOf(&p.Spec.SchemaChanges, c.Kind)})
	}
	return out
}

// planChange says what would become of one table. now is its plan as it is.
func (p *Pipeline) planChange(ctx context.Context, own *ownChain, t postgres.Rehearsed, now PlannedTable) (*ChangedTable, error) {
	if t.After == nil {
		return &ChangedTable{Source: t.Before.ID(), Changes: p.decide(SchemaChange{Kind: tableDropped, Table: t.Before.ID()}),
			Warnings: []string{"its rows stay at the destination"}}, nil
	}
	out := &ChangedTable{Source: t.After.ID()}
	if t.Before != nil {
		out.Changes = p.decide(schemaChanges(t.Before.Schema, t.After.Schema)...)
		if !p.Spec.Objects.Selection().Match(t.After.ID().Schema, t.After.ID().Name) {
			out.Warnings = append(out.Warnings, "under its new name the pipeline does not select it: its rows stay, and nothing more comes")
			return out, nil
		}
	}
	root, err := own.chain.plan(ctx, t.After.Schema)
	if err != nil {
		if actionFor(err) == retry {
			return nil, err
		}
		out.Fault = err.Error()
		return out, nil
	}
	var then PlannedTable
	root.describe(&then, root.values.losses())
	then.Skipped = t.After.Skipped
	for _, target := range then.Targets {
		out.Targets = append(out.Targets, placementOf(target, now))
	}
	if t.Before == nil {
		return out, nil
	}
	out.Reload = reloadReason(t.Before.Schema, t.After.Schema, root)
	if out.Reload == "" && t.Rewritten {
		out.Reload = "the server rewrites its rows, which the log does not tell"
	}
	out.Warnings = append(out.Warnings, warningsOf(t.Before, t.After, now, then)...)
	return out, nil
}

// placementOf compares a target with those that the table has now.
func placementOf(then PlannedTarget, now PlannedTable) ChangedPlacement {
	out := ChangedPlacement{Table: then.Table, Statements: then.Statements}
	for _, c := range then.Columns {
		known := slices.ContainsFunc(now.Targets, func(t PlannedTarget) bool {
			return t.Table == then.Table && slices.ContainsFunc(t.Columns, func(o PlannedColumn) bool {
				return o.Name == c.Name && slices.Equal(o.Losses, c.Losses)
			})
		})
		if !known && len(c.Losses) > 0 {
			out.Losses = append(out.Losses, c)
		}
	}
	return out
}

// warningsOf says what the statements would take from a table beside what the
// changes are.
func warningsOf(before, after *postgres.Table, now, then PlannedTable) (out []string) {
	switch {
	case after.Keyless && !before.Keyless:
		out = append(out, "the log would identify no row of it: UPDATE and DELETE fail at the source until the table has left the publication of such changes, and are not replicated after that; give it REPLICA IDENTITY FULL, or another key, in the same transaction")
	case !after.Keyless && before.Keyless:
		out = append(out, "the log would identify its rows: UPDATE and DELETE are replicated from then on")
	}
	for _, c := range after.Skipped {
		if !slices.Contains(before.Skipped, c) {
			out = append(out, "column "+c+" is generated and is not replicated")
		}
	}
	for i, view := range now.Sees {
		if i >= len(then.Sees) || then.Sees[i].Plugin != view.Plugin {
			out = append(out, view.Plugin+" would no longer work on it")
			continue
		}
		for _, c := range view.Columns {
			if !slices.Contains(then.Sees[i].Columns, c) {
				out = append(out, view.Plugin+" would no longer see column "+c)
			}
		}
		for _, c := range then.Sees[i].Columns {
			if !slices.Contains(view.Columns, c) {
				out = append(out, view.Plugin+" would see column "+c)
			}
		}
	}
	return out
}
