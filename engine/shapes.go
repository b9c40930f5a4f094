package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/plugins/wasm"
	"github.com/leat-etl/leat/state"
)

// shape is what the destination has of a source table, an entry of its
// checkpoint: rows and shape commit together (invariant 5).
type shape struct {
	Table   batch.TableID `json:"table"`
	OID     uint32        `json:"oid"`
	Version uint64        `json:"version"`
	// Storage and Definition are the catalogue's when the rows at the
	// destination were last known to be those of the table. An ALTER TABLE that
	// rewrites rows changes both and leaves no change in the log; VACUUM FULL and
	// TRUNCATE change the first alone, a new name or column the second.
	Storage    string `json:"storage"`
	Definition string `json:"definition"`
	// Leaves names the relations that hold the rows: a partition that is attached
	// or detached brings or takes rows of which the log tells nothing.
	Leaves string `json:"leaves,omitempty"`
	// Forms names how values read: ALTER TYPE may change that of all rows.
	Forms string `json:"forms,omitempty"`
	// Due is the LSN from which on the table is to be loaded again, 0 for no
	// need; Why says the need.
	Due uint64 `json:"due,omitempty"`
	Why string `json:"why,omitempty"`
	// Empty: rows may be at the destination that the table has no more, so that
	// it is emptied before it is loaded again.
	Empty bool `json:"empty,omitempty"`
	// Dropped: the source has the table no more.
	Dropped bool `json:"dropped,omitempty"`
	// Keyless: the table is published without its updates and deletes. Untold: the
	// log does not say which key it has.
	Keyless bool `json:"keyless,omitempty"`
	Untold  bool `json:"untold,omitempty"`
	// Left: the log passes without its changes, because it is not selected or
	// another table has its name.
	Left bool `json:"left,omitempty"`
	// Ousted: the rows under the table's name are those of another one by now.
	Ousted bool `json:"ousted,omitempty"`
	// Baseline is the last column, by its number, of those that are not new,
	// Claimed the numbers of later ones that the destination is given although
	// new columns are withheld.
	Baseline int    `json:"baseline,omitempty"`
	Claimed  string `json:"claimed,omitempty"`
	// Chain names the transforms that made the rows, empty where that is not known.
	Chain string `json:"chain,omitempty"`
}

// shapeOf is the shape of a table that is loaded as it is now.
func (l *lane) shapeOf(t *postgres.Table) shape {
	return shape{Table: t.ID(), OID: t.OID, Version: t.Schema.Version, Storage: t.Storage(), Definition: t.Definition(), Leaves: t.Parts(), Forms: t.Forms(),
		Keyless: l.keyless(t.OID), Untold: untold(t), Chain: l.p.plugins.chainOf(t.ID())}
}

// untold says whether the log does not tell the key of a table.
func untold(t *postgres.Table) bool {
	return t.Identity == postgres.IdentityFull || t.Identity == postgres.IdentityNothing
}

const (
	shapeKind   = "schema"
	shapePrefix = shapeKind + "/"
)

// key names the table by OID: two tables may swap their names.
func (s shape) key() string {
	return checkpointKey(shapeKind, s.Table.Database, strconv.FormatUint(uint64(s.OID), 10))
}

func (s shape) entry() (wasm.Checkpoint, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return wasm.Checkpoint{}, fmt.Errorf("encode shape of %s: %w", s.Table, err)
	}
	value := string(text)
	return wasm.Checkpoint{Key: s.key(), Value: &value}, nil
}

// shapes are those of a lane's database. It is safe for concurrent use.
type shapes struct {
	mu    sync.Mutex
	byOID map[uint32]shape
	// unsaved are changes that the next commit stores.
	unsaved map[uint32]bool
	// named are the keys of entries that are to be replaced by one under its OID.
	named []string
}

// read takes the shapes of a database from the destination's checkpoint.
func (s *shapes) read(stored *checkpointEntries, database string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byOID, s.unsaved, s.named = map[uint32]shape{}, map[uint32]bool{}, nil
	stored.mu.Lock()
	defer stored.mu.Unlock()
	for key, value := range stored.entries {
		if !strings.HasPrefix(key, shapePrefix) {
			continue
		}
		var one shape
		if err := json.Unmarshal([]byte(value), &one); err != nil {
			return fmt.Errorf("checkpoint %q at the destination: %w", key, err)
		}
		if one.Table.Database == database {
			s.byOID[one.OID] = one
			if key != one.key() { // an earlier release named it by the table
				s.named, s.unsaved[one.OID] = append(s.named, key), true
			}
		}
	}
	return nil
}

func (s *shapes) get(oid uint32) (shape, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one, ok := s.byOID[oid]
	return one, ok
}

