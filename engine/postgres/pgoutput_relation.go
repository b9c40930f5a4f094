package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/leat-etl/leat/engine/batch"
)

// ErrNeedsText says that a stream in binary mode met a column whose binary
// form we do not decode: open it again in text mode.
var ErrNeedsText = errors.New("the table has a column that can only be streamed as text")

// relationSource is where the shape of a relation comes from beside its
// message.
type relationSource struct {
	database string
	binary   bool
	types    func() *TypeMap
	tables   func(ctx context.Context, relationOID uint32) (*Table, error)
	visible  func(ctx context.Context, xid uint32) error
	seen     uint32 // the last transaction that is visible
	previous func(relationOID uint32, t batch.TableID) (*batch.Schema, error)
	number   func(s *batch.Schema, after uint64) error
	messages []string // prefixes of the logical messages that are rows
	capture  *Capture // nil: schema changes are not captured
}

// loggedRelation is a table as the log last described it.
type loggedRelation struct {
	oid     uint32
	schema  *batch.Schema
	builder *batch.Builder
	text    []appender
	binary  []appender // nil in a text stream and for types without a binary form
	key     []int
	isKey   []bool
	whole   bool  // no key, but the log has whole old rows
	width   int64 // bytes of the fixed-width cells of a row
	entry   int   // place among the batches of the gathering, -1: none yet

	captured *Table // the table as DDL capture last told it, nil if it has not
}

// Tags of a cell.
const (
	cellNull      = 'n'
	cellUnchanged = 'u'
	cellText      = 't'
	cellBinary    = 'b'
)

// cell is a column of a tuple.
type cell struct {
	tag  byte
	data []byte
}

// readTuple takes a tuple apart; raw is the whole of it.
func (rel *loggedRelation) readTuple(cells []cell, r *reader) (_ []cell, raw []byte, err error) {
	start := r.rest
	if n := int(r.uint16()); n != len(rel.text) {
		return cells, nil, fmt.Errorf("tuple of %d columns for %s, which has %d", n, rel.schema.Table, len(rel.text))
	}
	for range rel.text {
		c := cell{tag: r.uint8()}
		switch c.tag {
		case cellText, cellBinary:
			c.data = r.take(int(int32(r.uint32())))
		case cellNull, cellUnchanged:
		default:
			return cells, nil, fmt.Errorf("column of unknown kind %q", c.tag)
		}
		cells = append(cells, c)
	}
	if r.bad {
		return cells, nil, errSyntax
	}
	return cells, start[:len(start)-len(r.rest)], nil
}

// append adds a cell to its column.
func (rel *loggedRelation) append(b *batch.Builder, i int, c *cell) error {
	col := b.Column(i)
	switch c.tag {
	case cellText:
		return rel.text[i](col, c.data)
	case cellBinary:
		if rel.binary == nil || rel.binary[i] == nil {
			return errSyntax
		}
		return rel.binary[i](col, c.data)
	case cellNull:
		col.AppendNull()
	default:
		col.AppendAbsent()
	}
	return nil
}

// appendKey adds a row in which only the key is present: all of it, if the
// whole row is the identity.
func (rel *loggedRelation) appendKey(b *batch.Builder, row []cell) columnError {
	for i := range row {
		if !rel.isKey[i] && !rel.whole {
			b.Column(i).AppendAbsent()
			continue
		}
		if err := rel.append(b, i, &row[i]); err != nil {
			return columnError{i, err}
		}
	}
	return columnError{}
}

// keyChanged compares the key cells of an update. The identity of a row
// without a key always counts as changed.
func (rel *loggedRelation) keyChanged(old, row []cell) bool {
	if rel.whole {
		return true
	}
	for _, i := range rel.key {
		if row[i].tag == cellUnchanged {
			continue
		}
		if old[i].tag != row[i].tag || !bytes.Equal(old[i].data, row[i].data) {
			return true
		}
	}
	return false
}

