package postgres

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/leat-etl/leat/engine/batch"
)

// spillMemory is how much the spills of a stream hold in memory together.
const spillMemory = 8 << 20

// spills keep the changes of transactions that may still be rolled back: those
// that the server streams while they are in progress, and prepared ones.
// Beyond spillMemory they go to files of dir. Nothing is synced: until such a
// transaction is durable at the destination, the slot sends it again from its
// start, and newSpills removes what an earlier process has left.
type spills struct {
	dir    string
	memory int64
	held   int64 // in memory
	onDisk int64
	open   map[uint32]*spill

	written int64 // to files, ever
}

// newSpills makes dir an empty folder. With dir "" nothing can leave memory.
func newSpills(dir string) (*spills, error) {
	s := &spills{dir: dir, memory: spillMemory, open: map[uint32]*spill{}}
	if dir == "" {
		return s, nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("empty spill folder: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make spill folder: %w", err)
	}
	return s, nil
}

// spill is the messages of one transaction in the order of the log, each as
// the server sends it outside of streams: its length, the transaction or
// sub-transaction that it belongs to, and itself.
type spill struct {
	xid      uint32
	file     *os.File // nil while all of it is in memory
	size     int64    // of the file
	tail     []byte   // what the file has not
	aborted  map[uint32]bool
	prepared bool
	// described has, for each message that may describe a relation, its place
	// among those of the stream; see endReplay.
	described []uint64
	// relations are those that a prepared transaction did not describe
	// itself, as they were while it was read.
	relations map[uint32]*loggedRelation
}

// of returns the spill of a transaction, which it begins.
func (s *spills) of(xid uint32) *spill {
	p := s.open[xid]
	if p == nil {
		p = &spill{xid: xid, aborted: map[uint32]bool{}, relations: map[uint32]*loggedRelation{}}
		s.open[xid] = p
	}
	return p
}

const spillHeader = 8

// add appends kind and rest as one message of transaction xid.
func (s *spills) add(p *spill, xid uint32, kind byte, rest []byte) error {
	p.tail = binary.BigEndian.AppendUint32(p.tail, uint32(1+len(rest)))
	p.tail = binary.BigEndian.AppendUint32(p.tail, xid)
	p.tail = append(append(p.tail, kind), rest...)
	s.held += int64(spillHeader + 1 + len(rest))
	if s.held <= s.memory || s.dir == "" {
		return nil
	}
	for _, each := range s.open { // all of them: the one that is written to may be small
		if err := s.flush(each); err != nil {
			return err
		}
	}
	return nil
}

// flush moves what a spill holds in memory to its file.
func (s *spills) flush(p *spill) error {
	if len(p.tail) == 0 {
		return nil
	}
	if p.file == nil {
		var err error
		if p.file, err = os.OpenFile(filepath.Join(s.dir, strconv.FormatUint(uint64(p.xid), 10)), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
			return fmt.Errorf("spill transaction %d: %w", p.xid, err)
		}
	}
	n, err := p.file.WriteAt(p.tail, p.size)
	if err != nil {
		return fmt.Errorf("spill transaction %d: %w", p.xid, err)
	}
	p.size += int64(n)
	s.held -= int64(n)
	s.onDisk += int64(n)
	s.written += int64(n)
	p.tail = nil
	return nil
}

// drop removes a spill; a transaction that has none is no error.
func (s *spills) drop(xid uint32) error {
	p := s.open[xid]
	if p == nil {
		return nil
	}
	delete(s.open, xid)
	s.held -= int64(len(p.tail))
	s.onDisk -= p.size
	if p.file == nil {
		return nil
	}
	if err := errors.Join(p.file.Close(), os.Remove(p.file.Name())); err != nil {
		return fmt.Errorf("remove spill of transaction %d: %w", xid, err)
	}
	return nil
}

// close removes all spills.
func (s *spills) close() error {
	var errs []error
	for xid := range s.open {
		errs = append(errs, s.drop(xid))
	}
	return errors.Join(errs...)
}

// replay is a spilled transaction whose commit has been read, on its way into
// the group.
type replay struct {
	spill     *spill
	commit    commit
	r         *bufio.Reader
	message   []byte
	relations map[uint32]*loggedRelation // as this transaction describes them
	order     map[uint32]uint64          // places of their messages
	described int                        // messages read that may describe a relation
}

// replay begins to read a spill, which gets no more messages.
func (s *spills) replay(p *spill, c commit) *replay {
	rest := io.Reader(bytes.NewReader(p.tail))
	if p.file != nil {
		rest = io.MultiReader(io.NewSectionReader(p.file, 0, p.size), rest)
	}
	return &replay{spill: p, commit: c, r: bufio.NewReaderSize(rest, 256<<10), relations: p.relations, order: map[uint32]uint64{}}
}

// next returns the next message that was not taken back. It is valid until
// the next call; the error is io.EOF after the last.
func (r *replay) next() ([]byte, error) {
	for {
		var header [spillHeader]byte
		if _, err := io.ReadFull(r.r, header[:]); err != nil {
			if err == io.EOF {
				return nil, err
			}
			return nil, r.broken(err)
		}
		size, xid := int(binary.BigEndian.Uint32(header[:])), binary.BigEndian.Uint32(header[4:])
		if r.spill.aborted[xid] {
			kind, err := r.r.ReadByte()
			if err == nil {
				_, err = r.r.Discard(size - 1)
			}
			if err != nil {
				return nil, r.broken(err)
			}
			if kind == 'R' || kind == 'M' {
				r.described++
			}
			continue
		}
		if cap(r.message) < size || cap(r.message) > max(4*size, readSize) {
			r.message = make([]byte, size)
		}
		r.message = r.message[:size]
		if _, err := io.ReadFull(r.r, r.message); err != nil {
			return nil, r.broken(err)
		}
		return r.message, nil
	}
}

func (r *replay) broken(err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read spill of transaction %d, which commits at %s: %w", r.spill.xid, batch.FormatLSN(r.commit.lsn), err)
}
