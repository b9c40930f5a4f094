package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/engine/spec"
	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/capability"
	"github.com/leat-etl/leat/plugins/wasm"
	"github.com/leat-etl/leat/state"
)

// Names of the items of Check that are not about the source.
const (
	CheckPlugin      = "plugin"
	CheckDestination = "destination"
	checkPattern     = "pattern"
)

// CheckOptions of Check.
type CheckOptions struct {
	// CacheDir keeps compiled plugins; empty is the user's cache folder.
	CacheDir string
	// StateDir replaces the state folder of the pipeline file.
	StateDir string
	// Running: an engine runs the pipeline, and may hold its destination.
	Running bool
}

// Check looks at every prerequisite of the pipeline: at its source, the
// patterns of its file, its plugins and its destination. It changes nothing.
func Check(ctx context.Context, s *spec.Spec, o CheckOptions) (*postgres.Report, error) {
	cfg, err := SourceConfig(s)
	if err != nil {
		return nil, err
	}
	var out *postgres.Report
	if s.Queries() {
		out, err = checkQueries(ctx, s, cfg)
	} else {
		out = checkLog(ctx, s, cfg, o)
	}
	if err != nil {
		return nil, err
	}
	if out.OK() { // otherwise what is missing may hide a table
		idle, err := IdlePatterns(ctx, s)
		if err != nil {
			return nil, err
		}
		for _, p := range idle {
			out.Items = append(out.Items, postgres.Item{Name: checkPattern, Object: p.Key, Found: p.String(), Outcome: postgres.Warn,
				Causes: []string{"The name is mistyped, the table is not there yet, or [objects] leaves it out."}, Fix: "Correct the pattern; leat plan lists the tables."})
		}
		refused, err := Deselected(ctx, s, o.StateDir)
		if err != nil {
			return nil, err
		}
		for _, r := range refused {
			out.Items = append(out.Items, postgres.Item{Name: checkPattern, Object: "objects", Found: r.Reason, Outcome: postgres.Fail, Causes: []string{"A name is mistyped; a run refuses rather than take all tables out."}, Fix: r.Hint})
		}
	}
	c := &pluginCheck{Report: out, spec: s, options: o, sourceGood: out.OK()}
	c.run(ctx)
	return out, nil
}

// checkLog looks at what the log of each database needs.
func checkLog(ctx context.Context, s *spec.Spec, cfg *postgres.Config, o CheckOptions) *postgres.Report {
	out := new(postgres.Report)
	for _, database := range cfg.Databases {
		one := *cfg
		one.Databases = []string{database}
		slot, publication := names(s, database)
		want := postgres.Requirements{Selection: selection(s), Fixed: !s.Source.IncludeNewTables, Slot: slot, Publication: publication, Running: o.Running, DDLCapture: s.Source.DDLCapture}
		if !o.Running {
			want.Past = pastOf(s, o.StateDir, database)
		}
		r := postgres.Check(ctx, &one, want)
		for _, item := range r.Items {
			if !slices.ContainsFunc(out.Items, func(seen postgres.Item) bool {
				return seen.Name == item.Name && seen.Object == item.Object && seen.Found == item.Found
			}) {
				out.Items = append(out.Items, item)
			}
		}
	}
	return out
}

// pastOf is what the state folder, if it can be read, knows of runs over a database.
func pastOf(s *spec.Spec, stateDir, database string) postgres.Past {
	records, err := sourceRecords(s, stateDir)
	if err != nil {
		return postgres.Untold
	}
	i := slices.IndexFunc(records, func(r state.Source) bool { return r.Database == database })
	switch {
	case i < 0, records[i].Slot == "" && records[i].Beside: // its rows were taken out
		return postgres.NeverRan
	case records[i].Slot == "":
		return postgres.GivenUp
	case records[i].Durable.IsZero():
		return postgres.Untold // its slot may be still to be made
	}
	return postgres.Ran
}

