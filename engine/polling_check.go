package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/engine/spec"
)

// checkQueries looks at every prerequisite of a pipeline that reads its source
// by queries.
func checkQueries(ctx context.Context, s *spec.Spec, cfg *postgres.Config) (*postgres.Report, error) {
	out := new(postgres.Report)
	for _, database := range cfg.Databases {
		r, source := postgres.CheckConnection(ctx, cfg, database)
		out.Items = append(out.Items, r.Items...)
		if source == nil {
			continue
		}
		source.ByQuery = true
		items, err := checkObjects(ctx, s, source)
		if err := errors.Join(err, source.Close(ctx)); err != nil {
			return nil, err
		}
		out.Items = append(out.Items, items...)
	}
	return out, nil
}

func checkObjects(ctx context.Context, s *spec.Spec, source *postgres.Source) ([]postgres.Item, error) {
	ruleOf, err := rulesOf(s, nil)
	if err != nil {
		return nil, err
	}
	objects, rules, refused, err := queryables(ctx, s, source, ruleOf)
	if err != nil {
		return nil, err
	}
	items := []postgres.Item{postgres.SelectedItem(source.Database, len(objects)+len(refused))}
	for _, f := range refused {
		items = append(items, postgres.Item{Name: "query mode", Object: f.table.String(), Found: causeOf(f.err), Outcome: postgres.Fail, Fix: fixOf(f.err)})
	}
	var tables []*postgres.Table
	for i, o := range objects {
		rule := rules[i]
		items = append(items, postgres.Item{Name: "query mode", Object: o.ID().String(), Found: rule.Identity(""), Outcome: postgres.OK})
		cursors, err := cursorsOf(source, o, rule)
		if err != nil {
			return nil, err
		}
		for _, c := range cursors {
			items = append(items, source.CheckCursor(ctx, o, c)...)
		}
		if len(o.Schema.Key()) == 0 {
			items = append(items, keylessItem(o, rule))
		}
		if o.Table != nil {
			tables = append(tables, o.Table)
		}
	}
	return append(items, source.CheckReadable(ctx, tables)...), nil
}

// causeOf is what an error says beside its operation and object.
func causeOf(err error) string {
	var known *postgres.Error
	if errors.As(err, &known) && known.Err != nil {
		return known.Err.Error()
	}
	return err.Error()
}

// keylessNote says what becomes of a table without a key.
func keylessNote(rule spec.ObjectRule) string {
	if rule.QueryMode == spec.FullLoad {
		return "no key: each run replaces all rows in one transaction"
	}
	return "no key: rows are appended, a changed one as another row; rows that transactions write which are open wait for the next run"
}

func keylessItem(o *postgres.Queryable, rule spec.ObjectRule) postgres.Item {
	return postgres.Item{Name: "key", Object: o.ID().String(), Found: keylessNote(rule), Outcome: postgres.Warn,
		Fix: fmt.Sprintf("A primary key at the source, or key = [...] in [objects.%q].", o.ID().Schema+"."+o.ID().Name)}
}

// planQueries is Plan for a pipeline that reads its source by queries.
func (p *Pipeline) planQueries(ctx context.Context) ([]PlannedTable, error) {
	cfg, err := SourceConfig(p.Spec)
	if err != nil {
		return nil, err
	}
	own, err := p.openChain(ctx)
	if err != nil {
		return nil, err
	}
	defer own.close(context.WithoutCancel(ctx))
	var out []PlannedTable
	for _, database := range Databases(p.Spec) {
		l := newPoller(p, database)
		if l.source, err = postgres.Open(ctx, cfg, database); err != nil {
			return nil, err
		}
		l.source.ByQuery = true
		tables, err := l.plan(ctx, own)
		if err := errors.Join(err, l.source.Close(ctx)); err != nil {
			return nil, err
		}
		out = append(out, tables...)
	}
	return out, nil
}

func (l *poller) plan(ctx context.Context, own *ownChain) ([]PlannedTable, error) {
	ruleOf, err := rulesOf(l.p.Spec, l.p.store)
	if err != nil {
		return nil, err
	}
	objects, rules, refused, err := queryables(ctx, l.p.Spec, l.source, ruleOf)
	if err != nil {
		return nil, err
	}
	if err := l.stored.read(ctx, l.applier); err != nil {
		return nil, err
	}
	var tables []*postgres.Table
	for _, o := range objects {
		if o.Table != nil {
			tables = append(tables, o.Table)
		}
	}
	indexes, err := indexesOf(ctx, l.source, tables)
	if err != nil {
		return nil, err
	}
	var out []PlannedTable
	for _, f := range refused {
		out = append(out, PlannedTable{Source: f.table, Reason: causeOf(f.err) + ": " + fixOf(f.err)})
	}
	for i, o := range objects {
		own.chain.Announce(o.Schema)
		l.objects = append(l.objects, &object{o, rules[i], rules[i].Identity(l.p.Spec.Source.Query)})
	}
	changes, err := l.changes()
	if err != nil {
		return nil, err
	}
	records, err := objectRecords(l.p.store)
	if err != nil {
		return nil, err
	}
	from := map[batch.TableID]string{}
	for _, c := range changes {
		from[c.Table] = c.From
	}
	for _, o := range l.objects {
		t := PlannedTable{Source: o.ID(), QueryMode: o.rule.Identity(""), Decided: records[o.ID()].Reading != nil, RestartFrom: from[o.ID()]}
		if len(o.Schema.Key()) == 0 {
			t.Note = keylessNote(o.rule)
		}
		if err := own.planTargets(ctx, o.Schema, &t); err != nil {
			return nil, err
		}
		if o.Table != nil {
			l.p.addIndexes(&t, indexes[o.Table.OID])
		}
		out = append(out, t)
	}
	return out, nil
}
