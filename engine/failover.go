package engine

import (
	"context"
	"fmt"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
)

// otherLog says why the log of the server is not the one that was taken up to at,
// empty if it is. A server that was promoted since has another timeline, and its
// slot, a failover slot or one that was made on the standby, goes on where the old
// server's ended. One that was restored from a copy of its disk has the same
// timeline; once it has written as much as before only the stream can tell: see
// postgres.ErrOtherLog.
func (l *lane) otherLog(ctx context.Context, at position) (string, error) {
	from, to := at.Position.Timeline, l.system.Timeline
	switch {
	case from > to:
		return fmt.Sprintf("the server is on timeline %d, its log was taken up to %s on %d: an old primary answers, or the server was restored to an earlier state", to, at.Position, from), nil
	case (from == to || at.Standby) && at.End > l.system.LSN && !l.system.Standby:
		return fmt.Sprintf("the log of the server ends at %s, and was taken up to %s before: the server was restored to an earlier state", batch.FormatLSN(l.system.LSN), batch.FormatLSN(at.End)), nil
	case from == to:
		return "", nil
	}
	left, known, err := l.source.TimelineEnd(ctx, from, to)
	switch {
	case err != nil:
		return "", err
	case !known:
		return fmt.Sprintf("the server is on timeline %d, which does not come from timeline %d, whose log was taken up to %s: the server was restored", to, from, at.Position), nil
	case at.End > left && !at.Standby: // a slot of a standby is never at another server
		return fmt.Sprintf("the server left timeline %d at %s, and its log was taken up to %s: a standby was promoted before it had received all (synchronized_standby_slots prevents that from PostgreSQL 17 on), or the server was restored to an earlier state",
			from, batch.FormatLSN(left), batch.FormatLSN(at.End)), nil
	}
	return "", nil
}

const noFailoverSlot = "the server was restored or failed over to a standby without a lasting copy of the slot (PostgreSQL 17 and later keep one with sync_replication_slots = on at the standby, which lasts once pg_replication_slots there shows it with temporary = f)"

// identify finds out which server this is, and where it is.
func (l *lane) identify(ctx context.Context) (err error) {
	if l.system, err = l.source.System(ctx); err != nil || !l.system.Standby {
		return err
	}
	l.system.Timeline, err = l.source.ReplayTimeline(ctx)
	return err
}

// failover says whether standbys are to keep a copy of a new slot. Servers
// refuse that together with two-phase commit, and at a standby.
func (l *lane) failover() bool { return !l.p.Spec.Source.TwoPhase && !l.system.Standby }

// publish makes sure of the publication. A standby takes none: there the
// primary must have it.
func (l *lane) publish(ctx context.Context, name string, tables []*postgres.Table) (err error) {
	if !l.system.Standby {
		if l.publication, err = l.source.EnsurePublication(ctx, name, tables, lockPatience); err != nil {
			return l.explainPublication(ctx, name, err)
		}
		l.onlyTheirs(tables)
		return l.leaveLocked(ctx, tables)
	}
	if l.publication, err = l.source.StandbyPublication(ctx, name, tables); err != nil {
		return err
	}
	l.log.Info("the server is a standby: no heartbeat is written; where it has to wait for a snapshot, run SELECT pg_log_standby_snapshot() at the primary")
	return nil
}

// beat writes the heartbeat, which a standby cannot: there it ends the session when
// the server has been promoted, for the next one to do what only a primary takes.
func (l *lane) beat(ctx context.Context) error {
	if !l.system.Standby {
		_, err := l.source.Heartbeat(ctx, l.p.Spec.Name)
		return err
	}
	system, err := l.source.System(ctx)
	if err == nil && !system.Standby {
		err = errAnew
	}
	return err
}
