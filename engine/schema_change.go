package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/engine/spec"
	"github.com/leat-etl/leat/plugins/wasm"
	"github.com/leat-etl/leat/state"
)

// SchemaChange is one difference between two shapes of a source table.
type SchemaChange struct {
	Kind  string        `json:"kind"` // a key of [schema_changes]
	Table batch.TableID `json:"table"`
	// Column is the name after the change, Was the one before where it differs.
	Column string `json:"column,omitempty"`
	Was    string `json:"was,omitempty"`
	// From and To are the types of a column that gets another one.
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
}

// The kinds of changes, as [schema_changes] names them.
const (
	columnAdded   = "column_added"
	columnDropped = "column_dropped"
	columnRenamed = "column_renamed"
	columnRetyped = "column_retyped"
	keyChanged    = "key_changed"
	tableRenamed  = "table_renamed"
	tableDropped  = "table_dropped"
)

// String says the change in words.
func (c SchemaChange) String() string {
	switch c.Kind {
	case columnAdded:
		return fmt.Sprintf("column %s of %s was added", c.Column, c.Table)
	case columnDropped:
		return fmt.Sprintf("column %s of %s was dropped", c.Was, c.Table)
	case columnRenamed:
		return fmt.Sprintf("column %s of %s was renamed to %s", c.Was, c.Table, c.Column)
	case columnRetyped:
		return fmt.Sprintf("column %s of %s became %s, it was %s", c.Column, c.Table, c.To, c.From)
	case keyChanged:
		return fmt.Sprintf("the key of %s was (%s) and is (%s)", c.Table, c.Was, c.Column)
	case tableRenamed:
		return fmt.Sprintf("table %s was renamed to %s", c.Was, c.Table)
	}
	return fmt.Sprintf("table %s was dropped", c.Table)
}

// schemaChanges lists what differs. Columns are the same if their IDs are, or
// their names where an ID is not known.
func schemaChanges(before, after *batch.Schema) []SchemaChange {
	var out []SchemaChange
	change := func(kind, column, was string) *SchemaChange {
		out = append(out, SchemaChange{Kind: kind, Table: after.Table, Column: column, Was: was})
		return &out[len(out)-1]
	}
	if before.Table != after.Table {
		change(tableRenamed, "", before.Table.String())
	}
	for i := range before.Columns {
		if old := &before.Columns[i]; counterpart(after, old) < 0 {
			change(columnDropped, "", old.Name)
		}
	}
	for i := range after.Columns {
		c := &after.Columns[i]
		at := counterpart(before, c)
		if at < 0 {
			change(columnAdded, c.Name, "")
			continue
		}
		old := &before.Columns[at]
		if old.Name != c.Name {
			change(columnRenamed, c.Name, old.Name)
		}
		if old.PG.Name != c.PG.Name || old.PG.Typmod != c.PG.Typmod {
			r := change(columnRetyped, c.Name, "")
			r.From, r.To = postgres.TypeName(old.PG), postgres.TypeName(c.PG)
		}
	}
	if was, is := keyNames(before, after), keyNames(after, after); !slices.Equal(was, is) {
		change(keyChanged, strings.Join(is, ", "), strings.Join(was, ", "))
	}
	return out
}

func counterpart(s *batch.Schema, c *batch.Column) int {
	if c.ID > 0 {
		if at := s.ColumnID(c.ID); at >= 0 {
			return at
		}
		at := s.Column(c.Name)
		if at >= 0 && s.Columns[at].ID == 0 {
			return at
		}
		return -1
	}
	return s.Column(c.Name)
}

// keyNames are the key columns of s under the names that they have in now.
func keyNames(s, now *batch.Schema) []string {
	var out []string
	for _, k := range s.Key() {
		name := s.Columns[k].Name
		if at := counterpart(now, &s.Columns[k]); at >= 0 {
			name = now.Columns[at].Name
		}
		out = append(out, name)
	}
	return out
}

