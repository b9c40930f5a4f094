package state

import (
	"iter"
	"time"

	"github.com/leat-etl/leat/engine/batch"
)

// GivenUp is what is kept of a failed event that was given up: of which row it
// was, so that somebody can be told why that is not as at the source. The row
// itself is gone.
type GivenUp struct {
	ID     string        `json:"id"`
	Table  batch.TableID `json:"table"`
	Reason string        `json:"reason"`
	At     time.Time     `json:"at"`
	// Keys are the values of the key columns, by name, of the row and, after a
	// change of key, of the row as it was. None: the event did not tell.
	Keys []map[string]string `json:"keys,omitempty"`
}

// SkippedEvents yields up to limit skipped events of a table by position.
func (r Reader) SkippedEvents(t batch.TableID, limit int) iter.Seq2[GivenUp, error] {
	return func(yield func(GivenUp, error) bool) {
		n := 0
		for s, err := range records[GivenUp](r, tableKey(spaceSkipped, t), ascending) {
			if !yield(s, err) || err != nil {
				return
			}
			if n++; n == limit {
				return
			}
		}
	}
}

// PutSkipped keeps what is left of a failed event.
func (tx *Tx) PutSkipped(s GivenUp) error {
	id, err := parseEventID(s.ID)
	if err != nil {
		return err
	}
	return tx.putJSON(id.key(spaceSkipped), s)
}

// ForgetSkipped forgets the skipped events of a table whose rows are taken back.
func (s *Store) ForgetSkipped(t batch.TableID) error {
	return s.Update(func(tx *Tx) error { return tx.deletePrefix(tableKey(spaceSkipped, t)) })
}
