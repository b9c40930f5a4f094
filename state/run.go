package state

import (
	"fmt"
	"time"
)

// MaxRuns is how many runs the history keeps.
const MaxRuns = 1000

// Run is one run of the pipeline. Started is its identity.
type Run struct {
	Started time.Time `json:"started"`
	// Database is set for a run of the schedule over one database, empty for
	// the time that a process ran.
	Database string `json:"database,omitempty"`
	// Ended is zero while the run goes on, and stays so where it was killed.
	Ended time.Time `json:"ended,omitzero"`
	// Outcome is one word or sentence: how the run ended.
	Outcome string `json:"outcome,omitempty"`
	Rows    int64  `json:"rows"`
	Bytes   int64  `json:"bytes"`
}

// Runs returns up to limit runs, newest first.
func (r Reader) Runs(limit int) ([]Run, error) {
	var out []Run
	for run, err := range records[Run](r, []byte{spaceRun}, descending) {
		if err != nil {
			return nil, err
		}
		if len(out) >= limit {
			break
		}
		out = append(out, run)
	}
	return out, nil
}

// PutRun writes a run, anew or over the run with the same Started, and
// forgets the oldest beyond MaxRuns.
func (tx *Tx) PutRun(run Run) error {
	started := run.Started.UnixNano()
	if started <= 0 {
		return fmt.Errorf("run started at %s: want a time after 1970", run.Started)
	}
	if err := tx.putJSON(runKey(started), run); err != nil {
		return err
	}
	n := 0
	for e, err := range tx.scan([]byte{spaceRun}, descending) {
		if err != nil {
			return err
		}
		if n++; n > MaxRuns {
			return tx.batch.DeleteRange([]byte{spaceRun}, append(append([]byte(nil), e.key...), 0), nil)
		}
	}
	return nil
}

// PutRun writes a run, see Tx.PutRun.
func (s *Store) PutRun(run Run) error {
	return s.Update(func(tx *Tx) error { return tx.PutRun(run) })
}
