package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// FormatVersion is the version of the layout. A spool of another version is
// refused; the head of a segment is laid out alike in all of them.
const FormatVersion = 1

const (
	magic      = "LEATSPL\n"
	ending     = ".spool"
	headSize   = 8 + 4 + 16 + 8 + 4
	frameSize  = 4 + 4
	maxRecord  = 1<<31 - 1
	folderMode = 0o755
	fileMode   = 0o644
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// segment is a file of the spool. Its frames hold the offsets begin to end.
type segment struct {
	begin, end int64
}

func (g segment) path(dir string) string {
	return filepath.Join(dir, fmt.Sprintf("%016x%s", g.begin, ending))
}

// place is where in its file an offset lies.
func (g segment) place(offset int64) int64 { return headSize + offset - g.begin }

// DamageError says that the spool holds something that it never wrote.
type DamageError struct {
	Path   string
	Offset int64
	Reason string
}

// Error implements error.
func (e *DamageError) Error() string {
	return fmt.Sprintf("spool %s is damaged at offset %d: %s", e.Path, e.Offset, e.Reason)
}

func encodeHead(id [16]byte, begin int64) []byte {
	head := binary.BigEndian.AppendUint32([]byte(magic), FormatVersion)
	head = append(head, id[:]...)
	head = binary.BigEndian.AppendUint64(head, uint64(begin))
	return binary.BigEndian.AppendUint32(head, crc32.Checksum(head, castagnoli))
}

// errTorn is a head or a frame that a crash has left unfinished.
var errTorn = errors.New("torn")

func decodeHead(head []byte) (id [16]byte, begin int64, err error) {
	if len(head) < headSize {
		return id, 0, errTorn
	}
	if string(head[:8]) != magic || crc32.Checksum(head[:headSize-4], castagnoli) != binary.BigEndian.Uint32(head[headSize-4:]) {
		return id, 0, errTorn
	}
	if v := binary.BigEndian.Uint32(head[8:]); v != FormatVersion {
		return id, 0, fmt.Errorf("it has format %d, this Leat reads %d: drain it with the Leat that wrote it", v, FormatVersion)
	}
	copy(id[:], head[12:])
	return id, int64(binary.BigEndian.Uint64(head[28:])), nil
}

func checksum(offset int64, record []byte) uint32 {
	var at [8]byte
	binary.BigEndian.PutUint64(at[:], uint64(offset))
	return crc32.Update(crc32.Checksum(at[:], castagnoli), castagnoli, record)
}

// encodeFrame frames a record that will lie at offset.
func encodeFrame(offset int64, record []byte) []byte {
	frame := make([]byte, frameSize, frameSize+len(record))
	binary.BigEndian.PutUint32(frame, uint32(len(record)))
	binary.BigEndian.PutUint32(frame[4:], checksum(offset, record))
	return append(frame, record...)
}

// readFrame reads the frame at offset, errTorn where there is no whole one.
func readFrame(r io.Reader, offset int64) ([]byte, error) {
	var head [frameSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, torn(err)
	}
	length := binary.BigEndian.Uint32(head[:])
	if length == 0 || length > maxRecord {
		return nil, errTorn
	}
	// Grown as it is read: a torn length must not take all memory.
	var record bytes.Buffer
	if _, err := io.CopyN(&record, r, int64(length)); err != nil {
		return nil, torn(err)
	}
	if checksum(offset, record.Bytes()) != binary.BigEndian.Uint32(head[4:]) {
		return nil, errTorn
	}
	return record.Bytes(), nil
}

func torn(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errTorn
	}
	return err
}

// listSegments returns the segments of a folder in order, without their ends.
func listSegments(dir string) ([]segment, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []segment
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ending)
		if !ok {
			continue
		}
		begin, err := strconv.ParseUint(name, 16, 63)
		if err != nil || len(name) != 16 {
			return nil, &DamageError{filepath.Join(dir, e.Name()), 0, "its name is no offset"}
		}
		out = append(out, segment{begin: int64(begin)})
	}
	slices.SortFunc(out, func(a, b segment) int { return int(min(1, max(-1, a.begin-b.begin))) })
	return out, nil
}

// syncDir makes the names in a folder durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// List returns the names of the folders in dir that hold spools, none where
// dir does not exist.
func List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list spools: %w", err)
	}
	var out []string
	for _, e := range entries {
		if e.IsDir() {
			out = append(out, e.Name())
		}
	}
	return out, nil
}
