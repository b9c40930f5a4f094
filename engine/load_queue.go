package engine

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/engine/spec"
	"github.com/leat-etl/leat/state"
)

// tableLoad is a table under load: which chunks of it are left to read. A
// history guards it.
type tableLoad struct {
	table *postgres.Table
	left  []postgres.Chunk
	// whole: all chunks are one transaction.
	whole bool
	// complete: all chunks are at the destination since an earlier session.
	// fresh: no row of it is there but what this load brings.
	complete, fresh bool
	joined          bool             // the table is in the stream
	under           int              // chunks being read
	seq             int              // of the next chunk that is cut off
	gone, again     bool             // see giveUp
	paces           map[uint32]*pace // by leaf
}

// task is what makes one transaction at the destination: chunks of one table,
// or the whole of several small ones.
type task []piece

// piece is the chunks of one table in a task.
type piece struct {
	load   *tableLoad
	chunks []postgres.Chunk
}

// enqueue puts a table into the queue.
func (h *history) enqueue(t *postgres.Table, chunks []postgres.Chunk, complete bool) {
	d, _ := h.diverted.get(t.OID)
	l := &tableLoad{
		table: t, left: chunks, complete: complete,
		whole: len(t.Schema.Key()) == 0 && !h.applier.empties,
		fresh: len(t.Schema.Key()) == 0 || d.Fresh && len(h.chunkEntries(t.ID())) == 0,
		paces: map[uint32]*pace{},
	}
	for _, leaf := range t.Leaves {
		l.paces[leaf.OID] = &pace{pages: leaf.Pages, bytes: float64(leaf.Bytes) / float64(max(1, leaf.Pages))}
	}
	total := int64(0)
	for _, c := range chunks {
		l.seq = max(l.seq, c.Seq+1)
		total += c.Bytes
	}
	h.loads = append(h.loads, l)
	h.p.progress.table(t.ID(), func(p *TableProgress) {
		p.LoadTotal, p.LoadChunks, p.LoadEstimate, p.LoadBytes, p.LoadBytesTotal, p.LoadStarted = len(chunks), 0, t.Rows, 0, total, time.Now()
	})
}

// arrange puts the tables into the order of load_order.
func (h *history) arrange() {
	size := func(a, b *tableLoad) int { return cmp.Compare(a.table.Bytes, b.table.Bytes) }
	switch h.p.Spec.Engine.LoadOrder {
	case "smallest":
		slices.SortStableFunc(h.loads, size)
	case "largest":
		slices.SortStableFunc(h.loads, func(a, b *tableLoad) int { return size(b, a) })
	default:
		place := func(l *tableLoad) int {
			id := l.table.ID()
			return slices.IndexFunc(h.p.Spec.Objects.Include, func(p spec.Pattern) bool { return p.Match(id.Schema, id.Name) })
		}
		slices.SortStableFunc(h.loads, func(a, b *tableLoad) int { return cmp.Compare(place(a), place(b)) })
	}
}

// mostTables is how many tables one transaction loads. Each keeps the
// destination for a few milliseconds.
const mostTables = 200

// next returns the next task, an empty one where there is none.
func (h *history) next() (task, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.first < len(h.loads) && len(h.loads[h.first].left) == 0 {
		h.first++
	}
	room := int64(h.p.Spec.Engine.ChunkBytes) / mostChange
	var out task
	for _, l := range h.loads[h.first:] {
		size, small := l.size()
		switch {
		case len(l.left) == 0 || len(out) > 0 && (!small || size > room):
			continue
		case small && size <= room:
			room -= size
			l.under++
			out = append(out, piece{l, l.left})
			l.left = nil
		default:
			p, err := h.cutOff(l)
			return task{p}, err
		}
		if len(out) == mostTables {
			break
		}
	}
	return out, nil
}

// size is what is left of a load, and whether that is one transaction by itself.
func (l *tableLoad) size() (bytes int64, one bool) {
	for _, c := range l.left {
		bytes += c.Bytes
	}
	return bytes, l.whole || len(l.left) == 1
}

// cutOff takes the next chunk of a table, or all of one that is to be whole.
func (h *history) cutOff(l *tableLoad) (piece, error) {
	l.under++
	if l.whole {
		out := piece{l, l.left}
		l.left = nil
		return out, nil
	}
	c := l.left[0]
	leaf := l.paces[c.Leaf]
	if leaf == nil {
		leaf = &pace{} // a partition that came after the catalogue was read
		l.paces[c.Leaf] = leaf
	}
	head, rest, cut := c.Cut(leaf.blocks(int64(h.p.Spec.Engine.ChunkBytes)), leaf.pages, l.seq)
	if !cut {
		l.left = l.left[1:]
		return piece{l, []postgres.Chunk{c}}, nil
	}
	if err := h.putChunks(l.table, []postgres.Chunk{head, rest}); err != nil {
		return piece{}, err
	}
	l.seq++
	l.left[0] = rest
	h.p.progress.table(l.table.ID(), func(p *TableProgress) { p.LoadTotal++ })
	return piece{l, []postgres.Chunk{head}}, nil
}

// pace is what a block of a leaf takes, as far as known.
type pace struct {
	pages   int64
	bytes   float64
	seconds float64 // of the destination, 0 for not known
}

// longest is how long one chunk is to keep the destination from the tables that
// are followed.
const longest = 1.5

// blocks is how many blocks of a leaf are to be read at once.
func (p *pace) blocks(target int64) uint32 {
	n := float64(target) / max(1, p.bytes)
	if p.seconds > 0 {
		n = min(n, longest/p.seconds)
	} else {
		n /= mostChange // the first one only measures
	}
	return uint32(min(math.MaxUint32, max(1, n)))
}

// mostChange is how much one chunk may change what a block is taken to need:
// a run of empty blocks must not make the next chunk take all the rest.
const mostChange = 4

func (p *pace) learn(blocks, bytes int64, took time.Duration) {
	now, seconds := float64(bytes)/float64(blocks), took.Seconds()/float64(blocks)
	p.bytes = (p.bytes + min(max(now, p.bytes/mostChange), p.bytes*mostChange)) / 2
	if p.seconds == 0 {
		p.seconds = seconds
	}
	p.seconds = (p.seconds + min(max(seconds, p.seconds/mostChange), p.seconds*mostChange)) / 2
}

// measured learns from what a task has really taken.
func (h *history) measured(t task, done []state.Chunk, took time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(t) != 1 || len(t[0].chunks) != 1 {
		return
	}
	if c := t[0].chunks[0]; c.ToBlock > c.FromBlock && c.CatchUp == "" && c.Rows == "" {
		t[0].load.paces[c.Leaf].learn(int64(c.ToBlock-c.FromBlock), done[0].Bytes, took)
	}
}

// last says whether the task that is under way is the last one of a table.
func (h *history) last(l *tableLoad) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return l.under == 1 && len(l.left) == 0 && !l.gone
}

// giveUp leaves the rest of some tables of a task to a load in another snapshot,
// the next one or, if not again, that of another session, and the other tables
// of the task to another task.
func (h *history) giveUp(t task, gone func(*tableLoad) bool, again bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range t {
		if gone(p.load) {
			p.load.left, p.load.gone, p.load.again = nil, true, again
			continue
		}
		p.load.left = append(slices.Clone(p.chunks), p.load.left...)
		h.first = 0
	}
}

// ended notes that a task of a table is done, and says whether the table is.
func (h *history) ended(l *tableLoad) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	l.under--
	if l.under > 0 || len(l.left) > 0 {
		return false
	}
	if l.gone && l.again {
		h.again = append(h.again, l.table.OID)
	}
	return !l.gone
}
