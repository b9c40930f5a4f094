package engine

import (
	"bytes"
	"context"
	"slices"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/engine/spec"
	"github.com/leat-etl/leat/state"
)

// cursorPosition says what the destination has by one cursor: of the rows up
// to Value all that a snapshot saw.
//
// Later rows with such values come from transactions that the snapshot did not
// see. One that began after Bound was asked for writes greater values, if the
// values grow with time. One that ran then may have begun much earlier: Open
// has the value that the cursor had when it began, and the next run reads
// again from the smallest of these on, of a table only what was written since
// the snapshot. So rows that share Value, and rows of long transactions, are
// found; by their key they are never doubled.
//
// Without a key a row must be read once exactly. Then only what transactions
// before Horizon wrote counts as read: the oldest that ran. What lies after it
// waits for the next run, which reads from Held on.
type cursorPosition struct {
	Value   string            `json:"value,omitempty"`
	Horizon uint64            `json:"horizon,string,omitempty"`
	Open    map[string]string `json:"open,omitempty"`
	Held    []string          `json:"held,omitempty"`
}

// again are the values from which a run reads once more.
func (p *cursorPosition) again() []string {
	from := append([]string{p.Value}, p.Held...)
	for _, v := range p.Open {
		from = append(from, v)
	}
	slices.Sort(from)
	return slices.Compact(from)
}

// after is the position once everything up to value has been read that a
// snapshot with the given horizon sees.
func (p *cursorPosition) after(value string, horizon uint64, open []string, held bool) cursorPosition {
	next := cursorPosition{Value: value, Horizon: horizon, Open: map[string]string{}}
	for _, t := range open {
		from, known := p.Open[t]
		switch {
		case known:
		case postgres.IsPrepared(t):
			from = "" // it had another number when it began
		default:
			from = p.Value
		}
		next.Open[t] = from
	}
	if held {
		next.Held = p.again()
	}
	return next
}

// readCursors reads what is new by every cursor of the object.
func (r *objectRun) readCursors(ctx context.Context) error {
	cursors, err := cursorsOf(r.source, r.o.Queryable, r.o.rule)
	if err != nil {
		return err
	}
	bounds := make([]string, len(cursors))
	if len(r.at.Cursors) != len(cursors) {
		r.at.Cursors = make([]cursorPosition, len(cursors))
	}
	for i, c := range cursors {
		if bounds[i], err = r.session.Bound(ctx, r.o.Queryable, c, r.at.Cursors[i].Value); err != nil {
			return err
		}
	}
	open, err := r.session.OpenTransactions(ctx)
	if err != nil {
		return err
	}
	failpoint("query-bounded")
	if err := r.begin(ctx); err != nil {
		return err
	}
	defer r.session.End(context.WithoutCancel(ctx))
	horizon, running, err := r.snapshot.Horizon()
	if err != nil {
		return err
	}
	from := slices.Clone(r.at.Cursors)
	next := make([]cursorPosition, len(cursors))
	exact := !r.keyed
	for i := range cursors {
		next[i] = from[i].after(bounds[i], horizon, open, exact && running)
	}
	if !r.first || r.p.Spec.Source.LoadHistoricalData {
		for i, c := range cursors {
			pass := &cursorPass{objectRun: r, cursor: c, i: i, from: from[i], to: next[i], exact: exact, all: !r.o.HasBlocks()}
			if i == 0 && len(cursors) == 2 && from[1].Value == "" && r.first && !c.Nullable(r.o.Queryable) {
				from[1] = next[1] // new rows are all rows: the changed ones are among them
				pass.rest = &next[1]
			}
			if err := r.transfer(ctx, pass.read); err != nil {
				return err
			}
		}
	}
	if err := r.countUnusable(ctx, cursors, bounds); err != nil {
		return err
	}
	at := r.at
	at.Cursors, at.Done = next, !r.o.rule.DetectDeletes
	return r.transfer(ctx, func(ctx context.Context) error { return r.mayCommit(ctx, at) })
}

