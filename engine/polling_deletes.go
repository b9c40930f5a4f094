package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/plugins/capability"
)

// maxDeletedAtOnce bounds how many keys are looked for in one pass over the
// destination: 8 bytes each in memory.
const maxDeletedAtOnce = 2_000_000

// detectDeletes ends a run: it compares the keys that the source has now, as
// they leave the transforms, with those of the destination's live rows, and
// deletes there what the source no longer has. The keys are hashed and parted
// into files, so memory is bounded. Two keys of one hash can keep a row, never
// delete one. A row that came since the run read is at neither side.
func (r *objectRun) detectDeletes(ctx context.Context) error {
	done := r.at
	done.Done = true
	if err := r.begin(ctx); err != nil {
		return err
	}
	defer r.session.End(context.WithoutCancel(ctx))
	c, err := r.compareKeys(ctx)
	if err != nil {
		return err
	}
	d, err := r.applier.begin(ctx)
	if err != nil {
		return err
	}
	if c != nil {
		defer c.close()
		for _, t := range c.targets {
			if err := c.deleteFrom(ctx, d, t); err != nil {
				return d.abort(context.WithoutCancel(ctx), nil, err)
			}
		}
	}
	failpoint("deletes-written")
	if err := r.record(ctx, d, &done); err != nil {
		return d.abort(context.WithoutCancel(ctx), nil, err)
	}
	return nil
}

// keyComparison is the keys of an object at both sides.
type keyComparison struct {
	*objectRun
	dir     string
	sql     capability.SQL
	targets []*comparedTarget
}

// comparedTarget is a table at the destination and the keys that belong there.
type comparedTarget struct {
	leaf        *step
	key         []int // in leaf.schema
	hash        *rowHasher
	here, there *hashFiles
	query       string
	columns     []int // of the query's result, for each column of the key
	// discriminator is the column of the key with the name of the database
	// where tables are merged, -1 elsewhere.
	discriminator int
}

// errDropped says that a transform drops rows of which it sees the key alone.
var errDropped = errors.New("a transform drops rows")

