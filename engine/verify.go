package engine

import (
	"context"
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

// maxNamedKeys bounds how many differing keys are looked up and named.
const maxNamedKeys = 10_000

// TableVerification is the comparison of one destination table with the
// source tables that land in it.
type TableVerification struct {
	Target          string          `json:"target"`
	Sources         []batch.TableID `json:"sources"`
	SourceRows      int64           `json:"source_rows"`
	DestinationRows int64           `json:"destination_rows"`
	// Departed counts rows of databases that have left the pipeline file, or whose
	// table is not compared: they are in none of the other counts.
	Departed []DepartedRows `json:"departed,omitempty"`
	// SetAside counts source rows that a plugin refused while comparing.
	SetAside int64 `json:"set_aside"`
	// Changed is the number of keys whose rows were not the same when the sides
	// were read, one after the other, and are by now. The row counts are of that
	// first reading.
	Changed int64 `json:"changed"`
	// Excused is the number of keys whose rows are not the same on both sides, as
	// their query mode lets them: without detect_deletes, for example, deleted rows
	// stay.
	Excused int64 `json:"excused,omitempty"`
	// Different is the number of all other such keys.
	Different int64           `json:"different"`
	Keys      []KeyDifference `json:"keys,omitempty"`
}

// KeyDifference is a key and what is wrong with it: missing at the
// destination, extra there, or different. Cause is the likeliest reason that
// the state knows of.
type KeyDifference struct {
	Key   string `json:"key"`
	What  string `json:"what"`
	Cause string `json:"cause,omitempty"`
}

// Verification is the result of Verify.
type Verification struct {
	Tables []TableVerification `json:"tables"`
	// LeftOut are selected tables that were not compared, Away databases that take
	// no connection, of which nothing was.
	LeftOut []LeftOut `json:"left_out,omitempty"`
	Away    []string  `json:"away,omitempty"`
	// LagBytes is how far the destination was behind the source when the
	// comparison began: differences may be changes that are on their way.
	LagBytes int64 `json:"lag_bytes"`
}

// Equal says whether no key differs and the destination has every table as it
// is.
func (v *Verification) Equal() bool {
	return !slices.ContainsFunc(v.LeftOut, func(l LeftOut) bool { return l.Behind }) && !slices.ContainsFunc(v.Tables, func(t TableVerification) bool { return t.Different > 0 })
}

// Verify compares source and destination row by row, the source as it is now
// and through the transforms. It reads both sides once, in bounded memory: the
// hashes of keys and rows are parted into files and compared file by file.
// Keys that differ are read again to name them, and to drop those that were
// only on their way: catchUp, if not nil, waits before that until the pipeline
// has delivered what the source had, see CatchUp. Where some of several databases
// take no connection the others are compared, and the error comes beside the result.
func (p *Pipeline) Verify(ctx context.Context, progress func(TableVerification), catchUp func(ctx context.Context, without ...string) error) (*Verification, error) {
	v, err := p.openVerifier(ctx)
	if err != nil {
		return nil, err
	}
	defer v.close(context.WithoutCancel(ctx))
	out := &Verification{LagBytes: v.lag, LeftOut: v.left, Away: v.away}
	var settle func(context.Context) error
	if catchUp != nil {
		settle = func(ctx context.Context) error { return catchUp(ctx, v.away...) }
	}
	for _, t := range v.targets {
		result, err := v.compare(ctx, t, settle)
		if t.isBehind(err) && settle != nil { // the change may be on its way
			if err = settle(ctx); err == nil {
				result, err = v.compare(ctx, t, settle)
			}
		}
		if t.isBehind(err) {
			out.LeftOut = append(out.LeftOut, t.behind()...)
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("verify %s: %w", t.plan.Table, err)
		}
		out.Tables = append(out.Tables, *result)
		if progress != nil {
			progress(*result)
		}
	}
	return out, v.refused
}

// rowSink takes the hashes of one row and, when keys are to be named, its key.
type rowSink func(key, row uint64, name func() string) error

func (v *verifier) compare(ctx context.Context, t *verified, settle func(context.Context) error) (*TableVerification, error) {
	out := &TableVerification{Target: t.plan.Table}
	estimate := int64(0)
	for _, table := range t.tables {
		out.Sources = append(out.Sources, table.ID())
		estimate += max(table.Rows, 0)
	}
	for _, o := range t.objects {
		out.Sources = append(out.Sources, o.ID())
		estimate += max(o.rows(), 0)
	}
	dir, err := os.MkdirTemp("", "leat-verify-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	here, err := newHashFiles(filepath.Join(dir, "source"), estimate)
	if err != nil {
		return nil, err
	}
	defer here.close()
	there, err := newHashFiles(filepath.Join(dir, "destination"), estimate)
	if err != nil {
		return nil, err
	}
	defer there.close()
	if out.SetAside, err = v.readSource(ctx, t, here.add); err != nil {
		return nil, err
	}
	departed, err := v.readDestination(ctx, t, there.add)
	if err != nil {
		return nil, err
	}
	out.Departed = departed
	out.SourceRows, out.DestinationRows = here.rows, there.rows
	different, keys, err := here.differences(there, func(here, there int) bool {
		if !t.counts(here, there) {
			out.Excused++
			return false
		}
		return true
	})
	if err != nil || different == 0 {
		return out, err
	}
	out.Different = different
	err = v.confirm(ctx, t, out, keys, settle)
	out.Changed = different - out.Different
	return out, err
}

// confirm reads the differing keys again on both sides and names those that
// still differ.
func (v *verifier) confirm(ctx context.Context, t *verified, out *TableVerification, keys map[uint64]bool, settle func(context.Context) error) error {
	rounds := 1
	if settle != nil {
		rounds = 5
	}
	for range rounds {
		if settle != nil {
			if err := settle(ctx); err != nil {
				return err
			}
		}
		found := map[uint64]*sides{}
		collect := func(side int) rowSink {
			return func(key, row uint64, name func() string) error {
				if keys[key] {
					if found[key] == nil {
						found[key] = &sides{name: name()}
					}
					found[key].rows[side]++
					found[key].sum[side] += row
				}
				return nil
			}
		}
		if _, err := v.readSource(ctx, t, collect(0)); err != nil {
			return err
		}
		if _, err := v.readDestination(ctx, t, collect(1)); err != nil {
			return err
		}
		out.Keys = nil
		checked := int64(len(keys))
		for key := range keys {
			if s := found[key]; s == nil || s.equal() || !t.counts(int(s.rows[0]), int(s.rows[1])) {
				delete(keys, key)
			} else {
				out.Keys = append(out.Keys, KeyDifference{Key: s.name, What: s.what()})
			}
		}
		out.Different -= checked - int64(len(keys))
		if out.Different == 0 {
			break
		}
	}
	slices.SortFunc(out.Keys, func(a, b KeyDifference) int { return strings.Compare(a.Key, b.Key) })
	if out.Different == 0 {
		return nil
	}
	c, err := v.causesOf(ctx, t, settle != nil)
	if err != nil {
		return err
	}
	c.explain(out)
	return nil
}

// sides counts the rows of one key at the source and at the destination.
type sides struct {
	name string
	rows [2]int64
	sum  [2]uint64
}

func (s *sides) equal() bool { return s.rows[0] == s.rows[1] && s.sum[0] == s.sum[1] }

func (s *sides) what() string {
	switch {
	case s.rows[1] < s.rows[0]:
		return isMissing
	case s.rows[1] > s.rows[0]:
		return isExtra
	}
	return isDifferent
}

// readSource passes the source's rows through the transforms to sink. It
// returns how many rows a plugin refused.
func (v *verifier) readSource(ctx context.Context, t *verified, sink rowSink) (refused int64, err error) {
	for _, table := range t.tables {
		n, err := v.readTable(ctx, t, table, sink)
		if err != nil {
			return refused, err
		}
		refused += n
	}
	for _, o := range t.objects {
		n, err := v.readObject(ctx, t, o, sink)
		if err != nil {
			return refused, err
		}
		refused += n
	}
	return refused, nil
}

func (v *verifier) readTable(ctx context.Context, t *verified, table *postgres.Table, sink rowSink) (refused int64, err error) {
	source := v.sources[table.ID().Database]
	snapshot, err := source.TakeSnapshot(ctx)
	if err != nil {
		return 0, err
	}
	defer snapshot.Close(context.WithoutCancel(ctx))
	reader, err := snapshot.Join(ctx)
	if err != nil {
		return 0, err
	}
	defer reader.Close(context.WithoutCancel(ctx))
	chunks, err := source.PlanChunks(ctx, table, int64(v.p.Spec.Engine.ChunkBytes))
	if err != nil {
		return 0, err
	}
	hash, err := newRowHasher(t)
	if err != nil {
		return 0, err
	}
	limit := postgres.Limit{Rows: v.p.Spec.Engine.BatchRows, Bytes: int64(v.p.Spec.Engine.BatchBytes), Row: int64(v.p.Spec.Engine.MaxEventBytes)}
	for _, c := range chunks {
		_, _, err := reader.ReadChunk(ctx, table, c, limit, v.through(ctx, t, hash, sink, &refused))
		if err != nil {
			return refused, err
		}
	}
	return refused, nil
}

// through hashes rows as they leave the transforms.
func (v *verifier) through(ctx context.Context, t *verified, hash *rowHasher, sink rowSink, refused *int64) postgres.Emit {
	return func(b *batch.Batch, failed []postgres.RawFailure) error {
		*refused += int64(len(failed))
		if b == nil {
			return nil
		}
		defer b.Release()
		outputs, failures, err := v.chain.Process(ctx, b)
		if err != nil {
			return err
		}
		defer releaseAll(outputs)
		*refused += int64(len(failures))
		for _, o := range outputs {
			if o.Plan.Table != t.plan.Table {
				continue
			}
			if err := hash.rows(o.Batch.Rows.Columns(), o.Batch.Len(), sink); err != nil {
				return err
			}
		}
		return nil
	}
}

// readDestination passes the destination's rows to sink, but for those of departed
// databases, which it counts.
func (v *verifier) readDestination(ctx context.Context, t *verified, sink rowSink) ([]DepartedRows, error) {
	hash, err := newRowHasher(t)
	if err != nil {
		return nil, err
	}
	if hash.sieve, err = v.sieve(t); err != nil {
		return nil, err
	}
	err = v.sql.Read(ctx, t.plan.Read, func(r arrow.RecordBatch) error {
		if int(r.NumCols()) != len(t.schema.Columns) {
			return fmt.Errorf("the destination returned %d columns, want %d", r.NumCols(), len(t.schema.Columns))
		}
		return hash.rows(r.Columns(), int(r.NumRows()), sink)
	})
	if capability.IsNoTable(err) {
		return nil, nil // it has no rows
	}
	return hash.sieve.counted(), err
}
