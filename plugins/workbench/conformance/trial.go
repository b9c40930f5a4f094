package conformance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/capability"
	"github.com/leat-etl/leat/plugins/wasm"
	"github.com/leat-etl/leat/plugins/workbench/golden"
)

// trial is one story told to a destination.
type trial struct {
	kit      *Kit
	story    story
	tables   map[string]string // the story's names -> the tables' own
	pipeline string
	fault    *fault
	restart  bool // after each delivery
	grants   wasm.Grants
	// besideStruck: the fault has struck a call of what the plugin keeps beside the
	// database, whose failure a plugin passes on in its own words.
	besideStruck bool

	d     *wasm.Destination
	info  wasm.Info
	sql   *failing
	plans map[*batch.Schema]*wasm.DestinationPlan
}

func (k *Kit) newTrial(c testCase, f *fault) (*trial, error) {
	k.trials++
	n := k.trials
	t := &trial{kit: k, tables: map[string]string{}, pipeline: fmt.Sprintf("conformance-%s-%d", k.run, n), fault: f, grants: golden.Grants(k.Bundle.Manifest)}
	var err error
	if t.grants.KV != nil {
		t.grants.KV = failingKV{t.grants.KV, t}
	}
	if t.grants.Blob != nil {
		t.grants.Blob = failingFiles{t.grants.Blob, t}
	}
	t.story, err = c.tell(func(name string) string { return fmt.Sprintf("leat_%s_%d_%s", k.run, n, name) })
	return t, err
}

// open connects and starts the plugin.
func (t *trial) open(ctx context.Context) error {
	guest, private, err := bundle.SplitConfig(t.kit.Bundle.Manifest, t.kit.Config, t.kit.Dir)
	if err != nil {
		return err
	}
	sql, err := capability.OpenSQL(ctx, t.kit.Bundle.Manifest.Driver, private)
	if err != nil {
		return err
	}
	t.sql = &failing{SQL: sql, fault: t.fault}
	m := t.kit.Bundle.Manifest
	limits := m.Limits
	plugin := wasm.Plugin{Name: m.Name, Version: m.Version, Digest: t.kit.Bundle.Digest, Config: guest, Grants: t.grants,
		Limits: wasm.Limits{MemoryBytes: uint64(limits.Memory), Fuel: uint64(limits.Fuel), Deadline: limits.Deadline}}
	if t.fault != nil && t.fault.kind == late {
		plugin.Limits.Deadline = lateness / 2
	}
	if t.d, err = t.kit.Host.Destination(ctx, t.kit.Bundle.Module, plugin, t.sql); err != nil {
		return errors.Join(err, t.close(ctx))
	}
	t.plans = map[*batch.Schema]*wasm.DestinationPlan{}
	if t.info, err = t.d.Open(ctx, wasm.OpenInput{Pipeline: t.pipeline}); err != nil {
		return errors.Join(err, t.close(ctx))
	}
	return nil
}

// close ends plugin and connection. Where the connection is lost the plugin
// cannot do anything any more, as after a kill.
func (t *trial) close(ctx context.Context) error {
	var errs []error
	if t.d != nil {
		if err := t.d.Close(ctx); err != nil && !t.sql.lost {
			errs = append(errs, err)
		}
		t.d = nil
	}
	if t.sql != nil {
		errs = append(errs, t.sql.SQL.Close())
		t.sql = nil
	}
	return errors.Join(errs...)
}

// drop drops the tables of all trials and returns those that it cannot drop.
func (k *Kit) drop(ctx context.Context) (left []string, err error) {
	ctx = context.WithoutCancel(ctx)
	_, private, err := bundle.SplitConfig(k.Bundle.Manifest, k.Config, k.Dir)
	if err != nil {
		return nil, err
	}
	sql, err := capability.OpenSQL(ctx, k.Bundle.Manifest.Driver, private)
	if err != nil {
		return nil, err
	}
	for _, table := range slices.Sorted(maps.Keys(k.made)) {
		if _, err := sql.Exec(ctx, "DROP TABLE IF EXISTS "+table); err != nil {
			left = append(left, table)
		}
	}
	return left, sql.Close()
}

const positionKey = "position"

// position reads how far the destination says that it is: the number of
// deliveries.
func (t *trial) position(ctx context.Context) (int, error) {
	entries, err := t.d.Checkpoint(ctx)
	if err != nil {
		return 0, fmt.Errorf("checkpoint: %w", err)
	}
	at := 0
	for _, e := range entries {
		if e.Key != positionKey || e.Value == nil {
			return 0, fmt.Errorf("checkpoint returns the entry %q that nobody gave", e.Key)
		}
		if at, err = strconv.Atoi(*e.Value); err != nil {
			return 0, fmt.Errorf("checkpoint returns %q, which nobody gave", *e.Value)
		}
	}
	return at, nil
}

// attempts bounds how often one delivery is made again.
const attempts = 6

