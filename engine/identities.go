package engine

import (
	"context"
	"slices"
	"time"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
)

// Keys and replica identities change while the log is followed. A table that
// loses its identity fails its UPDATEs at the source for as long as these are
// published, so the session that finds it ends at once, and the next one
// publishes the table otherwise. One that gets an identity is loaded again after
// that: until then its updates and deletes were not in the log.

// identities notes of which tables the log identifies rows, and says whether
// that has changed: the destination has to know before they are published so.
func (l *lane) identities(tables []*postgres.Table) (changed bool) {
	for _, t := range tables {
		noted, ok := l.shapes.get(t.OID)
		if !ok || noted.Keyless == t.Keyless {
			continue
		}
		if t.Keyless {
			l.log.Warn("the log identifies no row of a table any more: its updates and deletes are no longer replicated", "table", t.ID().String(), keylessFix)
		} else {
			l.log.Warn("the log identifies the rows of a table again", "table", t.ID().String())
			l.shapes.promise(t.OID, 1, notInLog, true)
		}
		l.shapes.update(t.OID, func(s *shape) { s.Keyless = t.Keyless })
		changed = true
	}
	return changed
}

// unpublished promises that tables which the destination has are loaded again
// of whose changes the log has not all so far: they had lost their identity while
// the destination could not be told, or somebody else has changed the publication.
func (l *lane) unpublished(ctx context.Context, tables []*postgres.Table) error {
	oids, err := l.source.NotPublished(ctx, PublicationName(l.p.Spec, l.database), tables)
	for _, oid := range oids {
		if noted, ok := l.shapes.get(oid); ok && !noted.Left && !noted.Dropped {
			l.shapes.promise(oid, 1, notInLog, true)
		}
	}
	return err
}

const notInLog = "until now not all of its changes were in the log"

// lookAtPublication ends a session whose publications somebody else has changed.
func (l *lane) lookAtPublication(ctx context.Context) error {
	if l.system.Standby {
		return nil
	}
	missing, err := l.source.NotPublished(ctx, PublicationName(l.p.Spec, l.database), l.tables)
	if err != nil || len(missing) == 0 {
		return err
	}
	l.log.Warn("somebody has changed the publication: it is set right, and its tables are loaded again that the log was without", "tables", len(missing))
	return errAnew
}

// spareWriters has tables that have lost their identity published without their
// updates and deletes, which would fail at the source, while the destination
// cannot be told: see unpublished, and loadWhatIsOut.
func (l *lane) spareWriters(ctx context.Context) error {
	demoted, err := l.source.Demote(ctx, PublicationName(l.p.Spec, l.database), lockPatience)
	for _, name := range demoted {
		l.log.Warn("the log identifies no row of a table any more: its updates and deletes are no longer replicated", "table", name, keylessFix)
	}
	return err
}

var keylessFix = fixAttr("a primary key, REPLICA IDENTITY USING INDEX or FULL; leat check has the statement")

// keyless says whether a table is published without its updates and deletes.
func (l *lane) keyless(oid uint32) bool {
	return slices.ContainsFunc(l.tables, func(t *postgres.Table) bool { return t.OID == oid && t.Keyless })
}

// identityWatch looks at the tables of a session again and again. It takes no
// more than a fiftieth of the time.
type identityWatch struct {
	oids, keyless []uint32
	next          time.Time
}

const identityShare = 50

// lookAtIdentities looks at all tables if one seems to belong into the other
// publication.
func (l *lane) lookAtIdentities(ctx context.Context, w *identityWatch) error {
	began := time.Now()
	if began.Before(w.next) || len(w.oids) == 0 {
		return nil
	}
	keyless, err := l.source.Keyless(ctx, w.oids)
	if err != nil {
		return err
	}
	now := time.Now()
	w.next = now.Add(identityShare * now.Sub(began))
	if slices.Equal(keyless, w.keyless) {
		return nil
	}
	w.keyless = keyless
	return l.lookAtAll(ctx)
}

func (l *lane) newIdentityWatch() *identityWatch {
	w := new(identityWatch)
	for _, t := range l.tables {
		w.oids = append(w.oids, t.OID)
		if t.Keyless {
			w.keyless = append(w.keyless, t.OID)
		}
	}
	slices.Sort(w.keyless)
	return w
}

// untold says whether the log does not tell which key a table has: then it comes
// from the catalogue, which may be ahead of it. Neither the rows at the
// destination nor those in the log up to then need be unique under such a key.
func (l *lane) untold(before, after *batch.Schema) bool {
	noted, _ := l.shapes.get(after.OID)
	return noted.Untold && len(before.Key()) > 0 && len(after.Key()) > 0 && !slices.Equal(keyNames(before, after), keyNames(after, after))
}
