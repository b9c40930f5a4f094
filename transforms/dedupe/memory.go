package main

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/leat-etl/leat/pdk/go"
)

// digest stands for the values of some columns.
type digest [16]byte

// column is one of the batch's.
type column struct {
	at     int
	isBool bool
}

// digester makes digests in a buffer of its own.
type digester struct{ text []byte }

// of tells null from every value, and where one value ends.
func (d *digester) of(in *pdk.Batch, row int, columns []column) digest {
	d.text = d.text[:0]
	for _, c := range columns {
		v := in.Column(c.at)
		switch {
		case v.State(row) != pdk.Value:
			d.text = append(d.text, 0)
		case !c.isBool:
			value := v.Bytes(row)
			d.text = binary.AppendUvarint(append(d.text, 1), uint64(len(value)))
			d.text = append(d.text, value...)
		case v.Bool(row):
			d.text = append(d.text, 2)
		default:
			d.text = append(d.text, 3)
		}
	}
	sum := sha256.Sum256(d.text)
	return digest(sum[:16])
}

func digestOfPlace(at pdk.Place) (out digest) {
	binary.BigEndian.PutUint64(out[:], at.LSN)
	binary.BigEndian.PutUint64(out[8:], at.Ordinal)
	return out
}

// record is what became of a row at a place in the log. What the log sends again
// is held against what lies before it alone, so that it meets the same fate.
type record struct {
	kind        kind
	row, values digest
	at          pdk.Place
}

// before orders places in the log.
func before(a, b pdk.Place) bool {
	return a.LSN < b.LSN || a.LSN == b.LSN && a.Ordinal < b.Ordinal
}

type kind byte

const (
	kept      kind = 'k' // passed on: others with its values repeat it
	left      kind = 'l' // left out, with all that becomes of it
	forgotten kind = 'f' // left out before, and deleted
)

const recordSize = 1 + 16 + 16 + 3*8

// keep is for how long records stay beyond the window: what a delivery had in
// it that was taken back may come again.
const keep = int64(24 * time.Hour / time.Microsecond)

// pageRecords fill a value of the store.
const pageRecords = 16_000

// memory is what is known of a table's rows. It lies in the plugin's store as
// numbered pages that never change, so that every instance may keep what it has
// read of them.
type memory struct {
	prefix string
	read   map[string]bool     // pages
	next   uint64              // number of the next page
	kept   map[digest][]record // by values
	fates  map[digest][]record // of rows that were left out once, by row
	fresh  []record            // not in a page yet
}

func memoryOf(prefix string) *memory {
	return &memory{prefix: prefix, read: map[string]bool{}, kept: map[digest][]record{}, fates: map[digest][]record{}}
}

// refresh reads the pages that other instances have written.
func (m *memory) refresh() error {
	m.forget() // of a batch that failed
	names, err := pdk.KVList(m.prefix)
	if err != nil {
		return err
	}
	for _, name := range names {
		if m.read[name] {
			continue
		}
		page, err := pdk.KVGet(name)
		if err != nil {
			return err
		}
		if len(page)%recordSize != 0 {
			return fmt.Errorf("the memory of dedupe is damaged: page %s has %d bytes", name, len(page))
		}
		for ; len(page) > 0; page = page[recordSize:] {
			m.take(decode(page))
		}
		m.read[name] = true
		var n uint64
		if _, err := fmt.Sscanf(strings.TrimPrefix(name, m.prefix), "%016x", &n); err != nil {
			return fmt.Errorf("the memory of dedupe has a page %q: %w", name, err)
		}
		m.next = max(m.next, n+1)
	}
	return nil
}

// forget drops what was noted and not saved.
func (m *memory) forget() {
	if len(m.fresh) == 0 {
		return
	}
	*m = *memoryOf(m.prefix)
}

// note remembers a row.
func (m *memory) note(r record) {
	m.take(r)
	m.fresh = append(m.fresh, r)
}

func (m *memory) take(r record) {
	if r.kind == kept && !slices.Contains(m.kept[r.values], r) {
		m.kept[r.values] = append(m.kept[r.values], r)
	}
	if fates := m.fates[r.row]; (r.kind != kept || len(fates) > 0) && !slices.Contains(fates, r) {
		m.fates[r.row] = append(fates, r)
	}
}

// leftOut says whether a row was left out when the log had come to a place.
func (m *memory) leftOut(row digest, at pdk.Place) bool {
	last := record{}
	for _, r := range m.fates[row] {
		if before(r.at, at) && !before(r.at, last.at) {
			last = r
		}
	}
	return last.kind == left
}

// save writes what is new. Where the pages are many and small, they are
// written anew without rows passed on before oldest; those that are left out
// stay for ever.
func (m *memory) save(oldest int64) error {
	fresh := m.fresh
	if err := m.write(fresh); err != nil {
		return err
	}
	m.fresh = nil
	if len(m.read) <= (len(m.kept)+len(m.fates))/pageRecords+smallPages {
		return nil
	}
	old := slices.Sorted(maps.Keys(m.read))
	var stay []record
	for row, records := range m.fates { // first: see take
		records = m.lasting(records, oldest)
		if m.fates[row] = records; len(records) == 0 {
			delete(m.fates, row)
		}
		stay = append(stay, records...)
	}
	for values, records := range m.kept {
		records = slices.DeleteFunc(records, func(r record) bool { return r.at.CommitTime < oldest })
		if m.kept[values] = records; len(records) == 0 {
			delete(m.kept, values)
		}
		stay = append(stay, records...)
	}
	if err := m.write(stay); err != nil {
		return err
	}
	for _, name := range old {
		if err := pdk.KVDelete(name); err != nil {
			return err
		}
		delete(m.read, name)
	}
	return nil
}

// lasting are what has to stay of a row's fates: what is not older than oldest
// and, before that, that it was left out.
func (m *memory) lasting(records []record, oldest int64) (stay []record) {
	last := record{}
	for _, r := range records {
		switch {
		case r.at.CommitTime >= oldest:
			stay = append(stay, r)
		case !before(r.at, last.at):
			last = r
		}
	}
	if last.kind == left {
		stay = append(stay, last)
	}
	return stay
}

// smallPages is how many pages there may be beside full ones.
const smallPages = 64

// write makes pages of records.
func (m *memory) write(records []record) error {
	for chunk := range slices.Chunk(records, pageRecords) {
		page := make([]byte, 0, len(chunk)*recordSize)
		for _, r := range chunk {
			page = append(append(append(page, byte(r.kind)), r.row[:]...), r.values[:]...)
			page = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(page, r.at.LSN), r.at.Ordinal)
			page = binary.BigEndian.AppendUint64(page, uint64(r.at.CommitTime))
		}
		name := fmt.Sprintf("%s%016x", m.prefix, m.next)
		if err := pdk.KVPut(name, page); err != nil {
			return err
		}
		m.next++
		m.read[name] = true
	}
	return nil
}

func decode(page []byte) record {
	number := binary.BigEndian.Uint64
	return record{kind: kind(page[0]), row: digest(page[1:17]), values: digest(page[17:33]),
		at: pdk.Place{LSN: number(page[33:]), Ordinal: number(page[41:]), CommitTime: int64(number(page[49:]))}}
}
