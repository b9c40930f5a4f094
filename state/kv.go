package state

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Limits of a plugin's keys and values, in bytes.
const (
	MaxKVKey   = 1 << 10
	MaxKVValue = 1 << 20
)

// QuotaError says that a plugin's write would pass its quota. Nothing was
// written.
type QuotaError struct {
	Plugin      string
	Used, Quota int64 // bytes; Used is what the write would have led to
}

func (e *QuotaError) Error() string {
	return fmt.Sprintf("plugin %s would keep %d bytes of its quota of %d: delete keys, or raise the quota", e.Plugin, e.Used, e.Quota)
}

// KVPair is a key of a plugin and its value.
type KVPair struct{ Key, Value []byte }

// KVGet returns a plugin's value, ErrNotFound where there is none.
func (r Reader) KVGet(plugin string, key []byte) ([]byte, error) {
	if err := checkKV(plugin, key); err != nil {
		return nil, err
	}
	return r.get(kvKey(plugin, key))
}

// KVList returns up to limit pairs whose keys start with prefix, in key order.
func (r Reader) KVList(plugin string, prefix []byte, limit int) ([]KVPair, error) {
	if err := checkName("plugin", plugin); err != nil {
		return nil, err
	}
	var out []KVPair
	scope := len(kvKey(plugin, nil))
	for e, err := range r.scan(kvKey(plugin, prefix), ascending) {
		if err != nil {
			return nil, err
		}
		if len(out) >= limit {
			break
		}
		value, err := e.value()
		if err != nil {
			return nil, fmt.Errorf("read state: %w", err)
		}
		out = append(out, KVPair{append([]byte(nil), e.key[scope:]...), append([]byte(nil), value...)})
	}
	return out, nil
}

// KVUsage returns the bytes that a plugin's keys and values take.
func (r Reader) KVUsage(plugin string) (int64, error) {
	value, err := r.get(nameKey(spaceKVUsage, plugin))
	if errors.Is(err, ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if len(value) != 8 {
		return 0, fmt.Errorf("usage of plugin %s: %d bytes, want 8", plugin, len(value))
	}
	return int64(binary.BigEndian.Uint64(value)), nil
}

// KVPut writes a plugin's value. Where that would pass the plugin's quota it
// returns a *QuotaError and writes nothing. The quota is the store's.
func (tx *Tx) KVPut(plugin string, key, value []byte) error {
	return tx.kvPut(plugin, key, value, tx.quota)
}

func (tx *Tx) kvPut(plugin string, key, value []byte, quota int64) error {
	if len(value) > MaxKVValue {
		return fmt.Errorf("value of %d bytes of plugin %s: the limit is %d", len(value), plugin, MaxKVValue)
	}
	used, old, err := tx.kvUsage(plugin, key)
	if err != nil {
		return err
	}
	used += int64(len(key)+len(value)) - old
	if used > quota {
		return &QuotaError{Plugin: plugin, Used: used, Quota: quota}
	}
	if err := tx.put(kvKey(plugin, key), value); err != nil {
		return err
	}
	return tx.putKVUsage(plugin, used)
}

// KVDelete removes a plugin's value; it is no error where there is none.
func (tx *Tx) KVDelete(plugin string, key []byte) error {
	used, old, err := tx.kvUsage(plugin, key)
	if err != nil || old == 0 {
		return err
	}
	if err := tx.delete(kvKey(plugin, key)); err != nil {
		return err
	}
	return tx.putKVUsage(plugin, used-old)
}

// kvUsage returns the bytes of the whole plugin and those of one key.
func (tx *Tx) kvUsage(plugin string, key []byte) (used, ofKey int64, err error) {
	if used, err = tx.KVUsage(plugin); err != nil {
		return 0, 0, err
	}
	value, err := tx.KVGet(plugin, key)
	switch {
	case err == nil:
		ofKey = int64(len(key) + len(value))
	case !errors.Is(err, ErrNotFound):
		return 0, 0, err
	}
	return used, ofKey, nil
}

func (tx *Tx) putKVUsage(plugin string, used int64) error {
	return tx.put(nameKey(spaceKVUsage, plugin), binary.BigEndian.AppendUint64(nil, uint64(used)))
}

// KVPut writes a plugin's value, see Tx.KVPut.
func (s *Store) KVPut(plugin string, key, value []byte) error {
	return s.Update(func(tx *Tx) error { return tx.KVPut(plugin, key, value) })
}

// KVPutWithin writes a plugin's value with a quota of the plugin's own.
func (s *Store) KVPutWithin(plugin string, key, value []byte, quota int64) error {
	return s.Update(func(tx *Tx) error { return tx.kvPut(plugin, key, value, quota) })
}

// KVDelete removes a plugin's value; it is no error where there is none.
func (s *Store) KVDelete(plugin string, key []byte) error {
	return s.Update(func(tx *Tx) error { return tx.KVDelete(plugin, key) })
}

func checkKV(plugin string, key []byte) error {
	if err := checkName("plugin", plugin); err != nil {
		return err
	}
	if len(key) == 0 || len(key) > MaxKVKey {
		return fmt.Errorf("key of %d bytes of plugin %s: want 1 to %d", len(key), plugin, MaxKVKey)
	}
	return nil
}
