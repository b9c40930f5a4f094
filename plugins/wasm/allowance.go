package wasm

import (
	"errors"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/leat-etl/leat/engine/batch"
)

// allowance is what the host may still make of a batch for a plugin: results of
// kernels, and rows that are copied, repeated or made anew. A plan of a few
// bytes can ask for a great deal of it, which no limit of the guest sees.
type allowance struct{ left, all int64 }

// batchesAllowed is how often a batch may come out again beside what the memory
// of an instance holds: large rows pass through several kernels in a row.
const batchesAllowed = 4

func (l Limits) allowance(b *batch.Batch) *allowance {
	n := int64(l.MemoryBytes) + batchesAllowed*b.Bytes
	return &allowance{n, n}
}

// take charges bytes before, or right after, they are allocated.
func (a *allowance) take(n int64) error {
	if n > batch.MaxColumnBytes {
		return &overAllowance{fmt.Sprintf("one of its columns would take %d bytes, the most are %d", n, batch.MaxColumnBytes)}
	}
	if a.left -= n; a.left < 0 {
		return &overAllowance{fmt.Sprintf("what it makes of the batch takes more than %d bytes: its memory, and %d times the batch", a.all, batchesAllowed)}
	}
	return nil
}

// overAllowance fails a call as one that needs more memory than it may have.
type overAllowance struct{ message string }

func (e *overAllowance) Error() string { return e.message }

// kindOf is the kind of a failure in what a plugin has the host make.
func kindOf(err error) Kind {
	if over := (*overAllowance)(nil); errors.As(err, &over) {
		return KindMemory
	}
	return KindContract
}

// planBudget is what the plans of a plugin take of the host's memory, for all
// tables together.
type planBudget struct{ held, asked int64 }

// requestsAllowed is how often the requests may come back in plans beside what
// the memory of an instance holds: a plan of a table is about as large as the
// table's schema, and takes several times its text.
const requestsAllowed = 32

// take charges a plan.
func (b *planBudget) take(m *module, plan planBudget) error {
	held, asked := b.held+plan.held, b.asked+plan.asked
	if most := int64(m.plugin.Limits.MemoryBytes) + requestsAllowed*asked; held > most {
		return m.failure("plan", KindMemory, "with this table its plans take %d bytes of the host, the most are %d: its memory, and %d times the schemas of the tables", held, most, requestsAllowed)
	}
	b.held, b.asked = held, asked
	return nil
}

// size is about how many bytes the plan takes for as long as it is kept.
func (p *Plan) size() int64 {
	const column, step = 600, 50
	n := int64(len(p.request) + len(p.reply))
	for _, o := range p.Outputs {
		n += column * int64(1+len(o.Columns))
	}
	for _, k := range p.kernels {
		n += column + step*int64(k.Steps)
	}
	return n
}

// gatheredSize is about how many bytes the rows of a column take. Row -1 takes
// none of text.
func gatheredSize(a arrow.Array, rows []int32) int64 {
	data := a.Data()
	switch t := a.DataType().(type) {
	case arrow.BinaryDataType:
		n := int64(4 * len(rows))
		if data.Len() == 0 {
			return n
		}
		offsets := arrow.Int32Traits.CastFromBytes(data.Buffers()[1].Bytes())[data.Offset():]
		for _, row := range rows {
			if row >= 0 {
				n += int64(offsets[row+1] - offsets[row])
			}
		}
		return n
	case arrow.FixedWidthDataType:
		return int64(len(rows)) * int64(t.BitWidth()) / 8
	}
	return 0
}
