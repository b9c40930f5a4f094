package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/leat-etl/leat/engine/batch"
)

// Stream reads the changes of a slot. One goroutine is in Run, one other calls
// Next; the other methods may be called from any.
//
// Run decodes into a group that grows until the consumer takes it: while the
// consumer works, small transactions gather; a full group stops Run from
// reading, and so the server. Keep-alives do not pass through there and go
// out whatever the consumer does.
type Stream struct {
	o    StreamOptions
	wire *wire

	mu      sync.Mutex // guards what follows
	decoder *pgoutput
	text    *testDecoding // before decoder, nil for a slot of pgoutput
	waiting bool          // the consumer is in Next
	timed   bool          // and has a timer for the group
	handed  *Group        // cut at a commit while the consumer waited
	last    batch.Position
	idle    uint64 // everything committed before it has been received
	stats   StreamStats
	ended   error
	times   int // how many times MaxRows and MaxBytes a group may hold

	changed chan struct{} // wakes Next
	room    chan struct{} // wakes Run
	asked   chan struct{} // wakes the status loop

	acks     *acknowledgements
	replayed int // messages of replays
	opened   time.Time
	reading  atomic.Int64 // since when Run waits for the server, from opened; 0 while it does not
}

// StreamStats is how far a stream is.
type StreamStats struct {
	// Timeline is the server's.
	Timeline uint32
	// Received is the log position up to which messages have been read,
	// ServerEnd the end of the server's log as it last said.
	Received, ServerEnd uint64
	// Acknowledged is what the server is told to be durable.
	Acknowledged uint64
	// Messages and Bytes count the change messages since the start.
	Messages, Bytes int64
	// Uncommitted is the size of the transactions that have been received
	// before their commit, Spilled how many bytes of such ones have gone to
	// files since the start.
	Uncommitted, Spilled int64
}

// OpenStream connects to the slot. Run reads from it; a stream that is never
// run is closed by Close.
func OpenStream(ctx context.Context, cfg *pgconn.Config, o StreamOptions) (*Stream, error) {
	o.fillIn()
	s := &Stream{o: o, opened: time.Now(), times: 1, changed: make(chan struct{}, 1), room: make(chan struct{}, 1), asked: make(chan struct{}, 1)}
	spills, err := newSpills(o.SpillDir)
	if err != nil {
		return nil, err
	}
	if s.wire, err = s.openWire(ctx, cfg); err != nil {
		err = wrap("open stream of slot", strconv.Quote(o.Slot), err)
		var known *Error
		if errors.As(err, &known) {
			known.fillIn(&Config{Host: cfg.Host, Port: cfg.Port, User: cfg.User}, cfg.Database)
		}
		return nil, err
	}
	source := relationSource{database: o.Database, binary: o.Binary, types: o.Types, tables: o.Tables, visible: o.Visible, previous: o.Previous, number: o.Number, messages: o.Messages, capture: o.Capture}
	s.decoder = newPgoutput(source, s.o.Timeline, o.SkipTo)
	if o.Text != nil {
		s.text = &testDecoding{to: s.decoder, published: tablesByLeaf(o.Text.Tables), columns: o.Text.Columns, relations: map[[2]string]*textRelation{}}
	}
	s.stats.Timeline = s.o.Timeline
	s.last = o.SkipTo
	s.acks = &acknowledgements{position: o.SkipTo, flushed: o.Start, told: o.Start}
	s.decoder.largest = o.MaxEventBytes
	s.decoder.spills, s.decoder.acks, s.decoder.landmark = spills, s.acks, landmarkOf(&o)
	return s, nil
}

func (s *Stream) startReplication(ctx context.Context, conn *pgconn.PgConn) error {
	system, err := pglogrepl.IdentifySystem(ctx, conn)
	if err != nil {
		return fmt.Errorf("identify system: %w", err)
	}
	timeline := uint32(system.Timeline)
	if s.o.Timeline != 0 && s.o.Timeline != timeline {
		return &TimelineError{Want: s.o.Timeline, Got: timeline}
	}
	s.o.Timeline = timeline
	version, err := majorVersion(conn.ParameterStatus("server_version"))
	if err != nil {
		return err
	}
	encoding := conn.ParameterStatus("server_encoding")
	if s.o.Text != nil && encoding != "UTF8" {
		return fmt.Errorf("test_decoding writes text in the encoding of the database, which is %s: only UTF8 can be read", encoding)
	}
	if encoding == sqlASCII {
		if err := conn.Exec(ctx, "SET client_encoding = "+sqlASCII).Close(); err != nil {
			return fmt.Errorf("set client_encoding: %w", err)
		}
	}
	if err := checkMessages(s.o.Messages, version*10_000); err != nil {
		return err
	}
	arguments, err := s.o.arguments(version)
	if err != nil {
		return err
	}
	return pglogrepl.StartReplication(ctx, conn, quoteIdent(s.o.Slot), pglogrepl.LSN(s.o.Start), pglogrepl.StartReplicationOptions{PluginArgs: arguments})
}

