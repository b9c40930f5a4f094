package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/leat-etl/leat/plugins/wasm"
	"github.com/leat-etl/leat/state"
)

// moveCursors moves the cursors that an operator has set, before a run reads by
// them. An object with a value that its column cannot have is left out of the
// run, and of every other one until that is mended.
func (l *poller) moveCursors(ctx context.Context) (failed []error, err error) {
	records, err := objectRecords(l.p.store)
	if err != nil {
		return nil, err
	}
	var left []*object
	for _, o := range l.objects {
		err := l.moveCursor(ctx, o, records[o.ID()].Position)
		var bad *objectError
		switch {
		case errors.As(err, &bad):
			failed = append(failed, bad)
			if err := l.fail(bad); err != nil {
				return nil, err
			}
		case err != nil:
			return nil, err
		default:
			left = append(left, o)
		}
	}
	l.objects = left
	return failed, nil
}

// moveCursor puts an object where it is to be read from: every row with the
// value or a greater one counts as new, whoever wrote it and whenever.
func (l *poller) moveCursor(ctx context.Context, o *object, to map[string]string) error {
	if len(to) == 0 {
		return nil
	}
	cursors, err := cursorsOf(l.source, o.Queryable, o.rule)
	if err != nil {
		return &objectError{o.ID(), err}
	}
	at, started, err := l.stored.object(o.ID())
	if err != nil {
		return err
	}
	if !started {
		at.Identity = o.identity
	}
	if len(at.Cursors) != len(cursors) {
		at.Cursors = make([]cursorPosition, len(cursors))
	}
	at.Cursors = slices.Clone(at.Cursors)
	for i, c := range cursors {
		text, ok := to[c.Column]
		if !ok {
			continue
		}
		value, err := l.source.CursorValue(ctx, c, text)
		if err != nil {
			return &objectError{o.ID(), err}
		}
		at.Cursors[i] = cursorPosition{Value: value}
	}
	value, err := json.Marshal(at)
	if err != nil {
		return fmt.Errorf("record position of %s: %w", o.ID(), err)
	}
	text := string(value)
	entries := []wasm.Checkpoint{{Key: queryKey(o.ID()), Value: &text}}
	d, err := l.applier.begin(ctx)
	if err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	if !started {
		if err := d.makeTables(ctx, o.Schema); err != nil {
			return d.abort(ctx, nil, err)
		}
	}
	if err := d.commit(ctx, entries...); err != nil {
		return d.abort(ctx, nil, err)
	}
	l.stored.apply(entries)
	failpoint("cursor-moved")
	l.log.Warn("a cursor was moved", "table", o.ID().String(), "to", to)
	return l.p.store.ChangeObject(o.ID(), func(r *state.Object) { r.Position, r.Reason, r.Fix = nil, "", "" })
}
