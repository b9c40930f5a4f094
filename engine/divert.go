package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/plugins/wasm"
	"github.com/leat-etl/leat/state/spool"
)

// A table is diverted while its log must not reach the destination: while its
// history is loaded, or because something holds it. What the log says of it
// then goes to a spool of its own, in order, and the stream of all other tables
// goes on. The spool is synced before the delivery commits that takes the
// destination past the log in it, and that same commit records in the
// checkpoint how far the spool counts: after a crash it is cut there, and the
// rest comes again (invariants 1 and 3). What is taken out of it is recorded in
// the commit of its rows, so that each change is applied exactly once.
//
// How to use it, from whoever holds the applier by a delivery d:
//
//	d.divert(&l.diverted, diversion{Table: ..., OID: ..., Reason: ..., From: ...})
//	    from now on, this delivery included, changes of the table are spooled;
//	    in effect once d commits, taken back if it is aborted;
//	l.diverted.get(oid)
//	    says whether a table is diverted, and why;
//	l.rejoin(ctx, oid, nil, nil)
//	    holding nothing: applies the spool in slices beside the stream, and the
//	    table joins the stream again with the last one.

// diversion is the entry of a diverted table in the destination's checkpoint.
type diversion struct {
	Table batch.TableID `json:"table"`
	OID   uint32        `json:"oid"`
	// Reason is who rejoins the table: forLoad, forPause or forPlugin.
	Reason string `json:"reason"`
	// Fresh: the destination has no rows of the table but those that its load
	// has brought, so that the log before the load's snapshot is not needed.
	Fresh bool `json:"fresh,omitempty"`
	// From is the LSN before which every commit is at the destination, or will
	// be by the load.
	From uint64 `json:"from"`
	// Lost: log of it is gone with its spool, so that it has to be loaded in
	// full.
	Lost bool `json:"lost,omitempty"`
	// Spool is the ID of the spool, empty as long as it holds nothing; Begin and
	// End are the offsets of what counts in it.
	Spool string `json:"spool,omitempty"`
	Begin int64  `json:"begin,omitempty"`
	End   int64  `json:"end,omitempty"`
	// Logged and Version are the name and the version of the schema that the
	// log had last, 0 for none.
	Logged  batch.TableID `json:"logged"`
	Version uint64        `json:"version,omitempty"`
}

// forLoad is the Reason of a table whose history is loaded.
const forLoad = "load"

// entry names the table by OID: it may be renamed meanwhile.
func (d *diversion) entry() (wasm.Checkpoint, error) {
	text, err := json.Marshal(d)
	if err != nil {
		return wasm.Checkpoint{}, fmt.Errorf("encode diversion of %s: %w", d.Table, err)
	}
	value := string(text)
	return wasm.Checkpoint{Key: d.key(), Value: &value}, nil
}

func (d *diversion) key() string {
	return checkpointKey("diverted", d.Table.Database, strconv.FormatUint(uint64(d.OID), 10))
}

// diverted is a table under diversion. Whoever holds the applier may use it.
type diverted struct {
	diversion            // as the delivery under way leaves it
	before    *diversion // as the destination has it, nil if it has none
	spool     *spool.Spool
	joins     bool // ends with the delivery under way
	touched   bool // by the delivery under way
}

// diversions are those of a lane's database.
type diversions struct {
	mu     sync.Mutex // guards what follows and what get shows; spools belong to who holds the applier
	dir    string
	byOID  map[uint32]*diverted
	freed  chan struct{} // closed when there may be room again
	unsure error         // of a commit that the destination may have or not; only read tells
}

// get returns the diversion of a table.
func (s *diversions) get(oid uint32) (diversion, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.byOID[oid]
	if t == nil {
		return diversion{}, false
	}
	return t.diversion, true
}

// loading returns the tables that are under load.
func (s *diversions) loading() (out []diversion) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.byOID {
		if t.Reason == forLoad {
			out = append(out, t.diversion)
		}
	}
	slices.SortFunc(out, func(a, b diversion) int {
		return cmp.Or(strings.Compare(a.Table.Schema, b.Table.Schema), strings.Compare(a.Table.Name, b.Table.Name))
	})
	return out
}

// any says whether there is a diversion of a kind.
func (s *diversions) any(is func(*diversion) bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.byOID {
		if is(&t.diversion) {
			return true
		}
	}
	return false
}

