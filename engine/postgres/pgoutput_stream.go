package postgres

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/leat-etl/leat/engine/batch"
)

// Protocol versions 2 to 4 of pgoutput: a transaction may come before its
// commit, in stream blocks between others or whole at its PREPARE. It is
// spilled and goes through decode at its commit as if it came then, so that
// positions do not depend on how the server sent it.

// spilling is the transaction whose messages go to its spill.
type spilling struct {
	spill *spill
	// inStream says that the messages carry the ID of their
	// (sub-)transaction. Those between Begin Prepare and Prepare do not.
	inStream bool
}

// keep spills a message of a transaction that has not been committed.
func (d *pgoutput) keep(ctx context.Context, message []byte) error {
	kind, rest, xid := message[0], message[1:], uint32(0)
	switch kind {
	case 'O':
		return nil
	case 'I', 'U', 'D', 'T', 'R', 'Y', 'M':
	default:
		return fmt.Errorf("it is inside a transaction that is not committed")
	}
	to := d.spilling.spill
	if d.spilling.inStream {
		if len(rest) < 4 {
			return errSyntax
		}
		xid, rest = binary.BigEndian.Uint32(rest), rest[4:]
	}
	if kind == 'R' || kind == 'M' {
		d.places++
		to.described = append(to.described, d.places)
	}
	if !d.spilling.inStream {
		// The server takes what a prepared transaction says of a relation, or
		// leaves out because it was said before, as said to all.
		if err := d.remember(ctx, kind, rest); err != nil {
			return err
		}
	}
	return d.spills.add(to, xid, kind, rest)
}

// remember notes the relations that a message between Begin Prepare and
// Prepare relies on.
func (d *pgoutput) remember(ctx context.Context, kind byte, rest []byte) error {
	r := reader{rest: rest}
	n := 1
	switch kind {
	case 'R':
		return d.relation(ctx, &r)
	case 'T':
		n = int(r.uint32())
		r.take(1)
	case 'I', 'U', 'D':
	default:
		return nil
	}
	for ; n > 0 && !r.bad; n-- {
		oid := r.uint32()
		if known := d.spilling.spill.relations; known[oid] == nil && d.relations[oid] != nil {
			known[oid] = d.relations[oid]
		}
	}
	return nil
}

// control handles the messages that begin and end what is spilled.
func (d *pgoutput) control(kind byte, r *reader) error {
	if d.tx.open {
		return fmt.Errorf("it is inside a transaction")
	}
	if ends := kind == 'E' || kind == 'P'; ends != (d.spilling != nil) || ends && d.spilling.inStream != (kind == 'E') {
		return fmt.Errorf("it has no place here")
	}
	switch kind {
	case 'S':
		xid := r.uint32()
		r.take(1)
		d.spilling = &spilling{d.spills.of(xid), true}
	case 'E':
		d.spilling = nil
	case 'A':
		return d.streamAbort(r)
	case 'b':
		r.take(3 * 8)
		xid := r.uint32()
		r.text()
		if d.spills.open[xid] != nil {
			return fmt.Errorf("transaction %d is prepared twice", xid)
		}
		d.spilling = &spilling{d.spills.of(xid), false}
	case 'P', 'p':
		return d.prepare(r)
	case 'r':
		r.take(1 + 4*8)
		xid := r.uint32()
		r.text()
		d.acks.forget(xid) // one that was rolled back already has no spill
		return d.spills.drop(xid)
	case 'c', 'K':
		return d.commitSpilled(kind, r)
	}
	return nil
}

func (d *pgoutput) streamAbort(r *reader) error {
	xid, sub := r.uint32(), r.uint32()
	if len(r.rest) == 16 {
		r.take(16) // with streaming = parallel: LSN and time
	}
	if xid == sub {
		return d.spills.drop(xid)
	}
	if p := d.spills.open[xid]; p != nil {
		p.aborted[sub] = true
	}
	return nil
}

// prepare ends a transaction that waits for its COMMIT PREPARED. The slot
// must not pass its PREPARE before that is durable: the server sends it again
// only from there.
func (d *pgoutput) prepare(r *reader) error {
	r.take(1)
	lsn := r.uint64()
	r.take(2 * 8)
	xid := r.uint32()
	r.text()
	p := d.spills.open[xid]
	if p == nil || d.spilling != nil && d.spilling.spill != p {
		return fmt.Errorf("prepare of transaction %d, which was not sent", xid)
	}
	p.prepared = true
	d.spilling = nil
	d.acks.prepared(xid, lsn)
	return nil
}

// commitSpilled begins the replay of a transaction.
func (d *pgoutput) commitSpilled(kind byte, r *reader) error {
	xid := uint32(0)
	if kind == 'c' {
		xid = r.uint32()
	}
	r.take(1)
	done := commit{lsn: r.uint64(), end: r.uint64()}
	time := int64(r.uint64()) + epochMicros
	if kind == 'K' {
		xid = r.uint32()
		r.text()
	}
	p := d.spills.open[xid]
	if p == nil || p.prepared != (kind == 'K') {
		return fmt.Errorf("commit of transaction %d at %s, which was not sent", xid, batch.FormatLSN(done.lsn))
	}
	if r.bad {
		return errSyntax
	}
	if err := d.landmark.meet(done.lsn, time); err != nil {
		return err
	}
	d.tx = transaction{open: true, lsn: done.lsn, time: time, xid: xid}
	d.replay = d.spills.replay(p, done)
	for oid, rel := range d.replay.relations {
		if known := d.relations[oid]; known != nil && known != rel {
			d.group.close(known)
		}
	}
	return nil
}

// replayNext decodes the next message of the replay that is under way. It
// returns the commit after the last.
func (d *pgoutput) replayNext(ctx context.Context) (*commit, error) {
	message, err := d.replay.next()
	switch err {
	case nil:
		return d.decode(ctx, message)
	case io.EOF:
		return d.endReplay()
	}
	return nil, err
}

func (d *pgoutput) endReplay() (*commit, error) {
	r := d.replay
	d.replay = nil
	for oid, rel := range r.relations {
		if known := d.relations[oid]; known == rel {
			continue
		}
		d.group.close(rel)
		// The server describes a relation again only if that was not done
		// since, in whichever transaction.
		if place := r.order[oid]; place > d.place[oid] {
			d.relations[oid], d.place[oid] = rel, place
		}
	}
	if r.spill.prepared {
		d.acks.committed(r.spill.xid, d.position(batch.EndOfTransaction))
	}
	d.finish(r.commit.end)
	return &r.commit, d.spills.drop(r.spill.xid)
}

// known returns a relation as the transaction that is read knows it.
func (d *pgoutput) known(oid uint32) *loggedRelation {
	if d.replay != nil {
		if rel := d.replay.relations[oid]; rel != nil {
			return rel
		}
	}
	return d.relations[oid]
}

// learn replaces a relation that a message has described.
func (d *pgoutput) learn(oid uint32, rel *loggedRelation, place uint64) {
	if r := d.replay; r != nil {
		r.relations[oid], r.order[oid] = rel, place
		return
	}
	d.relations[oid], d.place[oid] = rel, place
}

// nextPlace is the place of a message that may describe a relation among those
// of the stream.
func (d *pgoutput) nextPlace() uint64 {
	if r := d.replay; r != nil {
		r.described++
		return r.spill.described[r.described-1]
	}
	d.places++
	return d.places
}
