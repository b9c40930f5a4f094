package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// Reader reads records in order.
type Reader struct {
	spool  *Spool
	offset int64
	file   *os.File
	begin  int64 // of file's segment
}

// Read returns a reader of the records from offset on, which is the begin of
// one.
func (s *Spool) Read(offset int64) *Reader { return &Reader{spool: s, offset: offset} }

// find returns the segment that holds the record at offset, false at the end.
func (s *Spool) find(offset int64) (segment, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if offset < s.segments[0].begin || offset > s.end() {
		return segment{}, false, fmt.Errorf("read spool %s at %d: it holds %d to %d", s.dir, offset, s.segments[0].begin, s.end())
	}
	for _, g := range s.segments {
		if offset >= g.begin && offset < g.end {
			return g, true, nil
		}
	}
	return segment{}, false, nil
}

// Next returns the next record and the offset after it, io.EOF where none has
// been appended yet; a later call may find one.
func (r *Reader) Next() (record []byte, after int64, err error) {
	g, ok, err := r.spool.find(r.offset)
	if err != nil {
		return nil, 0, err
	}
	if !ok {
		return nil, 0, io.EOF
	}
	if r.file == nil || r.begin != g.begin {
		if err := r.open(g); err != nil {
			return nil, 0, fmt.Errorf("read spool: %w", err)
		}
	}
	record, err = readFrame(io.NewSectionReader(r.file, g.place(r.offset), g.end-r.offset), r.offset)
	if errors.Is(err, errTorn) {
		return nil, 0, &DamageError{g.path(r.spool.dir), r.offset, "a record does not have its checksum"}
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read spool: %w", err)
	}
	r.offset += frameSize + int64(len(record))
	return record, r.offset, nil
}

func (r *Reader) open(g segment) error {
	if err := r.Close(); err != nil {
		return err
	}
	f, err := os.Open(g.path(r.spool.dir))
	if err != nil {
		return err
	}
	r.file, r.begin = f, g.begin
	return nil
}

// Close gives the reader's file back.
func (r *Reader) Close() error {
	if r.file == nil {
		return nil
	}
	err := r.file.Close()
	r.file = nil
	return err
}
