package postgres

import (
	"slices"

	"github.com/leat-etl/leat/engine/batch"
)

// A Relation message names columns and gives their order, which is that of
// pg_attribute, but not their numbers there. These are found between what the
// table was before (with its numbers) and what the catalogue says now, which
// may be later than the message: columns renamed, dropped or added since. What
// was written into pg_attribute by a transaction that began before the message's
// was most likely so for the message, too: a change waits for those that write
// rows of the table, and such a transaction would have had to wait for a younger.

// candidate is a column that a column of the message may be.
type candidate struct {
	id        int
	now       *attribute    // nil: the catalogue no longer has the table
	before    *batch.Column // nil: younger than what is known
	invisible bool          // generated or dropped by now: the message may lack it
}

// candidates lists them by number. n is how many columns the message has.
func candidates(before *batch.Schema, now *Table, n int) []candidate {
	var out []candidate
	if now != nil {
		for i := range now.attributes {
			a := &now.attributes[i]
			c := candidate{id: a.id, now: a, invisible: a.generated || a.dropped}
			if at := columnOf(before, a.id); at >= 0 {
				c.before = &before.Columns[at]
			}
			out = append(out, c)
		}
		return out
	}
	if before != nil {
		for i := range before.Columns {
			if c := &before.Columns[i]; c.ID > 0 {
				out = append(out, candidate{id: c.ID, before: c})
			}
		}
	}
	slices.SortFunc(out, func(a, b candidate) int { return a.id - b.id })
	next := 1
	if len(out) > 0 {
		next = out[len(out)-1].id + 1
	}
	for i := range n { // columns that came and went with the table
		out = append(out, candidate{id: next + i})
	}
	return out
}

func columnOf(s *batch.Schema, id int) int {
	if s == nil {
		return -1
	}
	return s.ColumnID(id)
}

// The prices of what a choice of numbers takes for granted. A column that the
// message has under the name it has today costs nothing, one that was dropped
// since under its old name little, two renames much.
const (
	priceOfAge       = 1  // renamed since, or of another type
	priceOfGone      = 2  // dropped since
	priceOfRename    = 4  // renamed, not known under this name
	priceOfDrop      = 1  // was there before, is not in the message
	priceOfSkip      = 20 // exists and is older than a column of the message, which lacks it
	priceOfInvisible = 0
	priceOfEarlier   = 8 // dropped, or under its name of today, before the transaction began
)

// price is that of taking the candidate for a column of a message that stands
// in transaction xid.
func (c *candidate) price(m *describedColumn, xid uint32) int {
	price := 0
	wasCalled := c.before != nil && c.before.Name == m.name
	switch {
	case c.now != nil && !c.now.dropped && c.now.name == m.name:
	case c.now != nil && c.now.dropped && (wasCalled || c.before == nil):
		price = priceOfGone
	case wasCalled:
		price = priceOfAge
	case c.now == nil && c.before == nil:
		price = priceOfGone
	default:
		price = priceOfRename
	}
	if !wasCalled && c.now != nil && (c.now.dropped || c.now.name != m.name) && c.now.olderThan(xid) {
		price += priceOfEarlier
	}
	hasType := c.now != nil && c.now.typeOID == m.oid || c.before != nil && c.before.PG.OID == m.oid
	if !hasType && (c.now == nil || !c.now.dropped || c.before != nil) {
		price += priceOfAge
	}
	return price
}

// olderThan says whether a transaction that began before xid wrote the row of
// pg_attribute. Numbers of transactions are compared as the server does it,
// modulo 2^32; the lowest three mark rows that are older than any.
func (a *attribute) olderThan(xid uint32) bool {
	return xid != 0 && (a.written < 3 || int32(uint32(a.written)-xid) < 0)
}

// skip is the price of a candidate that the message lacks.
func (c *candidate) skip(moreToCome bool) int {
	switch {
	case c.invisible && c.before == nil:
		return priceOfInvisible
	case c.invisible || c.now == nil && c.before != nil:
		return priceOfDrop
	case c.before != nil || moreToCome && c.now != nil:
		return priceOfSkip
	}
	return 0
}

// columnIDs returns the number of each column of a message, ascending.
func (m *described) columnIDs(before *batch.Schema, now *Table) []int {
	list := candidates(before, now, len(m.columns))
	n, k := len(m.columns), len(list)
	ids := make([]int, n)
	if k < n {
		return ids // the catalogue has been replaced under us: unknown
	}
	// best[i][j] is the least price of columns i.. among candidates j..
	const never = 1 << 30
	best := make([][]int32, n+1)
	for i := range best {
		best[i] = make([]int32, k+1)
	}
	for j := k - 1; j >= 0; j-- {
		best[n][j] = best[n][j+1] + int32(list[j].skip(false))
	}
	for i := n - 1; i >= 0; i-- {
		best[i][k] = never
		for j := k - 1; j >= 0; j-- {
			best[i][j] = never
			if k-j < n-i {
				continue
			}
			taken := best[i+1][j+1] + int32(list[j].price(&m.columns[i], m.xid))
			best[i][j] = min(taken, best[i][j+1]+int32(list[j].skip(true)))
		}
	}
	for i, j := 0, 0; i < n; j++ {
		if best[i][j] == best[i+1][j+1]+int32(list[j].price(&m.columns[i], m.xid)) {
			ids[i] = list[j].id
			i++
		}
	}
	return ids
}