// Close ends a stream that is not running.
func (s *Stream) Close() error { return s.wire.close(s.acks.durable()) }

// Run receives and decodes until ctx ends, then leaves the slot in order, or
// until an error. The error is an *Error and wraps the server's
// *pgconn.PgError if there was one. The connection is closed when it returns.
func (s *Stream) Run(outer context.Context) error {
	ctx, cancel := context.WithCancelCause(outer)
	unblocked := make(chan struct{})
	context.AfterFunc(ctx, func() {
		defer close(unblocked)
		s.wire.conn.SetReadDeadline(time.Unix(1, 0))
	})
	statusDone := make(chan struct{})
	go func() {
		defer close(statusDone)
		if err := s.reportStatus(ctx); err != nil {
			cancel(err)
		}
	}()
	err := s.receive(ctx)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	cancel(err)
	<-statusDone
	<-unblocked
	if outer.Err() != nil {
		err = errors.Join(err, s.wire.close(s.acks.durable()))
	} else {
		s.wire.conn.Close()
		err = wrap("read stream of slot", strconv.Quote(s.o.Slot), err)
	}
	s.mu.Lock()
	err = errors.Join(err, s.decoder.spills.close())
	s.ended = err
	s.mu.Unlock()
	wake(s.changed)
	return err
}

// reportStatus tells the server what is durable, on a timer and when it asks.
func (s *Stream) reportStatus(ctx context.Context) error {
	ticker := time.NewTicker(s.o.StatusInterval)
	defer ticker.Stop()
	for {
		silent := s.silent()
		if silent > s.o.Silence {
			e := silentError(s.o.Silence)
			e.Op, e.Object = "read stream of slot", strconv.Quote(s.o.Slot)
			return e
		}
		if err := s.wire.sendStatus(s.acks.durable(), silent > s.o.Silence/2); err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-s.asked:
		case <-ctx.Done():
			return nil
		}
	}
}

// silent is for how long the reader has been waiting for the server, 0 while
// it does not read.
func (s *Stream) silent() time.Duration {
	since := s.reading.Load()
	if since == 0 {
		return 0
	}
	return time.Since(s.opened) - time.Duration(since)
}

func (s *Stream) receive(ctx context.Context) error {
	for {
		s.reading.Store(int64(time.Since(s.opened)))
		err := s.wire.fill()
		s.reading.Store(0)
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("receive log: %w", err)
		}
		if err := s.handleRead(ctx); err != nil {
			return err
		}
	}
}

