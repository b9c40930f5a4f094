package postgres

import (
	"context"
	"fmt"
	"math"
	"slices"
)

// Chunk is a range of blocks of one leaf of a table: the unit of a historical
// load and of its ledger. Its JSON is kept in the ledger.
type Chunk struct {
	Seq int `json:"seq"`
	// Leaf is the relation with the blocks, Filenode the storage that it had
	// when the load was planned.
	Leaf     uint32 `json:"leaf"`
	Schema   string `json:"schema"`
	Name     string `json:"name"`
	Filenode uint32 `json:"filenode"`
	// FromBlock is the first block, ToBlock the one after the last; 0 stands
	// for the end of the relation, wherever it is when the chunk is read.
	FromBlock uint32 `json:"from_block"`
	ToBlock   uint32 `json:"to_block"`
	// Rows selects the chunk's rows by values instead of blocks, see OrderLoad.
	Rows string `json:"rows,omitempty"`
	// Bytes is an estimate with TOAST data.
	Bytes int64 `json:"bytes"`
	// CatchUp is Snapshot.Visible of the snapshot in which the chunk has been
	// read before. It is then read again for the rows that may be newer: those
	// written since, which may have come out of a chunk that was still unread,
	// and, since the text names no sub-transactions, those of transactions
	// near that moment once more. Writing them is idempotent for a table with
	// a key; a table without one is better loaded anew.
	CatchUp string `json:"catch_up,omitempty"`
}

// LedgerEntry is a chunk of an earlier plan and the snapshot (its Visible) in
// which it was read to its end, empty if it was not.
type LedgerEntry struct {
	Chunk  Chunk  `json:"chunk"`
	ReadIn string `json:"read_in,omitempty"`
}

// PlanChunks cuts a table into chunks of about targetBytes, a partitioned table
// leaf by leaf. The table is to be as the catalogue had it after the snapshot
// was taken in which the chunks are read: before, a partition may be missing.
// Only where the load is ordered is the server asked.
func (s *Source) PlanChunks(ctx context.Context, t *Table, targetBytes int64) ([]Chunk, error) {
	var out []Chunk
	for _, leaf := range t.Leaves {
		if t.order == nil {
			out = append(out, leaf.chunks(len(out), targetBytes)...)
			continue
		}
		more, err := s.orderedChunks(ctx, &leaf, t.order, len(out), targetBytes)
		if err != nil {
			return nil, err
		}
		out = append(out, more...)
	}
	return out, nil
}

// chunks cuts one leaf. Its last chunk is open-ended, so that an empty leaf
// has one too.
func (l *Leaf) chunks(seq int, targetBytes int64) []Chunk {
	perBlock := max(1, l.Bytes/max(1, l.Pages))
	step := max(1, targetBytes/perBlock)
	var out []Chunk
	for from := int64(0); from == 0 || from < l.Pages; from += step {
		out = append(out, Chunk{Seq: seq + len(out), Leaf: l.OID, Schema: l.Schema, Name: l.Name, Filenode: l.Filenode,
			FromBlock: uint32(from), ToBlock: uint32(from + step), Bytes: min(step, l.Pages-from) * perBlock})
	}
	out[len(out)-1].ToBlock = 0
	return out
}

// ResumeChunks continues a load after its snapshot was lost. It returns the
// unread chunks of the ledger, the read ones for catching up, and chunks for
// partitions that came since. All are to be read in one new snapshot, taken
// before the catalogue was asked for t. A *RestartError says that the ledger is
// worthless.
func (t *Table) ResumeChunks(ledger []LedgerEntry, targetBytes int64) ([]Chunk, error) {
	var out []Chunk
	seq := 0
	planned := make(map[uint32]bool)
	for _, entry := range ledger {
		c := entry.Chunk
		i := slices.IndexFunc(t.Leaves, func(l Leaf) bool { return l.OID == c.Leaf })
		if i < 0 {
			return nil, &RestartError{Table: t.ID(), Reason: fmt.Sprintf("partition %s.%s is gone", c.Schema, c.Name)}
		}
		if t.Leaves[i].Filenode != c.Filenode {
			return nil, rewritten(t, c)
		}
		c.Schema, c.Name = t.Leaves[i].Schema, t.Leaves[i].Name
		if entry.ReadIn != "" {
			c.CatchUp = entry.ReadIn
		}
		planned[c.Leaf] = true
		seq = max(seq, c.Seq+1)
		out = append(out, c)
	}
	for _, leaf := range t.Leaves {
		if !planned[leaf.OID] {
			more := leaf.chunks(seq, targetBytes)
			seq += len(more)
			out = append(out, more...)
		}
	}
	return out, nil
}

