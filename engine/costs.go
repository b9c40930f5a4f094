package engine

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/state"
)

// costs are the bytes of log that a lane has taken lately, by table. It is safe
// for concurrent use.
type costs struct {
	mu    sync.Mutex
	bytes map[batch.TableID]int64
}

// add counts a group before it is delivered: what keeps the destination busy
// counts as well.
func (c *costs) add(g *postgres.Group) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bytes == nil {
		c.bytes = map[batch.TableID]int64{}
	}
	for _, b := range g.Batches {
		c.bytes[b.Schema.Table] += b.Bytes
	}
}

// age lets what was counted lose half its weight.
func (c *costs) age() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for t := range c.bytes {
		if c.bytes[t] /= 2; c.bytes[t] == 0 {
			delete(c.bytes, t)
		}
	}
}

// dearest lists the tables, those with the most log first.
func (c *costs) dearest() []batch.TableID {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.SortedFunc(maps.Keys(c.bytes), func(a, b batch.TableID) int {
		return cmp.Or(cmp.Compare(c.bytes[b], c.bytes[a]), cmp.Compare(a.String(), b.String()))
	})
}

// pauseDearest pauses the table that most of the log is of, as an operator
// would: its changes wait on this machine, so that the others get through. behind
// is how many bytes of log wait for the destination. It pauses another one only
// when they have grown by a quarter of the budget since.
func (l *lane) pauseDearest(over *budgetError, behind int64) error {
	if behind <= over.budget {
		l.pausedAt = 0
		return nil
	}
	if l.pausedAt > 0 && behind < l.pausedAt+over.budget/4 {
		return nil
	}
	for _, t := range l.costs.dearest() {
		if l.p.Spec.Source.LoadHistoricalData && l.stored.get(loadKey(t)) == "" {
			continue // it could only be left out
		}
		paused := false
		err := l.p.store.Update(func(tx *state.Tx) error {
			o, err := tx.Object(t)
			if errors.Is(err, state.ErrNotFound) {
				return nil // renamed since
			}
			if err != nil || o.Choice == state.Pause || o.Choice == state.Skip || o.State != state.Streaming {
				return err
			}
			paused = true
			o.Choice, o.State, o.Reason = state.Pause, state.Paused, "paused since most of the log is of it, and "+over.Error()
			o.Fix = fmt.Sprintf("leat objects resume %s %s.%s delivers what waits", l.p.Spec.Path, t.Schema, t.Name)
			return tx.PutObject(o)
		})
		if err != nil {
			return err
		}
		if paused {
			l.log.Warn("a table is paused for the others: most of the log is of it", "table", t.String())
			l.pausedAt = behind
			l.reconsider()
			return nil
		}
	}
	return nil
}
