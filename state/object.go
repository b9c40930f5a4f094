package state

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/leat-etl/leat/engine/batch"
)

// The states of an object, as people read them.
const (
	Active                 = "ACTIVE"
	Skipped                = "SKIPPED"
	Paused                 = "PAUSED"
	Queued                 = "QUEUED"
	HistoricalLoad         = "HISTORICAL LOAD"
	HistoricalLoadFinished = "HISTORICAL LOAD FINISHED"
	Streaming              = "STREAMING"
	Finished               = "FINISHED"
	FailedState            = "FAILED"
	Inaccessible           = "INACCESSIBLE"
	Deleted                = "DELETED"
)

// ObjectStates lists the states in the order in which an object may pass
// through them.
var ObjectStates = []string{
	Active, Skipped, Paused, Queued, HistoricalLoad, HistoricalLoadFinished,
	Streaming, Finished, FailedState, Inaccessible, Deleted,
}

// Choice is an operator's decision about an object. It holds until the next one.
type Choice string

// The choices.
const (
	Include Choice = "include"
	Skip    Choice = "skip"
	Pause   Choice = "pause"
)

// Reading is how an operator has a table read.
type Reading struct {
	QueryMode          string `json:"query_mode"`
	TimestampColumn    string `json:"timestamp_column,omitempty"`
	IncrementingColumn string `json:"incrementing_column,omitempty"`
}

// Object is what became of one table.
type Object struct {
	Table batch.TableID `json:"table"`
	State string        `json:"state"`
	// OID is that of the relation that was taken in under the name, 0 for none.
	OID uint32 `json:"oid,omitempty"`
	// Choice is what an operator has decided, empty for what the pipeline file
	// says.
	Choice Choice `json:"choice,omitempty"`
	// Restart asks for a new historical load; the load takes it back.
	Restart bool `json:"restart,omitempty"`
	// Again says why the rows at the destination are to be loaded once more,
	// empty if they are not; the load takes it back.
	Again string `json:"again,omitempty"`
	// Reading is an operator's decision about how the table is read, nil for
	// what the pipeline file says. It holds until the next one.
	Reading *Reading `json:"reading,omitempty"`
	// Position asks for other values of cursor columns to read from, by column;
	// the run takes it back.
	Position map[string]string `json:"position,omitempty"`
	// Reason says why the object is in its state, Fix what to do about it.
	Reason string `json:"reason,omitempty"`
	Fix    string `json:"fix,omitempty"`
	// RowsLoaded, BytesLoaded and BytesTotal tell the historical load's
	// progress; BytesTotal is an estimate.
	RowsLoaded  int64 `json:"rows_loaded"`
	BytesLoaded int64 `json:"bytes_loaded"`
	BytesTotal  int64 `json:"bytes_total"`
	// QueryMode is how a table is read by queries, empty for the log.
	QueryMode string `json:"query_mode,omitempty"`
	// NullCursors counts the rows that have no value of the cursor column and
	// are not replicated, Waiting those whose value lies ahead.
	NullCursors int64 `json:"null_cursors,omitempty"`
	Waiting     int64 `json:"waiting,omitempty"`
	// Withheld are columns that reach neither plugins nor the destination until
	// a rule claims them.
	Withheld []string  `json:"withheld,omitempty"`
	Updated  time.Time `json:"updated"`
}

// Object returns the record of a table, ErrNotFound where there is none.
func (r Reader) Object(t batch.TableID) (Object, error) {
	var o Object
	if err := r.getJSON(tableKey(spaceObject, t), &o); err != nil {
		return Object{}, fmt.Errorf("object %s: %w", t, err)
	}
	return o, nil
}

// Objects returns the records of all tables by database, schema and name.
func (r Reader) Objects() ([]Object, error) {
	return all(records[Object](r, []byte{spaceObject}, ascending))
}

// PutObject writes the record of a table.
func (tx *Tx) PutObject(o Object) error {
	if err := checkTable(o.Table); err != nil {
		return err
	}
	if !slices.Contains(ObjectStates, o.State) {
		return fmt.Errorf("object %s: state %q is not one of %q", o.Table, o.State, ObjectStates)
	}
	return tx.putJSON(tableKey(spaceObject, o.Table), o)
}

// ChangeObject changes the record of a table, which need not exist yet.
func (tx *Tx) ChangeObject(t batch.TableID, change func(*Object)) error {
	o, err := tx.Object(t)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	o.Table = t
	before := o
	if change(&o); reflect.DeepEqual(o, before) {
		return nil
	}
	o.Updated = time.Now()
	return tx.PutObject(o)
}

// ChangeObject changes the record of a table, see Tx.ChangeObject.
func (s *Store) ChangeObject(t batch.TableID, change func(*Object)) error {
	return s.Update(func(tx *Tx) error { return tx.ChangeObject(t, change) })
}

// PutObject writes the record of a table.
func (s *Store) PutObject(o Object) error {
	return s.Update(func(tx *Tx) error { return tx.PutObject(o) })
}
