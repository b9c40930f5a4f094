package postgres

import (
	"errors"

	"github.com/leat-etl/leat/engine/batch"
)

// ErrOtherLog says that the server does not have the transaction up to which its
// log was read: its data are those of an earlier moment, and what it has written
// since is not what was read.
var ErrOtherLog = errors.New("the log of the server is not the one that was read")

// landmark is a transaction that was read before and comes again where a slot has
// gone back, as it may when the server crashes. A server that was restored from a
// copy of its disk is on the same timeline, and has another one in that place. The
// zero value is none.
type landmark struct {
	lsn  uint64
	time int64 // of the commit, 0 if not known
}

// landmarkOf returns the transaction that the server sends again: the one that
// o.SkipTo ends, if o.Start lies before it. test_decoding names it by its end.
func landmarkOf(o *StreamOptions) landmark {
	if o.SkipTo.Ordinal != batch.EndOfTransaction || o.Start > o.SkipTo.LSN || o.Text != nil && o.Start == o.SkipTo.LSN {
		return landmark{}
	}
	return landmark{o.SkipTo.LSN, o.SkipTime}
}

// meet takes notice of the next transaction; one whose time is not in the log, as
// that of a message outside transactions, has 0.
func (m *landmark) meet(lsn uint64, time int64) error {
	if lsn == m.lsn && (time == m.time || time == 0 || m.time == 0) {
		*m = landmark{}
	}
	if m.lsn != 0 && lsn >= m.lsn {
		return ErrOtherLog
	}
	return nil
}
