package engine

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"slices"
)

// hashFiles are pairs of hashes, of a row's key and of the whole row, parted
// by key into files that fit into memory one at a time.
type hashFiles struct {
	files   []*os.File
	writers []*bufio.Writer
	rows    int64
}

const (
	rowsPerFile  = 2_000_000
	maxHashFiles = 200 // below the usual limit of open files, for two sides
)

type hashPair struct{ key, row uint64 }

func newHashFiles(prefix string, estimate int64) (*hashFiles, error) {
	h := &hashFiles{}
	for i := range min(maxHashFiles, 1+estimate/rowsPerFile) {
		f, err := os.Create(fmt.Sprintf("%s-%d", prefix, i))
		if err != nil {
			h.close()
			return nil, err
		}
		h.files = append(h.files, f)
		h.writers = append(h.writers, bufio.NewWriterSize(f, 64<<10))
	}
	return h, nil
}

func (h *hashFiles) close() {
	for _, f := range h.files {
		_ = f.Close() // scratch
	}
}

// add is a rowSink.
func (h *hashFiles) add(key, row uint64, _ func() string) error {
	h.rows++
	var pair [16]byte
	binary.LittleEndian.PutUint64(pair[:], key)
	binary.LittleEndian.PutUint64(pair[8:], row)
	_, err := h.writers[key%uint64(len(h.writers))].Write(pair[:])
	return err
}

func (h *hashFiles) read(i int) ([]hashPair, error) {
	if err := h.writers[i].Flush(); err != nil {
		return nil, err
	}
	if _, err := h.files[i].Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(h.files[i])
	if err != nil {
		return nil, err
	}
	pairs := make([]hashPair, len(data)/16)
	for j := range pairs {
		pairs[j] = hashPair{binary.LittleEndian.Uint64(data[16*j:]), binary.LittleEndian.Uint64(data[16*j+8:])}
	}
	slices.SortFunc(pairs, func(a, b hashPair) int {
		if a.key != b.key {
			return compareUint64(a.key, b.key)
		}
		return compareUint64(a.row, b.row)
	})
	return pairs, nil
}

func compareUint64(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// differences returns the number of keys whose rows are not the same in both,
// and the first of them, as far as they count: counts is told how many rows of
// a key there are here and there. Both have the same number of files.
func (h *hashFiles) differences(o *hashFiles, counts func(here, there int) bool) (n int64, keys map[uint64]bool, err error) {
	keys = map[uint64]bool{}
	for i := range h.files {
		a, err := h.read(i)
		if err != nil {
			return 0, nil, err
		}
		b, err := o.read(i)
		if err != nil {
			return 0, nil, err
		}
		for len(a) > 0 || len(b) > 0 {
			key := uint64(0)
			if len(a) > 0 && (len(b) == 0 || a[0].key <= b[0].key) {
				key = a[0].key
			} else {
				key = b[0].key
			}
			na, nb := run(a, key), run(b, key)
			if !slices.Equal(a[:na], b[:nb]) && counts(na, nb) {
				n++
				if len(keys) < maxNamedKeys {
					keys[key] = true
				}
			}
			a, b = a[na:], b[nb:]
		}
	}
	return n, keys, nil
}

// run is the length of the run of key at the start of pairs.
func run(pairs []hashPair, key uint64) int {
	n := 0
	for n < len(pairs) && pairs[n].key == key {
		n++
	}
	return n
}
