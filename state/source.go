package state

import (
	"fmt"

	"github.com/leat-etl/leat/engine/batch"
)

// Source is where one database of the source stands.
type Source struct {
	Database         string `json:"database"`
	SystemIdentifier string `json:"system_identifier"`
	Slot             string `json:"slot"`
	Publication      string `json:"publication"`
	// SlotCreating is set before the slot is made and cleared after: a slot
	// found while it is set may be a half-made one of our own.
	SlotCreating bool `json:"slot_creating,omitempty"`
	// Durable is what the destination has, Acknowledged what the slot was
	// told, never beyond Durable.
	Durable      batch.Position `json:"durable"`
	Acknowledged batch.Position `json:"acknowledged"`
	// IdleAcknowledged is the LSN acknowledged past Durable because nothing
	// between the two concerned this pipeline.
	IdleAcknowledged uint64 `json:"idle_acknowledged,omitempty"`
	// Snapshot names the consistent point of the historical load.
	Snapshot string `json:"snapshot,omitempty"`
	// Followed says that the log has been followed: history is loaded.
	Followed bool `json:"followed,omitempty"`
	// Beside says that rows of an earlier load may be at the destination.
	Beside bool `json:"beside,omitempty"`
	// Relay is the log that is spooled on this machine, nil for none.
	Relay *Relay `json:"relay,omitempty"`
	// Generation counts the historical loads of the whole database.
	Generation int `json:"generation"`
}

// Relay is log that the slot has passed and the destination has not got.
type Relay struct {
	// ID is the spool's, Begin and End the offsets of what is needed of it.
	ID    string `json:"id"`
	Begin int64  `json:"begin"`
	End   int64  `json:"end"`
	// From is what the destination had when it began, To what it will have at
	// the end, and ToEnd what the slot may be told for it.
	From  batch.Position `json:"from"`
	To    batch.Position `json:"to"`
	ToEnd uint64         `json:"to_end"`
}

// Source returns the record of a database, ErrNotFound where there is none.
func (r Reader) Source(database string) (Source, error) {
	var s Source
	if err := r.getJSON(nameKey(spaceSource, database), &s); err != nil {
		return Source{}, fmt.Errorf("source %s: %w", database, err)
	}
	return s, nil
}

// Sources returns the records of all databases by name.
func (r Reader) Sources() ([]Source, error) {
	return all(records[Source](r, []byte{spaceSource}, ascending))
}

// PutSource writes the record of a database.
func (tx *Tx) PutSource(s Source) error {
	if err := checkName("database", s.Database); err != nil {
		return err
	}
	return tx.putJSON(nameKey(spaceSource, s.Database), s)
}

// PutSource writes the record of a database.
func (s *Store) PutSource(src Source) error {
	return s.Update(func(tx *Tx) error { return tx.PutSource(src) })
}