func (s *shapes) all() []shape {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]shape, 0, len(s.byOID))
	for _, one := range s.byOID {
		out = append(out, one)
	}
	return out
}

// put changes what is known; the next commit stores it.
func (s *shapes) put(one shape) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byOID[one.OID] != one {
		s.byOID[one.OID], s.unsaved[one.OID] = one, true
	}
}

// update changes the shape of one table, if it is known.
func (s *shapes) update(oid uint32, change func(*shape)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one, ok := s.byOID[oid]
	if !ok {
		return
	}
	before := one
	if change(&one); one != before {
		s.byOID[oid], s.unsaved[oid] = one, true
	}
}

// forget leaves out what is no longer in the checkpoint.
func (s *shapes) forget(oid uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byOID, oid)
	delete(s.unsaved, oid)
}

// entries are what is to be committed; saved says that it was.
func (s *shapes) entries() (out []wasm.Checkpoint, saved func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	written := map[uint32]shape{}
	named := s.named
	for _, key := range named {
		out = append(out, wasm.Checkpoint{Key: key})
	}
	for oid := range s.unsaved {
		entry, err := s.byOID[oid].entry()
		if err != nil {
			return nil, nil, err
		}
		out = append(out, entry)
		written[oid] = s.byOID[oid]
	}
	return out, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for oid, one := range written {
			if s.byOID[oid] == one {
				delete(s.unsaved, oid)
			}
		}
		s.named = s.named[len(named):]
	}, nil
}

// promise notes that a table is to be loaded again once the log has been
// delivered up to lsn, and whether it is emptied before. It returns false if
// that was noted before.
func (s *shapes) promise(oid uint32, lsn uint64, why string, empty bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	one, ok := s.byOID[oid]
	if !ok || one.Due != 0 && (one.Empty || !empty) {
		return false
	}
	if one.Due == 0 {
		one.Due, one.Why = lsn, why
	}
	one.Empty = one.Empty || empty
	s.byOID[oid], s.unsaved[oid] = one, true
	return true
}

// anyPromise says whether it waits to be noted that a table is to be loaded
// again, is not selected, or is gone.
func (s *shapes) anyPromise() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for oid := range s.unsaved {
		if one := s.byOID[oid]; one.Left || one.Due != 0 || one.Dropped {
			return true
		}
	}
	return false
}

// due returns the tables that are to be loaded again once the log has been
// delivered up to lsn.
func (s *shapes) due(lsn uint64) (out []shape) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.byOID {
		if one.Due != 0 && one.Due <= lsn {
			out = append(out, one)
		}
	}
	return out
}

// previous is the schema that the destination has of a relation, nil if it has
// none.
func (l *lane) previous(oid uint32) (*batch.Schema, error) {
	noted, ok := l.shapes.get(oid)
	if !ok {
		return nil, nil
	}
	return l.schemaOf(oid, noted.Table, noted.Version)
}

// logged is the schema that a relation had when its log was last taken: that
// at the destination, or that in its spool, which may be ahead of it. It is nil
// for a relation that is new.
func (l *lane) logged(oid uint32, _ batch.TableID) (*batch.Schema, error) {
	if t, ok := l.diverted.get(oid); ok && t.Version != 0 {
		return l.schemaOf(oid, t.Logged, t.Version)
	}
	return l.previous(oid)
}

func (l *lane) schemaOf(oid uint32, t batch.TableID, version uint64) (*batch.Schema, error) {
	s, err := l.p.store.Schema(t, version)
	if errors.Is(err, state.ErrNotFound) { // the state folder is a new one
		return &batch.Schema{Table: t, OID: oid, Version: version}, nil
	}
	return s, err
}

// versionBefore is the version of a table that the destination has.
func (l *lane) versionBefore(oid uint32) uint64 {
	if t, ok := l.diverted.get(oid); ok && t.Version != 0 {
		return t.Version
	}
	noted, _ := l.shapes.get(oid)
	return noted.Version
}

