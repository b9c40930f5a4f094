package spool

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
)

// recover reads what is there. Without any segment it makes the first.
func (s *Spool) recover() error {
	segments, err := listSegments(s.dir)
	if err != nil {
		return err
	}
	for i := range segments {
		last := i == len(segments)-1
		id, err := s.inspect(&segments[i], last)
		if errors.Is(err, errTorn) && last {
			if err := os.Remove(segments[i].path(s.dir)); err != nil {
				return err
			}
			segments = segments[:i] // nothing was ever appended to it
			break
		}
		switch path := segments[i].path(s.dir); {
		case errors.Is(err, errTorn):
			return &DamageError{path, segments[i].begin, "its head is not one"}
		case err != nil:
			return fmt.Errorf("%s: %w", path, err)
		case i > 0 && id != s.id:
			return &DamageError{path, segments[i].begin, "it belongs to another spool"}
		case i > 0 && segments[i-1].end != segments[i].begin:
			return &DamageError{path, segments[i].begin, fmt.Sprintf("the segment before it ends at %d", segments[i-1].end)}
		}
		s.id = id
	}
	s.segments = segments
	if len(segments) == 0 {
		if _, err := rand.Read(s.id[:]); err != nil {
			return err
		}
		return s.rotate(0)
	}
	last := segments[len(segments)-1]
	if s.file, err = os.OpenFile(last.path(s.dir), os.O_RDWR, fileMode); err != nil {
		return err
	}
	s.durable = last.end
	return s.cut(last.end)
}

// inspect reads the head of a segment and finds its end: the size of the file,
// in the last one the last whole frame.
func (s *Spool) inspect(g *segment, last bool) (id [16]byte, err error) {
	f, err := os.Open(g.path(s.dir))
	if err != nil {
		return id, err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 256<<10)
	head := make([]byte, headSize)
	if _, err := io.ReadFull(r, head); err != nil {
		return id, torn(err)
	}
	id, begin, err := decodeHead(head)
	if err != nil {
		return id, err
	}
	if begin != g.begin {
		return id, &DamageError{g.path(s.dir), g.begin, "its name and its head differ"}
	}
	if !last {
		info, err := f.Stat()
		if err != nil {
			return id, err
		}
		g.end = g.begin + info.Size() - headSize
		return id, nil
	}
	g.end = g.begin
	for {
		record, err := readFrame(r, g.end)
		if errors.Is(err, errTorn) {
			return id, nil
		}
		if err != nil {
			return id, err
		}
		g.end += frameSize + int64(len(record))
	}
}