// deliverAll tells the whole story and compares after every delivery that ends
// otherwise than plainly, and at the end.
func (t *trial) deliverAll(ctx context.Context) error {
	done, failed := 0, 0
	for fresh := true; ; {
		if fresh {
			at, err := t.resume(ctx, done)
			if err != nil {
				if failed++; failed == attempts || ctx.Err() != nil || !t.worthRetrying(err) {
					return err
				}
				continue
			}
			done, fresh = at, false
		}
		if done == len(t.story) {
			err := t.compare(ctx, done)
			if t.sql.lost { // by a host call of a plan
				if err := t.close(ctx); err != nil {
					return err
				}
				fresh = true
				continue
			}
			return err
		}
		err := t.deliver(ctx, done)
		if err == nil {
			done, failed = done+1, 0
			if t.restart {
				if err := t.close(ctx); err != nil {
					return err
				}
				fresh = true
			}
			continue
		}
		if failed++; failed == attempts || ctx.Err() != nil || !t.worthRetrying(err) {
			return fmt.Errorf("delivery %d: %w", done+1, err)
		}
		if err := t.d.Rollback(ctx); err != nil || t.sql.lost {
			if err := t.close(ctx); err != nil {
				return err
			}
			fresh = true
			continue
		}
		if err := t.compare(ctx, done); err != nil {
			return fmt.Errorf("after a rollback: %w", err)
		}
	}
}

// worthRetrying says whether the engine, or its next run, would make the delivery
// again: the database failed, and the plugin has passed that on, or a call of what
// it keeps beside.
func (t *trial) worthRetrying(err error) bool {
	var database *capability.Error
	return errors.As(err, &database) || t.besideStruck
}

// resume opens the destination and holds what it has against its checkpoint,
// which is that of done deliveries or, where a commit's answer was lost, of one
// more.
func (t *trial) resume(ctx context.Context, done int) (int, error) {
	if t.d == nil {
		if err := t.open(ctx); err != nil {
			return done, fmt.Errorf("open: %w", err)
		}
	}
	at, err := t.position(ctx)
	if err != nil {
		return done, errors.Join(err, t.close(ctx))
	}
	if at != done && at != done+1 {
		return done, fmt.Errorf("the checkpoint is that of delivery %d, %d were committed", at, done)
	}
	if err := t.compare(ctx, at); err != nil {
		if t.sql.lost {
			return done, errors.Join(err, t.close(ctx))
		}
		return done, fmt.Errorf("opened again at the checkpoint of delivery %d: %w", at, err)
	}
	return at, nil
}

func (t *trial) plan(ctx context.Context, s *batch.Schema) (*wasm.DestinationPlan, bool, error) {
	if p := t.plans[s]; p != nil {
		return p, false, nil
	}
	p, err := t.d.Plan(ctx, s)
	if err != nil {
		return nil, false, fmt.Errorf("plan: %w", err)
	}
	t.plans[s] = p
	t.kit.made[p.Table] = true
	return p, true, nil
}

// deliver makes delivery n, from 0, as the engine does.
func (t *trial) deliver(ctx context.Context, n int) error {
	if t.info.ChangesApart {
		for _, s := range t.story[n].steps {
			if err := t.prepare(ctx, s.schema); err != nil {
				return err
			}
		}
	}
	for _, s := range t.story[n].steps {
		if err := t.write(ctx, s); err != nil {
			return err
		}
	}
	value := strconv.Itoa(n + 1)
	if err := t.d.Commit(ctx, []wasm.Checkpoint{{Key: positionKey, Value: &value}}); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// prepare has a table made or changed before any row of the delivery.
func (t *trial) prepare(ctx context.Context, s *batch.Schema) error {
	p, made, err := t.plan(ctx, s)
	if err != nil || !made {
		return err
	}
	empty := batch.NewBuilder(s).Finish(batch.Position{})
	defer empty.Release()
	return t.d.Write(ctx, p, empty)
}

func (t *trial) write(ctx context.Context, s step) error {
	b, err := s.rows.Batch(s.schema)
	if err != nil {
		return err
	}
	defer b.Release()
	switch {
	case t.info.Compacts:
		b = batch.Compact(b)
		defer b.Release()
	case t.info.Fills:
		b = batch.Fill(b)
		defer b.Release()
	}
	if b.Len() == 0 {
		return nil
	}
	p, _, err := t.plan(ctx, s.schema)
	if err != nil {
		return err
	}
	if err := t.d.Write(ctx, p, b); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// compare holds the live rows of every table against the model after n
// deliveries.
func (t *trial) compare(ctx context.Context, n int) error {
	if n == 0 {
		return nil // tables need not be there
	}
	for _, want := range t.story[n-1].tables {
		p, _, err := t.plan(ctx, want.schema)
		if err != nil {
			return err
		}
		got, err := t.sql.SQL.Query(ctx, p.Read)
		if err != nil {
			return fmt.Errorf("what the plan reads with: %w", err)
		}
		rows := make([]string, len(got.Rows))
		for i, r := range got.Rows {
			rows[i] = printRow(r)
		}
		slices.Sort(rows)
		if !slices.Equal(rows, want.rows) {
			return fmt.Errorf("table %s (%s) after delivery %d has\n%s\nwant\n%s", want.schema.Table.Name, names(want.schema), n, indent(rows), indent(want.rows))
		}
	}
	return nil
}

func names(s *batch.Schema) string {
	out := make([]string, len(s.Columns))
	for i, c := range s.Columns {
		out[i] = c.Name
	}
	return strings.Join(out, " | ")
}

func printRow(cells []*string) string {
	out := make([]string, len(cells))
	for i, c := range cells {
		out[i] = "null"
		if c != nil {
			out[i] = strconv.Quote(*c)
		}
	}
	return strings.Join(out, " | ")
}

func indent(rows []string) string {
	if len(rows) == 0 {
		return "  no rows"
	}
	const most = 12
	more := ""
	if len(rows) > most {
		more = fmt.Sprintf("\n  and %d more", len(rows)-most)
		rows = rows[:most]
	}
	return "  " + strings.Join(rows, "\n  ") + more
}
