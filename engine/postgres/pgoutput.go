package postgres

import (
	"context"
	"fmt"

	"github.com/leat-etl/leat/engine/batch"
)

// pgoutput decodes the messages of the pgoutput plugin, protocol versions 1 to
// 4, straight into the builders of a gathering. It belongs to one goroutine at
// a time. Messages alias the caller's buffer and are not kept.
//
// An error is a fault of the stream; a row that cannot be represented becomes
// a RawFailure instead.
type pgoutput struct {
	source    relationSource
	timeline  uint32
	skipTo    batch.Position
	relations map[uint32]*loggedRelation
	place     map[uint32]uint64 // of their messages among all
	places    uint64            // messages so far that may describe a relation
	group     gathering
	acks      *acknowledgements
	landmark  landmark
	largest   int64 // bytes of a change that is kept, 0 for any

	spills   *spills
	spilling *spilling // what messages belong to, nil outside
	replay   *replay   // what comes before further messages, nil for nothing

	tx  transaction
	old []cell
	row []cell
}

// transaction is the one that is being read.
type transaction struct {
	open    bool
	lsn     uint64 // of the commit
	time    int64  // of the commit, microseconds since 1970
	xid     uint32
	ordinal uint64 // of the last change
	bytes   int64  // gathered since its start or since the last cut in it
	rows    int    // the same
	parted  bool   // a part of it has been cut off
}

// commit is what handling a Commit leaves behind.
type commit struct {
	lsn, end uint64
}

func newPgoutput(source relationSource, timeline uint32, skipTo batch.Position) *pgoutput {
	return &pgoutput{
		source: source, timeline: timeline, skipTo: skipTo, relations: map[uint32]*loggedRelation{}, place: map[uint32]uint64{},
		spills: &spills{open: map[uint32]*spill{}}, acks: &acknowledgements{position: skipTo},
	}
}

// decode handles one message. It returns a commit after a Commit message.
// Where it leaves a replay, the caller calls replayNext until that is over.
func (d *pgoutput) decode(ctx context.Context, message []byte) (*commit, error) {
	r := reader{rest: message}
	kind := r.uint8()
	if d.spilling != nil && kind != 'E' && kind != 'P' && !r.bad {
		if err := d.keep(ctx, message); err != nil {
			return nil, fmt.Errorf("decode log message %q of transaction %d: %w", kind, d.spilling.spill.xid, err)
		}
		return nil, nil
	}
	var done *commit
	var err error
	switch kind {
	case 'I', 'U', 'D':
		err = d.change(kind, &r, len(message))
	case 'B':
		err = d.begin(&r)
	case 'C':
		done, err = d.commit(&r)
	case 'R':
		err = d.relation(ctx, &r)
	case 'T':
		err = d.truncate(&r)
	case 'M':
		done, err = d.message(ctx, &r)
	case 'Y':
		r.take(4)
		r.text()
		r.text()
	case 'O':
		r.take(8)
		r.text()
	case 'S', 'E', 'c', 'A', 'b', 'P', 'K', 'r', 'p':
		err = d.control(kind, &r)
	default:
		return nil, fmt.Errorf("decode log: message of unknown type %q", kind)
	}
	if err == nil && (r.bad || len(r.rest) > 0) {
		err = errSyntax
	}
	if err != nil {
		return nil, fmt.Errorf("decode log message %q of transaction %s: %w", kind, batch.FormatLSN(d.tx.lsn), err)
	}
	return done, nil
}

func (d *pgoutput) begin(r *reader) error {
	if d.tx.open {
		return fmt.Errorf("it begins inside a transaction")
	}
	d.tx = transaction{open: true, lsn: r.uint64(), time: int64(r.uint64()) + epochMicros}
	d.tx.xid = r.uint32()
	return d.landmark.meet(d.tx.lsn, d.tx.time)
}

func (d *pgoutput) commit(r *reader) (*commit, error) {
	r.take(1)
	done := &commit{lsn: r.uint64(), end: r.uint64()}
	r.take(8)
	if !d.tx.open || done.lsn != d.tx.lsn {
		return nil, fmt.Errorf("commit of %s, which is not open", batch.FormatLSN(done.lsn))
	}
	d.finish(done.end)
	return done, nil
}

// finish ends the transaction that is read, whose commit record ends at end.
func (d *pgoutput) finish(end uint64) {
	if d.group.used() || d.tx.parted {
		d.group.reach(d.position(batch.EndOfTransaction), end, d.tx.time)
	}
	d.tx.open = false
}

// position is a place in the transaction that is read.
func (d *pgoutput) position(ordinal uint64) batch.Position {
	return batch.Position{Timeline: d.timeline, LSN: d.tx.lsn, Ordinal: ordinal}
}

// next counts a change and says whether it is new.
func (d *pgoutput) next() (at batch.Position, fresh bool, err error) {
	if !d.tx.open {
		return at, false, fmt.Errorf("change outside a transaction")
	}
	d.tx.ordinal++
	at = d.position(d.tx.ordinal)
	return at, at.Compare(d.skipTo) > 0, nil
}