// read takes the diversions of a database from the destination's checkpoint
// and cuts their spools to what counts.
func (s *diversions) read(stored *checkpointEntries, database, dir string, log func(msg string, args ...any)) error {
	s.close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dir, s.byOID, s.unsure = dir, map[uint32]*diverted{}, nil
	for _, key := range stored.in(checkpointKey("diverted", database) + "/") {
		var d diversion
		if err := json.Unmarshal([]byte(stored.get(key)), &d); err != nil {
			return fmt.Errorf("checkpoint %q at the destination: %w", key, err)
		}
		known, before := d, d
		t := &diverted{diversion: d, before: &before}
		if err := s.reopen(t); err != nil {
			return err
		}
		if t.Lost && t.Spool == "" && known.Spool != "" {
			log("the spool of a table is gone or damaged: the table is loaded again in full", "table", t.Table.String(), "spool", s.path(t.OID))
		}
		s.byOID[t.OID] = t
	}
	return s.removeOthers()
}

// reopen opens the spool that the destination relies on.
func (s *diversions) reopen(t *diverted) error {
	if t.Spool == "" {
		return nil
	}
	err := s.open(t)
	var damage *spool.DamageError
	if err != nil && !errors.As(err, &damage) {
		return err
	}
	if err == nil && t.spool.ID() == t.Spool && t.spool.End() >= t.End && t.spool.Begin() <= t.Begin {
		return t.spool.Truncate(t.End)
	}
	t.Lost, t.Reason, t.Spool, t.Begin, t.End = true, forLoad, "", 0, 0
	*t.before = t.diversion
	return s.remove(t)
}

// removeOthers removes spools that no entry names: what is left by a crash.
func (s *diversions) removeOthers() error {
	names, err := spool.List(s.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		oid, err := strconv.ParseUint(name, 10, 32)
		if t := s.byOID[uint32(oid)]; err == nil && t != nil && t.spool != nil {
			continue
		}
		if err := spool.Remove(filepath.Join(s.dir, name)); err != nil {
			return err
		}
	}
	return nil
}

func (s *diversions) path(oid uint32) string {
	return filepath.Join(s.dir, strconv.FormatUint(uint64(oid), 10))
}

func (s *diversions) open(t *diverted) (err error) {
	t.spool, err = spool.Open(s.path(t.OID), spool.Options{SegmentBytes: spoolSegment})
	return err
}

// spoolSegment is small: what a table has applied is given back by segments.
const spoolSegment = 8 << 20

// remove gives a table's spool up.
func (s *diversions) remove(t *diverted) error {
	if t.spool != nil {
		if err := t.spool.Close(); err != nil {
			return err
		}
		t.spool = nil
	}
	return spool.Remove(s.path(t.OID))
}

// close closes the spools.
func (s *diversions) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.byOID {
		if t.spool != nil {
			_ = t.spool.Close() // what counts is synced
		}
	}
	s.byOID = nil
}

