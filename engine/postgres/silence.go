package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// DefaultSilence is how long a server may send nothing in a stream, as
// PostgreSQL's own wal_receiver_timeout has it.
const DefaultSilence = time.Minute

// ErrSilent is inside the error of a connection that was given up because
// nothing came over it: something on the way forwards no longer and has closed
// nothing, which no keep-alive of the network shows.
var ErrSilent = errors.New("the server has sent nothing")

// silentError is the failure after a silence of limit.
func silentError(limit time.Duration) *Error {
	return &Error{Class: Retry, Err: fmt.Errorf("%w for %s", ErrSilent, limit), Causes: []string{
		"A proxy, firewall or tunnel between here and the server dropped the connection without closing it.",
		"The server is so busy that it does not come to answer."},
		Hint: `[source] receive_timeout = "5m" waits longer`}
}

// impatientReader reads what a server answers, and closes the connection when a
// read has waited for longer than limit, where there is one. It stands below a
// session's frontend, which reads only while it waits for an answer: pgconn
// itself may also read in the background of an idle connection.
type impatientReader struct {
	io.Reader
	limit time.Duration
	late  *time.Timer // runs during a read
}

// impatient returns r with the limit that c sets. w is the connection below r.
func (c *Config) impatient(r io.Reader, w io.Writer) *impatientReader {
	conn, ok := w.(io.Closer)
	if c.Silence <= 0 || !ok {
		return &impatientReader{Reader: r}
	}
	late := time.AfterFunc(c.Silence, func() {
		c.noteSilence()
		conn.Close()
	})
	late.Stop()
	return &impatientReader{r, c.Silence, late}
}

func (c *Config) noteSilence() {
	if c.fellSilent != nil {
		c.fellSilent.Store(true)
	}
}

// Read implements io.Reader.
func (r *impatientReader) Read(p []byte) (int, error) {
	if r.limit <= 0 {
		return r.Reader.Read(p)
	}
	r.late.Reset(r.limit)
	n, err := r.Reader.Read(p)
	if !r.late.Stop() {
		return 0, silentError(r.limit)
	}
	return n, err
}

// dial opens the connections of c.
func (c *Config) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if c.Tunnel != nil {
		return c.Tunnel.Dial(ctx, network, address)
	}
	return dialer.DialContext(ctx, network, address)
}