// change handles Insert, Update and Delete.
func (d *pgoutput) change(kind byte, r *reader, size int) error {
	oid := r.uint32()
	at, fresh, err := d.next()
	if err != nil {
		return err
	}
	rel := d.known(oid)
	if rel == nil {
		return fmt.Errorf("change of relation %d, which was not described", oid)
	}
	tag := r.uint8()
	var old, row []byte
	d.old, d.row = d.old[:0], d.row[:0]
	whole := tag == 'O'
	if kind != 'I' && (tag == 'K' || tag == 'O') {
		if d.old, old, err = rel.readTuple(d.old, r); err != nil {
			return err
		}
		if kind == 'U' {
			tag = r.uint8()
		}
	}
	if kind != 'D' {
		if tag != 'N' {
			return fmt.Errorf("tuple of unknown kind %q", tag)
		}
		if d.row, row, err = rel.readTuple(d.row, r); err != nil {
			return err
		}
	} else if old == nil {
		return fmt.Errorf("delete without a row")
	}
	if !fresh || r.bad || len(r.rest) > 0 {
		return nil
	}
	if d.largest > 0 && int64(size) > d.largest {
		d.grow(rowOverhead, 1)
		d.group.tooLarge(rel, kind, at, d.tx.time, d.keys(rel), tooLarge{int64(size), d.largest})
		return nil
	}
	d.grow(max(int64(size), rel.width)+rowOverhead, 1)
	var failure columnError
	switch kind {
	case 'I':
		failure = d.insert(rel, at)
	case 'U':
		failure = d.update(rel, at, old != nil)
	case 'D':
		failure = d.delete(rel, at, whole)
	}
	if failure.reason != nil {
		d.group.fail(rel, kind, at, d.tx.time, old, row, d.keys(rel), failure)
		d.grow(int64(len(old)+len(row)), 0)
	}
	return nil
}

// keys returns the identities before and after the change that was just read.
func (d *pgoutput) keys(rel *loggedRelation) *batch.Batch {
	b := batch.NewBuilder(rel.schema)
	for _, row := range [][]cell{d.old, d.row} {
		if len(row) == 0 || len(rel.key) == 0 && !rel.whole {
			continue
		}
		if rel.appendKey(b, row).reason != nil {
			b.AbortRow()
			continue
		}
		b.EndRow(batch.OldKey, 0, 0, 0)
	}
	if b.Len() == 0 {
		return nil
	}
	return b.Finish(batch.Position{})
}

// rowOverhead is what a row costs beside its cells.
const rowOverhead = 25

// grow counts size bytes and rows into the group.
func (d *pgoutput) grow(size int64, rows int) {
	d.group.bytes += size
	d.group.rows += rows
	d.tx.bytes += size
	d.tx.rows += rows
}

func (d *pgoutput) insert(rel *loggedRelation, at batch.Position) columnError {
	b := d.group.builder(rel)
	for i := range d.row {
		if err := rel.append(b, i, &d.row[i]); err != nil {
			b.AbortRow()
			return columnError{i, err}
		}
	}
	b.EndRow(batch.Insert, at.LSN, at.Ordinal, d.tx.time)
	return columnError{}
}

// update appends an OldKey before the row where the key has changed. A value
// that was left out of the new row because it did not change is taken from
// the old one where that has it.
func (d *pgoutput) update(rel *loggedRelation, at batch.Position, hasOld bool) columnError {
	b := d.group.builder(rel)
	moved := false
	if hasOld {
		for i := range d.row {
			if d.row[i].tag == cellUnchanged && d.old[i].tag != cellNull {
				d.row[i] = d.old[i]
			}
		}
		if moved = rel.keyChanged(d.old, d.row); moved {
			if failure := rel.appendKey(b, d.old); failure.reason != nil {
				b.AbortRow()
				return failure
			}
			b.EndRow(batch.OldKey, at.LSN, at.Ordinal, d.tx.time)
		}
	}
	for i := range d.row {
		if err := rel.append(b, i, &d.row[i]); err != nil {
			b.AbortRow()
			if moved {
				b.AbortOldKey()
			}
			return columnError{i, err}
		}
	}
	b.EndRow(batch.Update, at.LSN, at.Ordinal, d.tx.time)
	return columnError{}
}

// delete appends the whole old row where the log has it, else its key.
func (d *pgoutput) delete(rel *loggedRelation, at batch.Position, whole bool) columnError {
	b := d.group.builder(rel)
	var failure columnError
	if whole {
		for i := range d.old {
			if err := rel.append(b, i, &d.old[i]); err != nil {
				failure = columnError{i, err}
				break
			}
		}
	} else {
		failure = rel.appendKey(b, d.old)
	}
	if failure.reason != nil {
		b.AbortRow()
		return failure
	}
	b.EndRow(batch.Delete, at.LSN, at.Ordinal, d.tx.time)
	return columnError{}
}

// truncate closes the batches of the relations it names: each gets a batch of
// its own for the truncate.
func (d *pgoutput) truncate(r *reader) error {
	n := r.uint32()
	r.take(1)
	at, fresh, err := d.next()
	if err != nil {
		return err
	}
	if int64(len(r.rest)) != 4*int64(n) {
		return errSyntax
	}
	for range n {
		oid := r.uint32()
		rel := d.known(oid)
		if rel == nil {
			return fmt.Errorf("truncate of relation %d, which was not described", oid)
		}
		if fresh {
			d.group.truncate(rel, at, d.tx.time)
			d.grow(rel.width+rowOverhead, 1)
		}
	}
	return nil
}

// cut takes what was gathered. It ends on a commit boundary, or inside the
// open transaction.
func (d *pgoutput) cut() *Group {
	if d.tx.open && d.tx.bytes > 0 {
		d.group.reach(d.position(d.tx.ordinal), 0, d.tx.time)
		d.tx.bytes, d.tx.rows, d.tx.parted = 0, 0, true
	}
	return d.group.finish()
}

func (r *reader) uint64() uint64 { return uint64(r.uint32())<<32 | uint64(r.uint32()) }
