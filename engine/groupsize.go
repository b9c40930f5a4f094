package engine

// groupSize is how many times the rows of a plain group the next one may
// hold. Where a few keys change again and again most of a group is never sent,
// and a larger group sends even less; where keys differ a larger one only
// delays and takes memory.
type groupSize int

// mostTimes bounds the groups of hot keys; the stream's bytes do as well.
const mostTimes = 8

// after changes the size given how many rows the last group had and how many
// were left of them: it doubles if that was less than half, and goes back if
// it was most.
func (g *groupSize) after(taken, kept int) int {
	switch {
	case kept > taken/4*3:
		*g = 1
	case kept < taken/2:
		*g = min(2*(*g), mostTimes)
	}
	return int(*g)
}
