package state

import (
	"errors"
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

// PutSchema records a table's shape and returns its version: that of the
// latest record where the fingerprint is the same, else the next one, from 1.
// The Version of s is neither read nor changed.
func (tx *Tx) PutSchema(s *batch.Schema) (uint64, error) {
	if err := checkTable(s.Table); err != nil {
		return 0, err
	}
	version := uint64(1)
	latest, err := tx.LatestSchema(s.Table)
	switch {
	case errors.Is(err, ErrNotFound):
	case err != nil:
		return 0, err
	case latest.Fingerprint() == s.Fingerprint():
		return latest.Version, nil
	default:
		version = latest.Version + 1
	}
	record := &batch.Schema{Table: s.Table, Version: version, Columns: s.Columns}
	return version, tx.putJSON(schemaKey(s.Table, version), record)
}

// PutSchema records a table's shape, see Tx.PutSchema.
func (s *Store) PutSchema(shape *batch.Schema) (version uint64, err error) {
	err = s.Update(func(tx *Tx) error {
		version, err = tx.PutSchema(shape)
		return err
	})
	return version, err
}
