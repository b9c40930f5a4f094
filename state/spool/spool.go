package spool

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"sync"
)

// ErrFull says that a record would take the spools beyond their Budget.
// Nothing was written.
var ErrFull = errors.New("the spool's budget is used up")

// Budget bounds the bytes that several spools take together. Its zero value is
// no bound.
type Budget struct {
	Limit int64

	mu   sync.Mutex
	used int64
}

// Used is the bytes that the spools take now.
func (b *Budget) Used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

func (b *Budget) take(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.Limit > 0 && b.used+n > b.Limit {
		return false
	}
	b.used += n
	return true
}

func (b *Budget) give(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
}

// Options of Open.
type Options struct {
	// SegmentBytes is the size at which a segment is followed by another, 0
	// for 64 MiB. Drop frees whole segments.
	SegmentBytes int64
	// Budget is shared by spools that are bounded together, nil for no bound.
	Budget *Budget
}

// Spool is an open spool.
type Spool struct {
	dir string
	o   Options
	id  [16]byte

	syncing sync.Mutex // held by the one who calls fsync

	mu       sync.Mutex // guards what follows
	segments []segment
	file     *os.File // the last segment's, nil while there is none
	durable  int64
	broken   error
}

// Open opens the spool in folder dir and makes it if it is not there. What a
// crash has torn is cut off.
func Open(dir string, o Options) (*Spool, error) {
	if o.SegmentBytes <= 0 {
		o.SegmentBytes = 64 << 20
	}
	if o.Budget == nil {
		o.Budget = &Budget{}
	}
	s := &Spool{dir: dir, o: o}
	if err := os.MkdirAll(dir, folderMode); err != nil {
		return nil, fmt.Errorf("make spool: %w", err)
	}
	if err := s.recover(); err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	o.Budget.give(-s.size())
	return s, nil
}

// Remove deletes the spool in folder dir, which nobody has open. One that does
// not exist is no error.
func Remove(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove spool: %w", err)
	}
	return nil
}

// cut ends the last segment's file at offset, durably.
func (s *Spool) cut(offset int64) error {
	if err := s.file.Truncate(s.segments[len(s.segments)-1].place(offset)); err != nil {
		return err
	}
	return s.file.Sync()
}

// rotate makes a new last segment. What came before it is durable.
func (s *Spool) rotate(begin int64) error {
	if s.file != nil {
		if err := errors.Join(s.file.Sync(), s.file.Close()); err != nil {
			return err
		}
		s.file = nil
	}
	g := segment{begin, begin}
	f, err := os.OpenFile(g.path(s.dir), os.O_RDWR|os.O_CREATE|os.O_TRUNC, fileMode)
	if err != nil {
		return err
	}
	if _, err := f.Write(encodeHead(s.id, begin)); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Sync(), syncDir(s.dir)); err != nil {
		return errors.Join(err, f.Close())
	}
	s.segments, s.file, s.durable = append(s.segments, g), f, begin
	return nil
}

// ID tells this spool from every other, also one made later in the same
// folder.
func (s *Spool) ID() string { return hex.EncodeToString(s.id[:]) }

// Begin is the offset of the oldest record that is still there, End that of
// the next one to be appended.
func (s *Spool) Begin() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.segments[0].begin
}

// End is the offset at which the next record will lie.
func (s *Spool) End() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.end()
}

func (s *Spool) end() int64 { return s.segments[len(s.segments)-1].end }

func (s *Spool) size() int64 { return s.end() - s.segments[0].begin }

// Append writes a record and returns the offset after it. It is durable once
// Sync has returned. ErrFull writes nothing.
func (s *Spool) Append(record []byte) (end int64, err error) {
	if len(record) == 0 || len(record) > maxRecord {
		return 0, fmt.Errorf("append to spool %s: record of %d bytes", s.dir, len(record))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return 0, s.broken
	}
	n := int64(frameSize + len(record))
	if !s.o.Budget.take(n) {
		return 0, fmt.Errorf("append to spool %s: %w", s.dir, ErrFull)
	}
	if err := s.append(record); err != nil {
		s.o.Budget.give(n)
		s.broken = fmt.Errorf("append to spool %s: %w", s.dir, err)
		return 0, s.broken
	}
	return s.end(), nil
}

