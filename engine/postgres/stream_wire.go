package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// readSize is how much is asked of the connection at once: a log reader that
// reads in small pieces costs the server as much as itself.
const readSize = 1 << 20

// wire is the connection of a walsender after START_REPLICATION, taken over
// from pgconn so that messages can be read many at a time and in place.
type wire struct {
	conn       net.Conn
	r          io.Reader
	buf        []byte
	start, end int  // what has been read and not been handed out
	sparse     bool // the last read brought little
}

// The server sends every change by itself. A reader that is always there
// takes each in a system call or three of its own and has the server wake it
// for each: together more work than decoding. So after a read of less than
// gatherBelow the reader stays away for gatherPause, in which the server's
// socket buffer does not fill.
const (
	gatherBelow = 32 << 10
	gatherPause = 250 * time.Microsecond
)

// openWire connects, checks the system and starts streaming. From then on it is
// Run that sees to silences.
func (s *Stream) openWire(ctx context.Context, cfg *pgconn.Config) (*wire, error) {
	cfg = cfg.Copy()
	if cfg.RuntimeParams == nil {
		cfg.RuntimeParams = map[string]string{}
	}
	for name, value := range sessionSettings() {
		cfg.RuntimeParams[name] = value
	}
	cfg.RuntimeParams["replication"] = "database"
	limit := Config{Silence: s.o.Silence, fellSilent: new(atomic.Bool)}
	var in io.Reader
	cfg.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		in = r
		return pgproto3.NewFrontend(&stepReader{r: limit.impatient(r, w)}, w)
	}
	conn, err := pgconn.ConnectConfig(ctx, cfg)
	if err == nil {
		if s.o.Process != nil {
			s.o.Process(conn.PID())
		}
		if err = s.startReplication(ctx, conn); err != nil {
			conn.Close(ctx)
		}
	}
	if err != nil {
		if limit.fellSilent.Load() { // pgconn replaces what ends a simple query
			silent := silentError(s.o.Silence)
			silent.Op, silent.Object = "open stream of slot", strconv.Quote(s.o.Slot)
			return nil, silent
		}
		return nil, err
	}
	hijacked, err := conn.Hijack()
	if err != nil {
		conn.Close(ctx)
		return nil, fmt.Errorf("take over connection: %w", err)
	}
	if err := hijacked.Conn.SetDeadline(time.Time{}); err != nil {
		hijacked.Conn.Close()
		return nil, fmt.Errorf("take over connection: %w", err)
	}
	return &wire{conn: hijacked.Conn, r: in, buf: make([]byte, readSize)}, nil
}

// stepReader hands out at most the rest of one protocol message a call, so
// that a frontend on top of it never holds bytes beyond the message it has
// returned, and the connection can be taken over at any message.
type stepReader struct {
	r      io.Reader
	header [5]byte
	have   int // of header, read
	given  int // of header, handed out
	body   int // bytes of the body not handed out
}

func (s *stepReader) Read(p []byte) (int, error) {
	for s.have < len(s.header) {
		n, err := s.r.Read(s.header[s.have:])
		s.have += n
		if err != nil {
			return 0, err
		}
		if s.have == len(s.header) {
			s.body = max(0, int(binary.BigEndian.Uint32(s.header[1:]))-4)
		}
	}
	if s.given < len(s.header) {
		n := copy(p, s.header[s.given:])
		s.given += n
		s.next()
		return n, nil
	}
	n, err := s.r.Read(p[:min(len(p), s.body)])
	s.body -= n
	s.next()
	return n, err
}

func (s *stepReader) next() {
	if s.given == len(s.header) && s.body == 0 {
		*s = stepReader{r: s.r}
	}
}

// fill reads once from the connection. What is left of an unfinished message
// moves to the front, so that there is always room for a large read.
func (w *wire) fill() error {
	have := w.buf[w.start:w.end]
	size := max(readSize, len(have)+w.missing())
	if size > len(w.buf) || len(w.buf) > 4*size {
		w.buf = make([]byte, size)
	}
	copy(w.buf, have)
	w.start, w.end = 0, len(have)
	if w.sparse {
		pause(gatherPause)
	}
	n, err := w.r.Read(w.buf[w.end:])
	w.end += n
	w.sparse = n < gatherBelow
	if n > 0 {
		return nil
	}
	return err
}

// missing is how much of the message at start has not been read.
func (w *wire) missing() int {
	have := w.buf[w.start:w.end]
	if len(have) < 5 {
		return 5 - len(have)
	}
	return 1 + int(binary.BigEndian.Uint32(have[1:])) - len(have)
}

// next returns the next message that is wholly there. Its body is valid until
// fill.
func (w *wire) next() (kind byte, body []byte, ok bool, err error) {
	have := w.buf[w.start:w.end]
	if len(have) < 5 {
		return 0, nil, false, nil
	}
	size := int64(binary.BigEndian.Uint32(have[1:]))
	if size < 4 || size > 1<<31-2 {
		return 0, nil, false, fmt.Errorf("receive log: message of %d bytes", size)
	}
	if int64(len(have)) < 1+size {
		return 0, nil, false, nil
	}
	w.start += 1 + int(size)
	return have[0], have[5 : 1+size], true, nil
}

// sendStatus reports flushed as written, flushed and applied, all three: a
// position left out would be replaced by one that nobody has stored. ask has
// the server answer at once.
func (w *wire) sendStatus(flushed uint64, ask bool) error {
	var m [5 + 34]byte
	m[0] = 'd'
	binary.BigEndian.PutUint32(m[1:], 4+34)
	m[5] = pglogrepl.StandbyStatusUpdateByteID
	for at := 6; at < 30; at += 8 {
		binary.BigEndian.PutUint64(m[at:], flushed)
	}
	binary.BigEndian.PutUint64(m[30:], uint64(time.Now().UnixMicro()-epochMicros))
	if ask {
		m[38] = 1
	}
	_, err := w.conn.Write(m[:])
	if err != nil {
		return fmt.Errorf("send status: %w", err)
	}
	return nil
}

// closeWait bounds how long close waits for the server to let go of the slot.
const closeWait = 5 * time.Second

// close ends the stream in order and waits until the server has left the slot.
func (w *wire) close(flushed uint64) error {
	defer w.conn.Close()
	if err := w.conn.SetDeadline(time.Now().Add(closeWait)); err != nil {
		return fmt.Errorf("end stream: %w", err)
	}
	if err := w.sendStatus(flushed, false); err != nil {
		return err
	}
	if _, err := w.conn.Write([]byte{'c', 0, 0, 0, 4, 'X', 0, 0, 0, 4}); err != nil {
		return fmt.Errorf("end stream: %w", err)
	}
	if _, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{w.r}, w.buf); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("end stream: %w", err)
	}
	return nil
}

// serverError turns an ErrorResponse into a *pgconn.PgError.
func serverError(body []byte) error {
	var m pgproto3.ErrorResponse
	if err := m.Decode(body); err != nil {
		return fmt.Errorf("receive log: %w", err)
	}
	return fmt.Errorf("receive log: %w", pgconn.ErrorResponseToPgError(&m))
}