// recreated says whether a column was dropped and another one of its name
// added: its older rows have other values than the destination.
func recreated(before, after *batch.Schema) string {
	for i := range after.Columns {
		c := &after.Columns[i]
		if at := before.Column(c.Name); at >= 0 && c.ID > 0 && before.Columns[at].ID > 0 && before.ColumnID(c.ID) < 0 {
			return c.Name
		}
	}
	return ""
}

// SchemaChangeError says that the pipeline does not take a change by itself.
type SchemaChangeError struct{ Change SchemaChange }

// Error implements error.
func (e *SchemaChangeError) Error() string {
	return fmt.Sprintf("%s: the pipeline file blocks %s", e.Change, e.Change.Kind)
}

// Hint is what an operator can do.
func (e *SchemaChangeError) Hint() string {
	return fmt.Sprintf("see what it would do with leat plan; set %s = \"apply\" under [schema_changes] and run again, or change the table back", e.Change.Kind)
}

// policyOf is what the pipeline file says of a kind of change.
func policyOf(s *spec.SchemaChanges, kind string) string {
	policy := map[string]string{
		columnAdded: s.ColumnAdded, columnDropped: s.ColumnDropped, columnRenamed: s.ColumnRenamed, columnRetyped: s.ColumnRetyped,
		keyChanged: s.KeyChanged, tableRenamed: s.TableRenamed, tableDropped: s.TableDropped,
	}[kind]
	if policy == "" || policy == "default" {
		policy = s.Default
	}
	if policy == "hold" && (kind == tableRenamed || kind == tableDropped) {
		return "block" // there is no table that could wait under its name
	}
	return policy
}

// hold pauses a table before the first rows that have a change: its log waits
// (see settlePauses) until an operator resumes it. What has waited is then
// applied, changes included; so is a change in the log that waits for a load.
func (l *lane) hold(after *batch.Schema, c SchemaChange) error {
	if _, waited := l.diverted.get(after.OID); waited {
		return nil
	}
	at := slices.IndexFunc(l.tables, func(t *postgres.Table) bool { return t.OID == after.OID })
	if at < 0 || l.stored.get(loadKey(l.tables[at].ID())) == "" {
		return &SchemaChangeError{c} // renamed, dropped or never loaded: it cannot wait
	}
	t := l.tables[at].ID()
	l.log.Warn("a table has changed and is held: its changes wait until it is resumed", "change", c.String(), "table", t.String())
	err := l.p.store.ChangeObject(t, func(o *state.Object) {
		o.Choice, o.State, o.Reason = state.Pause, state.Paused, "held, its changes wait: "+c.String()
		o.Fix = fmt.Sprintf("leat objects resume %s %s.%s applies them", l.p.Spec.Path, t.Schema, t.Name)
	})
	if err != nil {
		return err
	}
	return errPromised
}

// errPromised ends a delivery so that what it will need is noted before it
// changes the destination.
var errPromised = errors.New("noted before the delivery")

// foresee deals with the tables of a group that have changed in the log,
// before anything of it is written: what the policy says, and what changing
// the table alone will not do. Where the destination wants it, the tables are
// changed at once.
func (l *lane) foresee(ctx context.Context, d *delivery, group *postgres.Group) error {
	for _, b := range group.Batches {
		oid := b.Schema.OID
		planned := d.chain.planned(b.Schema)
		before, err := l.shapeBefore(d, b.Schema)
		if err != nil {
			return err
		}
		if before != nil && before != b.Schema && before.Fingerprint() != b.Schema.Fingerprint() {
			if err := l.changes(ctx, d, before, b); err != nil {
				return err
			}
		}
		if oid != postgres.MessagesOID { // which is no table of the source
			d.shapes[oid] = b.Schema
		}
		if d.changesApart && !planned { // such a destination never does both in one transaction
			if err := d.makeTables(ctx, b.Schema); err != nil {
				return err
			}
		}
	}
	return nil
}

