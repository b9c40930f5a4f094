package state

import (
	"fmt"

	"github.com/leat-etl/leat/engine/batch"
)

// Schema returns one version of a table's shape, ErrNotFound where there is
// none.
func (r Reader) Schema(t batch.TableID, version uint64) (*batch.Schema, error) {
	s := new(batch.Schema)
	if err := r.getJSON(schemaKey(t, version), s); err != nil {
		return nil, fmt.Errorf("schema %d of %s: %w", version, t, err)
	}
	return s, nil
}

// LatestSchema returns the newest version of a table's shape, ErrNotFound
// where there is none.
func (r Reader) LatestSchema(t batch.TableID) (*batch.Schema, error) {
	for s, err := range records[*batch.Schema](r, tableKey(spaceSchema, t), descending) {
		if err != nil {
			return nil, fmt.Errorf("latest schema of %s: %w", t, err)
		}
		return s, nil
	}
	return nil, fmt.Errorf("latest schema of %s: %w", t, ErrNotFound)
}

// Schemas returns the history of a table's shape, oldest first.
func (r Reader) Schemas(t batch.TableID) ([]*batch.Schema, error) {
	return all(records[*batch.Schema](r, tableKey(spaceSchema, t), ascending))
}

// PutSchema records a table's shape and returns its version. after is the
// version that the shape follows, 0 if that is not known. The version is the
// first one from after on with the same fingerprint, so that a log which is
// read again gives the same versions; without one it is the next, from 1.
// Where after is 0, only the latest can be the same. The Version of s is
// neither read nor changed.
func (tx *Tx) PutSchema(s *batch.Schema, after uint64) (uint64, error) {
	if err := checkTable(s.Table); err != nil {
		return 0, err
	}
	version, known, err := tx.SchemaVersion(s, after)
	if err != nil || known {
		return version, err
	}
	record := &batch.Schema{Table: s.Table, Version: version, OID: s.OID, Columns: s.Columns}
	return version, tx.putJSON(schemaKey(s.Table, version), record)
}

// SchemaVersion returns the version that PutSchema would, and whether the shape
// is recorded.
func (r Reader) SchemaVersion(s *batch.Schema, after uint64) (version uint64, known bool, err error) {
	history, err := r.Schemas(s.Table)
	if err != nil {
		return 0, false, err
	}
	version = after + 1
	if len(history) > 0 {
		latest := history[len(history)-1]
		version = max(after, latest.Version) + 1
		if after == 0 {
			history = history[len(history)-1:]
		}
	}
	for _, one := range history {
		if one.Version >= after && one.Fingerprint() == s.Fingerprint() {
			return one.Version, true, nil
		}
	}
	return version, false, nil
}

// PutSchema records a table's shape, see Tx.PutSchema.
func (s *Store) PutSchema(shape *batch.Schema, after uint64) (version uint64, err error) {
	err = s.Update(func(tx *Tx) error {
		version, err = tx.PutSchema(shape, after)
		return err
	})
	return version, err
}