// compareKeys reads both sides. It returns nil, and says why, where they
// cannot be compared.
func (r *objectRun) compareKeys(ctx context.Context) (_ *keyComparison, err error) {
	c := &keyComparison{objectRun: r}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	if c.dir, err = os.MkdirTemp("", "leat-keys-"); err != nil {
		return nil, err
	}
	for _, whole := range []bool{false, true} {
		if err = c.prepare(ctx); err != nil {
			return nil, err
		}
		if err = c.readSource(ctx, whole); !errors.Is(err, errDropped) {
			break
		}
		c.closeFiles()
	}
	if err != nil {
		return nil, err
	}
	if c.sql, err = capability.OpenSQL(ctx, r.p.plugins.target.Manifest.Driver, r.p.plugins.private); err != nil {
		return nil, fmt.Errorf("open destination to compare keys: %w", err)
	}
	for _, t := range c.targets {
		if err := c.readTarget(ctx, t, func(record arrow.RecordBatch, row int, key uint64) error { return t.there.add(key, 0, nil) }); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *keyComparison) close() {
	c.closeFiles()
	_ = os.RemoveAll(c.dir) // scratch
	if c.sql != nil {
		_ = c.sql.Close() // only read from
	}
}

func (c *keyComparison) closeFiles() {
	for _, t := range c.targets {
		t.here.close()
		t.there.close()
	}
	c.targets = nil
}

// prepare finds the tables at the destination.
func (c *keyComparison) prepare(ctx context.Context) error {
	c.applier.holder.Lock()
	defer c.applier.holder.Unlock()
	if err := c.applier.open(ctx); err != nil {
		return err
	}
	root, err := c.applier.chain.plan(ctx, c.o.Schema)
	if err != nil {
		return err
	}
	for i, leaf := range root.leaves() {
		if leaf.target.Read == "" || len(leaf.schema.Key()) == 0 {
			return &postgres.Error{Op: "compare keys of", Object: c.o.ID().String(), Class: postgres.Object,
				Err:  fmt.Errorf("the rows of %s at the destination have no key to compare", leaf.target.Table),
				Hint: "Choose another query_mode, or a destination and transforms that keep the key."}
		}
		t := &comparedTarget{leaf: leaf, key: leaf.schema.Key(), discriminator: -1}
		keys := &batch.Schema{Table: leaf.schema.Table}
		for n, k := range t.key {
			column := leaf.schema.Columns[k]
			keys.Columns = append(keys.Columns, column)
			if c.o.Schema.Column(column.Name) < 0 && strings.HasSuffix(column.Name, "database_name") {
				t.discriminator = n
			}
		}
		if t.hash, err = newRowHasher(&verified{plan: leaf.target, schema: keys, types: c.source.Types()}); err != nil {
			return err
		}
		t.query, t.columns = keyQuery(c.p.plugins.target.Manifest.Driver, leaf, t.key)
		rows := max(0, c.o.rows())
		if t.here, err = newHashFiles(filepath.Join(c.dir, fmt.Sprintf("source-%d", i)), rows); err != nil {
			return err
		}
		if t.there, err = newHashFiles(filepath.Join(c.dir, fmt.Sprintf("destination-%d", i)), rows); err != nil {
			t.here.close()
			return err
		}
		c.targets = append(c.targets, t)
	}
	return nil
}

// rows is an estimate of the object's rows.
func (o *object) rows() int64 {
	if o.Table == nil {
		return 0
	}
	return o.Table.Rows
}

// keyQuery selects the key of the live rows at the destination, and says where
// its columns stand in the result. Where names are not quoted as in standard
// SQL whole rows are read.
func keyQuery(driver string, leaf *step, key []int) (query string, columns []int) {
	if driver != "duckdb" && driver != "postgres" {
		return leaf.target.Read, key
	}
	var names []string
	for n, k := range key {
		for _, c := range leaf.target.Columns {
			if c.Source == leaf.schema.Columns[k].Name {
				names = append(names, `q."`+strings.ReplaceAll(c.Name, `"`, `""`)+`"`)
			}
		}
		columns = append(columns, n)
	}
	return fmt.Sprintf("SELECT %s FROM (%s) AS q", strings.Join(names, ", "), leaf.target.Read), columns
}

// readSource hashes the source's keys behind the transforms. These are shown
// what a delete shows them, the key alone; where one drops such rows it is
// shown whole ones.
func (c *keyComparison) readSource(ctx context.Context, whole bool) error {
	take := func(b *batch.Batch, failed []postgres.RawFailure) error {
		if len(failed) > 0 {
			return fmt.Errorf("compare keys of %s: %w", c.o.ID(), &failed[0])
		}
		if b == nil {
			return nil
		}
		defer b.Release()
		if !whole {
			for i := range b.Ops {
				b.Ops[i] = batch.Delete
			}
		}
		return c.addSource(ctx, b, whole)
	}
	if whole {
		_, _, err := c.session.ReadAll(ctx, c.o.Queryable, c.limit(), take)
		return err
	}
	return c.session.ReadKeys(ctx, c.o.Queryable, c.limit(), take)
}

func (c *keyComparison) addSource(ctx context.Context, b *batch.Batch, whole bool) error {
	c.applier.holder.Lock()
	outputs, failures, err := c.applier.chain.Process(ctx, b)
	c.applier.holder.Unlock()
	if err != nil {
		return err
	}
	defer releaseAll(outputs)
	rows := 0
	for _, o := range outputs {
		rows += o.Batch.Len()
		for _, t := range c.targets {
			if t.leaf.target.Table != o.Plan.Table {
				continue
			}
			cells := make([]arrow.Array, len(t.key))
			for n, k := range t.key {
				cells[n] = o.Batch.Rows.Column(k)
			}
			if err := t.hash.rows(cells, o.Batch.Len(), func(key, _ uint64, _ func() string) error { return t.here.add(key, 0, nil) }); err != nil {
				return err
			}
		}
	}
	switch {
	case rows+len(failures) >= b.Len() && len(failures) == 0:
		return nil
	case !whole:
		return errDropped
	case len(failures) > 0: // a failed row is kept apart, and is not gone
		return fmt.Errorf("compare keys of %s: plugin %s refuses %d rows: leat failed list shows them", c.o.ID(), failures[0].plugin, len(failures))
	}
	return nil
}

// readTarget hands on the keys of the object's rows at the destination.
func (c *keyComparison) readTarget(ctx context.Context, t *comparedTarget, yield func(record arrow.RecordBatch, row int, key uint64) error) error {
	err := c.sql.Read(ctx, t.query, func(record arrow.RecordBatch) error {
		cells := make([]arrow.Array, len(t.columns))
		for n, i := range t.columns {
			cells[n] = record.Column(i)
		}
		row := -1
		return t.hash.rows(cells, int(record.NumRows()), func(key, _ uint64, _ func() string) error {
			row++
			if d := t.discriminator; d >= 0 && cellText(cells[d], row) != c.database {
				return nil
			}
			return yield(record, row, key)
		})
	})
	if err != nil {
		return fmt.Errorf("read keys of %s: %w", t.leaf.target.Table, err)
	}
	return nil
}

// deleteFrom deletes the rows whose keys are at the destination alone.
func (c *keyComparison) deleteFrom(ctx context.Context, d *delivery, t *comparedTarget) error {
	for file := 0; file < len(t.there.files); {
		gone := map[uint64]bool{}
		for ; file < len(t.there.files) && len(gone) < maxDeletedAtOnce; file++ {
			if err := t.goneIn(file, gone); err != nil {
				return err
			}
		}
		if len(gone) == 0 {
			continue
		}
		w := &deletions{keyComparison: c, d: d, t: t, builder: batch.NewBuilder(t.leaf.schema)}
		if err := c.readTarget(ctx, t, func(record arrow.RecordBatch, row int, key uint64) error {
			if !gone[key] {
				return nil
			}
			return w.add(ctx, record, row)
		}); err != nil {
			return err
		}
		if err := w.flush(ctx); err != nil {
			return err
		}
	}
	return nil
}

// goneIn adds the keys of one pair of files that only the destination has.
func (t *comparedTarget) goneIn(file int, gone map[uint64]bool) error {
	here, err := t.here.read(file)
	if err != nil {
		return err
	}
	there, err := t.there.read(file)
	if err != nil {
		return err
	}
	for _, pair := range there {
		if _, found := slices.BinarySearchFunc(here, pair.key, func(p hashPair, key uint64) int { return compareUint64(p.key, key) }); !found {
			gone[pair.key] = true
		}
	}
	return nil
}

// deletions are rows on their way to be deleted.
type deletions struct {
	*keyComparison
	d       *delivery
	t       *comparedTarget
	builder *batch.Builder
	rows    uint64
}

func (w *deletions) add(ctx context.Context, record arrow.RecordBatch, row int) error {
	schema := w.t.leaf.schema
	for i, c := range schema.Columns {
		n := slices.Index(w.t.key, i)
		if n < 0 {
			w.builder.Column(i).AppendAbsent()
			continue
		}
		if err := appendCell(w.builder.Column(i), record.Column(w.t.columns[n]), row, c.Type); err != nil {
			return fmt.Errorf("key column %q of %s: %w", c.Name, w.t.leaf.target.Table, err)
		}
	}
	w.rows++
	w.builder.EndRow(batch.Delete, w.snapshot.LSN, w.ordinal(1<<39+w.rows), w.snapshot.Time)
	if w.builder.Len() < w.p.Spec.Engine.BatchRows {
		return nil
	}
	return w.flush(ctx)
}

func (w *deletions) flush(ctx context.Context) error {
	n := w.builder.Len()
	if n == 0 {
		return nil
	}
	b := w.builder.Finish(batch.Position{Timeline: w.snapshot.Timeline, LSN: w.snapshot.LSN, Ordinal: batch.EndOfTransaction})
	defer b.Release()
	if err := w.d.store(context.WithoutCancel(ctx), Output{w.t.leaf.target, b}); err != nil {
		return fmt.Errorf("delete %d rows of %s: %w", n, w.t.leaf.target.Table, err)
	}
	w.d.tally.deleted(w.o.ID(), int64(n), b.Position)
	return nil
}
