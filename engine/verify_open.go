package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/plugins/wasm"
	"github.com/leat-etl/leat/state"
)

// verifier reads both sides over connections of its own.
type verifier struct {
	*ownChain
	p       *Pipeline
	sources map[string]*postgres.Source
	away    []string // databases that take no connection
	refused error    // why the first of them does not
	targets []*verified
	left    []LeftOut
	lag     int64
	// departed are the databases that have left the pipeline file.
	departed map[string]bool
}

// verified is a destination table and what lands in it.
type verified struct {
	plan   *wasm.DestinationPlan
	schema *batch.Schema // of the rows as the destination takes them
	tables []*postgres.Table
	leaves []*batch.Schema // what the chain makes of each of tables
	kept   *keptColumns
	owed   []string // what would make or change the table at the destination
	// objects land there where the source is read by queries.
	objects []*verifiedObject
	types   *postgres.TypeMap
}

func (p *Pipeline) openVerifier(ctx context.Context) (_ *verifier, err error) {
	v := &verifier{p: p, sources: map[string]*postgres.Source{}}
	if v.ownChain, err = p.openChain(ctx); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			v.close(context.WithoutCancel(ctx))
		}
	}()
	entries, err := v.destination.Checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	stored := new(checkpointEntries)
	stored.set(entries)
	v.departed = stored.departed(p.Spec)
	cfg, err := SourceConfig(p.Spec)
	if err != nil {
		return nil, err
	}
	var tables []*postgres.Table
	for _, database := range Databases(p.Spec) {
		source, err := postgres.Open(ctx, cfg, database)
		if noConnection(err) != nil {
			v.away, v.refused = append(v.away, database), cmp.Or(v.refused, err)
			continue
		}
		if err != nil {
			return nil, err
		}
		v.sources[database] = source
		if p.Spec.Queries() {
			if err := v.addObjects(ctx, source); err != nil {
				return nil, err
			}
			continue
		}
		found, err := source.Tables(ctx, selection(p.Spec))
		if err == nil {
			err = markObstacles(ctx, p.Spec, source, found, func(*postgres.Table) bool { return true })
		}
		if err != nil {
			return nil, err
		}
		if _, err := p.showVisible(ctx, database, found); err != nil {
			return nil, err
		}
		before := len(tables)
		for _, t := range found {
			leaves, err := p.leavesOut(t.ID())
			if err != nil {
				return nil, err
			}
			if leaves || t.Reason != "" {
				if err := v.leaveOut(t.ID(), obstacleOf(t), t.Fix != ""); err != nil {
					return nil, err
				}
				continue
			}
			v.chain.Announce(t.Schema)
			tables = append(tables, t)
		}
		if len(tables) == before {
			continue // nothing of it is compared
		}
		if err := v.measureLag(ctx, database, source); err != nil {
			return nil, err
		}
	}
	if len(v.sources) == 0 {
		return nil, v.refused
	}
	return v, v.group(ctx, tables)
}

func neverReplicated(database, path string) error {
	return fmt.Errorf("database %s was never replicated: leat run %s does that", database, path)
}

func (v *verifier) measureLag(ctx context.Context, database string, source *postgres.Source) error {
	system, err := source.System(ctx)
	if err != nil {
		return err
	}
	record, err := v.p.store.Source(database)
	if errors.Is(err, state.ErrNotFound) {
		return neverReplicated(database, v.p.Spec.Path)
	}
	if err != nil {
		return err
	}
	v.lag += max(0, int64(system.LSN)-int64(max(record.Durable.LSN, record.IdleAcknowledged, record.Acknowledged.LSN)))
	return nil
}

// group finds which tables land where.
func (v *verifier) group(ctx context.Context, tables []*postgres.Table) error {
	for _, t := range tables {
		root, err := v.chain.plan(ctx, t.Schema)
		if err != nil {
			return err
		}
		for _, leaf := range root.leaves() {
			if leaf.target.Read == "" {
				return v.notReadable()
			}
			g := v.targetOf(leaf, t.ID().Database)
			if !slices.Contains(g.tables, t) {
				g.tables, g.leaves = append(g.tables, t), append(g.leaves, leaf.schema)
				g.owed = append(g.owed, leaf.target.Statements...)
			}
		}
	}
	slices.SortFunc(v.targets, func(a, b *verified) int { return strings.Compare(a.plan.Table, b.plan.Table) })
	for _, t := range v.targets {
		if err := v.findKept(t); err != nil {
			return err
		}
	}
	return nil
}

// targetOf returns the table at the end of a chain, or of a merged one the rows
// that are read in the same way.
func (v *verifier) targetOf(leaf *step, database string) *verified {
	for _, g := range v.targets {
		if g.plan.Table == leaf.target.Table && g.plan.Read == leaf.target.Read {
			return g
		}
	}
	g := &verified{plan: leaf.target, schema: leaf.schema, types: v.sources[database].Types()}
	v.targets = append(v.targets, g)
	return g
}

func (v *verifier) notReadable() error {
	return fmt.Errorf("destination %s cannot be read back in this load mode: verify needs load_mode = \"merge\"", v.p.plugins.target.Manifest.Name)
}

// leaves returns the steps at which a chain ends.
func (s *step) leaves() []*step {
	if s.target != nil {
		return []*step{s}
	}
	var out []*step
	for _, next := range s.next {
		out = append(out, next.leaves()...)
	}
	return out
}

func (v *verifier) close(ctx context.Context) {
	for _, source := range v.sources {
		_ = source.Close(ctx) // only read from
	}
	v.ownChain.close(ctx)
}