// handleRead decodes the messages that one read has brought.
func (s *Stream) handleRead(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		ok, err := s.step(ctx)
		if err != nil {
			return err
		}
		if !ok {
			if s.waiting && s.decoder.group.reached && !s.decoder.tx.open && (!s.timed || s.arrived()) {
				wake(s.changed)
			}
			return nil
		}
		for s.full() {
			wake(s.changed)
			s.mu.Unlock()
			select {
			case <-s.room:
			case <-ctx.Done():
			}
			s.mu.Lock()
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
}

// breath is how many messages of a replay are decoded without letting others
// at the stream.
const breath = 4096

// step decodes one message: of the transaction that is replayed, otherwise of
// those that have been read. It returns false when there is none.
func (s *Stream) step(ctx context.Context) (bool, error) {
	if s.decoder.replay == nil {
		kind, body, ok, err := s.wire.next()
		if err != nil || !ok {
			return false, err
		}
		return true, s.handle(ctx, kind, body)
	}
	if s.replayed++; s.replayed%breath == 0 {
		s.mu.Unlock()
		err := ctx.Err()
		s.mu.Lock()
		if err != nil {
			return false, err
		}
	}
	done, err := s.decoder.replayNext(ctx)
	if done != nil && err == nil {
		s.committed(done)
	}
	return true, err
}

// handle takes one message of the server.
func (s *Stream) handle(ctx context.Context, kind byte, body []byte) error {
	switch kind {
	case 'd':
		return s.handleData(ctx, body)
	case 'E':
		return serverError(body)
	case 'c', 'C', 'Z':
		return fmt.Errorf("receive log: the server ended the stream: %w", io.ErrUnexpectedEOF)
	case 'N', 'S':
		return nil
	}
	return fmt.Errorf("receive log: message of unknown type %q", kind)
}

// handleData takes XLogData or a keep-alive.
func (s *Stream) handleData(ctx context.Context, body []byte) error {
	switch {
	case len(body) >= 25 && body[0] == pglogrepl.XLogDataByteID:
		start, end := binary.BigEndian.Uint64(body[1:]), binary.BigEndian.Uint64(body[9:])
		s.stats.Received = max(s.stats.Received, start)
		s.stats.ServerEnd = max(s.stats.ServerEnd, end)
		s.stats.Messages++
		s.stats.Bytes += int64(len(body) - 25)
		if s.text != nil {
			return s.text.decode(ctx, start, body[25:])
		}
		done, err := s.decoder.decode(ctx, body[25:])
		if err != nil {
			return err
		}
		if done != nil {
			s.committed(done)
		}
		return nil
	case len(body) == 18 && body[0] == pglogrepl.PrimaryKeepaliveMessageByteID:
		end := binary.BigEndian.Uint64(body[1:])
		s.stats.ServerEnd = max(s.stats.ServerEnd, end)
		if !s.decoder.tx.open {
			if m := s.decoder.landmark.lsn; m != 0 && end > m {
				return ErrOtherLog
			}
			s.idle = max(s.idle, end)
		}
		if body[17] != 0 {
			wake(s.asked)
		}
		return nil
	}
	return fmt.Errorf("receive log: copy data of %d bytes that is neither log nor keep-alive", len(body))
}

// committed is called at each commit boundary, where a waiting consumer gets
// its group.
func (s *Stream) committed(done *commit) {
	s.stats.Received = max(s.stats.Received, done.end)
	s.idle = max(s.idle, done.end)
	if !s.decoder.group.reached {
		return // nothing in it for us
	}
	s.last = s.decoder.group.position
	if s.waiting && s.handed == nil && (s.full() || s.arrived() || time.Since(s.decoder.group.since) >= s.o.Linger) {
		s.handed, s.waiting = s.cut(), false
		wake(s.changed)
	}
}

// full says whether the group has reached its limits: at a commit boundary,
// or inside a transaction that reaches them alone.
func (s *Stream) full() bool {
	g, tx := &s.decoder.group, &s.decoder.tx
	rows, bytes := s.times*s.o.MaxRows, int64(min(s.times*s.o.MaxBytes, s.o.MostBytes))
	if g.bytes < bytes && g.rows < rows {
		return false
	}
	if !tx.open {
		return g.reached
	}
	return tx.bytes >= bytes || tx.rows >= rows
}

// Widen lets groups hold so many times MaxRows and MaxBytes, up to MostBytes.
func (s *Stream) Widen(times int) {
	s.mu.Lock()
	s.times = max(1, times)
	s.mu.Unlock()
	wake(s.room)
}

// arrived says whether everything before Until has come.
func (s *Stream) arrived() bool { return s.o.Until != 0 && s.idle >= s.o.Until }

func (s *Stream) cut() *Group {
	g := s.decoder.cut()
	s.last = g.Position
	if g.Complete {
		s.acks.expect(g.Position.LSN, g.end)
	}
	return g
}

// take returns a group if one is due, or how long to wait for it.
func (s *Stream) take() (g *Group, wait time.Duration) {
	if g = s.handed; g != nil {
		s.handed = nil
		return g, 0
	}
	if s.full() {
		return s.cut(), 0
	}
	if s.decoder.tx.open || !s.decoder.group.reached {
		return nil, -1
	}
	if wait = s.o.Linger - time.Since(s.decoder.group.since); wait > 0 && !s.arrived() {
		return nil, wait
	}
	return s.cut(), 0
}

// Next returns the next group: as soon as a commit is reached and Linger has
// passed, or the limits are. It is an error once Run has ended; what was not
// handed out then comes again from the server.
func (s *Stream) Next(ctx context.Context) (*Group, error) {
	for {
		s.mu.Lock()
		if s.ended != nil {
			defer s.mu.Unlock()
			return nil, s.ended
		}
		g, wait := s.take()
		s.waiting, s.timed = g == nil, wait >= 0
		s.mu.Unlock()
		if g != nil {
			wake(s.room)
			return g, nil
		}
		if err := s.await(ctx, wait); err != nil {
			return nil, err
		}
	}
}

// await returns when the group may have changed, or after wait if it is not
// negative.
func (s *Stream) await(ctx context.Context, wait time.Duration) error {
	var due <-chan time.Time
	if wait >= 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-s.changed:
	case <-due:
	case <-ctx.Done():
		s.mu.Lock()
		s.waiting = false
		s.mu.Unlock()
		return ctx.Err()
	}
	return nil
}

// Acknowledge says that everything up to p is durable. The server is told with
// the next status update, and only of commit boundaries.
func (s *Stream) Acknowledge(p batch.Position) { s.acks.add(p) }

// IdlePosition returns a position that the server's log has moved on to
// without changes for us, if everything received has been acknowledged. Its
// Ordinal is 0: a transaction that commits exactly there is still to come.
// The caller records it as durable and then acknowledges it.
func (s *Stream) IdlePosition() (batch.Position, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := batch.Position{Timeline: s.o.Timeline, LSN: s.idle}
	if s.decoder.tx.open || s.decoder.group.used() || s.decoder.group.reached || s.handed != nil {
		return batch.Position{}, false
	}
	if s.acks.at().Compare(s.last) < 0 || p.Compare(s.last) <= 0 || p.LSN <= s.acks.passed() {
		return batch.Position{}, false
	}
	return p, true
}

// Stats returns how far the stream is.
func (s *Stream) Stats() StreamStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.stats
	out.Acknowledged = s.acks.durable()
	out.Uncommitted, out.Spilled = s.decoder.spills.held+s.decoder.spills.onDisk, s.decoder.spills.written
	return out
}

// wake leaves a signal for the one goroutine that waits on c.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