func (s *Spool) append(record []byte) error {
	if last := s.segments[len(s.segments)-1]; last.end > last.begin && last.end-last.begin >= s.o.SegmentBytes {
		if err := s.rotate(last.end); err != nil {
			return err
		}
	}
	last := &s.segments[len(s.segments)-1]
	frame := encodeFrame(last.end, record)
	if _, err := s.file.WriteAt(frame, last.place(last.end)); err != nil {
		return err
	}
	last.end += int64(len(frame))
	return nil
}

// Sync makes everything durable that was appended before the call.
func (s *Spool) Sync() error {
	s.mu.Lock()
	wanted := s.end()
	s.mu.Unlock()
	s.syncing.Lock()
	defer s.syncing.Unlock()
	s.mu.Lock()
	file, end, done, broken := s.file, s.end(), s.durable, s.broken
	s.mu.Unlock()
	if broken != nil {
		return broken
	}
	if done >= wanted {
		return nil // somebody else's fsync has it
	}
	err := file.Sync()
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.Is(err, os.ErrClosed) && s.broken == nil && s.durable >= wanted {
		return nil // followed by another segment meanwhile, which synced it
	}
	if err != nil {
		s.broken = fmt.Errorf("sync spool %s: %w", s.dir, err)
		return s.broken
	}
	s.durable = max(s.durable, end)
	return nil
}

// Drop gives up what lies before offset; whole segments are deleted.
func (s *Spool) Drop(offset int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.segments) > 1 && s.segments[0].end <= offset {
		if err := os.Remove(s.segments[0].path(s.dir)); err != nil {
			return fmt.Errorf("drop segment of spool: %w", err)
		}
		s.o.Budget.give(s.segments[0].end - s.segments[0].begin)
		s.segments = s.segments[1:]
	}
	return nil
}

// Truncate takes back what was appended at offset and after it. offset is one
// that Append has returned, or the spool's begin.
func (s *Spool) Truncate(offset int64) error {
	s.syncing.Lock() // an fsync under way must not count what comes instead
	defer s.syncing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return s.broken
	}
	if offset < s.segments[0].begin || offset > s.end() {
		return fmt.Errorf("truncate spool %s at %d: it holds %d to %d", s.dir, offset, s.segments[0].begin, s.end())
	}
	if err := s.truncate(offset); err != nil {
		s.broken = fmt.Errorf("truncate spool %s: %w", s.dir, err)
		return s.broken
	}
	return nil
}

func (s *Spool) truncate(offset int64) error {
	before := s.size()
	for len(s.segments) > 1 && s.segments[len(s.segments)-1].begin >= offset {
		last := s.segments[len(s.segments)-1]
		if err := errors.Join(s.file.Close(), os.Remove(last.path(s.dir))); err != nil {
			return err
		}
		s.segments = s.segments[:len(s.segments)-1]
		var err error
		if s.file, err = os.OpenFile(s.segments[len(s.segments)-1].path(s.dir), os.O_RDWR, fileMode); err != nil {
			return err
		}
	}
	if err := s.cut(offset); err != nil {
		return err
	}
	s.segments[len(s.segments)-1].end = offset
	s.durable = min(s.durable, offset)
	s.o.Budget.give(before - s.size())
	return syncDir(s.dir)
}

// Close closes the spool without syncing it.
func (s *Spool) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return nil
	}
	s.o.Budget.give(s.size())
	err := s.file.Close()
	s.file = nil
	s.broken = fmt.Errorf("spool %s: %w", s.dir, os.ErrClosed)
	return err
}
