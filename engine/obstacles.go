package engine

import (
	"context"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/engine/spec"
)

// markObstacles gives tables a Reason that the role cannot publish or, where
// load says that it has to, read.
func markObstacles(ctx context.Context, s *spec.Spec, source *postgres.Source, tables []*postgres.Table, load func(*postgres.Table) bool) error {
	_, publication := names(s, source.Database)
	obstacles, err := source.Obstacles(ctx, publication, tables, load)
	if err != nil {
		return err
	}
	for _, t := range tables {
		if o, ok := obstacles[t.OID]; ok {
			t.Reason, t.Fix = o.Reason, o.Fix
		}
	}
	return nil
}

// listTables returns the tables that are selected. One that the role cannot
// replicate waits alone, with its Reason: the log passes without its changes,
// so that it is loaded again if it was here before.
func (l *lane) listTables(ctx context.Context) ([]*postgres.Table, error) {
	all, err := l.source.Tables(ctx, selection(l.p.Spec))
	if err != nil {
		return nil, err
	}
	err = markObstacles(ctx, l.p.Spec, l.source, all, func(t *postgres.Table) bool {
		return l.p.Spec.Source.LoadHistoricalData && l.stored.known() && l.stored.get(loadKey(t.ID())) == ""
	})
	if err != nil {
		return nil, err
	}
	for _, t := range all {
		if t.Reason != "" {
			l.shapes.update(t.OID, func(s *shape) { s.Left, s.Due = true, 0 })
		}
	}
	return all, nil
}

// onlyTheirs notes which tables the log is followed for where the publication
// belongs to another role and may hold more.
func (l *lane) onlyTheirs(tables []*postgres.Table) {
	l.followed = nil
	if l.publication == nil || !l.publication.Foreign {
		return
	}
	l.followed = map[uint32]bool{}
	for _, t := range tables {
		l.followed[t.OID] = true
	}
}

// passes says whether changes of a relation are none of the pipeline's.
func (l *lane) passes(s *batch.Schema) bool { return l.followed != nil && !l.followed[s.OID] }

// known says whether the destination was asked.
func (c *checkpointEntries) known() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.entries != nil
}

// PublicationName is the name of the publication that a pipeline keeps in a
// database.
func PublicationName(s *spec.Spec, database string) string {
	_, publication := names(s, database)
	return publication
}