// look compares what the catalogue says of a table now with what is noted. Rows
// that were rewritten are loaded again once the log has been delivered up to
// this moment: before it, it may still have rows of old.
func (l *lane) look(ctx context.Context, t *postgres.Table) error {
	noted, ok := l.shapes.get(t.OID)
	if !ok {
		return nil
	}
	if err := l.noteWithheld(t, noted.Baseline); err != nil {
		return err
	}
	l.lookAtChain(noted)
	l.shapes.update(t.OID, func(s *shape) { s.Untold = untold(t) })
	if noted.Left && noted.Due == 0 {
		if err := l.comesBack(ctx, t, noted); err != nil {
			return err
		}
	}
	if noted.Table != t.ID() && !noted.Left && noted.Due == 0 && policyOf(&l.p.Spec.SchemaChanges, tableRenamed) != "block" {
		if err := l.loadRenamed(ctx, t); err != nil {
			return err
		}
	}
	storage, definition, leaves, forms := t.Storage(), t.Definition(), t.Parts(), t.Forms()
	why, empty, made := t.PartsMoved(noted.Leaves, noted.Storage)
	if why == "" && len(made) > 0 {
		var err error
		if why, err = l.source.BornWithRows(ctx, made); err != nil {
			return err
		}
	}
	if storage != noted.Storage && definition != noted.Definition && noted.Storage != "" {
		why = "its rows were rewritten, which the log does not tell"
	}
	if why == "" {
		why = t.FormsMoved(noted.Forms)
	}
	if why == "" {
		l.shapes.update(t.OID, func(s *shape) { s.Storage, s.Definition, s.Leaves, s.Forms = storage, definition, leaves, forms })
		return nil
	}
	if leaves != noted.Leaves {
		_, publication := names(l.p.Spec, l.database)
		if err := l.source.RefreshPublications(ctx, publication); err != nil {
			return err
		}
	}
	system, err := l.source.System(ctx)
	if err != nil {
		return err
	}
	l.shapes.update(t.OID, func(s *shape) {
		s.Storage, s.Definition, s.Leaves, s.Forms = storage, definition, leaves, forms
		s.Due, s.Why, s.Empty = system.LSN, why, s.Empty || empty
	})
	return nil
}

// lookAtAll looks at every table. It returns errAnew where one is to join that
// the session does not replicate.
func (l *lane) lookAtAll(ctx context.Context) error {
	all, err := l.listTables(ctx)
	if err != nil {
		return err
	}
	l.sayRefused(all)
	if err := l.missTables(ctx, all); err != nil {
		return err
	}
	tables, err := l.chooseTables(ctx, all)
	if err != nil {
		return err
	}
	if l.joining(tables) && !l.beginsAnew() {
		return errAnew
	}
	for _, t := range tables {
		if err := l.look(ctx, t); err != nil {
			return err
		}
		if t.Keyless != l.keyless(t.OID) && slices.ContainsFunc(l.tables, func(known *postgres.Table) bool { return known.OID == t.OID }) {
			return errAnew // it belongs into the other publication
		}
	}
	return nil
}

// missTables looks for tables that the destination has and the source has no
// more. Their rows stay.
func (l *lane) missTables(ctx context.Context, all []*postgres.Table) error {
	listed := map[uint32]bool{}
	for _, t := range all {
		listed[t.OID] = true
	}
	var missing []uint32
	for _, noted := range l.shapes.all() {
		if !listed[noted.OID] && !noted.Dropped {
			missing = append(missing, noted.OID)
		}
	}
	there, err := l.source.Exist(ctx, missing)
	if err != nil {
		return err
	}
	for _, oid := range missing {
		noted, ok := l.shapes.get(oid)
		if !ok || there[oid] {
			continue
		}
		c := SchemaChange{Kind: tableDropped, Table: noted.Table}
		if policyOf(&l.p.Spec.SchemaChanges, tableDropped) == "block" {
			return &SchemaChangeError{c}
		}
		l.log.Warn("a table has changed", "change", c.String())
		if err := l.p.store.ChangeObject(noted.Table, func(o *state.Object) {
			o.State, o.Reason, o.Fix, o.Restart, o.Again = state.Deleted, "the table was dropped at the source; its rows stay at the destination", "", false, ""
		}); err != nil {
			return err
		}
		l.shapes.update(noted.OID, func(s *shape) { s.Dropped, s.Due = true, 0 })
	}
	return nil
}

// leaveTables notes which tables the log passes from now on: they are loaded
// again if they come back.
func (l *lane) leaveTables(chosen []*postgres.Table) {
	here := map[uint32]bool{}
	for _, t := range chosen {
		here[t.OID] = true
	}
	for _, noted := range l.shapes.all() {
		if here[noted.OID] || noted.Dropped {
			continue
		}
		if !noted.Left {
			l.log.Warn("table is no longer selected: its rows stay, and it is loaded again if it comes back", "table", noted.Table.String())
		}
		l.shapes.update(noted.OID, func(s *shape) { s.Left, s.Due = true, 0 })
	}
}

// tableByOID is what the catalogue says of a relation for the stream.
func (l *lane) tableByOID(ctx context.Context, oid uint32) (*postgres.Table, error) {
	t, err := l.source.TableByOID(ctx, oid)
	if err != nil {
		return nil, err
	}
	if noted, ok := l.shapes.get(oid); ok && noted.Left {
		return t, nil // a partition by now, of which the log tells as well
	}
	return t, l.look(ctx, t)
}
