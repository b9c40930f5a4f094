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
	var changed []trial
	for _, database := range Databases(p.Spec) {
		trials, notes, err := p.rehearse(ctx, own, cfg, database, ddl)
		if err != nil {
			return nil, err
		}
		changed = append(changed, trials...)
		for _, note := range notes {
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

func (p *Pipeline) rehearse(ctx context.Context, own *ownChain, cfg *postgres.Config, database, ddl string) (_ []trial, notes []string, err error) {
	source, err := postgres.Open(ctx, cfg, database)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, source.Close(context.WithoutCancel(ctx))) }()
	tables, err := source.Tables(ctx, selection(p.Spec))
	if err != nil {
		return nil, nil, err
	}
	if _, err := p.showVisible(ctx, database, tables); err != nil {
		return nil, nil, err
	}
	for _, t := range tables {
		if t.Reason == "" {
			own.chain.Announce(t.Schema)
		}
	}
	r, err := source.Rehearse(ctx, ddl, selection(p.Spec))
	var fault *postgres.DDLError
	if errors.As(err, &fault) {
		return nil, nil, &RequestError{fault.Error(), fault.Cause.Hint}
	}
	if err != nil {
		return nil, nil, err
	}
	trials, err := p.trials(ctx, database, r)
	return trials, r.Notes, err
}

// stops says whether the pipeline would end at the table.
func (t *ChangedTable) stops() bool {
	return t.Fault != "" || slices.ContainsFunc(t.Changes, func(c DecidedChange) bool { return c.Policy == "block" })
}

// trial is a table before and after the statements. changes are those of all
// its columns; then what is withheld is left out.
type trial struct {
	postgres.Rehearsed
	changes []SchemaChange
	fault   error
	// waits says that the table can be held.
	waits bool
}

// trials leaves out of the tables what is withheld, and what would be.
func (p *Pipeline) trials(ctx context.Context, database string, r *postgres.Rehearsal) (out []trial, err error) {
	known, stored, err := p.knownShapes(ctx, database)
	if err != nil {
		return nil, err
	}
	for _, t := range r.Tables {
		one := trial{Rehearsed: t}
		one.waits = t.Before != nil && t.After != nil && t.Before.ID() == t.After.ID() && stored.get(loadKey(t.Before.ID())) != ""
		if t.Before != nil {
			noted, ok := known.get(t.Before.OID)
			if !ok || noted.Baseline == 0 {
				noted.Baseline = lastColumn(t.Before.Schema)
			}
			t.Before.Schema.Version = noted.Version
			if t.After != nil {
				t.After.Schema.Version = noted.Version + 1
				one.changes = schemaChanges(t.Before.Schema, t.After.Schema)
				var after projection
				if after, one.fault = project(p.Spec, t.After.Schema, noted.Baseline); one.fault == nil {
					t.After.Schema = after.schema
				}
			}
			before, err := project(p.Spec, t.Before.Schema, noted.Baseline)
			if err != nil {
				return nil, err
			}
			t.Before.Schema = before.schema
		}
		out = append(out, one)
	}
	return out, nil
}

// decide says what becomes of changes. What cannot wait is blocked where the
// pipeline file says hold.
func (p *Pipeline) decide(waits bool, changes ...SchemaChange) (out []DecidedChange) {
	for _, c := range changes {
		policy := policyOf(&p.Spec.SchemaChanges, c.Kind)
		if policy == "hold" && !waits {
			policy = "block"
		}
		if rule := p.Spec.Rule(c.Table.Schema, c.Table.Name); policy == withhold && rule.Claims(c.Column) {
			policy = "apply"
		}
		out = append(out, DecidedChange{c, policy})
	}
	return out
}

// planChange says what would become of one table. now is its plan as it is.
func (p *Pipeline) planChange(ctx context.Context, own *ownChain, t trial, now PlannedTable) (*ChangedTable, error) {
	if t.After == nil {
		return &ChangedTable{Source: t.Before.ID(), Changes: p.decide(false, SchemaChange{Kind: tableDropped, Table: t.Before.ID()}),
			Warnings: []string{"its rows stay at the destination"}}, nil
	}
	out := &ChangedTable{Source: t.After.ID()}
	if t.Before != nil {
		out.Changes = p.decide(t.waits, t.changes...)
		if !p.Spec.Objects.Selection().Match(t.After.ID().Schema, t.After.ID().Name) {
			out.Warnings = append(out.Warnings, "under its new name the pipeline does not select it: its rows stay, and nothing more comes")
			return out, nil
		}
	}
	if t.fault != nil {
		out.Fault = t.fault.Error()
		return out, nil
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