// shapeBefore is the shape that a table has in the delivery so far, nil if
// nothing is known of it.
func (l *lane) shapeBefore(d *delivery, s *batch.Schema) (*batch.Schema, error) {
	if before := d.shapes[s.OID]; before != nil {
		return before, nil
	}
	before, err := l.previous(s.OID)
	if err != nil || before == nil || len(before.Columns) == 0 {
		return nil, err
	}
	p, err := l.visibleOf(before)
	return p.schema, err
}

// changes deals with one change of a table. before is the shape until then, b
// has the first rows after it, or none but its place.
func (l *lane) changes(ctx context.Context, d *delivery, before *batch.Schema, b *batch.Batch) error {
	after := b.Schema
	changes := schemaChanges(before, after)
	for _, c := range changes {
		switch policyOf(&l.p.Spec.SchemaChanges, c.Kind) {
		case "block":
			return &SchemaChangeError{c}
		case "hold":
			if err := l.hold(after, c); err != nil {
				return err
			}
		}
	}
	if before.Table != after.Table && l.replaces() && l.taken(after.Table, after.OID) {
		l.leave(after.Table, after.OID)
		return errPromised
	}
	root, err := d.chain.plan(ctx, after)
	if err != nil {
		return err
	}
	why := reloadReason(before, after, root)
	late, err := l.claimedLate(before, after)
	if err != nil {
		return err
	}
	if late != "" && why == "" {
		why = fmt.Sprintf("column %s was withheld under another name", late)
	}
	untold := l.untold(before, after)
	if untold && why == "" {
		why = "it has another key, and the log does not tell since when"
	}
	if why != "" {
		due := b.Start().LSN
		if recreated(before, after) != "" { // the catalogue told, which may be ahead of the log
			system, err := l.source.System(ctx)
			if err != nil {
				return err
			}
			due = max(due, system.LSN)
		}
		if due >= d.loadedAt && l.shapes.promise(after.OID, due, why, untold) {
			return errPromised
		}
	}
	for _, c := range changes {
		l.log.Info("a table has changed", "change", c.String())
	}
	if untold || keyAppears(before, after) {
		d.emptied[after] = before
	}
	if identityOf(before) != identityOf(after) {
		d.rekeyed[after] = before
	}
	d.republishes = d.republishes || slices.ContainsFunc(changes, func(c SchemaChange) bool { return c.Kind == keyChanged })
	return nil
}

// keyAppears says whether a table that had no key has one now.
func keyAppears(before, after *batch.Schema) bool {
	return len(before.Key()) == 0 && len(after.Key()) > 0
}

// otherKey is why a table is loaded again whose rows wait under another key.
const otherKey = "rows that were set aside had another key than it has now"

// emptyBefore empties a table before the first rows that have a key, or one that
// the log does not tell: while it had none, deletes and updates were not
// replicated. So it does where the key
// is another one than that of rows which are set aside: later changes of these
// would not wait behind them, and what is there may not even fit the new key.
// The table is loaded again then.
func (l *lane) emptyBefore(ctx context.Context, d *delivery, b *batch.Batch) error {
	before := d.emptied[b.Schema]
	if before == nil {
		var err error
		if before, err = l.waitingOtherwise(d, b); err != nil || before == nil {
			return err
		}
	}
	delete(d.emptied, b.Schema)
	empty := truncation(before, b.Start())
	defer empty.Release()
	return d.write(ctx, empty)
}

// waitingOtherwise returns the schema that a table had until b, or that of b if
// none is known, if rows wait that had another key; nil if that is not so.
func (l *lane) waitingOtherwise(d *delivery, b *batch.Batch) (*batch.Schema, error) {
	if b.IsTruncate() || !d.compacts && !d.fills || b.Start().LSN < d.loadedAt || !d.quarantine.otherKey(b.Schema) {
		return nil, nil
	}
	if l.shapes.promise(b.Schema.OID, b.Start().LSN, otherKey, true) {
		return nil, errPromised
	}
	if noted, ok := l.shapes.get(b.Schema.OID); !ok || noted.Due == 0 {
		return nil, nil // nothing would bring the rows back
	}
	if before := d.rekeyed[b.Schema]; before != nil {
		return before, nil
	}
	return b.Schema, nil
}