// Cut cuts the first blocks off a chunk of a leaf that has so many pages. The
// rest is numbered seq. ok is false where it is to be read as it is.
func (c *Chunk) Cut(blocks uint32, pages int64, seq int) (head, rest Chunk, ok bool) {
	to := int64(c.FromBlock) + int64(blocks)
	end := int64(c.ToBlock)
	if end == 0 {
		end = pages
	}
	if c.Rows != "" || c.CatchUp != "" || to >= end {
		return *c, Chunk{}, false
	}
	head, rest = *c, *c
	head.ToBlock, rest.FromBlock, rest.Seq = uint32(to), uint32(to), seq
	head.Bytes = c.Bytes / (end - int64(c.FromBlock)) * int64(blocks)
	rest.Bytes = c.Bytes - head.Bytes
	return head, rest, true
}

func rewritten(t *Table, c Chunk) error {
	return &RestartError{Table: t.ID(), Reason: fmt.Sprintf("%s.%s was rewritten (VACUUM FULL, CLUSTER, TRUNCATE or ALTER TABLE)", c.Schema, c.Name)}
}

// tidRangeVersion is the first version that finds a range of ctid without
// reading the whole table.
const tidRangeVersion = 140000

// maxTuplesPerBlock is more than the line pointers that a block of 32 kB, the
// largest, can hold (MaxHeapTuplesPerPage).
const maxTuplesPerBlock = 1170

// condition selects the chunk's rows. now is the snapshot they are read in.
func (c *Chunk) condition(version int, now visible) (string, error) {
	var sql string
	switch {
	case c.Rows != "":
		sql = c.Rows
	case version < tidRangeVersion:
		sql = c.tidList()
	case c.ToBlock == 0:
		sql = fmt.Sprintf("ctid >= '(%d,0)'::tid", c.FromBlock)
	default:
		sql = fmt.Sprintf("ctid >= '(%d,0)'::tid AND ctid < '(%d,0)'::tid", c.FromBlock, c.ToBlock)
	}
	if c.CatchUp == "" {
		return sql, nil
	}
	before, err := parseVisible(c.CatchUp)
	if err != nil {
		return "", err
	}
	return sql + newerThan(before, now), nil
}

// tidList names every possible row of the blocks, which the server then
// fetches one by one.
func (c *Chunk) tidList() string {
	last := fmt.Sprint(int64(c.ToBlock) - 1)
	if c.ToBlock == 0 {
		last = fmt.Sprintf("pg_catalog.pg_relation_size(%s::regclass) / pg_catalog.current_setting('block_size')::bigint - 1", quoteLiteral(quoteName(c.Schema, c.Name)))
	}
	perBlock := fmt.Sprintf("least(%d, pg_catalog.current_setting('block_size')::int / 28)", maxTuplesPerBlock)
	return fmt.Sprintf("ctid = ANY (ARRAY(SELECT ('(' || b || ',' || i || ')')::tid FROM pg_catalog.generate_series(%d, %s) b, pg_catalog.generate_series(1, %s) i))",
		c.FromBlock, last, perBlock)
}

// newerThan selects rows whose writer may not have been visible before: its
// 64-bit number is before.xmin or later. The epoch that xmin lacks is the one
// that puts the number into the 2^31 before now.xmax, where every number
// still in use is; a frozen row may carry an older number, which then at worst
// reads the row again.
func newerThan(before, now visible) string {
	if now.xmax-before.xmin >= math.MaxInt32 {
		return "" // too long ago to tell: read all
	}
	// The distance to now.xmax modulo 2^32, as a signed number.
	distance := fmt.Sprintf("((xmin::text::bigint - %d + %d) %% %d - %d)", uint32(now.xmax), int64(1<<32+1<<31), int64(1<<32), int64(1<<31))
	return fmt.Sprintf(" AND xmin::text::bigint > 2 AND %s >= %d AND %s < 0", distance, -int64(now.xmax-before.xmin), distance)
}