// countUnusable reports the rows that no cursor finds: nothing is left out in
// silence (invariant 3).
func (r *objectRun) countUnusable(ctx context.Context, cursors []*postgres.Cursor, bounds []string) error {
	unusable, waiting := int64(0), int64(0)
	for i, c := range cursors {
		if c.Nullable(r.o.Queryable) && (i == 0 || r.o.rule.QueryMode != spec.ChangeDataCapture) {
			n, err := r.session.Unusable(ctx, r.o.Queryable, c)
			if err != nil {
				return err
			}
			unusable += n
		}
		if bounds[i] != "" && c.Timestamp() {
			n, err := r.session.Beyond(ctx, r.o.Queryable, c, bounds[i])
			if err != nil {
				return err
			}
			waiting += n
		}
	}
	if unusable > 0 {
		r.log.Warn("rows without a value of the cursor column are not replicated", "table", r.o.ID().String(), "rows", unusable, "column", cursors[0].Column)
	}
	r.p.progress.table(r.o.ID(), func(t *TableProgress) { t.NullCursors, t.Waiting = unusable, waiting })
	return r.p.store.ChangeObject(r.o.ID(), func(s *state.Object) {
		if s.State == "" {
			s.State = state.Active
		}
		s.NullCursors, s.Waiting = unusable, waiting
	})
}

// cursorPass reads by one cursor.
type cursorPass struct {
	*objectRun
	cursor     *postgres.Cursor
	i          int
	from, to   cursorPosition
	rest       *cursorPosition // of the other cursor, once this one has begun
	exact, all bool
	base       objectPosition // committed before this attempt
	bytes      int64          // since the last commit
}

// read reads once more what may be new among the values that are known, then
// what lies after them. What was committed of an earlier attempt is left out.
func (p *cursorPass) read(ctx context.Context) error {
	p.base, p.bytes = p.at, 0
	done := p.base.Cursors[p.i]
	limit := p.limit()
	if p.from.Value != "" && done.Horizon == p.from.Horizon && done.Value == p.from.Value {
		again := postgres.Range{From: p.from.again(), Upto: p.from.Value}
		if !p.all {
			again.Window = postgres.Window{From: p.from.Horizon, Below: p.below()}
		}
		if _, _, err := p.session.ReadRange(ctx, p.o.Queryable, p.cursor, again, limit, func(b *batch.Batch, failed []postgres.RawFailure) error {
			return p.hand(ctx, b, failed)
		}); err != nil {
			return err
		}
		done = p.to
		done.Value = p.from.Value
		if err := p.mayCommit(ctx, p.reach(done.Value)); err != nil {
			return err
		}
	}
	if p.to.Value == done.Value {
		return nil
	}
	_, _, err := p.session.ReadRange(ctx, p.o.Queryable, p.cursor,
		postgres.Range{After: done.Value, Upto: p.to.Value, Window: postgres.Window{Below: p.below()}}, limit,
		func(b *batch.Batch, failed []postgres.RawFailure) error { return p.take(ctx, b, failed) })
	if err != nil {
		return err
	}
	return p.mayCommit(ctx, p.reach(p.to.Value))
}

// below is the end of the window of transactions, 0 where rows may be read
// twice.
func (p *cursorPass) below() uint64 {
	if p.exact {
		return p.to.Horizon
	}
	return 0
}

// reach is the object's position once this cursor has got to value.
func (p *cursorPass) reach(value string) objectPosition {
	at := p.base
	at.Cursors = slices.Clone(p.base.Cursors)
	at.Cursors[p.i] = p.to
	at.Cursors[p.i].Value = value
	if p.rest != nil {
		at.Cursors[1] = *p.rest
	}
	return at
}

// take hands rows over and, when they are enough for a transaction, lets them
// be committed where one value ends and the next begins.
func (p *cursorPass) take(ctx context.Context, b *batch.Batch, failed []postgres.RawFailure) error {
	if b == nil {
		return p.hand(ctx, nil, failed)
	}
	p.bytes += b.Bytes
	cut := 0
	if p.bytes >= int64(p.p.Spec.Engine.ChunkBytes) {
		cut = p.boundary(b)
	}
	if cut == 0 {
		return p.hand(ctx, b, failed)
	}
	value, err := p.cursor.Value(b.Rows.Column(p.cursor.Index()), cut-1)
	if err != nil {
		return err
	}
	defer b.Release()
	if err := p.hand(ctx, batch.Take(b, rowRange(0, cut)), failed); err != nil {
		return err
	}
	if err := p.mayCommit(ctx, p.reach(value)); err != nil {
		return err
	}
	rest := batch.Take(b, rowRange(cut, b.Len()))
	p.bytes = rest.Bytes
	return p.hand(ctx, rest, nil)
}

// boundary is the last row before which the cursor's value changes, 0 if it
// never does.
func (p *cursorPass) boundary(b *batch.Batch) int {
	column := b.Rows.Column(p.cursor.Index())
	last := batch.AppendCell(nil, column, b.Len()-1)
	for row := b.Len() - 1; row > 0; row-- {
		if !bytes.Equal(last, batch.AppendCell(nil, column, row-1)) {
			return row
		}
	}
	return 0
}
