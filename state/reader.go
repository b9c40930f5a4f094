package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"

	"github.com/cockroachdb/pebble/v2"
)

// Reader is the reading side, the same for a Store and a Tx.
type Reader struct{ from pebble.Reader }

// get returns a copy of the value of key.
func (r Reader) get(key []byte) ([]byte, error) {
	value, closer, err := r.from.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read state: %w", err)
	}
	defer closer.Close()
	return append([]byte(nil), value...), nil
}

func (r Reader) getJSON(key []byte, v any) error {
	text, err := r.get(key)
	if err != nil {
		return err
	}
	return decodeJSON(key, text, v)
}

func decodeJSON(key, text []byte, v any) error {
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("decode state record %q: %w", key, err)
	}
	return nil
}

// entry is a key and a way to its value, valid for one step of a scan.
type entry struct {
	key   []byte
	value func() ([]byte, error)
}

// order is the direction of a scan.
type order bool

const (
	ascending  order = false
	descending order = true
)

// scan yields the entries whose keys start with prefix.
func (r Reader) scan(prefix []byte, o order) iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		it, err := r.from.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: prefixEnd(prefix)})
		if err != nil {
			yield(entry{}, fmt.Errorf("read state: %w", err))
			return
		}
		defer it.Close()
		first, next := it.First, it.Next
		if o == descending {
			first, next = it.Last, it.Prev
		}
		for ok := first(); ok; ok = next() {
			if !yield(entry{it.Key(), it.ValueAndErr}, nil) {
				return
			}
		}
		if err := it.Error(); err != nil {
			yield(entry{}, fmt.Errorf("read state: %w", err))
		}
	}
}

// records yields the JSON records whose keys start with prefix.
func records[T any](r Reader, prefix []byte, o order) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		for e, err := range r.scan(prefix, o) {
			if err != nil {
				yield(zero, err)
				return
			}
			var v T
			text, err := e.value()
			if err == nil {
				err = decodeJSON(e.key, text, &v)
			}
			if err != nil {
				yield(zero, err)
				return
			}
			if !yield(v, nil) {
				return
			}
		}
	}
}

// all gathers a short sequence.
func all[T any](seq iter.Seq2[T, error]) ([]T, error) {
	var out []T
	for v, err := range seq {
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}
