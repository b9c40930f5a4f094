package state

import (
	"errors"
	"fmt"
	"iter"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/leat-etl/leat/engine/batch"
)

// Failed is a row that could not be processed (invariant 3: it is kept until
// it is replayed or skipped).
type Failed struct {
	// ID names the event; PutFailed sets it. In a table IDs sort by position.
	ID       string         `json:"id"`
	Table    batch.TableID  `json:"table"`
	Position batch.Position `json:"position"`
	Op       string         `json:"op"`
	// KeyHash identifies the row; events of one hash keep their order. Empty
	// for a table without identity.
	KeyHash []byte `json:"key_hash,omitempty"`
	// Identity says of which columns and types KeyHash is: rows of another
	// identity cannot be compared with it. Empty for an event that an older Leat
	// kept.
	Identity string `json:"identity,omitempty"`
	Reason   string `json:"reason"`
	// Plugin and Digest name what refused the row.
	Plugin string `json:"plugin,omitempty"`
	Digest string `json:"digest,omitempty"`
	// WaitsBehind is the ID of the event that this one only waits for.
	WaitsBehind string `json:"waits_behind,omitempty"`
	// Superseded is the position of a TRUNCATE that came after the row: nothing
	// waits behind it any more, and a replay has nothing to do.
	Superseded *batch.Position `json:"superseded,omitempty"`
	// Delivery is the number of the delivery that found the row. The event
	// counts once the destination's checkpoint says that it has that delivery.
	Delivery uint64 `json:"delivery,omitempty"`
	// Size is that of a row which was too large to be kept: Payload has its key
	// alone.
	Size int64 `json:"size,omitempty"`
	// Payload is the row with its three states, in the words of the engine.
	Payload  []byte    `json:"-"`
	At       time.Time `json:"at"`
	Attempts int       `json:"attempts"`
}

// EventID returns the ID that PutFailed will give the event, from its table,
// position, operation, key hash and, without a hash, payload.
func (f *Failed) EventID() string { return f.eventID().String() }

// eventID gives the same row the same identity whenever it fails. The digest
// tells rows apart that share a position, as those of a historical load may.
func (f *Failed) eventID() eventID {
	d := xxhash.New()
	d.WriteString(f.Op)
	d.Write([]byte{0})
	if len(f.KeyHash) > 0 {
		d.Write(f.KeyHash)
	} else {
		d.Write(f.Payload)
	}
	return eventID{f.Table, f.Position.LSN, f.Position.Ordinal, d.Sum64()}
}

// String prints the ID as database.schema.name@lsn-ordinal-digest, names
// escaped as in a URL and numbers in hexadecimal.
func (id eventID) String() string {
	return fmt.Sprintf("%s.%s.%s@%016X-%016X-%016X", escapeName(id.table.Database), escapeName(id.table.Schema),
		escapeName(id.table.Name), id.lsn, id.ordinal, id.digest)
}

func escapeName(name string) string {
	return strings.NewReplacer(".", "%2E", "@", "%40").Replace(url.PathEscape(name))
}

func parseEventID(s string) (eventID, error) {
	fail := fmt.Errorf("failed event %q: want an ID as leat failed list prints it: %w", s, ErrNotFound)
	table, numbers, _ := strings.Cut(s, "@")
	names, digits := strings.Split(table, "."), strings.Split(numbers, "-")
	if len(names) != 3 || len(digits) != 3 {
		return eventID{}, fail
	}
	for i := range names {
		var err error
		if names[i], err = url.PathUnescape(names[i]); err != nil {
			return eventID{}, fail
		}
	}
	var n [3]uint64
	for i := range digits {
		var err error
		if n[i], err = strconv.ParseUint(digits[i], 16, 64); err != nil {
			return eventID{}, fail
		}
	}
	id := eventID{batch.TableID{Database: names[0], Schema: names[1], Name: names[2]}, n[0], n[1], n[2]}
	if checkTable(id.table) != nil {
		return eventID{}, fail
	}
	return id, nil
}

// Failed returns one event with its payload, ErrNotFound where it is gone.
func (r Reader) Failed(id string) (Failed, error) {
	e, err := parseEventID(id)
	if err != nil {
		return Failed{}, err
	}
	var f Failed
	if err := r.getJSON(e.key(spaceFailed), &f); err != nil {
		return Failed{}, fmt.Errorf("failed event %s: %w", id, err)
	}
	if f.Payload, err = r.get(e.key(spacePayload)); err != nil {
		return Failed{}, fmt.Errorf("payload of failed event %s: %w", id, err)
	}
	return f, nil
}