// pluginCheck is the part of Check behind the source.
type pluginCheck struct {
	*postgres.Report
	spec    *spec.Spec
	options CheckOptions
	failed  bool
	// sourceGood: the source has what it needs, so that its tables can be asked
	// for.
	sourceGood bool
}

// run resolves every plugin with its settings, compiles them, writes to the
// destination in a transaction that is taken back, and has the tables planned.
func (c *pluginCheck) run(ctx context.Context) {
	for _, t := range c.spec.Transforms {
		config, err := t.ConfigJSON(true)
		if err == nil {
			_, err = resolve(c.spec, t.Plugin, bundle.Transform, config, t.Limits)
		}
		c.plugin(t.Plugin, err)
	}
	config, err := c.spec.Destination.ConfigJSON(true)
	if err == nil {
		_, err = resolve(c.spec, c.spec.Destination.Plugin, bundle.Destination, config, c.spec.Destination.Limits)
	}
	c.plugin(c.spec.Destination.Plugin, err)
	if c.failed {
		c.Items = append(c.Items, postgres.Item{Name: CheckDestination, Found: "not looked at", Outcome: postgres.Unknown})
		return
	}
	p, err := loadPlugins(ctx, c.spec, c.options.CacheDir, slog.New(slog.DiscardHandler))
	if err != nil {
		c.plugin("", err)
		return
	}
	found := postgres.Item{Name: CheckDestination, Object: p.target.Manifest.Name, Found: "opened, a table written and taken back", Outcome: postgres.OK}
	if err := c.tryDestination(ctx, p); err != nil {
		c.refused(&found, err)
	}
	if err := p.close(ctx); err != nil {
		c.refused(&found, err)
	}
	c.Items = append(c.Items, found)
}

func (c *pluginCheck) plugin(ref string, err error) {
	item := postgres.Item{Name: CheckPlugin, Object: ref, Found: "found, and its settings are valid", Outcome: postgres.OK}
	if err != nil {
		c.failed = true
		item.Found, item.Outcome = err.Error(), postgres.Fail
		item.Fix = "leat plugin list shows the bundled plugins, leat plugin info NAME the settings of one."
	}
	c.Items = append(c.Items, item)
}

func (c *pluginCheck) refused(item *postgres.Item, err error) {
	var database *capability.Error
	if errors.As(err, &database) && database.Class == capability.Locked && c.options.Running {
		item.Found = "held by the engine that runs this pipeline"
		return
	}
	item.Found, item.Outcome, item.Fix = err.Error(), postgres.Fail, fixOf(err)
	if database != nil {
		item.Found, item.SQLState = database.Message, database.Code
	}
}

// tryDestination opens the destination and writes a row to a table of its own,
// all in a transaction that is rolled back. Then the tables are planned.
func (c *pluginCheck) tryDestination(ctx context.Context, p *plugins) (err error) {
	sql, err := capability.OpenDryRun(ctx, p.target.Manifest.Driver, p.private)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sql.Close()) }()
	d, err := p.host.Destination(ctx, p.target.Module, forTrial(p.target.plugin), sql)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close(ctx)) }()
	if _, err := d.Open(ctx, wasm.OpenInput{Pipeline: p.pipeline}); err != nil {
		return err
	}
	schema := &batch.Schema{Table: batch.TableID{Database: "leat", Schema: "public", Name: "__leat_check"}, Version: 1,
		Columns: []batch.Column{{Name: "id", Type: arrow.PrimitiveTypes.Int32, PG: batch.PGType{Name: "integer", OID: 23, Typmod: -1}, Key: 1}}}
	plan, err := d.Plan(ctx, schema)
	if err != nil {
		return err
	}
	builder := batch.NewBuilder(schema)
	builder.Column(0).AppendUint32(1)
	builder.EndRow(batch.Insert, 1, 0, 0)
	b := builder.Finish(batch.Position{Timeline: 1, LSN: 1})
	defer b.Release()
	if err := d.Write(ctx, plan, b); err != nil {
		return fmt.Errorf("write to %s: %w", plan.Table, err)
	}
	if !c.sourceGood {
		return nil
	}
	return c.tryPlans(ctx, p, d)
}
