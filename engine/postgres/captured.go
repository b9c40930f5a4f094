package postgres

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/leat-etl/leat/engine/batch"
)

// Capture says what a stream does with the messages of DDL capture. Its
// functions are called by the goroutine that runs the stream.
type Capture struct {
	// Key is that of Source.EnsureCapture, Generated whether the log brings
	// stored generated columns (see Source.SendsGenerated).
	Key       []byte
	Generated bool
	// Follows says whether changes of a table are handed out under a name. A
	// batch without rows then stands where the table changes.
	Follows func(oid uint32, t batch.TableID) bool
	// Noticed is told of other tables that were made, changed or dropped by the
	// transaction that commits at lsn.
	Noticed func(oid uint32, t batch.TableID, lsn uint64)
	// Refused is told of messages that are not what the triggers write: anyone
	// may write some.
	Refused func(error)
}

const (
	captureKeyBytes = 64 // one half for each of the two hashes of a signature
	// mostCaptured bounds a message. One of 1,600 columns has a quarter of a
	// megabyte, and the defaults of its new ones.
	mostCaptured = 16 << 20
	// mostAttributes is MaxHeapAttributeNumber.
	mostAttributes = 1600
)

// capturedTable is the JSON of a message, which capture.sql writes: all of a
// table as the catalogue has it there.
type capturedTable struct {
	Version   int                 `json:"v"`
	XID       uint64              `json:"xid"`
	Dropped   bool                `json:"dropped"`
	OID       uint32              `json:"oid"`
	Schema    string              `json:"schema"`
	Name      string              `json:"name"`
	Kind      string              `json:"kind"`
	Identity  string              `json:"identity"`
	Immediate bool                `json:"immediate"`
	Columns   []capturedAttribute `json:"columns"`
}

type capturedAttribute struct {
	ID        int     `json:"id"`
	Name      string  `json:"name"`
	Type      uint32  `json:"type"`
	Typmod    int32   `json:"typmod"`
	Nullable  bool    `json:"nullable"`
	Generated string  `json:"generated"`
	Dropped   bool    `json:"dropped"`
	Missing   *string `json:"missing"`
	Primary   int     `json:"primary"`
	Identity  int     `json:"identity"`
}

// read takes a message apart: a signature, and the JSON that it is of. Whoever
// may connect may write messages, but does not know the key; and as the
// transaction is part of what is signed, a message cannot be used again.
func (c *Capture) read(content []byte, xid uint32) (*capturedTable, error) {
	if len(content) < sha256.Size || len(content) > mostCaptured {
		return nil, fmt.Errorf("it has %d bytes", len(content))
	}
	signature, text := content[:sha256.Size], content[sha256.Size:]
	half := len(c.Key) / 2
	inner := sha256.Sum256(slices.Concat(c.Key[:half], text))
	outer := sha256.Sum256(slices.Concat(c.Key[half:], inner[:]))
	if !hmac.Equal(signature, outer[:]) {
		return nil, errors.New("it is not signed with the key of the event triggers: another role wrote it, or they were installed anew")
	}
	var t capturedTable
	if !utf8.Valid(text) {
		return nil, errors.New("it is not in UTF-8")
	}
	if err := json.Unmarshal(text, &t); err != nil {
		return nil, fmt.Errorf("it is no JSON of a table: %w", err)
	}
	switch {
	case t.Version != captureVersion:
		return nil, fmt.Errorf("it is of version %d of the event triggers", t.Version)
	case uint32(t.XID) != xid:
		return nil, fmt.Errorf("it is of transaction %d, and stands in %d", uint32(t.XID), xid)
	case t.OID == 0 || t.OID == MessagesOID || t.Schema == "" || t.Name == "" || !t.Dropped && (len(t.Identity) != 1 || identities[t.Identity] == ""):
		return nil, errors.New("it describes no table")
	case len(t.Columns) > mostAttributes || !slices.IsSortedFunc(t.Columns, func(a, b capturedAttribute) int { return a.ID - b.ID }):
		return nil, errors.New("its columns are not those of a table")
	}
	return &t, nil
}

// table is what the catalogue would have returned at the place of the message.
func (c *Capture) table(t *capturedTable, database string, types *TypeMap) *Table {
	out := &Table{OID: t.OID, Kind: kinds[t.Kind], Identity: identities[t.Identity], immediateKey: t.Immediate,
		Schema: &batch.Schema{OID: t.OID, Table: batch.TableID{Database: database, Schema: t.Schema, Name: t.Name}}}
	columns := make([]attribute, len(t.Columns))
	for i, a := range t.Columns {
		columns[i] = attribute{relation: t.OID, typeOID: a.Type, id: a.ID, name: a.Name, typmod: a.Typmod, nullable: a.Nullable,
			generated: a.Generated == "v" || a.Generated != "" && !c.Generated, dropped: a.Dropped, missing: a.Missing, primary: a.Primary, identity: a.Identity}
	}
	out.setColumns(columns, types)
	return out
}

// described is the Relation message that would follow.
func (t *Table) described(identity byte) *described {
	m := &described{oid: t.OID, table: t.ID(), identity: identity}
	for _, c := range t.Schema.Columns {
		key := identity == 'f' || identity != 'n' && c.Key > 0
		m.columns = append(m.columns, describedColumn{name: c.Name, oid: c.PG.OID, typmod: c.PG.Typmod, key: key})
	}
	return m
}

// fits says whether a captured table is the one that a message describes: a
// change that was not captured may lie between the two.
func (t *Table) fits(m *described) bool {
	return t != nil && t.ID() == m.table && slices.EqualFunc(t.Schema.Columns, m.columns, func(c batch.Column, d describedColumn) bool {
		return c.Name == d.name && c.PG.OID == d.oid && c.PG.Typmod == d.typmod
	})
}

// captured handles a message of DDL capture: the table is another one from
// here on, whether rows follow or not. It counts as no change of a row, so that
// positions are the same with capture and without.
func (d *pgoutput) captured(ctx context.Context, place uint64, content []byte) error {
	capture, at := d.source.capture, d.position(d.tx.ordinal)
	if at.Compare(d.skipTo) < 0 {
		return nil // the destination has it
	}
	read, err := capture.read(content, d.tx.xid)
	if err != nil {
		capture.Refused(err)
		return nil
	}
	id := batch.TableID{Database: d.source.database, Schema: read.Schema, Name: read.Name}
	if read.Dropped || !capture.Follows(read.OID, id) {
		capture.Noticed(read.OID, id, d.tx.lsn)
		return nil
	}
	known := d.known(read.OID)
	rel, err := d.source.describe(ctx, read, known)
	if err != nil {
		return fmt.Errorf("captured change of %s: %w", id, err)
	}
	d.replace(known, rel, place)
	if rel != known {
		d.group.reshape(rel, at)
		d.grow(rel.width+rowOverhead, 1)
	}
	return nil
}

// describe makes the relation of a captured table.
func (s *relationSource) describe(ctx context.Context, read *capturedTable, known *loggedRelation) (*loggedRelation, error) {
	if _, err := s.current(ctx, read.OID); err != nil { // makes types known that are new, and notices rewritten rows
		return nil, err
	}
	t := s.capture.table(read, s.database, s.types())
	return s.join(t.described(read.Identity[0]), known, t, t)
}
