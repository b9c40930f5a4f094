package engine

import (
	"context"
	"fmt"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/engine/spec"
)

// verifiedObject is an object that queries read, with what its query mode has
// promised so far.
type verifiedObject struct {
	*object
	at objectPosition
}

// addObjects finds the objects of a database and where they land.
func (v *verifier) addObjects(ctx context.Context, source *postgres.Source) error {
	source.ByQuery = true
	ruleOf, err := rulesOf(v.p.Spec, v.p.store)
	if err != nil {
		return err
	}
	found, rules, failed, err := queryables(ctx, v.p.Spec, source, ruleOf)
	if err != nil {
		return err
	}
	entries, err := v.destination.Checkpoint(ctx)
	if err != nil {
		return err
	}
	l := newPoller(v.p, source.Database)
	l.stored.set(entries)
	for _, f := range failed {
		reason := causeOf(f.err)
		if fix := fixOf(f.err); fix != "" {
			reason += ": " + fix
		}
		if err := v.leaveOut(f.table, reason, true); err != nil {
			return err
		}
	}
	for i, q := range found {
		leaves, err := v.p.leavesOut(q.ID())
		if err != nil {
			return err
		}
		if leaves {
			if err := v.leaveOut(q.ID(), "", false); err != nil {
				return err
			}
			continue
		}
		v.chain.Announce(q.Schema)
		o := &verifiedObject{object: &object{Queryable: q, rule: rules[i]}}
		started := false
		if o.at, started, err = l.stored.object(q.ID()); err != nil {
			return err
		}
		if !started {
			return fmt.Errorf("%s was never replicated: run the pipeline first", q.ID())
		}
		if err := v.groupObject(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

func (v *verifier) groupObject(ctx context.Context, o *verifiedObject) error {
	root, err := v.chain.plan(ctx, o.Schema)
	if err != nil {
		return err
	}
	for _, leaf := range root.leaves() {
		if leaf.target.Read == "" {
			return v.notReadable()
		}
		t := v.targetOf(leaf, o.ID().Database)
		t.objects = append(t.objects, o)
	}
	return nil
}

// counts says whether a difference of one key breaks what the query modes
// promise: without deletes a row may be at the destination alone, and
// incrementing_append_only promises that a row has come, not how it is now.
func (t *verified) counts(here, there int) bool {
	for _, o := range t.objects {
		deletes := o.rule.DetectDeletes || o.rule.QueryMode == spec.FullLoad
		switch {
		case !deletes && there > here && (here == 0 || o.rule.QueryMode == spec.IncrementingAppend):
			return false
		case o.rule.QueryMode == spec.IncrementingAppend && here == there:
			return false
		}
	}
	return true
}

// readObject hashes the rows that the destination is to have.
func (v *verifier) readObject(ctx context.Context, t *verified, o *verifiedObject, sink rowSink) (refused int64, err error) {
	source := v.sources[o.ID().Database]
	session, err := source.OpenSession(ctx)
	if err != nil {
		return 0, err
	}
	defer session.Close(context.WithoutCancel(ctx))
	cursors, err := cursorsOf(source, o.Queryable, o.rule)
	if err != nil {
		return 0, err
	}
	if _, err := session.Begin(ctx, o.Queryable); err != nil {
		return 0, err
	}
	hash, err := newRowHasher(t)
	if err != nil {
		return 0, err
	}
	limit := postgres.Limit{Rows: v.p.Spec.Engine.BatchRows, Bytes: int64(v.p.Spec.Engine.BatchBytes), Row: int64(v.p.Spec.Engine.MaxEventBytes)}
	emit := v.through(ctx, t, hash, sink, &refused)
	if len(cursors) == 0 || len(o.at.Cursors) != len(cursors) {
		_, _, err = session.ReadAll(ctx, o.Queryable, limit, emit)
		return refused, err
	}
	values := make([]string, len(cursors))
	for i := range cursors {
		values[i] = o.at.Cursors[i].Value
	}
	return refused, session.ReadUpto(ctx, o.Queryable, cursors, values, limit, func(b *batch.Batch, failed []postgres.RawFailure) error { return emit(b, failed) })
}
