package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/spec"
	"github.com/leat-etl/leat/plugins/capability"
	"github.com/leat-etl/leat/state"
)

// chainOf is the transforms of the pipeline file, and behind them those that
// its source section asks for. naming is the place of the one that gives
// tables which are not merged their names, -1 where there is none.
func chainOf(s *spec.Spec) (chain []spec.Transform, naming int, err error) {
	chain = append(chain, s.Transforms...)
	several := s.Source.Database == ""
	if !several && !s.Source.MergeTables && s.Source.TableName == "" {
		return chain, -1, nil
	}
	name := s.Source.TableName
	if name == "" {
		name = "{table}"
		if !s.Source.MergeTables {
			name = "{database}_{table}"
		}
	}
	merge, err := spec.NewTransform("merge-tables", map[string]any{"merge": s.Source.MergeTables, "own_keys": s.Source.MergeTables, "name": name})
	if err != nil {
		return nil, -1, err
	}
	if !s.Source.MergeTables {
		return append(chain, merge), len(chain), nil
	}
	prefix, err := metadataPrefix(s)
	if err != nil {
		return nil, -1, err
	}
	database, err := spec.NewTransform("database-name", map[string]any{"key": true, "column": prefix + "database_name"})
	return append(chain, merge, database), -1, err
}

// metadataPrefix is what the names of the columns that Leat adds begin with.
func metadataPrefix(s *spec.Spec) (string, error) {
	text, err := s.Destination.ConfigJSON(false)
	if err != nil {
		return "", fmt.Errorf("settings of plugin %s: %w", s.Destination.Plugin, err)
	}
	config := struct {
		Prefix string `json:"metadata_prefix"`
	}{"__leat_"}
	if err := json.Unmarshal(text, &config); err != nil {
		return "", fmt.Errorf("settings of plugin %s: %w", s.Destination.Plugin, err)
	}
	return config.Prefix, nil
}

// reserve makes sure, before a row of the table is written, that its name at
// the destination is not another's already.
func (c *Chain) reserve(ctx context.Context, s *batch.Schema) error {
	in := s
	for i := range c.naming + 1 {
		t := &c.transforms[i]
		if !t.match(s.Table) {
			continue
		}
		_, plan, err := c.planOne(ctx, i, s, in)
		if err != nil || len(plan.Outputs) == 0 {
			return err
		}
		in = plan.Outputs[0]
	}
	return nil
}

// land notes which table the naming transform sends where. Two tables on one
// name would be mixed without a trace of which row is whose.
func (c *Chain) land(table, at batch.TableID) error {
	at.Database = ""
	if other, taken := c.landed[at]; taken && other != table {
		return &capability.Error{Class: capability.Schema,
			Message: fmt.Sprintf("tables %s and %s would both land in %s.%s", other, table, at.Schema, at.Name),
			Hint:    `set table_name in [source] to a template that keeps them apart, such as "{database}__{schema}__{table}", exclude one of them, or load them into one table with merge_tables = true`}
	}
	c.landed[at] = table
	return nil
}

// checkNames reserves the names of tables, but for those on which a plugin
// fails: these come back beside the error.
func (a *applier) checkNames(ctx context.Context, schemas []*batch.Schema) (failed []*PluginFailure, err error) {
	a.holder.Lock()
	defer a.holder.Unlock()
	for _, s := range schemas {
		err := a.chain.reserve(ctx, s)
		var failure *PluginFailure
		if errors.As(err, &failure) {
			failed = append(failed, failure)
		} else if err != nil {
			return nil, err
		}
	}
	return failed, nil
}

// recall announces the tables that earlier runs have seen. A merged table
// keeps the columns, types and key of a source that is gone: its rows are
// still there.
func recall(c *Chain, store *state.Store, merge bool) error {
	if !merge {
		return nil
	}
	objects, err := store.Objects()
	if err != nil {
		return err
	}
	for _, o := range objects {
		s, err := store.LatestSchema(o.Table)
		if errors.Is(err, state.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		c.Announce(s)
	}
	return nil
}
