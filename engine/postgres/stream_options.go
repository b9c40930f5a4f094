package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/leat-etl/leat/engine/batch"
)

// StreamOptions say what a stream reads and how it is grouped.
type StreamOptions struct {
	Slot         string
	Publications []string
	// Start is where the server begins, at the earliest: it never goes back
	// behind what the slot has confirmed. A slot with two-phase commit has to
	// start exactly there: between that and SkipTo lie the transactions that
	// are prepared.
	Start uint64
	// SkipTo is durable already: changes at or before it are not handed out.
	// The position of a slot's consistent point is {LSN, Ordinal 0}.
	SkipTo batch.Position
	// SkipTime is when the transaction that SkipTo ends was committed, in
	// microseconds since 1970, 0 if that is not known. Where Start lies before
	// that transaction and it does not come again, Run ends with ErrOtherLog.
	SkipTime int64
	// Text reads a slot of test_decoding instead of pgoutput, whatever
	// Publications says; see testDecoding.
	Text *TextLog
	// Binary asks for binary values; see TypeMap.PreferBinary.
	Binary bool
	// Streaming lets the server send large transactions while they are in
	// progress (PostgreSQL 14 and later), TwoPhase at their PREPARE (15 and
	// later); both hand them out at their commit. What waits for it is spilled
	// to SpillDir, a folder of this stream alone, which is emptied.
	Streaming, TwoPhase bool
	SpillDir            string
	// MaxBytes and MaxRows end a group at the next commit, and a transaction
	// that reaches them by itself is passed on in parts: a group holds less
	// than twice as much and a row. Zero means 64 MiB and 500,000.
	MaxBytes, MaxRows int
	// MostBytes bounds a group after Stream.Widen. Zero means MaxBytes.
	MostBytes int
	// MaxEventBytes is the largest change that is kept, 0 for any. Of a larger
	// one a RawFailure has the key.
	MaxEventBytes int64
	// Linger is how long a group waits for more after its first change.
	Linger time.Duration
	// Until is where the reader wants to end: once everything before it has
	// come, groups wait no longer. 0 for none.
	Until uint64
	// StatusInterval is how often the server is told what is durable, well
	// below its wal_sender_timeout. Zero means 10 s.
	StatusInterval time.Duration
	// Process, if not nil, is told the server's process that the stream gets before
	// it takes the slot: one that has not seen the end of its connection keeps it.
	// See Source.FreeSlot.
	Process func(pid uint32)
	// Silence is how long the server may send nothing although it is asked to
	// answer; Run then ends with ErrSilent. Zero means DefaultSilence.
	Silence time.Duration
	// Tables returns what the catalogue says about a relation now, an *Error
	// of class Object where it is gone. Types is asked after it.
	Tables func(ctx context.Context, relationOID uint32) (*Table, error)
	Types  func() *TypeMap
	// Visible returns when Tables sees what a transaction has done. It may be nil.
	Visible func(ctx context.Context, xid uint32) error
	// Previous returns the shape that a relation had when it was last read, nil
	// if it never was. Its column IDs tell what became of which column. It may
	// be nil.
	Previous func(relationOID uint32, t batch.TableID) (*batch.Schema, error)
	// Number sets the Version of a shape before its first batch; after is the
	// version that it follows, 0 if there is none. It may be nil.
	Number   func(s *batch.Schema, after uint64) error
	Database string
	// Messages are the prefixes of the logical messages that come as rows of
	// MessagesTable, see MatchesPrefix. They need PostgreSQL 14 and pgoutput.
	Messages []string
	// Capture reads the messages of DDL capture; nil passes them over. They need
	// what Messages do.
	Capture *Capture
	// Timeline is the one that positions so far belong to; 0 takes the
	// server's. Another one at the server is a TimelineError.
	Timeline uint32
}

// TextLog is what a stream of test_decoding needs to know beside its lines.
type TextLog struct {
	// Tables are those that are replicated.
	Tables []*Table
	// Columns is Source.LoggedColumns.
	Columns func(ctx context.Context, t *Table, names, typeNames []string) ([]LoggedColumn, error)
}

// maxGroupBytes keeps the columns of a group, with a value of 1 GB, below
// batch.MaxColumnBytes.
const maxGroupBytes = 256 << 20

func (o *StreamOptions) fillIn() {
	if o.MaxBytes <= 0 {
		o.MaxBytes = 64 << 20
	}
	o.MaxBytes = min(o.MaxBytes, maxGroupBytes)
	o.MostBytes = min(max(o.MostBytes, o.MaxBytes), maxGroupBytes)
	if o.MaxRows <= 0 {
		o.MaxRows = 500_000
	}
	if o.StatusInterval <= 0 {
		o.StatusInterval = 10 * time.Second
	}
	if o.Silence <= 0 {
		o.Silence = DefaultSilence
	}
}

// arguments are those of pgoutput at a server of major version. Protocol 2
// brings transactions in progress, 3 prepared ones; 4, "parallel", would add to
// aborts what only those who apply transactions in parallel need.
func (o *StreamOptions) arguments(version int) ([]string, error) {
	if o.Text != nil {
		return []string{`"include-xids" '1'`, `"include-timestamp" '1'`, `"skip-empty-xacts" '1'`}, nil
	}
	names := make([]string, len(o.Publications))
	for i, name := range o.Publications {
		names[i] = quoteIdent(name)
	}
	protocol := max(1, min(version, 16)-12)
	out := []string{fmt.Sprintf("proto_version '%d'", protocol), "publication_names " + quoteLiteral(strings.Join(names, ","))}
	if version >= 14 {
		out = append(out, "messages 'true'")
	}
	if o.Streaming && version >= 14 {
		out = append(out, "streaming 'on'")
	}
	if o.TwoPhase {
		if version < 15 {
			return nil, fmt.Errorf("two-phase commit: server version %d cannot send prepared transactions", version)
		}
		out = append(out, "two_phase 'on'")
	}
	if o.Binary {
		if version < 14 {
			return nil, fmt.Errorf("binary values: server version %d has none in its log", version)
		}
		out = append(out, "binary 'true'")
	}
	return out, nil
}

// TimelineError says that the server has been promoted or restored since:
// its log may differ from the one that was read.
type TimelineError struct{ Want, Got uint32 }

// Error implements error.
func (e *TimelineError) Error() string {
	return fmt.Sprintf("the server is on timeline %d, positions are on %d", e.Got, e.Want)
}