// savePromises commits what has to be known before a delivery is made again,
// and what goes with it.
func (l *lane) savePromises(ctx context.Context, with ...wasm.Checkpoint) error {
	d, err := l.applier.begin(ctx)
	if err != nil {
		return err
	}
	entries, saved, err := l.shapes.entries()
	if err == nil {
		entries = append(with, entries...)
		err = d.commit(ctx, entries...)
	}
	if err != nil {
		return d.abort(ctx, nil, err)
	}
	saved()
	l.stored.apply(entries)
	return nil
}

// entriesOf returns the checkpoint that a delivery gets to with the end of a
// group: the position, and the shapes of its tables.
func (l *lane) entriesOf(d *delivery, group *postgres.Group) (entries []wasm.Checkpoint, committed func([]wasm.Checkpoint), err error) {
	entry, err := l.checkpoint(position{Position: group.Position, End: group.End(), Time: group.LastCommitTime})
	if err != nil {
		return nil, nil, err
	}
	entries, committed, err = l.shapesOf(d)
	return append(entries, entry), committed, err
}

// shapesOf returns what a delivery does to the shapes of its tables. committed
// notes the entries with which it was committed.
func (l *lane) shapesOf(d *delivery) (entries []wasm.Checkpoint, committed func([]wasm.Checkpoint), err error) {
	for oid, s := range d.shapes {
		noted, ok := l.shapes.get(oid)
		if !ok {
			noted = shape{OID: oid, Table: s.Table, Keyless: l.keyless(oid)}
		}
		if noted.Table != s.Table {
			renamed, err := l.renamed(noted, s.Table)
			if err != nil {
				return nil, nil, err
			}
			entries, noted.Ousted = append(entries, renamed...), false
		}
		noted.Table, noted.Version = s.Table, s.Version
		l.given(&noted, s)
		l.shapes.put(noted)
	}
	shapes, saved, err := l.shapes.entries()
	if err != nil {
		return nil, nil, err
	}
	return append(entries, shapes...), func(entries []wasm.Checkpoint) {
		saved()
		l.stored.apply(entries)
		if d.republishes { // not before, or the session would end without the delivery
			l.mu.Lock()
			l.rekeyed = true
			l.mu.Unlock()
		}
	}, nil
}

// reloadReason says why the rows of a table that are at the destination do not
// become what they are at the source by changing the table, empty if they do.
func reloadReason(before, after *batch.Schema, root *step) string {
	if name := recreated(before, after); name != "" {
		return fmt.Sprintf("column %s was dropped and another one of its name added", name)
	}
	if keyAppears(before, after) {
		return "it has a key now"
	}
	if len(after.Key()) == 0 && len(before.Key()) == 0 && len(schemaChanges(before, after)) > 0 {
		return "its rows have no key: they are told apart by all that they hold"
	}
	if before.Table != after.Table {
		return otherName
	}
	last := lastColumn(before)
	for i := range after.Columns {
		c := &after.Columns[i]
		if c.ID > 0 && c.ID < last && counterpart(before, c) < 0 {
			return fmt.Sprintf("column %s is older than others, but was not replicated until now", c.Name)
		}
		if c.Missing != nil && counterpart(before, c) < 0 && root.computesFrom(c.ID) {
			return fmt.Sprintf("a plugin computes from the new column %s", c.Name)
		}
	}
	for _, leaf := range root.leaves() {
		if leaf.target.Reload != "" {
			return leaf.target.Reload
		}
	}
	return ""
}

// computesFrom says whether a transform, or a kernel for it, is given the
// source's column with an ID.
func (s *step) computesFrom(id int) bool {
	if s.target != nil {
		return false
	}
	if at := s.schema.ColumnID(id); at >= 0 && s.plan.ComputesFrom(s.schema.Columns[at].Name) {
		return true
	}
	return slices.ContainsFunc(s.next, func(next *step) bool { return next.computesFrom(id) })
}
