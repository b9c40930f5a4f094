package batch

import (
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
)

// Op is what a row of a batch does.
type Op byte

// The operations. Insert, Update, Delete and Truncate come from the log, Read
// from a historical load or a query. OldKey carries the identity that the row
// after it had before a key change. A Truncate is the only row of its batch
// and all its columns are absent.
const (
	Insert   Op = 'I'
	Update   Op = 'U'
	Delete   Op = 'D'
	Truncate Op = 'T'
	Read     Op = 'R'
	OldKey   Op = 'K'
)

// String names the operation.
func (o Op) String() string {
	switch o {
	case Insert:
		return "insert"
	case Update:
		return "update"
	case Delete:
		return "delete"
	case Truncate:
		return "truncate"
	case Read:
		return "read"
	case OldKey:
		return "old key"
	}
	return fmt.Sprintf("Op(%q)", byte(o))
}

// Batch holds changes of one table in commit order. Slices are indexed by
// row, Present by column. It is immutable once built.
type Batch struct {
	Schema *Schema
	Rows   arrow.RecordBatch
	Ops    []Op
	// LSN is the commit LSN, Ordinal the place inside the transaction,
	// CommitTime microseconds since 1970 (UTC).
	LSN        []uint64
	Ordinal    []uint64
	CommitTime []int64
	// Present has a bit per row, least significant first, that is set where
	// the source sent the column; nil where it sent it in every row.
	Present []Bitmap
	// Position is reached when the batch has been applied. That of a batch
	// without rows is its own place: its table has another schema from there on.
	Position Position
	// Bytes is the size of the row values, an estimate for budgets.
	Bytes int64
	// Ingested is when the batch was read from the source, microseconds since
	// 1970.
	Ingested int64
	// Compacted says that the batch is a result of Compact: its rows speak of the
	// destination as it was before all of them, and not one after the other.
	Compacted bool
}

// Len is the number of rows.
func (b *Batch) Len() int { return len(b.Ops) }

// Start is the place of the first change.
func (b *Batch) Start() Position {
	if b.Len() == 0 {
		return b.Position
	}
	return Position{Timeline: b.Position.Timeline, LSN: b.LSN[0], Ordinal: b.Ordinal[0]}
}

// IsPresent says whether the source sent column col of row.
func (b *Batch) IsPresent(col, row int) bool {
	return b.Present[col] == nil || b.Present[col].Get(row)
}

// IsTruncate says whether the batch is a TRUNCATE of its table.
func (b *Batch) IsTruncate() bool { return len(b.Ops) == 1 && b.Ops[0] == Truncate }

// IsComplete says whether every column of every row is present.
func (b *Batch) IsComplete() bool {
	for _, p := range b.Present {
		if p != nil {
			return false
		}
	}
	return true
}

// Retain adds a reference.
func (b *Batch) Retain() { b.Rows.Retain() }

// Release gives back a reference. The batch must not be used afterwards.
func (b *Batch) Release() { b.Rows.Release() }

// Bitmap is a bit per row, least significant first, as in Arrow.
type Bitmap []byte

// NewBitmap returns a bitmap of n clear bits.
func NewBitmap(n int) Bitmap { return make(Bitmap, (n+7)/8) }

// Get returns bit i.
func (m Bitmap) Get(i int) bool { return m[i>>3]>>(i&7)&1 != 0 }

// Set sets bit i.
func (m Bitmap) Set(i int) { m[i>>3] |= 1 << (i & 7) }

// Clear clears bit i.
func (m Bitmap) Clear(i int) { m[i>>3] &^= 1 << (i & 7) }
