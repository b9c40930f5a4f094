package engine

import (
	"context"
	"fmt"
	"slices"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/engine/spec"
)

// scanPosition is how far a run over the blocks of a table has come. A run that
// was interrupted goes on there in a new snapshot: a row that has moved to a
// block before it since was written by a transaction from Horizon on, which
// are read once more at its end.
type scanPosition struct {
	// Horizon is that of the run's first snapshot.
	Horizon uint64 `json:"horizon,string"`
	// Files are the storage of the table's leaves when the run began: one that
	// is rewritten is read from its start.
	Files map[uint32]uint32 `json:"files"`
	Done  []uint32          `json:"done,omitempty"`
	// Leaf is being read and has been up to Block.
	Leaf  uint32 `json:"leaf,omitempty"`
	Block uint32 `json:"block,omitempty"`
}

// scan reads an object as a whole, or in mode xmin the rows of a table that
// were written since the last run, which takes a look at each block.
func (r *objectRun) scan(ctx context.Context) error {
	if err := r.begin(ctx); err != nil {
		return err
	}
	defer r.session.End(context.WithoutCancel(ctx))
	horizon, _, err := r.snapshot.Horizon()
	if err != nil {
		return err
	}
	reading := r.whole
	var pass *scanPass
	if r.o.HasBlocks() {
		if pass, err = r.planScan(ctx, horizon); err != nil {
			return err
		}
		reading = pass.read
	}
	next := r.at
	next.Scan, next.Done = nil, !r.o.rule.DetectDeletes && !(r.keyed && r.o.rule.QueryMode == spec.FullLoad)
	if r.o.rule.QueryMode == spec.QueryXmin {
		next.Horizon = horizon
		if pass.at.Horizon < horizon {
			next.Horizon = pass.at.Horizon
		}
	}
	if r.first && !r.p.Spec.Source.LoadHistoricalData {
		reading = func(context.Context) error { return nil }
	}
	return r.transfer(ctx, func(ctx context.Context) error {
		if err := reading(ctx); err != nil {
			return err
		}
		return r.mayCommit(ctx, next)
	})
}

// whole reads an object in one query. Without a key it replaces what was read
// before, in one transaction.
func (r *objectRun) whole(ctx context.Context) error {
	if err := r.replace(ctx); err != nil {
		return err
	}
	_, _, err := r.session.ReadAll(ctx, r.o.Queryable, r.limit(), func(b *batch.Batch, failed []postgres.RawFailure) error {
		return r.hand(ctx, b, failed)
	})
	return err
}

// replace takes back, in the transaction of the new rows, what an earlier full
// load of an object without a key has brought: no row of it could be told from
// a new one.
func (r *objectRun) replace(ctx context.Context) error {
	if r.keyed || r.fresh || r.o.rule.QueryMode != spec.FullLoad || !r.applier.compacts && !r.applier.fills {
		return nil
	}
	builder := batch.NewBuilder(r.o.Schema)
	for i := range r.o.Schema.Columns {
		builder.Column(i).AppendAbsent()
	}
	r.reached++
	builder.EndRow(batch.Truncate, r.snapshot.LSN, r.ordinal(r.reached), r.snapshot.Time)
	at := batch.Position{Timeline: r.snapshot.Timeline, LSN: r.snapshot.LSN, Ordinal: batch.EndOfTransaction}
	return r.send(ctx, handover{batch: builder.Finish(at)})
}

// scanPass reads the blocks of a table, leaf by leaf.
type scanPass struct {
	*objectRun
	chunks  []postgres.Chunk
	window  postgres.Window
	resumed bool           // the run began in another snapshot
	at      scanPosition   // when the run began or went on
	base    objectPosition // committed before this attempt
}