// described is a Relation message.
type described struct {
	oid      uint32
	xid      uint32 // of the transaction it stands in, 0 where that is not known
	table    batch.TableID
	identity byte
	columns  []describedColumn
}

type describedColumn struct {
	name   string
	oid    uint32
	typmod int32
	key    bool
}

func (d *pgoutput) relation(ctx context.Context, r *reader) error {
	m := described{oid: r.uint32()}
	if d.tx.open {
		m.xid = d.tx.xid
	}
	m.table = batch.TableID{Database: d.source.database, Schema: string(r.text()), Name: string(r.text())}
	if m.table.Schema == "" {
		m.table.Schema = "pg_catalog"
	}
	m.identity = r.uint8()
	for range r.uint16() {
		key := r.uint8()&1 != 0
		m.columns = append(m.columns, describedColumn{name: string(r.text()), oid: r.uint32(), typmod: int32(r.uint32()), key: key})
		if r.bad {
			return errSyntax
		}
	}
	if r.bad {
		return errSyntax
	}
	known, place := d.known(m.oid), d.nextPlace()
	rel, err := d.source.resolve(ctx, &m, known)
	if err != nil {
		return fmt.Errorf("relation %s: %w", m.table, err)
	}
	d.replace(known, rel, place)
	return nil
}

// replace lets a relation be what a message has described.
func (d *pgoutput) replace(known, rel *loggedRelation, place uint64) {
	if known != nil && known != rel {
		d.group.close(known)
	}
	d.learn(rel.oid, rel, place)
}

// resolve makes the relation of a message: names, types and order are the
// message's. What it does not say is known from DDL capture, or the catalogue
// adds it.
func (s *relationSource) resolve(ctx context.Context, m *described, known *loggedRelation) (*loggedRelation, error) {
	if s.visible != nil && m.xid != 0 && m.xid != s.seen {
		if err := s.visible(ctx, m.xid); err != nil {
			return nil, err
		}
		s.seen = m.xid
	}
	now, err := s.current(ctx, m.oid)
	if err != nil {
		return nil, err
	}
	if known != nil && known.captured.fits(m) {
		return s.join(m, known, known.captured, known.captured)
	}
	return s.join(m, known, now, nil)
}

// current is what the catalogue says of a relation, nil if it is gone.
func (s *relationSource) current(ctx context.Context, oid uint32) (*Table, error) {
	if s.tables == nil {
		return nil, nil
	}
	now, err := s.tables(ctx, oid)
	var gone *Error
	if errors.As(err, &gone) && gone.Class == Object {
		return nil, nil // dropped since: the message is all there is
	}
	return now, err
}

// join adds to a message what is known of its table: captured, if that is so,
// otherwise what the catalogue says now. An unchanged relation stays the one it
// was.
func (s *relationSource) join(m *described, known *loggedRelation, now, captured *Table) (*loggedRelation, error) {
	before, err := s.before(m, known)
	if err != nil {
		return nil, err
	}
	types := s.types()
	schema := m.schema(types, before, now)
	if known != nil && known.whole && m.identity == 'f' && captured == nil {
		// The catalogue may have a key that is younger than this place of the
		// log. The whole row is right in any case.
		for i := range schema.Columns {
			schema.Columns[i].Key = 0
		}
	}
	if known != nil && known.schema.Fingerprint() == schema.Fingerprint() {
		known.whole, known.captured = m.whole(schema), captured
		return known, nil
	}
	if s.number != nil {
		after := uint64(0)
		if before != nil {
			after = before.Version
		}
		if err := s.number(schema, after); err != nil {
			return nil, err
		}
	}
	rel, err := newRelation(m.oid, schema, types, s.binary)
	if err == nil {
		rel.whole, rel.captured = m.whole(schema), captured
	}
	return rel, err
}

// whole says that the old row is the identity of a row.
func (m *described) whole(s *batch.Schema) bool { return m.identity == 'f' && len(s.Key()) == 0 }