// divert begins a diversion with the delivery.
func (d *delivery) divert(s *diversions, n diversion) {
	d.divertWith(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byOID[n.OID] = &diverted{diversion: n, touched: true}
}

// divertWith lets the diversions end with the delivery as it ends.
func (d *delivery) divertWith(s *diversions) {
	if d.diverts == nil {
		d.diverts = s
	}
}

// change changes what the checkpoint says of a diversion with the delivery.
func (d *delivery) change(s *diversions, oid uint32, change func(*diverted)) {
	d.divertWith(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.byOID[oid]; t != nil {
		t.touched = true
		change(t)
	}
}

// take moves the changes of diverted tables out of a group into their spools.
func (d *delivery) take(s *diversions, g *postgres.Group) error {
	parts := s.part(g)
	if len(parts) == 0 {
		return nil
	}
	d.divertWith(s)
	for t, part := range parts {
		if err := s.append(t, part); err != nil {
			return fmt.Errorf("spool the log of %s: %w", t.Table, err)
		}
	}
	failpoint("diverted-appended")
	return nil
}

// part parts a group: what is of diverted tables is taken out.
func (s *diversions) part(g *postgres.Group) map[*diverted]*postgres.Group {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.byOID) == 0 {
		return nil
	}
	parts := map[*diverted]*postgres.Group{}
	of := func(schema *batch.Schema) *postgres.Group {
		t := s.byOID[schema.OID]
		if t == nil {
			return nil
		}
		if parts[t] == nil {
			parts[t] = postgres.RestoreGroup(postgres.Group{Position: g.Position, Complete: g.Complete, LastCommitTime: g.LastCommitTime}, g.End())
		}
		t.touched, t.Logged, t.Version = true, schema.Table, schema.Version
		return parts[t]
	}
	g.Failed = slices.DeleteFunc(g.Failed, func(f postgres.RawFailure) bool {
		part := of(f.Schema)
		if part != nil {
			part.Failed = append(part.Failed, f)
		}
		return part != nil
	})
	g.Batches = slices.DeleteFunc(g.Batches, func(b *batch.Batch) bool {
		part := of(b.Schema)
		if part != nil {
			part.Batches = append(part.Batches, b)
			part.ReceivedBytes += b.Bytes
		}
		return part != nil
	})
	return parts
}

// append appends a table's part of a group and releases it.
func (s *diversions) append(t *diverted, part *postgres.Group) error {
	defer releaseGroup(part)
	if t.spool == nil {
		if err := s.open(t); err != nil {
			return err
		}
	}
	records, err := encodeGroup(part)
	if err != nil {
		return err
	}
	for _, record := range records {
		if _, err := t.spool.Append(record); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.Spool == "" {
		t.Spool, t.Begin = t.spool.ID(), t.spool.Begin()
	}
	t.End = t.spool.End()
	return nil
}

// entries syncs the spools and returns what the delivery is to commit of them.
func (s *diversions) entries() ([]wasm.Checkpoint, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unsure != nil {
		return nil, s.unsure
	}
	var out []wasm.Checkpoint
	for _, t := range s.byOID {
		if !t.touched {
			continue
		}
		if t.Begin == t.End {
			t.Spool, t.Begin, t.End = "", 0, 0
		}
		if t.joins {
			out = append(out, wasm.Checkpoint{Key: t.key()})
			continue
		}
		if t.spool != nil {
			if err := t.spool.Sync(); err != nil {
				return nil, err
			}
		}
		entry, err := t.entry()
		if err != nil {
			return nil, err
		}
		out = append(out, entry)
	}
	failpoint("diverted-synced")
	return out, nil
}

// committed says that the entries are stored. The delivery still holds the
// applier.
func (s *diversions) committed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for oid, t := range s.byOID {
		if !t.touched {
			continue
		}
		t.touched = false
		known := t.diversion
		t.before = &known
		switch {
		case t.joins:
			delete(s.byOID, oid)
			errs = append(errs, s.remove(t))
		case t.Spool == "":
			errs = append(errs, s.remove(t))
		case t.spool != nil:
			errs = append(errs, t.spool.Drop(t.Begin))
		}
	}
	s.signal()
	return errors.Join(errs...)
}

// aborted takes back what the delivery did. Where the destination may have
// committed it, only the next read can tell what counts.
func (s *diversions) aborted() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unsure != nil {
		return nil
	}
	var errs []error
	for oid, t := range s.byOID {
		if !t.touched {
			continue
		}
		t.touched, t.joins = false, false
		if t.before == nil {
			delete(s.byOID, oid)
			errs = append(errs, s.remove(t))
			continue
		}
		t.diversion = *t.before
		switch {
		case t.spool != nil && t.Spool == "":
			errs = append(errs, s.remove(t))
		case t.spool != nil:
			errs = append(errs, t.spool.Truncate(t.End))
		}
	}
	return errors.Join(errs...)
}

// fail notes that a commit has failed.
func (s *diversions) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsure = fmt.Errorf("whether the destination has committed is not known: %w", err)
}

func (s *diversions) signal() {
	if s.freed != nil {
		close(s.freed)
		s.freed = nil
	}
}

// full says whether the spools take more than limit, and returns a channel
// that is closed when that may have changed.
func (s *diversions) full(limit int64) (bool, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	used := int64(0)
	for _, t := range s.byOID {
		used += t.End - t.Begin
	}
	if used < limit {
		return false, nil
	}
	if s.freed == nil {
		s.freed = make(chan struct{})
	}
	return true, s.freed
}

func (l *lane) divertedDir() string {
	return filepath.Join(l.p.stateDir, "diverted", "db-"+url.PathEscape(l.database))
}

// awaitRoom waits before a delivery while the spools of diverted tables take
// more than spool_budget: the log then waits at the source.
func (l *lane) awaitRoom(ctx context.Context) error {
	for said := false; ; {
		full, freed := l.diverted.full(int64(l.p.Spec.Engine.SpoolBudget))
		if !full {
			return nil
		}
		if !said {
			said = true
			l.log.Error("the spools of tables that are loaded or held take spool_budget: the log waits at the source until one of them is applied",
				"spool_budget", int64(l.p.Spec.Engine.SpoolBudget), "tables", l.diverted.names())
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-freed:
		}
	}
}

func (s *diversions) names() (out []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.byOID {
		if t.spool != nil {
			out = append(out, t.Table.String())
		}
	}
	slices.Sort(out)
	return out
}

// removeDiverted removes all spools of the lane.
func (l *lane) removeDiverted() error {
	l.diverted.close()
	if err := os.RemoveAll(l.divertedDir()); err != nil {
		return fmt.Errorf("remove spools: %w", err)
	}
	return nil
}