// planScan finds what is to be read: all blocks, or those that are left of a
// run that was interrupted.
func (r *objectRun) planScan(ctx context.Context, horizon uint64) (*scanPass, error) {
	chunks, err := r.source.PlanChunks(ctx, r.o.Table, int64(r.p.Spec.Engine.ChunkBytes))
	if err != nil {
		return nil, err
	}
	files := map[uint32]uint32{}
	for _, c := range chunks {
		files[c.Leaf] = c.Filenode
	}
	p := &scanPass{objectRun: r, chunks: chunks, at: scanPosition{Horizon: horizon, Files: files}}
	if s := r.at.Scan; s != nil && r.keyed {
		for _, leaf := range append(slices.Clone(s.Done), s.Leaf) {
			if leaf != 0 && files[leaf] != s.Files[leaf] {
				r.log.Warn("reading a table again from its first block: it was rewritten", "table", r.o.ID().String())
				s = &scanPosition{Horizon: s.Horizon}
				break
			}
		}
		s.Files = files
		p.at, p.resumed = *s, true
		r.at.Scan = s
	}
	if r.o.rule.QueryMode == spec.QueryXmin {
		p.window.From = r.at.Horizon
		if !r.keyed {
			p.window.Below = p.at.Horizon // each row exactly once
		}
	}
	r.p.progress.table(r.o.ID(), func(t *TableProgress) {
		t.LoadTotal, t.LoadChunks, t.LoadEstimate = len(chunks), 0, r.o.Table.Rows
	})
	return p, nil
}

// left says which blocks of a chunk are to be read of a run that stands at
// at.
func (at *scanPosition) left(c postgres.Chunk) (postgres.Chunk, bool) {
	switch {
	case slices.Contains(at.Done, c.Leaf):
		return c, false
	case c.Leaf != at.Leaf:
		return c, true
	case c.ToBlock != 0 && c.ToBlock <= at.Block:
		return c, false
	}
	c.FromBlock = max(c.FromBlock, at.Block)
	return c, true
}

// read reads chunk after chunk; each may be committed when it has been read.
// Without a key all of them are one transaction.
func (p *scanPass) read(ctx context.Context) error {
	p.base = p.objectRun.at
	at := p.at
	if p.base.Scan != nil && p.keyed {
		at = *p.base.Scan
	}
	if err := p.replace(ctx); err != nil {
		return err
	}
	for i, chunk := range p.chunks {
		c, todo := at.left(chunk)
		if !todo {
			continue
		}
		if _, _, err := p.session.ReadBlocks(ctx, p.o.Queryable, c, p.window, p.limit(), func(b *batch.Batch, failed []postgres.RawFailure) error {
			return p.hand(ctx, b, failed)
		}); err != nil {
			return fmt.Errorf("blocks from %d on: %w", c.FromBlock, err)
		}
		p.p.progress.table(p.o.ID(), func(t *TableProgress) { t.LoadChunks = i + 1 })
		at = at.after(c)
		if p.keyed && i < len(p.chunks)-1 {
			next := p.base
			scan := at
			next.Scan = &scan
			if err := p.mayCommit(ctx, next); err != nil {
				return err
			}
		}
	}
	return p.catchUpScan(ctx)
}

// catchUpScan reads once more, of a run that has begun in another snapshot,
// what was written since: rows that changed in a block after it was read, or
// moved there from one that was not.
func (p *scanPass) catchUpScan(ctx context.Context) error {
	if !p.resumed {
		return nil
	}
	for _, c := range p.chunks {
		if _, _, err := p.session.ReadBlocks(ctx, p.o.Queryable, c, postgres.Window{From: p.at.Horizon}, p.limit(), func(b *batch.Batch, failed []postgres.RawFailure) error {
			return p.hand(ctx, b, failed)
		}); err != nil {
			return fmt.Errorf("blocks from %d on: %w", c.FromBlock, err)
		}
	}
	return nil
}

// after is the position once a chunk has been read.
func (at scanPosition) after(c postgres.Chunk) scanPosition {
	at.Leaf, at.Block = c.Leaf, c.ToBlock
	if c.ToBlock == 0 {
		at.Done, at.Leaf, at.Block = append(slices.Clone(at.Done), c.Leaf), 0, 0
	}
	return at
}