// FailedFilter selects events; its zero value selects all.
type FailedFilter struct {
	// Table is the only table, where it is not zero.
	Table batch.TableID
	// KeyHash is the only row key, where it is not empty.
	KeyHash []byte
	// Plugin is the only plugin, where it is not empty.
	Plugin string
	// Cause leaves out the events that only wait behind another.
	Cause bool
	// Limit is the most events to yield; 0 is no limit.
	Limit int
	// WithPayload loads payloads, which may be large.
	WithPayload bool
}

func (q FailedFilter) matches(f *Failed) bool {
	return (len(q.KeyHash) == 0 || string(q.KeyHash) == string(f.KeyHash)) &&
		(q.Plugin == "" || q.Plugin == f.Plugin) && !(q.Cause && f.WaitsBehind != "")
}

// FailedEvents yields the selected events by table and position.
func (r Reader) FailedEvents(q FailedFilter) iter.Seq2[Failed, error] {
	prefix := []byte{spaceFailed}
	if q.Table != (batch.TableID{}) {
		prefix = tableKey(spaceFailed, q.Table)
	}
	return func(yield func(Failed, error) bool) {
		n := 0
		for f, err := range records[Failed](r, prefix, ascending) {
			if err == nil && !q.matches(&f) {
				continue
			}
			if err == nil && q.WithPayload {
				if f, err = r.Failed(f.ID); errors.Is(err, ErrNotFound) {
					continue // replayed or skipped since the scan began
				}
			}
			if !yield(f, err) || err != nil {
				return
			}
			if n++; n == q.Limit {
				return
			}
		}
	}
}

// FailedCounts returns how many events each table has that are not superseded.
func (r Reader) FailedCounts() (map[batch.TableID]int64, error) {
	counts := map[batch.TableID]int64{}
	for f, err := range r.FailedEvents(FailedFilter{}) {
		if err != nil {
			return nil, err
		}
		if f.Superseded == nil {
			counts[f.Table]++
		}
	}
	return counts, nil
}

// BlockedKeys returns the row keys of a table that have failed events, by
// their hash, with the number of events: later rows of these keys must wait
// behind them (invariant 4).
func (r Reader) BlockedKeys(t batch.TableID) (map[string]int, error) {
	keys := map[string]int{}
	for e, err := range r.scan(tableKey(spaceBlocked, t), ascending) {
		if err != nil {
			return nil, err
		}
		hash, err := blockedHash(e.key)
		if err != nil {
			return nil, err
		}
		keys[string(hash)]++
	}
	return keys, nil
}

// PutFailed keeps an event and returns its ID. An event that is there already
// is replaced, but keeps its first At and its highest Attempts.
func (tx *Tx) PutFailed(f Failed) (string, error) {
	if err := checkTable(f.Table); err != nil {
		return "", err
	}
	if len(f.KeyHash) > 1<<16-1 {
		return "", fmt.Errorf("failed event of %s at %s: hash of %d bytes", f.Table, f.Position, len(f.KeyHash))
	}
	id := f.eventID()
	f.ID = id.String()
	var old Failed
	switch err := tx.getJSON(id.key(spaceFailed), &old); {
	case err == nil:
		f.At, f.Attempts = old.At, max(f.Attempts, old.Attempts)
	case !errors.Is(err, ErrNotFound):
		return "", err
	}
	if err := tx.putJSON(id.key(spaceFailed), &f); err != nil {
		return "", err
	}
	if len(f.KeyHash) > 0 {
		if err := tx.put(id.blockedKey(f.KeyHash), nil); err != nil {
			return "", err
		}
	}
	return f.ID, tx.put(id.key(spacePayload), f.Payload)
}

// DeleteFailed forgets an event that was replayed or skipped, ErrNotFound
// where it is gone already.
func (tx *Tx) DeleteFailed(id string) error {
	e, err := parseEventID(id)
	if err != nil {
		return err
	}
	var f Failed
	if err := tx.getJSON(e.key(spaceFailed), &f); err != nil {
		return fmt.Errorf("delete failed event %s: %w", id, err)
	}
	return errors.Join(tx.delete(e.key(spaceFailed)), tx.delete(e.key(spacePayload)), tx.delete(e.blockedKey(f.KeyHash)))
}

// PutFailed keeps an event, see Tx.PutFailed.
func (s *Store) PutFailed(f Failed) (id string, err error) {
	err = s.Update(func(tx *Tx) error {
		id, err = tx.PutFailed(f)
		return err
	})
	return id, err
}

// DeleteFailed forgets an event, see Tx.DeleteFailed.
func (s *Store) DeleteFailed(id string) error {
	return s.Update(func(tx *Tx) error { return tx.DeleteFailed(id) })
}
