package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/engine/spec"
)

// capture makes sure of DDL capture, if the pipeline file wants it. Without it
// changes of tables are told by the rows after them and the catalogue, which is
// said once. An installation that was refused is not tried again by this
// process; one that somebody else makes is found.
func (l *lane) capture(ctx context.Context) error {
	l.captureKey = nil
	if !l.p.Spec.Source.DDLCapture {
		return nil
	}
	key, problem, err := l.source.EnsureCapture(ctx, l.uncaptured == "")
	if err != nil {
		return err
	}
	said := "no: " + problem
	if problem == "" {
		l.captureKey, said = key, "yes"
	}
	l.progress(func(d *DatabaseProgress) { d.DDLCapture = said })
	if problem != "" && problem != l.uncaptured {
		l.log.Warn("schema changes are not captured: the rows after them and the catalogue tell of them", "reason", problem, "fix", captureFix(l.p.Spec))
	}
	l.uncaptured = problem
	return nil
}

func captureFix(s *spec.Spec) string {
	return fmt.Sprintf("leat check %s prints the SQL that a superuser may run", s.Path)
}

// capturing says what a stream does with the messages of DDL capture.
func (l *lane) capturing() *postgres.Capture {
	if l.captureKey == nil {
		return nil
	}
	tables, selected := map[uint32]bool{}, l.p.Spec.Objects.Selection()
	for _, t := range l.tables {
		tables[t.OID] = true
	}
	return &postgres.Capture{
		Key: l.captureKey, Generated: l.source.SendsGenerated(),
		Follows: func(oid uint32, t batch.TableID) bool { return tables[oid] && selected.Match(t.Schema, t.Name) },
		Noticed: func(oid uint32, t batch.TableID, lsn uint64) {
			if _, known := l.shapes.get(oid); known || selected.Match(t.Schema, t.Name) {
				l.noticed.CompareAndSwap(0, lsn) // a look at the catalogue sees what the log says after it, too
			}
		},
		Refused: func(err error) {
			if !l.strange { // anyone may write any number of them
				l.log.Warn("a message that is like those of DDL capture is passed over, and so is every further one", "reason", err)
			}
			l.strange = true
		},
	}
}

// lookAtNoticed looks at all tables once the destination has everything before
// the commit that made, dropped or renamed one. Where they come and go all the
// time, it takes at most a twentieth of it.
func (l *lane) lookAtNoticed(ctx context.Context) error {
	lsn := l.noticed.Load()
	if lsn == 0 || time.Now().Before(l.nextLook) {
		return nil
	}
	l.mu.Lock()
	at := max(l.record.Durable.LSN, l.record.Acknowledged.LSN, l.record.IdleAcknowledged)
	l.mu.Unlock()
	if at < lsn {
		return nil
	}
	l.noticed.Store(0)
	began := time.Now()
	defer func() { l.nextLook = time.Now().Add(20 * time.Since(began)) }()
	return l.lookAtAll(ctx)
}

// Uncaptured says of each database where the pipeline file asks for DDL capture
// why changes are not captured, if the next run does not mend it.
func Uncaptured(ctx context.Context, s *spec.Spec) (out []string, err error) {
	if !s.Source.DDLCapture {
		return nil, nil
	}
	err = eachSource(ctx, s, func(source *postgres.Source) error {
		state, err := source.CaptureState(ctx)
		if problem := state.Problem(); err == nil && problem != "" && !state.MayInstall() {
			out = append(out, fmt.Sprintf("schema changes of %s are not captured: %s; the rows after them and the catalogue tell of them; %s", source.Database, problem, captureFix(s)))
		}
		return err
	})
	return out, err
}