// before is what was last known of a relation, nil if it is new.
func (s *relationSource) before(m *described, known *loggedRelation) (*batch.Schema, error) {
	if known != nil {
		return known.schema, nil
	}
	if s.previous == nil {
		return nil, nil
	}
	return s.previous(m.oid, m.table)
}

// schema joins the message with what was known before and what the catalogue
// says now. A type that is gone by now is what it was before.
func (m *described) schema(types *TypeMap, before *batch.Schema, now *Table) *batch.Schema {
	out := &batch.Schema{Table: m.table, OID: m.oid, Columns: make([]batch.Column, len(m.columns))}
	var catalog *batch.Schema
	if now != nil {
		catalog = now.Schema
	}
	ids := m.columnIDs(before, now)
	for i, c := range m.columns {
		col := types.Column(c.name, c.oid, c.typmod, true)
		if !types.Has(c.oid) && before != nil {
			if at := slices.IndexFunc(before.Columns, func(b batch.Column) bool { return b.PG.OID == c.oid && b.PG.Typmod == c.typmod }); at >= 0 {
				col.Type, col.PG = before.Columns[at].Type, before.Columns[at].PG
			}
		}
		col.ID = ids[i]
		if at := columnOf(catalog, ids[i]); at >= 0 {
			col.Nullable, col.Missing = catalog.Columns[at].Nullable, catalog.Columns[at].Missing
		} else if at := columnOf(before, ids[i]); at >= 0 {
			col.Nullable, col.Missing = before.Columns[at].Nullable, before.Columns[at].Missing
		}
		out.Columns[i] = col
	}
	for place, i := range m.keyColumns(catalog, ids) {
		out.Columns[i].Key = place + 1
	}
	return out
}

// keyColumns are the columns of the row identity in key order. The log marks
// those it sends for old rows; with REPLICA IDENTITY FULL it marks all and
// with NOTHING none, and then the catalogue's key counts.
func (m *described) keyColumns(catalog *batch.Schema, ids []int) []int {
	var marked, known []int
	for i, c := range m.columns {
		if c.key {
			marked = append(marked, i)
		}
	}
	if catalog != nil {
		for _, k := range catalog.Key() {
			at := slices.Index(ids, catalog.Columns[k].ID)
			if at < 0 {
				return marked // the key has changed since
			}
			known = append(known, at)
		}
	}
	if m.identity == 'f' || len(marked) == 0 {
		return known
	}
	if len(known) == 0 {
		return marked
	}
	if sorted := slices.Sorted(slices.Values(known)); slices.Equal(sorted, marked) {
		return known
	}
	return marked
}

func newRelation(oid uint32, schema *batch.Schema, types *TypeMap, binary bool) (*loggedRelation, error) {
	n := len(schema.Columns)
	rel := &loggedRelation{oid: oid, schema: schema, builder: batch.NewBuilder(schema), text: make([]appender, n), key: schema.Key(), isKey: make([]bool, n), entry: -1}
	for _, i := range rel.key {
		rel.isKey[i] = true
	}
	if binary {
		rel.binary = make([]appender, n)
	}
	for i, col := range schema.Columns {
		var err error
		if rel.text[i], err = newAppender(types, col, false); err != nil {
			return nil, err
		}
		if fixed, ok := col.Type.(arrow.FixedWidthDataType); ok {
			rel.width += int64(fixed.BitWidth()+7) / 8
		} else {
			rel.width += 4
		}
		if !binary || types.sendsNothing(col.PG.OID) {
			continue
		}
		if rel.binary[i], err = newAppender(types, col, true); err != nil {
			return nil, fmt.Errorf("column %q: %w: %w", col.Name, ErrNeedsText, err)
		}
	}
	return rel, nil
}

// sendsNothing says whether a type is known to have no binary form.
func (m *TypeMap) sendsNothing(oid uint32) bool {
	t := m.types[oid]
	return t != nil && t.Send == ""
}
